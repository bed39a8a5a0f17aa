# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a drain begins, goes on from a state, and is refused."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils import _drain as drain
from ansible_collections.lowtide.compute.plugins.module_utils._engine import Run
from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    Blocked,
    HostNotReady,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Domains,
    Event,
    Exclusions,
    Move,
    Options,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import make_plan
from tests.unit.support import guest, service, survey


class Cloud:
    """Returns one survey."""

    def __init__(self, *guests):
        self.seen = survey(*guests)

    def survey(self, scope):
        return self.seen


def test_a_run_goes_on_under_the_name_that_disabled_the_host():
    ours = service(enabled=False, disabled_reason="lowtide:20261120T031500Z-9f3a: drain")
    ledger = drain.begin(ours, 1795144600.0, "fresh")
    assert ledger.run_id == "20261120T031500Z-9f3a"
    assert ledger.since == "2026-11-20T03:15:00"


@pytest.mark.parametrize("reason", ["", "ask Eve"])
def test_a_run_has_a_name_of_its_own_otherwise(reason):
    ledger = drain.begin(service(disabled_reason=reason), 1795144500.0, "fresh")
    assert ledger.run_id == "fresh"
    assert ledger.since == "2026-11-20T03:15:00"


def test_plan_and_ledger_survive_the_way_through_ansible():
    plan = make_plan(survey(guest("g1"), guest("g2", vm_state="stopped")), Options())
    run = Run(plan, drain.begin(service(), 7.0, "r"))
    state = json.loads(json.dumps(drain.keep(run, 7.0)))
    assert drain.resume(state) == (run.plan, run.ledger)
    assert drain.keep(run, 8.0) != state


# --- what was learned elsewhere ----------------------------------------------------------


def wanting(*hosts):
    return replace(drain.begin(service(), 7.0, "r"), wanted=hosts)


def test_answers_are_heard():
    said = {"states": {"g1": "running"}, "leftovers": ["g2"]}
    answers = {"hypervisors": {"cmp-1": said}, "silent_ms": {"g1": 12}}
    heard = drain.hear(wanting("cmp-1", "cmp-2"), answers).answers
    assert heard.hypervisors["cmp-1"] == Domains({"g1": "running"}, ("g2",))
    assert heard.hypervisors["cmp-2"].error == "nobody asked it"
    assert heard.silent_ms == {"g1": 12.0}


def test_what_nobody_wanted_to_know_is_not_heard():
    assert drain.hear(wanting(), {"hypervisors": {"cmp-1": {}}}).answers.hypervisors == {}


def test_what_a_refusal_said_is_kept_beside_it():
    ledger = wanting()
    kept = replace(ledger, answers=replace(ledger.answers, causes={"g1": "no"}))
    assert drain.hear(kept, {}).answers.causes == {"g1": "no"}


@pytest.mark.parametrize(
    "answers",
    [
        {"hypervisors": {"cmp-1": {"colour": "blue"}}},
        {"hypervisors": {"cmp-1": "running"}},
        {"hypervisors": [1]},
        {"silent_ms": {"g1": "long"}},
        {"silent_ms": [1]},
    ],
)
def test_answers_that_are_none_of_ours(answers):
    with pytest.raises(BadOption, match=r"^answers: "):
        drain.hear(wanting("cmp-1"), answers)


def packed(value):
    return {"packed": base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()}


@pytest.mark.parametrize(
    "state",
    [
        {"x": 1},
        {"packed": "no base64!"},
        {"packed": "AAAA"},
        packed([1]),
        packed({"plan": {}, "ledger": {}}),
        packed({"plan": {"scope": {"colour": "blue"}}, "ledger": {}}),
    ],
)
def test_a_state_that_is_none_of_ours(state):
    with pytest.raises(BadOption, match=r"^state: "):
        drain.resume(state)


@pytest.mark.parametrize("fields", [{"up": False}, {"forced_down": True}])
def test_a_dead_host_is_refused(fields):
    with pytest.raises(HostNotReady, match=r"host: 'cmp-1' is .*down"):
        drain.refuse_dead(service(**fields))
    drain.refuse_dead(service())


@pytest.mark.parametrize(
    ("exclude", "option"),
    [
        (Exclusions(ids=("g1", "g7")), "exclude.ids: 'g7'"),
        (Exclusions(names=("vm-g7",)), "exclude.names: 'vm-g7'"),
    ],
)
def test_exclusions_must_name_guests(exclude, option):
    with pytest.raises(BadOption, match=option):
        drain.check_exclusions(Options(exclude=exclude), [guest("g1")], "cmp-1")


def test_exclusions_by_what_many_may_have_need_no_guest():
    options = Options(exclude=Exclusions(projects=("p",), tags=("t",), metadata={"a": "b"}))
    drain.check_exclusions(options, [guest("g1")], "cmp-1")
    _survey, plan = drain.look(Cloud(guest("g1")), service(), options)
    assert len(plan.entries) == 1


def test_a_blocked_plan_is_refused_as_a_whole():
    plan = make_plan(survey(guest("g1"), guest("g2", vm_state="suspended")), Options())
    with pytest.raises(Blocked, match="cannot go: vm-g2") as refused:
        drain.refuse_blocked(plan, Options())
    details = refused.value.details
    assert [row["outcome"] for row in details["guests"]].count("blocked") == 1
    assert details["table"]
    assert details["changed"] is False
    assert "msg" not in details
    drain.refuse_blocked(plan, Options(on_blocker="drain_the_rest"))


def test_what_counts_as_a_change():
    assert drain.wrote([Event(0, "started")])
    assert drain.wrote([Event(0, "disabled")])
    assert not drain.wrote([Event(0, "adopted"), Event(0, "moved"), Event(0, "done")])
    ledger = drain.begin(service(), 7.0, "r")
    assert not drain.changed_by(ledger)
    assert drain.changed_by(type(ledger)(disabled_at=7.0))
    assert drain.changed_by(type(ledger)(moves={"g1": Move("g1", "a", "cmp-1", attempts=1)}))
