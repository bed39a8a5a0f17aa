# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each network manager is told."""

from __future__ import annotations

import configparser

import pytest
import yaml

from ansible_collections.lowtide.compute.plugins.module_utils._planner.network_plan import plan
from tests.unit.plugins.module_utils._planner.network_builders import (
    as_meant,
    claim,
    link,
    seen,
    variables,
)

FIRST = "/etc/systemd/network/05-lowtide-migration"
BOND = {"interface": "bond0", "bond_members": ["mig", "mig2"], "bond_mode": "802.3ad"}
VLAN = {"interface": "mig.100", "vlan_id": 100, "vlan_parent": "mig"}
BOTH = {"interface": "bond0.7", "vlan_id": 7, "vlan_parent": "bond0", "bond_members": ["mig"]}
ROUTES = [
    {"to": "203.0.113.0/24", "via": "192.0.2.1", "metric": 50},
    {"to": "198.51.100.128/25", "via": None},
]
NETPLAN = {"managers": {"netplan": True}, "netplan_files": ["/etc/netplan/50-cloud-init.yaml"]}
MANAGER = {"managers": {"networkmanager": True, "networkd": False}}


def made(found=None, **changes):
    result = plan(variables(**changes), seen(**(found or {})))
    assert result["faults"] == []
    return result


def texts(result):
    return {row["path"]: row["content"] for row in result["files"]}


def ini(text):
    parser = configparser.ConfigParser(strict=False)
    parser.optionxform = str
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


# --- networkd ------------------------------------------------------------------------------------


def test_networkd_gets_one_file_that_goes_before_others():
    result = made(routes=ROUTES[:1])
    files = texts(result)
    assert list(files) == [f"{FIRST}.network"]
    assert ini(files[f"{FIRST}.network"]) == {
        "Match": {"Name": "mig"},
        "Link": {"MTUBytes": "9000", "RequiredForOnline": "no"},
        "Network": {
            "Address": "192.0.2.11/24",
            "DHCP": "no",
            "IPv6AcceptRA": "no",
            "LinkLocalAddressing": "no",
        },
        "Route": {"Destination": "203.0.113.0/24", "Gateway": "192.0.2.1", "Metric": "50"},
    }
    assert result["script"] == "networkctl reload && networkctl reconfigure mig"


def test_networkd_is_told_of_a_route_on_the_link():
    text = texts(made(routes=ROUTES[1:]))[f"{FIRST}.network"]
    assert ini(text)["Route"] == {"Destination": "198.51.100.128/25", "Scope": "link"}


def test_ipv6_needs_its_link_local_address():
    text = texts(made(address="2001:db8::11/64", peers={}))[f"{FIRST}.network"]
    assert ini(text)["Network"]["LinkLocalAddressing"] == "ipv6"


def test_networkd_makes_a_bond():
    files = texts(made(**BOND))
    assert ini(files[f"{FIRST}-bond.netdev"]) == {
        "NetDev": {"Name": "bond0", "Kind": "bond", "MTUBytes": "9000"},
        "Bond": {
            "Mode": "802.3ad",
            "MIIMonitorSec": "100ms",
            "TransmitHashPolicy": "layer3+4",
            "LACPTransmitRate": "fast",
        },
    }
    ports = ini(files[f"{FIRST}-ports.network"])
    assert ports["Match"] == {"Name": "mig mig2"}
    assert ports["Network"]["Bond"] == "bond0"


def test_networkd_makes_a_vlan_on_an_interface_that_nobody_has():
    files = texts(made(**VLAN))
    assert ini(files[f"{FIRST}-vlan.netdev"])["VLAN"] == {"Id": "100"}
    base = ini(files[f"{FIRST}-base.network"])
    assert base["Match"] == {"Name": "mig"}
    assert base["Network"]["VLAN"] == "mig.100"


def owned(mtu=1500, **changes):
    claims = {"networkd": {"state": "configured", "file": "/run/systemd/network/20-up.network"}}
    return {"claims": {"mig": claim(**claims)}, "interfaces": {"mig": link(mtu=mtu)}} | changes


DROP_IN = "/etc/systemd/network/20-up.network.d/50-lowtide-migration.conf"


def test_networkd_adds_a_vlan_to_somebody_else_s_file():
    text = texts(made(owned(), **VLAN))[DROP_IN]
    assert ini(text) == {"Link": {"MTUBytes": "9000"}, "Network": {"VLAN": "mig.100"}}


