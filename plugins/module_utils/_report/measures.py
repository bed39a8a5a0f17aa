# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What the guests felt: the tuner's and the probe's figures, put beside each guest's policy.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]

#: What libvirt_migrate_tune knows of a guest's migration (docs/report.md says what each is).
TUNED = (
    "block",
    "total_ms",
    "setup_ms",
    "downtime_ms",
    "bytes",
    "dirty_rate_mib_s",
    "iterations",
    "throughput_mib_s",
    "throttle_percent",
    "applied",
    "times_applied",
)
#: What reachability_probe knows of it.
PROBED = ("longest_gap_ms", "gap_at", "sent", "lost", "silent_ms")
#: What is summed up over the guests that moved, for block migrations and for the others.
METRICS = ("total_ms", "downtime_ms", "longest_gap_ms", "bytes")


def with_measures(
    rows: Iterable[Row], tuned: Iterable[Mapping[str, Any]], probed: Iterable[Mapping[str, Any]]
) -> list[Row]:
    """Each guest's row with ``measured``: None where nobody measured, else every field of both.

    What libvirt counted as sent replaces ``bytes`` of the row: Nova's API shows but a part of it.

    ``tuned`` and ``probed`` are ``guests`` of libvirt_migrate_tune's and reachability_probe's
    results. ``over_policy_ms``: by how much the longest gap exceeded the policy's downtime,
    negative when it did not; None unless the guest moved live and was probed.
    """
    by_tuner = {guest["id"]: guest for guest in tuned}
    by_probe = {guest["id"]: guest for guest in probed if guest.get("answered", True)}
    found = []
    for row in rows:
        measured = _measured(row, by_tuner.get(row["id"]), by_probe.get(row["id"]))
        told = (measured or {}).get("bytes")
        found.append(row | {"bytes": row["bytes"] if told is None else told, "measured": measured})
    return found


def _measured(
    row: Row, tuned: Mapping[str, Any] | None, probed: Mapping[str, Any] | None
) -> Row | None:
    if tuned is None and probed is None:
        return None
    found = {field: (tuned or {}).get(field) for field in TUNED}
    found |= {field: (probed or {}).get(field) for field in PROBED}
    return found | {"over_policy_ms": _over_policy(row, found["longest_gap_ms"])}


def _over_policy(row: Row, gap: float | None) -> float | None:
    limit = ((row.get("policy") or {}).get("max_downtime_ms") or {}).get("value")
    if gap is None or limit is None or row["method"] != "live" or row["outcome"] != "moved":
        return None
    return round(gap - limit, 1)


def aggregate(rows: Iterable[Row]) -> Row | None:
    """For ``block`` and ``non_block`` moves: how many, and min, avg and max of each metric.

    None when libvirt told of no guest that moved; a metric that nobody measured is None.
    """
    told = [row["measured"] for row in rows if row["outcome"] == "moved" and row["measured"]]
    kinds = {
        "block": [each for each in told if each["block"] is True],
        "non_block": [each for each in told if each["block"] is False],
    }
    if not any(kinds.values()):
        return None
    return {
        kind: {"guests": len(found)} | {name: _spread(found, name) for name in METRICS}
        for kind, found in kinds.items()
    }


def _spread(found: Sequence[Row], name: str) -> Row | None:
    values = [each[name] for each in found if each[name] is not None]
    if not values:
        return None
    return {"min": min(values), "avg": round(sum(values) / len(values), 1), "max": max(values)}
