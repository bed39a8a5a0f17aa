# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What numa_info tells of a hypervisor, and how it says what is wrong."""

from __future__ import annotations

import json

import pytest
import yaml

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadConfiguration,
    BadOption,
    HypervisorRefused,
    Unreachable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import config, hypervisor
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import decode
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import HostNuma
from ansible_collections.lowtide.compute.plugins.modules import numa_info as module
from tests.unit import fake_libvirt
from tests.unit import libvirt_xml as xml
from tests.unit.fake_libvirt import FakeLibvirt, Guest
from tests.unit.libvirt_xml import HUGE, LARGE, SMALL, Cell, GuestCell

A, B, C = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abc")
CONF = """\
[DEFAULT]
host = cmp-1
reserved_huge_pages = node:0,size:2048,count:64
reserved_huge_pages = node:1,size:2048,count:32
cpu_allocation_ratio = 2.0
ram_allocation_ratio = 0

[compute]
cpu_shared_set = 0-1,8-9,4-5,12-13
cpu_dedicated_set = 2-3,10-11,6-7,14-15
packing_host_numa_cells_allocation_strategy = true

[neutron]
physnets = Data

[neutron_physnet_Data]
numa_nodes = 0,1

[neutron_tunnel]
numa_nodes = 1

[pci]
device_spec = {"vendor_id": "10de", "product_id": "1eb8"}
passthrough_whitelist = {"devname": "enp59s0f0", "physical_network": "data"}
alias = {"name": "t4", "vendor_id": "10de", "product_id": "1eb8"}
"""


@pytest.fixture
def conf(monkeypatch, tmp_path):
    """The path of nova.conf, where oslo.config looks for it."""
    monkeypatch.setattr(config, "HOMES", (str(tmp_path),))
    path = tmp_path / "nova.conf"
    path.write_text(CONF)
    return path


@pytest.fixture
def library(monkeypatch):
    library = FakeLibvirt(Guest(A, "instance-1"), Guest(B, "instance-2"), Guest(C, "router"))
    pinned = GuestCell({0: "2", 1: "10"}, 2048, "0", LARGE)
    gpu = xml.hostdev("0000:af:00.0")
    library.guests[A].xml = xml.domain(A, "instance-1", pinned, emulator="2,10", devices=gpu)
    library.guests[B].xml = xml.domain(B, "instance-2")
    library.guests[C].xml = xml.domain(C, "router", GuestCell({0: "3"}), metadata=None)
    host = library.hardware
    host.capabilities, host.online = xml.capabilities(*xml.TWO_CELLS), [True] * 16
    host.free_mib = {0: 60000, 1: 61000}
    host.free_pages = {cell: {SMALL: 9, LARGE: 7100, HUGE: 0} for cell in (0, 1)}
    host.devices = [
        xml.pci("0000:af:00.0", vendor="10de", product="1eb8", cell=1),
        xml.pci("0000:3b:00.0", vfs=True),
        xml.child("0000:3b:00.0", "net", "enp59s0f0"),
        None,
    ]
    monkeypatch.setattr(hypervisor, "libvirt", library)
    return library


@pytest.fixture
def ask(library, conf):
    """``ask(**options)``: the module's result, with its warnings in ``warned``."""

    def run(**given):
        options = {name: spec.get("default") for name, spec in module.SPEC.items()}
        task = fake_libvirt.task(library, **options | given)
        return module.handle(task) | {"warned": task.warned}

    return run


def test_cells(ask):
    found = ask()
    first, second = found["cells"]
    assert (first["id"], first["cpus"]) == (0, [0, 1, 2, 3, 8, 9, 10, 11])
    assert (first["shared_cpus"], first["dedicated_cpus"]) == ([0, 1, 8, 9], [2, 3, 10, 11])
    assert (first["pinned_cpus"], first["memory_used_mib"]) == ([2, 10], 2048)
    assert (first["memory_mib"], first["memory_free_mib"]) == (65536, 60000)
    assert first["pages"][1] == {
        "size_kib": LARGE,
        "total": 8192,
        "used": 1024,
        "reserved": 64,
        "free": 7100,
    }
    assert (second["networks"], second["tunnelled"]) == (["Data"], True)
    assert second["distances"] == {"0": 21, "1": 10}
    assert (found["host"], found["changed"], found["unseen"]) == ("cmp-1", False, [])
    assert found["warned"] == []


