# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The report of one drain: a JSON document with a schema, and the same as Markdown.

This module util is **PRIVATE** to the collection: it may change without notice.
The documents it makes are public: docs/report-schema.json holds their schema, and
``SCHEMA_VERSION`` grows by one when a field is removed or changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._report.events import because
from ansible_collections.lowtide.compute.plugins.module_utils._report.measures import (
    METRICS,
    aggregate,
    with_measures,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.render import (
    UNFINISHED,
    other_problems,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.units import (
    duration,
    milliseconds,
    size,
)

SCHEMA = "lowtide.compute/drain-report"
SCHEMA_VERSION = 1

#: Fields of a run's result that the document takes over, in its order.
FIELDS = (
    "host",
    "run_id",
    "outcome",
    "msg",
    "started_at",
    "ended_at",
    "seconds",
    "predicted_seconds",
    "bytes",
    "predicted_bytes",
    "summary",
    "problems",
    "guests",
    "events",
)


def document(
    result: Mapping[str, Any],
    tuned: Sequence[Mapping[str, Any]] = (),
    probed: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The report of a run, from what nova_drain returned and what was measured beside it.

    ``tuned`` and ``probed``: see ``measures.with_measures``. Raises ``KeyError`` when ``result``
    is not that of a run (a run that failed before its plan was made has nothing to report).
    """
    report = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION} | {f: result[f] for f in FIELDS}
    report["guests"] = with_measures(report["guests"], tuned, probed)
    report["bytes"] = sum(row["bytes"] or 0 for row in report["guests"])
    return report | {"measured": aggregate(report["guests"])}


def markdown(report: Mapping[str, Any]) -> str:
    """The document for people: what came of it, then every guest, then what happened when."""
    head = [
        f"# Drain of {report['host']}: {report['outcome'].replace('_', ' ')}",
        "",
        f"{_cell(report['msg'])}.",
        "",
        *_table(("", "predicted", "actual"), _figures(report)),
        "",
        f"Run `{report['run_id']}`, {report['started_at']} to {report['ended_at']}.",
    ]
    parts = (_unfinished, _guests, _measures, _aggregates, _events)
    return "\n".join([*head, *(line for part in parts for line in part(report))]) + "\n"


def _figures(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [
        ("time", duration(report["predicted_seconds"]), duration(report["seconds"])),
        ("copied", size(report["predicted_bytes"]), size(report["bytes"])),
    ]


def _unfinished(report: Mapping[str, Any]) -> list[str]:
    left = [row for row in report["guests"] if row["outcome"] in UNFINISHED]
    if not left and not report["problems"]:
        return []
    lines = ["", "## Not done", ""]
    for row in left:
        why = because(row["code"], row["reason"], row["remedy"])
        lines.append(_cell(f"- **{row['name']}** (`{row['id']}`) {row['outcome']}: {why}"))
    return lines + [_cell(f"- {problem}") for problem in other_problems(report)]


def _guests(report: Mapping[str, Any]) -> list[str]:
    heads = "guest outcome method from to tries time predicted copied why".split()
    rows = [
        (
            f"{row['name']} `{row['id']}`",
            row["outcome"],
            row["method"],
            row["from"],
            row["to"],
            str(row["attempts"]),
            _or_dash(row["seconds"], duration),
            _or_dash(row["predicted_seconds"], duration),
            _or_dash(row["bytes"], size),
            because(row["code"], row["reason"]),
        )
        for row in report["guests"]
    ]
    return ["", "## Guests", "", *(_table(heads, rows) if rows else ["None."])]


def _measures(report: Mapping[str, Any]) -> list[str]:
    """What each guest felt, beside what its policy allows."""
    rows = [_felt(row) for row in report["guests"] if row["measured"]]
    heads = ("guest", "policy", "from", "downtime", "longest gap", "lost", "at")
    heads = (*heads, "copied", "dirty rate", "rounds", "throttle", "held")
    return ["", "## What the guests felt", "", *_table(heads, rows)] if rows else []


def _felt(row: Mapping[str, Any]) -> tuple[str, ...]:
    found = row["measured"]
    limit = (row.get("policy") or {}).get("max_downtime_ms") or {}
    held = found["times_applied"] or {}
    return (
        row["name"],
        _or_dash(limit.get("value"), milliseconds),
        limit.get("source") or "-",
        _or_dash(found["downtime_ms"], milliseconds),
        _or_dash(found["longest_gap_ms"], milliseconds),
        "-" if found["sent"] is None else f"{found['lost']} of {found['sent']}",
        found["gap_at"] or "-",
        _or_dash(found["bytes"], size),
        _or_dash(found["dirty_rate_mib_s"], "{:.0f} MiB/s".format),
        _or_dash(found["iterations"], str),
        _or_dash(found["throttle_percent"], "{:.0f} %".format),
        ", ".join(f"{name} {times}x" for name, times in sorted(held.items()) if times) or "-",
    )


def _aggregates(report: Mapping[str, Any]) -> list[str]:
    """Minimum, average and maximum, for block migrations and for the others."""
    if not report["measured"]:
        return []
    words = dict.fromkeys(METRICS, milliseconds) | {"bytes": size}
    rows = [
        (
            f"{kind.replace('_', '-')} ({found['guests']})",
            name.removesuffix("_ms").replace("_", " "),
            *(words[name](found[name][each]) for each in ("min", "avg", "max")),
        )
        for kind, found in report["measured"].items()
        for name in METRICS
        if found[name]
    ]
    heads = ("moves", "", "min", "avg", "max")
    return ["", "## Block and non-block moves", "", *_table(heads, rows)]


def _events(report: Mapping[str, Any]) -> list[str]:
    if not report["events"]:
        return []
    prefix = f"[{report['host']}] "
    lines = [
        f"- {event['at']} {_cell(event['line'].removeprefix(prefix))}" for event in report["events"]
    ]
    return ["", "## What happened", "", *lines]


def _or_dash(value: float | None, words: Any) -> str:
    return "-" if value is None else words(value)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines]


def _cell(text: str) -> str:
    """One line, and nothing in it that Markdown or HTML would take for markup of the table."""
    flat = " ".join(str(text).split())
    return flat.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
