# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts and guests of all kinds, the same ones for the same seed, and flavors and images."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from ansible_collections.lowtide.compute.plugins.module_utils._planner import numa_model as m

SMALL, LARGE, HUGE = 4, 2048, 1048576
#: Alias -> the properties of its devices.
ALIASES = {
    "gpu": {"vendor_id": "10de", "product_id": "1db4", "dev_type": "type-PCI"},
    "nic": {"vendor_id": "8086", "product_id": "154c", "dev_type": "type-VF"},
    "card": {"vendor_id": "8086", "product_id": "1572", "dev_type": "type-PF"},
}
NETWORKS = ("physnet0", "physnet1")


# --- hosts -------------------------------------------------------------------------------


def host(random: Random, most: int = 8) -> m.HostNuma:
    """A host of 1 to ``most`` cells, used by guests that are there already."""
    count = random.choice([n for n in (1, 2, 2, 2, 3, 4, 4, 6, 8) if n <= most])
    cores, threads = random.choice((2, 4, 8, 8)), random.choice((1, 2, 2, 4))
    sets = random.choice(("one", "one", "one", "split", "split", "dedicated", "shared"))
    pages = random.choice(((), (SMALL,), (SMALL, LARGE), *[(SMALL, LARGE, HUGE)] * 3))
    sockets = random.choice((1, 2, count, None))
    gap = random.choice((1, 1, 1, 1, 2))
    cells = tuple(
        _cell(random, number * gap, _groups(number, count, cores, threads), sets, pages)
        for number in range(count)
    )
    if sockets:
        cells = tuple(replace(cell, socket=cell.id * sockets // (count * gap)) for cell in cells)
    return m.HostNuma(
        host="host",
        cells=cells,
        cpu_allocation_ratio=random.choice((None, 1.0, 1.5, 4.0)),
        ram_allocation_ratio=random.choice((None, 1.0, 1.5)),
        devices=_devices(random, cells),
        pack_cells=random.random() < 0.4,
    )


def _groups(number: int, count: int, cores: int, threads: int) -> tuple[tuple[int, ...], ...]:
    """Threads of a core are numbered apart, as Linux does it."""
    first = number * cores
    return tuple(
        tuple(core + thread * cores * count for thread in range(threads))
        for core in range(first, first + cores)
    )


def _cell(
    random: Random, number: int, groups: tuple[tuple[int, ...], ...], sets: str, sizes: tuple
) -> m.HostCell:
    cpus = [cpu for group in groups for cpu in group]
    own = {"one": cpus, "dedicated": cpus, "shared": []}.get(sets, cpus[len(groups[0]) :])
    floating = {"one": cpus, "shared": cpus, "dedicated": []}.get(sets, cpus[: len(groups[0])])
    busy = random.choice((0.0, 0.0, 0.0, 0.2, 0.4, 0.8))
    memory = random.choice((4096, 8192, 8192, 16384))
    return m.HostCell(
        id=number,
        shared_cpus=tuple(sorted(floating)),
        dedicated_cpus=tuple(sorted(own)),
        pinned_cpus=tuple(sorted(cpu for cpu in own if random.random() < busy)),
        siblings=groups,
        memory_mib=memory,
        memory_used_mib=random.choice((0, 0, 0, 1024, 2048, memory // 2, memory)),
        cpu_usage=random.choice((0, 0, 0, 1, 2, len(cpus))) if floating else 0,
        pages=tuple(_pages(random, size, memory) for size in sizes),
        networks=tuple(name for name in NETWORKS if random.random() < 0.25),
        tunnelled=random.random() < 0.25,
    )


def _pages(random: Random, size: int, memory_mib: int) -> m.Pages:
    share = random.choice((0.25, 0.5, 1.0, 1.0))
    total = int(memory_mib * share) * 1024 // size
    return m.Pages(
        size_kib=size,
        total=total,
        used=random.choice((0, 0, 0, 0, total // 4, total // 2, total)),
        reserved=random.choice((0, 0, 0, 0, total // 4)),
    )


def _devices(random: Random, cells: tuple[m.HostCell, ...]) -> tuple[m.PciDevice, ...] | None:
    if random.random() < 0.3:
        return random.choice((None, ()))
    return tuple(
        _device(random, number, random.choice((None, *(cell.id for cell in cells))))
        for number in range(random.randint(1, 8))
    )


def _device(random: Random, number: int, cell: int | None) -> m.PciDevice:
    alias = random.choice(list(ALIASES))
    given = ALIASES[alias]
    return m.PciDevice(
        address=f"0000:{number:02x}:00.0",
        cell=cell,
        vendor_id=given["vendor_id"],
        product_id=given["product_id"],
        kind=given["dev_type"],
        aliases=(alias,),
        physical_network=random.choice(("", *NETWORKS)) if alias != "gpu" else "",
        guest=random.choice(("", "", "", "other")),
    )


# --- guests ------------------------------------------------------------------------------


def guest(random: Random, most: int = 4) -> m.GuestNuma:
    """A guest of 1 to ``most`` cells, all alike or each of its own kind."""
    count = random.choice([n for n in (1, 1, 1, 1, 2, 2, 2, 2, 3, 4, 8) if n <= most])
    policy = random.choice(("shared", "shared", "dedicated", "dedicated", "mixed"))
    alike = random.random() < 0.6
    size = random.choice((0, 0, 0, 0, SMALL, LARGE, LARGE, LARGE, HUGE, -1, -2, -2, -3))
    pins = policy != "shared"
    sizes = [_size(random) for _cell in range(count)]
    cells, first = [], 0
    for number in range(count):
        many, memory = sizes[0] if alike else sizes[number]
        cpus = tuple(range(first, first + many))
        own = {"shared": 0, "dedicated": many}.get(policy, random.randint(0, many))
        cells.append(m.GuestCell(number, cpus[own:], cpus[:own], memory, size))
        first += many
    return m.GuestNuma(
        cells=tuple(cells),
        policy=policy,
        thread_policy=random.choice(("", "", "prefer", "isolate", "require")) if pins else "",
        emulator_threads=random.choice(("", "", "share", "isolate")) if pins else "",
        devices=_requests(random) if random.random() < 0.25 else (),
        networks=tuple(name for name in NETWORKS if random.random() < 0.15),
        tunnelled=random.random() < 0.15,
        vcpus=first,
        memory_mib=sum(cell.memory_mib for cell in cells),
    )


def _size(random: Random) -> tuple[int, int]:
    return random.choice((1, 1, 2, 2, 2, 3, 4, 6)), random.choice(
        (512, 1024, 1024, 1024, 2048, 4096, 1025)
    )


def _requests(random: Random) -> tuple[m.PciRequest, ...]:
    return tuple(_request(random) for _request_ in range(random.choice((1, 1, 2))))


def _request(random: Random) -> m.PciRequest:
    affinity = random.choice(("legacy", "legacy", "required", "preferred", "socket"))
    if random.random() < 0.3:
        network = random.choice(("", *NETWORKS))
        return m.PciRequest(1, "", network, affinity, random.choice(("", "", "type-PF")))
    return m.PciRequest(random.choice((1, 1, 2)), random.choice(list(ALIASES)), "", affinity)


# --- flavors and images ------------------------------------------------------------------

SPECS = {
    "hw:numa_nodes": ("1", "2", "2", "4", "3", "0", "two", "02"),
    "hw:cpu_policy": ("dedicated", "dedicated", "shared", "mixed", "pinned"),
    "hw:cpu_thread_policy": ("prefer", "isolate", "require", "never"),
    "hw:cpu_dedicated_mask": ("0-1", "^0", "^0-1", "0,2-3", "0-99", "0-7", "x", "^0-7"),
    "hw:cpu_realtime": ("yes", "true", "no", "1"),
    "hw:cpu_realtime_mask": ("^0", "^0-1", "2-3", "0-99", "^0-7", "a-b"),
    "hw:emulator_threads_policy": ("share", "isolate", "share", "own"),
    "hw:mem_page_size": (
        "small",
        "large",
        "any",
        "2048",
        "1GB",
        "2MB",
        "2M",
        "0",
        "1.5KB",
        "8192b",
    ),
    "hw:locked_memory": ("true", "false"),
    "hw:pmem": ("4GB", " , ", "a,b"),
    "hw:numa_cpus.0": ("0-1", "0,2", "0-3", "0-7", "0-x", "9"),
    "hw:numa_cpus.1": ("2-3", "1,3", "4-7", "3-2"),
    "hw:numa_mem.0": ("1024", "2048", "4096", "much"),
    "hw:numa_mem.1": ("1024", "2048", "3072"),
    "resources:PCPU": ("4", "8", "5", "some"),
    "resources1:VCPU": ("4", "1"),
    "trait:HW_CPU_HYPERTHREADING": ("required", "forbidden", "preferred"),
}
PROPERTIES = {
    "hw_numa_nodes": ("1", "2", "4", "0", "two"),
    "hw_cpu_policy": ("dedicated", "shared", "mixed", "pinned"),
    "hw_cpu_thread_policy": ("prefer", "isolate", "require", "never"),
    "hw_cpu_realtime_mask": ("^0", "^0-1", "0-99"),
    "hw_mem_page_size": ("small", "large", "2048", "1GB", "1QB", "many"),
    "hw_locked_memory": ("true", "false"),
    "hw_numa_cpus.0": ("0-1", "0-3", "0-7", "0-x"),
    "hw_numa_cpus.1": ("2-3", "4-7"),
    "hw_numa_mem.0": ("2048", "4096", "much"),
    "hw_numa_mem.1": ("2048", "1024"),
    "trait:HW_CPU_HYPERTHREADING": ("required", "forbidden"),
}


def flavor_and_image(random: Random) -> tuple[int, int, dict[str, str], dict[str, str]]:
    """vCPUs, MiB, extra specs, image properties: few of each, so that many make sense."""

    def some(of: dict[str, tuple[str, ...]], most: int) -> dict[str, str]:
        keys = random.sample(list(of), random.randint(0, most))
        # What makes sense comes first, and more often.
        return {key: of[key][int(len(of[key]) * random.random() ** 2)] for key in keys}

    specs, image = some(SPECS, 4), some(PROPERTIES, 1)
    if random.random() < 0.2:
        cells = {f"hw:numa_{what}.{cell}" for what in ("cpus", "mem") for cell in (0, 1)}
        specs |= {key: random.choice(SPECS[key][:3]) for key in cells} | {"hw:numa_nodes": "2"}
    return random.choice((4, 4, 8)), random.choice((4096, 4096, 2048)), specs, image
