# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""One look at a hypervisor's cells: libvirt's word, nova.conf's rules, and what guests have.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.hypervisor import Domain
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.topology import Topology
from ansible_collections.lowtide.compute.plugins.module_utils._numa_conf import (
    Wishes,
    look,
    rules,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import encode
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_devices import nodes
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_domain import (
    DomainNuma,
    domain,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_host import (
    Device,
    Rules,
    devices,
    for_guests,
    host_numa,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    HostCell,
    HostNuma,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_sets import (
    DEDICATED,
    LEGACY,
    RESERVED,
    SHARED,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_use import counted
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_xml import (
    Capabilities,
    Cell,
    capabilities,
)

Row = dict[str, Any]
Warn = Callable[[str], None]


def info(topology: Topology, params: Mapping[str, Any], warn: Warn) -> Row:
    """All that RETURN of numa_info says. Raises BadOption, BadConfiguration, Unreachable."""
    wishes = look(params)
    found = capabilities(topology.capabilities())
    decided = rules(wishes, *topology.cpus())
    listed = _domains(topology)
    guests = [numa for _domain, numa in listed]
    texts = topology.node_devices()
    hardware = devices(nodes(texts or ()), decided, guests)
    with wishes.told():
        host = host_numa(
            params["host"] or wishes.get("host").value or topology.hostname(),
            found,
            decided,
            guests,
            _offered(wishes, decided, texts is not None, hardware),
        )
    host = replace(host, unseen=(*_unseen(wishes, warn), *host.unseen))
    _warn(found, decided, texts is not None, host, warn)
    return {
        "host": host.host,
        "cells": [_cell(topology, *pair) for pair in zip(found.cells, host.cells, strict=True)],
        "devices": [_device(device) for device in hardware],
        "domains": [_domain(*pair) for pair in listed],
        "config": _config(wishes),
        "unseen": list(host.unseen),
        "numa": encode(host),
        "msg": _sentence(host, hardware, guests),
    }


def _domains(topology: Topology) -> list[tuple[Domain, DomainNuma]]:
    pairs = ((each, topology.xml(each.id)) for each in topology.domains())
    return [(each, domain(text)) for each, text in pairs if text is not None]


def _offered(wishes: Wishes, decided: Rules, seen: bool, hardware: Sequence[Device]) -> Any:
    """What guests can have; None when nobody can say."""
    if not wishes.known("device_spec") or (decided.offers and not seen):
        return None
    return for_guests(hardware)


def _unseen(wishes: Wishes, warn: Warn) -> list[str]:
    if wishes.known("cpu_shared_set", "cpu_dedicated_set"):
        return []
    warn(
        "no nova.conf was found where oslo.config looks, so all CPUs are taken for shared and"
        " dedicated ones: give config_files, or cpu_shared_set and cpu_dedicated_set"
    )
    return ["nova.conf"]


def _warn(found: Capabilities, decided: Rules, seen: bool, host: HostNuma, warn: Warn) -> None:
    if not found.cells:
        warn(
            f"libvirt tells no NUMA cells of this host ({found.architecture}): Nova gives it no"
            " guest that has a NUMA topology"
        )
    if not seen:
        warn("libvirt has no driver for devices here, so PCI devices are not seen")
    pages = {(cell.id, size) for cell in found.cells for size in cell.pages}
    for cell, size in sorted(set(decided.reserved) - pages):
        warn(f"reserved_huge_pages: cell {cell} has no pages of {size} KiB; Nova ignores it")
    for doubt in host.unseen:
        warn(f"not seen: {doubt}")


# --- rows, as RETURN says -------------------------------------------------------------------------


def _cell(topology: Topology, cell: Cell, numa: HostCell) -> Row:
    free = topology.free_pages(cell.id, sorted(cell.pages))
    row = encode(numa)
    pages = [{**each, "free": free.get(each["size_kib"])} for each in row["pages"]]
    told = {"cpus": list(cell.cpus), "memory_free_mib": topology.free_memory_mib(cell.id)}
    return {**row, **told, "pages": pages}


def _device(device: Device) -> Row:
    return {**encode(device.is_a), "offered": device.offered, "parent": device.parent}


def _domain(libvirt: Domain, numa: DomainNuma) -> Row:
    row = encode(numa)
    for inner in ("extra_specs", "image_properties", "interfaces"):
        del row[inner]
    return {**row, "id": libvirt.id, "state": libvirt.state, "counted": counted(numa)}


def _config(wishes: Wishes) -> Row:
    """Option of nova.conf -> value and source."""
    values = {
        key.rpartition(".")[2]: wishes.get(key) for key in (SHARED, DEDICATED, LEGACY, RESERVED)
    }
    return {name: {"value": found.value, "source": found.source} for name, found in values.items()}


def _sentence(host: HostNuma, hardware: Sequence[Device], guests: Sequence[DomainNuma]) -> str:
    dedicated = {cpu for cell in host.cells for cpu in cell.dedicated_cpus}
    pinned = {cpu for cell in host.cells for cpu in cell.pinned_cpus}
    offered = sum(device.offered for device in hardware)
    return (
        f"{len(host.cells)} cells, {len(pinned)} of {len(dedicated)} dedicated CPUs taken,"
        f" {offered} devices for guests, {sum(map(counted, guests))} of {len(guests)} domains with"
        " a NUMA topology"
    )
