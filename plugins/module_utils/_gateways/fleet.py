# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""A whole cloud in a few calls: all hosts with their room, all guests, page by page.

This module util is **PRIVATE** to the collection: it may change without notice.
The number of calls grows with Nova's pages (``[api] max_limit``, 1000 rows), and with nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import (
    Api,
    Json,
    Session,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.nova import Nova
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.placement import (
    free_by_root,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Group,
    Guest,
    Room,
    Service,
)

#: 2.53 names hosts by UUID, 2.88 leaves out what Placement knows better.
HYPERVISORS = "2.53"
AGGREGATES = "2.53"
#: Summaries hold whole provider trees, and their traits.
PLACEMENT = "1.29"


class Fleet:
    """Reads of one cloud as a whole."""

    def __init__(self, compute: Api, placement: Api) -> None:
        self._compute = compute
        self._placement = placement
        self._nova = Nova(compute)

    @cached_property
    def aggregates(self) -> Mapping[str, tuple[str, ...]]:
        """Name of each host aggregate -> its hosts."""
        body = self._compute.get("/os-aggregates", microversion=AGGREGATES)
        return {raw["name"]: tuple(raw["hosts"]) for raw in body["aggregates"]}

    def groups(self) -> tuple[Group, ...]:
        """Every server group with its members."""
        return self._nova.groups()

    def guests(self) -> Iterator[Guest]:
        """Every guest of the cloud; memory holds one page of them."""
        for page in self._nova.guest_pages():
            yield from page

    def rooms(self) -> tuple[Room, ...]:
        """Every compute host, sorted by name. What Placement does not list has no memory left."""
        nodes = {
            node["service"]["host"]: node
            for node in self._compute.list(
                "/os-hypervisors/detail", "hypervisors", microversion=HYPERVISORS
            )
        }
        body = self._placement.get(
            "/allocation_candidates", {"resources": "MEMORY_MB:1"}, microversion=PLACEMENT
        )
        summaries = body["provider_summaries"]
        free, traits = free_by_root(summaries), traits_by_root(summaries)
        of_host = defaultdict(list)
        for name, hosts in self.aggregates.items():
            for host in hosts:
                of_host[host].append(name)
        return tuple(
            room_from(service, nodes.get(service.host, {}), free, traits, of_host[service.host])
            for service in sorted(self._nova.services(), key=lambda service: service.host)
        )


def room_from(
    service: Service,
    node: Json,
    free: Mapping[str, Mapping[str, int]],
    traits: Mapping[str, frozenset[str]],
    aggregates: list[str],
) -> Room:
    """A host, of what three APIs say of it. ``free`` and ``traits``: by root provider."""
    root = node.get("id", "")
    why = unusable(service) or ("" if node else "no_compute_node")
    return Room(
        host=service.host,
        free=free.get(root, {}),
        availability_zone=service.availability_zone,
        usable=not why,
        unusable=why,
        aggregates=tuple(sorted(aggregates)),
        traits=tuple(sorted(traits.get(root, ()))),
        hypervisor_type=node.get("hypervisor_type") or "",
        hypervisor_version=node.get("hypervisor_version") or 0,
    )


def unusable(service: Service) -> str:
    """Why a host takes no guests now: forced_down, down, disabled; "" when it does."""
    if service.forced_down:
        return "forced_down"
    if not service.up:
        return "down"
    return "" if service.enabled else "disabled"


def traits_by_root(summaries: Mapping[str, Json]) -> dict[str, frozenset[str]]:
    """Root provider -> the traits of its tree."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for summary in summaries.values():
        found[summary["root_provider_uuid"]].update(summary["traits"])
    return {root: frozenset(traits) for root, traits in found.items()}


def open_fleet(session: Session) -> Fleet:
    """The cloud that the session is signed in to."""
    return Fleet(session.api("compute"), session.api("placement"))
