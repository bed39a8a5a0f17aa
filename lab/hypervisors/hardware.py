# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processors and memory cells that a host pretends to have, in a /sys of its own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from lab.scenario import Host

LIBRARY = "/usr/lib/lab/placement.so"
SYSTEM = "/sys/devices/system"
KIB_PER_MIB = 1024
NEAR, FAR = 10, 21
HUGE_PAGES = ("hugepages-2048kB", "hugepages-1048576kB")


def binds(directory: Path, host: Host, library: Path) -> dict[str, Path]:
    """Write what a host shall see below a directory, and return it by the path to see it at.

    ``library``: the directory of `images.pretence`.
    """
    shutil.rmtree(directory, ignore_errors=True)
    for path, text in _tree(host).items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    for cpu in range(host.cpus):
        cell = cpu // (host.cpus // host.numa_cells)
        (directory / f"node/node{cell}/cpu{cpu}").symlink_to(f"../../cpu/cpu{cpu}")
    seen = {f"{SYSTEM}/{part}": directory / part for part in ("cpu", "node")}
    return {**seen, str(Path(LIBRARY).parent): library}


def environment(pretends: bool) -> Mapping[str, str]:
    """Return what libvirtd needs in its environment; it passes it on to QEMU."""
    return {"LD_PRELOAD": LIBRARY} if pretends else {}


def _tree(host: Host) -> dict[str, str]:
    """Return the files of both directories, by their path."""
    cells = range(host.numa_cells)
    everything, last = f"0-{host.cpus - 1}", host.numa_cells - 1
    files = {f"cpu/{name}": everything for name in ("online", "possible", "present")}
    files |= {"cpu/offline": "", "cpu/kernel_max": str(host.cpus - 1)}
    listed = f"0-{last}" if last else "0"
    for name in ("online", "possible", "has_cpu", "has_memory", "has_normal_memory"):
        files[f"node/{name}"] = listed
    for cell in cells:
        files |= _cell(host, cell)
    for cpu in range(host.cpus):
        files |= _processor(host, cpu)
    return files


def _cell(host: Host, cell: int) -> dict[str, str]:
    size = host.cpus // host.numa_cells
    cpus = range(cell * size, (cell + 1) * size)
    total = host.memory_mib // host.numa_cells * KIB_PER_MIB
    amounts = {"MemTotal": total, "MemFree": total, "MemUsed": 0}
    memory = [f"Node {cell} {name}: {kib} kB" for name, kib in amounts.items()]
    memory += [f"Node {cell} HugePages_{name}: 0" for name in ("Total", "Free", "Surp")]
    distances = [NEAR if other == cell else FAR for other in range(host.numa_cells)]
    base = f"node/node{cell}"
    files = {
        f"{base}/cpulist": f"{cpus[0]}-{cpus[-1]}",
        f"{base}/cpumap": _mask(cpus),
        f"{base}/distance": " ".join(map(str, distances)),
        f"{base}/meminfo": "\n".join(memory),
    }
    for pages in HUGE_PAGES:
        for name in ("nr_hugepages", "free_hugepages", "surplus_hugepages"):
            files[f"{base}/hugepages/{pages}/{name}"] = "0"
    return files


def _processor(host: Host, cpu: int) -> dict[str, str]:
    size, threads = host.cpus // host.numa_cells, host.threads_per_core
    first = cpu // threads * threads
    siblings = range(first, first + threads)
    listed = f"{first}-{siblings[-1]}" if threads > 1 else str(first)
    base = f"cpu/cpu{cpu}/topology"
    files = {
        f"{base}/physical_package_id": str(cpu // size),
        f"{base}/die_id": "0",
        f"{base}/core_id": str(cpu % size // threads),
        f"{base}/thread_siblings_list": listed,
        f"{base}/core_cpus_list": listed,
        f"{base}/thread_siblings": _mask(siblings),
        f"{base}/core_cpus": _mask(siblings),
    }
    if cpu:
        # The first cannot be taken off line, which the kernel says by not having the file.
        files[f"cpu/cpu{cpu}/online"] = "1"
    return files


def _mask(cpus: range) -> str:
    """Return a CPU mask as the kernel prints it: words of 32 bits, the highest first."""
    digits = f"{sum(1 << cpu for cpu in cpus):x}"
    padded = digits.zfill(-(-len(digits) // 8) * 8)
    return ",".join(padded[start : start + 8] for start in range(0, len(padded), 8))
