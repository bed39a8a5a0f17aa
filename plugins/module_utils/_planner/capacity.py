# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Does the whole plan fit where it goes: a place for every guest, all of them together.

This module util is **PRIVATE** to the collection: it may change without notice.
Necessary, not sufficient: Nova's scheduler and the destination's claim have the last word.

First fit decreasing, by the scarcest resource of each guest, on the roomiest hosts, as Nova's
weighers would have it. Where that leaves somebody out: on the tightest ones, then by moving others,
then by a search for everything that differs. Only the search proves that there is no place for
all, and where it ends before it knows, ``Shortage.least`` is false. So within the search's steps,
which cover a dozen of guests that all differ and many more that are alike, a host more never makes
a plan not fit; beyond them it is likely, and not proven, that it does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.lowtide.compute.plugins.module_utils._planner.board import Board
from ansible_collections.lowtide.compute.plugins.module_utils._planner.eligibility import (
    Context,
    destinations,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Guest, Shortage
from ansible_collections.lowtide.compute.plugins.module_utils._planner.placing import (
    Choice,
    by_choice,
    by_size,
    fill,
    repair,
    roomiest_first,
    tightest_first,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.search import Search


@dataclass(frozen=True, slots=True)
class Placement:
    """``hosts``: guest id -> host, "" for a guest that has no place."""

    hosts: Mapping[str, str]
    shortage: Shortage


def place(guests: Iterable[Guest], context: Context) -> Placement:
    """A host for each guest. ``guests``: in the order in which they are to arrive."""
    guests = list(guests)
    rooms = tuple(context.rooms or ())
    open_to = {guest.id: sorted(r.host for r in destinations(guest, context)) for guest in guests}
    board = Board([guest for guest in guests if open_to[guest.id]], rooms, open_to)
    proven = _settle(board)
    left = tuple(guest.id for guest in guests if guest.id not in board.where)
    # Of those that no host takes even alone it is not the others that keep them out.
    short = Shortage(left, _missing(board, board.unplaced()), proven) if left else Shortage()
    return Placement({guest.id: board.where.get(guest.id, "") for guest in guests}, short)


def _settle(board: Board) -> bool:
    """Place as many as can be; is it proven that no more can?"""
    best: dict[str, str] = {}
    for order, choice in _ways(board):
        board.restore({})
        if fill(board, order, choice) or repair(board):
            return True
        if len(board.where) > len(best):
            best = dict(board.where)
    board.restore({})
    search = Search(board)
    for guest_ids in _fewer(board, len(board.guests) - len(best)):
        if search.find(guest_ids):
            return not search.gave_up
        if search.gave_up:
            break
    board.restore(best)
    return not search.gave_up


def _ways(board: Board) -> Iterator[tuple[list[str], Choice]]:
    yield by_size(board, board.guests), roomiest_first
    yield by_size(board, board.guests), tightest_first
    yield by_choice(board, board.guests), tightest_first


def _fewer(board: Board, left: int) -> Iterator[tuple[str, ...]]:
    """Everybody; then everybody but one, the smallest first; and so on, while it is less."""
    kinds: dict[object, list[str]] = {}
    for guest_id in by_size(board, board.guests)[::-1]:
        kinds.setdefault(board.shapes[guest_id], []).append(guest_id)
    for number in range(left):
        for leaving in _leaving(list(kinds.values()), number):
            yield tuple(each for each in board.guests if each not in leaving)


def _leaving(kinds: Sequence[Sequence[str]], number: int) -> Iterator[frozenset[str]]:
    """Every choice of so many guests; which of those that are alike makes no difference."""
    if not number:
        yield frozenset()
    elif sum(map(len, kinds)) >= number:
        for taken in range(min(number, len(kinds[0])), -1, -1):
            for others in _leaving(kinds[1:], number - taken):
                yield others.union(kinds[0][:taken])


def _missing(board: Board, left: Iterable[str]) -> dict[str, dict[str, int]]:
    """Where it would take the least to place those who are left, and how much of what."""
    missing: dict[str, dict[str, int]] = {}
    free = {host: dict(board.free(host)) for hosts in board.hosts.values() for host in hosts}
    for guest_id in by_size(board, left):
        needs = board.guests[guest_id].resources
        by_host = {
            host: {
                n: a - free[host].get(n, 0) for n, a in needs.items() if a > free[host].get(n, 0)
            }
            for host in board.hosts[guest_id]
        }
        host = min(by_host, key=lambda h: (_weight(by_host[h], needs), h))
        for name, amount in needs.items():
            free[host][name] = free[host].get(name, 0) - amount
        # What those before it took there is gone already, so that this is the sum.
        missing.setdefault(host, {}).update(by_host[host])
    return missing


def _weight(missing: Mapping[str, int], needs: Mapping[str, int]) -> float:
    """How much that is, in guests; nothing counts most, as no amount would help there."""
    return sum(amount / needs[name] for name, amount in missing.items()) or float("inf")


def words(shortage: Shortage) -> str:
    """What it would take, for a person: ``2048 MEMORY_MB and 2 VCPU more on cmp-3``."""
    parts = []
    for host, missing in sorted(shortage.missing.items()):
        amounts = [f"{amount} {name}" for name, amount in sorted(missing.items())]
        parts.append(f"{' and '.join(amounts)} more on {host}" if amounts else "another host")
    if not parts:
        return ""
    # A host more may not be needed where the search ended too early.
    unsure = "" if shortage.least else ", if there is no other way to place all: not all were tried"
    return ", ".join(dict.fromkeys(parts)) + " would do" + unsure
