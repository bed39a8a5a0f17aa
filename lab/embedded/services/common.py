# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every service process does the same way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lab.embedded import httpd
from lab.embedded.api_faults import ApiFaults
from lab.embedded.request_log import RequestLog
from lab.embedded.settings import Settings


def serve(application: Callable[..., Any], settings: Settings, endpoint: str) -> None:
    """Serve an API, with its request log and its faults, in the background."""
    faulty = ApiFaults(application, endpoint, settings.faults_file)
    logged = RequestLog(faulty, endpoint, settings.request_dir)
    httpd.serve(logged, settings.port(endpoint))


def wait_for(settings: Settings, *services: str) -> None:
    """Wait until other services of this lab are ready; the launcher minds those that die."""
    missing = list(services)
    while missing:
        missing = [name for name in missing if not (settings.run_dir / f"{name}.ready").exists()]
        if missing:
            time.sleep(0.05)
