# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""NUMA cells of guests on those of hosts. tests/numa compares the same with Nova."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import numa_model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner import numa_search
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa import (
    fit,
    give_back,
    ordered,
    take,
)


def cell(number, cpus=4, threads=2, **changed):
    """CPUs, all shared and dedicated, siblings side by side; 8 GiB, half of it in 2 MiB pages."""
    own = tuple(range(number * cpus, (number + 1) * cpus))
    given = {
        "shared_cpus": own,
        "dedicated_cpus": own,
        "siblings": tuple(own[i : i + threads] for i in range(0, cpus, threads)),
        "memory_mib": 8192,
        "pages": (m.Pages(4, 1048576), m.Pages(2048, 2048)),
        "socket": number,
    }
    return m.HostCell(number, **(given | changed))


def host(*cells, **changed):
    given = {"devices": (), "pack_cells": False}
    return m.HostNuma("cmp-1", cells or (cell(0), cell(1)), **(given | changed))


def guest(*sizes, policy="dedicated", **changed):
    """Cells of so many CPUs with 1 GiB each."""
    cells, first = [], 0
    for number, size in enumerate(sizes):
        cpus = tuple(range(first, first + size))
        pinned = cpus if policy == "dedicated" else ()
        floating = () if policy == "dedicated" else cpus
        cells.append(m.GuestCell(number, floating, pinned, 1024, changed.get("page", 0)))
        first += size
    changed.pop("page", None)
    return m.GuestNuma(tuple(cells), policy, vcpus=first, **changed)


def device(address, number, **changed):
    return m.PciDevice(address, number, kind=changed.pop("kind", "type-PCI"), **changed)


def where(verdict):
    return [found.host_cell for found in verdict.cells]


# --- it fits -----------------------------------------------------------------------------


def test_each_cell_gets_one_of_its_own():
    verdict = fit(guest(2, 2), host())
    assert (verdict.result, verdict.code) == (m.FIT, "fits")
    assert [(found.guest_cell, found.host_cell) for found in verdict.cells] == [(0, 0), (1, 1)]
    assert [dict(found.pinning) for found in verdict.cells] == [{"0": 0, "1": 1}, {"2": 4, "3": 5}]


@pytest.mark.parametrize(
    ("policy", "pinned", "expected"),
    [
        ("", (), {0: 0, 1: 1}),
        ("prefer", (0,), {0: 2, 1: 3}),
        ("prefer", (0, 2), {0: 1, 1: 3}),
        ("require", (0,), {0: 2, 1: 3}),
        ("isolate", (), {0: 0, 1: 2}),
    ],
)
def test_threads_are_taken_as_the_policy_says(policy, pinned, expected):
    verdict = fit(guest(2, thread_policy=policy), host(cell(0, pinned_cpus=pinned)))
    assert verdict.result == m.FIT
    assert verdict.cells[0].pinning == {str(cpu): own for cpu, own in expected.items()}


def test_threads_are_mixed_when_nothing_else_is_left():
    verdict = fit(guest(3), host(cell(0, pinned_cpus=(0,))))
    assert verdict.cells[0].pinning == {"0": 1, "1": 2, "2": 3}


def test_the_emulator_gets_a_cpu_beside_the_first_cell():
    verdict = fit(guest(2, 2, emulator_threads="isolate"), host())
    assert [found.emulator_cpus for found in verdict.cells] == [(2,), ()]


def test_isolated_cores_leave_the_emulator_one_of_its_own():
    isolated = guest(1, thread_policy="isolate", emulator_threads="isolate")
    verdict = fit(isolated, host())
    assert (verdict.cells[0].pinning, verdict.cells[0].emulator_cpus) == ({"0": 0}, (2,))


@pytest.mark.parametrize(
    ("page", "used", "expected"),
    [
        (0, 0, 0),
        (2048, 0, 2048),
        (4, 0, 4),
        (m.SMALL_PAGES, 0, 4),
        (m.LARGE_PAGES, 0, 2048),
        (m.ANY_PAGES, 0, 2048),
        (m.ANY_PAGES, 2048, 4),
    ],
)
def test_a_wish_for_pages_becomes_a_size(page, used, expected):
    pages = (m.Pages(4, 1048576), m.Pages(2048, 2048, used=used))
    verdict = fit(guest(1, page=page), host(cell(0, pages=pages)))
    assert verdict.cells[0].page_size_kib == expected


