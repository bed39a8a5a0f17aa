# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Begin, continue and end the drain of one host: what the modules need around the engine.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._engine import (
    Run,
    check_host,
    new_ledger,
    survey_and_plan,
)
from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    Blocked,
    HostNotReady,
    NotDrained,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import Clock
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.cloud import Cloud
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import decode, encode
from ansible_collections.lowtide.compute.plugins.module_utils._planner.mark import (
    run_id_of,
    since_of,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Domains,
    Event,
    Guest,
    Ledger,
    Options,
    Plan,
    Scope,
    Service,
    Survey,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.result import (
    plan_diff,
    plan_result,
    run_diff,
    run_result,
)

#: Events that tell of something that was changed.
WRITES = frozenset({"disabled", "started", "confirming", "recovered", "timed_out"})


def look(cloud: Cloud, service: Service, options: Options) -> tuple[Survey, Plan]:
    """Survey the host and plan its drain.

    A cold migration is the drain's own, and is confirmed, only when it is younger than the
    mark in the service's reason.
    """
    since = since_of(run_id_of(service.disabled_reason))
    return survey_and_plan(cloud, Scope(host=service.host), options, since)


def check_exclusions(options: Options, guests: Iterable[Guest], host: str) -> None:
    """A mistyped exclusion would let the very guest go that should stay."""
    guests = tuple(guests)
    known = (
        ("exclude.ids", options.exclude.ids, {guest.id for guest in guests}),
        ("exclude.names", options.exclude.names, {guest.name for guest in guests}),
    )
    for option, wanted, present in known:
        for value in wanted:
            if value not in present:
                raise BadOption(
                    option,
                    value,
                    f"is no guest on {host}",
                    "Correct it, or remove it if the guest is gone",
                )


def refuse_dead(service: Service) -> None:
    """Raise HostNotReady for a host whose nova-compute could not send any guest away."""
    if not service.up or service.forced_down:
        how = "forced down" if service.forced_down else "down"
        raise HostNotReady(
            f"host: {service.host!r} is {how}: its nova-compute takes no part in a migration",
            "Start nova-compute there. If the host is dead, fence it and evacuate its guests",
            host=service.host,
        )


def refuse_blocked(plan: Plan, options: Options) -> None:
    """Raise Blocked, with the whole plan, when guests cannot go and that must not be."""
    if not plan.blockers or options.on_blocker != "fail":
        return
    result = plan_result(plan)
    raise Blocked(
        f"{plan.scope.host}: {result.pop('msg')}",
        "Do what `guests` says for each, exclude them, or set on_blocker: drain_the_rest",
        changed=False,
        diff=plan_diff(plan),
        **result,
    )


def begin(service: Service, now: float, fresh_run_id: str) -> Ledger:
    """The ledger of a run: of the one that disabled the host, when it was one of ours."""
    run_id = run_id_of(service.disabled_reason) or fresh_run_id
    return new_ledger(run_id, now, since_of(run_id))


def resume(state: Mapping[str, Any]) -> tuple[Plan, Ledger]:
    """Plan and ledger from what :func:`keep` returned; raises BadOption for anything else."""
    try:
        kept = json.loads(zlib.decompress(base64.b64decode(state["packed"])))
        return decode(Plan, kept["plan"]), decode(Ledger, kept["ledger"])
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
        raise BadOption(
            "state",
            "{...}",
            f"is not what this version of the module returned ({error})",
            "Run again without it: everything that matters is in Nova",
        ) from error


def hear(ledger: Ledger, answers: Mapping[str, Any]) -> Ledger:
    """The ledger with what was learned elsewhere since the step before.

    ``answers``: ``hypervisors`` (host -> fields of Domains) and ``silent_ms`` (guest id -> ms).
    A hypervisor that was wanted and is not among them counts as out of reach. Raises BadOption
    for anything else.
    """
    try:
        said = answers.get("hypervisors") or {}
        unasked = {"error": "nobody asked it"}
        hypervisors = {host: decode(Domains, said.get(host, unasked)) for host in ledger.wanted}
        silent = {guest: float(ms) for guest, ms in (answers.get("silent_ms") or {}).items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise BadOption(
            "answers",
            "{...}",
            f"is not what the action plugin of this version gives ({error})",
            "Leave it to the action plugin",
        ) from error
    heard = replace(ledger.answers, hypervisors=hypervisors, silent_ms=silent)
    return replace(ledger, answers=heard)


def keep(run: Run, now: float) -> dict[str, str]:
    """What the next step needs to know, packed: Ansible logs the options of every call.

    ``now`` makes each state another one. The option is a secret to Ansible, so that it is kept
    out of the log, and a state that is returned as it was given would be blotted out.
    """
    kept = {"at": now, "plan": encode(run.plan), "ledger": encode(run.ledger)}
    return {"packed": base64.b64encode(zlib.compress(json.dumps(kept).encode())).decode()}


def wrote(events: Iterable[Event]) -> bool:
    """Did anything change that these events tell of?"""
    return any(event.kind in WRITES for event in events)


def changed_by(ledger: Ledger) -> bool:
    """Has this run, in all its steps, changed anything?"""
    acted = any(move.attempts or move.started_at for move in ledger.moves.values())
    return acted or bool(ledger.disabled_at)


def conclude(cloud: Cloud, clock: Clock, ended: Run, step: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a run that is over, after one more look at the whole host.

    ``step``: what the last step adds to it. Raises NotDrained, with the result, when anything
    is left.
    """
    problems = check_host(cloud, clock, ended.plan, ended.ledger).problems
    result = run_result(
        ended.plan,
        ended.ledger,
        clock.now(),
        changed=changed_by(ended.ledger),
        problems=problems,
    )
    result |= {**step, "diff": run_diff(ended.plan, ended.ledger)}
    if result["outcome"] == "not_drained":
        raise NotDrained(
            result.pop("msg"),
            "Do what `guests` and `problems` say, and run it again to go on",
            **result,
        )
    return result
