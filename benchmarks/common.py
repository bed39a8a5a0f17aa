# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks on real hypervisors share: their lab, its guests, a drain and a table."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import openstack

ROOT = pathlib.Path(__file__).resolve().parent.parent
LAB = str(ROOT / "lab" / "lab")
HOST, OBSERVER, HOSTS = "cmp-1", "obs", ("cmp-1", "cmp-2", "cmp-3")
Row = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What one drain came to. ``left``: names of guests that are still on the host."""

    way: str
    seconds: float
    left: list[str]
    guests: list[Row]

    def gap(self, kind: str) -> float | None:
        """The longest gap of the guests whose names begin so, in milliseconds."""
        gaps = [g["gap"] for g in self.guests if g["name"].startswith(kind)]
        return max((gap for gap in gaps if gap is not None), default=None)

    def sent(self) -> int:
        """Bytes that libvirt sent, of guests that it told of."""
        return sum(guest["bytes"] or 0 for guest in self.guests)


# --- the lab -----------------------------------------------------------------------------


def run(*command: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command; what it says goes to stderr, unless it is captured."""
    return subprocess.run(command, check=True, text=True, **({"stdout": sys.stderr} | more))


def lab(*command: str) -> None:
    """Run the lab's command line."""
    run(LAB, *command)


def inventory() -> str:
    """The path of the lab's inventory."""
    return f"{os.environ['LAB_STATE']}/inventory.yml"


def fill(scenario: pathlib.Path) -> list[Row]:
    """Delete all guests, enable all hosts and make the guests again; id, name and address."""
    cloud = openstack.connect()
    for server in cloud.compute.servers(all_projects=True):
        cloud.compute.delete_server(server, force=True)
        cloud.compute.wait_for_delete(server, wait=300)
    for service in cloud.compute.services(binary="nova-compute"):
        cloud.compute.enable_service(service, service.host, service.binary)
    lab("seed", str(scenario))
    return [
        {"id": s.id, "name": s.name, "address": next(iter(s.addresses.values()))[0]["addr"]}
        for s in cloud.compute.servers(all_projects=True)
    ]


def left_on_host() -> list[str]:
    """Names of the guests that Nova has on the host."""
    servers = openstack.connect().compute.servers(all_projects=True, compute_host=HOST)
    return sorted(server.name for server in servers)


def host_drain(**options: Any) -> list[Row]:
    """Drain the host by the playbook; each guest's name, longest gap (ms) and bytes."""
    with tempfile.TemporaryDirectory(prefix="lowtide-benchmark-") as reports:
        options |= {"target": HOST, "report_dir": reports}
        command = ["ansible-playbook", "-i", inventory(), "lowtide.compute.host_drain"]
        command += ["-e", json.dumps(options), "-e", f"@{ROOT}/.ci/demo-hypervisors.yml"]
        with contextlib.suppress(subprocess.CalledProcessError):
            run(*command)
        report = json.loads(next(pathlib.Path(reports).glob("*.json")).read_text())
    return [
        {
            "name": row["name"],
            "gap": (row["measured"] or {}).get("longest_gap_ms"),
            "bytes": row["bytes"],
        }
        for row in report["guests"]
    ]


# --- the table ---------------------------------------------------------------------------


def table(outcomes: Sequence[Outcome], kinds: Sequence[str]) -> list[str]:
    """The outcomes as a table in Markdown; ``kinds``: what guests' names begin with."""
    heads = ["way", "drained", "seconds", *(f"longest gap: {kind}" for kind in kinds), "sent"]
    lines = [heads, ["---"] * len(heads)]
    for each in outcomes:
        drained = f"no: {', '.join(each.left)}" if each.left else "yes"
        gaps = [each.gap(kind) for kind in kinds]
        words = ["-" if gap is None else f"{gap:.0f} ms" for gap in gaps]
        sent = f"{each.sent() / 2**20:.0f} MiB"
        lines.append([each.way, drained, f"{each.seconds:.0f}", *words, sent])
    return ["| " + " | ".join(line) + " |" for line in lines]