def test_devices_and_domains(ask):
    found = ask()
    nic, gpu = found["devices"]
    assert (nic["kind"], nic["physical_network"], nic["offered"]) == ("type-PF", "data", True)
    assert (gpu["aliases"], gpu["guest"], gpu["cell"]) == (["t4"], A, 1)
    first, second, router = found["domains"]
    assert (first["id"], first["state"], first["counted"]) == (A, "running", True)
    assert (first["pins"], first["emulator_cpus"]) == ({"0": [2], "1": [10]}, [2, 10])
    assert first["cells"][0]["page_size_kib"] == LARGE
    assert (second["nova"], second["counted"]) == (True, False)
    assert (router["nova"], router["counted"]) == (False, False)


def test_what_numa_check_takes_is_that_host(ask):
    found = ask()
    host = decode(HostNuma, json.loads(json.dumps(found["numa"])))
    assert (host.host, host.pack_cells) == ("cmp-1", True)
    assert (host.cpu_allocation_ratio, host.ram_allocation_ratio) == (2.0, None)
    assert [cell.pinned_cpus for cell in host.cells] == [(2, 10), ()]
    assert host.devices is not None
    assert [device.address for device in host.devices] == ["0000:3b:00.0", "0000:af:00.0"]


def test_the_sources_of_what_is_in_force(ask, conf):
    found = ask(cpu_dedicated_set="2-3")["config"]
    assert found["cpu_dedicated_set"] == {"value": "2-3", "source": "cpu_dedicated_set"}
    assert found["cpu_shared_set"] == {"value": "0-1,8-9,4-5,12-13", "source": str(conf)}
    assert found["vcpu_pin_set"] == {"value": None, "source": "default"}


def test_options_in_the_configuration_s_stead(ask):
    found = ask(
        host="other",
        cpu_shared_set="",
        cpu_dedicated_set="2-7,10-15",
        reserved_huge_pages=[],
        device_spec=[],
        pci_alias=[],
        cpu_allocation_ratio=4.0,
        ram_allocation_ratio=1.5,
    )
    host = decode(HostNuma, found["numa"])
    assert (host.host, host.devices) == ("other", ())
    assert (host.cpu_allocation_ratio, host.ram_allocation_ratio) == (4.0, 1.5)
    assert [cell.shared_cpus for cell in host.cells] == [(), ()]
    assert {pages.reserved for cell in host.cells for pages in cell.pages} == {0}


def test_files_that_are_named(ask, tmp_path):
    other = tmp_path / "other.conf"
    other.write_text("[compute]\ncpu_dedicated_set = 14\n")
    found = ask(config_files=[str(other)], config_dirs=[])
    assert found["config"]["cpu_dedicated_set"] == {"value": "14", "source": str(other)}
    assert found["host"] == "cmp-1.example.org"


# --- less than everything ------------------------------------------------------------------------


def test_a_host_without_nova_conf(ask, conf):
    conf.unlink()
    found = ask()
    assert found["unseen"] == ["nova.conf"]
    assert found["numa"]["devices"] is None
    assert found["cells"][0]["dedicated_cpus"] == found["cells"][0]["cpus"]
    assert "config_files" in found["warned"][0]
    given = ask(cpu_dedicated_set="2-3,10", device_spec=[])
    assert (given["unseen"], given["numa"]["devices"], given["warned"]) == ([], [], [])


def test_a_libvirt_that_knows_no_devices(ask, library, conf):
    library.hardware.devices = None
    found = ask()
    assert (found["devices"], found["numa"]["devices"]) == ([], None)
    assert "PCI devices are not seen" in found["warned"][0]
    conf.write_text("")
    # Without device_spec Nova gives no device to anybody, whatever there is.
    assert ask()["numa"]["devices"] == []


def test_cells_of_which_libvirt_cannot_tell_what_is_free(ask, library):
    cxl = Cell(2, [], 0, {}, {0: 14, 1: 24, 2: 10})
    library.hardware.capabilities = xml.capabilities(*xml.TWO_CELLS, cxl)
    *_rest, found = ask()["cells"]
    assert (found["id"], found["memory_free_mib"], found["pages"]) == (2, None, [])


