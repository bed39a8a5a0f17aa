# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What libvirt's capabilities say of a host's cells.

This module util is **PRIVATE** to the collection: it may change without notice.
The format: https://libvirt.org/formatcaps.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_sets import cpu_set

#: Architectures on which Nova uses cells (nova/virt/libvirt/driver.py: _has_numa_support).
ARCHITECTURES = frozenset("i686 x86_64 aarch64 ppc64 ppc64le".split())
#: KiB of libvirt's units of memory.
KIB = {"b": 1 / 1024, "bytes": 1 / 1024, "KB": 1000 / 1024, "KiB": 1, "k": 1}
KIB |= {"MB": 1000**2 / 1024, "MiB": 1024, "M": 1024, "GB": 1000**3 / 1024}
KIB |= {"GiB": 1024**2, "G": 1024**2, "TB": 1000**4 / 1024, "TiB": 1024**3, "T": 1024**3}


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as libvirt has it. ``siblings``: threads of one core, a group of one for a core
    without; ``pages``: size in KiB -> how many; ``socket``: None for none, and for several.
    """

    id: int
    cpus: tuple[int, ...] = ()
    siblings: tuple[tuple[int, ...], ...] = ()
    socket: int | None = None
    memory_kib: int = 0
    pages: Mapping[int, int] = field(default_factory=dict)
    distances: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """A host. ``cells``: none where libvirt tells none, or Nova does not use them."""

    architecture: str
    cells: tuple[Cell, ...]


def capabilities(text: str) -> Capabilities:
    """Read virConnectGetCapabilities. Raises ValueError for what is none."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"no capabilities: {error}") from None
    architecture = root.findtext("host/cpu/arch", "")
    cells = root.findall("host/topology/cells/cell") if architecture in ARCHITECTURES else []
    found = (_cell(cell) for cell in cells)
    return Capabilities(architecture, tuple(sorted(found, key=lambda cell: cell.id)))


def kib_of(element: ElementTree.Element, size: str | None = None) -> int:
    """An amount of memory in KiB: an element's text, or ``size`` in the element's unit."""
    amount = element.text or "0" if size is None else size
    return int(int(amount) * KIB[element.get("unit", "KiB")])


def _cell(element: ElementTree.Element) -> Cell:
    cpus = element.findall("cpus/cpu")
    memory = element.find("memory")
    sockets = {cpu.get("socket_id") for cpu in cpus}
    socket = sockets.pop() if len(sockets) == 1 else None
    # A CPU that is off line has a number, and nothing else.
    groups = {tuple(sorted(cpu_set(cpu.get("siblings") or cpu.attrib["id"]))) for cpu in cpus}
    return Cell(
        id=int(element.attrib["id"]),
        cpus=tuple(sorted(int(cpu.attrib["id"]) for cpu in cpus)),
        siblings=tuple(sorted(groups)),
        socket=int(socket) if socket is not None else None,
        memory_kib=kib_of(memory) if memory is not None else 0,
        pages={
            kib_of(pages, pages.attrib["size"]): int(pages.text or 0)
            for pages in element.findall("pages")
        },
        distances={
            other.attrib["id"]: int(other.attrib["value"])
            for other in element.findall("distances/sibling")
        },
    )
