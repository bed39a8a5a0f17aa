# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same hosts and guests as Nova's objects, and what Nova itself says of them."""

from __future__ import annotations

import uuid

from nova import conf, context, exception, objects
from nova.pci import stats
from nova.virt import hardware

from ansible_collections.lowtide.compute.plugins.module_utils._planner import numa_model as m

CONF = conf.CONF
#: A ratio of nobody: what a host without one gets from Nova, so that it never holds.
NO_LIMIT = 1e9

Found = tuple[tuple[int, int, dict[int, int], frozenset[int]], ...]


def prepare() -> None:
    """Load Nova's objects and its configuration without a file."""
    objects.register_all()
    CONF([], default_config_files=[])


# --- a host and a guest ------------------------------------------------------------------


def topology(host: m.HostNuma) -> objects.NUMATopology:
    return objects.NUMATopology(cells=[_cell(cell) for cell in host.cells])


def _cell(cell: m.HostCell) -> objects.NUMACell:
    return objects.NUMACell(
        id=cell.id,
        cpuset=set(cell.shared_cpus),
        pcpuset=set(cell.dedicated_cpus),
        memory=cell.memory_mib,
        cpu_usage=cell.cpu_usage,
        memory_usage=cell.memory_used_mib,
        pinned_cpus=set(cell.pinned_cpus),
        siblings=[set(group) for group in cell.siblings],
        mempages=[
            objects.NUMAPagesTopology(
                size_kb=pages.size_kib,
                total=pages.total,
                used=pages.used,
                reserved=pages.reserved,
            )
            for pages in cell.pages
        ],
        network_metadata=objects.NetworkMetadata(
            physnets=set(cell.networks), tunneled=cell.tunnelled
        ),
        socket=cell.socket,
    )


def wanted(guest: m.GuestNuma) -> objects.InstanceNUMATopology:
    cells = [
        objects.InstanceNUMACell(
            id=cell.id,
            cpuset=set(cell.cpus),
            pcpuset=set(cell.pinned_cpus),
            memory=cell.memory_mib,
            pagesize=cell.page_size_kib or None,
            cpu_policy=guest.policy,
            cpu_thread_policy=guest.thread_policy or None,
        )
        for cell in guest.cells
    ]
    return objects.InstanceNUMATopology(
        cells=cells, emulator_threads_policy=guest.emulator_threads or None
    )


def _limits(guest: m.GuestNuma, host: m.HostNuma) -> objects.NUMATopologyLimits:
    return objects.NUMATopologyLimits(
        cpu_allocation_ratio=host.cpu_allocation_ratio or NO_LIMIT,
        ram_allocation_ratio=host.ram_allocation_ratio or NO_LIMIT,
        network_metadata=objects.NetworkMetadata(
            physnets=set(guest.networks), tunneled=guest.tunnelled
        ),
    )


# --- devices -----------------------------------------------------------------------------


def pools(host: m.HostNuma, cells: objects.NUMATopology) -> stats.PciDeviceStats | None:
    """Nova's sums of free devices, as its resource tracker keeps them: added one by one."""
    if host.devices is None:
        return None
    found = stats.PciDeviceStats(cells)
    for device in host.devices:
        if not device.guest:
            pool = {
                "product_id": device.product_id,
                "vendor_id": device.vendor_id,
                "numa_node": device.cell,
                "dev_type": device.kind,
                "address": device.address,
                "count": 1,
                "devices": [],
            }
            if device.kind != "type-PCI":
                pool["remote_managed"] = "false"
            if device.physical_network:
                pool["physical_network"] = device.physical_network
            found.pools.append(pool)
    found.pools.sort(key=len)
    return found


def requests(guest: m.GuestNuma, aliases: dict[str, dict[str, str]]) -> list:
    """``aliases``: name -> the properties that a device of it has."""
    found = []
    for request in guest.devices:
        if request.alias:
            spec, source = dict(aliases[request.alias]), objects.InstancePCIRequest.FLAVOR_ALIAS
        else:
            spec = {
                "physical_network": request.physical_network or None,
                "remote_managed": "False",
            }
            source = objects.InstancePCIRequest.NEUTRON_PORT
            if request.kind:
                spec["dev_type"] = request.kind
        one = objects.InstancePCIRequest(
            count=request.count,
            spec=[spec],
            request_id=str(uuid.UUID(int=len(found))),
            numa_policy=request.affinity,
        )
        if source == objects.InstancePCIRequest.NEUTRON_PORT:
            one.requester_id = one.request_id
        else:
            one.alias_name = request.alias
        found.append(one)
    return found


# --- Nova's word -------------------------------------------------------------------------


def fit(guest: m.GuestNuma, host: m.HostNuma, aliases: dict[str, dict[str, str]]) -> Found | None:
    """Where Nova's claim would put it, None where it would not."""
    CONF.set_override(
        "packing_host_numa_cells_allocation_strategy", host.pack_cells, group="compute"
    )
    cells = topology(host)
    found = hardware.numa_fit_instance_to_host(
        cells,
        wanted(guest),
        provider_mapping=None,
        limits=_limits(guest, host),
        pci_requests=requests(guest, aliases),
        pci_stats=pools(host, cells),
    )
    if found is None:
        return None
    return tuple(
        (
            cell.id,
            cell.pagesize or 0,
            dict(cell.cpu_pinning or {}),
            frozenset(cell.cpuset_reserved or ()),
        )
        for cell in found.cells
    )


def after(guest: m.GuestNuma, host: m.HostNuma, cells: Found) -> objects.NUMATopology | None:
    """The host after the claim, None where Nova itself stumbles over what it found."""
    placed = wanted(guest)
    for cell, (number, size, pins, reserved) in zip(placed.cells, cells, strict=True):
        cell.id, cell.pagesize = number, size or None
        cell.cpu_pinning, cell.cpuset_reserved = pins, set(reserved)
    try:
        return hardware.numa_usage_from_instance_numa(topology(host), placed)
    except (exception.CPUPinningInvalid, exception.CPUPinningUnknown):
        return None


def constraints(vcpus: int, ram_mib: int, extra_specs: dict, image: dict) -> object:
    """Nova's reading of flavor and image: a guest's cells, or the error's name."""
    flavor = objects.Flavor(
        context.get_admin_context(),
        name="generated",
        vcpus=vcpus,
        memory_mb=ram_mib,
        extra_specs=dict(extra_specs),
    )
    try:
        properties = objects.ImageMetaProps.from_dict(dict(image))
        meta = objects.ImageMeta(id=str(uuid.UUID(int=1)), name="image", properties=properties)
        return hardware.numa_get_constraints(flavor, meta)
    except (exception.NovaException, ValueError) as error:
        return type(error).__name__


def as_ours(found: objects.InstanceNUMATopology | None) -> m.GuestNuma:
    """Nova's reading in our words; only what it says of cells and policies."""
    if found is None:
        return m.GuestNuma()
    first = found.cells[0]
    return m.GuestNuma(
        cells=tuple(
            m.GuestCell(
                id=cell.id,
                cpus=tuple(sorted(cell.cpuset)),
                pinned_cpus=tuple(sorted(cell.pcpuset)),
                memory_mib=cell.memory,
                page_size_kib=cell.pagesize or 0,
            )
            for cell in found.cells
        ),
        policy=first.cpu_policy or "shared",
        thread_policy=first.cpu_thread_policy or "",
        emulator_threads=found.emulator_threads_policy or "",
    )
