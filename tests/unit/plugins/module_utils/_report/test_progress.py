# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The heartbeat has the shape that is promised, and claims no more than is known."""

from __future__ import annotations

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._report import progress
from tests.unit.plugins.module_utils._report.builders import GIB, ledger, move, moved

RUNNING = {
    "method": m.LIVE,
    "migration_id": 12,
    "migration_status": "running",
    "started_at": 100.0,
    "running_since": 100.0,
    "total_bytes": 100 * GIB,
    "remaining_bytes": 37 * GIB,
    "processed_bytes": 63 * GIB,
}


def running(name="vm-a", **more):
    return move(name, m.MIGRATING, **(RUNNING | more))


def test_the_heartbeat_has_the_shape_that_is_promised():
    seen = ledger(
        *(moved(f"done-{i}") for i in range(12)),
        running(),
        move("vm-b", m.REQUESTED),
        *(move(f"next-{i}") for i in range(3)),
    )
    text = progress.heartbeat(seen, "cmp-03", 200.0, {"id-vm-a": progress.Pace(1.2 * GIB, 31.0)})
    assert text == (
        "[cmp-03] 12/17 moved, 2 running (vm-a 63% 1.2 GiB/s eta 31s; vm-b starting), 3 waiting"
    )


def test_only_what_is_there_is_said():
    assert progress.heartbeat(ledger(moved()), "cmp-3", 0.0) == "[cmp-3] 1/1 moved"
    assert progress.heartbeat(ledger(), "cmp-3", 0.0) == "[cmp-3] 0/0 moved"


def test_excluded_and_vanished_guests_do_not_count():
    seen = ledger(moved(), move("vm-x", m.SKIPPED), move("vm-g", m.GONE), move("vm-l", m.LEFT))
    assert progress.heartbeat(seen, "cmp-3", 0.0) == "[cmp-3] 1/2 moved, 1 left"


def test_verifying_is_not_moved_and_holds_no_place():
    seen = ledger(
        running(), move("vm-v", m.VERIFYING), move("vm-r", m.RECOVERING), move("vm-u", m.UNVERIFIED)
    )
    text = progress.heartbeat(seen, "cmp-3", 163.0)
    assert text == (
        "[cmp-3] 0/4 moved, 1 running (vm-a 63% 1.0 GiB/s eta 37s), 1 verifying, 1 recovering,"
        " 1 unverified"
    )


def test_many_guests_in_flight_are_counted_after_the_first_three():
    seen = ledger(*(move(f"vm-{i}", m.REQUESTED) for i in range(5)))
    assert "(vm-0 starting; vm-1 starting; vm-2 starting; 2 more)" in progress.heartbeat(
        seen, "h", 0
    )


def test_the_mean_rate_stands_in_for_one_that_is_not_known():
    assert progress.in_flight(running(), 163.0) == "vm-a 63% 1.0 GiB/s eta 37s"


def test_a_guest_without_figures_says_what_nova_does_with_it():
    assert progress.in_flight(running(total_bytes=0), 1.0) == "vm-a running"
    assert progress.in_flight(move("vm-c", m.MIGRATING, method=m.COLD), 1.0) == "vm-c cold"
    assert progress.in_flight(running(processed_bytes=0), 163.0) == "vm-a 63%"


def test_the_pace_comes_from_two_looks_at_the_same_migration():
    before = ledger(running())
    after = ledger(running(processed_bytes=73 * GIB, remaining_bytes=27 * GIB))
    assert progress.measure(before, after, 5.0) == {"id-vm-a": progress.Pace(2.0 * GIB, 13.5)}
    assert progress.measure(before, after, 0.0) == {}
    assert progress.measure(before, ledger(running(migration_id=13)), 5.0) == {}
    assert progress.measure(ledger(), after, 5.0) == {}
    assert progress.measure(before, before, 5.0) == {}


def test_a_guest_that_dirties_as_fast_as_it_is_copied_has_no_eta():
    busy = running(processed_bytes=73 * GIB)
    paces = progress.measure(ledger(running()), ledger(busy), 5.0)
    assert paces == {"id-vm-a": progress.Pace(2.0 * GIB, None)}
    assert progress.in_flight(busy, 163.0, paces["id-vm-a"]) == "vm-a 63% 2.0 GiB/s"


def test_the_mean_foretells_nothing_after_the_first_round():
    assert progress.in_flight(running(processed_bytes=126 * GIB), 163.0) == "vm-a 63% 2.0 GiB/s"


def test_details_hold_the_bytes_of_each_running_migration():
    lines = progress.detail_lines(ledger(running(), moved("vm-m")), "cmp-3", 163.0)
    assert lines == [
        "[cmp-3] vm-a 63% 1.0 GiB/s eta 37s: migration 12 running, 63.0 GiB copied, 37.0 GiB of"
        " 100 GiB remain, 1m03s so far"
    ]
