# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do guests fit hosts: what Placement refuses, what only cells can say, and when it is enough."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import numa_model as n
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Room
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_check import (
    ALL,
    API,
    BEST_EFFORT,
    HYPERTHREADING,
    HYPERVISOR,
    SOCKET_AFFINITY,
    Asker,
    Terms,
    by_api,
    check,
    holds,
    judge,
    needs,
)

FREE = {"PCPU": 8, "VCPU": 8, "MEMORY_MB": 8192}


def pinned(count=2, memory=1024, **fields):
    """A guest of one cell with CPUs of its own."""
    cell = n.GuestCell(0, pinned_cpus=tuple(range(count)), memory_mib=memory)
    return n.GuestNuma((cell,), policy="dedicated", vcpus=count, memory_mib=memory, **fields)


def host(name="cmp-2", cells=2, cpus=4, **fields):
    """A host whose cells have ``cpus`` CPUs each, all of them dedicated, and 4 GiB each."""
    found = tuple(
        n.HostCell(
            number,
            dedicated_cpus=(own := tuple(range(number * cpus, (number + 1) * cpus))),
            siblings=tuple((cpu,) for cpu in own),
            memory_mib=4096,
            pages=(n.Pages(4, 1024 * 1024),),
        )
        for number in range(cells)
    )
    return n.HostNuma(name, found, devices=(), **fields)


def room(name="cmp-2", numa=None, free=None, traits=()):
    return Room(name, FREE if free is None else free, traits=traits, numa=numa)


def asker(name="g", request=None, **fields):
    return Asker(id=f"id-{name}", name=name, request=request or pinned(), **fields)


@pytest.mark.parametrize(
    ("kept", "result"), [(4, n.FIT), (2048, n.NO_FIT), (0, n.FIT)], ids=["same", "other", "stopped"]
)
def test_a_running_guest_keeps_the_page_size_that_it_got(kept, result):
    cell = n.GuestCell(0, cpus=(0,), memory_mib=64, page_size_kib=n.SMALL_PAGES)
    small = n.GuestNuma((cell,), vcpus=1, memory_mib=64)
    there = replace(host(), cells=tuple(replace(c, shared_cpus=(0,)) for c in host().cells))
    verdict, seen = judge(asker(request=small, page_size_kib=kept), room(numa=there))
    assert (verdict.result, seen) == (result, HYPERVISOR)
    if result == n.NO_FIT:
        assert verdict.code == "page_size"
        assert "pages of 4 KiB, and while it runs it keeps its pages of 2048 KiB" in verdict.reason


# --- from the API alone ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (pinned(3, 512), {"PCPU": 3, "MEMORY_MB": 512}),
        (pinned(3, emulator_threads="isolate"), {"PCPU": 4, "MEMORY_MB": 1024}),
        (n.GuestNuma(vcpus=2, memory_mib=64), {"VCPU": 2, "MEMORY_MB": 64}),
        (
            n.GuestNuma(
                (n.GuestCell(0, (0,), (1, 2), 64), n.GuestCell(1, (3,), (), 64)), policy="mixed"
            ),
            {"PCPU": 2, "VCPU": 2, "MEMORY_MB": 128},
        ),
    ],
)
def test_what_a_guest_takes_in_placement(request_, wanted):
    assert needs(request_, FREE) == wanted


def test_where_no_cpu_is_dedicated_nova_asks_for_vcpus():
    assert needs(pinned(3), {"VCPU": 8}) == {"VCPU": 3, "MEMORY_MB": 1024}


@pytest.mark.parametrize(
    ("free", "code", "said"),
    [
        ({**FREE, "PCPU": 1}, "dedicated_cpus", "1 PCPU are free in Placement, 2 needed"),
        ({"VCPU": 1, "MEMORY_MB": 8192}, "shared_cpus", "1 VCPU are free in Placement, 2 needed"),
        ({**FREE, "MEMORY_MB": 1000}, "memory", "1000 MEMORY_MB are free in Placement, 1024"),
        ({**FREE, "PCPU": -3}, "dedicated_cpus", "0 PCPU"),
        ({}, "memory", "no memory left"),
    ],
)
def test_placement_s_no_is_a_no(free, code, said):
    verdict = by_api(pinned(), room(free=free))
    assert (verdict.result, verdict.code) == (n.NO_FIT, code)
    assert said in verdict.reason


@pytest.mark.parametrize(
    ("policy", "traits", "free", "code"),
    [
        ("require", (), FREE, "thread_policy"),
        ("require", (HYPERTHREADING,), FREE, "unseen"),
        ("isolate", (HYPERTHREADING,), FREE, "thread_policy"),
        ("isolate", (), FREE, "unseen"),
        # Without dedicated CPUs Nova asks for VCPU, and for no trait.
        ("isolate", (HYPERTHREADING,), {"VCPU": 8, "MEMORY_MB": 8192}, "unseen"),
    ],
)
def test_thread_policies_are_traits_to_the_scheduler(policy, traits, free, code):
    assert by_api(pinned(thread_policy=policy), room(free=free, traits=traits)).code == code


@pytest.mark.parametrize(("traits", "code"), [((), "pci_affinity"), ((SOCKET_AFFINITY,), "unseen")])
def test_affinity_to_a_socket_is_a_trait_to_the_scheduler(traits, code):
    request = pinned(devices=(n.PciRequest(alias="a", affinity="socket"),))
    assert by_api(request, room(traits=traits)).code == code


