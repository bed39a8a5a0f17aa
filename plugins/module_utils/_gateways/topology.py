# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""A hypervisor's cells, devices and domains, as libvirt tells them.

This module util is **PRIVATE** to the collection: it may change without notice.
Texts are libvirt's own XML; ``_planner.numa_xml`` and its neighbours read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    HypervisorRefused,
    NotFound,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import hypervisor
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.hypervisor import Domain

BYTES_PER_MIB = 1024 * 1024


class Topology(Protocol):
    """What numa_info needs of a hypervisor.

    Every call raises Unreachable when libvirt is, and HypervisorRefused when it does not tell.
    """

    def hostname(self) -> str: ...

    def capabilities(self) -> str: ...

    def cpus(self) -> tuple[frozenset[int], frozenset[int]]: ...

    def free_memory_mib(self, cell: int) -> int | None: ...

    def free_pages(self, cell: int, sizes_kib: Sequence[int]) -> Mapping[int, int]: ...

    def node_devices(self) -> tuple[str, ...] | None: ...

    def domains(self) -> tuple[Domain, ...]: ...

    def xml(self, domain_id: str) -> str | None: ...


class LibvirtTopology(hypervisor.LibvirtHypervisor):
    """A Topology over libvirt-python. It only reads."""

    def hostname(self) -> str:
        """The host's name as libvirt has it."""
        with self._asking("tell its host's name"):
            return self._ready().getHostname()

    def capabilities(self) -> str:
        """The XML of the host's capabilities."""
        with self._asking("tell the host's capabilities"):
            return self._ready().getCapabilities()

    def cpus(self) -> tuple[frozenset[int], frozenset[int]]:
        """The CPUs that are on line, and all that the host has."""
        with self._asking("tell the host's CPUs"):
            count, online, _number = self._ready().getCPUMap()
        return frozenset(cpu for cpu in range(count) if online[cpu]), frozenset(range(count))

    def free_memory_mib(self, cell: int) -> int | None:
        """MiB of a cell that nobody uses; None when libvirt cannot tell."""
        found = self._figure(cell, lambda conn: conn.getCellsFreeMemory(cell, 1))
        return found[0] // BYTES_PER_MIB if found else None

    def free_pages(self, cell: int, sizes_kib: Sequence[int]) -> Mapping[int, int]:
        """Size in KiB -> pages of a cell that nobody uses; empty when libvirt cannot tell."""
        found = self._figure(cell, lambda conn: conn.getFreePages(list(sizes_kib), cell, 1))
        return found[cell] if found else {}

    def _figure(self, cell: int, ask: Any) -> Any:
        try:
            with self._asking(f"tell what is free of cell {cell}"):
                return ask(self._ready())
        except HypervisorRefused:
            # A cell without memory has none to tell of.
            return None

    def node_devices(self) -> tuple[str, ...] | None:
        """The XML of PCI devices, of network interfaces and of vDPA devices; None when libvirt has
        no driver for devices here."""
        library = hypervisor.libvirt
        kinds = (
            library.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV
            | library.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET
            | library.VIR_CONNECT_LIST_NODE_DEVICES_CAP_VDPA
        )
        try:
            with self._asking("list the host's devices"):
                found = self._ready().listAllDevices(kinds)
        except HypervisorRefused as refusal:
            if refusal.libvirt_code != library.VIR_ERR_NO_SUPPORT:
                raise
            return None
        texts = (self._device(device) for device in found)
        return tuple(text for text in texts if text is not None)

    def _device(self, device: Any) -> str | None:
        try:
            with self._asking("describe a device"):
                return device.XMLDesc(0)
        except HypervisorRefused as refusal:
            if refusal.libvirt_code != hypervisor.libvirt.VIR_ERR_NO_NODE_DEVICE:
                raise
            return None

    def xml(self, domain_id: str) -> str | None:
        """A domain's XML, of what runs if it does; None when it is gone."""
        try:
            return self._call("describe it", domain_id, lambda domain: domain.XMLDesc(0))
        except NotFound:
            return None
