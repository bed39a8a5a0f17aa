# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""A host's cells as Nova has them, from what libvirt and nova.conf say.

This module util is **PRIVATE** to the collection: it may change without notice.
The rules are those of Nova's libvirt driver (nova/virt/libvirt/driver.py: _get_host_numa_topology).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_devices import Node
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_domain import DomainNuma
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    HostCell,
    HostNuma,
    Pages,
    PciDevice,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_offers import (
    Given,
    Offer,
    answers_to,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_sets import (
    BadSetting,
    CpuSets,
    Reserved,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_use import use
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_xml import (
    Capabilities,
    Cell,
)

#: Where nova.conf ties tunnelled networks to cells.
TUNNEL = "neutron_tunnel.numa_nodes"


@dataclass(frozen=True, slots=True)
class Rules:
    """What nova.conf decides. ``networks``: physical network -> its cells; ``tunnel``: likewise."""

    sets: CpuSets
    reserved: Reserved = field(default_factory=dict)
    networks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    tunnel: tuple[int, ...] = ()
    offers: tuple[Offer, ...] = ()
    aliases: tuple[Given, ...] = ()
    pack_cells: bool = False
    cpu_allocation_ratio: float | None = None
    ram_allocation_ratio: float | None = None


def host_numa(
    host: str,
    found: Capabilities,
    rules: Rules,
    domains: Sequence[DomainNuma],
    devices: tuple[PciDevice, ...] | None,
) -> HostNuma:
    """The host with what its guests use. Raises BadSetting for cells that it has not."""
    _check_networks(found, rules)
    used = use((_cell(cell, rules) for cell in found.cells), domains)
    return HostNuma(
        host=host,
        cells=used.cells,
        cpu_allocation_ratio=rules.cpu_allocation_ratio,
        ram_allocation_ratio=rules.ram_allocation_ratio,
        devices=devices,
        pack_cells=rules.pack_cells,
        unseen=used.unseen,
    )


def _cell(cell: Cell, rules: Rules) -> HostCell:
    shared = rules.sets.shared & set(cell.cpus)
    dedicated = rules.sets.dedicated & set(cell.cpus)
    groups = (tuple(cpu for cpu in group if cpu in shared | dedicated) for group in cell.siblings)
    return HostCell(
        id=cell.id,
        shared_cpus=tuple(sorted(shared)),
        dedicated_cpus=tuple(sorted(dedicated)),
        siblings=tuple(group for group in groups if group),
        memory_mib=cell.memory_kib // 1024,
        pages=tuple(
            Pages(size, total, reserved=rules.reserved.get((cell.id, size), 0))
            for size, total in sorted(cell.pages.items())
        ),
        socket=cell.socket,
        distances=cell.distances,
        networks=tuple(sorted(name for name, at in rules.networks.items() if cell.id in at)),
        tunnelled=cell.id in rules.tunnel,
    )


def _check_networks(found: Capabilities, rules: Rules) -> None:
    there = {cell.id for cell in found.cells}
    said = {f"neutron_physnet_{name}.numa_nodes": at for name, at in rules.networks.items()}
    for option, cells in (said | {TUNNEL: rules.tunnel}).items():
        if option != TUNNEL and not cells:
            why = "is set for a network that is listed in neutron.physnets, to nothing"
            raise BadSetting(option, "", why, "Give the cells to which its NICs belong")
        for cell in sorted(set(cells) - there) if there else ():
            have = ", ".join(map(str, sorted(there)))
            why = "is no cell of this host"
            raise BadSetting(option, cell, why, f"It has {have}: give of these")


# --- devices -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Device:
    """A device as guests can have it. ``offered``: nova.conf's device_spec means it."""

    is_a: PciDevice
    offered: bool
    parent: str = ""


def devices(
    nodes: Sequence[Node], rules: Rules, domains: Iterable[DomainNuma]
) -> tuple[Device, ...]:
    """All PCI devices, by address, and whose they are."""
    by_interface = {name: node.address for node in nodes for name in node.interfaces}
    owners: dict[str, str] = {}
    for domain in domains:
        direct = (by_interface.get(name, "") for name in domain.interfaces)
        owners |= dict.fromkeys((*domain.devices, *direct), domain.id)
    return tuple(_device(node, rules, by_interface, owners) for node in nodes)


def _device(
    node: Node, rules: Rules, by_interface: Mapping[str, str], owners: Mapping[str, str]
) -> Device:
    offer = next((offer for offer in rules.offers if offer.means(node, by_interface)), None)
    tags = offer.tags if offer is not None else {}
    names = {str(alias["name"]).strip() for alias in rules.aliases if answers_to(node, tags, alias)}
    return Device(
        PciDevice(
            address=node.address,
            cell=node.cell,
            vendor_id=node.vendor_id,
            product_id=node.product_id,
            kind=node.kind,
            aliases=tuple(sorted(names)) if offer is not None else (),
            physical_network=str(tags.get("physical_network") or ""),
            guest=owners.get(node.address, ""),
        ),
        offered=offer is not None,
        parent=node.parent,
    )


def for_guests(found: Sequence[Device]) -> tuple[PciDevice, ...]:
    """Those that Nova offers: a PF is had either itself or by its VFs, and then not the other
    way."""
    taken = {device.is_a.address for device in found if device.is_a.guest}
    split = {device.parent for device in found if device.is_a.guest and device.parent}
    return tuple(
        device.is_a
        for device in found
        if device.offered and device.is_a.address not in split and device.parent not in taken
    )
