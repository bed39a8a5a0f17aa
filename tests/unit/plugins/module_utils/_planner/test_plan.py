# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as a whole: verdicts, costs, order, destinations, and whether it fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import (
    MAX_DESTINATIONS,
    make_plan,
    newest_by_guest,
)
from tests.unit.support import SOURCE, cells, guest, migration, pinned, room, survey

GIB = 1 << 30


def codes(plan: m.Plan) -> dict[str, str]:
    return {entry.guest.id: entry.verdict.code for entry in plan.entries}


def test_an_empty_host_is_an_empty_plan():
    assert make_plan(survey(), m.Options()) == m.Plan(m.Scope(SOURCE), (), 0.0, 0)


def test_a_plan_of_ordinary_guests():
    stopped = guest("g2", vm_state="stopped", power_state="shutdown")
    options = m.Options(bandwidth_mib_s=1024, overhead_seconds=5)
    plan = make_plan(survey(guest("g1", ram_mib=2048), stopped), options)
    assert codes(plan) == {"g1": "active", "g2": "shutoff"}
    assert [entry.estimate.seconds for entry in plan.entries] == [7.0, 5.0]
    assert (plan.seconds, plan.bytes, plan.fits, plan.blockers) == (12.0, 2 * GIB, True, ())
    assert {entry.destinations for entry in plan.entries} == {("cmp-2", "cmp-3")}


def test_parallel_moves_shorten_the_plan():
    guests = [guest(f"g{i}") for i in range(4)]
    options = {"bandwidth_mib_s": 1024, "overhead_seconds": 4}
    assert make_plan(survey(*guests), m.Options(**options)).seconds == 20.0
    assert make_plan(survey(*guests), m.Options(max_parallel=3, **options)).seconds == 10.0


@pytest.mark.parametrize(
    ("order", "expected"),
    [("longest_first", "c b a"), ("shortest_first", "a b c"), ("name", "c a b")],
)
def test_entries_are_in_the_order_that_was_asked_for(order, expected):
    guests = [
        guest("a", name="2", ram_mib=1024),
        guest("b", name="3", ram_mib=2048),
        guest("c", name="1", ram_mib=4096),
    ]
    plan = make_plan(survey(*guests), m.Options(order=order))
    assert " ".join(entry.guest.id for entry in plan.entries) == expected


def test_who_does_not_move_costs_nothing_and_goes_nowhere():
    plan = make_plan(survey(guest(vm_state="suspended"), guest("g2", task_state="x")), m.Options())
    assert [entry.guest.id for entry in plan.blockers] == ["g1"]
    assert codes(plan) == {"g1": "suspended", "g2": "busy"}
    assert (plan.seconds, plan.bytes) == (0.0, 0)
    assert {entry.destinations for entry in plan.entries} == {()}


def test_guests_that_only_fit_one_by_one_are_told_so():
    guests = [guest(f"g{i}") for i in range(3)]
    plan = make_plan(survey(*guests, rooms=(room("cmp-2", 2),)), m.Options())
    assert sorted(codes(plan).values()) == ["active", "active", "plan_does_not_fit"]
    assert not plan.fits
    assert len(plan.blockers) == 1


def test_excluded_guests_take_no_room():
    guests = [guest("g1"), guest("g2")]
    options = m.Options(exclude=m.Exclusions(ids=("g2",)))
    plan = make_plan(survey(*guests, rooms=(room("cmp-2", 1),)), options)
    assert codes(plan) == {"g1": "active", "g2": "excluded"}
    assert plan.fits


def test_nobody_is_placed_where_it_cannot_run():
    hosts = {"g1": ("cmp-2",), "g2": ("cmp-3",), "g3": ("cmp-2", "cmp-3")}
    options = m.Options(destinations="planned", incompatible=hosts)
    plan = make_plan(survey(*(guest(each) for each in hosts)), options)
    assert codes(plan) == {"g1": "active", "g2": "active", "g3": "incompatible"}
    placed = {entry.guest.id: (entry.placed, entry.destinations) for entry in plan.entries}
    assert placed["g1"] == ("cmp-3", ("cmp-3",))
    assert placed["g2"] == ("cmp-2", ("cmp-2",))


def test_all_blockers_are_found_at_once():
    guests = [
        guest("g1", vm_state="rescued"),
        guest("g2", vm_state="shelved"),
        guest("g3", pinned_availability_zone="edge"),
        guest("g4"),
    ]
    plan = make_plan(survey(*guests), m.Options())
    assert {entry.guest.id for entry in plan.blockers} == {"g1", "g2", "g3"}


