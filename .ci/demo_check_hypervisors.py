# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks a drain of real hypervisors: by what libvirt has now, and by what the report says.

Usage: demo_check_hypervisors.py HOST STATUS.json REPORT.json. Ends 1 if anything is wrong:
a domain on the host or on two of them, a guest that three witnesses did not see arrive, a
gap that its policy does not allow.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

LEAST_GUESTS = 6
#: What a client may feel beyond the guest's own pause: ARP, the switch, the probe's interval.
MARGIN_MS = 250


def problems(host: str, status: dict[str, Any], report: dict[str, Any]) -> list[str]:
    """What is wrong, a sentence each."""
    found = []
    places = Counter(domain["id"] for domain in status["domains"])
    found += [f"{d['id']} has a domain on {host}" for d in status["domains"] if d["host"] == host]
    found += [f"{guest} has {n} domains" for guest, n in places.items() if n != 1]
    guests = report["guests"]
    if len(guests) < LEAST_GUESTS:
        found.append(f"only {len(guests)} guests were drained")
    for row in guests:
        found += [f"{row['name']}: {problem}" for problem in _wrong(row, places)]
    return found


def _wrong(row: dict[str, Any], places: Counter[str]) -> list[str]:
    found = []
    if row["outcome"] != "moved":
        found.append(f"is {row['outcome']} ({row['code']})")
    if row["witnesses"] != 3:
        found.append(f"was seen by {row['witnesses']} witnesses")
    if not places[row["id"]]:
        found.append("has no domain")
    forced = row["policy"]["on_timeout"]["value"] == "force_complete"
    probed = row["method"] == "live" and row["state"] == "active"
    over = (row["measured"] or {}).get("over_policy_ms")
    if probed and over is None:
        found.append("was not measured")
    elif probed and over > MARGIN_MS and not forced:
        found.append(f"was missed for {over:.0f} ms more than its policy allows")
    return found


def main() -> int:
    host, status, report = sys.argv[1], *(json.loads(Path(p).read_text()) for p in sys.argv[2:])
    found = problems(host, status, report)
    for problem in found:
        print(f"wrong: {problem}")
    if not found:
        count = len(report["guests"])
        print(f"{host}: empty by libvirt; {count} guests on other hosts, one domain each,")
        print(
            f"seen by three witnesses; none missed for {MARGIN_MS} ms more than its policy allows"
        )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
