# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The nouns of a fleet: hosts, guests by the room that they need, batches of hosts.

This module util is **PRIVATE** to the collection: it may change without notice.
Slimmer than :mod:`model`, because a fleet has tens of thousands of guests: what decides where a
guest fits is its ``Kind``, and all guests of a kind share one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NO_DOMAIN, ZONE, FAULT_DOMAIN = "none", "availability_zone", "fault_domain"
#: Policies whose members are not to leave two hosts at a time.
SPREADING = frozenset({"anti-affinity", "soft-anti-affinity"})


@dataclass(frozen=True, slots=True)
class Kind:
    """What decides where a guest fits: resource classes, pinned zone, traits. ``seconds``: to move.

    ``needs``: (resource class, amount), sorted, none of them 0.
    """

    needs: tuple[tuple[str, int], ...]
    zone: str = ""
    required: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class FleetGuest:
    """A guest. ``group``: the ID of its server group, "" where it is in none."""

    id: str
    name: str
    host: str
    kind: Kind
    group: str = ""


@dataclass(frozen=True, slots=True)
class FleetGroup:
    """A server group. ``most``: members that a host may have (anti-affinity), 0 for any number."""

    id: str
    name: str
    policy: str
    most: int = 0


@dataclass(frozen=True, slots=True)
class FleetHost:
    """A compute host. ``free``: by resource class. ``unusable``: why it takes no guests, "" if it
    does. ``down``: its guests cannot leave it alive. ``domain``: its rack, or whatever fails whole.
    """

    name: str
    free: Mapping[str, int]
    zone: str = ""
    domain: str = ""
    unusable: str = ""
    down: bool = False
    aggregates: tuple[str, ...] = ()
    traits: frozenset[str] = frozenset()
    hypervisor_type: str = ""
    hypervisor_version: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """How hosts may be put together; the module's defaults.

    ``aggregate_limit``: hosts that an aggregate may lose at a time, as a number ("2"), a
    percentage ("10%"), or "" for StarlingX's rule. ``within``: hosts of a batch come from one zone
    or one fault domain. ``canary``: the first batch is one host. ``max_parallel``: guests that
    leave a host at a time; for the prediction only.
    """

    max_hosts: int = 2
    aggregate_limit: str = ""
    within: str = NO_DOMAIN
    canary: bool = False
    max_parallel: int = 1


@dataclass(frozen=True, slots=True)
class Move:
    """``count`` guests of one kind from a host to another; ``guest``: the one, if in a group."""

    kind: Kind
    source: str
    destination: str
    count: int
    guest: FleetGuest | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Hosts that can be drained side by side. ``guests``: how many are on them by then.

    ``kept_out``: rule -> how many other hosts it kept out of this batch.
    """

    hosts: tuple[str, ...]
    guests: int
    seconds: float
    moves: tuple[Move, ...] = ()
    kept_out: Mapping[str, int] = field(default_factory=dict)
    canary: bool = False


@dataclass(frozen=True, slots=True)
class Undrainable:
    """A host that can be in no batch. ``guests``: names of those to blame, as far as known.

    ``short``: resource class -> how much more of it would be needed.
    """

    host: str
    code: str
    reason: str
    remedy: str
    guests: tuple[str, ...] = ()
    short: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """The batches in their order, and what is in none."""

    batches: tuple[Batch, ...]
    undrainable: tuple[Undrainable, ...] = ()
