# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What we say of NUMA cells is what Nova's own code says, on thousands of hosts and guests.

LOWTIDE_NUMA sets how many are compared in all. Without it they are 4,000, and always the same;
with it they are new ones each time.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import numa_model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa import (
    fit,
    give_back,
    take,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_request import (
    NumaRequestError,
    request_of,
)
from tests.numa import generated, nova_side

ROUNDS = 8
TOTAL = os.environ.get("LOWTIDE_NUMA")
EACH = max(1, int(TOTAL or 4000) // ROUNDS)
SEEDS = [Random().getrandbits(32) if TOTAL else number for number in range(ROUNDS)]


def ours(verdict: m.NumaVerdict) -> nova_side.Found:
    return tuple(
        (
            cell.host_cell,
            cell.page_size_kib,
            {int(vcpu): cpu for vcpu, cpu in cell.pinning.items()},
            frozenset(cell.emulator_cpus),
        )
        for cell in verdict.cells
    )


def by_core(host: m.HostNuma, found: nova_side.Found) -> tuple[object, ...]:
    """CPUs as cores: which thread of a core comes first is chance in Nova, which keeps sets."""
    core = {
        cpu: (cell.id, group[0]) for cell in host.cells for group in cell.siblings for cpu in group
    }
    return tuple(
        (number, size, {vcpu: core[cpu] for vcpu, cpu in pins.items()}, sorted(map(core.get, own)))
        for number, size, pins, own in found
    )


def pinned_elsewhere(host: m.HostNuma, guest: m.GuestNuma, found: nova_side.Found) -> bool:
    """Does Nova put a guest's cell on one cell of the host and its CPUs on another?"""
    cells = {cell.id: set(cell.dedicated_cpus) for cell in host.cells}
    return any(
        not pins.keys() >= set(wanted.pinned_cpus) or not set(pins.values()) <= cells[number]
        for wanted, (number, _size, pins, _own) in zip(guest.cells, found, strict=True)
    )


def pair(random: Random) -> tuple[m.HostNuma, m.GuestNuma]:
    host = generated.host(random)
    most = 8 if random.random() < 0.1 else min(4, len(host.cells))
    return host, generated.guest(random, most)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_verdict_and_the_cells_are_novas(seed, record_property):
    random, seen = Random(seed), Counter()
    for number in range(EACH):
        host, guest = pair(random)
        verdict, told = fit(guest, host), nova_side.fit(guest, host, generated.ALIASES)
        where = f"seed {seed}, number {number}: {guest}\n{host}"
        if told is not None and pinned_elsewhere(host, guest, told):
            # Nova takes it, and fails when it pins: CPUPinningUnknown, or no CPUs at all.
            assert (verdict.result, verdict.code) == (m.NO_FIT, "cells"), (where, verdict, told)
            seen["Nova's mistakes"] += 1
            continue
        if guest.devices and host.devices is None and told is not None:
            # Nova did not look for them.
            assert verdict.result == m.UNKNOWN, where
        else:
            assert (verdict.result == m.FIT) == (told is not None), (where, verdict, told)
        seen[verdict.code] += 1
        if told is not None:
            assert by_core(host, ours(verdict)) == by_core(host, told), (where, verdict, told)
        else:
            assert verdict.reason, where
    record_property("verdicts", dict(seen))
    agreed = EACH - seen["Nova's mistakes"]
    print(
        f"seed {seed}: {agreed} of {EACH} verdicts and mappings agree: {dict(seen.most_common())}"
    )
    if not TOTAL:
        # Otherwise the agreement would say little.
        assert seen["fits"] > EACH / 5
        assert {"page_size", "memory", "dedicated_cpus", "shared_cpus", "pci"} <= set(seen)
        assert seen["Nova's mistakes"] < EACH / 50


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_left_after_a_claim_is_novas(seed):
    """Guests go onto one host until it is full, and off again."""
    random, taken = Random(seed), 0
    for _host in range(max(1, EACH // 40)):
        host, _guest = pair(random)
        for _guest in range(8):
            guest = generated.guest(random, min(4, len(host.cells)))
            verdict, before = fit(guest, host), host
            if verdict.result != m.FIT or not all(cell.pages for cell in host.cells):
                continue
            # None: an isolated guest whose emulator got a thread of a core in use. Nova fails, too.
            nova = nova_side.after(guest, host, ours(verdict))
            if nova is None:
                continue
            host, taken = take(guest, host, verdict, "guest"), taken + 1
            assert used(host) == nova_used(nova), (seed, guest, before, verdict)
            freed = give_back(guest, host, verdict.cells, "guest")
            assert used(freed) == used(before), (seed, guest, before, verdict)
            assert freed.devices == before.devices
            host = named(host, taken)
    assert taken or TOTAL


def named(host: m.HostNuma, number: int) -> m.HostNuma:
    """Its devices belong to this guest, not to the next one."""
    devices = host.devices and tuple(
        replace(device, guest=f"guest-{number}") if device.guest == "guest" else device
        for device in host.devices
    )
    return replace(host, devices=devices)


def used(host: m.HostNuma) -> list[tuple[object, ...]]:
    return [
        (
            cell.id,
            set(cell.pinned_cpus),
            cell.memory_used_mib,
            cell.cpu_usage,
            [pages.used for pages in cell.pages],
        )
        for cell in host.cells
    ]


def nova_used(topology) -> list[tuple[object, ...]]:
    return [
        (
            cell.id,
            cell.pinned_cpus,
            cell.memory_usage,
            cell.cpu_usage,
            [pages.used for pages in cell.mempages],
        )
        for cell in topology.cells
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_flavors_and_images_are_read_as_nova_reads_them(seed):
    random, seen = Random(seed), Counter()
    for number in range(EACH):
        vcpus, ram_mib, specs, image = generated.flavor_and_image(random)
        told = nova_side.constraints(vcpus, ram_mib, specs, image)
        where = f"seed {seed}, number {number}: {vcpus} vCPUs, {ram_mib} MiB, {specs}, {image}"
        if isinstance(told, str):
            with pytest.raises(NumaRequestError):
                print(f"{where}\nNova refuses it: {told}", request_of(vcpus, ram_mib, specs, image))
            seen["refused"] += 1
            continue
        asked = request_of(vcpus, ram_mib, specs, image)
        seen["cells" if asked.cells else "no cells"] += 1
        if asked.cells:
            expected = replace(nova_side.as_ours(told), vcpus=vcpus, memory_mib=ram_mib)
            assert asked == expected, where
        else:
            assert told is None, where
    print(f"seed {seed}: {EACH} of {EACH} readings agree: {dict(seen)}")
    if not TOTAL:
        assert min(seen[kind] for kind in ("refused", "cells", "no cells")) > EACH / 20
