# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What libvirt on a hypervisor can run, what its running domains need, and how CPUs compare.

This module util is **PRIVATE** to the collection: it may change without notice.
Nothing is changed. The connection is writable all the same: libvirt tells domain capabilities and
compares CPUs on no other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Protocol
from xml.etree import ElementTree

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    HypervisorRefused,
    LowtideError,
    NotFound,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import hypervisor
from ansible_collections.lowtide.compute.plugins.module_utils._planner.compat import (
    IDENTICAL,
    INCOMPATIBLE,
    SUPERSET,
    Comparison,
    Needs,
    Offer,
    Platform,
    Question,
)

Element = ElementTree.Element

#: virCPUCompareResult, by number.
RESULTS = (INCOMPATIBLE, IDENTICAL, SUPERSET)
#: What of a CPU decides whether it is compatible.
COMPARED = ("model", "vendor", "feature")


class Compat(Protocol):
    """What the module needs. Every call raises Unreachable when libvirt is."""

    def offer(self, host: str) -> Offer: ...

    def needs(self, ids: Collection[str]) -> tuple[Needs, ...]: ...

    def compare(self, question: Question) -> Comparison: ...


class LibvirtCompat(hypervisor.LibvirtHypervisor):
    """A Compat over libvirt-python."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri, writable=True)

    def offer(self, host: str) -> Offer:
        """What this hypervisor is. ``host``: Nova's name of it, ``""`` for its own name."""
        with self._asking("tell its capabilities"):
            conn = self._ready()
            tree = ElementTree.fromstring(conn.getCapabilities())
            machine = tree.find("host/cpu")
            return Offer(
                host=host or conn.getHostname(),
                hypervisor_type=conn.getType(),
                hypervisor_version=conn.getVersion(),
                libvirt_version=conn.getLibVersion(),
                host_cpu="" if machine is None else _text(machine),
                platforms=tuple(_platforms(conn, tree)),
            )

    def needs(self, ids: Collection[str]) -> tuple[Needs, ...]:
        """The domains that run here (of these UUIDs, where any are given), by name."""
        running = [d for d in self.domains() if d.state in ("running", "paused")]
        asked = [d for d in running if not ids or d.id in ids]
        found = (self._needs_of(domain) for domain in asked)
        return tuple(each for each in found if each is not None)

    def _needs_of(self, domain: hypervisor.Domain) -> Needs | None:
        library = hypervisor.libvirt
        try:
            # Not the migratable one: its CPU is the definition's, and a migration sends the CPU
            # that the guest has beside it.
            live, defined = (
                ElementTree.fromstring(
                    self._call("tell its definition", domain.id, lambda d, f=flag: d.XMLDesc(f))
                )
                for flag in (0, library.VIR_DOMAIN_XML_INACTIVE)
            )
        except NotFound:
            return None
        kind, cpu, nova = live.find("os/type"), _cpu(live), _cpu(defined)
        return Needs(
            id=domain.id,
            name=domain.name,
            type=live.get("type", ""),
            arch="" if kind is None else kind.get("arch", ""),
            machine="" if kind is None else kind.get("machine", ""),
            cpu="" if cpu is None else _text(cpu),
            cpu_mode="" if cpu is None else cpu.get("mode", "custom"),
            nova_cpu="" if nova is None or nova.find("model") is None else _text(nova),
            loader=live.findtext("os/loader") or "",
        )

    def compare(self, question: Question) -> Comparison:
        """How a CPU compares with what guests can have here.

        Raises HypervisorRefused when libvirt has no such call.
        """
        library = hypervisor.libvirt
        conn = self._ready()
        if not hasattr(conn, "compareHypervisorCPU"):
            raise _too_old(library.VIR_ERR_NO_SUPPORT)
        wanted = (question.arch, question.machine, question.type)
        try:
            number = conn.compareHypervisorCPU(
                None,
                *(text or None for text in wanted),
                question.cpu,
                library.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE,
            )
        except library.libvirtError as error:
            return self._failed_comparison(error)
        return Comparison(RESULTS[number]) if number >= 0 else Comparison("", "no answer")

    def _failed_comparison(self, error: Any) -> Comparison:
        library, code = hypervisor.libvirt, error.get_error_code()
        if code == library.VIR_ERR_NO_SUPPORT:
            raise _too_old(code) from error
        if code == library.VIR_ERR_OPERATION_UNSUPPORTED:
            return Comparison("", str(error))
        translated = self._translated(error, "compare a CPU", "")
        if not isinstance(translated, HypervisorRefused):
            raise translated from error
        # Not only features that are missing: a model that this libvirt does not know, too.
        return Comparison(INCOMPATIBLE, str(error))


def _too_old(code: int) -> LowtideError:
    return HypervisorRefused(
        "libvirt cannot compare a CPU with the hypervisor's (compareHypervisorCPU)",
        "Use libvirt and libvirt-python 4.4 or later, with QEMU",
        libvirt_code=code,
    )


def _platforms(conn: Any, capabilities: Element) -> Iterator[Platform]:
    own = capabilities.findtext("host/cpu/arch")
    for arch in capabilities.findall("guest/arch"):
        name = arch.get("name", "")
        for domain in arch.findall("domain"):
            kind = domain.get("type", "")
            # libvirt would have to probe QEMU for every other architecture.
            more = _richer(conn, name, kind) if name == own else {}
            yield Platform(name, kind, _machines(domain) or _machines(arch), **more)


def _richer(conn: Any, arch: str, kind: str) -> dict[str, Any]:
    """Of one platform, what its domain capabilities say."""
    tree = ElementTree.fromstring(conn.getDomainCapabilities(None, arch, None, kind, 0))
    mode = tree.find("cpu/mode[@name='host-model'][@supported='yes']")
    cpu = ElementTree.Element("cpu", mode="custom", match="exact")
    if mode is not None:
        cpu.extend([part for part in mode if part.tag in COMPARED])
    loaders = tuple(value.text or "" for value in tree.findall("os/loader/value"))
    return {"cpu": _text(cpu) if len(cpu) else "", "loaders": loaders}


def _cpu(domain: Element) -> Element | None:
    """A domain's CPU without its memory's cells, which nobody compares."""
    cpu = domain.find("cpu")
    for cells in domain.findall("cpu/numa"):
        cpu.remove(cells)
    return cpu


def _machines(element: Element) -> tuple[str, ...]:
    found = element.findall("machine")
    names = {machine.text or "" for machine in found}
    return tuple(sorted(names | {machine.get("canonical", "") for machine in found} - {""}))


def _text(element: Element) -> str:
    """An element in one line."""
    parts = ElementTree.tostring(element, encoding="unicode").splitlines()
    return "".join(part.strip() for part in parts)
