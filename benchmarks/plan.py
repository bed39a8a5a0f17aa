# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the plan of a fleet, and of one of its hosts, as clouds grow.

Usage: . .ci/env.sh; python benchmarks/plan.py [--sizes 10,100,1000] [--fill 0.75] [--seed 1]
The clouds are made up, always the same ones for a seed: zones, aggregates, seven flavors, pinned
guests, server groups, hosts three quarters full. No API is asked. Seconds are
those of one machine, and of one run.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.batches import plan_batches
from ansible_collections.lowtide.compute.plugins.module_utils._planner.fleet_model import (
    FleetGroup,
    FleetGuest,
    FleetHost,
    FleetPlan,
    Kind,
    Rules,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import make_plan

T = TypeVar("T")

#: vCPUs, MiB, GiB, how many of ten; the last with CPUs of its own.
FLAVORS = (
    (1, 1024, 10, 2),
    (1, 2048, 20, 2),
    (2, 4096, 20, 2),
    (4, 8192, 40, 1),
    (4, 16384, 80, 1),
    (8, 32768, 80, 1),
    (4, 8192, 40, 1),
)
ZONES = 3
RACK = 20
CAPACITY = {"VCPU": 512, "PCPU": 64, "MEMORY_MB": 393216, "DISK_GB": 4000}
GUESTS_PER_HOST = 40
PINNED, GROUPED, GROUP_SIZE = 0.2, 0.1, 3


@dataclass(frozen=True)
class Fleet:
    """A made-up cloud."""

    hosts: tuple[FleetHost, ...]
    guests: tuple[FleetGuest, ...]
    groups: tuple[FleetGroup, ...]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="10,30,100,300,1000", help="numbers of hosts")
    parser.add_argument("--fill", type=float, default=0.75, help="memory in use, of 1")
    parser.add_argument("--max-hosts", type=int, default=10, help="hosts in a batch")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def kinds() -> tuple[Kind, ...]:
    """One for each flavor, pinned to no zone."""
    found = []
    for number, (cpus, ram, disk, _share) in enumerate(FLAVORS):
        cpu = "PCPU" if number == len(FLAVORS) - 1 else "VCPU"
        needs = {cpu: cpus, "MEMORY_MB": ram, "DISK_GB": disk}
        found.append(Kind(tuple(sorted(needs.items())), seconds=5 + ram / 1000))
    return tuple(found)


def make_fleet(size: int, fill: float, seed: int) -> Fleet:
    """``size`` hosts with GUESTS_PER_HOST guests each on average, memory ``fill`` full."""
    chance = random.Random(seed)
    names = [f"cmp-{number:04d}" for number in range(size)]
    zones = {name: f"az-{number % ZONES}" for number, name in enumerate(names)}
    plain = kinds()
    shares = [flavor[-1] for flavor in FLAVORS]
    guests, held = [], {name: dict.fromkeys(CAPACITY, 0) for name in names}
    groups, seats = [], {}
    for number in range(size * GUESTS_PER_HOST):
        kind = chance.choices(plain, shares)[0]
        host = chance.choice(names)
        group = ""
        if chance.random() < GROUPED:
            group = f"group-{number // (GROUP_SIZE * 10)}"
            if group not in seats:
                policy = chance.choice(("anti-affinity", "soft-anti-affinity"))
                groups.append(FleetGroup(group, group, policy, 1))
            taken = seats.setdefault(group, set())
            group = "" if host in taken else group
            taken.add(host)
        if chance.random() < PINNED:
            kind = replace(kind, zone=zones[host])
        for name, amount in kind.needs:
            held[host][name] += amount
        guests.append(FleetGuest(f"g{number:06d}", f"vm-{number}", host, kind, group))
    hosts = tuple(
        FleetHost(
            name,
            free_of(held[name], fill),
            zone=zones[name],
            domain=f"rack-{number // RACK}",
            aggregates=(zones[name], f"rack-{number // RACK}"),
            hypervisor_type="QEMU",
            hypervisor_version=8002000,
        )
        for number, name in enumerate(names)
    )
    return Fleet(hosts, tuple(guests), tuple(groups))


def free_of(held: dict[str, int], fill: float) -> dict[str, int]:
    """What is free on a host: of all hosts' size, but never less than what its guests leave.

    Chance fills some hosts beyond their size: those are full.
    """
    mean = GUESTS_PER_HOST * sum(ram * share for _c, ram, _d, share in FLAVORS) / 10
    size = CAPACITY | {"MEMORY_MB": int(mean / fill)}
    return {name: max(0, size[name] - held[name]) for name in size}


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """What it returns, seconds by the clock, and seconds of processor time."""
    gc.collect()
    began, worked = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - began, time.process_time() - worked


def batches_of(fleet: Fleet, rules: Rules) -> FleetPlan:
    """The plan for all hosts of the fleet."""
    chosen = [host.name for host in fleet.hosts]
    return plan_batches(fleet.hosts, fleet.guests, fleet.groups, chosen, rules)


def survey_of(fleet: Fleet) -> m.Survey:
    """The look at the fleet's busiest host, and at all others to go to."""
    on: dict[str, list[FleetGuest]] = {}
    for guest in fleet.guests:
        on.setdefault(guest.host, []).append(guest)
    name = max(on, key=lambda host: (len(on[host]), host))
    return m.Survey(
        scope=m.Scope(name),
        services=tuple(
            m.Service(h.name, h.name, True, True, availability_zone=h.zone) for h in fleet.hosts
        ),
        guests=tuple(full_guests(on[name])),
        rooms=tuple(m.Room(h.name, h.free, h.zone) for h in fleet.hosts),
    )


def full_guests(guests: list[FleetGuest]) -> Iterator[m.Guest]:
    """The same guests as a survey has them."""
    for guest in guests:
        needs = dict(guest.kind.needs)
        yield m.Guest(
            guest.id,
            guest.name,
            guest.host,
            "active",
            vcpus=needs.get("VCPU") or needs["PCPU"],
            ram_mib=needs["MEMORY_MB"],
            pinned_availability_zone=guest.kind.zone,
            resources=needs,
        )


COLUMNS = (
    "hosts",
    "guests",
    "batches",
    "undrainable",
    "moves/guest",
    "seconds",
    "CPU s",
    "CPU s/1000 guests",
    "one host: guests",
    "seconds",
    "CPU s",
)


def row(size: int, given: argparse.Namespace) -> tuple[object, ...]:
    """The figures of a cloud of that size."""
    fleet = make_fleet(size, given.fill, given.seed)
    plan, seconds, cpu = timed(lambda: batches_of(fleet, Rules(max_hosts=given.max_hosts)))
    survey = survey_of(fleet)
    _plan, one_seconds, one_cpu = timed(lambda: make_plan(survey, m.Options()))
    guests = len(fleet.guests)
    return (
        size,
        guests,
        len(plan.batches),
        len(plan.undrainable),
        f"{sum(batch.guests for batch in plan.batches) / guests:.2f}",
        f"{seconds:.2f}",
        f"{cpu:.2f}",
        f"{1000 * cpu / guests:.3f}",
        len(survey.guests),
        f"{one_seconds:.2f}",
        f"{one_cpu:.2f}",
    )


def main() -> int:
    """One line for each size."""
    given = arguments()
    print(f"seed {given.seed}, memory {given.fill:.0%} full, batches of {given.max_hosts} at most")
    print("  ".join(COLUMNS))
    for size in map(int, given.sizes.split(",")):
        cells = row(size, given)
        line = (str(cell).rjust(len(name)) for cell, name in zip(cells, COLUMNS, strict=True))
        print("  ".join(line), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
