# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill a process at a moment of a host's next outgoing migration: ``... PID MOMENT``.

Runs among a hypervisor's files, with the system's Python and libvirt's binding for it, but not
among its processes: nobody there can kill process 1. MOMENT is before_switchover (the first pass
over the memory begins), during_switchover (the guest is stopped here) or after_switchover (it
runs there, and nova-compute has yet to learn of it).
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import libvirt

ARMED = "armed"
WAKE_MS = 1000
LIFECYCLE = {
    "during_switchover": (
        libvirt.VIR_DOMAIN_EVENT_SUSPENDED,
        libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED,
    ),
    "after_switchover": (
        libvirt.VIR_DOMAIN_EVENT_STOPPED,
        libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED,
    ),
}


def main() -> None:
    """Say ARMED once events are subscribed to, and wait for the one that counts."""
    victim, moment = int(sys.argv[1]), sys.argv[2]
    libvirt.virEventRegisterDefaultImpl()
    connection = libvirt.open("qemu:///system")

    def crash(domain: Any) -> None:
        os.kill(victim, signal.SIGKILL)
        print(f"killed {victim} {moment} of {domain.name()}", flush=True)
        os._exit(0)

    def on_pass(_connection: Any, domain: Any, _number: int, _opaque: Any) -> None:
        crash(domain)

    def on_lifecycle(_connection: Any, domain: Any, event: int, detail: int, _opaque: Any) -> None:
        if (event, detail) == LIFECYCLE[moment]:
            crash(domain)

    if moment in LIFECYCLE:
        kind, handler = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_lifecycle
    else:
        kind, handler = libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, on_pass
    connection.domainEventRegisterAny(None, kind, handler, None)
    # Wakes the loop below, so that it notices when there is nothing left to kill.
    libvirt.virEventAddTimeout(WAKE_MS, lambda _timer, _opaque: None, None)
    print(ARMED, flush=True)
    while runs(victim):
        libvirt.virEventRunDefaultImpl()


def runs(pid: int) -> bool:
    """Tell whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
