# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Descriptions of hosts, devices and domains as libvirt 8.0 to 11.3 writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

KIB_PER_MIB = 1024
SMALL, LARGE, HUGE = 4, 2048, 1048576


@dataclass
class Cell:
    """One cell. ``cpus``: groups of threads; ``pages``: size in KiB -> how many."""

    id: int
    cpus: list[list[int]] = field(default_factory=list)
    memory_mib: int = 65536
    pages: dict[int, int] = field(default_factory=dict)
    distances: dict[int, int] = field(default_factory=dict)
    socket: int | None = None
    offline: tuple[int, ...] = ()


def capabilities(*cells: Cell, architecture: str = "x86_64") -> str:
    """What virConnectGetCapabilities returns for a host of these cells; without any, for a host of
    whose cells libvirt knows nothing."""
    inner = "".join(_cell(cell) for cell in cells)
    topology = f"""
    <topology>
      <cells num='{len(cells)}'>{inner}
      </cells>
    </topology>"""
    return f"""<capabilities>

  <host>
    <uuid>6f7c1c7e-2a1d-4b1b-9b52-0d7a1a7b9b10</uuid>
    <cpu>
      <arch>{architecture}</arch>
      <model>Icelake-Server-noTSX</model>
      <vendor>Intel</vendor>
      <topology sockets='1' dies='1' clusters='1' cores='2' threads='1'/>
      <pages unit='KiB' size='4'/>
      <pages unit='KiB' size='2048'/>
    </cpu>
    <power_management>
      <suspend_mem/>
    </power_management>
    <iommu support='yes'/>
    <migration_features>
      <live/>
    </migration_features>{topology if cells else ""}
    <cache>
      <bank id='0' level='3' type='both' size='48' unit='MiB' cpus='0-1'/>
    </cache>
    <secmodel>
      <model>none</model>
      <doi>0</doi>
    </secmodel>
  </host>

  <guest>
    <os_type>hvm</os_type>
    <arch name='{architecture}'>
      <wordsize>64</wordsize>
    </arch>
  </guest>

</capabilities>
"""


def _cell(cell: Cell) -> str:
    socket = cell.id if cell.socket is None else cell.socket
    cpus = "".join(
        f"\n            <cpu id='{cpu}' socket_id='{socket}' die_id='0' cluster_id='65535'"
        f" core_id='{core}' siblings='{','.join(map(str, group))}'/>"
        for core, group in enumerate(cell.cpus)
        for cpu in group
    )
    cpus += "".join(f"\n            <cpu id='{cpu}'/>" for cpu in cell.offline)
    number = sum(map(len, cell.cpus)) + len(cell.offline)
    pages = "".join(
        f"\n          <pages unit='KiB' size='{size}'>{count}</pages>"
        for size, count in cell.pages.items()
    )
    distances = "".join(
        f"\n            <sibling id='{other}' value='{value}'/>"
        for other, value in cell.distances.items()
    )
    return f"""
        <cell id='{cell.id}'>
          <memory unit='KiB'>{cell.memory_mib * KIB_PER_MIB}</memory>{pages}
          <distances>{distances}
          </distances>
          <cpus num='{number}'>{cpus}
          </cpus>
        </cell>"""


#: Two sockets with hyper-threading: 8 CPUs in each cell, CPU n and n + 8 are one core.
TWO_CELLS = tuple(
    Cell(
        number,
        [[cpu, cpu + 8] for cpu in range(number * 4, number * 4 + 4)],
        65536,
        {SMALL: 12582912, LARGE: 8192, HUGE: 0},
        {0: 21 if number else 10, 1: 10 if number else 21},
    )
    for number in (0, 1)
)


def pci(
    address: str,
    *,
    vendor: str = "8086",
    product: str = "1572",
    cell: int | None = 0,
    pf: str = "",
    vfs: bool = False,
) -> str:
    """A PCI device: with ``pf`` the virtual function of that one, with ``vfs`` it has some."""
    numa = f"<numa node='{cell}'/>" if cell is not None else ""
    inner = f"<capability type='phys_function'>{_address(pf)}</capability>" if pf else ""
    if vfs:
        inner = "<capability type='virt_functions' maxCount='64'/>"
    domain, bus, slot, function = (int(part, 16) for part in re.split("[:.]", address))
    return f"""<device>
  <name>{pci_name(address)}</name>
  <path>/sys/devices/pci0000:3a/{address}</path>
  <parent>pci_0000_3a_00_0</parent>
  <driver><name>vfio-pci</name></driver>
  <capability type='pci'>
    <class>0x020000</class>
    <domain>{domain}</domain>
    <bus>{bus}</bus>
    <slot>{slot}</slot>
    <function>{function}</function>
    <product id='0x{product}'>Ethernet Controller</product>
    <vendor id='0x{vendor}'>Intel Corporation</vendor>
    {inner}
    <iommuGroup number='42'>{_address(address)}</iommuGroup>
    {numa}
    <pci-express><link validity='cap' port='0' speed='8' width='8'/></pci-express>
  </capability>
</device>
"""


