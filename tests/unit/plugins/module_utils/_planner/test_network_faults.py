# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be done is named with option, value and remedy, all of it at once."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner.network_plan import plan
from tests.unit.plugins.module_utils._planner.network_builders import (
    claim,
    link,
    seen,
    variables,
)

BOND = {"interface": "bond0", "bond_members": ["mig", "mig2"]}
VLAN = {"interface": "mig.100", "vlan_id": 100, "vlan_parent": "mig"}


def faults(found=None, **changes):
    return plan(variables(**changes), found or seen())["faults"]


@pytest.mark.parametrize(
    ("changes", "option", "value", "words"),
    [
        ({"interface": ""}, "interface", "''", "no name of an interface"),
        ({"interface": "a/b"}, "interface", "'a/b'", "no name of an interface"),
        ({"interface": "x" * 16}, "interface", repr("x" * 16), "no name of an interface"),
        (BOND | {"bond_members": ["m ig"]}, "bond_members", "'m ig'", "no name"),
        (VLAN | {"vlan_parent": "!"}, "vlan_parent", "'!'", "no name"),
        ({"address": "192.0.2.11"}, "address", "'192.0.2.11'", "no address with a prefix"),
        ({"address": "cmp-1/24"}, "address", "'cmp-1/24'", "no address with a prefix"),
        ({"address": "192.0.2.0/24"}, "address", "'192.0.2.0/24'", "the network itself"),
        ({"address": "192.0.2.255/24"}, "address", "'192.0.2.255/24'", "the network itself"),
        ({"address": "2001:db8::/64"}, "address", "'2001:db8::/64'", "the network itself"),
        ({"address": "127.0.0.2/8"}, "address", "'127.0.0.2/8'", "can be reached at"),
        ({"address": "fe80::1/64"}, "address", "'fe80::1/64'", "can be reached at"),
        ({"mtu": 1279}, "mtu", "1279", "1280 to 65535"),
        ({"mtu": 65536}, "mtu", "65536", "1280 to 65535"),
        ({"vlan_id": 4095, "vlan_parent": "mig2"}, "vlan_id", "4095", "0 to 4094"),
        ({"rollback_seconds": 5}, "rollback_seconds", "5", "20 to 3600"),
        ({"vlan_id": 7}, "vlan_id", "7", "a VLAN on nothing"),
        ({"vlan_parent": "mig2"}, "vlan_parent", "'mig2'", "without a VLAN"),
        (VLAN | {"interface": "mig"}, "vlan_parent", "'mig'", "the VLAN's own name"),
        (BOND | {"bond_members": ["mig", "mig"]}, "bond_members", "'mig'", "is there twice"),
        (BOND | {"interface": "mig"}, "bond_members", "'mig'", "no port of itself"),
        ({"routes": [{"to": "x"}]}, "routes", "'x'", "is no network"),
        ({"routes": [{"to": "198.51.100.1/24"}]}, "routes", "'198.51.100.1/24'", "is no network"),
        ({"routes": [{"to": "0.0.0.0/0"}]}, "routes", "'0.0.0.0/0'", "all of the host's traffic"),
        ({"routes": [{"to": "2001:db8::/64"}]}, "routes", "'2001:db8::/64'", "does not fit"),
        (
            {"routes": [{"to": "203.0.113.0/24", "via": "198.51.100.1"}]},
            "routes",
            "'198.51.100.1'",
            "no neighbour",
        ),
        (
            {"routes": [{"to": "203.0.113.0/24", "via": "router"}]},
            "routes",
            "'router'",
            "no neighbour",
        ),
        ({"routes": [{"to": "203.0.113.0/24", "metric": -1}]}, "routes", "-1", "no metric"),
        ({"peers": {"cmp_1": "192.0.2.1"}}, "peers", "'cmp_1-migration'", "no host name"),
        ({"peers": {"cmp-1": "here"}}, "peers", "'here'", "no address of cmp-1"),
        (
            {"peers": {"a": "192.0.2.1", "b": "192.0.2.1/24"}},
            "peers",
            "'192.0.2.1/24'",
            "belongs to a and b",
        ),
        ({"name_suffix": "-"}, "peers", "'cmp-1-'", "no host name"),
        ({"firewall_sources": ["all"]}, "firewall_sources", "'all'", "no network"),
        ({"firewall_ports": ["0"]}, "firewall_ports", "'0'", "no port"),
        ({"firewall_ports": ["9-8"]}, "firewall_ports", "'9-8'", "no port"),
        ({"firewall_ports": ["1:2"]}, "firewall_ports", "'1:2'", "no port"),
        ({"sysctl": {"vm.swappiness": 1}}, "sysctl", "'vm.swappiness'", "of the network"),
        ({"sysctl": {"net.core.a": "1\n2"}}, "sysctl", r"'1\n2'", "no value for net.core.a"),
    ],
)
def test_a_bad_value_is_named(changes, option, value, words):
    found = faults(**changes)
    assert any(
        text.startswith(f"management_network_{option}: {value} ") and words in text
        for text in found
    ), found


