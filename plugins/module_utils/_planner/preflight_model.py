# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The nouns of a pre-flight: what is known around a plan, and what is found wrong with it.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Options,
    Plan,
    Room,
    Service,
)

RELIABLE, UNRELIABLE, UNKNOWN = "reliable", "unreliable", "unknown"

#: What a rule may need to see, and how that reads where it was not seen.
NEEDS = {
    "nova_conf": "nova.conf of the host",
    "nova_version": "the release of Nova on the host",
    "token": "when the token ends",
    "segments": "Masakari's segments",
    "hypervisor_version": "the versions of the hypervisors",
}


@dataclass(frozen=True, slots=True)
class NovaConf:
    """What nova-compute on a host is configured to do: ``group.option`` -> its typed value.

    ``version``: of the nova package, as numbers; empty when it is not known.
    """

    options: Mapping[str, object] = field(default_factory=dict)
    version: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """The token in use: valid for ``seconds`` more; ``renewable``: by signing in anew."""

    seconds: float
    renewable: bool = True


@dataclass(frozen=True, slots=True)
class Watched:
    """What Masakari knows of a host. ``segment``: "" when it does not watch the host."""

    segment: str = ""
    on_maintenance: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """A plan, and what is known around it; ``None`` is what was not seen.

    ``rooms``: of all hosts, the source's too. ``network``: whether the migration network may be
    relied upon: reliable, unreliable or unknown. ``microversion``: the newest of the compute API.
    """

    plan: Plan
    options: Options
    service: Service | None = None
    rooms: tuple[Room, ...] = ()
    conf: NovaConf | None = None
    token: Token | None = None
    watched: Watched | None = None
    network: str = UNKNOWN
    microversion: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Blocker:
    """What keeps a guest where it is, or with ``guest_id`` "" the whole drain from beginning."""

    code: str
    reason: str
    remedy: str
    source: str
    guest_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Caution:
    """What does not block, but should be known before. ``guests``: id -> name of whom it is about.

    ``guests`` is empty where it is about the host as a whole.
    """

    code: str
    text: str
    remedy: str
    source: str
    guests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unseen:
    """A rule that matters to this plan, and what was not seen that it needs."""

    code: str
    what: str
    source: str


@dataclass(frozen=True, slots=True)
class Preflight:
    """All that was found, in the order of the rules."""

    blockers: tuple[Blocker, ...] = ()
    cautions: tuple[Caution, ...] = ()
    not_seen: tuple[Unseen, ...] = ()
