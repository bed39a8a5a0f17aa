# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""How far a drain is, in a line that people may grep: the heartbeat, and its details.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    COLD,
    CONFIRMING,
    GONE,
    HOLDING,
    LEFT,
    MIGRATING,
    MOVED,
    RECOVERING,
    REQUESTED,
    SKIPPED,
    UNVERIFIED,
    VERIFYING,
    WAITING,
    Ledger,
    Move,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.units import (
    duration,
    rate,
    size,
)

#: Guests named in a heartbeat; the others are counted.
NAMED = 3

_DOING = {REQUESTED: "starting", CONFIRMING: "confirming"}


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one guest is copied: bytes per second, and the seconds that are left.

    ``eta`` is ``None`` where the rest does not shrink: the guest dirties its memory as fast
    as it is copied, so nobody knows.
    """

    rate: float
    eta: float | None


Paces = Mapping[str, Pace]


def heartbeat(ledger: Ledger, host: str, now: float, paces: Paces | None = None) -> str:
    """``[cmp-3] 12/17 moved, 2 running (vm-a 63% 1.2 GiB/s eta 40s; vm-b starting), 3 waiting``.

    ``paces``: by guest id (:func:`measure`); a guest that has none is shown with its mean
    since it began to run. Excluded and vanished guests do not count.
    """
    phases = Counter(move.phase for move in ledger.moves.values())
    total = sum(phases.values()) - phases[SKIPPED] - phases[GONE]
    running = [move for move in ledger.moves.values() if move.phase in HOLDING]
    parts = [f"{phases[MOVED]}/{total} moved"]
    if running:
        paces = paces or {}
        shown = [in_flight(move, now, paces.get(move.guest_id)) for move in running[:NAMED]]
        if len(running) > NAMED:
            shown.append(f"{len(running) - NAMED} more")
        parts.append(f"{len(running)} running ({'; '.join(shown)})")
    rest = (VERIFYING, RECOVERING, WAITING, LEFT, UNVERIFIED)
    parts += [f"{phases[phase]} {phase}" for phase in rest if phases[phase]]
    return f"[{host}] " + ", ".join(parts)


def in_flight(move: Move, now: float, pace: Pace | None = None) -> str:
    """One guest on its way: ``vm-a 63% 1.2 GiB/s eta 40s``, ``vm-b cold``, ``vm-c starting``."""
    if move.phase in _DOING:
        return f"{move.name} {_DOING[move.phase]}"
    if move.method == COLD:
        return f"{move.name} cold"
    if not move.total_bytes:
        return f"{move.name} {move.migration_status or 'preparing'}"
    text = f"{move.name} {100 * (move.total_bytes - move.remaining_bytes) // move.total_bytes}%"
    pace = pace or _mean(move, now)
    if pace.rate > 0:
        text += f" {rate(pace.rate)}"
    return text if pace.eta is None else f"{text} eta {duration(pace.eta)}"


def detail_lines(ledger: Ledger, host: str, now: float, paces: Paces | None = None) -> list[str]:
    """One line for each guest on its way, with its migration's number, status and bytes."""
    lines = []
    for move in ledger.moves.values():
        if move.phase != MIGRATING:
            continue
        figures = f"migration {move.migration_id} {move.migration_status or 'requested'}"
        if move.total_bytes:
            figures += (
                f", {size(move.processed_bytes)} copied, {size(move.remaining_bytes)} of "
                f"{size(move.total_bytes)} remain"
            )
        shown = in_flight(move, now, (paces or {}).get(move.guest_id))
        lines.append(f"[{host}] {shown}: {figures}, {duration(now - move.started_at)} so far")
    return lines


def measure(before: Ledger, after: Ledger, seconds: float) -> dict[str, Pace]:
    """The pace of each guest, from two ledgers of one run that lie ``seconds`` apart."""
    paces = {}
    for guest_id, move in after.moves.items():
        past = before.moves.get(guest_id)
        if past is None or past.migration_id != move.migration_id or seconds <= 0:
            continue
        copied = move.processed_bytes - past.processed_bytes
        if copied > 0 and past.processed_bytes:
            shrunk = past.remaining_bytes - move.remaining_bytes
            eta = move.remaining_bytes * seconds / shrunk if shrunk > 0 else None
            paces[guest_id] = Pace(copied / seconds, eta)
    return paces


def _mean(move: Move, now: float) -> Pace:
    """Since it began to run. Once more was copied than there is, the mean foretells nothing."""
    elapsed = now - move.running_since
    if not move.running_since or elapsed <= 0 or not move.processed_bytes:
        return Pace(0.0, None)
    speed = move.processed_bytes / elapsed
    first_round = move.processed_bytes <= move.total_bytes
    return Pace(speed, move.remaining_bytes / speed if first_round else None)
