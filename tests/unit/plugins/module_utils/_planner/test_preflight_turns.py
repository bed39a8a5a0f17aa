# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts drained one after the other: what each finds when its turn comes."""

from __future__ import annotations

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight_turns import (
    in_turn,
)
from tests.unit.support import guest, resources, room, survey


def full(host, *names, rooms, group=None):
    guests = (guest(name, host=host, group=group) for name in names)
    return survey(*guests, scope=m.Scope(host), rooms=rooms)


def test_a_rolling_drain_over_one_spare_host_fits():
    """Each host is full when the next one's turn comes, but the one before it is empty."""
    rooms = (room("a", 0), room("b", 0), room("spare", 2))
    first, second = in_turn(
        (full("a", "a1", "a2", rooms=rooms), full("b", "b1", "b2", rooms=rooms)), m.Options()
    )
    assert first.plan.fits
    assert second.plan.fits
    assert {entry.placed for entry in first.plan.entries} == {"spare"}
    assert {entry.placed for entry in second.plan.entries} == {"a"}
    assert (first.arrivals, second.arrivals) == ((), ())


def test_without_the_spare_room_the_second_does_not_fit():
    rooms = (room("a", 0), room("b", 0), room("spare", 2))
    _first, second = in_turn(
        (full("a", "a1", rooms=rooms), full("b", "b1", "b2", "b3", rooms=rooms)), m.Options()
    )
    assert not second.plan.fits


def test_guests_that_came_are_moved_again():
    rooms = (room("a", 0), room("b", 4), room("c", 1))
    first, second = in_turn(
        (full("a", "a1", "a2", rooms=rooms), full("b", "b1", rooms=rooms)), m.Options()
    )
    came = {entry.guest.id for entry in first.plan.entries if entry.placed == "b"}
    assert came
    assert {each.id for each in second.arrivals} == came
    assert {entry.guest.id for entry in second.plan.entries} == {"b1", *came}
    assert {each.host for each in second.arrivals} == {"b"}


def test_the_groups_members_are_where_they_went():
    rooms = (room("a", 0), room("b", 0), room("c", 1))
    group = m.Group("g", "apart", "anti-affinity", 1, {"a1": "a", "b1": "b"})
    first, second = in_turn(
        (
            full("a", "a1", rooms=rooms, group=group),
            full("b", "b1", rooms=rooms, group=group),
        ),
        m.Options(),
    )
    assert [entry.placed for entry in first.plan.entries] == ["c"]
    assert [entry.placed for entry in second.plan.entries] == ["a"]


def test_the_first_host_s_own_plan_is_as_if_it_were_alone():
    rooms = (room("a", 0), room("b", 8))
    alone = full("a", "a1", rooms=rooms)
    (turn,) = in_turn((alone,), m.Options())
    assert turn.plan.fits
    assert resources(1).items() <= turn.plan.entries[0].guest.resources.items()
