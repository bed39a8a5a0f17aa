# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placement's trees as compute nodes."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._errors import Refused
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.placement import (
    Placement,
    free_by_root,
)

PROVIDERS = [
    {"uuid": "root", "root_provider_uuid": "root"},
    {"uuid": "pci", "root_provider_uuid": "root"},
]
HELD = {
    "root": {"g1": {"resources": {"VCPU": 2, "MEMORY_MB": 10}}},
    "pci": {"g1": {"resources": {"CUSTOM_PCI": 1}}, "m1": {"resources": {"CUSTOM_PCI": 1}}},
}


class FakeApi:
    """A compute node with a nested provider."""

    def __init__(self):
        self.asked = []

    def get(self, path, params=None, *, microversion=None):
        self.asked.append(path)
        if path == "/resource_providers":
            return {"resource_providers": PROVIDERS}
        if path.startswith("/resource_providers/"):
            return {"allocations": HELD[path.split("/")[2]]}
        return {
            "allocations": {provider: held["g1"] for provider, held in HELD.items() if "g1" in held}
        }


def test_consumers_of_a_whole_tree():
    assert Placement(FakeApi()).consumers_of("root") == {
        "g1": {"VCPU": 2, "MEMORY_MB": 10, "CUSTOM_PCI": 1},
        "m1": {"CUSTOM_PCI": 1},
    }


def test_allocations_count_for_the_root_and_trees_are_looked_up_once():
    api = FakeApi()
    placement = Placement(api)
    expected = {"root": {"VCPU": 2, "MEMORY_MB": 10, "CUSTOM_PCI": 1}}
    assert placement.allocations_of("g1") == expected
    assert placement.allocations_of("g1") == expected
    assert api.asked.count("/resource_providers") == 1


def test_free_room_is_summed_over_the_tree():
    def summary(root, **resources):
        amounts = {
            name: {"capacity": capacity, "used": used}
            for name, (capacity, used) in resources.items()
        }
        return {"root_provider_uuid": root, "resources": amounts}

    summaries = {
        "a": summary("a", MEMORY_MB=(100, 30), VCPU=(8, 8)),
        "a1": summary("a", PCPU=(4, 1)),
        "a2": summary("a", PCPU=(4, 2)),
        "b": summary("b", MEMORY_MB=(50, 0)),
    }
    assert free_by_root(summaries) == {
        "a": {"MEMORY_MB": 70, "VCPU": 0, "PCPU": 5},
        "b": {"MEMORY_MB": 50},
    }


class Offering:
    """Offers two nodes, one of which takes its disk from shared storage."""

    def __init__(self, status=0):
        self.status, self.queries = status, []

    def get(self, path, params=None, *, microversion=None):
        assert path == "/allocation_candidates"
        self.queries.append(params)
        if self.status:
            raise Refused("no such trait", status=self.status)
        roots = {"a": "a", "a1": "a", "b": "b", "nfs": "nfs"}
        return {
            "allocation_requests": [
                {"allocations": {"a": {}, "a1": {}}},
                {"allocations": {"b": {}, "nfs": {}}},
            ],
            "provider_summaries": {each: {"root_provider_uuid": r} for each, r in roots.items()},
        }


def test_candidates_are_asked_for_what_a_node_has_itself():
    api = Offering()
    held = {"VCPU": 2, "MEMORY_MB": 512, "CUSTOM_PCI_8086": 1, "DISK_GB": 0}
    found = Placement(api).candidates(held, ("CUSTOM_GOLD", "!CUSTOM_OLD"), ("agg-1", "agg-2"))
    assert found == {"a", "b", "nfs"}
    assert api.queries == [
        {
            "resources": "MEMORY_MB:512,VCPU:2",
            "required": "CUSTOM_GOLD,!CUSTOM_OLD",
            "member_of": "in:agg-1,agg-2",
        }
    ]


def test_candidates_of_nothing_are_not_asked_for():
    api = Offering()
    assert Placement(api).candidates({"VGPU": 1}) is None
    assert api.queries == []


def test_what_placement_does_not_understand_is_not_known():
    assert Placement(Offering(400)).candidates({"VCPU": 1}, ("CUSTOM_TYPO",)) is None
    with pytest.raises(Refused):
        Placement(Offering(500)).candidates({"VCPU": 1})
