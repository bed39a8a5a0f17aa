# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Plan anew in the middle of a run: those that wait get the hosts that have room for them now.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    HOLDING,
    MOVED,
    UNVERIFIED,
    VERIFYING,
    WAITING,
    Event,
    Guest,
    Ledger,
    Move,
    Options,
    Plan,
    PlanEntry,
    Survey,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa import fit, take
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    NO_FIT,
    HostNuma,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import (
    bound_for,
    make_plan,
)

#: Phases of guests that have a claim on their destination, or are about to.
TAKING = HOLDING | {VERIFYING, MOVED, UNVERIFIED}


def replan(
    plan: Plan, survey: Survey, options: Options, ledger: Ledger, now: float
) -> tuple[Plan, Ledger, tuple[Event, ...]]:
    """The plan with new hosts for those that wait, the ledger that knows it, and what changed.

    No host is planned for a guest that it did not take before. A guest that has no place in the
    new plan keeps its old one: Nova's scheduler is asked about that, too, and has the last word.
    """
    guests = tuple(_barred(guest, survey, ledger.moves.get(guest.id)) for guest in survey.guests)
    options = replace(options, topologies=_claimed(plan, options, ledger))
    fresh = make_plan(replace(survey, guests=guests), options, ledger.since)
    found = {entry.guest.id: entry for entry in fresh.entries}
    entries, events = [], []
    for entry in plan.entries:
        move, new = ledger.moves.get(entry.guest.id), found.get(entry.guest.id)
        if move and new and move.phase == WAITING and new.placed not in ("", entry.placed):
            events.append(_told(move, entry, new, now))
            entry = replace(bound_for(entry, new.placed, options), destinations=new.destinations)
        entries.append(entry)
    moves = {
        guest_id: replace(move, replanned=move.attempts) if guest_id in ledger.overtaken else move
        for guest_id, move in ledger.moves.items()
    }
    after = replace(ledger, moves=moves, overtaken=())
    return replace(plan, entries=tuple(entries)), after, tuple(events)


def _claimed(plan: Plan, options: Options, ledger: Ledger) -> dict[str, HostNuma]:
    """The hosts' cells, seen before the run, with what this run's guests have taken since."""
    cells = dict(options.topologies)
    asks = {entry.guest.id: entry.guest.numa for entry in plan.entries}
    gone = [mv for mv in ledger.moves.values() if mv.phase in TAKING and mv.destination in cells]
    for move in sorted(gone, key=lambda mv: mv.started_at):
        numa, host = asks.get(move.guest_id), cells[move.destination]
        verdict = fit(numa, host) if numa else None
        if verdict is not None and verdict.result != NO_FIT:
            cells[move.destination] = take(numa, host, verdict, move.guest_id)
    return cells


def _barred(guest: Guest, survey: Survey, move: Move | None) -> Guest:
    """The guest without the hosts that did not take it."""
    if move is None or not move.tried:
        return guest
    offered = guest.candidates
    if offered is None:
        offered = tuple(room.host for room in survey.rooms)
    return replace(guest, candidates=tuple(h for h in offered if h not in move.tried))


def _told(move: Move, old: PlanEntry, new: PlanEntry, now: float) -> Event:
    data = {"was": old.placed, "destination": new.placed}
    return Event(now, "replanned", move.guest_id, move.name, data)
