# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Do these guests fit these hosts: a verdict for each pair, and whether that is enough.

This module util is **PRIVATE** to the collection: it may change without notice.
Placement is asked before the cells, as Nova's scheduler does (nova/scheduler/utils.py,
ResourceRequest; nova/virt/hardware.py for the cells).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Room
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa import fit, take
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    FIT,
    NO_FIT,
    UNKNOWN,
    CellFit,
    GuestNuma,
    NumaVerdict,
)

#: Who was seen: the host's cells, or only what the APIs say of it.
HYPERVISOR, API = "hypervisor", "api"
STRICT, BEST_EFFORT = "strict", "best_effort"
ANY, ALL = "any", "all"
HYPERTHREADING = "HW_CPU_HYPERTHREADING"
SOCKET_AFFINITY = "COMPUTE_SOCKET_PCI_NUMA_AFFINITY"
#: Of a guest whose flavor and image make no sense, and until it is known what it asks for.
NOTHING = GuestNuma()
#: Resource class -> code of a verdict, in the order in which a lack of them is told.
SHORTAGES = {"PCPU": "dedicated_cpus", "VCPU": "shared_cpus", "MEMORY_MB": "memory"}


@dataclass(frozen=True, slots=True)
class Asker:
    """A guest, or one of a flavor that does not exist (``id`` "").

    ``fault``: why nothing can be asked for it: its flavor and image make no sense.
    ``here``: its cells on the host ``host`` where it is. ``page_size_kib``: of a guest that runs
    and did not ask for a size in numbers, the size that it got and keeps; 0 if nothing binds it.
    """

    id: str
    name: str
    flavor: str = ""
    host: str = ""
    request: GuestNuma = NOTHING
    fault: str = ""
    here: tuple[CellFit, ...] = ()
    page_size_kib: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asserted: ``affinity`` strict or best_effort, ``require`` any or all hosts,
    ``together``: each guest counts for those after it, ``elsewhere``: not on its own host.
    """

    affinity: str = STRICT
    require: str = ANY
    together: bool = False
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """One guest on one host. ``accepted``: by the terms. ``taken``: it counts for the others."""

    asker: Asker
    host: str
    verdict: NumaVerdict
    seen: str
    accepted: bool = False
    taken: bool = False


def check(askers: Sequence[Asker], rooms: Iterable[Room], terms: Terms) -> tuple[Pair, ...]:
    """A pair for every guest and every host, guest by guest.

    Together: the largest guest first, on the first host that takes it without a doubt.
    """
    now = {room.host: room for room in rooms}
    found: list[Pair] = []
    for asker in sorted(askers, key=_size, reverse=True) if terms.together else askers:
        allowed = [r for r in now.values() if not (terms.elsewhere and r.host == asker.host)]
        pairs = [_judged(asker, room, terms) for room in allowed]
        if terms.together:
            chosen = _chosen(pairs, terms)
            pairs = [replace(pair, taken=pair in chosen) for pair in pairs]
            now |= {pair.host: _after(now[pair.host], pair) for pair in chosen}
        found += pairs
    return tuple(found)


def holds(pairs: Iterable[Pair], terms: Terms) -> bool:
    """Is this enough for the guest whose pairs these are?"""
    accepted = [pair.accepted for pair in pairs]
    return bool(accepted) and (all(accepted) if terms.require == ALL else any(accepted))


# --- one pair ----------------------------------------------------------------------------


def judge(asker: Asker, room: Room) -> tuple[NumaVerdict, str]:
    """The verdict, and who was seen for it."""
    if asker.fault:
        return NumaVerdict(NO_FIT, "bad_request", asker.fault), API
    if asker.host and asker.host == room.host:
        return NumaVerdict(FIT, "here", "it is there", cells=asker.here), API
    from_api = by_api(asker.request, room)
    if from_api.result == NO_FIT or room.numa is None:
        return from_api, API
    return _with_its_pages(asker, fit(asker.request, room.numa)), HYPERVISOR


def _with_its_pages(asker: Asker, verdict: NumaVerdict) -> NumaVerdict:
    """Live it keeps its page size (nova/compute/claims.py, _test_live_migration_page_size)."""
    kept = asker.page_size_kib
    got = verdict.cells[0].page_size_kib if verdict.cells else kept
    if verdict.result != FIT or not kept or got == kept:
        return verdict
    reason = f"it would get pages of {got} KiB, and while it runs it keeps its pages of {kept} KiB"
    return NumaVerdict(NO_FIT, "page_size", reason)


def by_api(request: GuestNuma, room: Room) -> NumaVerdict:
    """What Placement alone can say of a guest on a host: no, or that it does not know."""
    if not room.free:
        return NumaVerdict(NO_FIT, "memory", "Placement has no memory left on it")
    for resource, needed in needs(request, room.free).items():
        free = room.free.get(resource, 0)
        if needed > free:
            reason = f"{max(0, free)} {resource} are free in Placement, {needed} needed"
            return NumaVerdict(NO_FIT, SHORTAGES[resource], reason)
    return _refused_by_traits(request, room) or NumaVerdict(UNKNOWN, "unseen", _unseen(request))


def needs(request: GuestNuma, free: Mapping[str, int]) -> dict[str, int]:
    """Resource class -> amount that the guest takes in Placement, but for disks and devices."""
    pinned = sum(len(cell.pinned_cpus) for cell in request.cells)
    floating = sum(len(cell.cpus) for cell in request.cells) if request.cells else request.vcpus
    memory = sum(cell.memory_mib for cell in request.cells) or request.memory_mib
    if pinned and request.emulator_threads == "isolate":
        pinned += 1
    # Nova then asks for VCPU in their place (cpu_dedicated_set is not set there).
    if "PCPU" not in free:
        pinned, floating = 0, pinned + floating
    wanted = {"PCPU": pinned, "VCPU": floating, "MEMORY_MB": memory}
    return {resource: amount for resource, amount in wanted.items() if amount}


def _refused_by_traits(request: GuestNuma, room: Room) -> NumaVerdict | None:
    has_threads = HYPERTHREADING in room.traits
    policy = request.thread_policy if "PCPU" in room.free else ""
    if policy == "require" and not has_threads:
        reason = f"it requires threads, and the host lacks the trait {HYPERTHREADING}"
        return NumaVerdict(NO_FIT, "thread_policy", reason)
    if policy == "isolate" and has_threads:
        reason = f"it wants cores of its own, and Nova refuses it hosts with {HYPERTHREADING}"
        return NumaVerdict(NO_FIT, "thread_policy", reason)
    wants_socket = any(device.affinity == "socket" for device in request.devices)
    if wants_socket and SOCKET_AFFINITY not in room.traits:
        reason = f"a device must be on its socket, and the host lacks the trait {SOCKET_AFFINITY}"
        return NumaVerdict(NO_FIT, "pci_affinity", reason)
    return None


def _unseen(request: GuestNuma) -> str:
    wanted = []
    if any(cell.pinned_cpus for cell in request.cells):
        wanted.append("free dedicated CPUs")
    if any(cell.page_size_kib for cell in request.cells):
        wanted.append("free pages")
    wanted.append("CPUs and memory" if request.cells else "whether a single one has room for it")
    if request.devices:
        wanted.append("devices")
    if request.networks or request.tunnelled:
        wanted.append("networks")
    return f"Placement has room for it; the host's cells are not seen ({', '.join(wanted)})"


# --- all pairs ---------------------------------------------------------------------------


def _judged(asker: Asker, room: Room, terms: Terms) -> Pair:
    verdict, seen = judge(asker, room)
    return Pair(asker, room.host, verdict, seen, accepted=_accepted(verdict, terms.affinity))


def _accepted(verdict: NumaVerdict, affinity: str) -> bool:
    if affinity == STRICT:
        return verdict.result == FIT and not verdict.spread
    return verdict.result != NO_FIT


def _chosen(pairs: Sequence[Pair], terms: Terms) -> list[Pair]:
    accepted = [pair for pair in pairs if pair.accepted]
    if terms.require == ALL:
        return accepted
    doubts = sorted(accepted, key=lambda p: (p.verdict.result != FIT, p.verdict.spread))
    return doubts[:1]


def _after(room: Room, pair: Pair) -> Room:
    """The host with the guest on it; one that is there already counts as it is."""
    if pair.asker.host == room.host:
        return room
    request, numa = pair.asker.request, room.numa
    if numa is not None and pair.verdict.result == FIT:
        numa = take(request, numa, pair.verdict, pair.asker.id)
    elif numa is not None:
        numa = replace(numa, unseen=(*numa.unseen, f"where {pair.asker.name} would be"))
    needed = needs(request, room.free)
    free = {resource: have - needed.get(resource, 0) for resource, have in room.free.items()}
    return replace(room, free=free, numa=numa)


def _size(asker: Asker) -> tuple[int, int, int]:
    cells = asker.request.cells
    pinned = sum(len(cell.pinned_cpus) for cell in cells)
    memory = sum(cell.memory_mib for cell in cells) or asker.request.memory_mib
    return pinned, memory, asker.request.vcpus
