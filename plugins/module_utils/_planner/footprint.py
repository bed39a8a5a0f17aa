# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What a guest asks of Placement, from its flavor and image, for when nobody can ask for each.

This module util is **PRIVATE** to the collection: it may change without notice.
The rules are Nova's (nova/scheduler/utils.py, ResourceRequest). Not seen are devices: PCI aliases,
and ports with resources or traits of their own.
"""

from __future__ import annotations

import re
from collections import Counter

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Guest
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_sets import cpu_set

#: ``resources:VCPU`` replaces what the flavor says, ``resources1:VGPU`` asks for more.
RESOURCES = re.compile(r"resources(\w*):(\w+)", re.ASCII)


def needs(guest: Guest) -> dict[str, int]:
    """Resource class -> amount, none of them 0."""
    pinned = dedicated(guest)
    isolated = guest.extra_specs.get("hw:emulator_threads_policy") == "isolate"
    found = Counter(
        VCPU=guest.vcpus - pinned,
        PCPU=pinned + (1 if pinned and isolated else 0),
        MEMORY_MB=guest.ram_mib,
        DISK_GB=guest.disk_gib,
    )
    for key, text in sorted(guest.extra_specs.items()):
        asked = RESOURCES.fullmatch(key)
        if not asked or not text.isdecimal():
            continue
        suffix, name = asked.groups()
        found[name] = int(text) + (found[name] if suffix else 0)
    return {name: amount for name, amount in sorted(found.items()) if amount > 0}


def dedicated(guest: Guest) -> int:
    """How many of its CPUs have a host's CPU for themselves."""
    policy = guest.extra_specs.get("hw:cpu_policy") or guest.image_properties.get("hw_cpu_policy")
    if policy == "dedicated":
        return guest.vcpus
    mask = guest.extra_specs.get("hw:cpu_dedicated_mask", "")
    if policy != "mixed" or not mask:
        return 0
    try:
        return len(cpu_set(f"0-{guest.vcpus - 1},{mask}" if mask.startswith("^") else mask))
    except ValueError:
        return guest.vcpus


def traits(guest: Guest, wish: str) -> frozenset[str]:
    """Traits that flavor or image have as ``wish``: required or forbidden."""
    return frozenset(
        key.partition(":")[2]
        for texts in (guest.extra_specs, guest.image_properties)
        for key, text in texts.items()
        if key.startswith("trait:") and text == wish
    )
