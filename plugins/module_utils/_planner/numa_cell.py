# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Does one cell of a guest fit one cell of a host, and on which pages and CPUs.

This module util is **PRIVATE** to the collection: it may change without notice.
The rules, and the order in which they are asked, are those of Nova's claim (nova/virt/hardware.py:
_numa_fit_instance_cell, _pack_instance_onto_cores).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    ANY_PAGES,
    LARGE_PAGES,
    SMALL_PAGES,
    GuestCell,
    GuestNuma,
    HostCell,
    HostNuma,
    Pages,
)

KIB = 1024
WISHES = {SMALL_PAGES: "small", LARGE_PAGES: "large", ANY_PAGES: "any"}


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a guest's cell does not fit a host's cell. ``code``: as in a verdict."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where it would go: guest CPU -> host CPU, and host CPUs for the emulator alone."""

    page_size_kib: int
    pinning: dict[int, int] = field(default_factory=dict)
    emulator_cpus: tuple[int, ...] = ()

    def of(self, wanted: GuestCell) -> Place:
        """The same for a guest's cell that asks for as much."""
        pins = zip(sorted(wanted.pinned_cpus), self.pinning.values(), strict=True)
        return replace(self, pinning=dict(pins))


@dataclass(frozen=True, slots=True)
class Bed:
    """A host's cell, and the guest that asks for it."""

    host: HostNuma
    cell: HostCell
    guest: GuestNuma

    @property
    def pins(self) -> bool:
        return self.guest.policy in ("dedicated", "mixed")

    @property
    def floats(self) -> bool:
        return self.guest.policy in ("shared", "mixed")


# --- pages -------------------------------------------------------------------------------


def page_size(bed: Bed, wanted: GuestCell, size: int) -> int | Misfit:
    """The size of the pages that it would get, 0 when it has no wish.

    ``size``: what it asks for now. Nova replaces a wish by the first size that it finds, and does
    not go back to the wish when the CPUs then do not fit.
    """
    if not size:
        return _without_wish(bed, wanted) or 0
    offered = sorted((pages.size_kib for pages in bed.cell.pages), reverse=True)
    if size in WISHES:
        choice = {SMALL_PAGES: offered[-1:], LARGE_PAGES: offered[:-1]}.get(size, offered)
        found = next((kib for kib in choice if _fits(bed.cell, kib, wanted.memory_mib)), 0)
        return found or _no_pages(bed.cell, choice, wanted, WISHES[size])
    if size not in offered:
        have = ", ".join(f"{kib} KiB" for kib in sorted(offered)) or "none"
        reason = f"it has no pages of {size} KiB (it has {have})"
        return Misfit("page_size", reason)
    if _fits(bed.cell, size, wanted.memory_mib):
        return size
    return _no_pages(bed.cell, [size], wanted, "such")


def _fits(cell: HostCell, size: int, memory_mib: int, total: bool = False) -> bool:
    pages = _pages(cell, size)
    room = pages.total if total else pages.total - pages.used - pages.reserved
    return memory_mib * KIB <= room * size and memory_mib * KIB % size == 0


def _pages(cell: HostCell, size: int) -> Pages:
    return next(pages for pages in cell.pages if pages.size_kib == size)


def _no_pages(cell: HostCell, sizes: Sequence[int], wanted: GuestCell, asked: str) -> Misfit:
    said = " and ".join(_said(_pages(cell, size), wanted.memory_mib) for size in sizes)
    if not said:
        return Misfit("page_size", f"it has no {asked} pages")
    return Misfit("page_size", f"{said}, {wanted.memory_mib} MiB in {asked} pages needed")


def _said(pages: Pages, memory_mib: int) -> str:
    if memory_mib * KIB % pages.size_kib:
        return f"{memory_mib} MiB are no whole number of pages of {pages.size_kib} KiB"
    free = f"{pages.free} of {pages.total} pages of {pages.size_kib} KiB are free"
    return f"{free} ({pages.free * pages.size_kib // KIB} MiB)"


def _without_wish(bed: Bed, wanted: GuestCell) -> Misfit | None:
    """Plain memory: a pinned guest needs it free, another only there.

    Where the host tells its pages, the smallest are counted, otherwise the cell's memory.
    """
    cell, needed = bed.cell, wanted.memory_mib
    if cell.pages:
        smallest = min(pages.size_kib for pages in cell.pages)
        if _fits(cell, smallest, needed, total=not bed.pins):
            return None
        pages = _pages(cell, smallest)
        free, total = pages.free * smallest // KIB, pages.total * smallest // KIB
    else:
        free, total = cell.memory_mib - cell.memory_used_mib, cell.memory_mib
        if needed <= (free if bed.pins else total):
            return None
    if bed.pins:
        return Misfit("memory", f"{free} of {total} MiB are free, {needed} needed")
    return Misfit("memory", f"it has {total} MiB, {needed} needed")


# --- CPUs --------------------------------------------------------------------------------


