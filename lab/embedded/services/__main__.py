# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one service of a lab: ``python -m lab.embedded.services NAME STATE``."""

from __future__ import annotations

import faulthandler
import importlib
import signal
import sys
import threading
from pathlib import Path

from lab.embedded.settings import SERVICES, Settings


def main() -> None:
    """Start the service, say that it is ready, and serve until stopped."""
    name, state = sys.argv[1], sys.argv[2]
    if name not in SERVICES:
        sys.exit(f"unknown service {name!r}; one of {', '.join(SERVICES)}")
    # The services look for options of their own on the command line.
    del sys.argv[1:]
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    settings = Settings.load(state)
    importlib.import_module(f"lab.embedded.services.{name}").run(settings)
    # There is nothing to save: a stop is immediate, whatever handlers the service installed.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    (settings.run_dir / f"{name}.ready").touch()
    threading.Event().wait()


if __name__ == "__main__":
    # Nothing of the directory the lab was started from may be imported by accident.
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(Path.cwd()))]
    main()
