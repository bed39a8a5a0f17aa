# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Find a place for every guest: first fit decreasing, then by moving those that have one.

This module util is **PRIVATE** to the collection: it may change without notice.
No clock and no chance: what is counted are steps, so that the same cloud gets the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

from ansible_collections.lowtide.compute.plugins.module_utils._planner.board import Board

#: Looks at a host that a repair may take.
REPAIR_STEPS = 30_000
#: A repair moves guests that move guests that ... so often.
REPAIR_DEPTH = 2

Choice = Callable[[Board, str, str], tuple[object, ...]]


class Steps:
    """A budget of looks at a host."""

    def __init__(self, number: int) -> None:
        self.left = number

    def spend(self, number: int = 1) -> bool:
        """Take so many; is that still within the budget?"""
        self.left -= number
        return self.left >= 0


def roomiest_first(board: Board, guest_id: str, host: str) -> tuple[object, ...]:
    """As Nova's default weighers: guests are spread, and each host keeps some room."""
    guest = board.guests[guest_id]
    return (board.strangeness(guest, host), -board.free(host).get("MEMORY_MB", 0), host)


def tightest_first(board: Board, guest_id: str, host: str) -> tuple[object, ...]:
    """Leaves the largest holes for those that come after."""
    guest = board.guests[guest_id]
    return (board.strangeness(guest, host), board.left_free(guest_id, host), host)


def by_size(board: Board, guest_ids: Iterable[str]) -> list[str]:
    return sorted(guest_ids, key=lambda each: (-board.size(each), each))


def by_choice(board: Board, guest_ids: Iterable[str]) -> list[str]:
    """Those that have the fewest hosts to go to first."""
    return sorted(guest_ids, key=lambda e: (len(board.hosts[e]), -board.size(e), e))


def fill(board: Board, guest_ids: Iterable[str], choice: Choice) -> bool:
    """Put each where it fits; has every one of them a place then?"""
    for guest_id in guest_ids:
        fitting = [host for host in board.hosts[guest_id] if board.fits(guest_id, host)]
        if fitting:
            board.put(guest_id, min(fitting, key=lambda h: choice(board, guest_id, h)))
    return not board.unplaced()


# --- repair ------------------------------------------------------------------------------


def repair(board: Board) -> bool:
    """Move those that have a place so that others find one; has everybody one then?"""
    steps = Steps(REPAIR_STEPS)
    for guest_id in by_size(board, board.unplaced()):
        _squeeze_in(board, guest_id, REPAIR_DEPTH, frozenset(), steps)
    return not board.unplaced()


def _squeeze_in(board: Board, guest_id: str, depth: int, fixed: frozenset, steps: Steps) -> bool:
    """Give it a place, if need be by moving one or two others; else nothing is changed."""
    if fill_one(board, guest_id):
        return True
    if not steps.spend(len(board.hosts[guest_id])) or not depth:
        return False
    for host in board.hosts[guest_id]:
        movable = by_size(board, (each for each in board.on(host) if each not in fixed))
        for number in (1, 2):
            for victims in combinations(movable, number):
                if not steps.spend():
                    return False
                if _swap(board, guest_id, host, victims, depth, fixed, steps):
                    return True
    return False


def fill_one(board: Board, guest_id: str) -> bool:
    """Put it where it leaves the least, if it fits anywhere."""
    fitting = [host for host in board.hosts[guest_id] if board.fits(guest_id, host)]
    if fitting:
        board.put(guest_id, min(fitting, key=lambda h: tightest_first(board, guest_id, h)))
    return bool(fitting)


def _swap(
    board: Board,
    guest_id: str,
    host: str,
    victims: Sequence[str],
    depth: int,
    fixed: frozenset,
    steps: Steps,
) -> bool:
    before = dict(board.where)
    for victim in victims:
        board.drop(victim)
    if board.fits(guest_id, host):
        board.put(guest_id, host)
        # Whoever has just been given a place keeps it: so this ends.
        fixed = fixed | {guest_id, *victims}
        if all(_squeeze_in(board, each, depth - 1, fixed, steps) for each in victims):
            return True
    board.restore(before)
    return False
