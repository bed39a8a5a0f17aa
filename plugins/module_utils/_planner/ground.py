# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The fleet as it changes from batch to batch: which guests are where, and what is free.

This module util is **PRIVATE** to the collection: it may change without notice.
Guests in no group are counted by kind; only members of groups are known one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.lowtide.compute.plugins.module_utils._planner.fleet_model import (
    SPREADING,
    FleetGroup,
    FleetGuest,
    FleetHost,
    Kind,
    Move,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.schedule import makespan


@dataclass(frozen=True, slots=True)
class Load:
    """``count`` guests of a kind (by its number) that must leave a host."""

    kind: int
    count: int
    source: str
    guest: FleetGuest | None = None


class Ground:
    """Where everything is, batch after batch. Not a value: ``carry_out`` changes it."""

    def __init__(
        self,
        hosts: Iterable[FleetHost],
        guests: Iterable[FleetGuest],
        groups: Iterable[FleetGroup] = (),
    ) -> None:
        self.hosts = {host.name: host for host in sorted(hosts, key=lambda host: host.name)}
        self.groups = {group.id: group for group in groups}
        self.free = {name: dict(host.free) for name, host in self.hosts.items()}
        self.crowds: dict[str, Counter[int]] = {name: Counter() for name in self.hosts}
        self.members: dict[str, dict[str, FleetGuest]] = {name: {} for name in self.hosts}
        self.counts = dict.fromkeys(self.hosts, 0)
        #: (group, host) -> members there.
        self.seats: Counter[tuple[str, str]] = Counter()
        self.kinds: list[Kind] = []
        self._numbers: dict[Kind, int] = {}
        self._allowed: dict[tuple[int, str, int], frozenset[str]] = {}
        for guest in sorted(guests, key=lambda guest: guest.id):
            self._enter(guest)
        self._all = self._everything()
        self.sizes = [self._size(kind) for kind in self.kinds]

    def _enter(self, guest: FleetGuest) -> None:
        number = self._numbers.get(guest.kind)
        if number is None:
            number = self._numbers[guest.kind] = len(self.kinds)
            self.kinds.append(guest.kind)
        if guest.host not in self.hosts:
            return
        self.counts[guest.host] += 1
        if guest.group in self.groups:
            self.members[guest.host][guest.id] = guest
            self.seats[guest.group, guest.host] += 1
        else:
            self.crowds[guest.host][number] += 1

    def _everything(self) -> Counter[str]:
        """Resource class -> all of it, free or held by a guest; no batch changes that."""
        found: Counter[str] = Counter()
        for name, free in self.free.items():
            for resource, amount in free.items():
                found[resource] += max(0, amount)
            for load in self.loads_of(name):
                for resource, amount in self.kinds[load.kind].needs:
                    found[resource] += amount * load.count
        return found

    def _size(self, kind: Kind) -> float:
        """Of the resource that is scarcest for it, the share that one guest takes."""
        return max((amount / self._all[name] for name, amount in kind.needs), default=0.0)

    # --- what is where

    def loads_of(self, host: str) -> list[Load]:
        """All guests of a host."""
        loads = [Load(kind, count, host) for kind, count in self.crowds[host].items()]
        loads += [
            Load(self._numbers[guest.kind], 1, host, guest) for guest in self.members[host].values()
        ]
        return loads

    def seconds(self, host: str, places: int) -> float:
        """To move them all, ``places`` at a time, the longest first."""
        each = [
            self.kinds[load.kind].seconds
            for load in self.loads_of(host)
            for _guest in range(load.count)
        ]
        return makespan(sorted(each, reverse=True), places)

    def spread_groups(self, host: str) -> frozenset[str]:
        """Groups with a member there whose members are not to move from two hosts at a time."""
        ids = {guest.group for guest in self.members[host].values()}
        return frozenset(each for each in ids if self.groups[each].policy in SPREADING)

    def allowed(self, number: int, source: str) -> frozenset[str]:
        """Hosts that may take this kind from there at all, were there room."""
        left = self.hosts[source]
        key = (number, left.hypervisor_type, left.hypervisor_version)
        found = self._allowed.get(key)
        if found is None:
            kind = self.kinds[number]
            found = frozenset(h.name for h in self.hosts.values() if not refusal(kind, left, h))
            self._allowed[key] = found
        return found

    # --- changes

    def carry_out(self, drained: Iterable[str], moves: Iterable[Move]) -> None:
        """The guests are where the moves took them, and the drained hosts are back, empty.

        The rooms of the moves' destinations and groups were taken when the moves were found.
        """
        for host in drained:
            for load in self.loads_of(host):
                self.change(host, self.kinds[load.kind], -load.count)
                if load.guest is not None:
                    self.seats[load.guest.group, host] -= 1
            self.crowds[host], self.members[host], self.counts[host] = Counter(), {}, 0
        for move in moves:
            self.counts[move.destination] += move.count
            if move.guest is not None:
                self.members[move.destination][move.guest.id] = move.guest
            else:
                self.crowds[move.destination][self._numbers[move.kind]] += move.count

    def change(self, host: str, kind: Kind, count: int) -> None:
        """Take the room of ``count`` guests; a negative number gives it back."""
        free = self.free[host]
        for resource, amount in kind.needs:
            free[resource] = free.get(resource, 0) - amount * count


def refusal(kind: Kind, source: FleetHost, host: FleetHost) -> str:
    """Why a host never takes a guest of this kind: usable, zone, traits, hypervisor; "" if it may.

    Nova refuses hypervisors of another type or an older version than the source's
    (nova/conductor/tasks/live_migrate.py).
    """
    if host.unusable:
        return "usable"
    if kind.zone and kind.zone != host.zone:
        return "zone"
    if kind.required - host.traits or kind.forbidden & host.traits:
        return "traits"
    older = host.hypervisor_version < source.hypervisor_version
    if older or host.hypervisor_type != source.hypervisor_type:
        return "hypervisor"
    return ""


def room_for(free: dict[str, int], kind: Kind, wanted: int) -> int:
    """How many of ``wanted`` guests of this kind fit into what is free."""
    for resource, amount in kind.needs:
        fits = free.get(resource, 0) // amount
        if fits < wanted:
            wanted = fits
            if wanted <= 0:
                return 0
    return wanted
