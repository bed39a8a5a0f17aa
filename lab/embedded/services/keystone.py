# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keystone's process: the identity API."""

from __future__ import annotations

from lab.embedded.services import common, sqlite
from lab.embedded.settings import Settings


def run(settings: Settings) -> None:
    """Start the API."""
    sqlite.install()
    from keystone.server.flask import core

    application = core.initialize_application(
        name="public", config_files=[str(settings.etc / "keystone.conf")]
    )
    common.serve(application, settings, "identity")
