# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What a domain's XML says of its cells, its CPUs and its devices.

This module util is **PRIVATE** to the collection: it may change without notice.
How Nova writes it: nova/virt/libvirt/driver.py, _get_guest_numa_config. The format:
https://libvirt.org/formatdomain.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_sets import cpu_set
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_xml import kib_of

#: Nova's namespace, without its version.
NOVA = "http://openstack.org/xmlns/libvirt/nova/"

Element = ElementTree.Element


@dataclass(frozen=True, slots=True)
class DomainCell:
    """A cell of a domain. ``host_cell``: where its memory is, None when that is not one cell.

    ``page_size_kib``: 0 for the host's smallest.
    """

    id: int
    cpus: tuple[int, ...] = ()
    memory_mib: int = 0
    host_cell: int | None = None
    page_size_kib: int = 0


@dataclass(frozen=True, slots=True)
class DomainNuma:
    """A domain. ``cells``: none for a guest without a NUMA topology. ``pins``: vCPU (as text) ->
    the CPUs on which it may run. ``nova``: Nova made it. ``devices``: PCI addresses;
    ``interfaces``: names of network interfaces of the host that it has for itself.
    ``extra_specs`` and ``image_properties``: None when the domain does not say (older Novas).
    """

    id: str
    name: str
    nova: bool = False
    pins: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    emulator_cpus: tuple[int, ...] = ()
    cells: tuple[DomainCell, ...] = ()
    devices: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    extra_specs: Mapping[str, str] | None = None
    image_properties: Mapping[str, str] | None = None

    def wish(self, name: str) -> str | None:
        """``hw:name`` of the flavor, or else ``hw_name`` of the image; None: it does not say."""
        if self.extra_specs is None or self.image_properties is None:
            return None
        own = self.extra_specs.get(f"hw:{name}")
        return own or self.image_properties.get(f"hw_{name}", "")


def domain(text: str) -> DomainNuma:
    """Read virDomainGetXMLDesc."""
    root = ElementTree.fromstring(text)
    instance = _nova_instance(root)
    emulator = root.find("cputune/emulatorpin")
    return DomainNuma(
        id=root.findtext("uuid", ""),
        name=root.findtext("name", ""),
        nova=instance is not None,
        pins={
            pin.attrib["vcpu"]: _cpus(pin.attrib["cpuset"])
            for pin in root.findall("cputune/vcpupin")
        },
        emulator_cpus=_cpus(emulator.attrib["cpuset"]) if emulator is not None else (),
        cells=_cells(root),
        devices=tuple(_addresses(root)),
        interfaces=tuple(
            source.attrib["dev"]
            for source in root.findall("devices/interface[@type='direct']/source")
            if source.get("mode") == "passthrough" and source.get("dev")
        ),
        extra_specs=_texts(instance, "{*}flavor/{*}extraSpecs"),
        image_properties=_texts(instance, "{*}image/{*}properties"),
    )


def _cpus(text: str) -> tuple[int, ...]:
    return tuple(sorted(cpu_set(text)))


# --- cells ---------------------------------------------------------------------------------------


def _cells(root: Element) -> tuple[DomainCell, ...]:
    nodes = {node.attrib["cellid"]: node for node in root.findall("numatune/memnode")}
    everything = root.find("numatune/memory")
    found = []
    for number, cell in enumerate(root.findall("cpu/numa/cell")):
        name = cell.get("id", str(number))
        found.append(
            DomainCell(
                id=int(name),
                cpus=_cpus(cell.get("cpus", "")),
                memory_mib=kib_of(cell, cell.attrib["memory"]) // 1024,
                host_cell=_one(nodes.get(name, everything)),
                page_size_kib=_page_size(root, int(name)),
            )
        )
    return tuple(found)


def _one(node: Element | None) -> int | None:
    cells = _cpus(node.get("nodeset", "")) if node is not None else ()
    return cells[0] if len(cells) == 1 else None


def _page_size(root: Element, cell: int) -> int:
    for page in root.findall("memoryBacking/hugepages/page"):
        # A page without a set of cells is for those that no other page names.
        if cell in _cpus(page.get("nodeset", str(cell))):
            return kib_of(page, page.attrib["size"])
    return 0


# --- devices -------------------------------------------------------------------------------------


def _addresses(root: Element) -> list[str]:
    sources = root.findall("devices/hostdev[@type='pci']/source/address")
    sources += root.findall("devices/interface[@type='hostdev']/source/address[@type='pci']")
    return [pci_address(source) for source in sources]


def pci_address(element: Element) -> str:
    """``0000:3b:02.1``, of an element with a domain, bus, slot and function."""
    parts = (int(element.get(name, "0"), 0) for name in ("domain", "bus", "slot", "function"))
    return "{:04x}:{:02x}:{:02x}.{:x}".format(*parts)


# --- what Nova noted -----------------------------------------------------------------------------


def _nova_instance(root: Element) -> Element | None:
    metadata = root.find("metadata")
    children = list(metadata) if metadata is not None else []
    return next((child for child in children if child.tag.startswith("{" + NOVA)), None)


def _texts(instance: Element | None, path: str) -> Mapping[str, str] | None:
    found = instance.find(path) if instance is not None else None
    if found is None:
        return None
    return {each.attrib["name"]: each.text or "" for each in found}
