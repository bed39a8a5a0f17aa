# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drain holds each guest to its own policy: time, what follows it, order and wishes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import make_plan
from tests.unit.plugins.module_utils._planner.test_drain import QUICK, Drain
from tests.unit.support import guest, migration, survey

FORCED = replace(QUICK, on_timeout="force_complete")


def asking(guest_id="g1", **wanted):
    metadata = {f"lowtide:{key}": text for key, text in wanted.items()}
    return guest(guest_id, metadata=metadata)


def planned(*guests, **options):
    return make_plan(survey(*guests), m.Options(**options)).entries


# --- the plan ------------------------------------------------------------------------------


def test_the_plan_holds_each_guest_s_policy():
    entries = planned(asking("g1", max_downtime_ms="100"), asking("g2"), profile="starlingx")
    found = {entry.guest.id: entry.policy for entry in entries}
    assert found["g1"].max_downtime_ms == 100
    assert found["g2"].sources["max_downtime_ms"] == "profile starlingx"


@pytest.mark.parametrize("state", [{}, {"vm_state": "suspended", "power_state": "suspended"}])
def test_findings_are_notes_of_the_plan_whether_the_guest_moves_or_not(state):
    [entry] = planned(replace(asking(completion_timeout="soon"), **state))
    [finding] = entry.policy.findings
    assert finding in entry.verdict.notes


def test_only_a_live_migration_has_notes_on_its_policy():
    stopped = {"vm_state": "stopped", "power_state": "shutdown"}
    [live] = planned(asking(auto_converge="true"))
    [cold] = planned(replace(asking(auto_converge="true"), **stopped))
    assert "auto-converge on" in live.verdict.notes[-1]
    assert not any("auto-converge" in note for note in cold.verdict.notes)


def test_a_guest_that_will_not_converge_takes_all_its_time_in_the_plan():
    options = {"bandwidth_mib_s": 100.0, "overhead_seconds": 5.0}
    idle, busy = planned(guest("g1"), guest("g2"), order="name", dirty_rates={"g2": 200}, **options)
    assert idle.estimate.converges
    assert (busy.estimate.seconds, busy.estimate.converges) == (125.0, False)
    assert busy.estimate.bytes == 120 * 100 << 20
    assert "will not converge within its 500 ms" in busy.verdict.notes[-1]


def test_more_downtime_or_less_bandwidth_change_the_prediction():
    rates = {"g1": 90.0, "g2": 90.0}
    options = {"bandwidth_mib_s": 100.0, "dirty_rates": rates, "order": "name"}
    patient, quick = planned(guest("g1"), asking("g2", max_downtime_ms="9000"), **options)
    assert quick.estimate.rounds < patient.estimate.rounds
    limited, free = planned(asking("g1", bandwidth_mib_s="20"), guest("g2"), **options)
    assert (limited.estimate.converges, free.estimate.converges) == (False, True)


def test_a_limit_above_the_wire_s_speed_changes_nothing():
    [limited] = planned(asking(bandwidth_mib_s="5000"))
    [free] = planned(guest())
    assert limited.estimate == free.estimate


def test_order_by_priority_then_the_largest():
    guests = (
        guest("a", name="1", ram_mib=4096),
        asking("b", recovery_priority="2"),
        replace(asking("c", recovery_priority="2"), vcpus=2),
        asking("d", recovery_priority="1"),
        guest("e", name="2", ram_mib=8192),
    )
    assert [entry.guest.id for entry in planned(*guests, order="priority")] == list("dcbea")


# --- its time ------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "budget"), [("30", 30.0), ("0", 120.0), ("300", 300.0)])
def test_a_guest_has_the_time_that_its_policy_gives_it(seconds, budget):
    drain = Drain(asking(completion_timeout=seconds), options=QUICK).in_flight()
    drain.wait(budget)
    assert drain.phase() == m.MIGRATING
    assert "timed_out" not in drain.kinds
    drain.tick()
    assert drain.last("timed_out").data["budget"] == budget
    assert drain.verbs == ["abort"]
    own = " (instance lowtide:completion_timeout)" if seconds != "0" else ""
    assert drain.move().reason == f"not finished within its budget of {budget:.0f} s{own}"


@pytest.mark.parametrize(
    ("wanted", "verbs"),
    [
        ({}, ["force_complete"]),
        ({"on_timeout": "abort"}, ["abort"]),
        ({"post_copy": "false"}, ["abort"]),
        ({"on_timeout": "leave"}, []),
    ],
)
def test_a_guest_may_refuse_to_be_forced(wanted, verbs):
    drain = Drain(asking(completion_timeout="30", **wanted), options=FORCED).in_flight()
    drain.wait(35)
    assert drain.verbs == verbs
    assert drain.last("timed_out").data["action"] == (verbs or ["leave"])[0]


def test_a_guest_is_forced_only_where_the_operator_allows_it():
    wanted = {"completion_timeout": "30", "on_timeout": "force_complete"}
    assert Drain(asking(**wanted)).in_flight().wait(35).verbs == ["abort"]
    allowed = replace(QUICK, policy={"post_copy": "true"})
    assert Drain(asking(**wanted), options=allowed).in_flight().wait(35).verbs == ["force_complete"]


def test_who_is_in_no_plan_has_a_policy_too():
    late = asking("g2", completion_timeout="30", wish="notify")
    drain = Drain().tick(guests=(late,)).tick()
    assert [event.kind for event in drain.told if event.guest_id] == [
        "arrived",
        "notify",
        "started",
    ]
    busy = replace(late, task_state="migrating")
    drain.tick(guests=(busy,), migrations=(migration(1, "g2"),)).wait(35)
    assert drain.verbs == ["abort"]


def test_who_is_in_no_plan_and_no_list_has_the_operator_s_policy():
    leaving = migration(7, "g9", status="running")
    drain = Drain(options=replace(QUICK, profile="starlingx"))
    drain.tick(migrations=(leaving,)).wait(180)
    assert drain.phase("g9") == m.MIGRATING
    drain.tick()
    assert drain.last("timed_out").data["budget"] == 180.0


# --- wishes --------------------------------------------------------------------------------


def test_the_owner_is_told_just_before_the_move():
    drain = Drain(replace(asking(wish="notify"), project_id="p1")).tick()
    assert drain.kinds == ["notify", "started"]
    assert drain.last("notify").data == {"project_id": "p1"}
    assert "notify" not in Drain(guest()).tick().kinds


def test_who_wishes_to_stay_stays_though_no_list_shows_the_wish():
    image = {"lowtide_wish": "leave"}
    drain = Drain(guest(image_properties=image), guest("g2"))
    drain.tick(guests=(guest(), guest("g2")))
    assert drain.started == ["g2"]
    assert drain.move().code == "owner_wishes_to_stay"


def test_a_wish_that_is_made_while_it_waits_is_heard():
    drain = Drain(guest("g1"), guest("g2")).in_flight()
    waiting = drain.plan.entries[1].guest.id
    drain.tick(guests=(drain.guests[0], asking(waiting, wish="leave")))
    drain.tick(guests=drain.guests[1:], migrations=(migration(1, status="completed"),))
    assert drain.started == []
    assert drain.move(waiting).code == "owner_wishes_to_stay"