@pytest.mark.parametrize("mtu", [9000, 9216])
def test_a_parent_that_is_large_enough_keeps_its_mtu_at_every_run(mtu):
    for own_files in ([], [DROP_IN]):
        text = texts(made(owned(mtu=mtu, own_files=own_files), **VLAN))[DROP_IN]
        assert ini(text)["Link"] == {"MTUBytes": str(mtu)}


def test_a_vlan_on_our_bond():
    files = texts(made(**BOTH))
    assert ini(files[f"{FIRST}-base.network"])["Match"] == {"Name": "bond0"}
    assert ini(files[f"{FIRST}.network"])["Match"] == {"Name": "bond0.7"}


# --- netplan -------------------------------------------------------------------------------------


def netplan(found=None, **changes):
    result = made(NETPLAN | (found or {}), **changes)
    (row,) = result["files"]
    assert row["path"] == "/etc/netplan/90-lowtide-migration.yaml"
    assert row["mode"] == "0600"
    assert result["script"].startswith("netplan generate && networkctl reload && networkctl rec")
    network = yaml.safe_load(row["content"])["network"]
    assert network.pop("version") == 2
    return network


def test_netplan_is_told_what_it_merges():
    assert netplan(routes=ROUTES)["ethernets"]["mig"] == {
        "mtu": 9000,
        "optional": True,
        "dhcp4": False,
        "dhcp6": False,
        "accept-ra": False,
        "link-local": [],
        "addresses": ["192.0.2.11/24"],
        "routes": [
            {"to": "203.0.113.0/24", "via": "192.0.2.1", "metric": 50},
            {"to": "198.51.100.128/25", "scope": "link"},
        ],
    }


def test_netplan_with_networkmanager_behind_it_applies_all():
    found = NETPLAN | {"managers": {"netplan": True, "networkmanager": True}}
    assert made(found)["script"] == "netplan apply"


def test_netplan_s_own_name_of_an_interface_is_used():
    claims = {
        "networkd": {"state": "configured", "file": "/run/systemd/network/10-netplan-a.network"}
    }
    assert list(netplan({"claims": {"mig": claim(**claims)}})["ethernets"]) == ["a"]


def test_netplan_makes_a_bond():
    network = netplan(**BOND)
    assert network["bonds"]["bond0"]["interfaces"] == ["mig", "mig2"]
    assert network["bonds"]["bond0"]["parameters"] == {
        "mode": "802.3ad",
        "mii-monitor-interval": 100,
        "transmit-hash-policy": "layer3+4",
        "lacp-rate": "fast",
    }
    assert network["ethernets"] == {
        name: {"mtu": 9000, "optional": True} for name in ("mig", "mig2")
    }


def test_netplan_makes_a_vlan():
    network = netplan(**VLAN)
    assert network["vlans"]["mig.100"]["id"] == 100
    assert network["vlans"]["mig.100"]["link"] == "mig"
    assert network["ethernets"] == {"mig": {"mtu": 9000, "optional": True}}


def test_netplan_never_lowers_a_parent_s_mtu():
    network = netplan({"interfaces": {"mig": link(mtu=9216)}}, **VLAN)
    assert network["ethernets"] == {"mig": {"mtu": 9216, "optional": True}}


def test_netplan_raises_a_bond_of_somebody_else_s_as_a_bond():
    network = netplan({"interfaces": {"mig": link(kind="bond")}}, **VLAN)
    assert list(network["bonds"]) == ["mig"]


def test_netplan_makes_a_vlan_on_our_bond():
    network = netplan(**BOTH)
    assert "addresses" not in network["bonds"]["bond0"]
    assert network["vlans"]["bond0.7"]["addresses"] == ["192.0.2.11/24"]


# --- NetworkManager ------------------------------------------------------------------------------


def test_networkmanager_gets_a_profile():
    result = made(MANAGER, routes=ROUTES)
    assert result["files"] == []
    assert result["profiles"] == [
        {
            "conn_name": "lowtide-migration",
            "type": "ethernet",
            "ifname": "mig",
            "mtu": 9000,
            "ip4": ["192.0.2.11/24"],
            "method4": "manual",
            "routes4": [
                {"ip": "203.0.113.0/24", "next_hop": "192.0.2.1", "metric": 50},
                {"ip": "198.51.100.128/25"},
            ],
            "method6": "disabled",
        }
    ]
    assert result["script"] == "nmcli connection up lowtide-migration"