def test_all_that_is_wrong_is_said_at_once():
    assert len(faults(mtu=1, address="x", rollback_seconds=0, firewall_ports=["x"])) == 4


@pytest.mark.parametrize(
    ("changes", "found", "option", "words"),
    [
        ({"interface": "nope"}, {}, "interface", "does not exist on this host. It has mgmt, mig"),
        (VLAN | {"vlan_parent": "nope"}, {}, "vlan_parent", "does not exist"),
        (BOND | {"bond_members": ["nope"]}, {}, "bond_members", "does not exist"),
        ({"interface": "lo"}, {}, "interface", "is the loopback interface"),
        ({}, {"interfaces": {"mig": link(master="br0")}}, "interface", "is a port of br0"),
        ({"mtu": 9300}, {}, "mtu", "is more than mig can. Give 9216"),
        (BOND, {"interfaces": {"bond0": link(kind="dummy")}}, "interface", "no bond, but dummy"),
        (VLAN, {"interfaces": {"mig.100": link()}}, "interface", "is no vlan, but ethernet"),
        (
            VLAN | {"vlan_parent": "bond0", "bond_members": ["mig"]},
            {"interfaces": {"bond0": link(kind="bridge")}},
            "vlan_parent",
            "is no bond, but bridge",
        ),
        ({"address": "198.51.100.12/25"}, {}, "address", "the network of mgmt (198.51.100.11/24)"),
        ({}, {"carriers": ["mig"]}, "interface", "carries Ansible's own connection"),
        (VLAN, {"carriers": ["mig"]}, "interface", "carries Ansible's own connection"),
        (BOND, {"carriers": ["mig2"]}, "interface", "carries Ansible's own connection"),
        ({"firewall": "ufw"}, {}, "firewall", "does not run on this host (there is: none)"),
        (
            {},
            {"own_files": ["/etc/systemd/network/05-lowtide-migration-bond.netdev"]},
            "interface",
            "tasks_from: revert",
        ),
    ],
)
def test_what_does_not_fit_the_host_is_named(changes, found, option, words):
    told = faults(seen(**found), **changes)
    assert len(told) == 1, told
    assert told[0].startswith(f"management_network_{option}: ")
    assert words in told[0]


def test_ansible_s_own_interface_may_be_changed_when_told():
    assert faults(seen(carriers=["mig"]), allow_ansible_interface=True) == []


@pytest.mark.parametrize("changes", [{}, VLAN, BOND, {"address": "2001:db8::11/64", "peers": {}}])
def test_good_wishes_have_no_faults(changes):
    assert faults(**changes) == []


def test_an_address_of_another_family_is_no_conflict():
    mgmt = link(addresses=["2001:db8::1/64"])
    assert faults(seen(interfaces={"mgmt": mgmt})) == []


NM = {"networkmanager": {"state": "connected", "uuid": "u", "file": "/x"}}
ND = {"networkd": {"state": "configured", "file": "/etc/systemd/network/10-mig.network"}}
IDLE = {"networkd": {"state": "unmanaged", "file": ""}}


@pytest.mark.parametrize(
    ("running", "claims", "files", "manager"),
    [
        ({"networkd": True}, {}, [], "networkd"),
        ({"networkmanager": True}, {}, [], "networkmanager"),
        ({"networkd": True, "networkmanager": True}, NM | IDLE, [], "networkmanager"),
        ({"networkd": True, "networkmanager": True}, ND, [], "networkd"),
        ({"networkd": True, "netplan": True}, ND, ["/etc/netplan/50.yaml"], "netplan"),
        ({"networkd": True, "netplan": True}, ND, [], "networkd"),
    ],
)
def test_the_manager_is_found(running, claims, files, manager):
    none = dict.fromkeys(("networkmanager", "networkd", "netplan"), False)
    host = seen(managers=none | running, claims={"mig": claim(**claims)}, netplan_files=files)
    assert plan(variables(), host)["manager"] == manager


@pytest.mark.parametrize(
    ("running", "claims", "words"),
    [
        ({}, {}, "finds no network manager at work"),
        ({"networkd": True, "networkmanager": True}, {}, "cannot tell whose mig is"),
        ({"networkd": True, "networkmanager": True}, NM | ND, "cannot tell whose mig is"),
        ({"networkd": True}, {"ifupdown": True}, "ifupdown"),
    ],
)
def test_an_unclear_manager_is_refused(running, claims, words):
    none = dict.fromkeys(("networkmanager", "networkd", "netplan"), False)
    host = seen(managers=none | running, claims={"mig": claim(**claims)})
    told = faults(host)
    assert len(told) == 1
    assert told[0].startswith("management_network_manager: 'auto' ")
    assert words in told[0]


def test_a_manager_that_does_not_run_is_refused():
    assert "does not run on this host" in faults(manager="networkmanager")[0]


def test_a_manager_that_would_fight_is_refused():
    host = seen(managers={"networkmanager": True}, claims={"mig": claim(**NM, **IDLE)})
    assert "would fight with NetworkManager" in faults(host, manager="networkd")[0]
    assert faults(host, manager="networkmanager") == []