def cpus(bed: Bed, wanted: GuestCell, reserve: int) -> Misfit | None:
    """Are there enough, whatever their threads? ``reserve``: CPUs for the emulator alone."""
    dedicated, shared = len(bed.cell.dedicated_cpus), len(bed.cell.shared_cpus)
    needed = len(wanted.pinned_cpus) + reserve
    told = f"{needed} needed" + (" (one for the emulator)" if reserve else "")
    if bed.pins and needed > dedicated:
        return Misfit("dedicated_cpus", f"it has {dedicated} dedicated CPUs, {told}")
    if bed.floats and len(wanted.cpus) > shared:
        reason = f"it has {shared} shared CPUs, {len(wanted.cpus)} needed"
        return Misfit("shared_cpus", reason)
    free = len(free_cpus(bed.cell))
    if bed.pins and needed > free:
        code = "dedicated_cpus" if len(wanted.pinned_cpus) > free else "emulator_threads"
        return Misfit(code, f"{free} of {dedicated} dedicated CPUs are free, {told}")
    return None


def limits(bed: Bed, wanted: GuestCell) -> Misfit | None:
    """The allocation ratios, for what floats. They hold per cell, too."""
    cell, host = bed.cell, bed.host
    if not bed.floats:
        return None
    if host.cpu_allocation_ratio is not None:
        used, limit = cell.cpu_usage, len(cell.shared_cpus) * host.cpu_allocation_ratio
        if used + len(wanted.cpus) > limit:
            reason = f"{used} CPUs of at most {limit:g} are in use, {len(wanted.cpus)} needed"
            return Misfit("shared_cpus", reason)
    if host.ram_allocation_ratio is not None:
        used, limit = cell.memory_used_mib, cell.memory_mib * host.ram_allocation_ratio
        if used + wanted.memory_mib > limit:
            reason = f"{used} MiB of at most {limit:g} are in use, {wanted.memory_mib} needed"
            return Misfit("memory", reason)
    return None


def free_cpus(cell: HostCell) -> set[int]:
    """Dedicated CPUs that no guest has."""
    return set(cell.dedicated_cpus) - set(cell.pinned_cpus)


# --- threads -----------------------------------------------------------------------------

Cores = list[list[int]]
Pins = list[tuple[int, int]]


def packed(bed: Bed, wanted: GuestCell, reserve: int) -> Place | Misfit:
    """Its pinned CPUs on the host's, as the thread policy wants them. Page size 0."""
    groups = bed.cell.siblings or tuple((cpu,) for cpu in bed.cell.dedicated_cpus)
    threads = max(map(len, groups), default=1) or 1
    free = free_cpus(bed.cell)
    # Which of a core's threads comes first is chance in Nova (it keeps them in sets).
    cores = [sorted(set(group) & free) for group in groups]
    place = _isolated if bed.guest.thread_policy == "isolate" else _gathered
    return place(bed, wanted, cores, threads, reserve)


def _isolated(
    bed: Bed, wanted: GuestCell, cores: Cores, threads: int, reserve: int
) -> Place | Misfit:
    whole = [core for core in cores if len(core) == threads]
    if not whole:
        return Misfit("thread_policy", "it has no core whose threads are all free")
    if threads != 1 and set(bed.cell.dedicated_cpus) != set(bed.cell.shared_cpus):
        reason = (
            "it has hyper-threading, and Nova isolates cores only on hosts without it"
            " (or without cpu_dedicated_set)"
        )
        return Misfit("thread_policy", reason)
    needed = len(wanted.pinned_cpus)
    pins = _pins(1, whole, wanted)
    if not pins:
        reason = f"{len(whole)} whole cores are free, {needed} needed"
        return Misfit("thread_policy", reason)
    taken = {cpu for _vcpu, cpu in pins}
    spare = _spare([core for core in cores if not taken & set(core)], set(), reserve)
    if reserve and not spare:
        return Misfit("emulator_threads", "no CPU is left for the emulator alone")
    return Place(0, dict(pins), spare)


def _gathered(
    bed: Bed, wanted: GuestCell, cores: Cores, threads: int, reserve: int
) -> Place | Misfit:
    """Siblings together, on the emptiest cores first; apart only if that is allowed."""
    required = bed.guest.thread_policy == "require"
    if required and threads <= 1:
        return Misfit("thread_policy", "it has no hyper-threading, which the guest requires")
    tries = [
        (count, [core for core in cores if len(core) >= count])
        for count in range(max(map(len, cores), default=0), int(required), -1)
    ]
    if not required:
        tries.append((1, [[cpu] for core in cores for cpu in core]))
    short_of_spare = False
    for count, usable in tries:
        pins = _pins(count, usable, wanted)
        if pins is None:
            continue
        taken = {cpu for _vcpu, cpu in pins}
        # Nova has none to spare beside a cell that pins nothing.
        spare = _spare(cores, taken, reserve) if pins else ()
        if reserve and not spare:
            short_of_spare = True
            continue
        return Place(0, dict(pins), spare)
    if short_of_spare:
        return Misfit("emulator_threads", "no CPU is left for the emulator alone")
    room = max((count * len(usable) for count, usable in tries), default=0)
    reason = f"{room} CPUs are free with a sibling, {len(wanted.pinned_cpus)} needed"
    return Misfit("thread_policy", reason)


def _pins(count: int, cores: Cores, wanted: GuestCell) -> Pins | None:
    """Guest CPU -> host CPU, ``count`` of each core's threads; None when they do not suffice."""
    if count * len(cores) < len(wanted.pinned_cpus):
        return None
    chosen = (cpu for core in cores for cpu in core[:count])
    return list(zip(sorted(wanted.pinned_cpus), chosen, strict=False))


def _spare(cores: Cores, taken: set[int], reserve: int) -> tuple[int, ...]:
    return tuple([cpu for core in cores for cpu in core if cpu not in taken][:reserve])
