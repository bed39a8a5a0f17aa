# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""A guest falls silent: what its clients lose, and what the drain does about it.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.tick import Tick

CODE = "guest_unreachable"


def heed_silence(tick: Tick) -> None:
    """Tell who falls silent and who answers again, and do what ``on_unreachable`` says.

    Only guests count that this run moves or has moved. What is held goes on when all of them
    answer, and is given up after ``settle_timeout``.
    """
    for move in list(tick.moves.values()):
        _listen(tick, move)
    if tick.options.on_unreachable == "report":
        return
    silent = [move for move in tick.moves.values() if move.silent_since]
    if tick.options.on_unreachable == "abort":
        for move in silent:
            _abort(tick, move)
    _hold(tick, silent)


def _listen(tick: Tick, move: m.Move) -> None:
    silent_ms = tick.seen.silent_ms.get(move.guest_id, 0.0)
    since = tick.now - silent_ms / 1000
    limit = _limit(tick, move)
    silent = _is_ours(move) and since >= move.started_at and silent_ms > limit
    if silent and not move.silent_since:
        tick.put(move, silent_since=since)
        tick.tell("unreachable_guest", move, silent_ms=round(silent_ms), limit_ms=round(limit))
    elif move.silent_since and not silent:
        tick.put(move, silent_since=0.0)
        if move.guest_id in tick.seen.silent_ms:
            tick.tell("reachable_guest", move, seconds=round(since - move.silent_since, 1))


def _is_ours(move: m.Move) -> bool:
    """Was it this run that took it from its clients, and not by intent as a cold migration does?"""
    away = move.phase == m.GONE or (move.method == m.COLD and move.phase != m.MOVED)
    forced = move.escalation == "force_complete" or move.migration_status == m.POST_COPY
    return bool(move.started_at) and not away and not (forced and move.phase == m.MIGRATING)


def _limit(tick: Tick, move: m.Move) -> float:
    """Milliseconds; a guest on its way may be silent for as long as its policy lets it pause."""
    limit = tick.options.unreachable_ms
    if move.phase in (m.REQUESTED, m.MIGRATING):
        limit = max(limit, tick.policy_of(move).max_downtime_ms)
    return limit


def _abort(tick: Tick, move: m.Move) -> None:
    current = tick.by_id.get(move.migration_id)
    running = current is not None and current.is_live and current.status == "running"
    if move.phase != m.MIGRATING or not running or move.escalation or tick.on_source(move) is None:
        return
    silent = tick.now - move.silent_since
    reason = f"aborted: its clients could not reach it for {silent:.1f} s"
    tick.do("abort", move, migration_id=move.migration_id)
    tick.put(move, escalation="abort", aborted_for=CODE, reason=reason, since=tick.now)


def _hold(tick: Tick, silent: list[m.Move]) -> None:
    if not silent:
        tick.ledger = replace(tick.ledger, held_since=0.0)
        return
    tick.ledger = replace(tick.ledger, held_since=tick.ledger.held_since or tick.now)
    tick.held = True
    if tick.now - tick.ledger.held_since > tick.options.settle_timeout and not tick.ledger.stopped:
        tick.stop(CODE, silent[0])
