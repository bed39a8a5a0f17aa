# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What an operator reads before and after a drain: the plan as a table, the end as a sentence.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    BLOCKED,
    COLD,
    LIVE,
    Guest,
    Plan,
    PlanEntry,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.events import because
from ansible_collections.lowtide.compute.plugins.module_utils._report.units import (
    count,
    duration,
    size,
)

#: Outcomes of guests that are not where the operator wants them.
UNFINISHED = ("left", "unverified", "blocked")


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
    verdict, moves = entry.verdict, entry.verdict.method in (LIVE, COLD)
    marks = "".join(f" [{notes.index(note) + 1}]" for note in verdict.notes)
    return (
        entry.guest.name,
        guest_state(entry.guest),
        verdict.method,
        duration(entry.estimate.seconds) if moves else "-",
        size(entry.estimate.bytes) if moves else "-",
        # What blocks is told in full below the table.
        (verdict.code if verdict.method == BLOCKED else verdict.reason or verdict.code) + marks,
    )


def blocker_lines(plan: Plan) -> list[str]:
    """What cannot go and what to do about it, two lines a guest; nothing when nothing blocks."""
    lines = []
    for entry in plan.blockers:
        verdict = entry.verdict
        lines.append(f"  ! {entry.guest.name} ({entry.guest.id}): {verdict.reason}")
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
