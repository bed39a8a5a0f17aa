# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Move guests that were named one by one: what the live and the cold module share.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils import _engine
from ansible_collections.lowtide.compute.plugins.module_utils._drain import changed_by, wrote
from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    Blocked,
    HostNotReady,
    NotDrained,
    NotFound,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.cloud import OpenStackCloud
from ansible_collections.lowtide.compute.plugins.module_utils._module import Task
from ansible_collections.lowtide.compute.plugins.module_utils._options import (
    MOVE_SPEC,
    exact_host,
    read_options,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.mark import new_run_id
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    BLOCKED,
    COLD,
    Ledger,
    Move,
    Options,
    Plan,
    PlanEntry,
    Scope,
    Verdict,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.result import (
    event_row,
    guest_rows,
    plan_diff,
    run_diff,
)

SPEC = {
    **MOVE_SPEC,
    "servers": {"type": "list", "elements": "str", "required": True},
    "host": {"type": "str"},
    "wait": {"type": "bool", "default": True},
}

Judge = Callable[[PlanEntry, Options], Verdict]


def move_guests(task: Task, judge: Judge) -> dict[str, Any]:
    """Find, plan, move and verify. ``judge``: the module's own word on a plan's entry."""
    params = task.params
    options = read_options(params, destination=params["host"] or "")
    if params["host"] is not None:
        check_destination(task.cloud, exact_host(params["host"]))
    scope = Scope(guest_ids=find(task.cloud, params["servers"]))
    _survey, plan = _engine.survey_and_plan(task.cloud, scope, options)
    plan = replace(plan, entries=tuple(replace(e, verdict=judge(e, options)) for e in plan.entries))
    rows = [_named(row) for row in guest_rows(plan)]
    refuse_blocked(plan, rows)
    if task.check_mode or all(row["outcome"] == "already_there" for row in rows):
        return {
            "changed": any(row["outcome"] == "planned" for row in rows),
            "diff": plan_diff(plan),
            **_described(rows),
        }
    return _carry_out(task, plan, options)


def find(cloud: OpenStackCloud, servers: Iterable[str]) -> tuple[str, ...]:
    """IDs of the guests that these IDs and names mean, each once."""
    found: dict[str, None] = {}
    for wanted in servers:
        guests = cloud.find_guests(wanted) if wanted.strip() else ()
        if not guests:
            raise NotFound(
                f"servers: {wanted!r} is neither the ID nor the name of a guest",
                "Give an ID, or the exact name",
                option="servers",
            )
        if len(guests) > 1:
            ids = ", ".join(guest.id for guest in guests)
            raise BadOption("servers", wanted, f"is the name of several guests: {ids}", "Give IDs")
        found[guests[0].id] = None
    if not found:
        raise BadOption("servers", [], "names no guest", "Give at least one")
    return tuple(found)


def check_destination(cloud: OpenStackCloud, host: str) -> None:
    """Raise HostNotReady for a host on which Nova's scheduler would place nothing."""
    service = cloud.service(host)
    if service.enabled and service.up and not service.forced_down:
        return
    why = "disabled" if not service.enabled else "down"
    if not service.enabled and service.disabled_reason:
        why += f" ({service.disabled_reason})"
    raise HostNotReady(
        f"host: {host!r} is {why}, so Nova would place no guest there",
        "Choose another host, or none so that Nova chooses, or put it back into service",
        host=host,
    )


def refuse_blocked(plan: Plan, rows: list[dict[str, Any]]) -> None:
    """Raise Blocked, with the reasons, when one of the guests cannot go."""
    if plan.blockers:
        first = plan.blockers[0]
        more = f" (and {len(plan.blockers) - 1} more)" if len(plan.blockers) > 1 else ""
        raise Blocked(
            f"{first.guest.name}: {first.verdict.code}: {first.verdict.reason}{more}",
            first.verdict.remedy,
            changed=False,
            diff=plan_diff(plan),
            **{key: value for key, value in _described(rows).items() if key != "msg"},
        )


def _carry_out(task: Task, plan: Plan, options: Options) -> dict[str, Any]:
    wait, poll_interval = task.params["wait"], task.params["poll_interval"]
    if not wait:
        options = replace(options, max_parallel=max(options.max_parallel, len(plan.entries)))
    now = task.clock.now()
    ended = _engine.run(
        task.cloud,
        task.clock,
        plan,
        options,
        _opened(plan, _engine.new_ledger(new_run_id(now, task.chance()), now), now),
        # Two looks: the second one brings what Nova refused.
        seconds=math.inf if wait else 2 * poll_interval,
        poll_interval=poll_interval,
    )
    rows = [_named(row) for row in guest_rows(ended.plan, ended.ledger)]
    wanted = task.params["host"]
    for row in rows:
        if row["outcome"] == "moved" and wanted and row["to"] != wanted:
            reason = f"a migration that was already running took it to {row['to']}"
            row |= {"outcome": "left", "code": "elsewhere", "reason": reason}
    result = {
        "changed": changed_by(ended.ledger) or wrote(ended.events),
        "diff": run_diff(ended.plan, ended.ledger),
        "events": [event_row(event, "nova") for event in ended.events],
        "seconds": round(task.clock.now() - now, 1),
        **_described(rows),
    }
    if any(row["outcome"] in ("left", "unverified") for row in rows):
        message = result.pop("msg")
        raise NotDrained(message, "Do what `guests` says for each, and try again", **result)
    return result


def _opened(plan: Plan, ledger: Ledger, now: float) -> Ledger:
    """Guests that go cold although they run have to be known as such from the start."""
    moves = {
        entry.guest.id: Move(
            guest_id=entry.guest.id,
            name=entry.guest.name,
            source=entry.guest.host,
            method=COLD,
            since=now,
            group_id=entry.guest.group.id if entry.guest.group else "",
            predicted_seconds=entry.estimate.seconds,
        )
        for entry in plan.entries
        if entry.verdict.method == COLD
    }
    return replace(ledger, moves=moves)


def blocked(entry: PlanEntry, code: str, reason: str, remedy: str) -> Verdict:
    """The verdict that keeps a module from moving this guest."""
    return replace(entry.verdict, method=BLOCKED, code=code, reason=reason, remedy=remedy)


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """Nobody excludes a guest here: one that stays is already where it should be."""
    return row | {"outcome": "already_there"} if row["outcome"] == "excluded" else row


def _described(rows: list[dict[str, Any]]) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["outcome"]] = counts.get(row["outcome"], 0) + 1
    parts = [f"{number} {outcome.replace('_', ' ')}" for outcome, number in counts.items()]
    one = rows[0]
    if len(rows) == 1:
        where = f" to {one['to']}" if one["outcome"] == "moved" else ""
        why = f" ({one['code']}: {one['reason']})" if one["outcome"] == "left" else ""
        text = f"{one['name']}: {one['outcome'].replace('_', ' ')}{where}{why}"
    else:
        text = f"{len(rows)} guests: " + ", ".join(parts)
    return {"msg": text, "guests": rows, "summary": {"total": len(rows), **counts}}
