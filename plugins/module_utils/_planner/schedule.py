# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What to start now, and in which order: window, groups, destinations.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    COLD_IN_FLIGHT,
    HOLDING,
    LEFT,
    LIVE_IN_FLIGHT,
    RECOVERING,
    Ledger,
    Move,
    Options,
    PlanEntry,
)


def arrange(entries: Iterable[PlanEntry], order: str) -> tuple[PlanEntry, ...]:
    """The entries in the order in which guests are to go.

    ``longest_first`` keeps the last place from being the longest migration alone. ``priority``
    is StarlingX's order of recovery: by it, then the largest first.
    """
    if order == "name":
        return tuple(sorted(entries, key=lambda e: (e.guest.name, e.guest.id)))
    if order == "priority":
        return tuple(sorted(entries, key=_priority))
    sign = -1 if order == "longest_first" else 1
    return tuple(sorted(entries, key=lambda e: (sign * e.estimate.seconds, e.guest.name)))


def _priority(entry: PlanEntry) -> tuple[int, int, int, int, str]:
    guest = entry.guest
    size = (-guest.vcpus, -guest.ram_mib, -guest.disk_gib)
    return (entry.policy.recovery_priority, *size, guest.name)


def makespan(seconds: Iterable[float], places: int) -> float:
    """Seconds until the last of these moves ends when ``places`` of them run at a time."""
    ends = [0.0] * max(1, places)
    for each in seconds:
        heapq.heappush(ends, heapq.heappop(ends) + each)
    return max(ends)


def window(ledger: Ledger, options: Options) -> int:
    """How many may be in flight: what was asked, but no more than the source is seen to run."""
    asked = options.max_parallel
    return min(asked, ledger.source_cap) if ledger.source_cap else asked


def is_under_way(move: Move) -> bool:
    """Does a migration of this guest run, or may one begin that Nova was asked for?

    Also when the guest was given up: its group's other members must still not move.
    """
    if move.phase == RECOVERING:
        return move.code == "no_record"
    given_up = move.phase == LEFT and (seen_in_flight(move) or move.code == "busy")
    return move.phase in HOLDING or given_up


def holds_place(move: Move) -> bool:
    """Does it take one of the ``max_parallel`` places? Not if it was given up before it ran."""
    ran = move.phase != LEFT or (seen_in_flight(move) and move.migration_status != "accepted")
    return is_under_way(move) and ran


def seen_in_flight(move: Move) -> bool:
    """Was its migration still running when it was last seen?"""
    return move.migration_status in LIVE_IN_FLIGHT | COLD_IN_FLIGHT


def choose(
    candidates: Sequence[tuple[Move, PlanEntry | None]], ledger: Ledger, options: Options
) -> list[tuple[Move, str]]:
    """Which candidates (in their order) start now, each with a destination ("": Nova's choice).

    Two members of one server group are never in flight together: Nova checks the group's
    policy before the other member's host is known (Launchpad 1821755).
    """
    holding = [m for m in ledger.moves.values() if holds_place(m)]
    free = window(ledger, options) - len(holding)
    groups = {m.group_id for m in ledger.moves.values() if m.group_id and is_under_way(m)}
    bound_for = Counter(m.destination for m in holding)
    started: list[tuple[Move, str]] = []
    for move, entry in candidates:
        if len(started) >= free:
            break
        if move.group_id and move.group_id in groups:
            continue
        host = _destination(move, entry, bound_for, options)
        if host is None:
            continue
        started.append((move, host))
        groups.add(move.group_id)
        bound_for[host] += 1
    return started


def has_place(move: Move, entry: PlanEntry | None, options: Options) -> bool:
    """Is the plan to say where it goes, and does it name a host that was not tried in vain?"""
    placed = entry.placed if entry and options.destinations == "planned" else ""
    return bool(placed) and placed not in move.tried


def is_overtaken(move: Move, entry: PlanEntry | None, options: Options) -> bool:
    """Did the planned host not take it, and has nobody planned anew since?

    Not before the last attempt, in which the scheduler has the choice.
    """
    placed = entry.placed if entry and options.destinations == "planned" else ""
    last = move.attempts >= options.max_attempts - 1
    return bool(placed) and placed in move.tried and not last and move.replanned < move.attempts


def _destination(
    move: Move, entry: PlanEntry | None, bound_for: Counter[str], options: Options
) -> str | None:
    """A destination with a free place; "" leaves it to Nova; None: all are taken now.

    Where the number per destination is limited the planner names the host (Nova still
    validates it): with Nova's own choice the limit could not be kept. A host that did not take the
    guest is not named again, even if that means to leave it to Nova.
    """
    if options.destination:
        return options.destination
    limit = options.max_parallel_per_destination
    if has_place(move, entry, options):
        full = limit and bound_for[entry.placed] >= limit
        return None if full else entry.placed
    if not limit or entry is None or not entry.destinations:
        return ""
    untried = [host for host in entry.destinations if host not in move.tried]
    if not untried:
        return ""
    open_to = [host for host in untried if bound_for[host] < limit]
    return (
        min(open_to, key=lambda h: (bound_for[h], entry.destinations.index(h))) if open_to else None
    )
