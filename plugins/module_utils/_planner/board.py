# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Which guests are on which hosts while a plan is made, and what that leaves free.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ansible_collections.lowtide.compute.plugins.module_utils._planner.claims import Claims
from ansible_collections.lowtide.compute.plugins.module_utils._planner.destinations import mates_on
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Guest, Room

#: A guest's likeness: those that have the same are the same to every host.
Shape = tuple[object, ...]


class Board:
    """Guests, the hosts that are open to each of them alone, and who is where so far.

    ``guests`` are in the order in which they are to arrive. ``where``: guest id -> host of those
    that have a place. ``hosts``: guest id -> hosts open to it, by name.
    """

    def __init__(
        self, guests: Sequence[Guest], rooms: Sequence[Room], hosts: dict[str, list[str]]
    ) -> None:
        self.guests = {guest.id: guest for guest in guests}
        self.hosts = hosts
        self.where: dict[str, str] = {}
        self._free = {room.host: dict(room.free) for room in rooms}
        self._mates: Counter[tuple[str, str]] = Counter()
        self._total: Counter[str] = Counter()
        for room in rooms:
            self._total.update({name: max(0, free) for name, free in room.free.items()})
        self.claims = Claims(guests, rooms)
        self.shapes = {guest.id: self._shape(guest) for guest in guests}

    def _shape(self, guest: Guest) -> Shape:
        group = guest.group.id if guest.group else ""
        needs = tuple(sorted(guest.resources.items()))
        cells = self.claims.kind(guest.id)
        return (needs, group, guest.host, cells, tuple(self.hosts[guest.id]))

    # --- moves

    def put(self, guest_id: str, host: str) -> None:
        self._take(guest_id, host, 1)
        self.where[guest_id] = host

    def drop(self, guest_id: str) -> None:
        self._take(guest_id, self.where.pop(guest_id), -1)

    def restore(self, where: dict[str, str]) -> None:
        """Everybody back to where they were when ``where`` was copied."""
        for guest_id in [each for each in self.where if self.where[each] != where.get(each)]:
            self.drop(guest_id)
        for guest_id in where.keys() - self.where.keys():
            self.put(guest_id, where[guest_id])

    def _take(self, guest_id: str, host: str, sign: int) -> None:
        guest, free = self.guests[guest_id], self._free[host]
        self.claims.change(guest_id, host, sign)
        for name, amount in guest.resources.items():
            free[name] = free.get(name, 0) - sign * amount
        if guest.group is not None:
            self._mates[guest.group.id, host] += sign

    # --- questions

    def fits(self, guest_id: str, host: str) -> bool:
        """Has this host, open to the guest, room for it beside whom it was given already?"""
        guest, free = self.guests[guest_id], self._free[host]
        if any(free.get(name, 0) < amount for name, amount in guest.resources.items()):
            return False
        group = guest.group
        hard = group is not None and group.policy == "anti-affinity"
        if hard and self.mates(guest, host) >= group.max_server_per_host:
            return False
        return self.claims.fit(guest_id, host)

    def mates(self, guest: Guest, host: str) -> int:
        """Members of its group that are on the host, or are to be."""
        return mates_on(guest, host) + self._mates[guest.group.id, host] if guest.group else 0

    def strangeness(self, guest: Guest, host: str) -> int:
        """How much the guest's group, where it only wishes, would rather have another host."""
        policy = guest.group.policy if guest.group else ""
        sign = {"soft-anti-affinity": 1, "soft-affinity": -1}.get(policy, 0)
        return sign * self.mates(guest, host) if sign else 0

    def size(self, guest_id: str) -> float:
        """Its share of all that there is of the resource that it is short of most."""
        needs = self.guests[guest_id].resources.items()
        return max((n / max(1, self._total[name]) for name, n in needs), default=0.0)

    def free(self, host: str) -> dict[str, int]:
        return self._free[host]

    def left_free(self, guest_id: str, host: str) -> float:
        """Shares of all that there is which this host would have left, summed up."""
        needs, free = self.guests[guest_id].resources, self._free[host]
        rest = ((free.get(name, 0) - n) / max(1, self._total[name]) for name, n in needs.items())
        return sum(rest)

    def likeness(self, host: str) -> tuple[object, ...]:
        """What tells this host, as it is now, from others that are open to the same guests."""
        groups = tuple(sorted(g for (g, where), n in self._mates.items() if where == host and n))
        counts = tuple(self._mates[group, host] for group in groups)
        cells = self.claims.likeness(host)
        return (tuple(sorted(self._free[host].items())), groups, counts, cells)

    def on(self, host: str) -> list[str]:
        return [guest_id for guest_id, where in self.where.items() if where == host]

    def unplaced(self) -> list[str]:
        return [guest_id for guest_id in self.guests if guest_id not in self.where]
