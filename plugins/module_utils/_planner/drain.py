# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The state machine of one drain: what was seen, in; what to do now, out.

This module util is **PRIVATE** to the collection: it may change without notice.
:func:`step` is pure. It decides for every guest by its phase:

waiting -> requested -> migrating [-> confirming] -> verifying -> moved
with recovering (after a failure) back to waiting, and left, unverified, gone or excluded as
other ends. Every phase has a budget, so every run ends. Here are the rules of the whole run;
what a guest's phase means, and where it leads, is in :mod:`phases`, one module each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.eligibility import (
    excluded_by,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.mark import (
    marked,
    run_id_of,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.confirming import (
    confirming,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.leaving import left
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.migrating import (
    adopt,
    migrating,
    requested,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.recovering import (
    recovering,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.tick import (
    FAILURE_GRACE,
    Tick,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.verifying import (
    verifying,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.waiting import waiting
from ansible_collections.lowtide.compute.plugins.module_utils._planner.schedule import (
    choose,
    holds_place,
    is_overtaken,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.silence import (
    CODE,
    heed_silence,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.witness import ALARMS

#: A migration must be queued this long before it says that the source runs no more at a time.
QUEUE_GRACE = 5.0

#: Phases of guests that are not done with, nor waiting.
BUSY = m.HOLDING | {m.VERIFYING, m.RECOVERING}
GO_ON = "run the drain again to go on where it stopped"
STOPPED = {
    "failure": ("not started: another guest failed and on_failure is stop", GO_ON),
    "deadline": ("not started: the deadline of the whole drain has passed", GO_ON),
    "enabled": ("not started: somebody enabled the host's service during the drain", GO_ON),
    "place_taken": (
        "not started: a migration that was given up still runs and takes its place",
        "wait until it is over, and run the drain again",
    ),
    "host_down": (
        "not started: the host's nova-compute is down",
        "start nova-compute on the host, and run the drain again",
    ),
    "emergency_stop": (
        "not started: another guest runs on two hosts, or on none",
        "repair that guest (docs/witnesses.md), then run the drain again",
    ),
    "held": (
        "not started: a guest that was moved does not answer its clients any more",
        "find out why (docs/witnesses.md), then run the drain again",
    ),
}
#: Why the run was stopped -> why those who waited were left, where that is another word.
LEFT_FOR = {"split_brain": "emergency_stop", "lost": "emergency_stop", CODE: "held"}
HANDLERS: Mapping[str, Callable[[Tick, m.Move], None]] = {
    m.WAITING: waiting,
    m.REQUESTED: requested,
    m.MIGRATING: migrating,
    m.CONFIRMING: confirming,
    m.VERIFYING: verifying,
    m.RECOVERING: recovering,
    m.LEFT: left,
}

Result = tuple[m.Decision, m.Ledger]


def step(
    plan: m.Plan, options: m.Options, ledger: m.Ledger, seen: m.Observation, now: float
) -> Result:
    """Decide one tick. Returns the decision and the ledger to give to the next call."""
    tick = Tick(plan, options, ledger, seen, now)
    if must_disable_first(tick):
        return result(tick, done=False)
    meet_guests(tick)
    for guest_id in list(tick.moves):
        advance(tick, guest_id)
    heed_silence(tick)
    learn_source_cap(tick)
    check_limits(tick)
    start_moves(tick)
    return result(tick, done=finish(tick))


def must_disable_first(tick: Tick) -> bool:
    """Disable the service, and only then look: else guests land behind our back."""
    service = tick.seen.service
    if not tick.plan.scope.host or service is None:
        return False
    if not service.enabled:
        _note_own_mark(tick, service)
        return False
    if tick.ledger.ticks == 0:
        reason = marked(tick.ledger.run_id, "drain")
        tick.actions.append(m.Action("disable", host=service.host, text=reason))
        tick.tell("disabled", host=service.host, reason=reason)
        tick.ledger = replace(tick.ledger, disabled_at=tick.now)
        return True
    if tick.now - tick.ledger.disabled_at <= FAILURE_GRACE:
        return True
    if not tick.ledger.stopped:
        tick.stop("enabled")
    return False


def _note_own_mark(tick: Tick, service: m.Service) -> None:
    """Did our request to disable happen although it got no answer?"""
    if tick.ledger.ticks or not tick.ledger.disabled_at:
        return
    if _is_marked(tick, service):
        tick.tell("disabled", host=service.host, reason=service.disabled_reason)
    else:
        tick.ledger = replace(tick.ledger, disabled_at=0.0)


def _is_marked(tick: Tick, service: m.Service) -> bool:
    owner = run_id_of(service.disabled_reason)
    return bool(owner) and owner == tick.ledger.run_id


def meet_guests(tick: Tick) -> None:
    """Open a record for every guest that the plan or the host holds and we do not know."""
    host = tick.plan.scope.host
    late = bool(host and tick.moves)
    for entry in tick.plan.entries:
        if entry.guest.id not in tick.moves:
            move = _open(tick, entry.guest, host or _source(tick, entry.guest), entry)
            if late:
                tick.tell("arrived", move)
    for guest in tick.seen.guests:
        if guest.host == host:
            _meet(tick, guest)
    for migration in tick.newest.values():
        if host and migration.source == host and migration.guest_id not in tick.moves:
            _meet_leaving(tick, migration)


def _meet(tick: Tick, guest: m.Guest) -> None:
    """A guest on the host: a stranger, or one that came back after it had left."""
    known = tick.moves.get(guest.id)
    if known is None:
        tick.tell("arrived", _open(tick, guest, guest.host, None))
    elif known.phase in (m.MOVED, m.UNVERIFIED):
        back = tick.enter(known, m.WAITING, migration_id=0, migration_status="", started_at=0.0)
        tick.tell("arrived", back)


def _meet_leaving(tick: Tick, migration: m.Migration) -> None:
    """It was under way when this run began, and Nova already lists it elsewhere."""
    ours = migration.kind == "migration" and migration.created_at >= tick.ledger.since
    unconfirmed = migration.status == m.COLD_UNCONFIRMED and ours
    guest = m.Guest(
        id=migration.guest_id,
        name=migration.guest_id,
        host=migration.destination,
        vm_state="",
        group=_group_of(tick, migration.guest_id),
    )
    excluded = excluded_by(guest, tick.options.exclude)
    if (migration.in_flight or unconfirmed) and not excluded:
        adopt(tick, _open(tick, guest, migration.source, None), guest, migration)


def _group_of(tick: Tick, guest_id: str) -> m.Group | None:
    """The group of a guest that is not in the plan, if another member is."""
    groups = (entry.guest.group for entry in tick.plan.entries)
    return next((group for group in groups if group and guest_id in group.members), None)


def _source(tick: Tick, guest: m.Guest) -> str:
    """The host that a guest named by the operator leaves, even if it just did."""
    newest = tick.newest.get(guest.id)
    return newest.source if newest is not None and newest.in_flight else guest.host


def _open(tick: Tick, guest: m.Guest, source: str, entry: m.PlanEntry | None) -> m.Move:
    move = m.Move(
        guest_id=guest.id,
        name=guest.name,
        source=source,
        since=tick.now,
        group_id=guest.group.id if guest.group else "",
        predicted_seconds=entry.estimate.seconds if entry else 0.0,
        predicted_bytes=entry.estimate.bytes if entry else 0,
    )
    tick.moves[guest.id] = move
    return move


def advance(tick: Tick, guest_id: str) -> None:
    """Let the handler of the guest's phase decide; a handler may pass on to the next."""
    handler = HANDLERS.get(tick.moves[guest_id].phase)
    if handler is not None:
        handler(tick, tick.moves[guest_id])


def learn_source_cap(tick: Tick) -> None:
    """Migrations that stay queued tell how many Nova runs at a time on this source."""
    live = [mv for mv in tick.moves.values() if mv.phase == m.MIGRATING and mv.method == m.LIVE]
    queued = [mv for mv in live if mv.migration_status == "queued"]
    running = len([mv for mv in live if mv.running_since])
    still = bool(queued) and min(map(tick.queued_for, queued)) > QUEUE_GRACE
    if still and running and not 0 < tick.ledger.source_cap <= running:
        tick.ledger = replace(tick.ledger, source_cap=running)
        tick.tell("capped", cap=running, asked=tick.options.max_parallel)


def check_limits(tick: Tick) -> None:
    age = tick.now - tick.ledger.started_at
    if tick.options.deadline and age > tick.options.deadline and not tick.ledger.stopped:
        tick.stop("deadline")


def start_moves(tick: Tick) -> None:
    if tick.ledger.stopped or tick.held or any(map(_alarming, tick.moves.values())):
        return
    order = {entry.guest.id: i for i, entry in enumerate(tick.plan.entries)}
    tick.runnable.sort(key=lambda guest_id: order.get(guest_id, len(order)))
    await_new_plan(tick)
    ready = [i for i in tick.runnable if i not in tick.overtaken]
    candidates = [(tick.moves[i], tick.entries.get(i)) for i in ready]
    ledger = replace(tick.ledger, moves=tick.moves)
    for move, host in choose(candidates, ledger, tick.options):
        _start(tick, move, host)


def await_new_plan(tick: Tick) -> None:
    """Whose planned host did not take them wait for the next tick, which gets a new plan."""
    for guest_id in tick.runnable:
        if is_overtaken(tick.moves[guest_id], tick.entries.get(guest_id), tick.options):
            tick.overtaken.append(guest_id)
            tick.settling = True


def _alarming(move: m.Move) -> bool:
    """Is it about to be looked at a second time because it seems to run twice, or nowhere?"""
    return move.phase in BUSY and move.doubt in ALARMS


def _start(tick: Tick, move: m.Move, host: str) -> None:
    guest, newest = tick.listed[move.guest_id], tick.newest.get(move.guest_id)
    if move.tried and not host and tick.options.destinations == "planned":
        tick.tell("replanned", move, was=move.tried[-1], destination="")
    move = tick.enter(
        move,
        m.REQUESTED,
        vm_state=guest.vm_state,
        power_state=guest.power_state,
        attempts=move.attempts + 1,
        known_migration=newest.id if newest else 0,
        adopted=False,
        migration_id=0,
        migration_uuid="",
        migration_status="",
        escalation="",
        aborted_for="",
        running_since=0.0,
        total_bytes=0,
        processed_bytes=0,
        remaining_bytes=0,
        started_at=move.started_at or tick.now,
        destination=host,
        tried=(*move.tried, host) if host else move.tried,
    )
    if tick.policy_of(move).wish == "notify":
        tick.tell("notify", move, project_id=guest.project_id)
    tick.do(f"{move.method}_migrate", move, host=host)
    tick.tell("started", move, method=move.method, destination=host, attempt=move.attempts)


def finish(tick: Tick) -> bool:
    """Is there nothing in flight and nothing more to start? Then whoever waits is left."""
    active = any(move.phase in BUSY for move in tick.moves.values())
    held = tick.held and bool(tick.runnable)
    pending = (tick.settling or held or _place_may_come_free(tick)) and not tick.ledger.stopped
    if active or pending or tick.returned or _may_still_arrive(tick):
        return False
    host = tick.plan.scope.host
    if not tick.heard(host):
        # The last look at the host, which its verdict rests on.
        tick.ask(host)
        return False
    for move in list(tick.moves.values()):
        if move.phase == m.WAITING:
            _leave_waiting(tick, move)
    tick.tell("done")
    return True


def _place_may_come_free(tick: Tick) -> bool:
    """Guests that could go wait for migrations which were given up, but still run."""
    left = [mv for mv in tick.moves.values() if mv.phase == m.LEFT and holds_place(mv)]
    return bool(tick.runnable) and any(map(tick.may_settle, left))


def _leave_waiting(tick: Tick, move: m.Move) -> None:
    code, reason, remedy = move.code, move.reason, move.remedy
    if move.guest_id in tick.movable:
        taken = "place_taken" if move.guest_id in tick.runnable else "host_down"
        code = LEFT_FOR.get(tick.ledger.stopped, tick.ledger.stopped) or taken
        reason, remedy = STOPPED[code]
    left = tick.enter(move, m.LEFT, code=code, reason=reason, remedy=remedy)
    tick.tell("left", left, code=code, reason=reason, remedy=remedy)


def _may_still_arrive(tick: Tick) -> bool:
    """Builds scheduled before we disabled the service, and migrations on their way here."""
    host = tick.plan.scope.host
    if not host:
        return False
    closed_at = tick.ledger.disabled_at
    if not closed_at and tick.seen.service and _is_marked(tick, tick.seen.service):
        closed_at = _epoch(tick.ledger)
    if closed_at and tick.now - closed_at < tick.options.quiet_seconds:
        return True
    inbound = any(
        mig.in_flight and mig.destination == host and mig.source != host
        for mig in tick.newest.values()
    )
    if not inbound:
        tick.ledger = replace(tick.ledger, idle_since=0.0)
        return False
    since = tick.ledger.idle_since or tick.now
    tick.ledger = replace(tick.ledger, idle_since=since)
    return tick.now - since <= tick.options.settle_timeout


def result(tick: Tick, *, done: bool) -> Result:
    wanted = tuple(action.host for action in tick.actions if action.verb == "ask_hypervisor")
    ledger = replace(
        tick.ledger,
        moves=dict(tick.moves),
        ticks=tick.ledger.ticks + 1,
        wanted=wanted,
        overtaken=tuple(tick.overtaken),
    )
    return m.Decision(tuple(tick.actions), tuple(tick.events), done), ledger


def _epoch(ledger: m.Ledger) -> float:
    """When the drain began, which an interrupted run may have done."""
    if not ledger.since:
        return ledger.started_at
    return datetime.fromisoformat(ledger.since).replace(tzinfo=UTC).timestamp()