def test_the_newest_migration_of_each_guest_counts():
    old = migration(1, status="running")
    new = migration(2, status="error")
    other = migration(3, "g2", status="queued")
    seen = survey(guest(), guest("g2"), migrations=(old, other, new))
    assert codes(make_plan(seen, m.Options())) == {"g1": "active", "g2": "migrating"}
    assert newest_by_guest((old, other, new)) == {"g1": new, "g2": other}
    assert newest_by_guest((new, old)) == {"g1": new}


@pytest.mark.parametrize(
    ("since", "code"),
    [
        ("2026-11-20T03:00:00", "cold_unconfirmed"),
        ("2026-11-20T03:30:00", "resize_source_here"),
        ("", "resize_source_here"),
    ],
)
def test_unconfirmed_cold_migrations_of_this_run_are_known(since, code):
    finished = migration(kind="migration", status="finished", created_at="2026-11-20T03:15:00")
    away = guest(vm_state="resized", host="cmp-2")
    plan = make_plan(survey(away, finished=(finished,)), m.Options(), since)
    assert codes(plan) == {"g1": code}


def test_named_guests_go_away_from_where_each_is():
    here, there = guest("g1"), guest("g2", host="cmp-2")
    seen = survey(here, there, scope=m.Scope(guest_ids=("g1", "g2")))
    plan = make_plan(seen, m.Options())
    assert {e.guest.id: e.destinations for e in plan.entries} == {
        "g1": ("cmp-2", "cmp-3"),
        "g2": ("cmp-1", "cmp-3"),
    }


def test_destinations_are_kept_few():
    rooms = tuple(room(f"cmp-{i:03}") for i in range(100))
    plan = make_plan(survey(guest(), rooms=rooms), m.Options())
    assert len(plan.entries[0].destinations) == MAX_DESTINATIONS


@given(
    st.lists(st.sampled_from(["active", "paused", "stopped", "error", "resized"]), max_size=8),
    st.integers(0, 6),
    st.integers(1, 4),
)
def test_every_guest_is_in_the_plan_once_and_sums_agree(states, places, parallel):
    powers = {"stopped": "shutdown", "paused": "paused"}
    guests = [
        guest(f"g{i}", vm_state=state, power_state=powers.get(state, "running"))
        for i, state in enumerate(states)
    ]
    options = m.Options(max_parallel=parallel)
    plan = make_plan(survey(*guests, rooms=(room("cmp-2", places),)), options)
    assert sorted(entry.guest.id for entry in plan.entries) == sorted(g.id for g in guests)
    moving = [e for e in plan.entries if e.verdict.method in (m.LIVE, m.COLD)]
    assert len(moving) <= places
    assert plan.bytes == sum(e.estimate.bytes for e in moving)
    total = sum(e.estimate.seconds for e in moving)
    assert total / parallel - 0.1 <= plan.seconds <= total + 0.1
    assert all(e.destinations == ("cmp-2",) for e in moving)


def test_who_is_squeezed_out_is_told_what_is_missing():
    guests = [guest(f"g{i}") for i in range(3)]
    plan = make_plan(survey(*guests, rooms=(room("cmp-2", 2),)), m.Options())
    (left,) = plan.blockers
    assert plan.shortage == m.Shortage(
        (left.guest.id,), {"cmp-2": {"DISK_GB": 1, "MEMORY_MB": 1024, "VCPU": 1}}, least=True
    )
    assert "1 DISK_GB and 1024 MEMORY_MB and 1 VCPU more on cmp-2 would do" in left.verdict.reason


@pytest.mark.parametrize(("who", "asked"), [("planned", "cmp-2"), ("scheduler", "")])
def test_the_plan_names_a_host_for_each(who, asked):
    plan = make_plan(survey(guest(), rooms=(room("cmp-2"),)), m.Options(destinations=who))
    assert (plan.entries[0].placed, plan.entries[0].asked) == ("cmp-2", asked)


def test_a_host_to_be_avoided_gets_nobody():
    seen = survey(guest("a"), guest("b"), rooms=(room("cmp-2", 99), room("cmp-3")))
    assert {e.placed for e in make_plan(seen, m.Options(avoid=("cmp-2",))).entries} == {"cmp-3"}
    everywhere = make_plan(seen, m.Options(avoid=("cmp-2", "cmp-3")))
    assert codes(everywhere) == {"a": "no_other_host", "b": "no_other_host"}


def test_topologies_tell_which_cells_are_free():
    seen = survey(pinned("g1", 4), rooms=(room("cmp-2", 9), room("cmp-3", 8)))
    topologies = {"cmp-2": cells("cmp-2", 3, 3), "cmp-3": cells("cmp-3", 4)}
    assert make_plan(seen, m.Options()).entries[0].placed == "cmp-2"
    assert make_plan(seen, m.Options(topologies=topologies)).entries[0].placed == "cmp-3"
