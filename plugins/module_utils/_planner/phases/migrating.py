# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Requested and migrating: from the request to the end of the migration, with its budget.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.confirming import (
    unconfirmed,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.tick import (
    MOVING,
    Tick,
    by_others,
    tracked,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.witness import misplaced

#: A record in flight whose guest has been idle on its source for so long is a dead one's.
DEAD_GRACE = 10.0


def requested(tick: Tick, move: m.Move) -> None:
    refusal = tick.seen.refusals.get(move.guest_id)
    newest = tick.newest.get(move.guest_id)
    refused = refusal is not None and refusal.status >= 400
    if newest is not None and newest.id > move.known_migration:
        others = refused or by_others(move, newest)
        _recorded(tick, move, newest, others)
    elif refused:
        _refused(tick, move, refusal)
    elif (guest := tick.on_source(move)) is None:
        tick.verify(move)
    elif move.adopted and guest.task_state not in MOVING:
        tick.enter(move, m.WAITING)
    elif tick.waited(move) > tick.options.record_timeout:
        tick.fail(move, "no_record", "Nova took the request, but no migration appeared")


def _recorded(tick: Tick, move: m.Move, migration: m.Migration, others: bool) -> None:
    guest = tick.on_source(move)
    if move.adopted and guest is not None:
        adopt(tick, move, guest, migration)
    else:
        known = tracked(migration)
        migrating(tick, tick.enter(move, m.MIGRATING, adopted=others, **known))


def _refused(tick: Tick, move: m.Move, refusal: m.Refusal) -> None:
    tick.tell("refused", move, status=refusal.status, message=refusal.message)
    if refusal.status == 404:
        tick.verify(move)
    elif refusal.status == 409 and move.attempts < tick.options.max_attempts:
        # It is the guest that is not ready, not the host.
        tried = tuple(host for host in move.tried if host != move.destination)
        again = tick.now + tick.options.retry_delay
        tick.enter(move, m.WAITING, not_before=again, tried=tried)
    else:
        tick.leave(
            move,
            "refused_by_nova",
            f"Nova refused ({refusal.status}): {refusal.message}",
            "do what Nova asks for, or exclude the guest",
        )


def adopt(tick: Tick, move: m.Move, guest: m.Guest, migration: m.Migration) -> None:
    """A migration that somebody (an interrupted run, an operator) already started."""
    move = tick.enter(
        move,
        m.MIGRATING,
        method=m.LIVE if migration.is_live else m.COLD,
        adopted=True,
        attempts=move.attempts + 1,
        vm_state=guest.vm_state if guest.vm_state in ("active", "paused", "stopped") else "",
        power_state=guest.power_state,
        started_at=tick.now,
        running_since=0.0,
        escalation="",
        **tracked(migration),
    )
    tick.tell(
        "adopted",
        move,
        migration_id=migration.id,
        status=migration.status,
        method=move.method,
    )


def migrating(tick: Tick, move: m.Move) -> None:
    newest = tick.newest.get(move.guest_id)
    current = tick.by_id.get(move.migration_id)
    if newest is not None and newest.in_flight and newest.id > move.migration_id:
        current = newest
    if current is None:
        _lost_sight(tick, move)
        return
    move = tick.put(move, adopted=by_others(move, current), **tracked(current))
    if current.in_flight:
        _in_flight(tick, move, current)
    elif current.status == m.COLD_UNCONFIRMED:
        unconfirmed(tick, move, current)
    elif current.succeeded or tick.on_source(move) is None:
        tick.verify(move)
    elif current.status == "reverted":
        tick.enter(move, m.WAITING)
    else:
        ended = move.timed_out or move.aborted_for
        reason = move.reason if ended else f"the migration ended {current.status}"
        tick.fail(move, "migration_failed", reason)


def _lost_sight(tick: Tick, move: m.Move) -> None:
    """Its record is not in the list any more (archived, or a partial answer)."""
    if tick.on_source(move) is None:
        tick.verify(move)
    elif move.migration_status:
        tick.put(move, migration_status="", since=tick.now)
    elif tick.waited(move) > tick.options.record_timeout:
        tick.fail(move, "no_record", "the migration's record has vanished")


def _in_flight(tick: Tick, move: m.Move, migration: m.Migration) -> None:
    if migration.status in ("accepted", "queued"):
        spent, limit = tick.queued_for(move), _queue_limit(tick)
    else:
        if not move.running_since:
            move = tick.put(move, running_since=tick.now)
        move = _note_progress(tick, move)
        spent, limit = tick.now - move.running_since, tick.budget_of(move)
    if _is_dead(tick, move, migration):
        _bury(tick, move, migration)
    elif move.escalation == "dead":
        tick.put(move, escalation="")
    elif move.escalation:
        _escalate(tick, move, migration)
    elif spent > limit:
        _first_rung(tick, move, migration, spent, limit)
    elif migration.is_live and move.running_since:
        tick.do("progress", move, migration_id=migration.id)


def _is_dead(tick: Tick, move: m.Move, migration: m.Migration) -> bool:
    """A restarted nova-compute forgets what it had not begun: the record stays as it was."""
    guest = tick.on_source(move)
    return migration.is_live and guest is not None and not guest.task_state


def _bury(tick: Tick, move: m.Move, migration: m.Migration) -> None:
    if move.escalation != "dead":
        tick.put(move, escalation="dead", since=tick.now)
    elif tick.waited(move) > DEAD_GRACE:
        move = tick.put(move, known_migration=migration.id, migration_status="")
        if move.adopted:
            tick.enter(move, m.WAITING, escalation="", attempts=move.attempts - 1)
            return
        reason = f"nothing works on it any more, its record says {migration.status}"
        tick.fail(move, "migration_failed", reason)


def _queue_limit(tick: Tick) -> float:
    """A queued migration waits for those ahead of it, which have budgets of their own."""
    ahead = [tick.budget_of(mv) for mv in tick.moves.values() if _runs(mv)]
    return tick.options.settle_timeout + max(ahead, default=0.0)


def _note_progress(tick: Tick, move: m.Move) -> m.Move:
    progress = tick.seen.progress.get(move.guest_id)
    if progress is None:
        return move
    return tick.put(
        move,
        total_bytes=max(move.total_bytes, progress.total_bytes),
        processed_bytes=max(move.processed_bytes, progress.processed_bytes),
        remaining_bytes=progress.remaining_bytes,
    )


def _first_rung(
    tick: Tick, move: m.Move, migration: m.Migration, spent: float, limit: float
) -> None:
    """The budget is spent: what the guest's policy says, or leave it to Nova."""
    how = tick.policy_of(move).on_timeout if migration.is_live else "leave"
    past_abort = migration.status == m.POST_COPY or tick.on_source(move) is None
    pausable = migration.status == "running" and move.vm_state != "paused"
    if how == "force_complete" and not pausable:
        how = "abort"
    how = "leave" if past_abort else how
    reason = f"not finished within its budget of {limit:.0f} s{_whose(tick, move)}"
    tick.tell("timed_out", move, action=how, seconds=spent, budget=limit)
    move = tick.put(move, reason=reason, timed_out=True)
    if past_abort:
        tick.put(move, escalation="watch", since=tick.now)
    elif how == "leave":
        remedy = "wait for it and run again, or abort it (openstack server migration abort)"
        tick.leave(move, "timeout", f"{reason}; Nova goes on with it", remedy)
    else:
        _rung(tick, move, migration, how)


def _whose(tick: Tick, move: m.Move) -> str:
    """Who set its time, where that is not the operator's budget by size."""
    policy = tick.policy_of(move)
    source = policy.sources.get("completion_timeout", "its policy")
    return f" ({source})" if policy.completion_timeout else ""


def _rung(tick: Tick, move: m.Move, migration: m.Migration, verb: str) -> None:
    tick.do(verb, move, migration_id=migration.id)
    if move.escalation != verb:
        tick.put(move, escalation=verb, since=tick.now)


def _escalate(tick: Tick, move: m.Move, migration: m.Migration) -> None:
    """The last rung did not take effect (yet): again if it was lost, else the next one."""
    refusal = tick.seen.refusals.get(move.guest_id)
    refused = refusal is not None and refusal.status > 0
    late = tick.waited(move) > tick.options.escalation_timeout
    if migration.status == m.POST_COPY and move.escalation != "watch":
        tick.put(move, escalation="watch", since=tick.now)
    elif move.escalation == "force_complete" and (refused or late):
        _rung(tick, move, migration, "abort")
    elif late:
        _give_up(tick, move, migration)
    elif refusal is not None and not refused and move.escalation != "watch":
        _rung(tick, move, migration, move.escalation)


def _give_up(tick: Tick, move: m.Move, migration: m.Migration) -> None:
    """Without its nova-compute a migration never ends in Nova; libvirt knows what became of it."""
    destination = tick.destination_of(move)
    patience = tick.options.escalation_timeout + tick.options.settle_timeout
    found = misplaced(tick.sight(move, destination), move.source, destination)
    moves_on = migration.status == m.POST_COPY or (found is not None and found.passes)
    code = "" if found is None or moves_on else found.code
    sure = tick.still_doubted(move, code) or (not code and tick.heard(move.source, destination))
    move = tick.moves[move.guest_id]
    if not sure and tick.waited(move) <= patience:
        tick.ask(move.source, destination)
    elif code:
        tick.alarm(move, code)
        tick.leave(move, code, found.reason, found.remedy)
    else:
        _leave_stuck(tick, move, migration)


def _leave_stuck(tick: Tick, move: m.Move, migration: m.Migration) -> None:
    tick.leave(
        move,
        "stuck_in_flight",
        f"still {migration.status} {tick.options.escalation_timeout:.0f} s after it was to end",
        "look at nova-compute's log and at virsh domjobinfo on the source; do not reset"
        " the state while the job runs",
    )


def _runs(move: m.Move) -> bool:
    return move.phase == m.MIGRATING and bool(move.running_since)
