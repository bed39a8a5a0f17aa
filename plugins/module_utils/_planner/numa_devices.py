# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""A host's PCI devices, as libvirt shows them.

This module util is **PRIVATE** to the collection: it may change without notice.
What a device is, is Nova's rule (nova/virt/libvirt/host.py: _get_pcidev_info). The format:
https://libvirt.org/formatnode.html.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from xml.etree import ElementTree

from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_domain import (
    pci_address,
)

PF, VF, PLAIN, VDPA = "type-PF", "type-VF", "type-PCI", "vdpa"


@dataclass(frozen=True, slots=True)
class Node:
    """A PCI device of the host. ``parent``: a VF's PF. ``interfaces``: its network interfaces.

    ``cell``: None when it does not say.
    """

    name: str
    address: str
    vendor_id: str
    product_id: str
    kind: str = PLAIN
    cell: int | None = None
    parent: str = ""
    interfaces: tuple[str, ...] = ()


def nodes(texts: Iterable[str]) -> tuple[Node, ...]:
    """Read virNodeDeviceGetXMLDesc of PCI devices, network interfaces and vDPA devices."""
    found: dict[str, Node] = {}
    children: list[tuple[str, str, str]] = []
    for text in texts:
        root = ElementTree.fromstring(text)
        what = root.find("capability")
        kind = what.get("type", "") if what is not None else ""
        if what is not None and kind == "pci":
            node = _node(root.findtext("name", ""), what)
            found[node.name] = node
        elif what is not None:
            name = what.findtext("interface", "")
            children.append((root.findtext("parent", ""), kind, name))
    for parent, kind, name in children:
        if parent not in found:
            continue
        node = found[parent]
        if kind == "vdpa" and node.kind == VF:
            node = replace(node, kind=VDPA)
        elif kind == "net" and name:
            node = replace(node, interfaces=(*node.interfaces, name))
        found[parent] = node
    return tuple(sorted(found.values(), key=lambda node: node.address))


def _node(name: str, what: ElementTree.Element) -> Node:
    parts = {key: what.findtext(key, "0") for key in ("domain", "bus", "slot", "function")}
    kind, parent = PLAIN, ""
    for capability in what.findall("capability"):
        address = capability.find("address")
        if capability.get("type") == "virt_functions":
            kind = PF
            break
        if capability.get("type") == "phys_function" and address is not None:
            kind, parent = VF, pci_address(address)
    numa = what.find("numa")
    return Node(
        name=name,
        address=pci_address(ElementTree.Element("address", parts)),
        vendor_id=_id(what, "vendor"),
        product_id=_id(what, "product"),
        kind=kind,
        cell=int(numa.attrib["node"]) if numa is not None else None,
        parent=parent,
    )


def _id(what: ElementTree.Element, name: str) -> str:
    element = what.find(name)
    return element.get("id", "").removeprefix("0x") if element is not None else ""
