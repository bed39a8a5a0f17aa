# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep what the APIs say of all that can carry a policy, and what was written up to now.

``look.py MOMENT`` writes ``$SNAPSHOTS/MOMENT.json``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openstack

LAB = Path(__file__).parents[2] / "lab" / "lab"
#: What changes by being written, whatever is written.
DATES = frozenset({"updated_at", "updated", "created_at"})


def main(moment: str) -> None:
    """Write the snapshot."""
    cloud = openstack.connect(app_name="molecule", app_version="1")
    found = {
        "images": listed(cloud.image, "/images", "images", visibility="all"),
        "flavors": listed(cloud.compute, "/flavors/detail", "flavors", "2.61", is_public="None"),
        "servers": listed(cloud.compute, "/servers/detail", "servers", "2.79", all_tenants="1"),
        "namespaces": namespaces(cloud.image),
        "writes": writes(),
    }
    path = Path(os.environ["SNAPSHOTS"]) / f"{moment}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, sort_keys=True))


def listed(
    api: Any, path: str, key: str, version: str | None = None, **query: str
) -> dict[str, Any]:
    """A list's rows by name, without dates."""
    answer = api.get(path, params=query, microversion=version)
    answer.raise_for_status()
    return {row["name"]: undated(row) for row in answer.json()[key]}


def namespaces(api: Any) -> dict[str, Any]:
    """Every namespace of metadata definitions, whole."""
    known = api.get("/metadefs/namespaces", params={"limit": "1000"}).json()["namespaces"]
    names = [row["namespace"] for row in known]
    return {name: undated(api.get(f"/metadefs/namespaces/{name}").json()) for name in names}


def undated(value: Any) -> Any:
    """A decoded answer without the dates in it."""
    if isinstance(value, list):
        return [undated(each) for each in value]
    if isinstance(value, dict):
        return {key: undated(each) for key, each in value.items() if key not in DATES}
    return value


def writes() -> list[str]:
    """The collection's calls up to now that could have changed something, signing in aside."""
    command = [LAB, "requests", "--json", "--client", "lowtide.compute"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    calls = [json.loads(line) for line in told.splitlines()]
    return [
        f"{call['method']} {call['service']} {call['path']}"
        for call in calls
        if call["method"] not in ("GET", "HEAD") and not call["path"].endswith("/auth/tokens")
    ]


if __name__ == "__main__":
    main(sys.argv[1])
