# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks Nova and Placement, past the collection, whether a host is empty; ends 1 if it is not."""

from __future__ import annotations

import sys

import openstack


def leftovers(cloud: openstack.connection.Connection, host: str) -> dict[str, list[str]]:
    """What is left on the host: ids of servers, and consumers of allocations in Placement."""
    answer = cloud.compute.get(f"/servers/detail?all_tenants=1&host={host}")
    answer.raise_for_status()
    servers = [server["id"] for server in answer.json()["servers"]]
    providers = [
        node.id
        for node in cloud.compute.hypervisors(details=True)
        if node.service_details["host"] == host
    ]
    if not providers:
        sys.exit(f"demo_check: Nova has no hypervisor on {host}")
    consumers = []
    for provider in providers:
        answer = cloud.placement.get(f"/resource_providers/{provider}/allocations")
        answer.raise_for_status()
        consumers += answer.json()["allocations"]
    return {"servers": servers, "allocations": consumers}


def main() -> int:
    host = sys.argv[1]
    left = leftovers(openstack.connect(), host)
    for what, ids in left.items():
        print(f"{host}: {len(ids)} {what} {' '.join(ids)}".rstrip())
    return int(any(left.values()))


if __name__ == "__main__":
    sys.exit(main())
