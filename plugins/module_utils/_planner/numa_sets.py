# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Sets of CPUs and reserved pages, as nova.conf writes them, and what Nova makes of them.

This module util is **PRIVATE** to the collection: it may change without notice.
The rules are Nova's (nova/virt/hardware.py: parse_cpu_spec, numa_get_reserved_huge_pages;
nova/virt/libvirt/driver.py: _check_cpu_set_configuration, _get_host_numa_topology).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: KiB of the units that oslo.utils knows, for a byte and for a bit.
UNITS = {"": 1, "K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}

Cpus = frozenset[int]


class BadSetting(ValueError):
    """A value that nova-compute does not start with. ``name``: the option, ``group.name``."""

    def __init__(self, name: str, value: object, why: str, remedy: str) -> None:
        super().__init__(f"{name}: {value!r} {why}. {remedy}")
        self.name, self.value, self.why, self.remedy = name, value, why, remedy


def cpu_set(text: str) -> Cpus:
    """The CPUs of a text such as ``1-4,^3,6``. Raises ValueError with the part that is wrong."""
    taken: set[int] = set()
    left: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = re.fullmatch(r"(\^?)\s*(\d+)(?:\s*-\s*(\d+))?", part, re.ASCII)
        if not found:
            raise ValueError(f"has {part!r}, which is neither a CPU nor a range")
        first, last = int(found[2]), int(found[3] or found[2])
        if first > last:
            raise ValueError(f"has {part!r}, a range that ends before it begins")
        (left if found[1] else taken).update(range(first, last + 1))
    return frozenset(taken - left)


def cpu_text(cpus: Iterable[int]) -> str:
    """``1-4,6``: the text of such a set, as Nova writes it."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


# --- whose CPUs ----------------------------------------------------------------------------------

SHARED, DEDICATED, LEGACY = "compute.cpu_shared_set", "compute.cpu_dedicated_set", "vcpu_pin_set"


@dataclass(frozen=True, slots=True)
class CpuSets:
    """CPUs for guests without pins, and for guests with pins."""

    shared: Cpus
    dedicated: Cpus


def cpu_sets(
    texts: Mapping[str, str], online: Cpus, present: Cpus, power_management: bool = False
) -> CpuSets:
    """What Nova takes from ``texts``: SHARED, DEDICATED and LEGACY, each may be missing.

    ``present``: CPUs that the host has, with those that are off line; they may be dedicated ones
    where Nova manages their power. Raises BadSetting where nova-compute would not start.
    """
    read = {name: _read(name, text) for name, text in texts.items() if text}
    shared, dedicated, legacy = (read.get(name) for name in (SHARED, DEDICATED, LEGACY))
    if legacy is not None and dedicated is not None:
        raise BadSetting(
            LEGACY, texts[LEGACY], f"cannot be set beside {DEDICATED}", f"Unset {LEGACY}"
        )
    if shared and dedicated and shared & dedicated and legacy is None:
        both = cpu_text(shared & dedicated)
        why = f"has CPUs that {SHARED} has, too: {both}"
        raise BadSetting(DEDICATED, texts[DEDICATED], why, "Have each CPU in one of them only")
    name = SHARED if legacy is None else LEGACY
    _exist(name, texts, read.get(name), online)
    _exist(DEDICATED, texts, dedicated, present if power_management else online)
    floating = legacy if legacy is not None else shared
    if floating is None:
        floating = frozenset() if dedicated else online
    # Without a set of their own pinned guests share: so hosts of before Train went on to work.
    if not dedicated and (shared is None or legacy is not None):
        dedicated = floating
    return CpuSets(floating, dedicated or frozenset())


def _read(name: str, text: str) -> Cpus:
    remedy = "Write it as 1-4,^3,6: CPUs and ranges, and ^ before what is not in it"
    try:
        cpus = cpu_set(text)
    except ValueError as error:
        raise BadSetting(name, text, str(error), remedy) from None
    if not cpus:
        raise BadSetting(name, text, "has no CPU in it", remedy)
    return cpus


def _exist(name: str, texts: Mapping[str, str], cpus: Cpus | None, there: Cpus) -> None:
    if cpus and cpus - there:
        why = f"has CPUs that are not on line here: {cpu_text(cpus - there)}"
        remedy = f"This host has {cpu_text(there)}: take the others out"
        raise BadSetting(name, texts[name], why, remedy)


# --- reserved pages ------------------------------------------------------------------------------

RESERVED = "reserved_huge_pages"
#: (cell, size in KiB) -> pages.
Reserved = Mapping[tuple[int, int], int]


def reserved_pages(texts: Sequence[str]) -> Reserved:
    """``node:0,size:2048,count:64``, one text for each cell and size; the last one of two counts.

    Raises BadSetting.
    """
    return dict(_reserved(text) for text in texts)


def _reserved(text: str) -> tuple[tuple[int, int], int]:
    pairs = (part.split(":", 1) for part in text.split(",") if part.strip())
    given = {pair[0].strip(): pair[-1].strip() for pair in pairs}
    size = re.fullmatch(r"(\d+)(?:([KMGT]?)i?B)?", given.get("size", ""), re.ASCII)
    numbers = [given.get(name, "") for name in ("node", "count")]
    if not size or not all(re.fullmatch(r"\d+", number, re.ASCII) for number in numbers):
        remedy = "Write it as node:0,size:2048,count:64, the size in KiB or as 1GB"
        raise BadSetting(RESERVED, text, "says no cell, size and number of pages", remedy)
    # Bytes that are no whole KiB are no page size either.
    kib = int(size[1]) * UNITS[size[2] or ""]
    if size[0].endswith("B") and not size[2]:
        kib //= 1024
    return (int(numbers[0]), kib), int(numbers[1])