def test_floating_cpus_may_be_more_than_there_are_as_far_as_the_ratio_allows():
    busy = cell(0, cpu_usage=6, memory_used_mib=9000, pages=())
    ratios = {"cpu_allocation_ratio": 2.0, "ram_allocation_ratio": 1.5}
    assert fit(guest(2, policy="shared"), host(busy, **ratios)).result == m.FIT
    assert fit(guest(3, policy="shared"), host(busy, **ratios)).code == "shared_cpus"


# --- it does not -------------------------------------------------------------------------

FULL = (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("asked", "has", "code", "reason"),
    [
        (guest(1, 1, 1), host(), "cells", "the host has 2 NUMA cells, 3 needed"),
        (
            guest(4),
            host(cell(0, pinned_cpus=(0, 1))),
            "dedicated_cpus",
            "cell 0: 2 of 4 dedicated CPUs are free, 4 needed",
        ),
        (guest(5), host(cell(0)), "dedicated_cpus", "cell 0: it has 4 dedicated CPUs, 5 needed"),
        (
            guest(3, 3),
            host(cell(0, pinned_cpus=FULL), cell(1)),
            "dedicated_cpus",
            "guest cell 0: cell 0: 0 of 4 dedicated CPUs are free, 3 needed",
        ),
        (
            guest(5, policy="shared"),
            host(cell(0)),
            "shared_cpus",
            "cell 0: it has 4 shared CPUs, 5 needed",
        ),
        (
            guest(1),
            host(cell(0, memory_mib=2048, memory_used_mib=1536, pages=())),
            "memory",
            "cell 0: 512 of 2048 MiB are free, 1024 needed",
        ),
        (
            guest(1, policy="shared"),
            host(cell(0, memory_mib=512, pages=())),
            "memory",
            "cell 0: it has 512 MiB, 1024 needed",
        ),
        (
            guest(1),
            host(cell(0, pages=(m.Pages(4, 262144, used=131072),))),
            "memory",
            "cell 0: 512 of 1024 MiB are free, 1024 needed",
        ),
        (
            guest(1, policy="shared"),
            host(cell(0, memory_used_mib=8000), ram_allocation_ratio=1.0),
            "memory",
            "cell 0: 8000 MiB of at most 8192 are in use, 1024 needed",
        ),
        (
            guest(1, page=2048),
            host(cell(0, pages=(m.Pages(2048, 512, used=100, reserved=12),))),
            "page_size",
            "cell 0: 400 of 512 pages of 2048 KiB are free (800 MiB), 1024 MiB in such pages"
            " needed",
        ),
        (
            guest(1, page=1048576),
            host(cell(0)),
            "page_size",
            "cell 0: it has no pages of 1048576 KiB (it has 4 KiB, 2048 KiB)",
        ),
        (
            guest(1, page=m.LARGE_PAGES),
            host(cell(0, pages=(m.Pages(4, 1048576),))),
            "page_size",
            "cell 0: it has no large pages",
        ),
        (
            guest(1, page=3),
            host(cell(0, pages=(m.Pages(3, 1048576),))),
            "page_size",
            "cell 0: 1024 MiB are no whole number of pages of 3 KiB, 1024 MiB in such pages needed",
        ),
        (
            guest(2, thread_policy="require"),
            host(cell(0, threads=1)),
            "thread_policy",
            "cell 0: it has no hyper-threading, which the guest requires",
        ),
        (
            guest(2, thread_policy="require"),
            host(cell(0, pinned_cpus=(0, 2))),
            "thread_policy",
            "cell 0: 0 CPUs are free with a sibling, 2 needed",
        ),
        (
            guest(1, thread_policy="isolate"),
            host(cell(0, pinned_cpus=(0, 2))),
            "thread_policy",
            "cell 0: it has no core whose threads are all free",
        ),
        (
            guest(2, thread_policy="isolate"),
            host(cell(0, pinned_cpus=(0,))),
            "thread_policy",
            "cell 0: 1 whole cores are free, 2 needed",
        ),
        (
            guest(1, thread_policy="isolate"),
            host(cell(0, shared_cpus=())),
            "thread_policy",
            "cell 0: it has hyper-threading, and Nova isolates cores only on hosts without it"
            " (or without cpu_dedicated_set)",
        ),
        (
            guest(4, emulator_threads="isolate"),
            host(cell(0)),
            "dedicated_cpus",
            "cell 0: it has 4 dedicated CPUs, 5 needed (one for the emulator)",
        ),
        (
            guest(3, emulator_threads="isolate"),
            host(cell(0, pinned_cpus=(0,))),
            "emulator_threads",
            "cell 0: 3 of 4 dedicated CPUs are free, 4 needed (one for the emulator)",
        ),
        (
            guest(2, thread_policy="isolate", emulator_threads="isolate"),
            host(cell(0)),
            "emulator_threads",
            "cell 0: no CPU is left for the emulator alone",
        ),
    ],
)
def test_the_reason_is_the_first_that_nova_would_stumble_over(asked, has, code, reason):
    verdict = fit(asked, has)
    assert (verdict.result, verdict.code, verdict.reason) == (m.NO_FIT, code, reason)
    assert not verdict.cells


