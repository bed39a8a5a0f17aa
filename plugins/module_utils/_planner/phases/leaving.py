# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Left: given up for this run, and watched on in case that it leaves after all.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.confirming import (
    unconfirmed,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases.tick import (
    Tick,
    by_others,
    tracked,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.schedule import (
    seen_in_flight,
)


def left(tick: Tick, move: m.Move) -> None:
    """A migration that ends after its timeout counts after all, once it is verified."""
    current = tick.under_way(move) or tick.by_id.get(move.migration_id)
    was_in_flight = seen_in_flight(move)
    if current is not None:
        move = tick.put(move, adopted=by_others(move, current), **tracked(current))
    if current is not None and current.in_flight:
        return
    if current is not None and current.status == m.COLD_UNCONFIRMED:
        if was_in_flight:
            unconfirmed(tick, move, current)
    elif tick.on_source(move) is None:
        if move.code != "soft_deleted":
            tick.verify(move)
    elif current is not None and current.failed and was_in_flight:
        tick.fail(move, "migration_failed", move.reason)