def names(result):
    return [(row["conn_name"], row["type"], row["ifname"]) for row in result["profiles"]]


def test_networkmanager_gets_a_profile_for_each_port_of_a_bond():
    result = made(MANAGER, **BOND)
    assert names(result) == [
        ("lowtide-migration", "bond", "bond0"),
        ("lowtide-migration-mig", "ethernet", "mig"),
        ("lowtide-migration-mig2", "ethernet", "mig2"),
    ]
    assert result["profiles"][0]["xmit_hash_policy"] == "layer3+4"
    assert result["profiles"][1]["master"] == "bond0"


def test_networkmanager_gets_a_vlan_and_what_is_below_it():
    assert names(made(MANAGER, **VLAN)) == [
        ("lowtide-migration-base", "ethernet", "mig"),
        ("lowtide-migration", "vlan", "mig.100"),
    ]
    assert names(made(MANAGER, **BOTH)) == [
        ("lowtide-migration-base", "bond", "bond0"),
        ("lowtide-migration-mig", "ethernet", "mig"),
        ("lowtide-migration", "vlan", "bond0.7"),
    ]


@pytest.mark.parametrize(("mtu", "raised"), [(1500, True), (9000, False)])
def test_a_profile_of_somebody_else_s_is_kept_but_for_its_mtu(mtu, raised):
    profile = {"state": "connected", "uuid": "u-1", "file": "/etc/NetworkManager/x.nmconnection"}
    found = MANAGER | {
        "claims": {"mig": claim(networkmanager=profile)},
        "interfaces": {"mig": link(mtu=mtu)},
    }
    result = made(found, **VLAN)
    assert names(result) == [("lowtide-migration", "vlan", "mig.100")]
    assert ("nmcli connection modify u-1 802-3-ethernet.mtu 9000" in result["script"]) is raised
    assert profile["file"] in result["before"]["network"]["files"]


def test_an_ipv6_profile():
    (row,) = made(MANAGER, address="2001:db8::11/64", peers={})["profiles"]
    assert row["ip6"] == ["2001:db8::11/64"]
    assert row["method4"] == "disabled"


# --- NIC -----------------------------------------------------------------------------------------

HARDWARE = {
    "rings": {"rx": 512, "rx_max": 4096, "tx": 4096, "tx_max": 4096},
    "offloads": {"tso": {"on": False, "fixed": False}, "gro": {"on": False, "fixed": True}},
    "link_lines": ["NamePolicy=path", "MACAddressPolicy=persistent"],
}


def test_a_nic_that_has_more_to_offer_gets_it_now_and_at_the_next_start():
    result = made({"hardware": {"mig": HARDWARE}})
    assert result["script"].endswith("ethtool -G mig rx 4096 && ethtool -K mig tso on")
    assert ini(texts(result)[f"{FIRST}-mig.link"]) == {
        "Match": {"PermanentMACAddress": "00:00:5e:00:53:01"},
        "Link": {
            "NamePolicy": "path",
            "MACAddressPolicy": "persistent",
            "RxBufferSize": "4096",
            "TxBufferSize": "4096",
            "TCPSegmentationOffload": "yes",
            "TCP6SegmentationOffload": "yes",
        },
    }
    kept = result["before"]["all"]["hardware"]["mig"]
    assert kept == {"rings": {"rx": 512, "tx": 4096}, "offloads": {"tso": False}}


def test_rings_may_be_kept():
    result = made({"hardware": {"mig": HARDWARE}}, rings="keep", offloads=["gro"])
    assert "ethtool" not in result["script"]
    assert f"{FIRST}-mig.link" not in texts(result)


def test_a_link_file_stays_when_it_has_done_its_work():
    done = HARDWARE | {
        "rings": {"rx": 4096, "rx_max": 4096},
        "offloads": {"tso": {"on": True, "fixed": False}},
    }
    path = f"{FIRST}-mig.link"
    result = made({"hardware": {"mig": done}, "own_files": [path]})
    assert "RxBufferSize=4096" in texts(result)[path]
    assert "ethtool" not in result["script"]


