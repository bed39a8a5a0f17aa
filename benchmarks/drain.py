# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the drain of a host of an embedded cloud, and count the API calls that it took.

Usage: . .ci/env.sh; python benchmarks/drain.py [--scenario FILE] [--host HOST] [KEY=VALUE ...]
KEY=VALUE are variables of the role host_drain. Figures of one run on one machine: compare
ratios of two runs, not seconds of two machines.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent
LAB = str(ROOT / "lab" / "lab")
#: Calls of one look at the host: service, migrations, guests.
LOOK = re.compile(r"/(os-services|os-migrations|servers/detail)\?.*host=")
ONE_GUEST = re.compile(r"/servers/[0-9a-f-]{36}|/allocations/|/ports|/attachments")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default=str(ROOT / "lab" / "scenarios" / "hundred.yml"))
    parser.add_argument("--host", default="cmp-1")
    parser.add_argument("--port-base", default="31000")
    parser.add_argument("variables", nargs="*", metavar="KEY=VALUE")
    return parser.parse_args()


def timed(command: list[str], environment: dict[str, str]) -> float:
    """Run a command with its output shown on stderr; the seconds that it took."""
    began = time.monotonic()
    subprocess.run(command, env=environment, stdout=sys.stderr, check=True)
    return time.monotonic() - began


def calls(environment: dict[str, str]) -> list[dict]:
    """Every API call of the collection, from the lab's request log."""
    command = [LAB, "requests", "--client", "lowtide.compute", "--json"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in told.stdout.splitlines()]


def count(requests: list[dict]) -> dict[str, int]:
    """The calls by what they were for."""
    kinds: collections.Counter[str] = collections.Counter()
    for request in requests:
        if request["method"] != "GET" and "/auth/tokens" not in request["path"]:
            kinds["writes"] += 1
        elif LOOK.search(request["path"]):
            kinds["looks at the host"] += 1
        elif ONE_GUEST.search(request["path"]):
            kinds["reads of one guest"] += 1
        else:
            kinds["other reads"] += 1
    return dict(kinds)


def main() -> int:
    """Start, fill, drain, count, stop."""
    given = arguments()
    with tempfile.TemporaryDirectory(prefix="lowtide-benchmark-") as scratch:
        environment = {
            **os.environ,
            "LAB_STATE": f"{scratch}/lab",
            "LAB_PORT_BASE": given.port_base,
            "OS_CLIENT_CONFIG_FILE": f"{scratch}/lab/clouds.yaml",
            "OS_CLOUD": "lab",
        }
        drain = ["ansible-playbook", "-i", "localhost,", "lowtide.compute.host_drain"]
        for variable in (f"target={given.host}", f"report_dir={scratch}/reports", *given.variables):
            drain += ["-e", variable]
        try:
            up = timed([LAB, "up", "--scenario", given.scenario], environment)
            seed = timed([LAB, "seed", given.scenario], environment)
            seconds = timed(drain, environment)
            requests = calls(environment)
        finally:
            subprocess.run([LAB, "down"], env=environment, stdout=sys.stderr, check=True)
        report = json.loads(next(pathlib.Path(scratch, "reports").glob("*.json")).read_text())
    moved = sum(guest["outcome"] == "moved" for guest in report["guests"])
    kinds = count(requests)
    looks = kinds.get("looks at the host", 0) / 3
    print(f"lab up          {up:7.1f} s")
    print(f"seed            {seed:7.1f} s")
    print(f"drain           {seconds:7.1f} s, {moved} guests moved, {seconds / moved:.2f} s each")
    print(f"calls           {len(requests):5d}   {len(requests) / moved:.1f} per guest moved")
    for kind, number in sorted(kinds.items()):
        print(f"  {kind:20s}{number:5d}   {number / moved:.1f} per guest moved")
    print(f"ticks           {looks:7.0f}   3 calls each, whatever the number of guests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
