# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest asks of NUMA cells. tests/numa compares the same with Nova."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import numa_model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_request import (
    NumaRequestError,
    request_of,
)

PINNED = {"hw:cpu_policy": "dedicated"}
MIXED = {"hw:cpu_policy": "mixed"}


def asked(specs=(), image=(), vcpus=4, ram_mib=4096, ports=()):
    return request_of(vcpus, ram_mib, dict(specs), dict(image), ports)


# --- what makes a topology ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("specs", "image"),
    [
        ({}, {}),
        ({"hw:cpu_policy": "shared"}, {}),
        ({"resources:VCPU": "4"}, {}),
        ({"hw:cpu_realtime": "no"}, {}),
        ({"hw:mem_page_size": "0"}, {}),
        ({"hw:pmem": " , "}, {}),
        ({"resources:PCPU": "some"}, {}),
        ({"hw:cpu_sockets": "2"}, {"hw_numa_mem.1": "1024"}),
    ],
)
def test_most_guests_have_none(specs, image):
    assert asked(specs, image) == m.GuestNuma(vcpus=4, memory_mib=4096)


@pytest.mark.parametrize(
    ("specs", "image", "expected"),
    [
        ({"hw:numa_nodes": "1"}, {}, ("shared", "")),
        ({}, {"hw_numa_nodes": "1"}, ("shared", "")),
        ({"hw:pmem": "4GB"}, {}, ("shared", "")),
        (PINNED, {}, ("dedicated", "")),
        (PINNED, {"hw_cpu_policy": "shared"}, ("dedicated", "")),
        ({}, {"hw_cpu_policy": "dedicated"}, ("dedicated", "")),
        ({"resources:PCPU": "4"}, {}, ("dedicated", "")),
        ({"resources1:PCPU": "2", "resources2:PCPU": "2"}, {}, ("dedicated", "")),
        (PINNED | {"hw:cpu_thread_policy": "require"}, {}, ("dedicated", "require")),
        (PINNED, {"hw_cpu_thread_policy": "isolate"}, ("dedicated", "isolate")),
        (
            PINNED | {"hw:cpu_thread_policy": "prefer"},
            {"hw_cpu_thread_policy": "require"},
            ("dedicated", "prefer"),
        ),
        (PINNED | {"trait:HW_CPU_HYPERTHREADING": "required"}, {}, ("dedicated", "require")),
        (PINNED | {"trait1:HW_CPU_HYPERTHREADING": "forbidden"}, {}, ("dedicated", "isolate")),
        (PINNED, {"trait:HW_CPU_HYPERTHREADING": "required"}, ("dedicated", "require")),
        (PINNED, {"trait:HW_CPU_HYPERTHREADING": "forbidden"}, ("dedicated", "")),
    ],
)
def test_policies(specs, image, expected):
    found = asked(specs, image)
    assert (found.policy, found.thread_policy) == expected
    pinned = (0, 1, 2, 3) if found.policy == "dedicated" else ()
    floating = () if pinned else (0, 1, 2, 3)
    assert found.cells == (m.GuestCell(0, floating, pinned, 4096),)


def test_emulator_threads_want_a_cpu_more():
    specs = {"resources:PCPU": "5", "hw:emulator_threads_policy": "isolate"}
    assert asked(specs).emulator_threads == "isolate"


@pytest.mark.parametrize(
    ("specs", "image", "pinned"),
    [
        ({"hw:cpu_dedicated_mask": "0-1"}, {}, (0, 1)),
        ({"hw:cpu_dedicated_mask": "^0"}, {}, (1, 2, 3)),
        ({"hw:cpu_realtime": "true", "hw:cpu_realtime_mask": "^0-1"}, {}, (2, 3)),
        (
            {"hw:cpu_realtime": "1", "hw:cpu_realtime_mask": "^0-1"},
            {"hw_cpu_realtime_mask": "2"},
            (2,),
        ),
    ],
)
def test_some_cpus_are_its_own(specs, image, pinned):
    cell = asked(MIXED | specs, image).cells[0]
    assert cell.pinned_cpus == pinned
    assert cell.cpus == tuple(cpu for cpu in range(4) if cpu not in pinned)


def test_realtime_guests_may_pin_all_beside_an_emulator_of_its_own():
    specs = PINNED | {"hw:cpu_realtime": "yes", "hw:emulator_threads_policy": "share"}
    assert asked(specs).cells[0].pinned_cpus == (0, 1, 2, 3)


# --- cells -------------------------------------------------------------------------------


def test_cells_are_even():
    found = asked({"hw:numa_nodes": "2"}).cells
    assert found == (m.GuestCell(0, (0, 1), (), 2048), m.GuestCell(1, (2, 3), (), 2048))


CELLS = {"numa_cpus.0": "0", "numa_mem.0": "1024", "numa_cpus.1": "1-3", "numa_mem.1": "3072"}


