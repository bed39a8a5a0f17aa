# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The third witness: where libvirt has a guest, and what is wrong when Nova disagrees.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Domains

#: The two hosts are not asked at the same moment: what one look finds wrong must still be wrong
#: so many seconds later.
SECOND_LOOK = 5.0
#: After these nothing new is started.
ALARMS = frozenset({"split_brain", "lost"})
REPAIR = "docs/witnesses.md"
RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Sight:
    """Where libvirt has one guest: its state on each side, in Nova's words for power states.

    ``""``: no such domain there. ``None``: that host could not be asked. ``leftover``: the source
    has no domain of it any more, but its instance directory.
    """

    source: str | None = None
    destination: str | None = None
    leftover: bool = False

    @property
    def complete(self) -> bool:
        return self.source is not None and self.destination is not None


NOT_ASKED = Sight()


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with where a guest is. ``passes``: it may pass by itself."""

    code: str
    reason: str
    remedy: str
    passes: bool = False


def look(guest_id: str, source: str, destination: str, said: Mapping[str, Domains]) -> Sight:
    """What the hosts' libvirt ``said`` (by host) of one guest."""

    def state(host: str) -> str | None:
        domains = said.get(host)
        return None if domains is None or domains.error else domains.states.get(guest_id, "")

    on_source = state(source)
    leftover = on_source == "" and guest_id in said[source].leftovers
    return Sight(on_source, state(destination), leftover)


def alarm(sight: Sight, source: str, destination: str) -> Finding | None:
    """Does the guest run twice, or nowhere at all? Whatever Nova says."""
    if not sight.complete:
        return None
    if sight.source == sight.destination == RUNNING:
        return Finding(
            "split_brain",
            f"libvirt has it running on {source} and on {destination}",
            "pause it on one side at once, before both write to its volumes; then see"
            f" {REPAIR}, 'It runs on both hosts'",
        )
    if not sight.source and not sight.destination:
        return Finding(
            "lost",
            f"libvirt has it neither on {source} nor on {destination}",
            "do not start or evacuate it before you know why; see"
            f" {REPAIR}, 'It is on neither host'",
        )
    return None


def misplaced(sight: Sight, source: str, destination: str) -> Finding | None:
    """Is a guest, which Nova has on its source, not there and only there?

    None also when no hypervisor could be asked.
    """
    found = alarm(sight, source, destination)
    if found is not None:
        return found
    only_there = sight.source == "" or (sight.source != RUNNING == sight.destination)
    if sight.destination and only_there:
        return _moved_unnoticed(sight, source, destination)
    if sight.destination:
        return _on_both(sight, source, destination)
    if sight.source == "":
        return Finding(
            "domain",
            f"libvirt does not have it on {source}, where Nova has it",
            f"look for it on the other hosts (virsh list --all) before its state is reset; see"
            f" {REPAIR}",
        )
    return None


def _moved_unnoticed(sight: Sight, source: str, destination: str) -> Finding:
    return Finding(
        "runs_on_destination",
        f"libvirt has it on {destination} ({sight.destination}), Nova on {source}",
        "do not reset its state, start or migrate it: Nova's record must be repaired first; see"
        f" {REPAIR}, 'It runs on the destination, and Nova says the source'",
    )


def _on_both(sight: Sight, source: str, destination: str) -> Finding:
    where = [
        f"{host} ({state})"
        for host, state in ((source, sight.source), (destination, sight.destination))
        if state
    ]
    return Finding(
        "domain",
        f"libvirt has it on {' and on '.join(where)}, Nova on {source}",
        f"stop all work on this guest and compare both hosts with virsh list --all; see {REPAIR}",
        passes=True,
    )
