# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured stays with its guest, and what was not is not made up."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._report.measures import (
    METRICS,
    PROBED,
    TUNED,
    aggregate,
    with_measures,
)


def row(name="a", outcome="moved", method="live", limit=500):
    policy = {"max_downtime_ms": {"value": limit, "source": "default"}}
    told = {"id": name, "outcome": outcome, "method": method, "bytes": None}
    return told | {"policy": policy}


def measured(rows, tuned=(), probed=()):
    return [each["measured"] for each in with_measures(rows, tuned, probed)]


def test_each_figure_goes_to_its_guest_and_to_no_other():
    tuned = [{"id": "b", "downtime_ms": 70, "block": False, "name": "x"}]
    probed = [{"id": "c", "answered": True, "longest_gap_ms": 90.0}]
    a, b, c = measured([row("a"), row("b"), row("c")], tuned, probed)
    assert a is None
    assert set(b) == set(c) == {*TUNED, *PROBED, "over_policy_ms"}
    assert (b["downtime_ms"], b["block"], b["longest_gap_ms"]) == (70, False, None)
    assert (c["downtime_ms"], c["longest_gap_ms"]) == (None, 90.0)


def test_what_libvirt_counted_is_what_was_sent():
    rows = [row("a") | {"bytes": 70}, row("b") | {"bytes": 70}, row("c")]
    tuned = [{"id": "a", "bytes": 99}, {"id": "b", "downtime_ms": 5}, {"id": "c", "bytes": 0}]
    assert [each["bytes"] for each in with_measures(rows, tuned, [])] == [99, 70, 0]


def test_a_guest_that_never_answered_was_not_measured():
    assert measured([row()], probed=[{"id": "a", "answered": False, "longest_gap_ms": 9e4}]) == [
        None
    ]


@pytest.mark.parametrize(
    ("guest", "over"),
    [
        (row(limit=500), 120.3),
        (row(limit=1000), -379.7),
        (row(method="cold"), None),
        (row(outcome="left"), None),
        ({"id": "a", "outcome": "moved", "method": "live", "bytes": 7}, None),
    ],
)
def test_only_a_live_move_is_held_to_its_downtime(guest, over):
    probed = [{"id": "a", "answered": True, "longest_gap_ms": 620.3}]
    assert measured([guest], probed=probed)[0]["over_policy_ms"] == over


def test_block_moves_and_others_are_summed_up_apart():
    tuned = [
        {"id": "a", "block": False, "total_ms": 1000, "downtime_ms": 50, "bytes": 10},
        {"id": "b", "block": False, "total_ms": 2001, "downtime_ms": None, "bytes": 30},
        {"id": "c", "block": True, "total_ms": 9000, "downtime_ms": 100, "bytes": 99},
        {"id": "d", "block": True, "total_ms": 1, "downtime_ms": 1, "bytes": 1},
        {"id": "e", "total_ms": 5},
    ]
    rows = with_measures([*map(row, "abce"), row("d", outcome="left")], tuned, [])
    told = aggregate(rows)
    assert told["non_block"] == {
        "guests": 2,
        "total_ms": {"min": 1000, "avg": 1500.5, "max": 2001},
        "downtime_ms": {"min": 50, "avg": 50.0, "max": 50},
        "longest_gap_ms": None,
        "bytes": {"min": 10, "avg": 20.0, "max": 30},
    }
    assert told["block"]["guests"] == 1
    assert set(told["block"]) == {"guests", *METRICS}


def test_nothing_is_summed_up_where_libvirt_was_not_asked():
    assert aggregate(with_measures([row()], [], [{"id": "a", "longest_gap_ms": 1.0}])) is None
