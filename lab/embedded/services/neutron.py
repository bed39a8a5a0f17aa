# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Neutron's process: the network API, ML2 and the notifier of Nova, without agents."""

from __future__ import annotations

import os
import sys

from lab.embedded.services import common, sqlite
from lab.embedded.settings import PLUGINS, Settings


def run(settings: Settings) -> None:
    """Start the API."""
    sqlite.install()
    sys.path.append(str(PLUGINS))
    os.environ["OS_NEUTRON_CONFIG_DIR"] = str(settings.etc)
    os.environ["OS_NEUTRON_CONFIG_FILES"] = "neutron.conf"
    from neutron import server
    from neutron.server import api

    common.serve(server.boot_server(api.api_server, prog="neutron-api"), settings, "network")
