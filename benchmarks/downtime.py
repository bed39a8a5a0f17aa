# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drain a host of real hypervisors four ways, and compare what its guests felt.

Usage: as root, `make bench-downtime`, which starts the lab and runs this within its network.
ARGS="--limit 600" gives it options. The same guests, made anew on the same host each time, leave
it by

  nova       what `openstack server migrate --live-migration` asks for, guest after guest, with
             Nova's defaults; given up after --limit seconds
  nova-force the same, with live_migration_timeout_action = force_complete, after --force-after
             seconds a GiB (of which Nova counts two at least, and two of disk)
  minimize_downtime, complete_quickly
             the role host_drain with that profile

Each is watched by the same probe and, through libvirt, by the same tuner, which for the first two
holds nothing. Figures of one run on one machine under software emulation: compare ways, not
machines.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import openstack
from common import (
    HOST,
    HOSTS,
    OBSERVER,
    ROOT,
    Outcome,
    Row,
    fill,
    host_drain,
    inventory,
    lab,
    left_on_host,
    run,
    table,
)

SCENARIO = ROOT / "benchmarks" / "downtime.yml"
#: The first microversion whose live migration answers at once and lets Nova choose the rest.
LIVE = "2.68"
FORCE_CONF = "/etc/nova/nova.conf.d/benchmark.conf"
OVER = frozenset({"completed", "failed", "error", "cancelled"})
KINDS = ("idle", "busy", "endless")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=300.0, help="seconds (default 300)")
    parser.add_argument("--force-after", type=int, default=20, help="s/GiB (default 20)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--json", type=pathlib.Path, help="also write everything there")
    return parser.parse_args()


# --- the lab -----------------------------------------------------------------------------


def module(machine: str, name: str, background: int = 0, **options: Any) -> Row:
    """Run a module on a machine of the lab; in the background for so many seconds at most."""
    command = ["ansible", "-i", inventory(), machine]
    command += ["-m", f"lowtide.compute.{name}", "-a", json.dumps(options)]
    command += ["-B", str(background), "-P", "0"] if background else []
    said = run(*command, stdout=subprocess.PIPE).stdout
    return json.loads(said[said.index("{") :])


def restart_computes(conf: str) -> None:
    """Give every nova-compute this configuration beside its own, and start it anew."""
    for host in HOSTS:
        lab("exec", host, "--", "sh", "-c", f"printf %s '{conf}' >{FORCE_CONF}")
        lab("crash", host)
        lab("start", host)


def last_endless(guest: Row) -> tuple[bool, str]:
    """In kindness to a plain loop: the one at which it stops comes last."""
    return guest["name"].startswith("endless"), guest["name"]


# --- the ways ----------------------------------------------------------------------------


def by_nova(guests: list[Row], given: argparse.Namespace) -> list[Row]:
    """Ask for one live migration after the other, until the limit."""
    with measured(guests) as found:
        ends = time.monotonic() + given.limit
        for guest in guests:
            if time.monotonic() < ends:
                migrate(guest["id"], ends)
    return found


def migrate(guest_id: str, ends: float) -> None:
    """Ask for a live migration and wait until its record says that it is over."""
    compute = openstack.connect().compute
    body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
    answer = compute.post(f"/servers/{guest_id}/action", json=body, microversion=LIVE)
    answer.raise_for_status()
    while time.monotonic() < ends:
        time.sleep(1)
        rows = compute.get(f"/os-migrations?instance_uuid={guest_id}", microversion=LIVE)
        records = rows.json()["migrations"]
        if records and all(record["status"] in OVER for record in records):
            return


def by_nova_with_force(guests: list[Row], given: argparse.Namespace) -> list[Row]:
    """The same, with Nova completing by force what takes too long."""
    restart_computes(
        f"[libvirt]\nlive_migration_timeout_action = force_complete\n"
        f"live_migration_completion_timeout = {given.force_after}\n"
    )
    try:
        return by_nova(guests, given)
    finally:
        restart_computes("")


@contextlib.contextmanager
def measured(guests: list[Row]) -> Iterator[list[Row]]:
    """Probe the guests and read libvirt's figures meanwhile; the list is filled at the end."""
    found: list[Row] = []
    path = {"status_path": "/root/benchmark.json"}
    module(OBSERVER, "reachability_probe", 3600, state="started", guests=guests, **path)
    module(HOST, "libvirt_migrate_tune", 3600, state="watch", **path)
    time.sleep(3)
    try:
        yield found
    finally:
        tuned = module(HOST, "libvirt_migrate_tune", state="absent", **path)["guests"]
        probed = module(OBSERVER, "reachability_probe", state="stopped", **path)["guests"]
        sent = {guest["id"]: guest["bytes"] for guest in tuned}
        found += [
            {"name": g["name"], "gap": g["longest_gap_ms"], "bytes": sent.get(g["id"])}
            for g in probed
        ]


def by_lowtide(profile: str) -> Callable[[list[Row], argparse.Namespace], list[Row]]:
    """The role with a profile; its report has what was measured."""

    def drain(_guests: list[Row], _given: argparse.Namespace) -> list[Row]:
        return host_drain(host_drain_profile=profile)

    return drain


WAYS: dict[str, Callable[[list[Row], argparse.Namespace], list[Row]]] = {
    "nova": by_nova,
    "nova-force": by_nova_with_force,
    "minimize_downtime": by_lowtide("minimize_downtime"),
    "complete_quickly": by_lowtide("complete_quickly"),
}


def main() -> int:
    """For each way fill and drain; then the table."""
    given = arguments()
    outcomes = []
    for way in given.ways:
        guests = sorted(fill(SCENARIO), key=last_endless)
        began = time.monotonic()
        felt = WAYS[way](guests, given)
        seconds = time.monotonic() - began
        outcomes.append(Outcome(way, seconds, left_on_host(), felt))
        print("\n".join(table(outcomes[-1:], KINDS)[2:]), file=sys.stderr)
    print("\n".join(table(outcomes, KINDS)))
    if given.json:
        given.json.write_text(json.dumps([vars(each) for each in outcomes], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
