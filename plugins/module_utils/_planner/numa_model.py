# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The nouns of NUMA: what a host has, cell by cell, what a guest asks for, and the verdict.

This module util is **PRIVATE** to the collection: it may change without notice.
Every class is frozen, holds plain values only and survives :mod:`codec` unchanged. CPU numbers are
the host's (or the guest's) own, sorted. Memory is in MiB, page sizes in KiB. A guest without any
wish has a :class:`GuestNuma` without cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: A guest cell's ``page_size_kib`` that is no size (nova/virt/hardware.py, MEMPAGES_*).
SMALL_PAGES, LARGE_PAGES, ANY_PAGES = -1, -2, -3

FIT, NO_FIT, UNKNOWN = "fit", "no_fit", "unknown"


# --- what a host has ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages of one size in one cell. ``reserved``: by nova.conf's reserved_huge_pages."""

    size_kib: int
    total: int
    used: int = 0
    reserved: int = 0

    @property
    def free(self) -> int:
        return max(0, self.total - self.used - self.reserved)


@dataclass(frozen=True, slots=True)
class HostCell:
    """A NUMA cell. ``shared_cpus`` and ``dedicated_cpus``: by nova.conf's cpu_shared_set and
    cpu_dedicated_set; where neither is set, all CPUs are in both, as in Nova.

    ``pinned_cpus``: dedicated CPUs that guests have. ``siblings``: groups of threads of one core,
    groups of one where there is no hyper-threading. ``cpu_usage`` and ``memory_used_mib``: of
    guests with a NUMA topology, as Nova counts them. ``distances``: cell id -> distance.
    ``networks``: physical networks whose NICs nova.conf ties to this cell; ``tunnelled``: likewise.
    """

    id: int
    shared_cpus: tuple[int, ...] = ()
    dedicated_cpus: tuple[int, ...] = ()
    pinned_cpus: tuple[int, ...] = ()
    siblings: tuple[tuple[int, ...], ...] = ()
    memory_mib: int = 0
    memory_used_mib: int = 0
    cpu_usage: int = 0
    pages: tuple[Pages, ...] = ()
    socket: int | None = None
    distances: Mapping[str, int] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    tunnelled: bool = False


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A device that guests can have. ``cell`` ``None``: the device does not say where it is.

    ``kind``: type-PCI, type-PF or type-VF. ``aliases``: names of the PCI aliases that it answers
    to; ``physical_network``: for SR-IOV ports. ``guest``: id of the guest that has it, or "".
    """

    address: str
    cell: int | None = None
    vendor_id: str = ""
    product_id: str = ""
    kind: str = "type-PCI"
    aliases: tuple[str, ...] = ()
    physical_network: str = ""
    guest: str = ""


@dataclass(frozen=True, slots=True)
class HostNuma:
    """A host. Ratios: Nova's allocation ratios, ``None`` where they are not known (then no limit
    of them is checked). ``devices``: ``None`` when nobody could see them. ``unseen``: what could
    not be seen besides, a short phrase each; a verdict that rests on it is ``unknown``.
    """

    host: str
    cells: tuple[HostCell, ...] = ()
    cpu_allocation_ratio: float | None = None
    ram_allocation_ratio: float | None = None
    devices: tuple[PciDevice, ...] | None = None
    pack_cells: bool = True
    unseen: tuple[str, ...] = ()


# --- what a guest asks for ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GuestCell:
    """A cell of a guest. ``cpus``: its floating vCPUs, ``pinned_cpus``: those with a CPU of their
    own. ``page_size_kib``: 0 for no wish, a size, or one of the wishes above.
    """

    id: int
    cpus: tuple[int, ...] = ()
    pinned_cpus: tuple[int, ...] = ()
    memory_mib: int = 0
    page_size_kib: int = 0


@dataclass(frozen=True, slots=True)
class NumaPort:
    """A port of a guest, and its network. ``affinity``: its numa_affinity_policy, or ""."""

    vnic_type: str = "normal"
    physical_network: str = ""
    tunnelled: bool = False
    affinity: str = ""


@dataclass(frozen=True, slots=True)
class PciRequest:
    """``count`` devices. ``alias`` of the flavor, or ``physical_network`` of an SR-IOV port.

    ``affinity``: legacy (Nova's default), required, preferred or socket. ``kind``: of a port that
    wants more than a VF: type-PF (direct-physical) or vdpa.
    """

    count: int = 1
    alias: str = ""
    physical_network: str = ""
    affinity: str = "legacy"
    kind: str = ""


@dataclass(frozen=True, slots=True)
class GuestNuma:
    """What a guest asks for. ``policy``: shared, dedicated or mixed. ``thread_policy``: "",
    prefer, isolate or require. ``emulator_threads``: "", share or isolate. ``networks``: physical
    networks of its ports; ``tunnelled``: one of its ports is on a tunnelled network.

    Of a guest without cells ``vcpus`` and ``memory_mib`` say how big it is.
    """

    cells: tuple[GuestCell, ...] = ()
    policy: str = "shared"
    thread_policy: str = ""
    emulator_threads: str = ""
    devices: tuple[PciRequest, ...] = ()
    networks: tuple[str, ...] = ()
    tunnelled: bool = False
    vcpus: int = 0
    memory_mib: int = 0


# --- the verdict -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CellFit:
    """Where one cell of a guest goes. ``pinning``: guest CPU (as text) -> host CPU.

    ``emulator_cpus``: host CPUs of its own for the emulator.
    """

    guest_cell: int
    host_cell: int
    page_size_kib: int = 0
    pinning: Mapping[str, int] = field(default_factory=dict)
    emulator_cpus: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NumaVerdict:
    """``result``: fit, no_fit or unknown. ``code``: one word; of a no_fit one of cells, memory,
    page_size, dedicated_cpus, shared_cpus, thread_policy, emulator_threads, pci, pci_affinity,
    network_affinity. ``reason``: a sentence with the numbers. ``cells``: for a fit, in the order of
    the guest's cells. ``spread``: it fits, and Nova keeps no affinity: the guest has no topology
    and no single cell has room for it, or a device that is only preferred is on another cell.
    """

    result: str
    code: str = ""
    reason: str = ""
    cells: tuple[CellFit, ...] = ()
    spread: bool = False
