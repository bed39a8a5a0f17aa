# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cinder's process: API, scheduler and one volume service."""

from __future__ import annotations

import sys

from lab.embedded.services import common, sqlite
from lab.embedded.settings import Settings


def run(settings: Settings) -> None:
    """Start the volume service, then the scheduler that waits for it, and the API."""
    sqlite.install()
    sys.argv = ["cinder", "--config-file", str(settings.etc / "cinder.conf")]
    from cinder import service
    from cinder.wsgi.api import application
    from oslo_config import cfg

    # The volume service's own launcher registers this for each back end.
    cfg.CONF.register_opt(cfg.StrOpt("backend_host"), group="lab")
    service.Service.create(
        host="lab@lab", service_name="lab", binary="cinder-volume", coordination=True
    ).start()
    service.Service.create(binary="cinder-scheduler").start()
    common.serve(application, settings, "volume")
