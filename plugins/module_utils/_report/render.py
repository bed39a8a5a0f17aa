# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What an operator reads while a drain is planned, runs and ends: plain lines of text.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    BLOCKED,
    COLD,
    CONFIRMING,
    EXCLUDED,
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
    Guest,
    Ledger,
    Move,
    Plan,
    PlanEntry,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.events import because
from ansible_collections.lowtide.compute.plugins.module_utils._report.units import (
    count,
    duration,
    rate,
    size,
)

Rates = Mapping[str, float]

#: Guests named in a heartbeat; the others are counted.
NAMED = 3

#: Outcomes of guests that are not where the operator wants them.
UNFINISHED = ("left", "unverified", "blocked")

_DOING = {REQUESTED: "starting", CONFIRMING: "confirming"}


# --- While it runs -----------------------------------------------------------------------


def heartbeat(ledger: Ledger, host: str, now: float, rates: Rates | None = None) -> str:
    """``[cmp-3] 12/17 moved, 2 running (vm-a 63% 1.2 GiB/s eta 40s; vm-b starting), 3 waiting``.

    ``rates``: bytes per second by guest id (:func:`transfer_rates`); a guest that has none is
    shown with its mean rate since it began to run. Excluded and vanished guests do not count.
    """
    phases = Counter(move.phase for move in ledger.moves.values())
    total = sum(phases.values()) - phases[SKIPPED] - phases[GONE]
    running = [move for move in ledger.moves.values() if move.phase in HOLDING]
    parts = [f"{phases[MOVED]}/{total} moved"]
    if running:
        rates = rates or {}
        shown = [in_flight(move, now, rates.get(move.guest_id)) for move in running[:NAMED]]
        if len(running) > NAMED:
            shown.append(f"{len(running) - NAMED} more")
        parts.append(f"{len(running)} running ({'; '.join(shown)})")
    rest = (VERIFYING, RECOVERING, WAITING, LEFT, UNVERIFIED)
    parts += [f"{phases[phase]} {phase}" for phase in rest if phases[phase]]
    return f"[{host}] " + ", ".join(parts)


def in_flight(move: Move, now: float, bytes_per_second: float | None = None) -> str:
    """One guest on its way: ``vm-a 63% 1.2 GiB/s eta 40s``, ``vm-b cold``, ``vm-c starting``."""
    if move.phase in _DOING:
        return f"{move.name} {_DOING[move.phase]}"
    if move.method == COLD:
        return f"{move.name} cold"
    if not move.total_bytes:
        return f"{move.name} {move.migration_status or 'preparing'}"
    percent = 100 * (move.total_bytes - move.remaining_bytes) // move.total_bytes
    speed = bytes_per_second if bytes_per_second is not None else _mean_rate(move, now)
    if speed <= 0:
        return f"{move.name} {percent}%"
    return f"{move.name} {percent}% {rate(speed)} eta {duration(move.remaining_bytes / speed)}"


def detail_lines(ledger: Ledger, host: str, now: float, rates: Rates | None = None) -> list[str]:
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
        shown = in_flight(move, now, (rates or {}).get(move.guest_id))
        lines.append(f"[{host}] {shown}: {figures}, {duration(now - move.started_at)} so far")
    return lines


def transfer_rates(before: Ledger, after: Ledger, seconds: float) -> dict[str, float]:
    """Bytes per second by guest id, from two ledgers of one run that lie ``seconds`` apart."""
    rates = {}
    for guest_id, move in after.moves.items():
        past = before.moves.get(guest_id)
        if past is None or past.migration_id != move.migration_id or seconds <= 0:
            continue
        copied = move.processed_bytes - past.processed_bytes
        if copied > 0 and past.processed_bytes:
            rates[guest_id] = copied / seconds
    return rates


def _mean_rate(move: Move, now: float) -> float:
    elapsed = now - move.running_since
    return move.processed_bytes / elapsed if move.running_since and elapsed > 0 else 0.0


# --- Before it runs ----------------------------------------------------------------------


