# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Confirming: a cold migration or resize whose source still keeps disks and allocation.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.tick import (
    Tick,
    tracked,
)


def confirming(tick: Tick, move: m.Move) -> None:
    current = tick.by_id.get(move.migration_id)
    guest = tick.on_source(move)
    refusal = tick.seen.refusals.get(move.guest_id)
    unknown = refusal is not None and refusal.status == 404
    if current is not None:
        move = tick.put(move, **tracked(current))
    if guest is not None and guest.vm_state != "resized":
        # How it leaves has nothing to do with how it came.
        tick.enter(move, m.WAITING, method="")
    elif guest is None and (current is None or current.succeeded or unknown):
        tick.verify(move)
    elif current is not None and current.failed:
        tick.fail(move, "confirm_failed", f"the confirmation ended {current.status}")
    elif not tick.may_settle(move):
        tick.leave(
            move,
            "confirm_stuck",
            f"not confirmed within {tick.options.settle_timeout:.0f} s",
            "confirm it by hand (openstack server resize confirm); its source's nova-compute"
            " must be up",
        )
    elif refusal is not None:
        tick.do("confirm", move)


def unconfirmed(tick: Tick, move: m.Move, migration: m.Migration) -> None:
    """Our own cold migration is confirmed; somebody else's only as the options say."""
    if move.adopted:
        entry = tick.entries.get(move.guest_id)
        guest = entry.guest if entry else m.Guest(move.guest_id, move.name, "", "")
        guest = replace(guest, host=migration.destination, vm_state="resized", task_state="")
        verdict = tick.verdict(guest, move, migration)
        if verdict.method != m.CONFIRM:
            tick.leave(move, verdict.code, verdict.reason, verdict.remedy)
            return
    confirm(tick, move, migration)


def confirm(tick: Tick, move: m.Move, migration: m.Migration | None) -> None:
    tick.do("confirm", move)
    known = tracked(migration) if migration else {}
    started = move.started_at or tick.now
    move = tick.enter(move, m.CONFIRMING, method=m.COLD, started_at=started, **known)
    tick.tell("confirming", move)
