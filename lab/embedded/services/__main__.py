# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start every service of a lab: ``python -m lab.embedded.services STATE``.

What all services import is imported once, in this process, which then forks one child for each
service and ends. That saves a third of a start's work, and memory.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

from lab import processes
from lab.embedded.services import savings
from lab.embedded.settings import Settings

# Nova takes longest: it goes first.
START_ORDER = ("nova", "keystone", "neutron", "cinder", "glance", "placement")
SHARED_MODULES = (
    "castellan.key_manager",
    "keystoneauth1.loading",
    "keystoneclient.v3.client",
    "keystonemiddleware.auth_token",
    "lab.embedded.services.common",
    "lab.embedded.services.sqlite",
    "openstack.connection",
    "os_traits",
    "oslo_cache",
    "oslo_messaging",
    "oslo_middleware",
    "oslo_policy.policy",
    "oslo_privsep.priv_context",
    "oslo_reports.guru_meditation_report",
    "oslo_service.service",
    "oslo_versionedobjects.base",
    "osprofiler.web",
    "paste.deploy",
    "routes.middleware",
    "sqlalchemy.orm",
    "webob.dec",
)
# Collecting garbage more seldom than by default: most of what a service allocates stays.
GC_THRESHOLDS = (20_000, 20, 50)


def main() -> None:
    """Fork the services, record each at once, and leave them to the launcher's eyes."""
    settings = Settings.load(sys.argv[1])
    # The services look for options of their own on the command line.
    del sys.argv[1:]
    _import_shared()
    own = processes.recorded(settings.process_file)
    started: list[processes.Process] = []
    # Nobody may end this process between a fork and its record.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    for name in START_ORDER:
        pid = os.fork()
        if pid == 0:
            _become(name, settings)
        started.append(processes.Process(name, pid, processes.start_time(pid) or 0))
        processes.record(settings.process_file, own + started)
    processes.record(settings.process_file, started)
    # Not a clean-up: the children share what there would be to clean up.
    os._exit(0)


def _import_shared() -> None:
    gc.disable()
    with _without_eventlet():
        from oslo_service import backend

        # Eventlet's green threads are switched out inside of a write transaction, and the next
        # one blocks the whole process in SQLite's busy wait.
        backend.init_backend(backend.BackendType.THREADING)
        for name in SHARED_MODULES:
            importlib.import_module(name)
    savings.read_policy_files_once()
    gc.freeze()


@contextlib.contextmanager
def _without_eventlet() -> Iterator[None]:
    """Refuse to import eventlet: Nova does not start in a process that has it loaded.

    Libraries that could use it take the refusal for its absence. Cinder and Neutron insist on
    importing it later, in their own processes, and make no use of it.
    """

    class Refusal:
        def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
            if name.partition(".")[0] == "eventlet":
                raise ImportError("the lab's services run on native threads")

    refusal = Refusal()
    sys.meta_path.insert(0, refusal)
    try:
        yield
    finally:
        sys.meta_path.remove(refusal)


def _become(name: str, settings: Settings) -> None:
    """Turn this process into a service; never returns."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.setsid()
        output = os.open(settings.log_dir / f"{name}.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        _name_process(name, settings)
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        importlib.import_module(f"lab.embedded.services.{name}").run(settings)
        # There is nothing to save: a stop is immediate, whatever handlers the service installed.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        gc.enable()
        (settings.run_dir / f"{name}.ready").touch()
        threading.Event().wait()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        # Threads that a service has left behind must not keep a failed one alive.
        os._exit(1)


def _name_process(name: str, settings: Settings) -> None:
    # Without it, every service would look like the process that it was forked from.
    from setproctitle import setproctitle

    setproctitle(f"lab: {name} of {settings.state}")


if __name__ == "__main__":
    # Nothing of the directory the lab was started from may be imported by accident.
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(Path.cwd()))]
    main()
