# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What starts now: order, window, groups, destinations."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.schedule import (
    arrange,
    choose,
    holds_place,
    is_overtaken,
    is_under_way,
    makespan,
    window,
)
from tests.unit.support import SOURCE, guest

LIVE = m.Verdict(m.LIVE, "active")


def entry(guest_id="g1", seconds=10.0, destinations=(), name="", placed=""):
    named = guest(guest_id, name=name or f"vm-{guest_id}")
    return m.PlanEntry(named, LIVE, m.Estimate(seconds, 0), destinations, placed)


def move(guest_id="g1", phase=m.WAITING, **fields):
    return m.Move(guest_id, f"vm-{guest_id}", SOURCE, phase, **fields)


def ledger(*moves, **fields):
    return m.Ledger(moves={each.guest_id: each for each in moves}, **fields)


def chosen(candidates, known=None, **options):
    """Guest id -> destination of what starts; the candidates may be moves or pairs."""
    pairs = [c if isinstance(c, tuple) else (c, None) for c in candidates]
    started = choose(pairs, known or ledger(), m.Options(**options))
    return {each.guest_id: host for each, host in started}


# --- order -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("longest_first", ["c", "a", "b"]),
        ("shortest_first", ["a", "b", "c"]),
        ("name", ["b", "a", "c"]),
    ],
)
def test_order(order, expected):
    entries = (entry("a", 5, name="vm-2"), entry("b", 5, name="vm-1"), entry("c", 9, name="vm-3"))
    if order != "name":
        entries = (entry("a", 5), entry("b", 5), entry("c", 9))
    assert [each.guest.id for each in arrange(entries, order)] == expected


@pytest.mark.parametrize(
    ("seconds", "places", "expected"),
    [
        ((), 2, 0.0),
        ((5, 5, 5), 1, 15.0),
        ((5, 5, 5), 2, 10.0),
        ((9, 5, 4), 2, 9.0),
        ((5, 5), 8, 5.0),
        ((5, 5), 0, 10.0),
    ],
)
def test_makespan(seconds, places, expected):
    assert makespan(seconds, places) == expected


# --- window ------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "cap", "expected"), [(4, 0, 4), (4, 2, 2), (1, 2, 1)])
def test_the_window_is_no_wider_than_the_source_is_seen_to_be(asked, cap, expected):
    assert window(m.Ledger(source_cap=cap), m.Options(max_parallel=asked)) == expected


def test_no_more_than_max_parallel_start():
    assert list(chosen([move("a"), move("b"), move("c")], max_parallel=2)) == ["a", "b"]


@pytest.mark.parametrize("phase", sorted(m.HOLDING))
def test_what_is_on_its_way_holds_a_place(phase):
    assert chosen([move("b")], ledger(move("a", phase))) == {}


@pytest.mark.parametrize("phase", [m.WAITING, m.VERIFYING, m.MOVED, m.GONE, m.UNVERIFIED])
def test_what_is_not_on_its_way_holds_none(phase):
    assert chosen([move("b")], ledger(move("a", phase))) == {"b": ""}


@pytest.mark.parametrize(
    ("given_up", "place", "under_way"),
    [
        (move(phase=m.LEFT, migration_status="running"), True, True),
        (move(phase=m.LEFT, migration_status="running (post-copy)"), True, True),
        (move(phase=m.LEFT, migration_status="migrating"), True, True),
        (move(phase=m.LEFT, migration_status="accepted"), False, True),
        (move(phase=m.LEFT, code="busy"), False, True),
        (move(phase=m.LEFT, migration_status="error"), False, False),
        (move(phase=m.LEFT, migration_status="finished"), False, False),
        (move(phase=m.RECOVERING, code="no_record"), True, True),
        (move(phase=m.RECOVERING, code="migration_failed"), False, False),
    ],
)
def test_what_was_given_up_may_still_be_on_its_way(given_up, place, under_way):
    assert (holds_place(given_up), is_under_way(given_up)) == (place, under_way)


# --- groups ------------------------------------------------------------------------------


def test_two_of_a_group_never_start_together():
    candidates = [move("a", group_id="x"), move("b", group_id="x"), move("c", group_id="y")]
    assert list(chosen(candidates, max_parallel=3)) == ["a", "c"]


def test_one_of_a_group_waits_for_the_other():
    known = ledger(move("a", m.MIGRATING, group_id="x"))
    assert chosen([move("b", group_id="x")], known, max_parallel=3) == {}


