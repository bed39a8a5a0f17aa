# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What a pre-flight says: rows for machines, and a table that is read at three in the morning.

This module util is **PRIVATE** to the collection: it may change without notice.
First what blocks, then what to beware of, then the guests; no line is wider than WIDTH.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    COLD,
    LIVE,
    Options,
    Plan,
    PlanEntry,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight_model import (
    Preflight,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight_turns import Turn
from ansible_collections.lowtide.compute.plugins.module_utils._report.render import (
    guest_state,
    plan_sum,
    table,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.result import (
    Row,
    plan_result,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.units import (
    count,
    duration,
    size,
)

WIDTH = 100
#: Guests in a table; what more there are is in the result. And names in a line.
MOST_GUESTS, MOST_NAMES = 30, 6


# --- for machines ------------------------------------------------------------------------


def found_rows(found: Preflight, host: str) -> Row:
    """``blockers``, ``cautions`` and ``not_seen`` as RETURN documents them."""
    return {
        "blockers": [
            {
                "host": host,
                "id": each.guest_id,
                "name": each.name,
                "code": each.code,
                "reason": each.reason,
                "remedy": each.remedy,
                "source": each.source,
            }
            for each in found.blockers
        ],
        "cautions": [
            {
                "host": host,
                "code": each.code,
                "text": each.text,
                "remedy": each.remedy,
                "source": each.source,
                "ids": list(each.guests),
                "guests": list(each.guests.values()),
            }
            for each in found.cautions
        ],
        "not_seen": [
            {"host": host, "code": each.code, "what": each.what, "source": each.source}
            for each in found.not_seen
        ],
    }


def estimate_rows(plan: Plan, options: Options) -> list[Row]:
    """What the predictions rest upon, a row for each guest that moves."""
    return [
        {
            "id": entry.guest.id,
            "name": entry.guest.name,
            "seconds": round(entry.estimate.seconds, 1),
            "bytes": entry.estimate.bytes,
            "link_mib_s": _link(entry, options),
            "dirty_rate_mib_s": options.dirty_rates.get(entry.guest.id),
            "rounds": entry.estimate.rounds,
            "downtime_ms": round(entry.estimate.downtime_ms, 1),
            "converges": entry.estimate.converges,
        }
        for entry in _moving(plan)
    ]


def preflight_result(plan: Plan, found: Preflight, options: Options) -> Row:
    """What nova_drain_info returns of one host."""
    host = plan.scope.host
    result = plan_result(plan) | found_rows(found, host)
    if found.blockers:
        result["outcome"] = "blocked"
    if found.cautions:
        result["msg"] += f"; {count(len(found.cautions), 'caution')}"
    result["estimates"] = estimate_rows(plan, options)
    result["table"] = preflight_lines(plan, found, options)
    return result


def with_cautions(result: Row, found: Preflight) -> Row:
    """A plan's result with what should be known before it is carried out."""
    rows = found_rows(found, result["host"])
    rows.pop("blockers")
    lines = finding_lines((), rows["cautions"], rows["not_seen"])
    return result | rows | {"table": [*result["table"], *lines]}


def fleet_result(plans: Sequence[Row], turns: Sequence[Turn]) -> Row:
    """What it returns of several: each host's own, their sums, and how they fit in turn."""
    together = [_turn_row(turn) for turn in turns]
    fits = all(row["fits"] for row in together)
    blocked = [row["host"] for row in plans if row["outcome"] == "blocked"]
    text = f"{count(len(plans), 'host')}: "
    text += f"{len(blocked)} blocked ({_some(blocked)})" if blocked else "none blocked"
    text += "; one after the other they fit" if fits else "; one after the other they do NOT fit"
    seconds = round(sum(row["predicted_seconds"] for row in together), 1)
    text += f"; about {duration(seconds)} in all"
    moves = any(row["outcome"] == "planned" for row in plans)
    result: Row = {
        "host": "",
        "hosts": [row["host"] for row in plans],
        "outcome": "blocked" if blocked else "planned" if moves else "nothing_to_do",
        "msg": text,
        "summary": dict(sum((Counter(row["summary"]) for row in plans), Counter())),
        "plans": list(plans),
        "together": together,
        "predicted_seconds": seconds,
        "predicted_bytes": sum(row["predicted_bytes"] for row in together),
        "fits": fits,
    }
    for name in ("guests", "blockers", "cautions", "not_seen", "estimates"):
        result[name] = [each for row in plans for each in row[name]]
    result["table"] = fleet_lines(result)
    return result


def _turn_row(turn: Turn) -> Row:
    plan = turn.plan
    return {
        "host": plan.scope.host,
        "guests": len(plan.entries),
        "arrivals": [guest.id for guest in turn.arrivals],
        "fits": plan.fits,
        "blocked": [entry.guest.name for entry in plan.blockers],
        "predicted_seconds": round(plan.seconds, 1),
        "predicted_bytes": plan.bytes,
    }


# --- for people --------------------------------------------------------------------------


def preflight_lines(plan: Plan, found: Preflight, options: Options) -> list[str]:
    """One host: the sum, what blocks, what to beware of, what was not seen, the guests."""
    lines = _wrapped(f"[{plan.scope.host}] ", plan_sum(plan))
    rows = found_rows(found, plan.scope.host)
    lines += finding_lines(rows["blockers"], rows["cautions"], rows["not_seen"])
    return lines + _guest_lines(plan, options)


def finding_lines(
    blockers: Iterable[Row],
    cautions: Iterable[Row],
    not_seen: Iterable[Row],
    *,
    hosts: bool = False,
) -> list[str]:
    """What blocks, what to beware of, and what could not be told, each with its remedy.

    ``hosts``: several are spoken of, and each is named. What is the same of them is said once.
    """
    lines: list[str] = []
    for row in blockers:
        who = f"{row['name']} ({row['id']}): " if row["id"] else ""
        where = f"{row['host']}: " if hosts else ""
        lines += _wrapped("  BLOCKED ", where + who + row["reason"]) + _advice(row)
    alike: dict[tuple[str, str], list[Row]] = {}
    for row in cautions:
        alike.setdefault((row["code"], row["text"]), []).append(row)
    for rows in alike.values():
        guests = [name for row in rows for name in row["guests"]]
        who = f"{_some(guests)}: " if guests else ""
        where = f"{_some([row['host'] for row in rows])}: " if hosts else ""
        lines += _wrapped("  CAUTION ", where + who + rows[0]["text"]) + _advice(rows[0])
    unseen: dict[str, list[Row]] = {}
    for row in not_seen:
        unseen.setdefault(row["what"], []).append(row)
    for what, rows in unseen.items():
        where = f" ({_some(_different(rows, 'host'))})" if hosts else ""
        codes = ", ".join(_different(rows, "code"))
        lines += _wrapped("  NOT SEEN ", f"{what}{where}, so not checked: {codes}")
    return lines


def _advice(row: Row) -> list[str]:
    """What to do, and whose rule it is."""
    lines = _wrapped("    do:   ", row["remedy"]) if row["remedy"] else []
    return lines + _wrapped("    rule: ", f"{row['code']} ({row['source']})")


def _different(rows: Iterable[Row], key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))


def fleet_lines(result: Row) -> list[str]:
    """Several hosts: the sum, a line for each, then what was found on them."""
    lines = _wrapped("", result["msg"])
    head = ("host", "guests", "live", "cold", "blocked", "cautions", "alone", "bytes", "in turn")
    rows = [head] + [
        (
            plan["host"],
            str(plan["summary"]["total"]),
            *(_count_of(plan, method) for method in (LIVE, COLD)),
            str(len(plan["blockers"])),
            str(len(plan["cautions"])),
            duration(plan["predicted_seconds"]) + ("" if plan["fits"] else ", does not fit"),
            size(plan["predicted_bytes"]),
            _in_turn(turn),
        )
        for plan, turn in zip(result["plans"], result["together"], strict=True)
    ]
    lines += [f"  {line}"[:WIDTH] for line in table(rows)]
    found = (result[name] for name in ("blockers", "cautions", "not_seen"))
    return lines + finding_lines(*found, hosts=True)


def _in_turn(turn: Row) -> str:
    text = "fits" if turn["fits"] else f"{len(turn['blocked'])} cannot go"
    come = len(turn["arrivals"])
    return f"{text}, {come} came" if come else text


def _count_of(plan: Row, method: str) -> str:
    return str(sum(row["method"] == method for row in plan["guests"]))


def _guest_lines(plan: Plan, options: Options) -> list[str]:
    """The guests in the order in which they go, and what their predictions rest upon."""
    if not plan.entries:
        return []
    rows = [("guest", "state", "method", "to", "estimate", "bytes", "writes")]
    shown = plan.entries[:MOST_GUESTS]
    rows += [_guest_row(entry, options) for entry in shown]
    lines = [f"  {line}"[:WIDTH] for line in table(rows)]
    if len(plan.entries) > len(shown):
        lines.append(f"  and {len(plan.entries) - len(shown)} more, in the result's `guests`")
    if _moving(plan):
        lines += _wrapped("  ", _basis(plan, options))
    return lines + _note_lines(plan)


def _note_lines(plan: Plan) -> list[str]:
    """What is worth to know of single guests: each note once, with whom it concerns."""
    noted: dict[str, list[str]] = {}
    for entry in plan.entries:
        for note in entry.verdict.notes:
            noted.setdefault(note, []).append(entry.guest.name)
    return [
        line
        for note, names in noted.items()
        for line in _wrapped("  NOTE ", f"{_some(names)}: {note}")
    ]


def _guest_row(entry: PlanEntry, options: Options) -> tuple[str, ...]:
    verdict, moves = entry.verdict, entry.verdict.method in (LIVE, COLD)
    chosen = entry.placed if options.destinations == "planned" else options.destination
    rate = options.dirty_rates.get(entry.guest.id)
    writes = "-" if verdict.method != LIVE else "?" if rate is None else f"{rate:.0f} MiB/s"
    return (
        _shortened(entry.guest.name),
        guest_state(entry.guest),
        verdict.method if moves else f"{verdict.method}: {verdict.code}",
        _shortened(chosen or "scheduler") if moves else "-",
        duration(entry.estimate.seconds) if moves else "-",
        size(entry.estimate.bytes) if moves else "-",
        writes,
    )


def _basis(plan: Plan, options: Options) -> str:
    live = [entry for entry in plan.entries if entry.verdict.method == LIVE]
    measured = sum(entry.guest.id in options.dirty_rates for entry in live)
    slower = sum(_link(entry, options) < options.bandwidth_mib_s for entry in live)
    limits = f" ({slower} by their policies less)" if slower else ""
    return (
        f"estimates: {options.bandwidth_mib_s:g} MiB/s on the wire for each{limits}, "
        f"{options.overhead_seconds:g} s of Nova's own work, {options.max_parallel} at a time; "
        f"how fast they write was measured of {measured} of {len(live)}"
    )


def _link(entry: PlanEntry, options: Options) -> float:
    limit = entry.policy.bandwidth_mib_s
    return min(options.bandwidth_mib_s, limit) if limit else options.bandwidth_mib_s


def _moving(plan: Plan) -> list[PlanEntry]:
    return [entry for entry in plan.entries if entry.verdict.method in (LIVE, COLD)]


def _shortened(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _some(names: Sequence[Any]) -> str:
    shown = ", ".join(map(str, names[:MOST_NAMES]))
    more = len(names) - MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _wrapped(lead: str, text: str) -> list[str]:
    """The text as lines that begin below each other, the first after ``lead``."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_on_hyphens=False,
    )