def test_a_nic_without_a_permanent_address_is_named():
    found = {"hardware": {"mig": HARDWARE}, "interfaces": {"mig": link(permanent_mac=False)}}
    text = texts(made(found))[f"{FIRST}-mig.link"]
    assert ini(text)["Match"] == {"OriginalName": "mig"}


# --- what is not as it was meant -----------------------------------------------------------------


def test_nothing_differs_when_all_is_as_it_was_meant():
    routes = [
        {"to": "203.0.113.0/24", "via": "192.0.2.1", "metric": 50},
        {"to": "203.0.113.9", "via": "192.0.2.1", "metric": 0},
    ]
    wanted = [ROUTES[0], {"to": "203.0.113.9/32", "via": "192.0.2.1"}]
    found = {"interfaces": {"mig": as_meant(routes=routes)}}
    assert made(found, routes=wanted)["differences"] == []


@pytest.mark.parametrize(
    ("now", "changes", "difference"),
    [
        ({"up": False}, {}, "mig is down"),
        ({"mtu": 1500}, {}, "mig has MTU 1500, not 9000"),
        ({"mtu": 9100}, {}, "mig has MTU 9100, not 9000"),
        ({"addresses": []}, {}, "mig has the address none, not 192.0.2.11/24"),
        ({}, {"routes": ROUTES[:1]}, "mig has no route to 203.0.113.0/24"),
    ],
)
def test_what_differs_is_said(now, changes, difference):
    found = {"interfaces": {"mig": as_meant(**now)}}
    assert made(found, **changes)["differences"] == [difference]


def test_what_is_not_there_differs():
    assert made(**VLAN)["differences"] == ["mig.100 does not exist"]


def test_layers_that_differ_are_said():
    vlan = as_meant(kind="vlan", vlan_id=9, lowers=["mig"])
    bond = link(kind="bond", bond_mode="balance-rr", mtu=9000)
    port = link(mtu=9000, master="")
    found = {"interfaces": {"bond0.7": vlan, "bond0": bond, "mig": port}}
    assert made(found, **BOTH)["differences"] == [
        "bond0.7 is not VLAN 7 on bond0",
        "mig is no port of bond0",
        "bond0 works as balance-rr, not active-backup",
    ]


# --- kernel, names, firewall, and what is kept ---------------------------------------------------


def test_only_what_the_kernel_has_is_set():
    sysctl = made()["sysctl"]
    assert sysctl["content"].splitlines()[1:] == ["net.ipv4.tcp_mtu_probing = 1"]
    assert sysctl["changes"] == ["net.ipv4.tcp_mtu_probing"]


def test_no_settings_are_no_file():
    assert made(sysctl={})["sysctl"]["content"] == ""


def test_the_peers_names():
    assert made()["names"]["block"] == "192.0.2.11 cmp-1-migration\n192.0.2.12 cmp-2-migration"


def test_the_firewall_opens_for_the_migration_network_only():
    firewall = made({"firewall": {"name": "firewalld", "zone": "public"}})["firewall"]
    assert [row["rule"] for row in firewall["rules"]] == [
        f'rule family="ipv4" source address="192.0.2.0/24" port port="{port}" protocol="tcp" accept'
        for port in ("16509", "49152-49215")
    ]
    assert firewall["files"][0] == "/etc/firewalld/zones/public.xml"


def test_other_sources_may_be_let_in():
    rules = made(firewall_sources=["2001:db8::/64"])["firewall"]["rules"]
    assert {(row["source"], row["family"]) for row in rules} == {("2001:db8::/64", "ipv6")}


def test_everything_that_is_written_is_kept_before():
    result = made({"firewall": {"name": "ufw", "zone": ""}}, **VLAN)
    before = result["before"]["all"]
    assert set(texts(result)) | {"/etc/sysctl.d/60-lowtide-migration.conf"} == set(before["files"])
    assert before["shared"] == ["/etc/hosts", "/etc/ufw/user.rules", "/etc/ufw/user6.rules"]
    assert before["touched"] == ["mig.100", "mig"]
    assert before["made"] == ["mig.100"]
    assert before["sysctls"] == {"net.ipv4.tcp_mtu_probing": "0"}


def test_hosts_is_not_kept_when_it_is_not_written():
    assert "/etc/hosts" not in made(peers={})["before"]["all"]["shared"]


def test_files_of_other_roles_are_no_business_of_this_one():
    assert made({"own_files": ["/etc/nova/nova.conf.d/50-lowtide-migration.conf"]})["files"]
