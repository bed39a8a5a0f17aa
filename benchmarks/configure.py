# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drain a host of real hypervisors before and after migration_configure, and compare.

Usage: as root, `make bench-configure`, which starts the lab and runs this within its network.

The hosts begin as many clouds do: migrations go over the management network, here of 1 Gbit/s, with
Nova's defaults; the 10 Gbit/s network between them is plugged in and nobody uses it. Then
migration_configure sets it up and proves it, and writes nova.conf. The same guests, made anew on
the same host, leave it before and after by the same playbook with the same options. Figures of one
run on one machine under software emulation: compare the two, not machines.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time

from common import HOSTS, ROOT, Outcome, fill, host_drain, inventory, lab, left_on_host, run, table

SCENARIO = ROOT / "benchmarks" / "configure.yml"
SETTINGS = ROOT / "benchmarks" / "configure_settings.yml"
KINDS = ("idle", "busy", "heavy")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", default="1gbit", help="of the management network (default 1gbit)")
    parser.add_argument("--json", type=pathlib.Path, help="also write everything there")
    return parser.parse_args()


def limit_management(rate: str) -> None:
    """What each host sends on the management network."""
    for host in HOSTS:
        limit = ["tbf", "rate", rate, "burst", "256kb", "latency", "100ms"]
        lab("exec", host, "--", "tc", "qdisc", "add", "dev", "mgmt", "root", *limit)


def configure() -> None:
    """The playbook, with the settings of this benchmark."""
    command = ["ansible-playbook", "-i", inventory(), "lowtide.compute.migration_configure"]
    run(*command, "-e", f"@{SETTINGS}")


def drained(way: str) -> Outcome:
    """Fill the host, and drain it."""
    fill(SCENARIO)
    began = time.monotonic()
    felt = host_drain()
    outcome = Outcome(way, time.monotonic() - began, left_on_host(), felt)
    print("\n".join(table([outcome], KINDS)[2:]), file=sys.stderr)
    return outcome


def main() -> int:
    """Drain, configure, drain; then the table."""
    given = arguments()
    limit_management(given.rate)
    outcomes = [drained("before")]
    began = time.monotonic()
    configure()
    seconds = time.monotonic() - began
    outcomes.append(drained("after"))
    print("\n".join(table(outcomes, KINDS)))
    print(f"\nmigration_configure itself: {seconds:.0f} s for {len(HOSTS)} hosts")
    if given.json:
        given.json.write_text(json.dumps([vars(each) for each in outcomes], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
