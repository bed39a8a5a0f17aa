# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What guests ask of Placement, by Nova's rules."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner.footprint import (
    needs,
    traits,
)
from tests.unit.support import guest

PLAIN = {"DISK_GB": 10, "MEMORY_MB": 2048, "VCPU": 4}
PINNED = {"DISK_GB": 10, "MEMORY_MB": 2048, "PCPU": 4}
DEDICATED = {"hw:cpu_policy": "dedicated"}
MIXED = {"hw:cpu_policy": "mixed"}


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        ({}, PLAIN),
        ({"hw:cpu_policy": "shared"}, PLAIN),
        (DEDICATED, PINNED),
        (DEDICATED | {"hw:emulator_threads_policy": "isolate"}, PINNED | {"PCPU": 5}),
        ({"hw:emulator_threads_policy": "isolate"}, PLAIN),
        (MIXED | {"hw:cpu_dedicated_mask": "2-3"}, PLAIN | {"VCPU": 2, "PCPU": 2}),
        (MIXED | {"hw:cpu_dedicated_mask": "^0"}, PLAIN | {"VCPU": 1, "PCPU": 3}),
        (MIXED | {"hw:cpu_dedicated_mask": "nonsense"}, PINNED),
        ({"resources:VCPU": "2"}, PLAIN | {"VCPU": 2}),
        ({"resources:DISK_GB": "0"}, {"MEMORY_MB": 2048, "VCPU": 4}),
        ({"resources:VGPU": "1"}, PLAIN | {"VGPU": 1}),
        ({"resources1:VGPU": "1", "resources2:VGPU": "2"}, PLAIN | {"VGPU": 3}),
        ({"resources:CUSTOM_BAREMETAL": "soon"}, PLAIN),
    ],
)
def test_needs_are_those_that_nova_asks_for(specs, expected):
    asked = needs(guest(vcpus=4, ram_mib=2048, disk_gib=10, extra_specs=specs))
    assert asked == expected
    assert list(asked) == sorted(asked), "so that guests alike are of one kind"


def test_an_image_may_ask_for_cpus_of_its_own():
    asked = needs(guest(vcpus=2, image_properties={"hw_cpu_policy": "dedicated"}))
    assert (asked.get("PCPU"), asked.get("VCPU")) == (2, None)


def test_traits_come_from_flavor_and_image():
    it = guest(
        extra_specs={"trait:A": "required", "trait:B": "forbidden"},
        image_properties={"trait:C": "required", "hw_machine_type": "q35"},
    )
    assert traits(it, "required") == {"A", "C"}
    assert traits(it, "forbidden") == {"B"}
