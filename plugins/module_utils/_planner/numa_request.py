# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What a guest asks of a host's NUMA cells, by its flavor, its image and its ports.

This module util is **PRIVATE** to the collection: it may change without notice.
The keys and what contradicts what are Nova's (nova/virt/hardware.py: numa_get_constraints;
nova/pci/request.py). Memory encryption, which asks for no cells, is left out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    ANY_PAGES,
    LARGE_PAGES,
    SMALL_PAGES,
    GuestCell,
    GuestNuma,
    NumaPort,
    PciRequest,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_sets import cpu_set

T = TypeVar("T")
Texts = Mapping[str, str]
Cpus = frozenset[int]

SHARED, DEDICATED, MIXED = "shared", "dedicated", "mixed"
ISOLATE, REQUIRE = "isolate", "require"
POLICIES = (DEDICATED, SHARED, MIXED)
THREAD_POLICIES = ("prefer", ISOLATE, REQUIRE)
EMULATOR_POLICIES = ("share", ISOLATE)
AFFINITIES = ("required", "legacy", "preferred", "socket")
PAGE_WISHES = {"any": ANY_PAGES, "large": LARGE_PAGES, "small": SMALL_PAGES}
TRUE = ("1", "t", "true", "on", "y", "yes")
#: Nova looks at so many cells of a flavor or an image.
MOST_CELLS = 128
#: Powers of 1024, as oslo.utils reads them.
PREFIXES = "KMGTPEZYRQ"
#: vnic_type of ports whose devices Nova chooses -> the kind that it asks for, "" for a VF.
SRIOV_KINDS = {"direct": "", "macvtap": "", "direct-physical": "type-PF", "vdpa": "vdpa"}


class NumaRequestError(ValueError):
    """Nova would refuse the guest: ``key`` (of flavor or image) has ``value``, ``reason`` why."""

    def __init__(self, key: str, value: object, reason: str) -> None:
        super().__init__(f"{key}: {str(value)!r} {reason}")
        self.key, self.value, self.reason = key, str(value), reason


@dataclass(frozen=True, slots=True)
class Asked:
    """Flavor and image. ``extra_specs``: hw:NAME; ``image``: hw_NAME, as Nova shows them."""

    vcpus: int
    ram_mib: int
    extra_specs: Texts
    image: Texts

    def both(self, name: str) -> tuple[str, str]:
        """The values of flavor and image, "" where there is none."""
        return self.extra_specs.get(f"hw:{name}") or "", self.image.get(f"hw_{name}") or ""


def request_of(
    vcpus: int,
    ram_mib: int,
    extra_specs: Texts,
    image_properties: Texts,
    ports: Iterable[NumaPort] = (),
) -> GuestNuma:
    """What the guest asks for. Raises NumaRequestError where Nova would refuse it."""
    asked = Asked(vcpus, ram_mib, extra_specs, image_properties)
    ports = tuple(ports)
    policy = _policy(asked)
    threads = _thread_policy(asked)
    emulator = _one_of("hw:emulator_threads_policy", asked, EMULATOR_POLICIES)
    realtime = _realtime_cpus(asked, emulator)
    mask = _dedicated_mask(asked)
    policy = _policy_by_resources(asked, policy, emulator)
    threads = _threads_by_trait(asked, threads)
    _agree(asked, policy, threads, emulator, realtime, mask)
    pinned = frozenset(range(vcpus)) if policy == DEDICATED else frozenset()
    if policy == MIXED:
        pinned = mask or realtime
    return GuestNuma(
        cells=_cells(asked, policy, pinned),
        policy=policy,
        thread_policy=threads,
        emulator_threads=emulator,
        devices=_devices(asked, ports),
        networks=tuple(sorted({p.physical_network for p in ports if p.physical_network})),
        tunnelled=any(port.tunnelled for port in ports),
        vcpus=vcpus,
        memory_mib=ram_mib,
    )


# --- policies ----------------------------------------------------------------------------


def _one_of(key: str, asked: Asked, allowed: tuple[str, ...]) -> str:
    given = asked.image if key.startswith("hw_") else asked.extra_specs
    value = given.get(key) or ""
    if value and value not in allowed:
        raise NumaRequestError(key, value, f"is none of {', '.join(allowed)}")
    return value


def _policy(asked: Asked) -> str:
    flavor = _one_of("hw:cpu_policy", asked, POLICIES)
    image = _one_of("hw_cpu_policy", asked, POLICIES)
    if (flavor, image) in ((MIXED, DEDICATED), (SHARED, MIXED), (SHARED, DEDICATED)):
        _contradicts("hw_cpu_policy", image, "hw:cpu_policy", flavor)
    return flavor or image


