# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hardware of a scenario's host, as libvirt shows it to Nova."""

from __future__ import annotations

from typing import Any

from lxml import etree
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.virt.libvirt import utils as libvirt_utils

from lab.scenario import Host

KIB_PER_MIB = 1024
SMALL_PAGE_KIB, HUGE_PAGE_KIB = 4, 2048
VGPU_TYPE = fakelibvirt.NVIDIA_11_VGPU_TYPE


def of(host: Host) -> dict[str, Any]:
    """Return the arguments of a fakelibvirt.Connection that make it this host's."""
    devices = Devices(host)
    return {
        "host_info": _processors_and_memory(host),
        "pci_info": devices,
        "mdev_info": devices.mediated,
    }


def _processors_and_memory(host: Host) -> fakelibvirt.HostInfo:
    memory_kib = host.memory_mib * KIB_PER_MIB
    cell_kib = memory_kib // host.numa_cells
    small_pages = (cell_kib - host.huge_pages_2m * HUGE_PAGE_KIB) // SMALL_PAGE_KIB
    sizes = [(SMALL_PAGE_KIB, small_pages), (HUGE_PAGE_KIB, host.huge_pages_2m)]
    return fakelibvirt.HostInfo(
        cpu_nodes=host.numa_cells,
        cpu_sockets=1,
        cpu_cores=host.cpus // host.numa_cells // host.threads_per_core,
        cpu_threads=host.threads_per_core,
        kB_mem=memory_kib,
        mempages=[fakelibvirt.create_mempages(sizes) for _ in range(host.numa_cells)],
    )


class MediatedDevice:
    """A virtual GPU that Nova had created."""

    def __init__(self, name: str, kind: str, parent: str) -> None:
        self._name = name
        self._xml = fakelibvirt.FakeMdevDevice(name, kind, parent).XMLDesc(0)
        self.parent = parent

    def name(self) -> str:
        """Return libvirt's name of the device."""
        return self._name

    def XMLDesc(self, flags: int) -> str:
        """Return libvirt's description of the device."""
        return self._xml

    def setAutostart(self, autostart: int) -> None:
        """Accept it: the simulated host never reboots."""

    def isActive(self) -> int:
        """Return 1: it exists as long as its host."""
        return 1


class MediatedDevices(fakelibvirt.HostMdevDevicesInfo):
    """The virtual GPUs of a host, created one by one."""

    def add(self, xml: str) -> MediatedDevice:
        """Create a device as described; one that exists already is returned."""
        tree = etree.fromstring(xml)
        name = libvirt_utils.mdev_uuid2name(tree.findtext("./capability/uuid"))
        if name not in self.devices:
            kind = tree.find("./capability/type").get("id")
            self.devices[name] = MediatedDevice(name, kind, tree.findtext("./parent"))
        return self.devices[name]


class Devices(fakelibvirt.HostPCIDevicesInfo):
    """The PCI devices of a host: whole ones, SR-IOV functions, one GPU if it has virtual ones."""

    def __init__(self, host: Host) -> None:
        self.mediated = MediatedDevices()
        super().__init__(
            num_pci=host.pci_devices,
            num_pfs=1 if host.sriov_vfs else 0,
            num_vfs=host.sriov_vfs,
            num_mdevcap=1 if host.vgpus else 0,
            numa_node=0 if host.numa_cells == 1 else None,
        )
        for name in self.get_all_mdev_capable_devices():
            self.devices[name] = _Gpu(self.devices[name], host.vgpus, self.mediated)


class _Gpu:
    """A GPU that can be split; it says how many more virtual ones it has room for."""

    is_capable_of_mdevs = True

    def __init__(
        self, device: fakelibvirt.FakePCIDevice, count: int, mediated: MediatedDevices
    ) -> None:
        self._device, self._count, self._mediated = device, count, mediated

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def XMLDesc(self, flags: int) -> str:
        """Return libvirt's description of the device."""
        tree = etree.fromstring(self._device.XMLDesc(flags))
        free = str(self._count - len(self._mediated.devices))
        for instances in tree.iter("availableInstances"):
            instances.text = free
        return etree.tostring(tree, encoding="unicode")
