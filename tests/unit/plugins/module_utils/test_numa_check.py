# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What numa_check is asked: topologies that are none, guests and hosts that are not there."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    HostNotReady,
    NotFound,
)
from ansible_collections.lowtide.compute.plugins.module_utils._numa_asked import (
    guests_asked,
    pinned_by_cell,
    rooms_asked,
)
from ansible_collections.lowtide.compute.plugins.module_utils._numa_topologies import (
    read_topologies,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner import numa_model as n
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import encode
from tests.unit.support import guest, service

HOST = n.HostNuma(
    "cmp-2",
    (
        n.HostCell(
            0,
            shared_cpus=(0,),
            dedicated_cpus=(1, 2),
            pinned_cpus=(2,),
            siblings=((0,), (1, 2)),
            memory_mib=1024,
            pages=(n.Pages(4, 99), n.Pages(2048, 9, reserved=1)),
            socket=0,
            distances={"0": 10},
        ),
    ),
    cpu_allocation_ratio=16.0,
    devices=(n.PciDevice("0000:00:01.0", cell=0),),
)
UUID = "01234567-89ab-cdef-0123-456789abcdef"


def topology(**changes):
    """HOST as numa_info returns it through JSON, with changes."""
    return json.loads(json.dumps(encode(HOST))) | changes


# --- topologies --------------------------------------------------------------------------


def test_what_numa_info_returned_is_read_back():
    assert read_topologies({"cmp-2": topology()}) == {"cmp-2": HOST}


def cell(**changes):
    return [{**topology()["cells"][0], **changes}]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("nonsense", "is no topology"),
        ([], "is no topology"),
        ({}, "host"),
        (topology(colour="blue"), "no field colour"),
        (topology(host="cmp-9"), "that of cmp-9"),
        (topology(cells=cell(id="0")), "id is '0'"),
        (topology(cells=cell(memory_mib=None)), "memory_mib is None"),
        (topology(cells=cell(dedicated_cpus=["1"])), "dedicated_cpus is '1'"),
        (topology(cells=cell(pinned_cpus=[7])), "pinned that are not dedicated: [7]"),
        (topology(cells=cell() + cell()), "one number"),
        (topology(cells=cell(distances={"0": "near"})), "distances is 'near'"),
        (topology(cpu_allocation_ratio="lots"), "lots"),
        (topology(cells=5), "no topology"),
        (topology(pack_cells="yes"), "pack_cells is 'yes'"),
    ],
)
def test_anything_else_is_refused_with_host_and_reason(value, said):
    with pytest.raises(BadOption) as caught:
        read_topologies({"cmp-2": value})
    assert "topologies.cmp-2" in str(caught.value)
    assert said in str(caught.value)
    assert "numa_info" in str(caught.value)


# --- guests ------------------------------------------------------------------------------


class FakeNova:
    """Guests by ID, and services by name."""

    def __init__(self, *guests, services=(), roots=None):
        self.found = guests
        self._services = services
        self.roots = roots or {}

    def guest(self, guest_id):
        return next((one for one in self.found if one.id == guest_id), None)

    def guests_named(self, name):
        return tuple(one for one in self.found if one.name == name)

    def guests_of(self, host):
        return tuple(one for one in self.found if one.host == host)

    def services(self):
        return self._services

    def service(self, host):
        for one in self._services:
            if one.host == host:
                return one
        raise NotFound(f"host: {host!r} has no nova-compute")

    def hypervisors(self):
        return self.roots


class FakeTopologyApi:
    """Nobody has properties but those that Nova shows; what is free is given."""

    def __init__(self, **free):
        self._free = free

    def properties_of(self, guest):
        return dict(guest.image_properties)

    def guest_of_flavor(self, flavor, image):
        return guest("", name=flavor, host="", image_properties={"image": image})

    def free(self):
        return self._free

    def ratios(self, root):
        return 4.0, 1.5


def one(**named):
    return {"id": None, "name": None, "flavor": None, "image": None} | named