def test_what_placement_cannot_know_is_unknown_and_said():
    cell = n.GuestCell(0, pinned_cpus=(0,), memory_mib=64, page_size_kib=2048)
    devices = (n.PciRequest(alias="a"),)
    verdict = by_api(n.GuestNuma((cell,), devices=devices, networks=("phys",)), room())
    assert verdict.result == n.UNKNOWN
    for what in ("dedicated CPUs", "pages", "devices", "networks"):
        assert what in verdict.reason


# --- one pair ----------------------------------------------------------------------------


def test_cells_that_were_seen_decide():
    verdict, seen = judge(asker(), room(numa=host()))
    assert (verdict.result, seen) == (n.FIT, HYPERVISOR)
    verdict, seen = judge(asker(request=pinned(5)), room(numa=host()))
    assert (verdict.result, verdict.code, seen) == (n.NO_FIT, "dedicated_cpus", HYPERVISOR)


def test_placement_is_asked_before_the_cells():
    verdict, seen = judge(asker(), room(numa=host(), free={**FREE, "PCPU": 1}))
    assert (verdict.code, seen) == ("dedicated_cpus", API)


def test_a_host_without_cells_takes_no_guest_with_cells():
    assert judge(asker(), room(numa=host(cells=0)))[0].result == n.NO_FIT


def test_a_guest_is_where_it_is():
    here = (n.CellFit(0, 1, 4, {"0": 9}),)
    verdict, _seen = judge(asker(host="cmp-2", here=here), room(free={}))
    assert (verdict.result, verdict.code, verdict.cells) == (n.FIT, "here", here)


def test_a_guest_that_makes_no_sense_fits_nowhere():
    verdict, _seen = judge(asker(fault="hw:numa_nodes: '0' is no number"), room(numa=host()))
    assert (verdict.result, verdict.code) == (n.NO_FIT, "bad_request")
    assert "hw:numa_nodes" in verdict.reason


# --- is it enough ------------------------------------------------------------------------


def hosts_of(pairs):
    return [pair.host for pair in pairs if pair.accepted]


def test_strict_wants_to_know_and_best_effort_does_not():
    rooms = [room("blind"), room("seen", numa=host("seen"))]
    assert hosts_of(check([asker()], rooms, Terms())) == ["seen"]
    assert hosts_of(check([asker()], rooms, Terms(BEST_EFFORT))) == ["blind", "seen"]


def test_strict_refuses_what_is_spread():
    wide = asker(request=n.GuestNuma(vcpus=1, memory_mib=6000))
    (strict,) = check([wide], [room(numa=host())], Terms())
    (effort,) = check([wide], [room(numa=host())], Terms(BEST_EFFORT))
    assert strict.verdict.spread
    assert (strict.accepted, effort.accepted) == (False, True)


def test_one_host_is_enough_unless_all_are_required():
    rooms = [room("small", numa=host("small", cpus=1)), room("large", numa=host("large"))]
    pairs = check([asker()], rooms, Terms())
    assert holds(pairs, Terms())
    assert not holds(pairs, Terms(require=ALL))
    assert not holds([], Terms())


def test_its_own_host_does_not_count_unless_it_was_named():
    rooms = [room("cmp-1"), room("cmp-2")]
    one = asker(host="cmp-1")
    assert [pair.host for pair in check([one], rooms, Terms(elsewhere=True))] == ["cmp-2"]
    assert [pair.host for pair in check([one], rooms, Terms())] == ["cmp-1", "cmp-2"]


def test_apart_guests_do_not_hinder_one_another_together_they_do():
    guests = [asker("a", pinned(3)), asker("b", pinned(3)), asker("c", pinned(3))]
    rooms = [room(numa=host(), free={**FREE, "PCPU": 99})]
    assert all(pair.accepted for pair in check(guests, rooms, Terms()))
    together = check(guests, rooms, Terms(together=True))
    assert [pair.accepted for pair in together] == [True, True, False]
    cells = [pair.verdict.cells[0].host_cell for pair in together if pair.taken]
    assert sorted(cells) == [0, 1]


def test_together_the_largest_comes_first_and_the_next_host_takes_what_is_left():
    guests = [asker("small", pinned(2)), asker("large", pinned(4))]
    rooms = [room(name, numa=host(name, cells=1)) for name in ("cmp-2", "cmp-3")]
    pairs = check(guests, rooms, Terms(together=True))
    assert [(p.asker.name, p.host) for p in pairs if p.taken] == [
        ("large", "cmp-2"),
        ("small", "cmp-3"),
    ]


def test_together_placement_s_room_shrinks_too():
    guests = [asker("a", pinned(5)), asker("b", pinned(5))]
    pairs = check(guests, [room()], Terms(BEST_EFFORT, together=True))
    assert [(p.verdict.result, p.verdict.code) for p in pairs] == [
        (n.UNKNOWN, "unseen"),
        (n.NO_FIT, "dedicated_cpus"),
    ]


def test_together_on_all_hosts_each_takes_all():
    guests = [asker("a", pinned(4)), asker("b", pinned(4))]
    rooms = [room(name, numa=host(name)) for name in ("cmp-2", "cmp-3")]
    pairs = check(guests, rooms, Terms(require=ALL, together=True))
    assert all(pair.taken for pair in pairs)
    assert len(pairs) == 4
