# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host as Nova has it, and what guests use of it."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import codec, numa_host
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_devices import nodes
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_domain import domain
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    HostNuma,
    Pages,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_offers import (
    aliases,
    offers,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_sets import (
    DEDICATED,
    SHARED,
    BadSetting,
    cpu_sets,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_xml import capabilities
from tests.unit import libvirt_xml as xml
from tests.unit.libvirt_xml import HUGE, LARGE, SMALL, Cell, GuestCell, Metadata

ONLINE = frozenset(range(16))
SPLIT = {SHARED: "0-1,8-9,4-5,12-13", DEDICATED: "2-3,10-11,6-7,14-15"}
PINNED = Metadata({"hw:cpu_policy": "dedicated"})


def rules(texts=None, **more):
    texts = SPLIT if texts is None else texts
    return numa_host.Rules(cpu_sets(texts, ONLINE, ONLINE), **more)


def host(*domains, cells=xml.TWO_CELLS, **more):
    found = capabilities(xml.capabilities(*cells))
    return numa_host.host_numa("cmp-1", found, rules(**more), [*map(domain, domains)], ())


def guest(*cells, name="g", **more):
    return xml.domain(f"id-{name}", name, *cells, **{"metadata": PINNED} | more)


# --- cells ---------------------------------------------------------------------------------------


def test_an_empty_host():
    found = host(reserved={(1, LARGE): 64, (7, LARGE): 1})
    first, second = found.cells
    assert first.shared_cpus == (0, 1, 8, 9)
    assert first.dedicated_cpus == (2, 3, 10, 11)
    assert first.siblings == ((0, 8), (1, 9), (2, 10), (3, 11))
    assert (first.memory_mib, first.socket, first.pinned_cpus) == (65536, 0, ())
    assert second.pages == (
        Pages(SMALL, 12582912),
        Pages(LARGE, 8192, reserved=64),
        Pages(HUGE, 0),
    )
    assert found.unseen == ()


def test_threads_that_are_nobody_s_are_no_siblings():
    first, second = host(texts={DEDICATED: "2-3,10"}).cells
    assert first.siblings == ((2, 10), (3,))
    assert (second.dedicated_cpus, second.siblings) == ((), ())


def test_a_cell_without_cpus_stays():
    cxl = Cell(2, [], 131072, {SMALL: 33554432}, {0: 14, 1: 24, 2: 10})
    *_rest, found = host(cells=(*xml.TWO_CELLS, cxl)).cells
    assert (found.id, found.dedicated_cpus, found.memory_mib) == (2, (), 131072)
    assert found.distances == {"0": 14, "1": 24, "2": 10}


def test_networks_belong_to_cells():
    first, second = host(networks={"data": (0, 1), "storage": (1,)}, tunnel=(0,)).cells
    assert (first.networks, first.tunnelled) == (("data",), True)
    assert (second.networks, second.tunnelled) == (("data", "storage"), False)


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"networks": {"data": (2,)}}, "neutron_physnet_data.numa_nodes"),
        ({"networks": {"data": ()}}, "neutron_physnet_data.numa_nodes"),
        ({"tunnel": (5,)}, "neutron_tunnel.numa_nodes"),
    ],
)
def test_networks_of_cells_that_are_not_there(more, name):
    with pytest.raises(BadSetting) as raised:
        host(**more)
    assert raised.value.name == name


# --- what guests have ----------------------------------------------------------------------------


def test_a_pinned_guest_takes_cpus_memory_and_pages():
    first, second = host(guest(GuestCell({0: "2", 1: "10"}, 2048, "0", LARGE))).cells
    assert (first.pinned_cpus, first.cpu_usage, first.memory_used_mib) == ((2, 10), 0, 2048)
    assert [pages.used for pages in first.pages] == [0, 1024, 0]
    assert (second.pinned_cpus, second.memory_used_mib) == ((), 0)


def test_two_guests_on_two_cells():
    wide = guest(GuestCell({0: "2"}), GuestCell({1: "6"}, host_cell="1"), emulator="2,6")
    small = guest(GuestCell({0: "7"}, 512, "1"), name="s")
    first, second = host(wide, small).cells
    assert (first.pinned_cpus, second.pinned_cpus) == ((2,), (6, 7))
    assert second.memory_used_mib == 1536
    # Without a page size of its own a guest has pages of the smallest.
    assert second.pages[0].used == 1536 * 1024 // SMALL


def test_a_floating_guest_takes_no_cpu():
    floating = guest(GuestCell({0: "0-1,8-9", 1: "0-1,8-9"}), metadata=Metadata({}))
    first, _second = host(floating).cells
    assert (first.pinned_cpus, first.cpu_usage) == ((), 2)


def test_a_mixed_guest():
    mixed = guest(GuestCell({0: "0-1,8-9", 1: "2"}), metadata=Metadata({"hw:cpu_policy": "mixed"}))
    first, _second = host(mixed).cells
    assert (first.pinned_cpus, first.cpu_usage) == ((2,), 1)


