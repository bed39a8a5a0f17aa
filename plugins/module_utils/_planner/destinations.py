# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Could this guest go to this host: one test for each thing that Nova checks and we can know.

This module util is **PRIVATE** to the collection: it may change without notice.
Necessary, not sufficient: Nova's scheduler and the destination's claim have the last word.
``home``: the room that the guest leaves, ``None`` where it is not known.
"""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Guest, Room
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa import fit
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import NO_FIT

Test = Callable[[Guest, Room, "Room | None"], bool]


def is_open(room: Room) -> bool:
    """Does it take guests, and will it for as long as this run lasts?"""
    return room.usable and not room.closing


def in_zone(guest: Guest, room: Room, _home: Room | None = None) -> bool:
    zone = guest.pinned_availability_zone
    return not zone or room.availability_zone == zone


def hypervisor_allows(guest: Guest, room: Room, home: Room | None = None) -> bool:
    """Live to the same hypervisor, the same version or newer (nova/conductor/tasks/live_migrate.py,
    InvalidHypervisorType and DestinationHypervisorTooOld); cold to any."""
    if home is None or guest.vm_state == "stopped":
        return True
    if home.hypervisor_type and room.hypervisor_type not in ("", home.hypervisor_type):
        return False
    return not room.hypervisor_version or room.hypervisor_version >= home.hypervisor_version


def group_allows(guest: Guest, room: Room, _home: Room | None = None) -> bool:
    """Anti-affinity only: hard affinity never allows another host (see the rules)."""
    if guest.group is None or guest.group.policy != "anti-affinity":
        return True
    return mates_on(guest, room.host) < guest.group.max_server_per_host


def mates_on(guest: Guest, host: str) -> int:
    """Other members of its group on this host."""
    members = guest.group.members.items() if guest.group else ()
    return sum(1 for member, where in members if where == host and member != guest.id)


def has_room(guest: Guest, room: Room, _home: Room | None = None) -> bool:
    return all(room.free.get(name, 0) >= amount for name, amount in guest.resources.items())


def placement_offers(guest: Guest, room: Room, _home: Room | None = None) -> bool:
    """Resources, traits and aggregates, in Placement's own judgement."""
    return guest.candidates is None or room.host in guest.candidates


def numa_allows(guest: Guest, room: Room, _home: Room | None = None) -> bool:
    """Cells and devices, where those of the host were seen: what is unknown is left to Nova."""
    if room.numa is None or guest.numa is None or not wants_cells(guest):
        return True
    return fit(guest.numa, room.numa).result != NO_FIT


def wants_cells(guest: Guest) -> bool:
    """Does it ask for cells, or for devices, which are in cells?"""
    return guest.numa is not None and bool(guest.numa.cells or guest.numa.devices)


#: In the order in which the rules ask, so that the reason is the first thing in the way.
TESTS: tuple[Test, ...] = (
    in_zone,
    hypervisor_allows,
    group_allows,
    has_room,
    placement_offers,
    numa_allows,
)


def home_of(guest: Guest, rooms: tuple[Room, ...] | None) -> Room | None:
    return next((room for room in rooms or () if room.host == guest.host), None)


def roomiest(room: Room) -> tuple[int, str]:
    """Sorts the host first that Nova's default weighers would take."""
    return (-room.free.get("MEMORY_MB", 0), room.host)


def traits_asked(guest: Guest) -> tuple[str, ...]:
    """Traits that flavor and image require, and with ``!`` those that they forbid, as Placement's
    ``required`` has them. Those of numbered groups are about one device, and not among them."""
    asked = {}
    for texts in (guest.image_properties, guest.extra_specs):
        for key, wish in texts.items():
            if key.startswith("trait:") and wish in ("required", "forbidden"):
                asked[key.removeprefix("trait:")] = "!" if wish == "forbidden" else ""
    return tuple(f"{sign}{trait}" for trait, sign in sorted(asked.items()))


def cells_in_the_way(guest: Guest, rooms: tuple[Room, ...]) -> str:
    """Why the first few of these hosts cannot take it, in Nova's terms."""
    misfits = [
        f"{room.host}: {fit(guest.numa, room.numa).reason}"
        for room in rooms
        if guest.numa and room.numa and not numa_allows(guest, room)
    ]
    more = f"; and {len(misfits) - 3} more" if len(misfits) > 3 else ""
    return "; ".join(misfits[:3]) + more
