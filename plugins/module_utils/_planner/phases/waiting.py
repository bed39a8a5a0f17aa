# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Waiting: what is judged anew at every tick, until it can go, is adopted, or is excluded.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.eligibility import WENT
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.confirming import (
    confirm,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.migrating import adopt
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.tick import (
    GHOST,
    MOVING,
    Tick,
)


def waiting(tick: Tick, move: m.Move) -> None:
    newest = tick.newest.get(move.guest_id)
    guest = tick.on_source(move) or _known_unlisted(tick, move, newest)
    if guest is None:
        tick.verify(move)
        return
    verdict = tick.verdict(guest, move, newest)
    under_way = tick.under_way(move)
    if under_way is not None and verdict.method != m.EXCLUDED:
        adopt(tick, move, guest, under_way)
        return
    if guest.task_state in MOVING and verdict.method == m.WAIT:
        _adopt_request(tick, move, guest, newest)
        return
    move = tick.put(move, code=verdict.code, reason=verdict.reason, remedy=verdict.remedy)
    _follow(tick, move, guest, verdict, newest)


def _known_unlisted(tick: Tick, move: m.Move, newest: m.Migration | None) -> m.Guest | None:
    """A guest of the plan that Nova does not list on the host although it belongs there.

    Soft-deleted guests are in no list; a guest whose resize is unconfirmed, or whose
    migration completes just now, is elsewhere and belongs here only as long as that lasts.
    """
    entry = tick.entries.get(move.guest_id)
    if entry is None:
        return None
    elsewhere = entry.guest.host != move.source and not (newest and newest.succeeded)
    hidden = entry.guest.vm_state == "soft-delete"
    leaving = tick.under_way(move) is not None
    return entry.guest if elsewhere or hidden or leaving else None


def _follow(
    tick: Tick, move: m.Move, guest: m.Guest, verdict: m.Verdict, newest: m.Migration | None
) -> None:
    if verdict.method == m.EXCLUDED:
        tick.enter(move, m.SKIPPED)
    elif verdict.method in (m.LIVE, m.COLD):
        _queue(tick, move, verdict.method)
    elif verdict.method in (m.CONFIRM, m.RECOVER):
        _repair(tick, move, guest, verdict, newest)
    elif verdict.code == WENT and _must_be_located(tick, move):
        tick.enter(move, m.RECOVERING, method=move.method, migration_id=0, escalation="")
    elif verdict.code in ("error_guest_unknown", GHOST.code):
        tick.do("ask_alive", move)
        tick.settling |= guest.alive is None and tick.may_settle(move)
    elif verdict.method == m.WAIT:
        tick.settling |= tick.may_settle(move)


def _queue(tick: Tick, move: m.Move, method: str) -> None:
    """It can go: once its delay is over, as long as there is somebody to carry it out."""
    # Cold is what is tried after a live migration's last attempt.
    if move.attempts >= tick.options.max_attempts + (method == m.COLD):
        tick.leave(move, "attempts_spent", f"{move.attempts} attempts were made", "run again")
        return
    tick.movable.add(move.guest_id)
    if _must_be_located(tick, move):
        tick.enter(move, m.RECOVERING, method=move.method or method, migration_id=0, escalation="")
        return
    service = tick.seen.service
    if service is not None and (service.forced_down or not service.up):
        tick.settling |= tick.may_settle(move)
        return
    tick.put(move, method=method, since=tick.now)
    if tick.now >= move.not_before:
        tick.runnable.append(move.guest_id)
    else:
        tick.settling = True


def _must_be_located(tick: Tick, move: m.Move) -> bool:
    """Might a migration that failed in Nova have taken it away all the same?

    To migrate it once more would then end in a roll-back, which destroys the domain where the new
    destination happens to be the host on which it runs.
    """
    newest = tick.newest.get(move.guest_id)
    if tick.ledger.stopped or newest is None or not newest.failed or not newest.is_live:
        return False
    sides = {newest.source, newest.destination} & set(tick.options.hypervisors)
    here = newest.source == move.source and bool(newest.destination)
    return here and bool(sides) and newest.id != move.located


def _repair(
    tick: Tick, move: m.Move, guest: m.Guest, verdict: m.Verdict, newest: m.Migration | None
) -> None:
    """What must be done before it can go: confirm what is unconfirmed, reset an ERROR."""
    ours = verdict.code == "cold_unconfirmed"
    if tick.ledger.stopped and not ours:
        tick.movable.add(move.guest_id)
    elif verdict.method == m.CONFIRM:
        confirm(tick, move, newest)
    elif move.method != m.RECOVER and move.attempts < tick.options.max_attempts:
        tick.enter(
            move,
            m.RECOVERING,
            method=move.method or m.RECOVER,
            migration_id=0,
            migration_uuid=newest.uuid if newest else "",
            vm_state="paused" if guest.power_state == "paused" else "",
            escalation="",
        )


def _adopt_request(tick: Tick, move: m.Move, guest: m.Guest, newest: m.Migration | None) -> None:
    """Somebody (an interrupted run) asked for a migration that has no record yet."""
    method = m.LIVE if guest.task_state == "migrating" else m.COLD
    known = newest.id if newest else 0
    tick.enter(move, m.REQUESTED, method=method, adopted=True, known_migration=known)