@pytest.mark.parametrize(
    ("metadata", "pinned", "doubts"),
    [
        (Metadata({}), [], 0),
        (PINNED, [4], 0),
        (Metadata({"resources:PCPU": "1"}), [4], 0),
        (Metadata({"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0"}), [4], 0),
        (Metadata({"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "^0"}), [], 0),
        (Metadata({"hw:cpu_policy": "mixed", "hw:cpu_realtime_mask": "^1"}), [4], 0),
        (Metadata(None), [], 1),
    ],
)
def test_the_only_cpu_of_a_cell(metadata, pinned, doubts):
    only = xml.Cell(1, [[4]], 1024, {SMALL: 262144})
    found = host(
        guest(GuestCell({0: "4"}, host_cell="1"), metadata=metadata), cells=[only], texts={}
    )
    assert list(found.cells[0].pinned_cpus) == pinned
    assert found.cells[0].cpu_usage == 1 - len(pinned)
    assert len(found.unseen) == doubts


def test_an_emulator_with_a_cpu_of_its_own():
    specs = {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "isolate"}
    for metadata in (Metadata(specs), Metadata(None)):
        own = guest(GuestCell({0: "2"}), emulator="3", metadata=metadata)
        assert host(own).cells[0].pinned_cpus == (2, 3)


def test_an_emulator_on_shared_cpus():
    specs = {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "share"}
    for metadata in (Metadata(specs), Metadata(None)):
        shares = guest(GuestCell({0: "2"}), emulator="0-1,8-9", metadata=metadata)
        found = host(shares)
        assert found.cells[0].pinned_cpus == (2,)
        assert found.unseen == ()


def test_whole_cores_where_both_sets_are_the_same():
    isolated = Metadata(
        {"hw:cpu_policy": "dedicated"}, properties={"hw_cpu_thread_policy": "isolate"}
    )
    found = host(guest(GuestCell({0: "2"}), metadata=isolated), texts={})
    assert found.cells[0].pinned_cpus == (2, 10)
    # An older Nova does not say; then nobody knows.
    found = host(guest(GuestCell({0: "2"}), metadata=Metadata(None)), texts={})
    assert found.cells[0].pinned_cpus == (2,)
    assert found.unseen == ("whether g has whole cores for itself",)


def test_pins_that_are_none_of_the_dedicated_cpus():
    found = host(guest(GuestCell({0: "1", 1: "2"})))
    assert found.cells[0].pinned_cpus == (2,)
    assert found.unseen == ("why g has CPUs that are not dedicated ones of its cell: 1",)


def test_a_guest_whose_cell_is_not_known():
    found = host(guest(GuestCell({0: "2"}, host_cell="0-1")))
    assert found.unseen == ("which of the host's cells cell 0 of g has",)


@pytest.mark.parametrize(
    "text",
    [
        guest(GuestCell({0: "2"}), metadata=None),
        guest(metadata=Metadata({})),
    ],
)
def test_what_nova_does_not_count(text):
    assert host(text) == host()


def test_the_value_survives_the_codec():
    found = host(guest(GuestCell({0: "2"}, 2048, "0", LARGE)), networks={"data": (0,)})
    assert codec.decode(HostNuma, codec.encode(found)) == found


# --- devices -------------------------------------------------------------------------------------

PF, VF1, VF2, GPU = "0000:3b:00.0", "0000:3b:02.1", "0000:3b:02.2", "0000:af:00.0"
TEXTS = (
    xml.pci(PF, vfs=True),
    xml.pci(VF1, product="154c", pf=PF),
    xml.pci(VF2, product="154c", pf=PF),
    xml.pci(GPU, vendor="10de", product="1eb8", cell=1),
    xml.child(VF2, "net", "enp59s2f2"),
)
OFFERS = [
    {"address": PF, "physical_network": "data"},
    {"vendor_id": "10de", "product_id": "1eb8"},
]
ALIASES = [{"name": "t4", "vendor_id": "10de", "product_id": "1eb8"}]


def hardware(*domains, specs=None):
    decided = rules(offers=offers(OFFERS if specs is None else specs), aliases=aliases(ALIASES))
    return numa_host.devices(nodes(TEXTS), decided, [*map(domain, domains)])


def test_devices_and_whose_they_are():
    owner = guest(devices=xml.hostdev(GPU) + xml.sriov(VF1))
    found = {device.is_a.address: device for device in hardware(owner)}
    assert [device.offered for device in found.values()] == [True, True, True, True]
    assert (found[GPU].is_a.aliases, found[GPU].is_a.cell) == (("t4",), 1)
    assert found[VF1].is_a.physical_network == "data"
    assert (found[GPU].is_a.guest, found[VF1].is_a.guest) == ("id-g", "id-g")
    assert (found[PF].is_a.guest, found[VF2].is_a.guest) == ("", "")


def test_a_macvtap_port_has_its_function():
    found = {
        each.is_a.address: each.is_a.guest
        for each in hardware(guest(devices=xml.macvtap("enp59s2f2")))
    }
    assert found == {PF: "", VF1: "", VF2: "id-g", GPU: ""}


def test_what_is_not_offered_answers_to_no_alias():
    found = {each.is_a.address: each for each in hardware(specs=[])}
    assert not any(each.offered or each.is_a.aliases for each in found.values())
    assert numa_host.for_guests(tuple(found.values())) == ()


@pytest.mark.parametrize(
    ("taken", "left"),
    [
        ("", [PF, VF1, VF2, GPU]),
        # Nova gives a PF away either whole or in parts.
        (xml.sriov(VF1), [VF1, VF2, GPU]),
        (xml.sriov(PF), [PF, GPU]),
    ],
)
def test_a_function_or_its_parts(taken, left):
    found = numa_host.for_guests(hardware(guest(devices=taken)))
    assert [device.address for device in found] == left