def asked(nova, *guests, source=None):
    return guests_asked({"guests": list(guests), "source": source}, nova, FakeTopologyApi())


def test_guests_are_found_by_id_by_name_and_by_flavor_and_each_counts_once():
    nova = FakeNova(guest(UUID, name="web"), guest("other"))
    flavor = one(flavor="big", image="deb")
    found = asked(nova, one(id=UUID), one(name="web"), flavor, flavor)
    assert [each.name for each in found] == ["web", "big", "big"]
    assert found[1].image_properties == {"image": "deb"}


def test_all_guests_of_a_host():
    nova = FakeNova(guest("a"), guest("b", host="cmp-2"), services=(service("cmp-1"),))
    assert [each.id for each in asked(nova, source="cmp-1")] == ["a"]
    with pytest.raises(NotFound):
        asked(nova, source="cmp-7")
    with pytest.raises(BadOption, match="source"):
        asked(nova, source="cmp-*")


@pytest.mark.parametrize(
    ("wanted", "error", "said"),
    [
        (one(id="web"), NotFound, "no guest 'web'"),
        (one(id=UUID), NotFound, UUID),
        (one(name="nobody"), NotFound, "no guest 'nobody'"),
        (one(name="twin"), BadOption, "several: t1, t2"),
        (one(name=" "), BadOption, "names nothing"),
        (one(flavor=""), BadOption, "guests.flavor"),
    ],
)
def test_who_cannot_be_meant_is_named(wanted, error, said):
    nova = FakeNova(guest("t1", name="twin"), guest("t2", name="twin"))
    with pytest.raises(error, match=said):
        asked(nova, wanted)


def test_no_guest_is_no_question():
    with pytest.raises(BadOption, match="names no guest"):
        asked(FakeNova())


# --- hosts -------------------------------------------------------------------------------

SERVICES = (
    service("cmp-1"),
    service("cmp-2"),
    service("cmp-3", enabled=False),
    service("cmp-4", up=False),
)
ROOTS = {"r1": "cmp-1", "r2": "cmp-2", "r3": "cmp-3"}


def rooms(hosts=None, topologies=None, source=None, services=SERVICES):
    nova = FakeNova(services=services, roots=ROOTS)
    api = FakeTopologyApi(r2=({"VCPU": 3}, ("T",)))
    return rooms_asked({"hosts": hosts, "source": source}, topologies or {}, nova, api)


def test_by_default_every_other_host_that_takes_guests():
    (found,) = rooms(source="cmp-1")
    assert (found.host, found.free, found.traits, found.usable) == (
        "cmp-2",
        {"VCPU": 3},
        ("T",),
        True,
    )
    assert found.numa is None


def test_a_named_host_counts_though_it_is_closed():
    found = rooms(["cmp-3", "cmp-2", "cmp-3"])
    assert [(room.host, room.usable) for room in found] == [("cmp-3", False), ("cmp-2", True)]
    assert found[0].free == {}


def test_what_nova_conf_leaves_open_placement_knows():
    (found,) = rooms(["cmp-2"], {"cmp-2": replace(HOST, host="")})
    assert found.numa == replace(HOST, ram_allocation_ratio=1.5)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"hosts": []}, BadOption, "names no host"),
        ({"hosts": ["cmp-7"]}, NotFound, "cmp-7"),
        ({"hosts": ["cmp-[12]"]}, BadOption, "pattern"),
        ({"topologies": {"cmp-7": HOST}}, BadOption, "no host of this cloud"),
        ({"services": SERVICES[2:]}, HostNotReady, "no other host"),
    ],
)
def test_hosts_that_cannot_be_meant_are_named(options, error, said):
    with pytest.raises(error, match=said):
        rooms(**options)


def test_pinned_cpus_are_gathered_by_cell():
    def placed(host_cell, **pinning):
        return ((n.GuestCell(0), n.CellFit(0, host_cell, pinning=pinning)),)

    guests = [placed(0, a=1, b=2), placed(0, a=5), placed(1), ()]
    assert pinned_by_cell(guests) == {0: {1, 2, 5}, 1: set()}
