# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Hosts of a fleet that can be in no batch: why, what is missing, what to do.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.lowtide.compute.plugins.module_utils._planner.fleet_model import (
    Undrainable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.ground import Ground
from ansible_collections.lowtide.compute.plugins.module_utils._planner.packing import (
    Shortage,
)

#: Why no host takes a guest, the latest check first -> code, what is wrong, what to do.
REFUSALS = {
    "group": (
        "anti_affinity",
        "every other host that may take it has as many members of its group as may be there",
        "Add a host, or try again when the group has fewer members",
    ),
    "hypervisor": (
        "older_hypervisor",
        "every other host runs an older hypervisor, or one of another type",
        "Upgrade another host first: guests move to the same or a newer version only",
    ),
    "traits": (
        "traits",
        "no other host has the traits that are required ({traits}) and none that are forbidden",
        "Give another host these traits, or resize the guests",
    ),
    "zone": (
        "availability_zone",
        "pinned to availability zone {zone}, in which no other host takes guests",
        "Add or enable a host in {zone}, or unpin the guests (compute API 2.104)",
    ),
    "usable": (
        "no_usable_host",
        "no other host takes guests",
        "Enable other hosts, or bring them up",
    ),
}


def before_it_starts(ground: Ground, chosen: Iterable[str]) -> list[Undrainable]:
    """The chosen hosts that cannot be drained whatever the others do."""
    found = []
    for name in chosen:
        bound = sorted(
            guest.name
            for guest in ground.members[name].values()
            if ground.groups[guest.group].policy == "affinity"
        )
        if ground.hosts[name].down and ground.counts[name]:
            found.append(
                Undrainable(
                    name,
                    "host_down",
                    "its nova-compute is down or forced down, so no guest can leave it alive",
                    "Bring nova-compute up, or evacuate its guests once the host is fenced",
                )
            )
        elif bound:
            found.append(
                Undrainable(
                    name,
                    "affinity_group",
                    "has members of hard affinity groups, which Nova keeps on their host",
                    "Recreate them without the group, or with soft-affinity",
                    tuple(bound),
                )
            )
    return found


def without_room(host: str, shortage: Shortage) -> Undrainable:
    """A host whose guests find no room on the others, as these are in the end."""
    guest, count = shortage.load.guest, shortage.load.count
    amounts = " ".join(f"{name}:{amount}" for name, amount in shortage.kind.needs)
    who = guest.name if guest else "a guest" if count == 1 else f"{count} guests"
    code, reason, remedy = _no_room(shortage) if shortage.rooms else _refused(shortage)
    return Undrainable(
        host,
        code,
        f"{who} of {amounts or 'no size'}: {reason}",
        remedy,
        (guest.name,) if guest else (),
        shortage.short if shortage.rooms else {},
    )


def _no_room(shortage: Shortage) -> tuple[str, str, str]:
    hosts = "the 1 host" if shortage.rooms == 1 else f"the {shortage.rooms} hosts"
    lacking = ", ".join(f"{amount} {name}" for name, amount in sorted(shortage.short.items()))
    what = f"short of {lacking}" if lacking else "enough of each resource, but not on one host"
    return (
        "no_room",
        f"no room left on {hosts} that may take them, {what}",
        "Add or enable hosts, or move or resize guests, and try again",
    )


def _refused(shortage: Shortage) -> tuple[str, str, str]:
    """By the refusal of those hosts that came closest to taking it."""
    why = next((each for each in REFUSALS if shortage.refusals.get(each)), "usable")
    code, reason, remedy = REFUSALS[why]
    words = {"zone": shortage.kind.zone, "traits": " ".join(sorted(shortage.kind.required))}
    return code, reason.format(**words), remedy.format(**words)