def _thread_policy(asked: Asked) -> str:
    flavor = _one_of("hw:cpu_thread_policy", asked, THREAD_POLICIES)
    image = _one_of("hw_cpu_thread_policy", asked, THREAD_POLICIES)
    if flavor in (ISOLATE, REQUIRE) and image and image != flavor:
        _contradicts("hw_cpu_thread_policy", image, "hw:cpu_thread_policy", flavor)
    return flavor or image


def _policy_by_resources(asked: Asked, policy: str, emulator: str) -> str:
    """``resources:PCPU`` and ``resources:VCPU`` say it, too, but not beside a policy."""
    floating, pinned = _resources(asked, "VCPU"), _resources(asked, "PCPU")
    if policy and (floating or pinned):
        name = "resources:PCPU" if pinned else "resources:VCPU"
        _contradicts(name, pinned or floating, "hw:cpu_policy (of flavor or image)", policy)
    if floating and pinned:
        _contradicts("resources:VCPU", floating, "resources:PCPU", pinned)
    needed = asked.vcpus + int(emulator == ISOLATE)
    if pinned and pinned != needed:
        reason = f"must be {needed}: a CPU for each vCPU, and one for isolated emulator threads"
        raise NumaRequestError("resources:PCPU", pinned, reason)
    if pinned:
        return DEDICATED
    return policy or SHARED


def _resources(asked: Asked, name: str) -> int:
    """The sum over all groups; what is no number is refused by others."""
    found = 0
    for key, value in asked.extra_specs.items():
        # As Nova looks for it: whatever the key ends in.
        if re.match(rf"resources([1-9][0-9]*)?:{name}", key):
            try:
                found += int(value)
            except ValueError:
                continue
    return found


def _threads_by_trait(asked: Asked, threads: str) -> str:
    trait = _hyperthreading(asked)
    if threads and trait:
        key = "hw:cpu_thread_policy (of flavor or image)"
        _contradicts("trait:HW_CPU_HYPERTHREADING", trait, key, threads)
    return {"forbidden": ISOLATE, "required": REQUIRE}.get(trait, threads)


def _hyperthreading(asked: Asked) -> str:
    for key, value in asked.extra_specs.items():
        if re.match(r"trait([1-9][0-9]*)?:HW_CPU_HYPERTHREADING", key):
            return value
    by_image = asked.image.get("trait:HW_CPU_HYPERTHREADING")
    return "required" if by_image == "required" else ""


def _agree(
    asked: Asked, policy: str, threads: str, emulator: str, realtime: Cpus, mask: Cpus
) -> None:
    """Raise NumaRequestError where one policy makes no sense with another."""
    specs = asked.extra_specs
    needs_pins = "needs CPUs of its own (hw:cpu_policy=dedicated or mixed)"
    if policy == SHARED and threads:
        raise NumaRequestError("hw:cpu_thread_policy", threads, needs_pins)
    if policy == SHARED and emulator == ISOLATE:
        raise NumaRequestError("hw:emulator_threads_policy", emulator, needs_pins)
    if policy != MIXED and mask:
        reason = "is for hw:cpu_policy=mixed only"
        raise NumaRequestError("hw:cpu_dedicated_mask", specs["hw:cpu_dedicated_mask"], reason)
    if policy == SHARED and realtime:
        raise NumaRequestError("hw:cpu_realtime", specs["hw:cpu_realtime"], needs_pins)
    if policy == MIXED and bool(realtime) == bool(mask):
        reason = "needs hw:cpu_dedicated_mask or a realtime mask, and not both"
        raise NumaRequestError("hw:cpu_policy", policy, reason)


def _contradicts(key: str, value: object, other: str, its: object) -> NoReturn:
    raise NumaRequestError(key, value, f"contradicts {other}={its}")


# --- masks -------------------------------------------------------------------------------


def _dedicated_mask(asked: Asked) -> Cpus:
    key = "hw:cpu_dedicated_mask"
    text = asked.extra_specs.get(key) or ""
    if not text:
        return frozenset()
    cpus, everyone = _masked(key, text, asked.vcpus), frozenset(range(asked.vcpus))
    if not cpus or not everyone - cpus:
        raise NumaRequestError(key, text, "must leave some vCPUs dedicated and some shared")
    _within(key, text, cpus, asked.vcpus)
    return cpus


def _realtime_cpus(asked: Asked, emulator: str) -> Cpus:
    if not _true(asked.extra_specs.get("hw:cpu_realtime", "")):
        return frozenset()
    flavor, image = asked.both("cpu_realtime_mask")
    key = "hw_cpu_realtime_mask" if image else "hw:cpu_realtime_mask"
    text, everyone = image or flavor, frozenset(range(asked.vcpus))
    cpus = _masked(key, text, asked.vcpus) if text else everyone
    if not cpus:
        raise NumaRequestError(key, text, "has no vCPU in it")
    if cpus == everyone and not emulator:
        reason = "leaves no vCPU for the emulator; leave one out, or set hw:emulator_threads_policy"
        raise NumaRequestError(key, text, reason)
    _within(key, text, cpus, asked.vcpus)
    return cpus


