# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's cells and devices are and who has them, in the words of the collection's HostNuma.

It is what Nova's own database says, which is what its scheduler and the claims of a host go by.
"""

from __future__ import annotations

from typing import Any

import nova.conf
from nova import context as nova_context
from nova import exception, objects
from nova.objects import fields
from nova.pci import request as pci_request
from nova.pci import whitelist

SEEN_BY_GUESTS = (
    fields.PciDeviceStatus.AVAILABLE,
    fields.PciDeviceStatus.CLAIMED,
    fields.PciDeviceStatus.ALLOCATED,
)


def of(host: str) -> dict[str, Any]:
    """Return a host's HostNuma as plain data; LookupError while Nova has no record of it.

    Memory is in MiB, pages in KiB. The cells are absent if Nova knows of none.
    """
    context = nova_context.get_admin_context()
    try:
        nodes = objects.ComputeNodeList.get_all_by_host(context, host)
    except exception.ComputeHostNotFound:
        raise LookupError(f"Nova has no record of host {host!r} yet") from None
    node = nodes[0]
    topology = node.numa_topology and objects.NUMATopology.obj_from_db_obj(node.numa_topology)
    conf = nova.conf.CONF
    return {
        "host": host,
        "cells": [_cell(cell) for cell in topology.cells] if topology else [],
        "cpu_allocation_ratio": node.cpu_allocation_ratio,
        "ram_allocation_ratio": node.ram_allocation_ratio,
        "devices": _devices(context, node.id),
        "pack_cells": conf.compute.packing_host_numa_cells_allocation_strategy,
        "unseen": [],
    }


def _cell(cell: Any) -> dict[str, Any]:
    network = cell.network_metadata if "network_metadata" in cell else None
    return {
        "id": cell.id,
        "shared_cpus": sorted(cell.cpuset),
        "dedicated_cpus": sorted(cell.pcpuset),
        "pinned_cpus": sorted(cell.pinned_cpus),
        "siblings": sorted(sorted(group) for group in cell.siblings),
        "memory_mib": cell.memory,
        "memory_used_mib": cell.memory_usage,
        "cpu_usage": cell.cpu_usage,
        "pages": [
            {
                "size_kib": pages.size_kb,
                "total": pages.total,
                "used": pages.used,
                "reserved": pages.reserved,
            }
            for pages in cell.mempages
        ],
        "socket": cell.socket,
        "distances": {},
        "networks": sorted(network.physnets) if network else [],
        "tunnelled": bool(network and network.tunneled),
    }


def _devices(context: Any, node_id: int) -> list[dict[str, Any]]:
    """Return the devices that guests have or could have: not one whose function somebody has."""
    conf = nova.conf.CONF
    specs = whitelist.Whitelist(conf.pci.device_spec)
    aliases = pci_request.get_alias_from_config()
    found = objects.PciDeviceList.get_by_compute_node(context, node_id)
    return [
        {
            "address": device.address,
            "cell": device.numa_node,
            "vendor_id": device.vendor_id,
            "product_id": device.product_id,
            "kind": device.dev_type,
            "aliases": sorted(
                name
                for name, (_policy, alternatives) in aliases.items()
                if any(_answers(device, wanted) for wanted in alternatives)
            ),
            "physical_network": _physical_network(specs, device),
            "guest": device.instance_uuid or "",
        }
        for device in sorted(found, key=lambda device: device.address)
        if device.status in SEEN_BY_GUESTS
    ]


def _answers(device: Any, wanted: dict[str, str]) -> bool:
    return all(
        getattr(device, name) == wanted[name]
        for name in ("vendor_id", "product_id", "dev_type")
        if name in wanted
    )


def _physical_network(specs: whitelist.Whitelist, device: Any) -> str:
    spec = specs.get_devspec(device)
    return (spec.get_tags().get("physical_network") or "") if spec else ""
