# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Where the guests of one batch go: first fit decreasing, all guests of a kind in one stride.

This module util is **PRIVATE** to the collection: it may change without notice.
Necessary, not sufficient: NUMA cells, devices and the scheduler's other filters are not seen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner.fleet_model import (
    FleetGroup,
    Kind,
    Move,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.ground import (
    Ground,
    Load,
    refusal,
    room_for,
)

HARD, SOFT = "anti-affinity", "soft-anti-affinity"


@dataclass(frozen=True, slots=True)
class Shortage:
    """What found no room: ``load``, of which ``load.count`` guests are left.

    ``refusals``: why other hosts never take it -> how many hosts (see ``refusal``, and ``group``).
    ``rooms``: how many would take it, had they room. ``short``: resource class -> how much more of
    it would be needed; empty when there is enough of each, but not at once on one host.
    """

    load: Load
    kind: Kind
    refusals: Mapping[str, int]
    rooms: int
    short: Mapping[str, int]


class Packing:
    """The hosts of a batch, and where their guests go meanwhile. ``add`` grows it.

    ``order``: the hosts that are asked for room, one after the other. What is placed takes its
    room from the ground at once, and gives it back when ``add`` fails.
    """

    def __init__(self, ground: Ground, order: Iterable[str]) -> None:
        self._ground = ground
        self._order = tuple(order)
        self._closed: set[str] = set()
        self._arrivals: defaultdict[str, list[Load]] = defaultdict(list)
        # From where on a kind may still find room: within a batch rooms only shrink.
        self._starts: dict[tuple[int, frozenset[str]], int] = {}

    def add(self, host: str) -> bool:
        """Drain this host too, if its guests find room; else nothing changes.

        Guests of the batch that were to go to this host go elsewhere.
        """
        starts = dict(self._starts)
        done, left = self._try(host)
        if left is not None:
            self._undo(host, done, starts)
            return False
        for load in self._arrivals.pop(host, ()):
            self._ground.change(host, self._ground.kinds[load.kind], -load.count)
        for destination, load in done:
            self._arrivals[destination].append(load)
        return True

    def shortage(self, host: str) -> Shortage:
        """Why ``add`` failed for this host. Changes nothing."""
        starts = dict(self._starts)
        done, left = self._try(host)
        if left is None:
            raise ValueError(f"{host} can be added")
        found = self._explained(left)
        self._undo(host, done, starts)
        return found

    def moves(self) -> tuple[Move, ...]:
        """What was placed where, each kind of a source and a destination in one."""
        counts: Counter[tuple] = Counter()
        for destination, loads in self._arrivals.items():
            for load in loads:
                counts[load.kind, load.source, destination, load.guest] += load.count
        kinds = self._ground.kinds
        return tuple(
            Move(kinds[kind], source, destination, count, guest)
            for (kind, source, destination, guest), count in counts.items()
        )

    # --- placing

    def _try(self, host: str) -> tuple[list[tuple[str, Load]], Load | None]:
        """Place what is on the host and what was to go there; the first that finds no room."""
        self._closed.add(host)
        arrived = self._arrivals.get(host, [])
        for load in arrived:
            self._seat(load, host, -1)
        done: list[tuple[str, Load]] = []
        for load in sorted([*self._ground.loads_of(host), *arrived], key=self._rank):
            left = self._place(load, done)
            if left:
                return done, replace(load, count=left)
        return done, None

    def _undo(self, host: str, done: Iterable[tuple[str, Load]], starts: dict) -> None:
        for destination, load in done:
            self._ground.change(destination, self._ground.kinds[load.kind], -load.count)
            self._seat(load, destination, -1)
        for load in self._arrivals.get(host, ()):
            self._seat(load, host, 1)
        self._closed.discard(host)
        self._starts = starts

    def _rank(self, load: Load) -> tuple:
        group = self._group(load)
        picky = group is not None and group.policy == HARD
        guest = load.guest.id if load.guest else ""
        return not picky, -self._ground.sizes[load.kind], load.kind, guest, load.source

    def _group(self, load: Load) -> FleetGroup | None:
        return None if load.guest is None else self._ground.groups[load.guest.group]

    def _place(self, load: Load, done: list[tuple[str, Load]]) -> int:
        """Find room for the load, part by part. How many are left."""
        allowed = self._ground.allowed(load.kind, load.source)
        group = self._group(load)
        if group is not None and group.policy in (HARD, SOFT):
            most = (group.most,) if group.policy == HARD else (1, 0)
            return 0 if any(self._place_apart(load, allowed, n, done) for n in most) else 1
        kind, free = self._ground.kinds[load.kind], self._ground.free
        at, left = self._starts.get((load.kind, allowed), 0), load.count
        while at < len(self._order):
            host = self._order[at]
            if host in allowed and host not in self._closed:
                count = room_for(free[host], kind, left)
                if count:
                    self._put(replace(load, count=count), host, done)
                    left -= count
                if not left:
                    break
            at += 1
        self._starts[load.kind, allowed] = at
        return left

    def _place_apart(
        self, load: Load, allowed: frozenset[str], most: int, done: list[tuple[str, Load]]
    ) -> bool:
        """Place a member of a group where fewer than ``most`` others are (0: any number)."""
        kind, free, seats = self._ground.kinds[load.kind], self._ground.free, self._ground.seats
        for host in self._order[self._starts.get((load.kind, allowed), 0) :]:
            if host not in allowed or host in self._closed:
                continue
            if most and seats[load.guest.group, host] >= most:
                continue
            if room_for(free[host], kind, 1):
                self._put(load, host, done)
                return True
        return False

    def _put(self, load: Load, host: str, done: list[tuple[str, Load]]) -> None:
        self._ground.change(host, self._ground.kinds[load.kind], load.count)
        self._seat(load, host, 1)
        done.append((host, load))

    def _seat(self, load: Load, host: str, count: int) -> None:
        if load.guest is not None:
            self._ground.seats[load.guest.group, host] += count

    # --- why not

    def _explained(self, load: Load) -> Shortage:
        """Call it while everything else is placed."""
        ground, kind, group = self._ground, self._ground.kinds[load.kind], self._group(load)
        refusals: Counter[str] = Counter()
        rooms = []
        for name in self._order:
            if name in self._closed:
                continue
            why = refusal(kind, ground.hosts[load.source], ground.hosts[name])
            if not why and group is not None and group.policy == HARD:
                why = "group" if ground.seats[group.id, name] >= group.most else ""
            if why:
                refusals[why] += 1
            else:
                rooms.append(ground.free[name])
        short = _short(kind, load.count, rooms)
        return Shortage(load, kind, dict(refusals), len(rooms), short)


def _short(kind: Kind, count: int, rooms: list[dict[str, int]]) -> dict[str, int]:
    """What all rooms together lack for so many; if nothing, what the best room lacks for one."""
    in_all = {
        name: amount * count - sum(max(0, room.get(name, 0)) for room in rooms)
        for name, amount in kind.needs
    }
    in_best = {
        name: amount - max((room.get(name, 0) for room in rooms), default=0)
        for name, amount in kind.needs
    }
    lacking = {name: amount for name, amount in in_all.items() if amount > 0}
    return lacking or {name: amount for name, amount in in_best.items() if amount > 0}
