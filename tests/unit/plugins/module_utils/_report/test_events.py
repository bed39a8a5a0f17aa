# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line for each event, in words on which people may grep."""

from __future__ import annotations

import ast
import inspect

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils import _engine
from ansible_collections.lowtide.compute.plugins.module_utils._planner import drain
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Event
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases import (
    confirming,
    leaving,
    migrating,
    recovering,
    tick,
    verifying,
    waiting,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.events import (
    KINDS,
    because,
    event_line,
)

GIB = 1 << 30
#: Whatever tells of something.
TELLERS = (
    _engine,
    drain,
    confirming,
    leaving,
    migrating,
    recovering,
    tick,
    verifying,
    waiting,
)


def line(kind, name="vm-a", **data):
    return event_line(Event(0.0, kind, "id-a" if name else "", name, data), "cmp-3")


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        ("arrived", {}, "vm-a: arrived after the plan was made"),
        (
            "notify",
            {"project_id": "p-1"},
            "vm-a: about to move, of which its owner (project p-1) wishes to be told",
        ),
        (
            "adopted",
            {"migration_id": 12, "status": "running", "method": "live"},
            "vm-a: a live migration is already under way (id 12, running): watching it",
        ),
        (
            "started",
            {"method": "live", "destination": "cmp-7", "attempt": 1},
            "vm-a: live migration to cmp-7 started",
        ),
        (
            "started",
            {"method": "cold", "destination": "", "attempt": 2},
            "vm-a: cold migration started (attempt 2)",
        ),
        (
            "moved",
            {
                "destination": "cmp-7",
                "seconds": 42.0,
                "bytes": int(1.2 * GIB),
                "method": "live",
                "attempts": 1,
            },
            "vm-a: moved to cmp-7 in 42s (1.2 GiB, live)",
        ),
        (
            "moved",
            {"destination": "cmp-7", "seconds": 42.0, "bytes": 0, "method": "cold", "attempts": 2},
            "vm-a: moved to cmp-7 in 42s (cold, attempt 2)",
        ),
        ("moved", {"destination": "cmp-7"}, "vm-a: moved to cmp-7 in 0s"),
        (
            "failed",
            {"code": "migration_failed", "reason": "qemu said no.", "attempt": 1, "retry": True},
            "vm-a: attempt 1 failed, trying again: migration_failed: qemu said no",
        ),
        (
            "failed",
            {"code": "timeout", "reason": "", "attempt": 3, "retry": False},
            "vm-a: attempt 3 failed, giving up: timeout",
        ),
        ("refused", {"status": 409, "message": "locked"}, "vm-a: Nova refused (409): locked"),
        ("refused", {"status": 0, "message": "silence"}, "vm-a: Nova refused: silence"),
        (
            "timed_out",
            {"action": "abort", "seconds": 130, "budget": 120},
            "vm-a: over its budget (2m10s of 2m00s): aborting the migration",
        ),
        ("recovered", {}, "vm-a: in ERROR, but it runs here: state reset"),
        ("confirming", {}, "vm-a: cold migration finished, confirming it"),
        ("gone", {}, "vm-a: gone from this host, and not by this drain"),
        (
            "left",
            {"code": "share", "reason": "a share is attached", "remedy": "detach it"},
            "vm-a: given up: share: a share is attached",
        ),
    ],
)
def test_events_of_a_guest(kind, data, text):
    assert line(kind, **data) == f"[cmp-3] {text}"


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        (
            "disabled",
            {"host": "cmp-3", "reason": "lowtide:x: drain"},
            "closed to new guests (service disabled, reason 'lowtide:x: drain')",
        ),
        (
            "capped",
            {"cap": 1, "asked": 4},
            "this host runs 1 live migration(s) at a time, 4 were asked for: raise"
            " max_concurrent_live_migrations in its nova.conf to use more",
        ),
        (
            "unreachable",
            {"message": "503"},
            "the API does not answer, running migrations go on: 503",
        ),
        ("reachable", {"seconds": 12.0}, "the API answers again after 12s"),
        ("deadline", {}, "deadline reached: nothing more is started"),
        (
            "stopped",
            {"reason": "failure"},
            "nothing more is started: a guest could not be moved, and on_failure is stop",
        ),
        ("done", {}, "nothing more to move"),
    ],
)
def test_events_of_the_host(kind, data, text):
    assert line(kind, name="", **data) == f"[cmp-3] {text}"


def test_a_new_kind_of_event_is_shown_with_its_data():
    assert line("tuned", downtime_ms=300) == "[cmp-3] vm-a: tuned downtime_ms=300"


def test_a_message_of_many_lines_stays_one_line():
    assert (
        line("refused", status=400, message="a\n b\tc") == "[cmp-3] vm-a: Nova refused (400): a b c"
    )


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("code", "why.", "do it."), "code: why. Remedy: do it."),
        (("code", "", ""), "code"),
        (("", "why", ""), "why"),
        (("busy", "busy: task_state is rebooting", ""), "busy: task_state is rebooting"),
    ],
)
def test_because(parts, text):
    assert because(*parts) == text


def told_by(module):
    """The kinds of event that a module makes: first constants of .tell(...) and Event(at, ...)."""
    kinds = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        position = {"tell": 0, "Event": 1}.get(node.func.attr)
        if position is not None and len(node.args) > position:
            kinds |= {c.value for c in ast.walk(node.args[position]) if isinstance(c, ast.Constant)}
    return kinds


def test_every_event_that_is_told_has_words():
    told = set().union(*map(told_by, TELLERS))
    assert {"moved", "unreachable"} <= told
    assert told <= KINDS