def test_a_cell_that_pins_nothing_has_nothing_to_spare():
    cells = (m.GuestCell(0, (0,), (), 1024), m.GuestCell(1, (), (1,), 1024))
    mixed = m.GuestNuma(cells, "mixed", emulator_threads="isolate")
    assert fit(mixed, host()).code == "emulator_threads"
    assert fit(replace(mixed, emulator_threads=""), host()).result == m.FIT


def test_all_cells_of_the_host_are_told():
    verdict = fit(guest(4), host(cell(0, pinned_cpus=(0,)), cell(1, memory_mib=512, pages=())))
    assert "cell 0: 3 of 4 dedicated CPUs" in verdict.reason
    assert "cell 1: 512 of 512 MiB are free" in verdict.reason


def test_a_fourth_guest_cell_has_no_cell_left():
    """Each cell would fit somewhere, but not all at a time."""
    full = [cell(number, pinned_cpus=tuple(range(number * 4, number * 4 + 3))) for number in (2, 3)]
    verdict = fit(guest(2, 2, 2), host(cell(0), cell(1), *full))
    assert verdict.code == "dedicated_cpus"
    assert "cell 2: 1 of 4" in verdict.reason


# --- which cells first -------------------------------------------------------------------


@pytest.mark.parametrize(("pack", "expected"), [(False, [1, 2, 0]), (True, [0, 2, 1])])
def test_nova_spreads_or_packs(pack, expected):
    cells = cell(0, pinned_cpus=(0, 1)), cell(1), cell(2, pinned_cpus=(8,))
    found = ordered(guest(1), host(*cells, pack_cells=pack))
    assert [one.id for one in found] == expected


def test_floating_guests_go_where_fewest_float():
    cells = cell(0, cpu_usage=3), cell(1, cpu_usage=1), cell(2, memory_used_mib=10, cpu_usage=1)
    found = ordered(guest(1, policy="shared"), host(*cells))
    assert [one.id for one in found] == [1, 2, 0]


def test_cells_with_devices_are_kept_for_those_who_want_some():
    busy = host(devices=(device("0000:01:00.0", 0, aliases=("gpu",)),))
    assert [one.id for one in ordered(guest(1), busy)] == [1, 0]
    wants = guest(1, devices=(m.PciRequest(1, "gpu"),))
    assert [one.id for one in ordered(wants, busy)] == [0, 1]


def test_as_many_cells_as_the_host_has_are_taken_in_its_order():
    assert [one.id for one in ordered(guest(1, 1), host(cell(0, cpu_usage=9), cell(1)))] == [0, 1]


# --- devices and networks ----------------------------------------------------------------

GPUS = (device("0000:01:00.0", 0, aliases=("gpu",)), device("0000:81:00.0", 1, aliases=("gpu",)))


