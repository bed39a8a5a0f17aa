# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Hosts with what they have room for, put together of what Nova and Placement list.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import Json
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.placement import (
    free_by_root,
    traits_by_root,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Room,
    Service,
)


def rooms_from(
    services: Iterable[Service],
    nodes: Iterable[Json],
    aggregates: Iterable[Json],
    summaries: Mapping[str, Json],
) -> tuple[Room, ...]:
    """A room for each service, in their order. What Placement does not list has no memory left.

    ``nodes``, ``aggregates``: of Nova; ``summaries``: of Placement.
    """
    free, traits = free_by_root(summaries), traits_by_root(summaries)
    node_of = {node["service"]["host"]: node for node in nodes}
    within: defaultdict[str, list[str]] = defaultdict(list)
    for aggregate in aggregates:
        for host in aggregate["hosts"]:
            within[host].append(aggregate["name"])
    return tuple(
        _room(service, node_of.get(service.host, {}), free, traits, within[service.host])
        for service in services
    )


def _room(
    service: Service,
    node: Json,
    free: Mapping[str, Mapping[str, int]],
    traits: Mapping[str, frozenset[str]],
    aggregates: list[str],
) -> Room:
    """A host, of what three APIs say of it. ``free`` and ``traits``: by root provider."""
    root = node.get("id", "")
    return Room(
        host=service.host,
        free=free.get(root, {}),
        availability_zone=service.availability_zone,
        unusable=unusable(service) or ("" if node else "no_compute_node"),
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
