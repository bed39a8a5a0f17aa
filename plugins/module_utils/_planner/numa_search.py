# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Which cells of a host a guest's cells get: the first choice, in Nova's order, that holds.

This module util is **PRIVATE** to the collection: it may change without notice.
Nova tries one permutation of the host's cells after the other (nova/virt/hardware.py:
numa_fit_instance_to_host). :func:`match` finds the same without trying them all, where guest cells
are alike. Where they are not, Nova's memory of what it tried gets in its way, and :func:`walk`
follows it step by step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_cell import (
    Bed,
    Misfit,
    Place,
    cpus,
    limits,
    packed,
    page_size,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    GuestCell,
    GuestNuma,
    HostCell,
    HostNuma,
)

#: Permutations that are followed one by one. With more of them (from 9 cells on) Nova itself does
#: not end within a claim, and what is possible is all that can be said.
PATIENCE = 50_000

#: Whether devices and networks allow these host cells (by id).
Allows = Callable[[frozenset[int]], bool]


@dataclass(frozen=True, slots=True)
class Chosen:
    """For each guest cell a host cell and its place there. ``astray``: it has CPUs elsewhere."""

    cells: tuple[tuple[int, Place], ...]
    astray: bool = False


@dataclass(slots=True)
class Stumbles:
    """What did not fit: (guest cell's position, host cell's id) -> why, in the order it was met."""

    cells: dict[tuple[int, int], Misfit] = field(default_factory=dict)

    def note(self, position: int, host_cell: int, misfit: Misfit) -> None:
        self.cells.setdefault((position, host_cell), misfit)


def search(
    guest: GuestNuma, host: HostNuma, order: Sequence[HostCell], allows: Allows
) -> Chosen | Stumbles:
    """The cells that Nova would take, or all that it would stumble over."""
    stumbles = Stumbles()
    many, alike = math.perm(len(order), len(guest.cells)), _alike(guest)
    if many > PATIENCE or alike:
        possible = match(guest, host, order, allows, stumbles)
        if many > PATIENCE or possible is None or allows is anywhere:
            return possible or stumbles
    return walk(guest, host, order, allows, stumbles) or stumbles


def anywhere(_cells: frozenset[int]) -> bool:
    """A guest without devices and networks does not mind."""
    return True


def _alike(guest: GuestNuma) -> bool:
    """Does it make no difference which of its cells is tried first?"""
    demands = {_demand(cell) for cell in guest.cells}
    wish = any(cell.page_size_kib < 0 for cell in guest.cells)
    return len(demands) == 1 and not wish and guest.emulator_threads != "isolate"


def _demand(cell: GuestCell) -> tuple[int, ...]:
    return len(cell.cpus), len(cell.pinned_cpus), cell.memory_mib, cell.page_size_kib


def reserve_of(guest: GuestNuma, position: int) -> int:
    """CPUs for the emulator alone: one, beside the guest's first cell."""
    return int(guest.emulator_threads == "isolate" and position == 0)


# --- what is possible --------------------------------------------------------------------


def match(
    guest: GuestNuma,
    host: HostNuma,
    order: Sequence[HostCell],
    allows: Allows,
    stumbles: Stumbles,
) -> Chosen | None:
    """The first choice in order of cells that fit, each by itself. None when there is none."""
    known: dict[tuple[int, ...], dict[int, Place]] = {}
    options: list[dict[int, Place]] = []
    for position, wanted in enumerate(guest.cells):
        demand = (*_demand(wanted), reserve_of(guest, position))
        if demand not in known:
            known[demand] = _places(guest, host, order, position, stumbles)
        options.append(known[demand])
        if not options[-1]:
            return None
    picks = _first(options, order, allows, (), set())
    if picks is None:
        return None
    trio = zip(guest.cells, picks, options, strict=True)
    return Chosen(tuple((order[at].id, found[at].of(wanted)) for wanted, at, found in trio))


def _places(
    guest: GuestNuma,
    host: HostNuma,
    order: Sequence[HostCell],
    position: int,
    stumbles: Stumbles,
) -> dict[int, Place]:
    """Where in ``order`` a guest's cell fits."""
    found: dict[int, Place] = {}
    for index, cell in enumerate(order):
        got = place(Bed(host, cell, guest), guest.cells[position], reserve_of(guest, position))
        if isinstance(got, Misfit):
            stumbles.note(position, cell.id, got)
        else:
            found[index] = got
    return found


def _first(
    options: Sequence[dict[int, Place]],
    order: Sequence[HostCell],
    allows: Allows,
    picks: tuple[int, ...],
    dead: set[frozenset[int]],
) -> tuple[int, ...] | None:
    """``dead``: sets of cells from which no way leads on, in whatever order they were taken."""
    taken = frozenset(picks)
    if taken in dead or not _can_end(options[len(picks) :], taken):
        return None
    if len(picks) == len(options):
        if allows(frozenset(order[index].id for index in picks)):
            return picks
    else:
        for index in options[len(picks)]:
            if index not in taken:
                found = _first(options, order, allows, (*picks, index), dead)
                if found is not None:
                    return found
    dead.add(taken)
    return None


