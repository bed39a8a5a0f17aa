# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the drain of a host and kill it with SIGKILL at a random moment, several times.

The moments count from the task that moves the guests: before it there is nothing to interrupt.

Usage: interrupt.py HOST. DRAIN_SEED repeats the moments of an earlier run, which it prints.
"""

from __future__ import annotations

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import openstack

ROUNDS = 4
EARLIEST, LATEST = 1.0, 12.0
UNDER_WAY = "TASK [lowtide.compute.host_drain : Drain |"
DRAIN = pathlib.Path(__file__).parent.parent / "host_drain" / "converge.yml"
INVENTORY = pathlib.Path(__file__).parent.parent / "inventory.yml"


def guests_on(host: str) -> int:
    """How many guests Nova lists on the host."""
    compute = openstack.connect().compute
    return len(list(compute.servers(details=False, all_projects=True, compute_host=host)))


def interrupt(after: float, everything: bool) -> str:
    """One drain, killed after so many seconds: ansible-playbook alone, or all its children too."""
    drain = subprocess.Popen(
        ["ansible-playbook", "-i", str(INVENTORY), str(DRAIN)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with drain, drain.stdout:
        for line in drain.stdout:
            if line.startswith(UNDER_WAY):
                break
        # What it says from here on is little, and fits into the pipe.
        try:
            drain.wait(after)
        except subprocess.TimeoutExpired:
            victims = [*(descendants(drain.pid) if everything else ()), drain.pid]
            for pid in victims:
                kill(pid)
            return f"killed {len(victims)} process(es) after {after:.1f} s"
    return f"ended by itself with {drain.returncode} before {after:.1f} s"


def kill(pid: int) -> None:
    """SIGKILL, to a process that may just have ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def descendants(pid: int) -> list[int]:
    """The children of a process and their children, from /proc."""
    found: list[int] = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [*descendants(child), child]
    return found


def main() -> int:
    """Kill the drain ROUNDS times, or until the host is empty."""
    host = sys.argv[1]
    seed = int(os.environ.get("DRAIN_SEED", time.time_ns() % 1_000_000))
    dice = random.Random(seed)
    print(f"DRAIN_SEED={seed}")
    for round_number in range(ROUNDS):
        if not guests_on(host):
            print(f"{host} is empty")
            break
        told = interrupt(dice.uniform(EARLIEST, LATEST), everything=bool(round_number % 2))
        print(f"{told}; {guests_on(host)} guests are still on {host}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
