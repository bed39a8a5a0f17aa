# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan that was overtaken: who waits gets another host, and nobody the one that refused."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import make_plan
from ansible_collections.lowtide.compute.plugins.module_utils._planner.replan import replan
from tests.unit.support import SOURCE, cells, guest, pinned, room, survey

PLANNED = m.Options(destinations="planned")
ROOMS = (room(SOURCE), room("cmp-2", 3), room("cmp-3", 2))


def move(guest_id="g1", phase=m.WAITING, **fields):
    return m.Move(guest_id, f"vm-{guest_id}", SOURCE, phase, **fields)


def placed(plan: m.Plan) -> dict[str, str]:
    return {entry.guest.id: entry.placed for entry in plan.entries}


def again(guests, *moves, rooms=ROOMS, overtaken=("g1",)):
    """The plan for these rooms, made anew: who goes where, the ledger, and what is told."""
    plan = make_plan(survey(*guests, rooms=ROOMS), PLANNED)
    ledger = m.Ledger(moves={each.guest_id: each for each in moves}, overtaken=overtaken)
    fresh, after, events = replan(plan, survey(*guests, rooms=rooms), PLANNED, ledger, 7.0)
    return placed(fresh), after, {event.guest_id: dict(event.data) for event in events}


def test_the_host_that_refused_is_not_planned_again():
    where, after, told = again([guest()], move(attempts=1, tried=("cmp-2",)))
    assert where == {"g1": "cmp-3"}
    assert told == {"g1": {"was": "cmp-2", "destination": "cmp-3"}}
    assert (after.overtaken, after.moves["g1"].replanned) == ((), 1)


def test_only_hosts_that_placement_offers_are_planned():
    choosy = guest(candidates=("cmp-2", SOURCE))
    where, after, told = again([choosy], move(attempts=1, tried=("cmp-2",)))
    # Nothing is left, so that the scheduler will be asked.
    assert (where, told) == ({"g1": "cmp-2"}, {})
    assert after.moves["g1"].replanned == 1


def test_others_that_wait_are_planned_for_what_is_free_now():
    guests = [guest("g1"), guest("g2")]
    moves = [move("g1", attempts=1, tried=("cmp-2",)), move("g2")]
    closed = (room("cmp-2", unusable="disabled"), room("cmp-3", 2))
    where, after, told = again(guests, *moves, rooms=closed)
    assert where == {"g1": "cmp-3", "g2": "cmp-3"}
    assert after.moves["g2"].replanned == 0
    assert told.keys() <= {"g1", "g2"}


def test_who_is_on_its_way_is_left_alone():
    guests = [guest("g1"), guest("g2")]
    moves = [move("g1", attempts=1, tried=("cmp-2",)), move("g2", m.MIGRATING)]
    plan = make_plan(survey(*guests, rooms=ROOMS), PLANNED)
    closed = (room("cmp-2", unusable="down"), room("cmp-3", 2))
    where, _after, told = again(guests, *moves, rooms=closed)
    assert where["g2"] == placed(plan)["g2"] == "cmp-2"
    assert "g2" not in told


def test_the_rest_of_the_plan_stays_as_it_was():
    plan = make_plan(survey(guest(), rooms=ROOMS), PLANNED)
    ledger = m.Ledger(moves={"g1": move(attempts=1, tried=("cmp-2",))}, overtaken=("g1",))
    fresh, _after, _events = replan(plan, survey(guest(), rooms=ROOMS), PLANNED, ledger, 7.0)
    before = plan.entries[0]
    where = {"placed": "cmp-2", "asked": "cmp-2", "destinations": before.destinations}
    unchanged = replace(fresh.entries[0], **where)
    assert replace(fresh, entries=(unchanged,)) == plan


def test_cells_that_were_taken_meanwhile_count():
    guests = [pinned("g1"), pinned("g2"), pinned("g3")]
    options = replace(PLANNED, topologies={each: cells(each, 2) for each in ("cmp-2", "cmp-3")})
    plan = make_plan(survey(*guests, rooms=(*ROOMS, room("cmp-4", 1))), options)
    assert "" not in placed(plan).values()
    moved = [
        move("g1", m.MOVED, destination="cmp-2", started_at=1.0),
        move("g2", attempts=1, tried=("cmp-4",)),
    ]
    ledger = m.Ledger(moves={each.guest_id: each for each in moved}, overtaken=("g2",))
    # By the topologies of before, cmp-2 would be the better place.
    seen = survey(guests[1], rooms=(room(SOURCE), room("cmp-2", 9), room("cmp-3", 2)))
    plan = replace(plan, entries=tuple(replace(e, placed="cmp-4") for e in plan.entries))
    fresh, _after, _events = replan(plan, seen, options, ledger, 7.0)
    assert placed(fresh)["g2"] == "cmp-3"
