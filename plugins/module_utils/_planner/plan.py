# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Make the plan: every guest's verdict, method, cost and where it could go, before any moves.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner.capacity import (
    place,
    words,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.convergence import estimate
from ansible_collections.lowtide.compute.plugins.module_utils._planner.eligibility import (
    Context,
    destinations,
    judge,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    COLD,
    LIVE,
    Guest,
    Migration,
    Options,
    Plan,
    PlanEntry,
    Room,
    Shortage,
    Survey,
    Verdict,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy import (
    policy_notes,
    resolve,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.schedule import (
    arrange,
    makespan,
)

#: Destinations kept per guest: enough for any per-destination limit, small on any cloud.
MAX_DESTINATIONS = 32


def newest_by_guest(migrations: Iterable[Migration]) -> dict[str, Migration]:
    """The newest migration of each guest (the highest id)."""
    newest: dict[str, Migration] = {}
    for migration in migrations:
        known = newest.get(migration.guest_id)
        if known is None or migration.id > known.id:
            newest[migration.guest_id] = migration
    return newest


def make_plan(survey: Survey, options: Options, since: str = "") -> Plan:
    """Judge, place and order every guest of the survey. ``since``: see eligibility.Context."""
    survey = replace(survey, rooms=tuple(_as_told(room, options) for room in survey.rooms))
    newest = newest_by_guest((*survey.migrations, *survey.finished))
    contexts = {
        guest.id: Context(
            options=options,
            source=survey.scope.host or guest.host,
            newest=newest.get(guest.id),
            since=since,
            rooms=survey.rooms,
        )
        for guest in survey.guests
    }
    verdicts = {guest.id: judge(guest, contexts[guest.id]) for guest in survey.guests}
    entries = arrange(
        (_entry(g, contexts[g.id], verdicts[g.id]) for g in survey.guests), options.order
    )
    entries, shortage = _placed(entries, contexts, Context(options, "", rooms=survey.rooms))
    # Who is squeezed out moves nothing, and so has another place in the order.
    entries = arrange(entries, options.order)
    moving = [e for e in entries if e.verdict.method in (LIVE, COLD)]
    return Plan(
        scope=survey.scope,
        entries=entries,
        seconds=round(makespan((e.estimate.seconds for e in moving), options.max_parallel), 1),
        bytes=sum(e.estimate.bytes for e in moving),
        fits=not shortage.guests,
        shortage=shortage,
    )


def _as_told(room: Room, options: Options) -> Room:
    """The room with what the operator knows of it: its cells, and that it is to be avoided."""
    numa = options.topologies.get(room.host, room.numa)
    return replace(room, numa=numa, closing=room.closing or room.host in options.avoid)


def bound_for(entry: PlanEntry, host: str, options: Options) -> PlanEntry:
    """The entry with its place in the plan."""
    asked = host if options.destinations == "planned" else ""
    return replace(entry, placed=host, asked=asked)


def _placed(
    entries: tuple[PlanEntry, ...], contexts: Mapping[str, Context], together: Context
) -> tuple[tuple[PlanEntry, ...], Shortage]:
    """The entries with the hosts that the plan has for them; those without one are blocked."""
    movable = [e.guest for e in entries if e.verdict.method in (LIVE, COLD)]
    found = place(movable, together)
    short = words(found.shortage)
    squeezed = {
        guest.id: replace(contexts[guest.id], squeezed_out=True, short=short)
        for guest in movable
        if not found.hosts[guest.id]
    }
    return tuple(
        _entry(e.guest, squeezed[e.guest.id], judge(e.guest, squeezed[e.guest.id]))
        if e.guest.id in squeezed
        else bound_for(e, found.hosts.get(e.guest.id, ""), together.options)
        for e in entries
    ), found.shortage


def _entry(guest: Guest, context: Context, verdict: Verdict) -> PlanEntry:
    moves = verdict.method in (LIVE, COLD)
    rooms = destinations(guest, context) if moves else ()
    policy = resolve(guest, context.options)
    cost = estimate(guest, verdict.method, context.options, policy)
    notes = policy_notes(policy, cost) if verdict.method == LIVE else ()
    return PlanEntry(
        guest=guest,
        verdict=replace(verdict, notes=(*verdict.notes, *notes, *policy.findings)),
        estimate=cost,
        policy=policy,
        destinations=tuple(room.host for room in rooms[:MAX_DESTINATIONS]),
    )
