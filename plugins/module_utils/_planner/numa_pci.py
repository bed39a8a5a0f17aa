# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Which of a host's free PCI devices a guest gets, given the cells that it is on.

This module util is **PRIVATE** to the collection: it may change without notice.
The rules are Nova's (nova/pci/stats.py: _filter_pools). What a device answers to is said by the
device: aliases by its ``aliases``, SR-IOV ports by its ``physical_network``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_cell import Misfit
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    HostNuma,
    PciDevice,
    PciRequest,
)

PF, VF, VDPA = "type-PF", "type-VF", "vdpa"


@dataclass(frozen=True, slots=True)
class Given:
    """The devices that the guest gets; ``astray``: one that prefers its cells is elsewhere."""

    devices: tuple[PciDevice, ...] = ()
    astray: bool = False


def free_devices(host: HostNuma) -> list[PciDevice]:
    """In the order in which Nova hands them out: those without a network first."""
    free = [device for device in host.devices or () if not device.guest]
    return sorted(free, key=lambda device: bool(device.physical_network))


def devices_in_cells(host: HostNuma) -> dict[int, int]:
    """Cell -> number of its free devices."""
    found: dict[int, int] = {}
    for device in free_devices(host):
        if device.cell is not None:
            found[device.cell] = found.get(device.cell, 0) + 1
    return found


def give(
    requests: Sequence[PciRequest], host: HostNuma, cells: Collection[int] | None
) -> Given | Misfit:
    """Devices for all requests, one after the other. ``cells``: None for a guest without any."""
    free, given, astray = free_devices(host), [], False
    for request in requests:
        matching = [device for device in free if answers(device, request)]
        if len(matching) < request.count or not matching:
            return _short(request, matching)
        allowed = matching if cells is None else near(matching, request, host, cells)
        if len(allowed) < request.count or not allowed:
            return _far(request, matching, allowed, cells or ())
        usable = [device for device in allowed if _offered(device, request)]
        if len(usable) < request.count or not usable:
            return _short(request, usable)
        chosen = usable[: request.count]
        free = [device for device in free if device not in chosen]
        given += chosen
        if cells is not None and request.affinity == "preferred":
            astray |= any(device.cell not in (None, *cells) for device in chosen)
    return Given(tuple(given), astray)


def answers(device: PciDevice, request: PciRequest) -> bool:
    """Is it of the kind that is asked for, wherever it is?"""
    if request.alias:
        return request.alias in device.aliases
    if device.physical_network.casefold() != request.physical_network.casefold():
        return False
    return device.kind == request.kind if request.kind else device.kind in (PF, VF, VDPA)


def _offered(device: PciDevice, request: PciRequest) -> bool:
    """A whole card, or a vDPA device, is given only to who asks for it by its kind.

    Nova looks at that last, after it has counted them. Of an alias ``aliases`` says it.
    """
    return bool(request.alias or request.kind) or device.kind not in (PF, VDPA)


def near(
    matching: Sequence[PciDevice], request: PciRequest, host: HostNuma, cells: Collection[int]
) -> list[PciDevice]:
    """Those that the affinity allows; those of the guest's cells alone if they suffice."""
    own = [device for device in matching if device.cell in cells]
    if request.affinity == "required" or len(own) >= request.count:
        return own
    if request.affinity == "socket":
        return _on_sockets(matching, host, cells)
    silent = [device for device in matching if device.cell is None or device.cell in cells]
    if request.affinity != "preferred" or len(silent) >= request.count:
        return silent
    return sorted(matching, key=lambda device: device.cell not in (None, *cells))


def _on_sockets(
    matching: Sequence[PciDevice], host: HostNuma, cells: Collection[int]
) -> list[PciDevice]:
    if any(cell.socket is None for cell in host.cells):
        return []
    sockets = {cell.socket for cell in host.cells if cell.id in cells}
    allowed = {cell.id for cell in host.cells if cell.socket in sockets}
    return [device for device in matching if device.cell in allowed]


def _short(request: PciRequest, found: Sequence[PciDevice]) -> Misfit:
    return Misfit("pci", f"{len(found)} devices {_named(request)} are free, {request.count} needed")


def _far(
    request: PciRequest,
    matching: Sequence[PciDevice],
    allowed: Sequence[PciDevice],
    cells: Collection[int],
) -> Misfit:
    where = ", ".join(map(str, sorted(cells)))
    reason = (
        f"{len(matching)} devices {_named(request)} are free, but only {len(allowed)} where the"
        f" affinity {request.affinity} allows them (cells {where}), {request.count} needed"
    )
    return Misfit("pci_affinity", reason)


def _named(request: PciRequest) -> str:
    if request.alias:
        return f"of the alias {request.alias}"
    if request.physical_network:
        return f"on the physical network {request.physical_network}"
    return "on no physical network"
