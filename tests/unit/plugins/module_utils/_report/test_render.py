# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The heartbeat, the table of a plan and the end of a run, as an operator reads them."""

from __future__ import annotations

import dataclasses

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._report import render
from tests.unit.plugins.module_utils._report.builders import GIB, entry, ledger, move, moved, plan

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
    text = render.heartbeat(seen, "cmp-03", 200.0, {"id-vm-a": 1.2 * GIB})
    assert text == (
        "[cmp-03] 12/17 moved, 2 running (vm-a 63% 1.2 GiB/s eta 31s; vm-b starting), 3 waiting"
    )


def test_only_what_is_there_is_said():
    assert render.heartbeat(ledger(moved()), "cmp-3", 0.0) == "[cmp-3] 1/1 moved"
    assert render.heartbeat(ledger(), "cmp-3", 0.0) == "[cmp-3] 0/0 moved"


def test_excluded_and_vanished_guests_do_not_count():
    seen = ledger(moved(), move("vm-x", m.SKIPPED), move("vm-g", m.GONE), move("vm-l", m.LEFT))
    assert render.heartbeat(seen, "cmp-3", 0.0) == "[cmp-3] 1/2 moved, 1 left"


def test_verifying_is_not_moved_and_holds_no_place():
    seen = ledger(
        running(), move("vm-v", m.VERIFYING), move("vm-r", m.RECOVERING), move("vm-u", m.UNVERIFIED)
    )
    text = render.heartbeat(seen, "cmp-3", 163.0)
    assert text == (
        "[cmp-3] 0/4 moved, 1 running (vm-a 63% 1.0 GiB/s eta 37s), 1 verifying, 1 recovering,"
        " 1 unverified"
    )


def test_many_guests_in_flight_are_counted_after_the_first_three():
    seen = ledger(*(move(f"vm-{i}", m.REQUESTED) for i in range(5)))
    assert "(vm-0 starting; vm-1 starting; vm-2 starting; 2 more)" in render.heartbeat(seen, "h", 0)


def test_the_mean_rate_stands_in_for_one_that_is_not_known():
    assert render.in_flight(running(), 163.0) == "vm-a 63% 1.0 GiB/s eta 37s"


def test_a_guest_without_figures_says_what_nova_does_with_it():
    assert render.in_flight(running(total_bytes=0), 1.0) == "vm-a running"
    assert render.in_flight(move("vm-c", m.MIGRATING, method=m.COLD), 1.0) == "vm-c cold"
    assert render.in_flight(running(processed_bytes=0), 163.0) == "vm-a 63%"


def test_rates_come_from_two_looks_at_the_same_migration():
    before, after = ledger(running()), ledger(running(processed_bytes=73 * GIB))
    assert render.transfer_rates(before, after, 5.0) == {"id-vm-a": 2.0 * GIB}
    assert render.transfer_rates(before, after, 0.0) == {}
    assert render.transfer_rates(before, ledger(running(migration_id=13)), 5.0) == {}
    assert render.transfer_rates(ledger(), after, 5.0) == {}
    assert render.transfer_rates(before, before, 5.0) == {}


def test_details_hold_the_bytes_of_each_running_migration():
    lines = render.detail_lines(ledger(running(), moved("vm-m")), "cmp-3", 163.0)
    assert lines == [
        "[cmp-3] vm-a 63% 1.0 GiB/s eta 37s: migration 12 running, 63.0 GiB copied, 37.0 GiB of"
        " 100 GiB remain, 1m03s so far"
    ]


def test_the_table_of_a_plan():
    share = entry("vm-share", m.BLOCKED, "share", reason="a share is attached", remedy="detach it")
    disk = entry("vm-disk", notes=("local disk: copied too", "locked"))
    lines = render.plan_lines(plan(entry(notes=("locked",)), disk, share))
    assert lines == [
        "[cmp-3] 3 guests: 2 live, 1 blocked; about 20s, 4.0 GiB",
        "  guest     state   method   estimate  bytes    why",
        "  vm-a      active  live     10s       2.0 GiB  running [1]",
        "  vm-disk   active  live     10s       2.0 GiB  running [2] [1]",
        "  vm-share  active  blocked  -         -        share",
        "  [1] locked",
        "  [2] local disk: copied too",
        "  ! vm-share (id-vm-share): share: a share is attached",
        "    remedy: detach it",
    ]


def test_the_plan_of_an_empty_host_is_one_line():
    assert render.plan_lines(plan(seconds=0)) == ["[cmp-3] no guests: nothing to move"]


def test_a_plan_that_does_not_fit_says_so():
    assert render.plan_sum(plan(entry(), fits=False)).endswith("; they do not all fit elsewhere")


def test_state_names_what_nova_does_and_the_lock():
    guest = dataclasses.replace(entry().guest, task_state="rebooting", locked=True)
    assert render.guest_state(guest) == "active/rebooting locked"


def test_placement_is_sorted_and_aligned():
    text = render.placement([("b", "id-b", "cmp-3"), ("app", "id-a", "cmp-7")])
    assert text == "app  id-a  cmp-7\nb    id-b  cmp-3\n"
    assert render.placement([]) == ""


def test_the_end_names_what_is_left_and_its_remedy():
    row = {
        "name": "vm-a",
        "id": "id-a",
        "outcome": "left",
        "code": "timeout",
        "reason": "too slow",
        "remedy": "",
    }
    rows = [row, row | {"remedy": "wait"}, row | {"outcome": "moved"}]
    lines = render.summary_lines(
        {"host": "cmp-3", "msg": "NOT drained", "guests": rows, "problems": ["an allocation"]}
    )
    assert lines == [
        "[cmp-3] NOT drained",
        "[cmp-3]   left: vm-a (id-a): timeout: too slow",
        "[cmp-3]   left: vm-a (id-a): timeout: too slow",
        "[cmp-3]     remedy: wait",
        "[cmp-3]   problem: an allocation",
    ]