def wants(*requests, size=1, **changed):
    return guest(size, devices=requests, **changed)


@pytest.mark.parametrize(
    ("affinity", "sockets", "devices", "result", "code", "spread"),
    [
        ("required", (0, 1), GPUS[1:], m.NO_FIT, "pci_affinity", False),
        ("legacy", (0, 1), GPUS[1:], m.NO_FIT, "pci_affinity", False),
        ("legacy", (0, 1), (replace(GPUS[1], cell=None),), m.FIT, "fits", False),
        ("required", (0, 1), (replace(GPUS[1], cell=None),), m.NO_FIT, "pci_affinity", False),
        ("preferred", (0, 1), GPUS[1:], m.FIT, "fits", True),
        ("preferred", (0, 1), GPUS[:1], m.FIT, "fits", False),
        ("preferred", (0, 1), (replace(GPUS[1], cell=None),), m.FIT, "fits", False),
        ("socket", (0, 1), GPUS[1:], m.NO_FIT, "pci_affinity", False),
        ("socket", (0, 0), GPUS[1:], m.FIT, "fits", False),
        ("socket", (0, None), GPUS[1:], m.NO_FIT, "pci_affinity", False),
        ("legacy", (0, 1), (), m.NO_FIT, "pci", False),
        ("legacy", (0, 1), (replace(GPUS[0], guest="other"),), m.NO_FIT, "pci", False),
    ],
)
def test_devices_are_where_the_affinity_wants_them(
    affinity, sockets, devices, result, code, spread
):
    cells = cell(0, socket=sockets[0]), cell(1, socket=sockets[1], pinned_cpus=(4, 5, 6, 7))
    has = host(*cells, devices=devices)
    verdict = fit(wants(m.PciRequest(1, "gpu", "", affinity)), has)
    assert (verdict.result, verdict.code, verdict.spread) == (result, code, spread)


def test_the_guest_goes_where_its_device_is():
    verdict = fit(wants(m.PciRequest(1, "gpu")), host(devices=GPUS[1:]))
    assert where(verdict) == [1]


def test_cells_are_chosen_for_their_devices_together():
    """Neither of the first two cells has a device, but the third does."""
    cells = [cell(number) for number in range(4)]
    both = m.PciRequest(1, "gpu", "", "required"), m.PciRequest(1, "nic", "", "required")
    devices = (
        device("0000:01:00.0", 3, aliases=("gpu",)),
        device("0000:02:00.0", 2, aliases=("nic",)),
    )
    two = replace(guest(1, 1), devices=both)
    assert sorted(where(fit(two, host(*cells, devices=devices)))) == [2, 3]


def test_a_request_does_not_get_what_another_has():
    twice = wants(m.PciRequest(1, "gpu"), m.PciRequest(1, "gpu"))
    verdict = fit(twice, host(devices=GPUS[:1]))
    assert (verdict.code, verdict.reason) == (
        "pci",
        "0 devices of the alias gpu are free, 1 needed",
    )


@pytest.mark.parametrize(
    ("kind", "asked", "network", "fits"),
    [
        ("type-VF", "", "physnet0", True),
        ("type-VF", "", "PhysNet0", True),
        ("type-VF", "", "physnet1", False),
        ("type-VF", "", "", False),
        ("type-PF", "", "physnet0", False),
        ("type-PF", "type-PF", "physnet0", True),
        ("type-VF", "type-PF", "physnet0", False),
        ("vdpa", "", "physnet0", False),
        ("vdpa", "vdpa", "physnet0", True),
        ("type-PCI", "", "physnet0", False),
    ],
)
def test_ports_get_devices_of_their_network(kind, asked, network, fits):
    nic = device("0000:01:00.1", 0, kind=kind, physical_network="physnet0")
    request = m.PciRequest(1, "", network, "legacy", asked)
    verdict = fit(wants(request), host(devices=(nic,)))
    assert (verdict.result == m.FIT) == fits
    assert fits or "physical network" in verdict.reason


