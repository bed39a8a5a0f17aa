# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Recovering: after a failure, learn why, repair the state, and try again or give up.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.migrating import (
    migrating,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.tick import (
    FAILURE_GRACE,
    Tick,
    by_others,
    tracked,
)

RESET_REMEDY = "reset it by hand when nothing works on it (openstack server set --state active)"
FAILED_REMEDY = {
    "timeout": "give it more time (timeout_per_gib), set on_timeout: force_complete, or"
    " allow_cold_migration: true",
    "migration_failed": "see nova-compute's log on both hosts; run the drain again, or exclude"
    " the guest",
    "no_record": "see nova-conductor's and nova-scheduler's log; run the drain again",
    "confirm_failed": "see nova-compute's log on both hosts; run the drain again",
}


def recovering(tick: Tick, move: m.Move) -> None:
    """After a failure: learn why, wait for Nova to settle, repair the state, try again."""
    guest, under_way = tick.on_source(move), tick.under_way(move)
    if under_way is not None:
        others = by_others(move, under_way)
        migrating(tick, tick.enter(move, m.MIGRATING, adopted=others, **tracked(under_way)))
        return
    if guest is None:
        tick.verify(move)
        return
    in_error = guest.vm_state == "error"
    heard = move.guest_id in tick.seen.causes
    if in_error:
        heard = heard and tick.seen.alive.get(move.guest_id) is not None
    late = not tick.may_settle(move)
    if not late and (not heard or tick.waited(move) < FAILURE_GRACE or guest.task_state):
        tick.do("explain", move)
        if in_error:
            tick.do("ask_alive", move)
        return
    cause = tick.seen.causes.get(move.guest_id) or move.reason
    move = tick.put(move, reason=cause or "Nova does not say why")
    if guest.task_state:
        tick.leave(move, "busy", f"task_state is still {guest.task_state}", RESET_REMEDY)
    elif in_error:
        _reset(tick, move, late)
    elif move.escalation == "reset" and move.vm_state == "paused" != guest.vm_state:
        _pause(tick, move, late)
    else:
        _after_failure(tick, move)


def _reset(tick: Tick, move: m.Move, late: bool) -> None:
    """ERROR after a failed migration is only Nova's bookkeeping if the guest runs here."""
    alive = tick.seen.alive.get(move.guest_id)
    if alive is not True:
        dead = "error_guest_dead" if alive is False else "error_guest_unknown"
        tick.leave(
            move,
            dead,
            f"ERROR, and the guest is not known to run here ({move.reason})",
            "look on the host (virsh list); repair the guest before its state is reset",
        )
    elif move.escalation != "reset":
        tick.do("reset_state", move)
        tick.put(move, escalation="reset", started_at=move.started_at or tick.now)
        tick.tell("recovered", move)
    elif late:
        tick.leave(move, "reset_failed", "its ERROR could not be reset", RESET_REMEDY)
    else:
        tick.do("reset_state", move)


def _pause(tick: Tick, move: m.Move, late: bool) -> None:
    """The reset made a paused guest active in Nova's eyes only: say paused again."""
    if late:
        tick.leave(move, "state_changed", "it was paused before the move", "pause it again")
    else:
        tick.do("pause", move)


def _after_failure(tick: Tick, move: m.Move) -> None:
    """Count the attempt: again, cold if that is allowed, or leave it with the reason."""
    if move.code not in FAILED_REMEDY:
        tick.enter(move, m.WAITING, escalation="")
        return
    stoppable = move.method == m.LIVE and move.vm_state != "paused"
    cold = move.timed_out and tick.options.allow_cold_migration and stoppable
    again = cold or (not move.timed_out and move.attempts < tick.options.max_attempts)
    code = "timeout" if move.timed_out else move.code
    tick.tell("failed", move, code=code, reason=move.reason, attempt=move.attempts, retry=again)
    if again:
        delay = tick.options.retry_delay * 2 ** max(0, move.attempts - 1)
        tick.enter(
            move,
            m.WAITING,
            method=m.COLD if cold else move.method,
            escalation="",
            timed_out=False,
            running_since=0.0,
            not_before=tick.now + delay,
        )
    else:
        tick.leave(move, code, move.reason, FAILED_REMEDY[code])
