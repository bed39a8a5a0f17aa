# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of a plan and the end of a run, as an operator reads them."""

from __future__ import annotations

import dataclasses

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._report import render
from tests.unit.plugins.module_utils._report.builders import entry, plan


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
        "  ! vm-share (id-vm-share): a share is attached",
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
