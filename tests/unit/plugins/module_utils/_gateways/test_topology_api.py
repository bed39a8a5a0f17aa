# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the APIs say of guests' cells: what is asked, and what becomes of the answers."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    NotFound,
    Refused,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.topology_api import (
    TopologyApi,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.wires import Wires
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    CellFit,
    GuestCell,
    NumaPort,
)
from tests.unit.support import guest

UUID = "01234567-89ab-cdef-0123-456789abcdef"
FLAVOR = {"id": "f1", "name": "big", "vcpus": 4, "ram": 2048, "extra_specs": {"hw:numa_nodes": "2"}}


class FakeApi:
    """Answers reads from a table (path -> body), and 404 for all else; keeps what was asked."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def get(self, path, params=None, **more):
        self.asked.append((path, dict(params or {})))
        if path not in self.answers:
            raise Refused("gone", status=404, reason="gone")
        return self.answers[path]

    def list(self, path, key, params=None, **more):
        return self.get(path, params)[key]


def api(compute=None, placement=None, image=None, volume=None):
    return TopologyApi(compute or FakeApi(), placement or FakeApi(), image, volume)


# --- flavors and images ------------------------------------------------------------------


def test_a_flavor_is_found_by_id_and_by_name():
    by_id = FakeApi(**{"/flavors/f1": {"flavor": FLAVOR}})
    by_name = FakeApi(**{"/flavors/detail": {"flavors": [FLAVOR, {**FLAVOR, "name": "other"}]}})
    first = api(by_id).guest_of_flavor("f1", "")
    assert first == api(by_name).guest_of_flavor("big", "")
    assert (first.id, first.name, first.flavor_name, first.host) == ("", "big", "big", "")
    assert (first.vcpus, first.ram_mib) == (4, 2048)
    assert first.extra_specs == {"hw:numa_nodes": "2"}
    assert by_name.asked[-1] == ("/flavors/detail", {"is_public": "None"})


def test_an_unknown_flavor_is_named():
    with pytest.raises(NotFound, match="'tiny'"):
        api(FakeApi(**{"/flavors/detail": {"flavors": [FLAVOR]}})).guest_of_flavor("tiny", "")


def test_of_an_image_only_what_nova_reads_counts():
    raw = {"id": "i", "name": "deb", "hw_numa_nodes": 2, "trait:X": "required", "owner": "p"}
    compute = FakeApi(**{"/flavors/f1": {"flavor": FLAVOR}})
    image = FakeApi(**{"/images": {"images": [raw]}, f"/images/{UUID}": raw})
    for name in ("deb", UUID):
        found = api(compute, image=image).guest_of_flavor("f1", name)
        assert found.image_properties == {"hw_numa_nodes": "2", "trait:X": "required"}
        assert found.name == f"big+{name}"


def test_the_name_of_several_images_is_refused():
    compute = FakeApi(**{"/flavors/f1": {"flavor": FLAVOR}})
    image = FakeApi(**{"/images": {"images": [{"id": "a"}, {"id": "b"}]}})
    with pytest.raises(BadOption, match="several: a, b"):
        api(compute, image=image).guest_of_flavor("f1", "deb")


def test_nova_s_word_on_the_properties_of_a_guest_counts():
    one = guest(image_id="i", image_properties={"hw_numa_nodes": "1"})
    assert api(image=FakeApi()).properties_of(one) == {"hw_numa_nodes": "1"}


def test_properties_that_nova_hides_are_read_once_from_glance():
    image = FakeApi(**{"/images/i": {"id": "i", "hw_cpu_policy": "dedicated"}})
    reader = api(image=image)
    for _time in range(2):
        assert reader.properties_of(guest(image_id="i")) == {"hw_cpu_policy": "dedicated"}
    assert len(image.asked) == 1


def test_an_image_that_is_gone_has_no_properties():
    assert api(image=FakeApi()).properties_of(guest(image_id="i")) == {}


def test_a_guest_that_boots_from_a_volume_has_the_properties_of_its_bootable_one():
    data = {"bootable": "false", "volume_image_metadata": {"hw_numa_nodes": "9"}}
    root = {"bootable": "true", "volume_image_metadata": {"hw_numa_nodes": "2", "size": "1"}}
    volume = FakeApi(**{"/volumes/d": {"volume": data}, "/volumes/r": {"volume": root}})
    one = guest(boots_from_volume=True, volumes=("d", "r"))
    assert api(volume=volume).properties_of(one) == {"hw_numa_nodes": "2"}


# --- where cells are ---------------------------------------------------------------------


def topology(*nodes, size=None):
    return FakeApi(**{"/servers/g1/topology": {"nodes": list(nodes), "pagesize_kb": size}})


NODE = {
    "vcpu_set": [0, 1, 2],
    "memory_mb": 512,
    "host_node": 1,
    "cpu_pinning": {"1": 9, "2": 8},
    "siblings": [],
}


def test_cells_are_told_with_where_they_are():
    assert api(topology(NODE, size=2048)).placed("g1") == (
        (
            GuestCell(0, cpus=(0,), pinned_cpus=(1, 2), memory_mib=512, page_size_kib=2048),
            CellFit(0, 1, 2048, {"1": 9, "2": 8}),
        ),
    )


def test_who_is_not_told_of_the_host_learns_nothing():
    assert api(topology({"vcpu_set": [0], "memory_mb": 1, "siblings": []})).placed("g1") == ()
    assert api(topology()).placed("g1") == ()
    assert api().placed("g1") == ()


def test_what_is_free_is_summed_over_a_tree_with_its_traits():
    def summary(root, traits, **resources):
        amounts = {k: {"capacity": c, "used": u} for k, (c, u) in resources.items()}
        return {"root_provider_uuid": root, "traits": traits, "resources": amounts}

    summaries = {
        "r1": summary("r1", ["HT"], PCPU=(8, 3), MEMORY_MB=(100, 40)),
        "child": summary("r1", ["GPU"], VGPU=(2, 0)),
        "r2": summary("r2", [], VCPU=(4, 4)),
    }
    placement = FakeApi(**{"/allocation_candidates": {"provider_summaries": summaries}})
    assert api(placement=placement).free() == {
        "r1": ({"PCPU": 5, "MEMORY_MB": 60, "VGPU": 2}, ("GPU", "HT")),
        "r2": ({"VCPU": 0}, ()),
    }


def test_ratios_are_those_of_the_provider():
    inventories = {"VCPU": {"allocation_ratio": 4.0}, "PCPU": {"allocation_ratio": 1.0}}
    path = "/resource_providers/r1/inventories"
    placement = FakeApi(**{path: {"inventories": inventories}})
    assert api(placement=placement).ratios("r1") == (4.0, None)


# --- ports -------------------------------------------------------------------------------


def port(network="n1", **more):
    return {"id": "p", "device_id": "g1", "network_id": network, **more}


@pytest.mark.parametrize(
    ("network", "wire"),
    [
        ({"provider:physical_network": "phys", "provider:network_type": "vlan"}, ("phys", False)),
        ({"provider:physical_network": None, "provider:network_type": "geneve"}, ("", True)),
        ({"segments": [{"provider:network_type": "vxlan"}]}, ("", False)),
        (
            {
                "segments": [
                    {"provider:network_type": "vxlan"},
                    {"provider:physical_network": "p2"},
                ]
            },
            ("p2", False),
        ),
        ({}, ("", False)),
    ],
)
def test_a_port_has_the_network_of_its_wire(network, wire):
    answers = {"/ports": {"ports": [port()]}, "/networks/n1": {"network": network}}
    assert Wires(FakeApi(**answers)).of_guests(["g1"]) == {"g1": (NumaPort("normal", *wire),)}


def test_a_port_says_its_own_wishes_and_each_network_is_read_once():
    direct = port(**{"binding:vnic_type": "direct", "numa_affinity_policy": "required"})
    neutron = FakeApi(**{"/ports": {"ports": [direct, port()]}, "/networks/n1": {"network": {}}})
    found = Wires(neutron).of_guests(["g1"])["g1"]
    assert found == (NumaPort("direct", affinity="required"), NumaPort())
    assert [path for path, _query in neutron.asked] == ["/ports", "/networks/n1"]


def test_many_guests_are_asked_for_in_several_queries():
    neutron = FakeApi(**{"/ports": {"ports": []}})
    assert Wires(neutron).of_guests([str(number) for number in range(60)]) == {}
    assert [len(query["device_id"]) for _path, query in neutron.asked] == [50, 10]
