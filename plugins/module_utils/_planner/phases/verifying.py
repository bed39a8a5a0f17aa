# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Verifying: a guest that left its source counts as moved when every witness says so.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.tick import (
    Tick,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.verify import (
    first_problem,
    other_side,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.witness import (
    ALARMS,
    Sight,
)

SOFT_DELETED_REMEDY = "delete it for good (openstack server delete --force) or restore it"


def verifying(tick: Tick, move: m.Move) -> None:
    evidence = tick.seen.evidence.get(move.guest_id)
    if evidence is None:
        _no_evidence(tick, move)
    elif not evidence.exists:
        _gone(tick, move, "deleted meanwhile")
    elif evidence.vm_state == "shelved_offloaded":
        _gone(tick, move, "shelved and offloaded meanwhile")
    elif tick.on_source(move) is not None and not _is_ghost(tick, move, evidence):
        tick.enter(move, m.WAITING, not_before=tick.now + tick.options.retry_delay)
    elif not tick.heard(move.source, other_side(evidence, move)) and _in_time(tick, move):
        tick.verify(move, other_side(evidence, move))
    else:
        _weigh(tick, move, evidence)


def _in_time(tick: Tick, move: m.Move, more: float = 0.0) -> bool:
    return tick.waited(move) <= tick.options.verify_timeout + more


def _is_ghost(tick: Tick, move: m.Move, evidence: m.Evidence) -> bool:
    """Nova has it on its source, yet says that its newest migration took it away."""
    newest = tick.newest.get(move.guest_id)
    completed = newest is not None and newest.id == move.migration_id and newest.succeeded
    return completed and evidence.host == move.source


def _no_evidence(tick: Tick, move: m.Move) -> None:
    if tick.waited(move) <= max(tick.options.verify_timeout, tick.options.api_patience):
        tick.verify(move)
        return
    reason = "the APIs that could tell whether it arrived do not answer"
    _doubt(tick, move, "no_evidence", reason, "bring them back, then run again")


def _gone(tick: Tick, move: m.Move, reason: str) -> None:
    tick.tell("gone", tick.enter(move, m.GONE, code="gone", reason=reason, remedy=""))


def _weigh(tick: Tick, move: m.Move, evidence: m.Evidence) -> None:
    where = other_side(evidence, move)
    sight = tick.sight(move, where)
    problem = first_problem(evidence, move, sight)
    alarming = problem is not None and problem.code in ALARMS
    twice = tick.still_doubted(move, problem.code if alarming else "")
    move = tick.moves[move.guest_id]
    patience = tick.options.settle_timeout if alarming else 0.0
    if problem is None:
        _moved(tick, move, evidence, sight)
    elif evidence.vm_state == "soft-delete" and evidence.host == move.source:
        tick.leave(move, "soft_deleted", "soft-deleted meanwhile", SOFT_DELETED_REMEDY)
    elif not twice and _in_time(tick, move, patience):
        tick.verify(move, where)
    else:
        tick.alarm(move, problem.code)
        moved_on = {} if evidence.host == move.source else {"destination": evidence.host}
        _doubt(tick, move, problem.code, problem.detail, problem.remedy, **moved_on)


def _doubt(tick: Tick, move: m.Move, code: str, reason: str, remedy: str, **more: object) -> None:
    """Not proven: left if Nova lists it on the host, unverified if it does not."""
    if tick.on_source(move) is not None:
        tick.leave(move, code, reason, remedy)
        return
    doubtful = {"code": code, "reason": reason, "remedy": remedy, **more}
    tick.give_up(tick.enter(move, m.UNVERIFIED, **doubtful))


def _moved(tick: Tick, move: m.Move, evidence: m.Evidence, sight: Sight) -> None:
    move = tick.enter(
        move,
        m.MOVED,
        destination=evidence.host,
        code="verified",
        reason="",
        remedy="",
        witnesses=3 if sight.complete else 2,
    )
    tick.tell(
        "moved",
        move,
        destination=move.destination,
        seconds=round(move.ended_at - move.started_at, 1) if move.started_at else 0.0,
        bytes=move.copied_bytes,
        method=move.method,
        attempts=move.attempts,
    )
