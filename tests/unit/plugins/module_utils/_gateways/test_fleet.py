# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole cloud, put together of a few lists."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.fleet import Fleet
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.rooms import unusable
from tests.unit.support import service

SERVICES = [
    {"id": f"s{n}", "host": f"cmp-{n}", "status": "enabled", "state": "up", "zone": "east"}
    for n in (2, 1, 3)
]
NODES = [
    {
        "id": f"n{n}",
        "service": {"host": f"cmp-{n}"},
        "hypervisor_type": "QEMU",
        "hypervisor_version": 8002000,
    }
    for n in (1, 2)
]
AGGREGATES = [{"name": "ssd", "hosts": ["cmp-1"]}, {"name": "east", "hosts": ["cmp-2", "cmp-1"]}]
SUMMARIES = {
    "n1": {
        "root_provider_uuid": "n1",
        "resources": {"MEMORY_MB": {"capacity": 100, "used": 30}},
        "traits": ["HW_A"],
    },
    "gpu": {
        "root_provider_uuid": "n1",
        "resources": {"VGPU": {"capacity": 2, "used": 0}},
        "traits": ["HW_B"],
    },
}


class FakeApi:
    """Answers by path, and remembers what was asked."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def get(self, path, params=None, *, microversion=None):
        self.asked.append(path)
        return self.answers[path]

    def list(self, path, key, params=None, *, microversion=None):
        return self.get(path)[key]


@pytest.fixture
def compute():
    return FakeApi(
        {
            "/os-services": {"services": SERVICES},
            "/os-hypervisors/detail": {"hypervisors": NODES},
            "/os-aggregates": {"aggregates": AGGREGATES},
        }
    )


@pytest.fixture
def fleet(compute):
    return Fleet(compute, FakeApi({"/allocation_candidates": {"provider_summaries": SUMMARIES}}))


def test_a_room_is_what_three_apis_say_of_a_host(fleet):
    first = fleet.rooms()[0]
    assert (first.host, first.availability_zone, first.usable) == ("cmp-1", "east", True)
    assert first.free == {"MEMORY_MB": 70, "VGPU": 2}
    assert first.traits == ("HW_A", "HW_B")
    assert first.aggregates == ("east", "ssd")
    assert (first.hypervisor_type, first.hypervisor_version) == ("QEMU", 8002000)


def test_a_host_that_placement_does_not_list_is_full(fleet):
    second = fleet.rooms()[1]
    assert (second.host, second.free, second.usable) == ("cmp-2", {}, True)


def test_a_host_without_a_compute_node_takes_nothing(fleet):
    third = fleet.rooms()[2]
    assert (third.host, third.unusable) == ("cmp-3", "no_compute_node")


def test_aggregates_are_asked_for_once(fleet, compute):
    fleet.rooms()
    assert fleet.aggregates["ssd"] == ("cmp-1",)
    assert compute.asked.count("/os-aggregates") == 1


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, ""),
        ({"enabled": False}, "disabled"),
        ({"up": False, "enabled": False}, "down"),
        ({"forced_down": True, "up": False}, "forced_down"),
    ],
)
def test_why_a_host_takes_no_guests(fields, why):
    assert unusable(service(**fields)) == why