def test_one_of_a_group_waits_for_one_that_was_given_up():
    known = ledger(move("a", m.LEFT, group_id="x", migration_status="accepted"))
    assert list(chosen([move("b", group_id="x"), move("c")], known)) == ["c"]


# --- destinations ------------------------------------------------------------------------


def test_the_destination_is_nova_s_choice():
    assert chosen([(move(), entry(destinations=("cmp-2",)))]) == {"g1": ""}


def test_the_destination_that_was_asked_for_is_named():
    assert chosen([(move(), entry())], destination="cmp-9") == {"g1": "cmp-9"}


def test_a_limit_per_destination_spreads_the_guests():
    pairs = [(move(i), entry(i, destinations=("cmp-2", "cmp-3"))) for i in "abc"]
    options = {"max_parallel": 3, "max_parallel_per_destination": 1}
    assert chosen(pairs, **options) == {"a": "cmp-2", "b": "cmp-3"}


def test_a_limit_per_destination_counts_what_is_on_its_way_there():
    known = ledger(move("a", m.MIGRATING, destination="cmp-2"))
    pairs = [(move("b"), entry("b", destinations=("cmp-2", "cmp-3")))]
    options = {"max_parallel": 3, "max_parallel_per_destination": 1}
    assert chosen(pairs, known, **options) == {"b": "cmp-3"}


def test_a_guest_whose_destinations_are_taken_lets_the_next_go_first():
    pairs = [(move(i), entry(i, destinations=(host,))) for i, host in ("a2", "b2", "c3")]
    options = {"max_parallel": 3, "max_parallel_per_destination": 1}
    assert chosen(pairs, **options) == {"a": "2", "c": "3"}


def test_a_guest_that_arrived_late_goes_where_nova_says():
    assert chosen([(move(), None)], max_parallel_per_destination=1) == {"g1": ""}


def test_under_a_limit_too_a_host_that_did_not_take_it_is_not_named_again():
    known = entry(destinations=("cmp-2", "cmp-3"))
    assert chosen([(move(tried=("cmp-2",)), known)], max_parallel_per_destination=1) == {
        "g1": "cmp-3"
    }
    both = move(tried=("cmp-2", "cmp-3"))
    assert chosen([(both, known)], max_parallel_per_destination=1) == {"g1": ""}


# --- planned destinations ----------------------------------------------------------------


def test_the_planned_destination_is_named():
    planned = (move(), entry(placed="cmp-3", destinations=("cmp-2", "cmp-3")))
    assert chosen([planned], destinations="planned") == {"g1": "cmp-3"}
    assert chosen([planned], destinations="scheduler") == {"g1": ""}


def test_a_limit_per_destination_holds_for_planned_ones():
    pairs = [(move(each), entry(each, placed="cmp-3")) for each in ("g1", "g2")]
    pairs.append((move("g3"), entry("g3", placed="cmp-2")))
    found = chosen(pairs, max_parallel=3, max_parallel_per_destination=1, destinations="planned")
    assert found == {"g1": "cmp-3", "g3": "cmp-2"}


def test_a_guest_without_a_planned_destination_goes_where_nova_says():
    assert chosen([(move(), entry())], destinations="planned") == {"g1": ""}


def test_a_host_that_did_not_take_it_is_not_named_again():
    tried = move(attempts=1, tried=("cmp-3",))
    assert chosen([(tried, entry(placed="cmp-3"))], destinations="planned") == {"g1": ""}


@pytest.mark.parametrize(
    ("known", "attempts", "expected"),
    [
        ({"attempts": 1, "tried": ("cmp-3",)}, 3, True),
        ({"attempts": 1, "tried": ("cmp-3",)}, 2, False),
        ({"attempts": 1, "tried": ("cmp-3",), "replanned": 1}, 3, False),
        ({"attempts": 2, "tried": ("cmp-3",), "replanned": 1}, 4, True),
        ({"attempts": 1, "tried": ("cmp-2",)}, 3, False),
        ({}, 3, False),
    ],
    ids=["refused", "the last attempt", "looked already", "again", "elsewhere", "not tried"],
)
def test_who_needs_a_new_plan(known, attempts, expected):
    options = m.Options(max_attempts=attempts, destinations="planned")
    assert is_overtaken(move(**known), entry(placed="cmp-3"), options) is expected
    at_will = m.Options(max_attempts=attempts)
    assert not is_overtaken(move(**known), entry(placed="cmp-3"), at_will)