@pytest.mark.parametrize(
    ("networks", "tunnelled", "expected"),
    [(("physnet0",), False, [1]), ((), True, [0]), (("physnet1",), False, [0])],
)
def test_the_guest_goes_where_its_networks_are(networks, tunnelled, expected):
    has = host(cell(0, tunnelled=True), cell(1, networks=("physnet0",)))
    verdict = fit(guest(1, networks=networks, tunnelled=tunnelled), has)
    assert where(verdict) == expected


@pytest.mark.parametrize("asked", [{"networks": ("physnet0",)}, {"tunnelled": True}])
def test_networks_elsewhere_refuse_it(asked):
    far = cell(1, networks=("physnet0",), tunnelled=True, pinned_cpus=(4, 5, 6, 7))
    verdict = fit(guest(1, **asked), host(cell(0), far))
    assert (verdict.result, verdict.code) == (m.NO_FIT, "network_affinity")
    assert "(0)" in verdict.reason


# --- what is not known -------------------------------------------------------------------


def test_a_fit_that_rests_on_what_nobody_saw_is_unknown():
    verdict = fit(guest(1), host(unseen=("free pages", "free pages")))
    assert (verdict.result, verdict.code) == (m.UNKNOWN, "unseen")
    assert verdict.reason == "not seen: free pages"
    assert where(verdict) == [0]


def test_what_does_not_fit_anyhow_is_known():
    assert fit(guest(9), host(unseen=("free pages",))).result == m.NO_FIT


def test_devices_that_nobody_saw_are_unknown():
    verdict = fit(wants(m.PciRequest(1, "gpu")), host(devices=None))
    assert (verdict.result, verdict.reason) == (m.UNKNOWN, "not seen: the devices")
    assert fit(guest(1), host(devices=None)).result == m.FIT


def test_a_host_without_cells_takes_no_topology():
    bare = m.HostNuma("cmp-1")
    assert fit(guest(1), bare).code == "cells"
    assert fit(guest(1), replace(bare, unseen=("its cells",))).result == m.UNKNOWN


# --- a guest without a topology ----------------------------------------------------------


@pytest.mark.parametrize(
    ("vcpus", "memory_mib", "spread"), [(4, 8192, False), (5, 1024, True), (1, 8193, True)]
)
def test_a_guest_without_cells_fits_and_may_be_spread(vcpus, memory_mib, spread):
    plain = m.GuestNuma(vcpus=vcpus, memory_mib=memory_mib)
    verdict = fit(plain, host(unseen=("free pages",)))
    assert (verdict.result, verdict.cells, verdict.spread) == (m.FIT, (), spread)


def test_a_guest_without_cells_still_needs_its_devices():
    plain = m.GuestNuma(vcpus=1, devices=(m.PciRequest(2, "gpu", "", "required"),))
    assert fit(plain, host(devices=GPUS)).result == m.FIT
    assert fit(plain, host(devices=GPUS[:1])).code == "pci"
    assert fit(plain, host(devices=None)).result == m.UNKNOWN


# --- what is left ------------------------------------------------------------------------


def test_a_claim_takes_cpus_memory_and_pages():
    asked, before = guest(2, 2, page=2048, emulator_threads="isolate"), host()
    after = take(asked, before, fit(asked, before))
    assert [one.pinned_cpus for one in after.cells] == [(0, 1, 2), (4, 5)]
    assert [one.memory_used_mib for one in after.cells] == [1024, 1024]
    assert [one.pages[1].used for one in after.cells] == [512, 512]
    assert give_back(asked, after, fit(asked, before).cells) == before


def test_plain_memory_is_taken_from_the_smallest_pages():
    asked, before = guest(1, policy="shared"), host(cell(0))
    after = take(asked, before, fit(asked, before))
    assert (after.cells[0].pages[0].used, after.cells[0].cpu_usage) == (262144, 1)


def test_isolated_guests_take_the_siblings_too():
    asked, before = guest(1, thread_policy="isolate"), host()
    verdict = fit(asked, before)
    after = take(asked, before, verdict)
    assert after.cells[0].pinned_cpus == (0, 1)
    assert give_back(asked, after, verdict.cells) == before


