# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What guests use of a host's cells, by their domains, as Nova counts it.

This module util is **PRIVATE** to the collection: it may change without notice.
Nova counts from its own records (nova/virt/hardware.py: numa_usage_from_instance_numa), from which
it has written the domains.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_domain import (
    DomainCell,
    DomainNuma,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    HostCell,
    Pages,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_sets import (
    cpu_set,
    cpu_text,
)


@dataclass(frozen=True, slots=True)
class Use:
    """The cells with what is used of them. ``unseen``: a phrase for each doubt."""

    cells: tuple[HostCell, ...]
    unseen: tuple[str, ...] = ()


def counted(domain: DomainNuma) -> bool:
    """Whether Nova counts it: a guest of its own with a NUMA topology."""
    return domain.nova and bool(domain.cells)


def use(cells: Iterable[HostCell], domains: Iterable[DomainNuma]) -> Use:
    """Take what the domains have from the cells."""
    left = {cell.id: cell for cell in cells}
    unseen: list[str] = []
    for domain in filter(counted, domains):
        for part in domain.cells:
            cell = left.get(part.host_cell) if part.host_cell is not None else None
            if cell is None:
                unseen.append(f"which of the host's cells cell {part.id} of {domain.name} has")
                continue
            unseen += _doubts(domain, part, cell)
            left[cell.id] = _taken(domain, part, cell)
    return Use(tuple(left.values()), tuple(unseen))


def _taken(domain: DomainNuma, part: DomainCell, cell: HostCell) -> HostCell:
    pins = _pins(domain, part, cell)
    own = (pins | _reserved(domain)) & set(cell.dedicated_cpus)
    if domain.wish("cpu_thread_policy") == "isolate":
        own |= {cpu for group in cell.siblings if own & set(group) for cpu in group}
    return replace(
        cell,
        pinned_cpus=tuple(sorted(own | set(cell.pinned_cpus))),
        cpu_usage=cell.cpu_usage + len(part.cpus) - len(pins),
        memory_used_mib=cell.memory_used_mib + part.memory_mib,
        pages=_pages(part, cell),
    )


def _pages(part: DomainCell, cell: HostCell) -> tuple[Pages, ...]:
    """Without a page size of its own, a guest has pages of the smallest."""
    size = part.page_size_kib or min((pages.size_kib for pages in cell.pages), default=0)
    return tuple(
        replace(pages, used=pages.used + part.memory_mib * 1024 // size)
        if pages.size_kib == size
        else pages
        for pages in cell.pages
    )


def _pins(domain: DomainNuma, part: DomainCell, cell: HostCell) -> set[int]:
    """The host's CPUs that vCPUs of this cell have for themselves.

    Nova lets a floating vCPU run on all shared CPUs of the cell; where that is only one, it looks
    as if it was pinned.
    """
    pinned = _pinned_vcpus(domain)
    runs_on = {cpu: domain.pins.get(str(cpu), ()) for cpu in part.cpus}
    return {
        cpus[0]
        for cpu, cpus in runs_on.items()
        if len(cpus) == 1 and (cpus != cell.shared_cpus or cpu in pinned)
    }


def _pinned_vcpus(domain: DomainNuma) -> Set[int]:
    """vCPUs of which the flavor or the image says that they are pinned."""
    policy, everything = domain.wish("cpu_policy"), frozenset(map(int, domain.pins))
    if policy == "dedicated" or (not policy and "resources:PCPU" in (domain.extra_specs or {})):
        return everything
    mask = domain.wish("cpu_dedicated_mask") or domain.wish("cpu_realtime_mask")
    if policy != "mixed" or not mask:
        return frozenset()
    # A mask that only takes away, takes it from all.
    return cpu_set(f"{cpu_text(everything)},{mask}" if mask.startswith("^") else mask)


def _reserved(domain: DomainNuma) -> set[int]:
    """CPUs that the emulator has for itself: with any policy but isolate it runs on the guest's
    own CPUs, or on shared ones."""
    own = {cpu for cpus in domain.pins.values() for cpu in cpus}
    isolated = domain.wish("emulator_threads_policy") in (None, "isolate")
    return set(domain.emulator_cpus) - own if isolated else set()


def _doubts(domain: DomainNuma, part: DomainCell, cell: HostCell) -> list[str]:
    found = []
    strange = sorted(_pins(domain, part, cell) - set(cell.dedicated_cpus))
    if strange:
        many = ", ".join(map(str, strange))
        found.append(f"why {domain.name} has CPUs that are not dedicated ones of its cell: {many}")
    # A host with both sets tells Nova's guests apart by them, and isolates none of their threads.
    if domain.wish("cpu_policy") is not None or cell.shared_cpus != cell.dedicated_cpus:
        return found
    if any(len(group) > 1 for group in cell.siblings) and _pins(domain, part, cell):
        found.append(f"whether {domain.name} has whole cores for itself")
    if len(cell.shared_cpus) == 1 and part.cpus:
        found.append(f"whether {domain.name} has the only CPU of its cell for itself")
    return found
