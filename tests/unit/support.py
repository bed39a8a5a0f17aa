# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of the planner's model for tests: ordinary ones, with only what matters said.

The host that is drained is cmp-1; cmp-2 and cmp-3 have room for eight ordinary guests each.
"""

from __future__ import annotations

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner import numa_model as n

SOURCE = "cmp-1"


def resources(count: int = 1) -> dict[str, int]:
    """What ``count`` ordinary guests hold in Placement."""
    return {"VCPU": count, "MEMORY_MB": 1024 * count, "DISK_GB": count}


def guest(guest_id: str = "g1", **fields) -> m.Guest:
    """A running guest of 1 GiB on cmp-1."""
    ordinary = {
        "name": f"vm-{guest_id}",
        "host": SOURCE,
        "vm_state": "active",
        "ram_mib": 1024,
        "resources": resources(),
    }
    return m.Guest(guest_id, **(ordinary | fields))


def migration(number: int = 1, guest_id: str = "g1", **fields) -> m.Migration:
    """A live migration of g1 from cmp-1 to cmp-2 that runs."""
    ordinary = {
        "uuid": f"migration-{number}",
        "kind": "live-migration",
        "status": "running",
        "source": SOURCE,
        "destination": "cmp-2",
    }
    return m.Migration(number, guest_id=guest_id, **(ordinary | fields))


def room(host: str = "cmp-2", count: int = 8, **fields) -> m.Room:
    """A usable host with place for ``count`` ordinary guests, in zone nova."""
    return m.Room(host, **({"free": resources(count), "availability_zone": "nova"} | fields))


def service(host: str = SOURCE, **fields) -> m.Service:
    """A service that is enabled and up."""
    ordinary = {"enabled": True, "up": True, "availability_zone": "nova"}
    return m.Service(f"service-{host}", host, **(ordinary | fields))


def survey(*guests: m.Guest, **fields) -> m.Survey:
    """A look at cmp-1 with these guests, and cmp-2 and cmp-3 to go to."""
    ordinary = {
        "scope": m.Scope(SOURCE),
        "services": tuple(service(host) for host in (SOURCE, "cmp-2", "cmp-3")),
        "rooms": (room(SOURCE), room("cmp-2"), room("cmp-3")),
    }
    return m.Survey(guests=guests, **(ordinary | fields))


def pinned(guest_id: str = "g1", cpus: int = 2, **fields) -> m.Guest:
    """A guest with CPUs of its own, in one cell."""
    cell = n.GuestCell(0, pinned_cpus=tuple(range(cpus)), memory_mib=1024)
    numa = n.GuestNuma((cell,), policy="dedicated", vcpus=cpus, memory_mib=1024)
    return guest(guest_id, numa=numa, **fields)


def cells(host: str, *cpus: int, **fields) -> n.HostNuma:
    """A host with one cell for each number of dedicated CPUs, none of them taken."""
    first, found = 0, []
    for number, count in enumerate(cpus):
        own = tuple(range(first, first + count))
        first += count
        found.append(
            n.HostCell(
                number,
                dedicated_cpus=own,
                siblings=tuple((cpu,) for cpu in own),
                memory_mib=65536,
            )
        )
    return n.HostNuma(host, tuple(found), devices=(), **fields)
