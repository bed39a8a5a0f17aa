# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nova_drain: plans, drains, proves it, can be interrupted, and says what it left.

The tests build on each other: cmp-1 is looked at, drained, drained again, opened and refilled.
"""

from __future__ import annotations

import pytest

HOST = "cmp-1"
QUICK = {"poll_interval": 1.0, "retry_delay": 1.0}
KEPT = {"exclude": {"names": ["kept"]}}


def service(api, host=HOST):
    return next(api.compute.services(host=host, binary="nova-compute"))


def guests_on(api, host=HOST):
    found = api.compute.servers(details=True, all_projects=True, compute_host=host)
    return {guest.name: guest for guest in found}


def consumers_on(api, host=HOST):
    provider = next(p for p in api.placement.resource_providers() if p.name == host)
    answer = api.placement.get(f"/resource_providers/{provider.id}/allocations")
    return set(answer.json()["allocations"])


def test_check_mode_returns_the_plan_and_writes_nothing(module, api):
    before = guests_on(api)
    plan = module("nova_drain", host=HOST, check=True, diff=True, **KEPT)
    assert plan["changed"]
    assert plan["outcome"] == "planned"
    assert {row["name"] for row in plan["guests"]} == set(before)
    assert {row["outcome"] for row in plan["guests"]} == {"planned", "excluded"}
    assert plan["predicted_seconds"] > 0
    assert plan["diff"]["before"].count(HOST) == len(before)
    assert plan["diff"]["after"].count(HOST) == 1
    assert plan.writes == []
    assert plan.calls
    assert guests_on(api).keys() == before.keys()
    assert service(api).status == "enabled"


@pytest.fixture(scope="module")
def drained():
    """What the drain returned, for the tests after it."""
    return {}


def test_a_drain_in_spite_of_failing_calls(module, api, lab, drained):
    guests = guests_on(api)
    lab.behave(guests["flaky"].id, fail_at_percent=50, fail_times=1)
    fault = ("fault", "api", "--service", "compute", "--method", "GET", "--path")
    lab.command(*fault, "servers/detail", "--nth", "3", "--action", "503", "--times", "2")
    lab.command(*fault, "os-migrations", "--nth", "4", "--action", "reset", "--times", "1")
    try:
        outcome = module("nova_drain", host=HOST, max_parallel=3, diff=True, **QUICK, **KEPT)
    finally:
        lab.command("fault", "clear")
    drained.update(outcome=outcome, guests=guests)
    assert outcome["changed"]
    assert outcome["done"]
    assert outcome["outcome"] == "drained", outcome["msg"]
    assert outcome["summary"]["moved"] == len(guests) - 1
    assert outcome["problems"] == []


def test_the_host_is_empty_but_for_what_was_excluded(drained, api):
    left = guests_on(api)
    assert set(left) == {"kept"}
    assert consumers_on(api) == {left["kept"].id}


def test_every_guest_is_as_it_was(drained, server):
    for row in drained["outcome"]["guests"]:
        before, after = drained["guests"][row["name"]], server(row["name"])
        assert after.status == before.status
        assert after.compute_host == (row["to"] if row["outcome"] == "moved" else HOST)
        assert after.task_state is None


def test_each_guest_went_its_way(drained):
    rows = {row["name"]: row for row in drained["outcome"]["guests"]}
    assert rows["batch"]["method"] == "cold"
    assert rows["web-01"]["method"] == "live"
    assert rows["kept"]["outcome"] == "excluded"
    assert rows["flaky"]["attempts"] == 2
    assert drained["outcome"]["diff"]["after"].count(f"  {HOST}") == 1


def test_the_service_carries_the_mark(drained, api):
    closed = service(api)
    assert closed.status == "disabled"
    assert closed.disabled_reason == f"lowtide:{drained['outcome']['run_id']}: drain"
    assert drained["outcome"]["marked"]


def test_a_look_is_three_calls_whatever_the_number_of_guests(drained):
    """In one process: as many lists of guests as of migrations as looks at the service."""
    calls = drained["outcome"].calls
    paths = [call["path"] for call in calls if call["status"] == 200]
    looks = [path for path in paths if "/os-migrations?host=cmp-1" in path]
    lists = [path for path in paths if "/servers/detail?" in path and "host=cmp-1" in path]
    assert len(looks) > 5
    assert abs(len(looks) - len(lists)) <= 1
    # A server is asked for by itself only to verify it, not at every look.
    singles = [call for call in calls if call["method"] == "GET" and is_single(call["path"])]
    assert len(singles) <= 4 * len(drained["guests"])


def is_single(path):
    return path.startswith("/v2.1/servers/") and path.count("/") == 3 and "detail" not in path


def test_the_second_run_has_nothing_to_do(module):
    again = module("nova_drain", host=HOST, diff=True, **QUICK, **KEPT)
    assert again["outcome"] == "nothing_to_do"
    assert not again["changed"]
    assert again.writes == []
    assert again["diff"]["before"] == again["diff"]["after"]
    assert not module("nova_drain", host=HOST, check=True, **KEPT)["changed"]


def test_a_run_that_was_cut_off_is_gone_on_with(module, api, drained, lab, server):
    """One step, then nothing of it but what Nova knows: the next run takes up its name, and
    watches the migration that is under way instead of asking for another one."""
    module("nova_compute_service", host=HOST, state="enabled")
    module("nova_live_migrate", servers=["web-01"], host=HOST, **QUICK)
    lab.behave(server("web-01").id, never_converges=True)
    first = module("nova_drain", host=HOST, wait=False, step_seconds=6, **QUICK, **KEPT)
    assert not first["done"]
    assert first["outcome"] == "unfinished"
    assert [event["kind"] for event in first["events"]][:2] == ["disabled", "started"]
    lab.behave(server("web-01").id, never_converges=False)

    second = module("nova_drain", host=HOST, **QUICK, **KEPT)
    kinds = [event["kind"] for event in second["events"]]
    assert second["outcome"] in ("drained", "nothing_to_do")
    assert second["run_id"] == first["run_id"] != drained["outcome"]["run_id"]
    assert "started" not in kinds
    assert second.writes == []
    assert set(guests_on(api)) == {"kept"}


def test_steps_that_hand_on_their_state(module, api):
    module("nova_compute_service", host=HOST, state="enabled")
    module("nova_live_migrate", servers=["web-02"], host=HOST, **QUICK)
    state, kinds = {}, []
    for _step in range(60):
        step = module(
            "nova_drain", host=HOST, wait=False, step_seconds=2, state=state, **QUICK, **KEPT
        )
        state = step.get("state")
        kinds += [event["kind"] for event in step["events"]]
        if step["done"]:
            break
    assert step["outcome"] == "drained"
    assert kinds.count("started") == kinds.count("moved") == kinds.count("done") == 1
    assert set(guests_on(api)) == {"kept"}


def test_a_state_of_another_version_is_refused(failing):
    outcome = failing("nova_drain", host=HOST, state={"packed": "of old"})
    assert outcome["code"] == "bad_option"
    assert outcome["msg"].startswith("state: ")
    assert outcome.writes == []


def test_what_somebody_else_closed_is_drained_but_not_marked(module, api):
    change = {"status": "disabled", "disabled_reason": "Eve is at it"}
    answer = api.compute.put(
        f"/os-services/{service(api, 'cmp-4').id}", json=change, microversion="2.53"
    )
    assert answer.status_code == 200, answer.text
    try:
        outcome = module("nova_drain", host="cmp-4", max_parallel=4, **QUICK)
        assert not outcome["marked"]
        assert "Eve is at it" in str(outcome["warnings"])
        assert service(api, "cmp-4").disabled_reason == "Eve is at it"
    finally:
        module("nova_compute_service", host="cmp-4", state="enabled", take_over=True)


def test_what_is_left_makes_it_fail_and_is_named(failing, module, api, lab, server):
    module("nova_compute_service", host="cmp-4", state="enabled")
    module("nova_live_migrate", servers=["database"], host="cmp-4", **QUICK)
    others = sorted(guests_on(api, "cmp-4").keys() - {"database"})
    lab.behave(server("database").id, never_converges=True)
    try:
        outcome = failing(
            "nova_drain",
            host="cmp-4",
            timeout_per_gib=1,
            max_attempts=1,
            exclude={"names": others},
            **QUICK,
        )
    finally:
        lab.behave(server("database").id, never_converges=False)
    assert outcome["code"] == "not_drained"
    assert outcome["outcome"] == "not_drained"
    assert outcome["done"]
    assert outcome["changed"]
    (left,) = [row for row in outcome["guests"] if row["outcome"] == "left"]
    assert left["name"] == "database"
    assert left["code"] == "timeout"
    assert left["remedy"]
    assert any(left["id"] in problem for problem in outcome["problems"])
    assert server("database").status == "ACTIVE"
    assert server("database").compute_host == "cmp-4"
    module("nova_compute_service", host="cmp-4", state="enabled")
