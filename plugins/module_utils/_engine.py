# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The loop: observe -> decide -> act, for a bounded number of seconds.

This module util is **PRIVATE** to the collection: it may change without notice.
It holds no state of its own: plan and ledger come in and go out, everything else is read
from Nova. The planner decides; this room only fetches what was asked for and sends what was
decided.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    Refused,
    Unreachable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import Clock
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.cloud import Cloud
from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.drain import step
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import make_plan
from ansible_collections.lowtide.compute.plugins.module_utils._planner.replan import replan
from ansible_collections.lowtide.compute.plugins.module_utils._planner.verify import (
    HostVerdict,
    judge_host,
)

#: Seconds for which Nova may still hold the allocation of a migration that is over, and the
#: pause between two looks.
LEFTOVER_GRACE, LEFTOVER_PAUSE = 15.0, 2.0
READS = frozenset({"verify", "explain", "ask_alive", "progress"})
#: What is not asked here, but by whoever can reach the hypervisors: the ledger's ``wanted``.
ELSEWHERE = "ask_hypervisor"


@dataclass(frozen=True, slots=True)
class Run:
    """What a bounded run left: the plan and ledger for the next one, and what happened."""

    plan: m.Plan
    ledger: m.Ledger
    events: tuple[m.Event, ...] = ()
    done: bool = False


def new_ledger(run_id: str, now: float, since: str = "") -> m.Ledger:
    """A fresh ledger. ``since``: the drain's start as its run id tells it; "" means now."""
    return m.Ledger(run_id=run_id, started_at=now, since=since or iso_time(now))


def iso_time(epoch: float) -> str:
    """Epoch seconds as Nova writes times: ISO 8601, UTC, no zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch))


def survey_and_plan(
    cloud: Cloud, scope: m.Scope, options: m.Options, since: str = ""
) -> tuple[m.Survey, m.Plan]:
    """Look once and plan; changes nothing."""
    survey = cloud.survey(scope)
    return survey, make_plan(survey, options, since)


def run(
    cloud: Cloud,
    clock: Clock,
    plan: m.Plan,
    options: m.Options,
    ledger: m.Ledger,
    *,
    seconds: float = float("inf"),
    poll_interval: float = 5.0,
) -> Run:
    """Tick until the run is done, ``seconds`` have passed, or a hypervisor must be asked.

    At least one tick. What hypervisors and probe said is taken from the ledger's ``answers``.
    Raises what a gateway raises when it is final (Unauthorized), and Unreachable when an
    API has given no answer for ``options.api_patience`` seconds: migrations in flight go on
    in Nova, and a later run adopts them.
    """
    until = clock.now() + seconds
    events: list[m.Event] = []
    while True:
        asked_at = clock.now()
        try:
            seen = cloud.observe(plan.scope)
            plan = _meet_strangers(cloud, plan, options, ledger, seen)
            plan, ledger = _plan_anew(cloud, plan, options, ledger, asked_at, events)
            ledger = _end_silence(ledger, asked_at, events)
            decision, stepped = step(
                plan, options, ledger, _with_answers(seen, plan, ledger), clock.now()
            )
            # Should it get no answer, the request to disable may have been heard all the same.
            ledger = replace(ledger, disabled_at=stepped.disabled_at)
            ledger = replace(stepped, answers=_kept(_act(cloud, decision), ledger, decision))
        except Unreachable as silence:
            decision = m.Decision()
            ledger = _note_silence(ledger, options, asked_at, silence, events)
        events += decision.events
        if decision.done or ledger.wanted or clock.now() + poll_interval > until:
            return Run(plan, ledger, tuple(events), decision.done)
        clock.sleep(asked_at + poll_interval - clock.now())


def _note_silence(
    ledger: m.Ledger,
    options: m.Options,
    now: float,
    silence: Unreachable,
    events: list[m.Event],
) -> m.Ledger:
    """What was read before is old by the time the API answers; a refusal remains one."""
    since = ledger.unreachable_since
    if not since:
        events.append(m.Event(now, "unreachable", data={"message": silence.message}))
    elif now - since > options.api_patience:
        raise silence
    answers = m.Observation(refusals=ledger.answers.refusals, silent_ms=ledger.answers.silent_ms)
    return replace(ledger, unreachable_since=since or now, answers=answers, wanted=())


def _end_silence(ledger: m.Ledger, now: float, events: list[m.Event]) -> m.Ledger:
    """Time in which nobody answered is not charged to what was being waited for."""
    if not ledger.unreachable_since:
        return ledger
    silent = now - ledger.unreachable_since
    events.append(m.Event(now, "reachable", data={"seconds": round(silent, 1)}))
    moves = {key: replace(mv, since=mv.since + silent) for key, mv in ledger.moves.items()}
    return replace(ledger, unreachable_since=0.0, moves=moves)


def _with_answers(seen: m.Observation, plan: m.Plan, ledger: m.Ledger) -> m.Observation:
    """What was just listed, with what the last decision asked for and what the plan knows."""
    known = {entry.guest.id: entry.guest for entry in plan.entries}
    return replace(
        ledger.answers,
        service=seen.service,
        guests=tuple(_surrounded(guest, known.get(guest.id)) for guest in seen.guests),
        migrations=seen.migrations,
    )


def _meet_strangers(
    cloud: Cloud, plan: m.Plan, options: m.Options, ledger: m.Ledger, seen: m.Observation
) -> m.Plan:
    """Guests that landed after the plan was made get an entry of their own."""
    planned = {entry.guest.id for entry in plan.entries}
    if all(guest.id in planned for guest in seen.guests):
        return plan
    fresh = make_plan(cloud.survey(plan.scope), options, ledger.since)
    arrived = tuple(entry for entry in fresh.entries if entry.guest.id not in planned)
    return replace(plan, entries=plan.entries + arrived)


def _plan_anew(
    cloud: Cloud,
    plan: m.Plan,
    options: m.Options,
    ledger: m.Ledger,
    now: float,
    events: list[m.Event],
) -> tuple[m.Plan, m.Ledger]:
    """Where a host did not take its guest, look at all of them again, once for each attempt."""
    if not ledger.overtaken:
        return plan, ledger
    plan, ledger, changes = replan(plan, cloud.survey(plan.scope), options, ledger, now)
    events += changes
    return plan, ledger


def _surrounded(guest: m.Guest, known: m.Guest | None) -> m.Guest:
    """A listed guest with what only the survey tells of it."""
    if known is None:
        return guest
    same_error = guest.vm_state == known.vm_state == "error"
    return replace(
        guest,
        ports=known.ports,
        group=known.group,
        shares=known.shares,
        resources=known.resources,
        tags=known.tags,
        alive=known.alive if same_error else None,
    )


def _kept(answers: m.Observation, before: m.Ledger, decision: m.Decision) -> m.Observation:
    """The probe's word holds until there is another, libvirt's last one for the host's verdict."""
    last = before.answers.hypervisors if decision.done else {}
    return replace(answers, silent_ms=before.answers.silent_ms, hypervisors=last)