def _masked(key: str, text: str, vcpus: int) -> Cpus:
    """The vCPUs of a mask; one that begins with ``^`` says which of all are not in it."""
    whole = f"0-{vcpus - 1},{text}" if text.strip().startswith("^") else text
    return _read(key, text, lambda _text: cpu_set(whole))


def _within(key: str, text: str, cpus: Cpus, vcpus: int) -> None:
    if cpus and max(cpus) >= vcpus:
        raise NumaRequestError(key, text, f"has vCPU {max(cpus)}, the last one is {vcpus - 1}")


def _read(key: str, value: str, read: Callable[[str], T]) -> T:
    try:
        return read(value)
    except ValueError as error:
        reason = f"cannot be read: {error}"
        raise NumaRequestError(key, value, reason) from None


def _true(text: str) -> bool:
    return text.strip().lower() in TRUE


# --- cells -------------------------------------------------------------------------------


def _cells(asked: Asked, policy: str, pinned: Cpus) -> tuple[GuestCell, ...]:
    """None without a wish: only cells, pages, CPUs of its own and pmem make a topology."""
    # Nova reads the image's whether they matter or not.
    image_cpus = _listed(asked.image, "hw_numa_cpus", cpu_set)
    image_memory = _listed(asked.image, "hw_numa_mem", int)
    count = _count(asked)
    pages = _page_size(asked)
    pmem = any(label.strip() for label in (asked.extra_specs.get("hw:pmem") or "").split(","))
    _locked_memory(asked)
    if not (count or pages or pmem or policy in (DEDICATED, MIXED)):
        return ()
    cpus = _either(asked, "numa_cpus", cpu_set, image_cpus)
    memory = _either(asked, "numa_mem", int, image_memory)
    count = count or 1
    if bool(cpus) != bool(memory):
        key = "hw:numa_cpus" if cpus else "hw:numa_mem"
        reason = "must come with the other of hw:numa_cpus.N and hw:numa_mem.N"
        raise NumaRequestError(f"{key}.0", (cpus or memory)[0], reason)
    if cpus:
        _complete(asked, count, cpus, memory)
    else:
        cpus, memory = _even(asked, count)
    return tuple(
        GuestCell(
            id=number,
            cpus=tuple(sorted(own - pinned)),
            pinned_cpus=tuple(sorted(own & pinned)),
            memory_mib=mib,
            page_size_kib=int(pages),
        )
        for number, (own, mib) in enumerate(zip(cpus, memory, strict=True))
    )


def _count(asked: Asked) -> int:
    flavor, image = asked.both("numa_nodes")
    if flavor and image:
        _contradicts("hw_numa_nodes", image, "hw:numa_nodes", flavor)
    key, text = ("hw:numa_nodes", flavor) if flavor else ("hw_numa_nodes", image)
    # Of an image Nova takes any text that is a number, of a flavor only its plain form.
    number = _read(key, text, int) if text else 0
    plain = not flavor or str(number) == text
    if text and (number < 1 or not plain):
        raise NumaRequestError(key, text, "is no number of cells, 1 or more")
    return number


def _listed(given: Texts, prefix: str, read: Callable[[str], T]) -> list[T]:
    """The values PREFIX.0, PREFIX.1 and so on."""
    keys = itertools.takewhile(given.__contains__, (f"{prefix}.{n}" for n in range(MOST_CELLS)))
    return [_read(key, given[key], read) for key in keys]


def _either(asked: Asked, name: str, read: Callable[[str], T], image: list[T]) -> list[T]:
    """The values of the flavor or those of the image."""
    flavor = _listed(asked.extra_specs, f"hw:{name}", read)
    if flavor and image:
        first = asked.image[f"hw_{name}.0"], asked.extra_specs[f"hw:{name}.0"]
        _contradicts(f"hw_{name}.0", first[0], f"hw:{name}.0", first[1])
    return flavor or image