def child(parent: str, kind: str, interface: str = "") -> str:
    """A network interface (``net``) or a vDPA device (``vdpa``) of a PCI device."""
    named = f"<interface>{interface}</interface>" if interface else ""
    return f"""<device>
  <name>{kind}_{interface or "0"}_{parent}</name>
  <parent>{pci_name(parent)}</parent>
  <capability type='{kind}'>
    {named}
    <address>00:11:22:33:44:55</address>
    <capability type='80203'/>
  </capability>
</device>
"""


def pci_name(address: str) -> str:
    return "pci_" + re.sub("[:.]", "_", address)


def _address(address: str) -> str:
    parts = re.split("[:.]", address)
    names = ("domain", "bus", "slot", "function")
    said = (f"{name}='0x{part}'" for name, part in zip(names, parts, strict=True))
    return f"<address {' '.join(said)}/>"


@dataclass
class GuestCell:
    """A cell of a domain: what vCPUs it has, and on which CPUs of the host each may run."""

    pins: dict[int, str]
    memory_mib: int = 1024
    host_cell: str = "0"
    page_kib: int = 0


@dataclass
class Metadata:
    """What Nova notes in a domain; older releases say nothing of extra specs."""

    extra_specs: dict[str, str] | None = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)

    def xml(self) -> str:
        specs = properties = ""
        if self.extra_specs is not None:
            specs = _texts("extraSpec", self.extra_specs)
            specs = f"<nova:extraSpecs>{specs}</nova:extraSpecs>"
            properties = _texts("property", self.properties)
            properties = f"<nova:properties>{properties}</nova:properties>"
        return f"""
  <metadata>
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
      <nova:package version="34.0.0"/>
      <nova:name>a guest</nova:name>
      <nova:flavor name="m1.pinned" id="5"><nova:memory>2048</nova:memory>{specs}</nova:flavor>
      <nova:image uuid="0"><nova:minDisk>1</nova:minDisk>{properties}</nova:image>
    </nova:instance>
  </metadata>"""


def _texts(tag: str, given: dict[str, str]) -> str:
    return "".join(f'<nova:{tag} name="{key}">{text}</nova:{tag}>' for key, text in given.items())


def domain(
    guest_id: str,
    name: str,
    *cells: GuestCell,
    emulator: str = "",
    devices: str = "",
    metadata: Metadata | None = Metadata(),  # noqa: B008
) -> str:
    """A domain, as Nova's libvirt driver has libvirt define it; ``metadata`` None: not by Nova."""
    pins = {vcpu: cpus for cell in cells for vcpu, cpus in cell.pins.items()}
    tune = "".join(f"<vcpupin vcpu='{vcpu}' cpuset='{cpus}'/>" for vcpu, cpus in pins.items())
    tune += f"<emulatorpin cpuset='{emulator}'/>" if emulator else ""
    guest_cells = nodes = pages = ""
    for number, cell in enumerate(cells):
        vcpus = ",".join(map(str, cell.pins))
        kib = cell.memory_mib * KIB_PER_MIB
        guest_cells += f"<cell id='{number}' cpus='{vcpus}' memory='{kib}' unit='KiB'/>"
        nodes += f"<memnode cellid='{number}' mode='strict' nodeset='{cell.host_cell}'/>"
        if cell.page_kib:
            pages += f"<page size='{cell.page_kib}' unit='KiB' nodeset='{number}'/>"
    everything = ",".join(cell.host_cell for cell in cells)
    tuned = f"<numatune><memory mode='strict' nodeset='{everything}'/>{nodes}</numatune>"
    backing = f"<memoryBacking><hugepages>{pages}</hugepages></memoryBacking>" if pages else ""
    return f"""<domain type='kvm' id='3'>
  <name>{name}</name>
  <uuid>{guest_id}</uuid>{metadata.xml() if metadata else ""}
  <memory unit='KiB'>{sum(cell.memory_mib for cell in cells) * KIB_PER_MIB}</memory>
  {backing}
  <vcpu placement='static'>{max(1, len(pins))}</vcpu>
  <cputune><shares>1024</shares>{tune}</cputune>
  {tuned if cells else ""}
  <cpu mode='host-model'>{f"<numa>{guest_cells}</numa>" if cells else ""}</cpu>
  <devices>{devices}</devices>
</domain>
"""


def hostdev(address: str) -> str:
    """A PCI device of a flavor's alias."""
    source = f"<source>{_address(address)}</source>"
    return f"<hostdev mode='subsystem' type='pci' managed='yes'>{source}</hostdev>"


def sriov(address: str) -> str:
    """An SR-IOV port of type direct."""
    source = _address(address).replace("<address", "<address type='pci'")
    return f"<interface type='hostdev' managed='yes'><source>{source}</source></interface>"


def macvtap(interface: str) -> str:
    """An SR-IOV port of type macvtap."""
    return f"<interface type='direct'><source dev='{interface}' mode='passthrough'/></interface>"
