# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mark in a service's reason."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import mark


def test_a_mark_is_read_as_it_was_written():
    run_id = mark.new_run_id(1795144500, "9f3a")
    reason = mark.marked(run_id, "new: firmware")
    assert run_id == "20261120T031500Z-9f3a"
    assert reason == "lowtide:20261120T031500Z-9f3a: new: firmware"
    assert mark.run_id_of(reason) == run_id
    assert mark.text_of(reason) == "new: firmware"
    assert mark.since_of(run_id) == "2026-11-20T03:15:00"


@pytest.mark.parametrize("reason", ["", "RAM is broken", "ask lowtide:x: y", "lowtide", "AUTO: x"])
def test_somebody_else_s_reason_is_no_mark(reason):
    assert mark.run_id_of(reason) == ""
    assert mark.text_of(reason) == reason


def test_a_run_id_that_a_user_made_up_tells_no_time():
    assert mark.since_of("mine") == ""
    assert mark.since_of("") == ""