@pytest.mark.parametrize("prefix", ["hw:", "hw_"])
def test_cells_are_as_they_are_listed(prefix):
    listed = {f"{prefix}{key}": value for key, value in CELLS.items()}
    specs = {"hw:numa_nodes": "2"}
    found = asked(specs | listed if prefix == "hw:" else specs, listed if prefix == "hw_" else {})
    assert found.cells == (m.GuestCell(0, (0,), (), 1024), m.GuestCell(1, (1, 2, 3), (), 3072))


@pytest.mark.parametrize(
    ("flavor", "image", "expected"),
    [
        ("small", "", m.SMALL_PAGES),
        ("large", "", m.LARGE_PAGES),
        ("any", "", m.ANY_PAGES),
        ("2048", "", 2048),
        ("1GB", "", 1048576),
        ("2MiB", "", 2048),
        ("2Mb", "", 256),
        ("4096B", "", 4),
        ("large", "2048", 2048),
        ("any", "small", m.SMALL_PAGES),
    ],
)
def test_pages(flavor, image, expected):
    given = {"hw_mem_page_size": image} if image else {}
    assert asked({"hw:mem_page_size": flavor}, given).cells[0].page_size_kib == expected


# --- devices and networks ----------------------------------------------------------------


def test_devices_of_a_flavor():
    specs = {"pci_passthrough:alias": "gpu:1, nic:2", "hw:pci_numa_affinity_policy": "required"}
    assert asked(specs).devices == (
        m.PciRequest(1, "gpu", "", "required"),
        m.PciRequest(2, "nic", "", "required"),
    )


def test_the_affinity_is_legacy_by_default_and_may_be_the_images():
    specs = {"pci_passthrough:alias": "gpu:1"}
    assert asked(specs).devices[0].affinity == "legacy"
    image = {"hw_pci_numa_affinity_policy": "socket"}
    assert asked(specs, image).devices[0].affinity == "socket"


def test_ports_want_devices_and_networks():
    ports = (
        m.NumaPort("normal", "physnet0"),
        m.NumaPort("normal", tunnelled=True),
        m.NumaPort("direct", "physnet1", affinity="preferred"),
        m.NumaPort("direct-physical", "physnet1"),
    )
    found = asked({"hw:pci_numa_affinity_policy": "required"}, ports=iter(ports))
    assert (found.networks, found.tunnelled) == (("physnet0", "physnet1"), True)
    assert found.devices == (
        m.PciRequest(1, "", "physnet1", "preferred"),
        m.PciRequest(1, "", "physnet1", "required", "type-PF"),
    )


# --- what Nova refuses -------------------------------------------------------------------

TWO = {"hw:numa_nodes": "2"}