def test_a_host_without_numa(ask, library, conf):
    conf.write_text("")
    library.hardware.capabilities = xml.capabilities()
    del library.guests[A]
    found = ask()
    assert (found["cells"], found["numa"]["cells"]) == ([], [])
    assert "no NUMA cells of this host (x86_64)" in found["warned"][0]


def test_pages_that_are_reserved_in_vain(ask):
    found = ask(reserved_huge_pages=["node:3,size:2048,count:1"])
    assert found["warned"] == [
        "reserved_huge_pages: cell 3 has no pages of 2048 KiB; Nova ignores it"
    ]


def test_a_domain_that_goes_meanwhile(ask, library):
    library.guests[B].deaf["XMLDesc"] = fake_libvirt.NO_DOMAIN
    assert [row["name"] for row in ask()["domains"]] == ["instance-1", "router"]


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "option", "why"),
    [
        ({"cpu_dedicated_set": "3-1"}, "cpu_dedicated_set", "ends before it begins"),
        ({"cpu_dedicated_set": "14-17"}, "cpu_dedicated_set", "not on line here: 16-17"),
        ({"cpu_shared_set": "2"}, "cpu_dedicated_set", "too: 2"),
        ({"reserved_huge_pages": ["64"]}, "reserved_huge_pages", "no cell, size and number"),
        ({"device_spec": ["{"]}, "device_spec", "is no JSON"),
        ({"pci_alias": [{"name": "a"}]}, "pci_alias", "does not say which devices"),
        ({"cpu_allocation_ratio": -1.0}, "cpu_allocation_ratio", "is below 0"),
        ({"config_files": ["/nowhere"]}, "config_files", "is not a file"),
    ],
)
def test_options_that_cannot_be_used(ask, conf, given, option, why):
    if "cpu_shared_set" in given:
        given = given | {"cpu_dedicated_set": "2-3"}
    with pytest.raises(BadOption, match=why) as raised:
        ask(**given)
    assert raised.value.details["option"] == option
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[compute]\ncpu_dedicated_set = 3-1\n", "compute.cpu_dedicated_set: '3-1' has '3-1'"),
        ("[DEFAULT]\nvcpu_pin_set = 99\n", "vcpu_pin_set: '99' has CPUs that are not on line"),
        ("[neutron_tunnel]\nnuma_nodes = 7\n", "neutron_tunnel.numa_nodes: 7 is no cell"),
        ("[neutron_tunnel]\nnuma_nodes = x\n", "neutron_tunnel.numa_nodes: 'x' is no list"),
        ("[neutron]\nphysnets = a\n", "neutron_physnet_a.numa_nodes: '' is set for a network"),
        ("[pci]\nalias = x\n", "pci.alias: 'x' is no JSON"),
        ("[libvirt]\ncpu_power_management = 7\n", "cpu_power_management: '7' is not true or false"),
        ("cpu_shared_set = 1\n", "line 2: a value before the first group"),
    ],
)
def test_a_configuration_with_which_nova_does_not_start(ask, conf, text, why):
    conf.write_text(text)
    with pytest.raises(BadConfiguration, match=why.replace("[", r"\[")) as raised:
        ask()
    assert raised.value.remedy


def test_a_hypervisor_that_does_not_answer(ask, library):
    with pytest.raises(Unreachable, match="nowhere"):
        ask(uri="qemu+ssh://nowhere/system")
    library.down = (0.0, float("inf"))
    with pytest.raises(Unreachable):
        ask()


def test_devices_that_libvirt_fails_to_list(ask, library, monkeypatch):
    def fail(_connection, _kinds):
        raise fake_libvirt.libvirtError("internal error", fake_libvirt.INTERNAL_ERROR)

    monkeypatch.setattr(fake_libvirt.Connection, "listAllDevices", fail)
    with pytest.raises(HypervisorRefused, match="list the host's devices"):
        ask()


def test_return_says_what_there_is(ask):
    told = yaml.safe_load(module.RETURN)
    found = ask()
    del found["changed"], found["warned"]
    assert set(found) == set(told) - {"code", "remedy"}
    for name in ("cells", "devices", "domains"):
        assert set(found[name][0]) == set(told[name]["contains"]), name
    assert set(found["cells"][0]["pages"][0]) == set(told["cells"]["contains"]["pages"]["contains"])
    assert set(found["domains"][0]["cells"][0]) == set(
        told["domains"]["contains"]["cells"]["contains"]
    )
