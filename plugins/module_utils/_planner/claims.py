# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What planned guests have of the cells of planned hosts, claimed in the order of their arrival.

This module util is **PRIVATE** to the collection: it may change without notice.
Each guest's claim depends on those before it, so that a host is claimed anew from its first guest
on; what came of it is remembered, also for other guests that ask for the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner.destinations import (
    wants_cells,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Guest, Room
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa import fit, take
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    NO_FIT,
    GuestNuma,
    HostNuma,
)

#: Arrival and kind of a guest.
Claim = tuple[int, int]


class Claims:
    """``guests`` in the order of their arrival. Hosts whose cells nobody saw take all."""

    def __init__(self, guests: Sequence[Guest], rooms: Iterable[Room]) -> None:
        self._asks: list[GuestNuma] = []
        self._claim: dict[str, Claim] = {}
        numbers: dict[str, int] = {}
        for arrival, guest in enumerate(guests):
            if guest.numa is None or not wants_cells(guest):
                continue
            kind = numbers.setdefault(repr(guest.numa), len(numbers))
            if kind == len(self._asks):
                self._asks.append(guest.numa)
            self._claim[guest.id] = (arrival, kind)
        self._hosts = {room.host: room.numa for room in rooms if room.numa is not None}
        looks: dict[str, int] = {}
        self._look = {
            host: looks.setdefault(repr(replace(numa, host="")), len(looks))
            for host, numa in self._hosts.items()
        }
        self._on: dict[str, list[Claim]] = {host: [] for host in self._hosts}
        self._known: dict[tuple[int, tuple[int, ...]], HostNuma | None] = {}

    def kind(self, guest_id: str) -> int:
        """Guests that ask for the same have the same; -1: it asks for nothing."""
        return self._claim.get(guest_id, (0, -1))[1]

    def change(self, guest_id: str, host: str, sign: int) -> None:
        claim, claims = self._claim.get(guest_id), self._on.get(host)
        if claim is None or claims is None:
            return
        if sign > 0:
            claims.append(claim)
            claims.sort()
        else:
            claims.remove(claim)

    def fit(self, guest_id: str, host: str) -> bool:
        """Do its claim and those that are planned for the host fit, one after the other?"""
        claim, claims = self._claim.get(guest_id), self._on.get(host)
        if claim is None or claims is None:
            return True
        kinds = tuple(kind for _arrival, kind in sorted([*claims, claim]))
        return self._after(host, kinds) is not None

    def likeness(self, host: str) -> tuple[object, ...]:
        """What tells the host's cells from those of others."""
        return (self._look.get(host), tuple(self._on.get(host, ())))

    def _after(self, host: str, kinds: tuple[int, ...]) -> HostNuma | None:
        """The host's cells after these claims, ``None`` when one of them does not fit."""
        if not kinds:
            return self._hosts[host]
        key = (self._look[host], kinds)
        if key not in self._known:
            before = self._after(host, kinds[:-1])
            self._known[key] = None if before is None else _claimed(self._asks[kinds[-1]], before)
        return self._known[key]


def _claimed(asks: GuestNuma, host: HostNuma) -> HostNuma | None:
    verdict = fit(asks, host)
    return None if verdict.result == NO_FIT else take(asks, host, verdict)