def test_a_claim_takes_its_devices_and_no_others():
    asked, before = wants(m.PciRequest(1, "gpu")), host(devices=GPUS)
    verdict = fit(asked, before)
    after = take(asked, before, verdict, "a")
    assert [one.guest for one in after.devices] == ["a", ""]
    assert give_back(asked, after, verdict.cells, "b").devices == after.devices
    assert give_back(asked, after, verdict.cells, "a") == before


def test_a_guest_without_a_name_still_has_its_devices():
    asked, before = m.GuestNuma(devices=(m.PciRequest(1, "gpu"),)), host(devices=GPUS[:1])
    after = take(asked, before, fit(asked, before))
    assert fit(asked, after).code == "pci"
    assert take(asked, after, fit(asked, after)) == after
    unseen = host(devices=None)
    assert take(asked, unseen, fit(asked, unseen)) == unseen
    assert give_back(asked, unseen, ()) == unseen


def test_guests_are_taken_until_nothing_is_left():
    left, count = host(), 0
    asked = guest(2)
    while (verdict := fit(asked, left)).result == m.FIT:
        left, count = take(asked, left, verdict), count + 1
    assert (count, verdict.code) == (4, "dedicated_cpus")


# --- the search --------------------------------------------------------------------------

#: The second cell fits on host cell 1 only.
LARGE = cell(1, memory_mib=16384, pages=())
SMALLER = cell(0, memory_mib=2048, pages=()), cell(2, memory_mib=2048, pages=())
UNEQUAL = m.GuestNuma((m.GuestCell(0, (), (0,), 1024), m.GuestCell(1, (), (1,), 8192)), "dedicated")


def test_nova_loses_track_of_cells_that_are_not_alike():
    """It remembers a guest's cell by the number of the host's cell where it fitted last."""
    verdict = fit(UNEQUAL, host(SMALLER[0], LARGE, SMALLER[1]))
    assert (verdict.result, verdict.code) == (m.NO_FIT, "cells")
    assert "loses track" in verdict.reason


def test_nova_takes_a_cell_for_one_that_fits_because_another_did():
    """A cell of 9 CPUs on one of 8: it would pin them nowhere."""
    eight = [cell(number, cpus=8) for number in range(8)]
    verdict = fit(guest(1, 2, 3, 4, 5, 6, 7, 9), host(*eight))
    assert (verdict.result, verdict.code) == (m.NO_FIT, "cells")
    assert "pins CPUs of other cells" in verdict.reason


def test_it_does_not_where_the_host_has_no_more_cells_than_the_guest():
    assert where(fit(UNEQUAL, host(SMALLER[0], LARGE))) == [0, 1]


def test_with_too_many_cells_what_is_possible_counts(monkeypatch):
    monkeypatch.setattr(numa_search, "PATIENCE", 1)
    assert where(fit(UNEQUAL, host(SMALLER[0], LARGE, SMALLER[1]))) == [0, 1]
    both = wants(m.PciRequest(1, "gpu", "", "required"))
    assert where(fit(both, host(devices=GPUS[1:]))) == [1]
    assert fit(both, host(cell(0), cell(1, cpus=0, threads=1), devices=GPUS[1:])).code == (
        "pci_affinity"
    )


def test_a_later_cell_pushes_an_earlier_one_on(monkeypatch):
    """Bipartite matching: the first would take the only cell that the second can have."""
    monkeypatch.setattr(numa_search, "PATIENCE", 1)
    assert where(fit(UNEQUAL, host(LARGE, SMALLER[0], SMALLER[1]))) == [0, 1]
    crowded = replace(UNEQUAL, cells=(*UNEQUAL.cells, m.GuestCell(2, (), (2,), 8192)))
    assert fit(crowded, host(LARGE, SMALLER[0], SMALLER[1])).result == m.NO_FIT


@pytest.mark.parametrize("many", [8, 32])
def test_many_cells_are_no_matter(many):
    """A guest of 8 cells, of which 7 fit: a search through all orders would not end."""
    cells = [
        cell(n, pinned_cpus=() if n < 7 else tuple(range(n * 4, n * 4 + 4))) for n in range(many)
    ]
    assert fit(guest(*[1] * 8), host(*cells)).result == m.NO_FIT
    assert fit(guest(*[1] * 7), host(*cells)).result == m.FIT
