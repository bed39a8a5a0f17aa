# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Placement's API: who holds what, where, and what is still free.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from ansible_collections.lowtide.compute.plugins.module_utils._errors import Refused
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import Api

#: Summaries hold whole provider trees (1.29), and allocations name their generation (1.28).
MICROVERSION = "1.29"

#: Classes of which a libvirt compute node has the inventory itself.
OF_THE_NODE = frozenset({"VCPU", "PCPU", "MEMORY_MB", "DISK_GB"})

Resources = Mapping[str, int]


class Placement:
    """The placement API, in compute nodes: a tree of providers counts as its root."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._roots: dict[str, str] = {}

    def summaries(self) -> Mapping[str, dict]:
        """Provider -> root, traits, and capacity and usage by resource class. One call.

        In trees with memory left.
        """
        query = {"resources": "MEMORY_MB:1"}
        body = self._api.get("/allocation_candidates", query, microversion=MICROVERSION)
        return body["provider_summaries"]

    def candidates(
        self, resources: Resources, required: Sequence[str] = (), member_of: Sequence[str] = ()
    ) -> frozenset[str] | None:
        """Root providers that could be allocated this; None when Placement cannot say.

        Of ``resources`` those that a compute node itself has: devices are asked for one by one,
        which one request for all would not tell. ``required``: traits, with ``!`` forbidden ones.
        ``member_of``: aggregates, one of which is enough.
        """
        own = {name: amount for name, amount in resources.items() if name in OF_THE_NODE and amount}
        if not own:
            return None
        query = {"resources": ",".join(f"{name}:{n}" for name, n in sorted(own.items()))}
        if required:
            query["required"] = ",".join(required)
        if member_of:
            query["member_of"] = "in:" + ",".join(member_of)
        try:
            body = self._api.get("/allocation_candidates", query, microversion=MICROVERSION)
        except Refused as refusal:
            if refusal.status != 400:
                raise
            # A trait that this Placement has never heard of, for one.
            return None
        summaries = body["provider_summaries"]
        return frozenset(
            summaries[provider]["root_provider_uuid"]
            for request in body["allocation_requests"]
            for provider in request["allocations"]
        )

    def consumers_of(self, root: str) -> dict[str, dict[str, int]]:
        """Consumer -> resource class -> amount, over the provider tree of ``root``."""
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for provider in self._tree(root):
            body = self._api.get(
                f"/resource_providers/{provider}/allocations", microversion=MICROVERSION
            )
            for consumer, allocation in body["allocations"].items():
                found[consumer].update(allocation["resources"])
        return {consumer: dict(resources) for consumer, resources in found.items()}

    def allocations_of(self, consumer: str) -> dict[str, dict[str, int]]:
        """Root provider -> resource class -> amount that ``consumer`` holds there."""
        body = self._api.get(f"/allocations/{consumer}", microversion=MICROVERSION)
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for provider, allocation in body["allocations"].items():
            found[self._root_of(provider)].update(allocation["resources"])
        return {root: dict(resources) for root, resources in found.items()}

    def _tree(self, root: str) -> list[str]:
        return [provider["uuid"] for provider in self._providers({"in_tree": root})]

    def _root_of(self, provider: str) -> str:
        if provider not in self._roots:
            self._providers({"in_tree": provider})
        return self._roots.get(provider, provider)

    def _providers(self, query: Mapping[str, str]) -> list[dict]:
        body = self._api.get("/resource_providers", query, microversion=MICROVERSION)
        providers = body["resource_providers"]
        self._roots.update((p["uuid"], p["root_provider_uuid"]) for p in providers)
        return providers


def free_by_root(summaries: Mapping[str, dict]) -> dict[str, dict[str, int]]:
    """Sum ``provider_summaries`` of allocation candidates over each tree."""
    free: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for summary in summaries.values():
        for resource, amount in summary["resources"].items():
            free[summary["root_provider_uuid"]][resource] += amount["capacity"] - amount["used"]
    return {root: dict(resources) for root, resources in free.items()}


def traits_by_root(summaries: Mapping[str, dict]) -> dict[str, frozenset[str]]:
    """Root provider -> the traits of its tree."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for summary in summaries.values():
        found[summary["root_provider_uuid"]].update(summary["traits"])
    return {root: frozenset(traits) for root, traits in found.items()}
