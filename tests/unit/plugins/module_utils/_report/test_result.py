# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules return: a row for every guest, and a sentence that does not lie."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._report import result as r
from tests.unit.plugins.module_utils._report.builders import GIB, entry, ledger, move, moved, plan

BLOCKED = entry("vm-s", m.BLOCKED, "share", reason="a share", remedy="detach it")
EXCLUDED = entry("vm-x", m.EXCLUDED, "excluded", reason="excluded by name")


def finish(*moves, entries=(), **more):
    facts = {"now": 152.0, "changed": True} | more
    return r.run_result(plan(*entries), ledger(*moves), facts.pop("now"), **facts)


def test_a_moved_guest_has_prediction_and_outcome_in_one_row():
    assert r.guest_rows(plan(entry()), ledger(moved())) == [
        {
            "id": "id-vm-a",
            "name": "vm-a",
            "state": "active",
            "outcome": "moved",
            "method": "live",
            "code": "verified",
            "reason": "",
            "remedy": "",
            "notes": [],
            "addresses": [],
            "from": "cmp-3",
            "to": "cmp-7",
            "attempts": 1,
            "seconds": 42.0,
            "bytes": 3 * GIB // 2,
            "predicted_seconds": 10.0,
            "predicted_bytes": 2 * GIB,
            "witnesses": 3,
            "policy": r.policy_row(m.Policy()),
            "policy_findings": [],
        }
    ]


def test_a_policy_s_values_come_with_their_sources():
    asked = m.Policy(max_downtime_ms=100, sources={"max_downtime_ms": "instance lowtide:x"})
    row = r.policy_row(asked)
    assert row["max_downtime_ms"] == {"value": 100, "source": "instance lowtide:x"}
    assert row["wish"] == {"value": "migrate", "source": "default"}
    assert not {"sources", "findings"} & set(row)


def test_what_remained_when_it_was_last_seen_was_copied_before_it_moved():
    seen = {"processed_bytes": GIB, "remaining_bytes": 3 * GIB}
    assert r.guest_row(entry(), moved(**seen))["bytes"] == 4 * GIB
    assert r.guest_row(entry(), move("vm-a", m.LEFT, **seen))["bytes"] == GIB


def test_a_guest_that_is_left_went_nowhere():
    row = r.guest_row(entry(), move("vm-a", m.LEFT, destination="cmp-7", code="timeout"))
    assert (row["from"], row["to"]) == ("cmp-3", "")
    unverified = move("vm-a", m.UNVERIFIED, destination="cmp-7", code="allocations")
    assert r.guest_row(entry(), unverified)["to"] == "cmp-7"


def test_every_row_has_the_same_fields():
    arrived = move("vm-n", m.LEFT, code="busy", reason="rebuilding", remedy="wait")
    rows = r.guest_rows(plan(entry(), BLOCKED, EXCLUDED), ledger(moved(), arrived))
    assert [row["name"] for row in rows] == ["vm-a", "vm-s", "vm-x", "vm-n"]
    assert len({frozenset(row) for row in rows}) == 1


def test_what_was_not_measured_is_null_and_not_nought():
    waits = r.guest_rows(plan(entry()), ledger(move()))[0]
    assert (waits["outcome"], waits["seconds"], waits["bytes"]) == ("waiting", None, None)
    stays = r.guest_rows(plan(EXCLUDED))[0]
    assert (stays["predicted_seconds"], stays["predicted_bytes"]) == (None, None)


def test_a_waiting_guest_keeps_the_plans_reason():
    assert r.guest_rows(plan(entry()), ledger(move()))[0]["reason"] == "running"


@pytest.mark.parametrize(
    ("phase", "outcome"),
    [
        (m.WAITING, "waiting"),
        (m.REQUESTED, "running"),
        (m.MIGRATING, "running"),
        (m.CONFIRMING, "running"),
        (m.VERIFYING, "running"),
        (m.RECOVERING, "running"),
        (m.MOVED, "moved"),
        (m.LEFT, "left"),
        (m.UNVERIFIED, "unverified"),
        (m.GONE, "gone"),
        (m.SKIPPED, "excluded"),
    ],
)
def test_every_phase_has_its_outcome(phase, outcome):
    assert r.guest_row(entry(), move("vm-a", phase))["outcome"] == outcome
    assert outcome in r.OUTCOMES


def test_a_guest_comes_from_the_host_that_it_is_to_leave():
    """Unlike in the plan: there it may be elsewhere already, with its resize unconfirmed."""
    planned = entry()
    resized = replace(planned, guest=replace(planned.guest, host="cmp-9"))
    assert r.guest_row(resized, None)["from"] == "cmp-9"
    assert r.guest_row(resized, moved())["from"] == "cmp-3"


def test_a_guest_needs_a_plan_or_a_move():
    with pytest.raises(ValueError, match="needs an entry"):
        r.guest_row(None, None)


