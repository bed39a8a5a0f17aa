# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Which hosts of a fleet can be drained side by side, and in which order.

This module util is **PRIVATE** to the collection: it may change without notice.
Assumed: after its batch a host is back, empty, and guests stay where they went. The grouping is
StarlingX's (its VIM's _create_worker_host_lists), made aware of room, zones and fault domains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from ansible_collections.lowtide.compute.plugins.module_utils._planner.fleet_model import (
    FAULT_DOMAIN,
    NO_DOMAIN,
    Batch,
    FleetGroup,
    FleetGuest,
    FleetHost,
    FleetPlan,
    Rules,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.ground import Ground
from ansible_collections.lowtide.compute.plugins.module_utils._planner.packing import Packing
from ansible_collections.lowtide.compute.plugins.module_utils._planner.undrainable import (
    before_it_starts,
    without_room,
)

#: A batch is closed when the guests of so many hosts in a row find no room beside it.
MAX_MISSES = 8


def plan_batches(
    hosts: Iterable[FleetHost],
    guests: Iterable[FleetGuest],
    groups: Iterable[FleetGroup],
    chosen: Iterable[str],
    rules: Rules,
) -> FleetPlan:
    """Batches for the ``chosen`` hosts: empty ones first, then those with the fewest guests.

    A host whose guests find no room is tried again after every other host was drained, because
    guests move, and rooms with them, until nothing changes any more.
    """
    ground = Ground(hosts, guests, groups)
    wanted = sorted(set(chosen))
    hopeless = before_it_starts(ground, wanted)
    waiting = set(wanted) - {each.host for each in hopeless}
    batcher = _Batcher(ground, rules, limits(ground.hosts.values(), rules, len(wanted)))
    batches: list[Batch] = []
    stuck: set[str] = set()
    progress = False
    while waiting:
        batch = batcher.next(waiting, stuck, canary=rules.canary and not batches)
        if batch is not None:
            batches.append(batch)
            waiting -= set(batch.hosts)
            progress = True
        elif progress:
            stuck, progress = set(), False
        else:
            break
    left = [
        without_room(host, Packing(ground, _order(ground, waiting, host)).shortage(host))
        for host in waiting
    ]
    both = sorted([*hopeless, *left], key=lambda each: each.host)
    return FleetPlan(tuple(batches), tuple(both))


class _Batcher:
    """Makes one batch after the other, and carries it out on the ground."""

    def __init__(self, ground: Ground, rules: Rules, aggregates: Mapping[str, int]) -> None:
        self._ground = ground
        self._rules = rules
        self._aggregates = aggregates

    def next(self, waiting: set[str], stuck: set[str], *, canary: bool) -> Batch | None:
        """The next batch of those that wait and are not stuck; who finds no room becomes stuck."""
        ground = self._ground
        line = sorted(waiting - stuck, key=lambda host: (ground.counts[host], host))
        packing = None
        while line and packing is None:
            first = line.pop(0)
            packing = self._alone(first, waiting)
            if packing is None:
                stuck.add(first)
        if packing is None:
            return None
        hosts, kept_out = self._company(first, line, packing, 1 if canary else 0)
        batch = Batch(
            hosts=tuple(hosts),
            guests=sum(ground.counts[host] for host in hosts),
            seconds=round(max(ground.seconds(h, self._rules.max_parallel) for h in hosts), 1),
            moves=packing.moves(),
            kept_out=dict(sorted(kept_out.items())),
            canary=canary,
        )
        ground.carry_out(hosts, batch.moves)
        return batch

    def _alone(self, host: str, waiting: set[str]) -> Packing | None:
        """A batch of this host. A second try begins with the fullest hosts, which wastes least."""
        for roomiest_first in (True, False):
            packing = Packing(self._ground, _order(self._ground, waiting, host, roomiest_first))
            if packing.add(host):
                return packing
        return None

    def _company(
        self, first: str, line: Sequence[str], packing: Packing, most: int
    ) -> tuple[list[str], Counter[str]]:
        """The first host and all that may go with it; rule -> how many hosts it kept out."""
        most = most or self._rules.max_hosts
        hosts, kept_out = [first], Counter()
        groups = set(self._ground.spread_groups(first))
        lost = Counter(self._ground.hosts[first].aggregates)
        misses = 0
        for tried, host in enumerate(line):
            if len(hosts) == most:
                kept_out["max_hosts"] = len(line) - tried
                break
            rule = self._objection(first, host, groups, lost)
            if not rule and (misses == MAX_MISSES or not packing.add(host)):
                rule, misses = "room", min(MAX_MISSES, misses + 1)
            if rule:
                kept_out[rule] += 1
                continue
            hosts.append(host)
            misses = 0
            groups |= self._ground.spread_groups(host)
            lost.update(self._ground.hosts[host].aggregates)
        return hosts, kept_out

    def _objection(self, first: str, host: str, groups: set[str], lost: Counter[str]) -> str:
        """The rule by which a host may not join, "" if it may; room is not looked at."""
        within, one = self._rules.within, self._ground.hosts[host]
        if within != NO_DOMAIN and _domain(self._ground.hosts[first], within) != _domain(
            one, within
        ):
            return within
        if any(lost[name] >= self._aggregates[name] for name in one.aggregates):
            return "aggregate_limit"
        if not groups.isdisjoint(self._ground.spread_groups(host)):
            return "server_group"
        return ""


def _domain(host: FleetHost, within: str) -> str:
    return host.domain if within == FAULT_DOMAIN else host.zone


def _order(
    ground: Ground, waiting: set[str], leaving: str, roomiest_first: bool = True
) -> list[str]:
    """Who is asked for room: hosts that are not to be drained any more first, to move guests once.

    Among them the roomiest, as Nova's default weighers would have it.
    """
    sign = -1 if roomiest_first else 1
    usable = (h.name for h in ground.hosts.values() if h.name != leaving)
    return sorted(
        usable,
        key=lambda name: (name in waiting, sign * ground.free[name].get("MEMORY_MB", 0), name),
    )


def limits(hosts: Iterable[FleetHost], rules: Rules, drained: int) -> dict[str, int]:
    """Aggregate -> how many of its hosts may be out at a time.

    StarlingX's rule: the share of all hosts that a batch is, at most half, and never less than one.
    """
    sizes = Counter(name for host in hosts for name in host.aggregates)
    given = rules.aggregate_limit
    if given and not given.endswith("%"):
        return dict.fromkeys(sizes, int(given))
    if given:
        share = Fraction(given.removesuffix("%")) / 100
    else:
        share = min(Fraction(rules.max_hosts, max(1, drained)), Fraction(1, 2))
    return {name: max(1, int(size * share)) for name, size in sizes.items()}
