# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Try every placement that differs from those tried before: the one way to know that there is none.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ansible_collections.lowtide.compute.plugins.module_utils._planner.board import Board
from ansible_collections.lowtide.compute.plugins.module_utils._planner.placing import (
    Steps,
    by_choice,
)

#: Looks at a host that all searches of one plan may take together.
SEARCH_STEPS = 60_000
#: More guests than these are not searched for: each takes a level of Python's stack.
SEARCHED = 300


class Search:
    """Searches on one board, which must be empty when one begins.

    ``gave_up``: one of them ended before it knew, so that no place found proves nothing.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self.gave_up = False
        self._steps = Steps(SEARCH_STEPS)
        self._order = sorted(by_choice(board, board.guests), key=self._kind)
        self._class = self._classes()
        self._free: dict[tuple[str, ...], dict[str, int]] = {}

    def _kind(self, guest_id: str) -> tuple[object, ...]:
        """Those that are alike follow each other, the least free to choose first."""
        board = self.board
        return (len(board.hosts[guest_id]), -board.size(guest_id), repr(board.shapes[guest_id]))

    def _classes(self) -> dict[str, int]:
        """Host -> number of its class: of one class are those that are open to the same guests."""
        open_to: dict[str, list[str]] = {}
        for guest_id in self._order:
            for host in self.board.hosts[guest_id]:
                open_to.setdefault(host, []).append(guest_id)
        numbers: dict[tuple[str, ...], int] = {}
        return {host: numbers.setdefault(tuple(g), len(numbers)) for host, g in open_to.items()}

    def find(self, guest_ids: Sequence[str]) -> bool:
        """Is a place found for all of these? Then they are on the board, which else stays empty."""
        if not self._steps.spend(len(guest_ids)) or len(guest_ids) > SEARCHED:
            self.gave_up = True
            return False
        wanted = set(guest_ids)
        order = [guest_id for guest_id in self._order if guest_id in wanted]
        return not self._exceed(order) and self._place(order, 0)

    def _exceed(self, order: Sequence[str]) -> bool:
        """Do those that can go to the same hosts need more than these have?"""
        needs: dict[tuple[str, ...], Counter[str]] = {}
        for guest_id in order:
            hosts = tuple(self.board.hosts[guest_id])
            needs.setdefault(hosts, Counter()).update(self.board.guests[guest_id].resources)
        return any(
            amount > self._free_on(hosts).get(name, 0)
            for hosts, amounts in needs.items()
            for name, amount in amounts.items()
        )

    def _free_on(self, hosts: tuple[str, ...]) -> dict[str, int]:
        if hosts not in self._free:
            free: Counter[str] = Counter()
            for host in hosts:
                free.update({n: max(0, left) for n, left in self.board.free(host).items()})
            self._free[hosts] = free
        return self._free[hosts]

    def _place(self, order: list[str], at: int) -> bool:
        if at == len(order):
            return True
        board, guest_id = self.board, order[at]
        # Of guests that are alike each goes to the host of the one before, or to a later one, and
        # of hosts that are alike the first is taken: what this leaves out differs in names only.
        alike = at > 0 and board.shapes[order[at - 1]] == board.shapes[guest_id]
        first = board.where[order[at - 1]] if alike else ""
        tried: set[tuple[object, ...]] = set()
        for host in board.hosts[guest_id]:
            if not self._steps.spend():
                self.gave_up = True
                return False
            if host < first or not board.fits(guest_id, host):
                continue
            looks = (self._class[host], board.likeness(host))
            if looks in tried:
                continue
            tried.add(looks)
            board.put(guest_id, host)
            if self._place(order, at + 1):
                return True
            board.drop(guest_id)
            if self.gave_up:
                return False
        return False
