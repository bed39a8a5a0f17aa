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
from ansible_collections.lowtide.compute.plugins.module_utils._planner.witness import (
    SECOND_LOOK,
    Finding,
    misplaced,
)

RESET_REMEDY = "reset it by hand when nothing works on it (openstack server set --state active)"
FAILED_REMEDY = {
    "timeout": "give it more time or downtime (timeout_per_gib, or completion_timeout and"
    " max_downtime_ms of its policy), set on_timeout: force_complete, or"
    " allow_cold_migration: true",
    "migration_failed": "see nova-compute's log on both hosts; run the drain again, or exclude"
    " the guest",
    "no_record": "see nova-conductor's and nova-scheduler's log; run the drain again",
    "confirm_failed": "see nova-compute's log on both hosts; run the drain again",
    "guest_unreachable": "find out why its clients could not reach it; allow it less downtime, or"
    " raise unreachable_ms",
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
    late = not tick.may_settle(move)
    settled = tick.waited(move) >= FAILURE_GRACE and not guest.task_state
    if not late and not (settled and _heard(tick, move, guest)):
        _ask(tick, move, guest)
        return
    heard = "" if move.aborted_for else tick.seen.causes.get(move.guest_id)
    cause = heard or move.reason
    move = tick.put(move, reason=cause or "Nova does not say why")
    finding = _misplaced(tick, move)
    if finding is not None:
        _doubt(tick, move, guest, finding)
        return
    newest = tick.newest.get(move.guest_id)
    move = tick.put(move, doubt="", located=newest.id if newest else 0)
    if guest.task_state:
        tick.leave(move, "busy", f"task_state is still {guest.task_state}", RESET_REMEDY)
    elif guest.vm_state == "error":
        _reset(tick, move, late)
    elif move.escalation == "reset" and move.vm_state == "paused" != guest.vm_state:
        _pause(tick, move, late)
    else:
        _after_failure(tick, move)


def _heard(tick: Tick, move: m.Move, guest: m.Guest) -> bool:
    """Do we know why it failed and, before a reset, whether the guest runs here and only here?"""
    known = move.guest_id in tick.seen.causes
    known = known and tick.heard(move.source, tick.destination_of(move))
    return known and (guest.vm_state != "error" or _alive(tick, move) is not None)


def _ask(tick: Tick, move: m.Move, guest: m.Guest) -> None:
    tick.do("explain", move)
    if guest.vm_state == "error":
        tick.do("ask_alive", move)
    tick.ask(move.source, tick.destination_of(move))


def _alive(tick: Tick, move: m.Move) -> bool | None:
    """Does it run on its source? libvirt's own word, or what Nova hears of it."""
    state = tick.sight(move, tick.destination_of(move)).source
    if state:
        return state in ("running", "paused")
    return tick.seen.alive.get(move.guest_id)


def _misplaced(tick: Tick, move: m.Move) -> Finding | None:
    destination = tick.destination_of(move)
    return misplaced(tick.sight(move, destination), move.source, destination)


def _doubt(tick: Tick, move: m.Move, guest: m.Guest, finding: Finding) -> None:
    """libvirt contradicts Nova: never reset, and never try again, a guest that may be elsewhere."""
    twice = tick.still_doubted(move, finding.code)
    # A task such as a hard reboot takes the domain away for a moment; it never makes two.
    excused = bool(guest.task_state) and finding.code != "split_brain"
    move = tick.moves[move.guest_id]
    late = tick.waited(move) > tick.options.settle_timeout + 2 * SECOND_LOOK
    if not late and (excused or finding.passes or not twice):
        _ask(tick, move, guest)
        return
    if twice and not excused:
        tick.alarm(move, finding.code)
    tick.leave(move, finding.code, f"{finding.reason} ({move.reason})", finding.remedy)


def _reset(tick: Tick, move: m.Move, late: bool) -> None:
    """ERROR after a failed migration is only Nova's bookkeeping if the guest runs here."""
    alive = _alive(tick, move) if tick.heard(move.source, tick.destination_of(move)) else None
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
    ended = move.timed_out or bool(move.aborted_for)
    again = cold or (not ended and move.attempts < tick.options.max_attempts)
    code = move.aborted_for or ("timeout" if move.timed_out else move.code)
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
            # The host did take it; only live it did not get there in time.
            tried=() if cold else move.tried,
            not_before=tick.now + delay,
        )
    else:
        tick.leave(move, code, move.reason, FAILED_REMEDY[code])