@pytest.mark.parametrize(
    ("specs", "image", "key", "reason"),
    [
        ({"hw:cpu_policy": "pinned"}, {}, "hw:cpu_policy", "is none of dedicated, shared, mixed"),
        ({}, {"hw_cpu_policy": "pinned"}, "hw_cpu_policy", "is none of dedicated"),
        (
            {"hw:cpu_policy": "shared"},
            {"hw_cpu_policy": "dedicated"},
            "hw_cpu_policy",
            "contradicts hw:cpu_policy=shared",
        ),
        (MIXED, {"hw_cpu_policy": "dedicated"}, "hw_cpu_policy", "contradicts"),
        (PINNED | {"hw:cpu_thread_policy": "no"}, {}, "hw:cpu_thread_policy", "is none of"),
        (
            PINNED | {"hw:cpu_thread_policy": "isolate"},
            {"hw_cpu_thread_policy": "require"},
            "hw_cpu_thread_policy",
            "contradicts",
        ),
        ({"hw:cpu_thread_policy": "require"}, {}, "hw:cpu_thread_policy", "needs CPUs of its own"),
        (
            {"hw:emulator_threads_policy": "isolate"},
            {},
            "hw:emulator_threads_policy",
            "needs CPUs of its own",
        ),
        (PINNED | {"resources:PCPU": "4"}, {}, "resources:PCPU", "contradicts hw:cpu_policy"),
        (PINNED | {"resources:VCPU": "4"}, {}, "resources:VCPU", "contradicts hw:cpu_policy"),
        ({"resources:VCPU": "1", "resources:PCPU": "4"}, {}, "resources:VCPU", "contradicts"),
        ({"resources:PCPU": "3"}, {}, "resources:PCPU", "must be 4"),
        (
            {"resources:PCPU": "4", "hw:emulator_threads_policy": "isolate"},
            {},
            "resources:PCPU",
            "must be 5",
        ),
        (
            PINNED | {"trait:HW_CPU_HYPERTHREADING": "required", "hw:cpu_thread_policy": "prefer"},
            {},
            "trait:HW_CPU_HYPERTHREADING",
            "contradicts",
        ),
        (PINNED | {"hw:cpu_dedicated_mask": "0"}, {}, "hw:cpu_dedicated_mask", "is for hw:cpu_pol"),
        (MIXED | {"hw:cpu_dedicated_mask": "0-3"}, {}, "hw:cpu_dedicated_mask", "must leave some"),
        (MIXED | {"hw:cpu_dedicated_mask": "1-9"}, {}, "hw:cpu_dedicated_mask", "has vCPU 9"),
        (MIXED | {"hw:cpu_dedicated_mask": "x"}, {}, "hw:cpu_dedicated_mask", "cannot be read"),
        (MIXED, {}, "hw:cpu_policy", "needs hw:cpu_dedicated_mask or a realtime mask"),
        (PINNED | {"hw:cpu_realtime": "1"}, {}, "hw:cpu_realtime_mask", "leaves no vCPU for the"),
        (
            PINNED | {"hw:cpu_realtime": "1", "hw:cpu_realtime_mask": "^0-3"},
            {},
            "hw:cpu_realtime_mask",
            "has no vCPU in it",
        ),
        (
            {"hw:cpu_realtime": "1", "hw:cpu_realtime_mask": "^0"},
            {},
            "hw:cpu_realtime",
            "needs CPUs of its own",
        ),
        ({"hw:numa_nodes": "two"}, {}, "hw:numa_nodes", "cannot be read"),
        ({"hw:numa_nodes": "02"}, {}, "hw:numa_nodes", "is no number of cells"),
        ({}, {"hw_numa_nodes": "0"}, "hw_numa_nodes", "is no number of cells"),
        (TWO, {"hw_numa_nodes": "2"}, "hw_numa_nodes", "contradicts hw:numa_nodes=2"),
        ({"hw:numa_nodes": "3"}, {}, "hw:numa_nodes", "does not divide the 4 vCPUs"),
        (TWO | {"hw:numa_cpus.0": "0"}, {}, "hw:numa_cpus.0", "must come with the other"),
        (TWO | {"hw:numa_mem.0": "1024"}, {}, "hw:numa_mem.0", "must come with the other"),
        ({}, {"hw_numa_mem.0": "much"}, "hw_numa_mem.0", "cannot be read"),
        (
            TWO | {"hw:numa_cpus.0": "0-3", "hw:numa_mem.0": "4096"},
            {},
            "hw:numa_cpus.0",
            "is one of 1, but the guest has 2 cells",
        ),
        (
            TWO | {f"hw:{key}": value for key, value in CELLS.items()},
            {"hw_numa_cpus.0": "0"},
            "hw_numa_cpus.0",
            "contradicts hw:numa_cpus.0=0",
        ),
        (
            TWO | {f"hw:{key}": value for key, value in (CELLS | {"numa_cpus.1": "0-3"}).items()},
            {},
            "hw:numa_cpus.1",
            "has vCPU 0 of another cell",
        ),
        (
            TWO | {f"hw:{key}": value for key, value in (CELLS | {"numa_cpus.1": "1-4"}).items()},
            {},
            "hw:numa_cpus.1",
            "has vCPU 4, the last one is 3",
        ),
        (
            TWO | {f"hw:{key}": value for key, value in (CELLS | {"numa_cpus.1": "1-2"}).items()},
            {},
            "hw:numa_cpus.0",
            "leave out vCPU 3",
        ),
        (
            TWO | {f"hw:{key}": value for key, value in (CELLS | {"numa_mem.1": "1"}).items()},
            {},
            "hw:numa_mem.0",
            "make 1025 MiB, the flavor has 4096",
        ),
        ({"hw:mem_page_size": "huge"}, {}, "hw:mem_page_size", "cannot be read"),
        ({}, {"hw_mem_page_size": "2048"}, "hw_mem_page_size", "needs hw:mem_page_size=large"),
        (
            {"hw:mem_page_size": "2048"},
            {"hw_mem_page_size": "2048"},
            "hw_mem_page_size",
            "contradicts",
        ),
        ({"hw:locked_memory": "true"}, {}, "hw:locked_memory", "needs hw:mem_page_size"),
        ({}, {"hw_locked_memory": "true"}, "hw_locked_memory", "needs hw:mem_page_size"),
        (
            {"hw:locked_memory": "no"},
            {"hw_locked_memory": "yes"},
            "hw_locked_memory",
            "contradicts",
        ),
        ({"pci_passthrough:alias": "gpu"}, {}, "pci_passthrough:alias", "has 'gpu'; write it as"),
        ({"pci_passthrough:alias": "gpu:0"}, {}, "pci_passthrough:alias", "has 'gpu:0'"),
        ({"pci_passthrough:alias": ""}, {}, "pci_passthrough:alias", "has ''"),
        (
            {"hw:pci_numa_affinity_policy": "near"},
            {},
            "hw:pci_numa_affinity_policy",
            "is none of required",
        ),
        (
            {"hw:pci_numa_affinity_policy": "legacy"},
            {"hw_pci_numa_affinity_policy": "socket"},
            "hw_pci_numa_affinity_policy",
            "contradicts",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(specs, image, key, reason):
    with pytest.raises(NumaRequestError) as caught:
        asked(specs, image)
    assert caught.value.key == key
    assert reason in caught.value.reason
    assert str(caught.value) == f"{key}: {caught.value.value!r} {caught.value.reason}"
    assert all(isinstance(text, str) for text in (caught.value.key, caught.value.value))


def test_locked_memory_beside_pages_is_fine():
    assert asked({"hw:locked_memory": "true", "hw:mem_page_size": "large"}).cells