def _even(asked: Asked, count: int) -> tuple[list[Cpus], list[int]]:
    for amount, what in ((asked.vcpus, "vCPUs"), (asked.ram_mib, "MiB of memory")):
        if amount % count:
            reason = f"does not divide the {amount} {what} of the flavor"
            raise NumaRequestError("hw:numa_nodes", count, reason)
    each = asked.vcpus // count
    cpus = [frozenset(range(cell * each, (cell + 1) * each)) for cell in range(count)]
    return cpus, [asked.ram_mib // count] * count


def _complete(asked: Asked, count: int, cpus: list[Cpus], memory: list[int]) -> None:
    """Raise NumaRequestError unless each vCPU and all memory are in one cell."""
    for key, given in (("hw:numa_cpus", cpus), ("hw:numa_mem", memory)):
        if len(given) != count:
            reason = f"is one of {len(given)}, but the guest has {count} cells (hw:numa_nodes)"
            raise NumaRequestError(f"{key}.{len(given) - 1}", given[-1], reason)
    left = set(range(asked.vcpus))
    for cell, own in enumerate(cpus):
        key, text = f"hw:numa_cpus.{cell}", ",".join(map(str, sorted(own)))
        _within(key, text, own, asked.vcpus)
        if own - left:
            raise NumaRequestError(key, text, f"has vCPU {min(own - left)} of another cell")
        left -= own
    if left:
        reason = f"and the others leave out vCPU {min(left)}"
        raise NumaRequestError("hw:numa_cpus.0", sorted(cpus[0]), reason)
    if sum(memory) != asked.ram_mib:
        reason = f"and the others make {sum(memory)} MiB, the flavor has {asked.ram_mib}"
        raise NumaRequestError("hw:numa_mem.0", memory[0], reason)


# --- memory ------------------------------------------------------------------------------


def _page_size(asked: Asked) -> float:
    """In KiB, or one of the wishes; 0 for none. An image may choose where the flavor lets it."""
    flavor, image = asked.both("mem_page_size")
    if image and not flavor:
        reason = "needs hw:mem_page_size=large or any in the flavor"
        raise NumaRequestError("hw_mem_page_size", image, reason)
    if not flavor:
        return 0
    size = _read("hw:mem_page_size", flavor, _size)
    if image and size not in (ANY_PAGES, LARGE_PAGES):
        _contradicts("hw_mem_page_size", image, "hw:mem_page_size", flavor)
    return _read("hw_mem_page_size", image, _size) if image else size


def _size(text: str) -> float:
    if text in PAGE_WISHES:
        return PAGE_WISHES[text]
    if text.isdigit():
        return int(text)
    found = re.fullmatch(rf"([-+]?\d*\.?\d+)(?:([{PREFIXES}])i?)?(b|bit|B)", text)
    if not found:
        raise ValueError("it is none of small, large and any, no number of KiB and no size as 1GB")
    octets = float(found[1]) / (1 if found[3] == "B" else 8)
    octets *= 1024 ** (PREFIXES.index(found[2]) + 1 if found[2] else 0)
    # A part of a byte counts as one.
    return -int(-octets // 1) / 1024


def _locked_memory(asked: Asked) -> None:
    flavor, image = (asked.extra_specs.get("hw:locked_memory"), asked.image.get("hw_locked_memory"))
    if flavor is not None and image is not None and _true(flavor) != _true(image):
        _contradicts("hw_locked_memory", image, "hw:locked_memory", flavor)
    locked = flavor if flavor is not None else image
    if locked is not None and _true(locked) and not any(asked.both("mem_page_size")):
        key = "hw:locked_memory" if flavor is not None else "hw_locked_memory"
        raise NumaRequestError(key, locked, "needs hw:mem_page_size")


# --- devices -----------------------------------------------------------------------------


def _devices(asked: Asked, ports: Iterable[NumaPort]) -> tuple[PciRequest, ...]:
    affinity = _affinity(asked)
    found = list(_aliases(asked, affinity or "legacy"))
    for port in ports:
        if port.vnic_type in SRIOV_KINDS:
            own = port.affinity or affinity or "legacy"
            kind = SRIOV_KINDS[port.vnic_type]
            found.append(PciRequest(1, "", port.physical_network, own, kind))
    return tuple(found)


def _affinity(asked: Asked) -> str:
    flavor = _one_of("hw:pci_numa_affinity_policy", asked, AFFINITIES)
    image = _one_of("hw_pci_numa_affinity_policy", asked, AFFINITIES)
    if flavor and image and flavor != image:
        key = "hw:pci_numa_affinity_policy"
        _contradicts("hw_pci_numa_affinity_policy", image, key, flavor)
    return flavor or image


def _aliases(asked: Asked, affinity: str) -> Iterable[PciRequest]:
    key = "pci_passthrough:alias"
    text = asked.extra_specs.get(key)
    for part in text.split(",") if text is not None else ():
        name, _colon, count = part.partition(":")
        if not name.strip() or not re.fullmatch(r"\s*[1-9]\d*\s*", count, re.ASCII):
            raise NumaRequestError(key, text, f"has {part!r}; write it as ALIAS:COUNT,ALIAS:COUNT")
        yield PciRequest(int(count), name.strip(), "", affinity)
