# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Glance's process: the image API over a file store."""

from __future__ import annotations

import os

from lab.embedded.services import common, sqlite
from lab.embedded.settings import Settings


def run(settings: Settings) -> None:
    """Start the API."""
    sqlite.install()
    os.environ["OS_GLANCE_CONFIG_DIR"] = str(settings.etc)
    from glance.common import wsgi_app

    common.serve(wsgi_app.init_app(), settings, "image")
