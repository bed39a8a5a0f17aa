# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans, ledgers and moves for the tests of the report, with as little said as possible."""

from __future__ import annotations

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m

GIB = 1 << 30


def entry(name="vm-a", method=m.LIVE, code="active", **more):
    """One guest of a plan on cmp-3: 2 GiB, ten seconds."""
    guest = m.Guest(id=f"id-{name}", name=name, host="cmp-3", vm_state=more.pop("state", "active"))
    verdict = m.Verdict(
        method,
        code,
        more.pop("reason", "running"),
        more.pop("remedy", ""),
        more.pop("notes", ()),
    )
    return m.PlanEntry(guest, verdict, m.Estimate(10.0, 2 * GIB))


def plan(*entries, seconds=20.0, fits=True):
    moving = [e for e in entries if e.verdict.method in (m.LIVE, m.COLD)]
    return m.Plan(m.Scope("cmp-3"), entries, seconds, len(moving) * 2 * GIB, fits)


def move(name="vm-a", phase=m.WAITING, **more):
    return m.Move(f"id-{name}", name, "cmp-3", phase, **more)


def moved(name="vm-a", **more):
    """A guest that went to cmp-7 in 42 seconds, 1.5 GiB."""
    facts = {
        "method": m.LIVE,
        "destination": "cmp-7",
        "attempts": 1,
        "started_at": 100.0,
        "ended_at": 142.0,
        "processed_bytes": 3 * GIB // 2,
        "code": "verified",
        "witnesses": 3,
    }
    return move(name, m.MOVED, **(facts | more))


def ledger(*moves, **more):
    moves = {each.guest_id: each for each in moves}
    return m.Ledger(**({"run_id": "20261120T031500Z-9f3a", "started_at": 90.0} | more), moves=moves)
