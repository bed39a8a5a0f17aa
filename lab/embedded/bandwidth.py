# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Max-min fair sharing of network links between flows that each have a ceiling of their own."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

# Two levels closer than this, relatively, are one level: the quotients that yield them are rounded.
_SAME_LEVEL = 1 + 1e-12


@dataclass(frozen=True, slots=True)
class Flow:
    """A transfer over every link of `links`, at most `ceiling` bytes/s (no ceiling by default)."""

    links: tuple[Hashable, ...]
    ceiling: float = math.inf


def fair_shares(flows: Sequence[Flow], capacity: Mapping[Hashable, float]) -> list[float]:
    """Return the rate of each flow, in the flows' order and in the unit of `capacity`.

    All flows rise together; a flow stops rising at its ceiling or when one of its links is full.
    No flow can then get more without another, that has no more than it, getting less.

    Raises KeyError for a link without a capacity.
    """
    rates = [0.0] * len(flows)
    rising = set(range(len(flows)))
    while rising:
        levels = _link_levels(flows, rates, rising, capacity)
        level = min([*levels.values(), *(flows[i].ceiling for i in rising)])
        full = {link for link, at in levels.items() if at <= level * _SAME_LEVEL}
        stopped = {
            i
            for i in rising
            if flows[i].ceiling <= level * _SAME_LEVEL or not full.isdisjoint(flows[i].links)
        }
        for i in stopped:
            rates[i] = level
        rising -= stopped
    return rates


def _link_levels(
    flows: Sequence[Flow],
    rates: Sequence[float],
    rising: set[int],
    capacity: Mapping[Hashable, float],
) -> dict[Hashable, float]:
    """For each link that a rising flow uses, the rate at which these flows fill it."""
    taken: dict[Hashable, float] = {}
    users: dict[Hashable, int] = {}
    for i, flow in enumerate(flows):
        for link in flow.links:
            if i in rising:
                users[link] = users.get(link, 0) + 1
            else:
                taken[link] = taken.get(link, 0.0) + rates[i]
    return {
        link: max(0.0, capacity[link] - taken.get(link, 0.0)) / count
        for link, count in users.items()
    }