def _act(cloud: Cloud, decision: m.Decision) -> m.Observation:
    """Carry out the decision, writes first: a read's answer must not be older than they are."""
    answers = _answers()
    for action in decision.actions:
        if action.verb not in READS and action.verb != ELSEWHERE:
            _write(cloud, action, answers)
    for action in decision.actions:
        if action.verb in READS:
            _read(cloud, action, answers)
    return answers


def _answers() -> m.Observation:
    """Empty, and to be filled: the only observation whose mappings are dicts of its own."""
    return m.Observation(progress={}, evidence={}, refusals={}, causes={}, alive={})


def _write(cloud: Cloud, action: m.Action, answers: m.Observation) -> None:
    verbs: Mapping[str, Callable[[], None]] = {
        "disable": lambda: cloud.disable(action.host, action.text),
        "live_migrate": lambda: cloud.live_migrate(action.guest_id, action.host),
        "cold_migrate": lambda: cloud.cold_migrate(action.guest_id, action.host),
        "confirm": lambda: cloud.confirm(action.guest_id),
        "abort": lambda: cloud.abort(action.guest_id, action.migration_id),
        "force_complete": lambda: cloud.force_complete(action.guest_id, action.migration_id),
        "reset_state": lambda: cloud.reset_state(action.guest_id),
        "pause": lambda: cloud.pause(action.guest_id),
    }
    try:
        verbs[action.verb]()
    except (Refused, Unreachable) as error:
        if not action.guest_id:
            raise
        status = error.status if isinstance(error, Refused) else 0
        answers.refusals[action.guest_id] = m.Refusal(status, error.message)


def _read(cloud: Cloud, action: m.Action, answers: m.Observation) -> None:
    """An answer that cannot be had now is left out: the planner asks again within its budget."""
    guest = action.guest_id
    reads: Mapping[str, tuple[dict[str, Any], Callable[[], Any]]] = {
        "verify": (answers.evidence, lambda: cloud.evidence(guest, action.migration_uuid)),
        "explain": (answers.causes, lambda: cloud.cause(guest)),
        "ask_alive": (answers.alive, lambda: cloud.alive(guest)),
        "progress": (answers.progress, lambda: cloud.progress(guest, action.migration_id)),
    }
    target, ask = reads[action.verb]
    try:
        answer = ask()
    except (Refused, Unreachable):
        return
    if answer is not None or action.verb == "ask_alive":
        target[guest] = answer


def check_host(cloud: Cloud, clock: Clock, plan: m.Plan, ledger: m.Ledger) -> HostVerdict:
    """Is the host of the plan empty, by Nova and by Placement? A few list calls.

    What passes by itself is looked at again for LEFTOVER_GRACE seconds.
    """
    until = clock.now() + LEFTOVER_GRACE
    while True:
        verdict = _look_at_host(cloud, plan, ledger)
        if not verdict.may_pass or clock.now() >= until:
            return verdict
        clock.sleep(LEFTOVER_PAUSE)


def _look_at_host(cloud: Cloud, plan: m.Plan, ledger: m.Ledger) -> HostVerdict:
    seen = cloud.observe(plan.scope)
    excluded = [mv.guest_id for mv in ledger.moves.values() if mv.phase == m.SKIPPED]
    return judge_host(
        plan,
        [guest.id for guest in seen.guests if guest.host == plan.scope.host],
        cloud.host_allocations(plan.scope.host),
        seen.migrations,
        excluded,
        ledger.answers.hypervisors.get(plan.scope.host),
    )