def plan_lines(plan: Plan, host: str = "") -> list[str]:
    """The plan as lines: the sum, the table, its footnotes, what blocks with the remedies.

    The guests come in the order in which they are to go.
    """
    lines = [f"[{host or plan.scope.host}] {plan_sum(plan)}"]
    if not plan.entries:
        return lines
    notes = list(dict.fromkeys(note for entry in plan.entries for note in entry.verdict.notes))
    rows = [("guest", "state", "method", "estimate", "bytes", "why")]
    rows += [_plan_row(entry, notes) for entry in plan.entries]
    lines += ["  " + line for line in table(rows)]
    lines += [f"  [{number}] {note}" for number, note in enumerate(notes, 1)]
    return lines + blocker_lines(plan)


def _plan_row(entry: PlanEntry, notes: Sequence[str]) -> tuple[str, ...]:
    verdict, stays = entry.verdict, entry.verdict.method in (EXCLUDED, BLOCKED)
    marks = "".join(f" [{notes.index(note) + 1}]" for note in verdict.notes)
    return (
        entry.guest.name,
        guest_state(entry.guest),
        verdict.method,
        "-" if stays else duration(entry.estimate.seconds),
        "-" if stays else size(entry.estimate.bytes),
        # What blocks is told in full below the table.
        (verdict.code if verdict.method == BLOCKED else verdict.reason or verdict.code) + marks,
    )


def blocker_lines(plan: Plan) -> list[str]:
    """What cannot go and what to do about it, two lines a guest; nothing when nothing blocks."""
    lines = []
    for entry in plan.blockers:
        verdict = entry.verdict
        why = because(verdict.code, verdict.reason)
        lines.append(f"  ! {entry.guest.name} ({entry.guest.id}): {why}")
        if verdict.remedy:
            lines.append(f"    remedy: {verdict.remedy}")
    return lines


def plan_sum(plan: Plan) -> str:
    """``17 guests: 15 live, 2 blocked; about 4m10s, 61.3 GiB``."""
    if not plan.entries:
        return "no guests: nothing to move"
    methods = Counter(entry.verdict.method for entry in plan.entries)
    text = f"{count(len(plan.entries), 'guest')}: " + ", ".join(
        f"{number} {method}" for method, number in methods.most_common()
    )
    if plan.seconds or plan.bytes:
        text += f"; about {duration(plan.seconds)}, {size(plan.bytes)}"
    return text if plan.fits else text + "; they do not all fit elsewhere"


def guest_state(guest: Guest) -> str:
    """``active``, ``active/rebooting`` while Nova works on it, with ``locked`` when it is."""
    state = f"{guest.vm_state}/{guest.task_state}" if guest.task_state else guest.vm_state
    return f"{state} locked" if guest.locked else state


def placement(rows: Iterable[tuple[str, str, str]]) -> str:
    """Name, id and host of each guest, a line each, sorted: one side of a diff."""
    ordered = sorted(rows)
    return "".join(f"{line}\n" for line in table(ordered))


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equal length as lines, columns aligned, the last one as long as it is."""
    if not rows:
        return []
    widths = [*(max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]), 0]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


# --- After it ran ------------------------------------------------------------------------


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The end of a run, from its result: the sentence, then what is left with its remedies."""
    host = result["host"]
    lines = [f"[{host}] {result['msg']}"]
    for row in result["guests"]:
        if row["outcome"] not in UNFINISHED:
            continue
        why = because(row["code"], row["reason"])
        lines.append(f"[{host}]   {row['outcome']}: {row['name']} ({row['id']}): {why}")
        if row["remedy"]:
            lines.append(f"[{host}]     remedy: {row['remedy']}")
    return lines + [f"[{host}]   problem: {problem}" for problem in other_problems(result)]


def other_problems(result: Mapping[str, Any]) -> list[str]:
    """The host's problems that no guest which is not done already tells of."""
    told = [row["id"] for row in result["guests"] if row["outcome"] in UNFINISHED]
    return [text for text in result["problems"] if not any(each in text for each in told)]
