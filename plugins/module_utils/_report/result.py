# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What the modules return: the shapes of RETURN, all of them here.

This module util is **PRIVATE** to the collection: it may change without notice.
A field that is added here is added to RETURN of the modules, to docs/report-schema.json and
to docs/report.md; tests/unit/test_docs.py compares them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    BLOCKED,
    EXCLUDED,
    GONE,
    LEFT,
    MOVED,
    SKIPPED,
    UNVERIFIED,
    WAITING,
    Event,
    Ledger,
    Move,
    Plan,
    PlanEntry,
    Policy,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.events import event_line
from ansible_collections.lowtide.compute.plugins.module_utils._report.progress import (
    detail_lines,
    heartbeat,
    measure,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.render import (
    UNFINISHED,
    guest_state,
    other_problems,
    placement,
    plan_lines,
    plan_sum,
    summary_lines,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.units import (
    count,
    duration,
    moment,
    size,
)

Row = dict[str, Any]

#: What can have become of a guest.
OUTCOMES = (
    "planned",
    "blocked",
    "excluded",
    "waiting",
    "running",
    "moved",
    "left",
    "unverified",
    "gone",
)
#: How a run can have ended; ``unfinished`` only between two steps of one run.
RUN_OUTCOMES = ("planned", "blocked", "nothing_to_do", "drained", "not_drained", "unfinished")

_OUTCOME = {
    MOVED: "moved",
    LEFT: "left",
    UNVERIFIED: "unverified",
    GONE: "gone",
    SKIPPED: "excluded",
    WAITING: "waiting",
}
#: Phases of a guest that went nowhere, whatever destination was tried.
_STAYS = frozenset({WAITING, LEFT, GONE, SKIPPED})
_MOVED = frozenset({MOVED, UNVERIFIED})
_PLANNED = {BLOCKED: "blocked", EXCLUDED: "excluded"}


# --- one guest ---------------------------------------------------------------------------


def guest_row(entry: PlanEntry | None, move: Move | None) -> Row:
    """What is planned for a guest and what came of it; one of the two may be missing.

    ``seconds`` and ``bytes`` are ``None`` where nothing was measured. ``to`` is ``""`` where
    Nova's scheduler chooses, or chose nothing.
    """
    row = _planned(entry) if entry else _unplanned(move)
    return row | _done(move, row) if move else row


def _planned(entry: PlanEntry) -> Row:
    guest, verdict, estimate = entry.guest, entry.verdict, entry.estimate
    stays = verdict.method in _PLANNED
    return {
        "id": guest.id,
        "name": guest.name,
        "state": guest_state(guest),
        "outcome": _PLANNED.get(verdict.method, "planned"),
        "method": verdict.method,
        "code": verdict.code,
        "reason": verdict.reason,
        "remedy": verdict.remedy,
        "notes": list(verdict.notes),
        "addresses": list(guest.addresses),
        "from": guest.host,
        "to": entry.asked,
        "attempts": 0,
        "seconds": None,
        "bytes": None,
        "predicted_seconds": None if stays else round(estimate.seconds, 1),
        "predicted_bytes": None if stays else estimate.bytes,
        "witnesses": None,
        "policy": policy_row(entry.policy),
        "policy_findings": list(entry.policy.findings),
    }


def policy_row(policy: Policy) -> Row:
    """Each field of a policy with its ``value`` and its ``source``, which may be "default"."""
    names = (f.name for f in fields(Policy) if f.name not in ("sources", "findings"))
    return {
        name: {"value": getattr(policy, name), "source": policy.sources.get(name, "default")}
        for name in names
    }


def _unplanned(move: Move | None) -> Row:
    """A guest that arrived after the plan was made."""
    if move is None:
        raise ValueError("a guest needs an entry of the plan or of the ledger")
    return {
        "id": move.guest_id,
        "name": move.name,
        "state": move.vm_state,
        "code": "",
        "reason": "",
        "remedy": "",
        "notes": [],
        "addresses": [],
        "from": move.source,
        "predicted_seconds": round(move.predicted_seconds, 1) or None,
        "predicted_bytes": move.predicted_bytes or None,
        "witnesses": None,
        "policy": {},
        "policy_findings": [],
    }


def _done(move: Move, planned: Row) -> Row:
    measured = bool(move.started_at and move.ended_at)
    return {
        "outcome": _OUTCOME.get(move.phase, "running"),
        "witnesses": move.witnesses or None,
        "method": move.method or planned.get("method", ""),
        "code": move.code or planned["code"],
        "reason": move.reason if move.code else planned["reason"],
        "remedy": move.remedy if move.code else planned["remedy"],
        # A guest whose resize away is unconfirmed was elsewhere when the plan was made.
        "from": move.source or planned["from"],
        "to": "" if move.phase in _STAYS else move.destination,
        "attempts": move.attempts,
        "seconds": round(move.ended_at - move.started_at, 1) if measured else None,
        "bytes": (move.copied_bytes if move.phase in _MOVED else move.processed_bytes) or None,
    }


def guest_rows(plan: Plan, ledger: Ledger | None = None) -> list[Row]:
    """A row for every guest, planned ones in the plan's order, then those that arrived later."""
    moves = ledger.moves if ledger else {}
    rows = [guest_row(entry, moves.get(entry.guest.id)) for entry in plan.entries]
    known = {entry.guest.id for entry in plan.entries}
    return rows + [guest_row(None, move) for key, move in moves.items() if key not in known]


def summary(rows: Iterable[Row]) -> dict[str, int]:
    """``total``, and the number of guests of each outcome, those that none came to included."""
    found = Counter(row["outcome"] for row in rows)
    return {"total": sum(found.values())} | {outcome: found[outcome] for outcome in OUTCOMES}


# --- a plan ------------------------------------------------------------------------------


def plan_result(plan: Plan, host: str = "") -> Row:
    """What nova_drain_info returns, and nova_drain in check mode."""
    host = host or plan.scope.host
    rows = guest_rows(plan)
    blocked = [row["name"] for row in rows if row["outcome"] == "blocked"]
    outcome = "planned" if any(row["outcome"] == "planned" for row in rows) else "nothing_to_do"
    text = plan_sum(plan)
    if blocked:
        outcome = "blocked"
        text += f"; cannot go: {_names(blocked)}"
    return {
        "host": host,
        "outcome": outcome,
        "msg": text,
        "summary": summary(rows),
        "guests": rows,
        "predicted_seconds": round(plan.seconds, 1),
        "predicted_bytes": plan.bytes,
        "fits": plan.fits,
        "table": plan_lines(plan, host),
    }


def plan_diff(plan: Plan) -> dict[str, str]:
    """Where each guest is, and where it would be: ``before`` and ``after`` of a diff."""
    rows = guest_rows(plan)
    return {
        "before": placement((row["name"], row["id"], row["from"]) for row in rows),
        "after": placement(
            (row["name"], row["id"], row["from"] if row["outcome"] in _PLANNED else "elsewhere")
            for row in rows
        ),
    }


# --- a run -------------------------------------------------------------------------------


def event_row(event: Event, host: str) -> Row:
    """An event as data, with the line that words it."""
    return {
        "at": moment(event.at),
        "kind": event.kind,
        "id": event.guest_id,
        "name": event.name,
        "data": dict(event.data),
        "line": event_line(event, host),
    }


def step_result(
    before: Ledger, after: Ledger, events: Sequence[Event], host: str, now: float, seconds: float
) -> Row:
    """What one step adds: its events, and the lines that say how far the run is.

    ``before`` and ``after`` are the ledgers at both ends of the step, ``seconds`` apart.
    """
    paces = measure(before, after, seconds)
    return {
        "events": [event_row(event, host) for event in events],
        "progress": heartbeat(after, host, now, paces),
        "detail": detail_lines(after, host, now, paces),
    }


def run_result(
    plan: Plan,
    ledger: Ledger,
    now: float,
    *,
    changed: bool,
    problems: Sequence[str] = (),
    done: bool = True,
) -> Row:
    """What a run returns when it is over: nova_drain for a host, nova_live_migrate for guests.

    ``problems``: what the last look at the whole host found wrong, a sentence each; a run
    with problems is not drained, whatever became of its guests.
    """
    rows = guest_rows(plan, ledger)
    counts = summary(rows)
    left = [row for row in rows if row["outcome"] in UNFINISHED]
    result: Row = {
        "host": plan.scope.host,
        "run_id": ledger.run_id,
        "outcome": "unfinished",
        "changed": changed,
        "summary": counts,
        "guests": rows,
        "problems": list(problems),
        "started_at": moment(ledger.started_at),
        "ended_at": moment(now),
        "seconds": round(max(0.0, now - ledger.started_at), 1) if ledger.started_at else 0.0,
        "bytes": sum(row["bytes"] or 0 for row in rows),
        "predicted_seconds": round(plan.seconds, 1),
        "predicted_bytes": plan.bytes,
    }
    if done:
        result["outcome"] = _run_outcome(counts, bool(left or problems), changed)
    result["msg"] = _sentence(result, [row["name"] for row in left])
    result["lines"] = summary_lines(result)
    return result


def run_diff(plan: Plan, ledger: Ledger) -> dict[str, str]:
    """Where each guest was before the run, and where it is now."""
    rows = guest_rows(plan, ledger)
    return {
        "before": placement((row["name"], row["id"], row["from"]) for row in rows),
        "after": placement(
            (row["name"], row["id"], row["to"] if row["outcome"] == "moved" else row["from"])
            for row in rows
        ),
    }


def _run_outcome(counts: Mapping[str, int], wrong: bool, changed: bool) -> str:
    if wrong or counts["waiting"] or counts["running"]:
        return "not_drained"
    return "drained" if counts["moved"] or changed else "nothing_to_do"


def _sentence(result: Mapping[str, Any], left: Sequence[str]) -> str:
    counts = result["summary"]
    did = f"{count(counts['moved'], 'guest')} moved in {duration(result['seconds'])}"
    if result["bytes"]:
        did += f", {size(result['bytes'])}"
    stays = f"; {counts['excluded']} excluded, left where they are" if counts["excluded"] else ""
    if result["outcome"] == "unfinished":
        return f"not finished yet: {did}"
    if result["outcome"] == "nothing_to_do":
        return (
            f"nothing to do: the host is closed to new guests, and no guest is left to move{stays}"
        )
    if result["outcome"] == "drained":
        return f"drained and verified: {did}; nothing is left{stays}"
    parts = [f"{count(len(left), 'guest')} not moved ({_names(left)})"] if left else []
    pending = counts["waiting"] + counts["running"]
    parts += [f"{count(pending, 'guest')} not finished"] if pending else []
    problems = other_problems(result)
    parts += [count(len(problems), "problem")] if problems else []
    return f"NOT drained: {', '.join(parts)}; {did}{stays}"


def _names(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