def _can_end(options: Sequence[dict[int, Place]], taken: frozenset[int]) -> bool:
    """Can each of the cells that are left have one of its own? (Bipartite matching.)"""
    owner: dict[int, int] = {}

    def settle(position: int, seen: set[int]) -> bool:
        for index in options[position]:
            if index in taken or index in seen:
                continue
            seen.add(index)
            if index not in owner or settle(owner[index], seen):
                owner[index] = position
                return True
        return False

    return all(settle(position, set()) for position in range(len(options)))


def place(bed: Bed, wanted: GuestCell, reserve: int) -> Place | Misfit:
    """One cell on one cell, from the start."""
    size = page_size(bed, wanted, wanted.page_size_kib)
    if isinstance(size, Misfit):
        return size
    wrong = cpus(bed, wanted, reserve)
    got = wrong or (packed(bed, wanted, reserve) if bed.pins else Place(0))
    if isinstance(got, Misfit):
        return got
    return limits(bed, wanted) or replace(got, page_size_kib=size)


# --- what Nova does ----------------------------------------------------------------------


@dataclass(slots=True)
class Tried:
    """A guest's cell as Nova has it while it tries. ``number``: that of the host's cell where it
    fitted last, and by which Nova remembers it; at first its own. ``size``: of its pages. ``at``:
    the host's cell where its CPUs are.
    """

    wanted: GuestCell
    number: int
    size: int
    place: Place
    at: int | None = None

    def astray(self) -> bool:
        """Would its CPUs be on another cell than its memory?"""
        return bool(self.wanted.pinned_cpus) and self.at != self.number

    def last(self) -> Place:
        """What it was given, where it was put last."""
        return replace(self.place, page_size_kib=self.size)


@dataclass(slots=True)
class Memory:
    """What Nova remembers: (host cell, number of the guest's cell) that fit, and that do not.

    Because the number changes, one guest cell meets what was found of another: then Nova misses a
    choice that is there, or takes one whose CPUs are where it tried before.
    """

    fit: set[tuple[int, int]] = field(default_factory=set)
    misfit: set[tuple[int, int]] = field(default_factory=set)


def walk(
    guest: GuestNuma,
    host: HostNuma,
    order: Sequence[HostCell],
    allows: Allows,
    stumbles: Stumbles,
) -> Chosen | None:
    """The first permutation that Nova takes. Those that can change nothing more are left out."""
    tried = [Tried(cell, cell.id, cell.page_size_kib, Place(0)) for cell in guest.cells]
    memory = Memory()
    answers: dict[frozenset[int], bool] = {}
    picks: list[int] | None = list(range(len(tried)))
    while picks is not None:
        before = _state(tried, memory)
        cells = [order[index] for index in picks]
        depth = _play(guest, host, cells, tried, memory, stumbles)
        if depth == len(tried):
            ids = frozenset(cell.id for cell in cells)
            if ids not in answers:
                answers[ids] = allows(ids)
            if answers[ids]:
                astray = any(one.astray() for one in tried)
                return Chosen(tuple((one.number, one.last()) for one in tried), astray)
        same = _state(tried, memory) == before
        last = len(tried) - 1
        picks = _next(picks, min(depth, last) if same else last, len(order))
    return None


def _state(tried: Sequence[Tried], memory: Memory) -> tuple[object, ...]:
    numbers = [(one.number, one.size) for one in tried]
    return (len(memory.fit), len(memory.misfit), *numbers)


def _play(
    guest: GuestNuma,
    host: HostNuma,
    cells: Sequence[HostCell],
    tried: Sequence[Tried],
    memory: Memory,
    stumbles: Stumbles,
) -> int:
    """Try one permutation; how many of the guest's cells found a place."""
    for position, (cell, one) in enumerate(zip(cells, tried, strict=True)):
        pair = (cell.id, one.number)
        if pair in memory.misfit:
            return position
        if pair not in memory.fit:
            wrong = _put(Bed(host, cell, guest), one, reserve_of(guest, position))
            if wrong:
                memory.misfit.add(pair)
                stumbles.note(position, cell.id, wrong)
                return position
            memory.fit.add(pair)
        one.number = cell.id
    return len(tried)


def _put(bed: Bed, one: Tried, reserve: int) -> Misfit | None:
    """As :func:`place`, but what was found before something else failed is kept."""
    size = page_size(bed, one.wanted, one.size)
    if isinstance(size, Misfit):
        return size
    one.size = size
    wrong = cpus(bed, one.wanted, reserve)
    if wrong:
        return wrong
    got = packed(bed, one.wanted, reserve) if bed.pins else Place(0)
    if isinstance(got, Misfit):
        return got
    if bed.pins:
        one.number = one.at = bed.cell.id
    one.place = got
    return limits(bed, one.wanted)


def _next(picks: Sequence[int], depth: int, many: int) -> list[int] | None:
    """The next permutation that differs at ``depth`` or before, as itertools orders them."""
    for position in range(depth, -1, -1):
        head = list(picks[:position])
        larger = [i for i in range(picks[position] + 1, many) if i not in head]
        if larger:
            head.append(larger[0])
            rest = [i for i in range(many) if i not in head]
            return head + rest[: len(picks) - len(head)]
    return None
