# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up populations for the benchmark of the pre-flight: always the same ones for a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

HOSTS = ("cmp-1", "cmp-2", "cmp-3", "cmp-4")
GUESTS, TRIALS = (5, 7), 8
GROUPED, CHOSEN_BY_NOVA = 0.25, 0.25
#: A guest may ask for much of a host: else nothing would ever be refused.
FLOATING_MIB, PAGED_MIB = (256, 1024, 3072, 5120), (256, 512, 1024)


@dataclass(frozen=True)
class Wish:
    """A guest to be: its flavor, the host that it is created on ("": Nova's choice), and so on."""

    name: str
    vcpus: int
    ram_mib: int
    host: str
    extra_specs: dict[str, str] = field(default_factory=dict)
    grouped: bool = False
    direct_port: bool = False


@dataclass(frozen=True)
class Trial:
    """A migration to try. ``turn``: to which of the other hosts; None lets Nova choose."""

    guest: str
    turn: int | None


@dataclass(frozen=True)
class Population:
    """Guests, and the migrations to try one after the other."""

    number: int
    guests: tuple[Wish, ...]
    trials: tuple[Trial, ...]


Shape = tuple[int, int, dict[str, str]]


def _floating(dice: random.Random) -> Shape:
    return dice.randint(1, 4), dice.choice(FLOATING_MIB), {}


def _cells(dice: random.Random) -> Shape:
    nodes = dice.choice((1, 1, 2))
    return 2 * dice.randint(1, 2), 2 * dice.choice(PAGED_MIB), {"hw:numa_nodes": str(nodes)}


def _pinned(dice: random.Random) -> Shape:
    specs = {"hw:cpu_policy": "dedicated"}
    vcpus = dice.randint(2, 6)
    if dice.random() < 0.3:
        vcpus, specs["hw:numa_nodes"] = 2 * dice.randint(2, 5), "2"
    threads = dice.choice(("", "", "prefer", "isolate", "require"))
    if threads:
        specs["hw:cpu_thread_policy"] = threads
    if dice.random() < 0.2:
        specs["hw:emulator_threads_policy"] = dice.choice(("isolate", "share"))
    return vcpus, 512, specs


def _mixed(dice: random.Random) -> Shape:
    vcpus = dice.randint(2, 6)
    mask = {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": f"0-{dice.randint(0, vcpus - 2)}"}
    return vcpus, 512, mask


def _pages(dice: random.Random) -> Shape:
    nodes = dice.choice((1, 1, 2))
    size = dice.choice(("2048", "2048", "large", "any", "small"))
    specs = {"hw:mem_page_size": size, "hw:numa_nodes": str(nodes)}
    if dice.random() < 0.3:
        specs["hw:cpu_policy"] = "dedicated"
    return 2, nodes * dice.choice(PAGED_MIB), specs


SHAPES: tuple[Callable[[random.Random], Shape], ...] = (
    _floating,
    _cells,
    _pinned,
    _pinned,
    _pinned,
    _mixed,
    _pages,
    _pages,
)


def _wish(dice: random.Random, name: str) -> Wish:
    vcpus, ram_mib, specs = dice.choice(SHAPES)(dice)
    direct = dice.random() < 0.15
    if direct and dice.random() < 0.5:
        specs["hw:pci_numa_affinity_policy"] = dice.choice(("required", "preferred", "legacy"))
    host = "" if direct or dice.random() < 0.5 else dice.choice(HOSTS)
    return Wish(name, vcpus, ram_mib, host, specs, dice.random() < GROUPED, direct)


def populations(count: int, seed: int) -> Iterator[Population]:
    """So many populations, each from a seed of its own: number 7 is the same in any run."""
    for number in range(count):
        dice = random.Random(f"{seed}/{number}")
        wishes = tuple(_wish(dice, f"g{number:03d}-{one}") for one in range(dice.randint(*GUESTS)))
        trials = []
        for _trial in range(TRIALS):
            guest = dice.choice(wishes).name
            chosen = dice.random() < CHOSEN_BY_NOVA
            turn = dice.randrange(len(HOSTS) - 1)
            trials.append(Trial(guest, None if chosen else turn))
        yield Population(number, wishes, tuple(trials))
