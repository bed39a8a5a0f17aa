# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Does the whole plan fit where it goes: every guest placed, one after the other.

This module util is **PRIVATE** to the collection: it may change without notice.
Necessary, not sufficient: Nova's scheduler and the destination's claim have the last word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner.eligibility import (
    Context,
    destinations,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Group,
    Guest,
    Room,
)


def place(guests: Iterable[Guest], context: Context) -> dict[str, str]:
    """A host for each guest, ``""`` where none is left for it; the biggest are placed first.

    The roomiest host takes each guest, as Nova's default weighers would have it.
    """
    rooms = {room.host: room for room in context.rooms or ()}
    groups: dict[str, Group] = {}
    placed: dict[str, str] = {}
    for guest in sorted(guests, key=lambda g: (-g.ram_mib, -g.vcpus, g.id)):
        if guest.group is not None:
            guest = replace(guest, group=groups.get(guest.group.id, guest.group))
        now = replace(context, rooms=tuple(rooms.values()))
        found = destinations(guest, now)
        placed[guest.id] = found[0].host if found else ""
        if not found:
            continue
        rooms[found[0].host] = _taken(found[0], guest)
        if guest.group is not None:
            members = {**guest.group.members, guest.id: found[0].host}
            groups[guest.group.id] = replace(guest.group, members=members)
    return placed


def _taken(room: Room, guest: Guest) -> Room:
    free = {k: v - guest.resources.get(k, 0) for k, v in room.free.items()}
    return replace(room, free=free)
