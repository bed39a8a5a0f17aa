# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Crashes to come: something dies at a moment of its host's next outgoing migration."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from lab import processes
from lab.backend import LabError
from lab.hypervisors import compute
from lab.hypervisors.control.config import PROGRAMS
from lab.hypervisors.machine import ENVIRONMENT, Machine
from lab.hypervisors.settings import Settings
from lab.processes import Process

SCRIPT = Path(__file__).parent / "inside" / "watch_migration.py"
SCRIPT_INSIDE = f"{PROGRAMS}/watch_migration.py"
# What the script says once it listens.
ARMED = "armed"
ARM_SECONDS = 20.0
POWER = "power"


def arm(settings: Settings, machine: Machine, when: str, what: str) -> None:
    """Have a host's nova-compute, or with ``what`` power the host, die at its next migration.

    ``when``: before_switchover, during_switchover or after_switchover. A second call replaces
    the first. Raises LabError when there is nothing to kill, or libvirt does not answer.
    """
    victim = machine.pid if what == POWER else machine.service_pid(compute.SERVICE)
    if victim is None:
        raise LabError(f"{machine.name}: nothing runs there that could crash; `lab start` it")
    record = settings.run_dir / f"watch-{machine.name}.json"
    processes.stop(processes.recorded(record))
    machine.write(SCRIPT_INSIDE, SCRIPT.read_text())
    log = settings.log_dir / f"watch-{machine.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    watcher = _spawn(machine, log, str(victim), when)
    started = processes.start_time(watcher.pid) or -1
    processes.record(record, [Process(f"watch-{machine.name}", watcher.pid, started)])
    deadline = time.monotonic() + ARM_SECONDS
    while ARMED not in log.read_text():
        if watcher.poll() is not None or time.monotonic() > deadline:
            raise LabError(f"{machine.name}: its migrations cannot be watched; see {log}")
        time.sleep(0.05)
    # It outlives this process; nobody here waits for its end.
    watcher.returncode = 0


def _spawn(machine: Machine, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the watcher with the host's files and network, but outside its processes."""
    command = ["nsenter", f"--target={machine.pid}", "--mount", "--net", "--root", "--wd", "--"]
    command += ["/usr/bin/python3", SCRIPT_INSIDE, *arguments]
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            start_new_session=True,
        )
