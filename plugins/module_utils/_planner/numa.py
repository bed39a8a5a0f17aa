# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Do a guest's NUMA cells fit a host's, as Nova's claim would have it, and what is left then.

This module util is **PRIVATE** to the collection: it may change without notice.
The rules are Nova's (nova/virt/hardware.py: numa_fit_instance_to_host,
numa_usage_from_instance_numa); tests/numa compares the verdicts with Nova's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_cell import (
    KIB,
    Misfit,
    free_cpus,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    FIT,
    NO_FIT,
    UNKNOWN,
    CellFit,
    GuestCell,
    GuestNuma,
    HostCell,
    HostNuma,
    NumaVerdict,
    Pages,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_pci import (
    Given,
    devices_in_cells,
    give,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_search import (
    Chosen,
    Stumbles,
    anywhere,
    match,
    search,
)

#: Who has a device that a plan gives away, when the guest has no name.
PLANNED = "planned"


# --- the verdict -------------------------------------------------------------------------


def fit(guest: GuestNuma, host: HostNuma) -> NumaVerdict:
    """Does the guest fit? ``unknown`` comes with the cells that it would get by what was seen."""
    if not guest.cells:
        return _doubted(_without_cells(guest, host), guest, replace(host, unseen=()))
    if not host.cells and host.unseen:
        return NumaVerdict(UNKNOWN, "unseen", _unseen(host.unseen))
    if len(host.cells) < len(guest.cells):
        reason = f"the host has {len(host.cells)} NUMA cells, {len(guest.cells)} needed"
        return NumaVerdict(NO_FIT, "cells", reason)
    refusals: list[Misfit] = []

    def allows(cells: frozenset[int]) -> bool:
        wrong = _refusal(guest, host, cells)
        refusals.extend([wrong] if wrong else [])
        return wrong is None

    picky = guest.networks or guest.tunnelled or (guest.devices and host.devices is not None)
    found = search(guest, host, ordered(guest, host), allows if picky else anywhere)
    if isinstance(found, Stumbles):
        return _no_fit(guest, host, found, refusals)
    if found.astray:
        reason = "Nova loses track of its cells as it tries them, and pins CPUs of other cells"
        return NumaVerdict(NO_FIT, "cells", reason)
    return _doubted(_fit(guest, host, found), guest, host)


def _without_cells(guest: GuestNuma, host: HostNuma) -> NumaVerdict:
    given = give(guest.devices, host, None) if host.devices is not None else Given()
    if isinstance(given, Misfit):
        return NumaVerdict(NO_FIT, given.code, given.reason)
    roomy = any(_has_room(cell, guest) for cell in host.cells)
    return NumaVerdict(
        FIT, "fits", "it has no NUMA topology", spread=not roomy and bool(host.cells)
    )


def _has_room(cell: HostCell, guest: GuestNuma) -> bool:
    free = cell.memory_mib - cell.memory_used_mib
    return guest.vcpus <= len(cell.shared_cpus) and guest.memory_mib <= free


def _fit(guest: GuestNuma, host: HostNuma, chosen: Chosen) -> NumaVerdict:
    cells = tuple(
        CellFit(
            guest_cell=wanted.id,
            host_cell=host_cell,
            page_size_kib=place.page_size_kib,
            pinning={str(cpu): own for cpu, own in place.pinning.items()},
            emulator_cpus=place.emulator_cpus,
        )
        for wanted, (host_cell, place) in zip(guest.cells, chosen.cells, strict=True)
    )
    given = give(guest.devices, host, [cell.host_cell for cell in cells])
    spread = isinstance(given, Given) and given.astray
    return NumaVerdict(FIT, "fits", "its cells fit", cells, spread=spread)


def _doubted(verdict: NumaVerdict, guest: GuestNuma, host: HostNuma) -> NumaVerdict:
    """A fit that rests on something that nobody saw is none."""
    unseen = (*host.unseen, *(["the devices"] if guest.devices and host.devices is None else []))
    if verdict.result != FIT or not unseen:
        return verdict
    return replace(verdict, result=UNKNOWN, code="unseen", reason=_unseen(unseen))


def _unseen(what: Iterable[str]) -> str:
    return f"not seen: {', '.join(dict.fromkeys(what))}"


def _no_fit(
    guest: GuestNuma, host: HostNuma, stumbles: Stumbles, refusals: Sequence[Misfit]
) -> NumaVerdict:
    """The first thing that Nova stumbles over, and the same guest cell on the other cells."""
    if refusals:
        return NumaVerdict(NO_FIT, refusals[0].code, refusals[0].reason)
    if not stumbles.cells or match(guest, host, ordered(guest, host), anywhere, Stumbles()):
        reason = "there is room for each cell, but Nova loses track of them as it tries them"
        return NumaVerdict(NO_FIT, "cells", reason)
    first = next(iter(stumbles.cells))[0]
    many = f"guest cell {guest.cells[first].id}: " if len(guest.cells) > 1 else ""
    found = {host_cell: wrong for (at, host_cell), wrong in stumbles.cells.items() if at == first}
    reasons = [f"cell {host_cell}: {wrong.reason}" for host_cell, wrong in found.items()]
    return NumaVerdict(NO_FIT, next(iter(found.values())).code, many + "; ".join(reasons))


# --- which cells first -------------------------------------------------------------------


def ordered(guest: GuestNuma, host: HostNuma) -> list[HostCell]:
    """The host's cells as Nova tries them: emptiest first, or fullest first where it packs.

    Those with devices come first for a guest that wants some, and last for another.
    """
    cells = list(host.cells)
    if len(cells) == len(guest.cells):
        return cells
    spread = not host.pack_cells
    cells.sort(key=lambda cell: cell.memory_mib - cell.memory_used_mib, reverse=spread)
    if guest.policy == "shared":
        cells.sort(key=lambda cell: cell.cpu_usage, reverse=not spread)
    else:
        cells.sort(key=lambda cell: len(free_cpus(cell)), reverse=spread)
    if host.devices is not None:
        devices = devices_in_cells(host)
        cells.sort(key=lambda cell: devices.get(cell.id, 0), reverse=bool(guest.devices))
    return cells


# --- devices and networks ----------------------------------------------------------------


def _refusal(guest: GuestNuma, host: HostNuma, cells: frozenset[int]) -> Misfit | None:
    if guest.devices and host.devices is not None:
        given = give(guest.devices, host, cells)
        if isinstance(given, Misfit):
            return given
    return _far_networks(guest, host, cells)


def _far_networks(guest: GuestNuma, host: HostNuma, cells: frozenset[int]) -> Misfit | None:
    """A network whose NIC has a cell must have one of the guest's."""
    near = {name for cell in host.cells if cell.id in cells for name in cell.networks}
    tied = {name for cell in host.cells for name in cell.networks}
    far = sorted(set(guest.networks) & tied - near)
    where = ", ".join(map(str, sorted(cells)))
    if far:
        reason = f"physical networks {', '.join(far)} are not on its cells ({where})"
        return Misfit("network_affinity", reason)
    tunnels = {cell.id for cell in host.cells if cell.tunnelled}
    if guest.tunnelled and tunnels and not tunnels & cells:
        reason = f"tunnelled networks are on cells {sorted(tunnels)}, not on its own ({where})"
        return Misfit("network_affinity", reason)
    return None


# --- what is left ------------------------------------------------------------------------


def take(guest: GuestNuma, host: HostNuma, verdict: NumaVerdict, guest_id: str = "") -> HostNuma:
    """The host after the claim of a guest that fits by ``verdict``."""
    changed = _counted(guest, host, verdict.cells, 1)
    if not guest.devices or host.devices is None:
        return changed
    cells = [cell.host_cell for cell in verdict.cells] if guest.cells else None
    given = give(guest.devices, host, cells)
    taken = given.devices if isinstance(given, Given) else ()
    owner = guest_id or PLANNED
    devices = tuple(replace(d, guest=owner) if d in taken else d for d in host.devices)
    return replace(changed, devices=devices)


def give_back(
    guest: GuestNuma, host: HostNuma, cells: Sequence[CellFit], guest_id: str = ""
) -> HostNuma:
    """The host without a guest that has ``cells`` of it, and its devices (by ``guest_id``)."""
    changed = _counted(guest, host, cells, -1)
    if host.devices is None:
        return changed
    owner = guest_id or PLANNED
    devices = tuple(replace(d, guest="") if d.guest == owner else d for d in host.devices)
    return replace(changed, devices=devices)


def _counted(guest: GuestNuma, host: HostNuma, cells: Sequence[CellFit], sign: int) -> HostNuma:
    left = {cell.id: cell for cell in host.cells}
    wanted = {cell.id: cell for cell in guest.cells}
    for fitted in cells:
        if fitted.host_cell in left and fitted.guest_cell in wanted:
            cell = left[fitted.host_cell]
            left[cell.id] = _used(cell, wanted[fitted.guest_cell], fitted, guest, sign)
    return replace(host, cells=tuple(left.values()))


def _used(
    cell: HostCell, wanted: GuestCell, fitted: CellFit, guest: GuestNuma, sign: int
) -> HostCell:
    own = {*fitted.pinning.values(), *fitted.emulator_cpus}
    if guest.thread_policy == "isolate":
        # Nobody else gets a thread of its cores.
        own |= {cpu for group in cell.siblings if own & set(group) for cpu in group}
    own &= set(cell.dedicated_cpus)
    pinned = set(cell.pinned_cpus)
    smallest = min((pages.size_kib for pages in cell.pages), default=0)
    size = fitted.page_size_kib or smallest
    return replace(
        cell,
        pinned_cpus=tuple(sorted(pinned | own if sign > 0 else pinned - own)),
        memory_used_mib=max(0, cell.memory_used_mib + sign * wanted.memory_mib),
        cpu_usage=max(0, cell.cpu_usage + sign * len(wanted.cpus)),
        pages=tuple(
            _paged(pages, sign * wanted.memory_mib) if pages.size_kib == size else pages
            for pages in cell.pages
        ),
    )


def _paged(pages: Pages, memory_mib: int) -> Pages:
    return replace(pages, used=max(0, int(pages.used + memory_mib * KIB / pages.size_kib)))