def test_the_plan_with_blockers_is_blocked():
    found = r.plan_result(plan(entry(), BLOCKED, EXCLUDED))
    assert found["outcome"] == "blocked"
    assert found["host"] == "cmp-3"
    assert found["msg"].endswith("cannot go: vm-s")
    assert found["summary"]["total"] == 3
    assert (found["summary"]["planned"], found["summary"]["blocked"]) == (1, 1)
    assert found["table"][0].startswith("[cmp-3] 3 guests")


def test_the_plan_of_a_host_with_nothing_to_move():
    assert r.plan_result(plan(EXCLUDED))["outcome"] == "nothing_to_do"
    assert r.plan_result(plan())["msg"] == "no guests: nothing to move"
    assert r.plan_result(plan(entry()))["outcome"] == "planned"


def test_drained():
    found = finish(moved(), move("vm-x", m.SKIPPED), entries=(entry(), EXCLUDED))
    assert found["outcome"] == "drained"
    assert found["msg"] == (
        "drained and verified: 1 guest moved in 1m02s, 1.5 GiB; nothing is left;"
        " 1 excluded, left where they are"
    )
    assert (found["seconds"], found["bytes"]) == (62.0, 3 * GIB // 2)
    assert found["lines"] == [f"[cmp-3] {found['msg']}"]


def test_nothing_to_do():
    found = finish(changed=False)
    assert found["outcome"] == "nothing_to_do"
    assert found["msg"].startswith("nothing to do: the host is closed to new guests")


def test_an_empty_host_that_was_closed_is_drained():
    assert finish(changed=True)["outcome"] == "drained"


@pytest.mark.parametrize("phase", [m.LEFT, m.UNVERIFIED, m.WAITING, m.MIGRATING, m.VERIFYING])
def test_one_guest_that_is_not_moved_is_enough(phase):
    found = finish(moved(), move("vm-b", phase, code="timeout"), entries=(entry(), entry("vm-b")))
    assert found["outcome"] == "not_drained"
    assert found["msg"].startswith("NOT drained: 1 guest not ")


def test_a_blocked_guest_that_was_never_tried_is_left():
    assert finish(moved(), entries=(entry(), BLOCKED))["outcome"] == "not_drained"


def test_a_problem_of_the_host_is_enough():
    found = finish(moved(), entries=(entry(),), problems=["an allocation is left"])
    assert found["outcome"] == "not_drained"
    assert "1 problem" in found["msg"]
    assert found["lines"][-1] == "[cmp-3]   problem: an allocation is left"


def test_a_problem_that_is_a_guest_left_is_told_once():
    found = finish(move("vm-b", m.LEFT, code="x"), problems=["guest id-vm-b is still on cmp-3"])
    assert "problem" not in found["msg"]
    assert not any("problem" in line for line in found["lines"])
    assert found["problems"] == ["guest id-vm-b is still on cmp-3"]


def test_between_two_steps_nothing_is_claimed():
    found = finish(moved(), move("vm-b"), entries=(entry(), entry("vm-b")), done=False)
    assert found["outcome"] == "unfinished"
    assert found["msg"].startswith("not finished yet")


def test_many_names_are_cut():
    moves = [move(f"vm-{i}", m.LEFT, code="x") for i in range(7)]
    assert "(vm-0, vm-1, vm-2, vm-3, vm-4 and 2 more)" in finish(*moves)["msg"]


def test_a_step_brings_its_events_in_words_and_as_data():
    event = m.Event(1795144500.0, "arrived", "id-vm-a", "vm-a", {})
    step = r.step_result(ledger(), ledger(move()), [event], "cmp-3", 10.0, 5.0)
    assert step["events"] == [
        {
            "at": "2026-11-20T03:15:00Z",
            "kind": "arrived",
            "id": "id-vm-a",
            "name": "vm-a",
            "data": {},
            "line": "[cmp-3] vm-a: arrived after the plan was made",
        }
    ]
    assert step["progress"] == "[cmp-3] 0/1 moved, 1 waiting"
    assert step["detail"] == []


def test_diffs_show_where_guests_are_and_would_be():
    planned = r.plan_diff(plan(entry(), BLOCKED))
    assert planned["before"] == "vm-a  id-vm-a  cmp-3\nvm-s  id-vm-s  cmp-3\n"
    assert planned["after"] == "vm-a  id-vm-a  elsewhere\nvm-s  id-vm-s  cmp-3\n"
    done = r.run_diff(plan(entry(), BLOCKED), ledger(moved(), move("vm-s", m.LEFT)))
    assert done["after"] == "vm-a  id-vm-a  cmp-7\nvm-s  id-vm-s  cmp-3\n"


def test_results_are_plain_json():
    json.dumps(finish(moved(), entries=(entry(),)))
    json.dumps(r.plan_result(plan(entry(), BLOCKED)))
