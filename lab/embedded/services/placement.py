# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placement's process: the placement API."""

from __future__ import annotations

import os

from lab.embedded.services import common, sqlite
from lab.embedded.settings import Settings


def run(settings: Settings) -> None:
    """Start the API."""
    sqlite.install()
    os.environ["OS_PLACEMENT_CONFIG_DIR"] = str(settings.etc)
    from placement import wsgi

    common.serve(wsgi.init_application(), settings, "placement")
