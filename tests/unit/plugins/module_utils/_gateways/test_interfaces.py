# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs and files of a host say of its interfaces."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._errors import NotFound
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import interfaces
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.interfaces import Network

ADDRESSES = [
    {
        "ifname": "lo",
        "link_type": "loopback",
        "flags": ["UP"],
        "mtu": 65536,
        "addr_info": [{"local": "127.0.0.1", "prefixlen": 8, "scope": "host"}],
    },
    {
        "ifname": "mgmt",
        "link_type": "ether",
        "flags": ["UP", "LOWER_UP"],
        "mtu": 1500,
        "max_mtu": 9216,
        "address": "00:00:5e:00:53:09",
        "permaddr": "00:00:5e:00:53:01",
        "master": "bond0",
        "addr_info": [
            {"local": "192.0.2.11", "prefixlen": 24, "scope": "global"},
            {"local": "fe80::1", "prefixlen": 64, "scope": "link"},
        ],
    },
    {
        "ifname": "v.7",
        "link": "mgmt",
        "flags": [],
        "mtu": 9000,
        "linkinfo": {"info_kind": "vlan", "info_data": {"id": 7}},
        "addr_info": [],
    },
    {
        "ifname": "bond0",
        "flags": [],
        "mtu": 9000,
        "linkinfo": {"info_kind": "bond", "info_data": {"mode": "802.3ad"}},
        "addr_info": [],
    },
]
ROUTES = [
    {"dst": "default", "gateway": "192.0.2.1", "dev": "mgmt", "protocol": "static", "metric": 5},
    {"dst": "192.0.2.0/24", "dev": "mgmt", "protocol": "kernel"},
    {"dst": "203.0.113.0/24", "nexthops": []},
]


@pytest.fixture
def host(tmp_path):
    """A host whose programs answer from a table: command line -> (status, output)."""
    answers = {
        "ip -json -details address": (0, json.dumps(ADDRESSES)),
        "ip -4 -json route show table main": (0, json.dumps(ROUTES)),
        "ip -6 -json route show table main": (1, ""),
    }
    network = Network(
        lambda command: answers.get(" ".join(command), (127, "")),
        str(tmp_path / "sys"),
        str(tmp_path / "proc"),
    )
    return network, answers, tmp_path


def test_links_are_told(host):
    network, _answers, _path = host
    links = network.links()
    assert links["lo"]["kind"] == "loopback"
    mgmt = links["mgmt"]
    assert (mgmt["kind"], mgmt["mac"], mgmt["permanent_mac"]) == (
        "ethernet",
        "00:00:5e:00:53:01",
        True,
    )
    assert (mgmt["up"], mgmt["carrier"], mgmt["mtu"], mgmt["max_mtu"]) == (True, True, 1500, 9216)
    assert mgmt["addresses"] == ["192.0.2.11/24"]
    assert mgmt["routes"] == [{"to": "default", "via": "192.0.2.1", "metric": 5}]
    assert (links["v.7"]["vlan_id"], links["v.7"]["lowers"]) == (7, ["mgmt"])
    assert links["bond0"]["bond_mode"] == "802.3ad"


def test_a_host_without_iproute2_is_an_error(host):
    network, answers, _path = host
    answers.clear()
    with pytest.raises(NotFound, match="Install iproute2"):
        network.links()


def test_the_managers_are_asked(host):
    network, answers, _path = host
    answers |= {
        "systemctl is-active --quiet NetworkManager.service": (0, ""),
        "systemctl is-active --quiet systemd-networkd.service": (0, ""),
        "nmcli --terse --fields DEVICE,STATE,CON-UUID device": (
            0,
            "mgmt:connected:u-1\nmig\\:0:unmanaged:\n",
        ),
        "nmcli --terse --fields UUID,FILENAME connection": (0, "u-1:/etc/x\\:y.nmconnection\n"),
        "networkctl status --no-pager --lines=0 mgmt": (
            0,
            "Link File: n/a\nNetwork File: /run/systemd/network/10-netplan-m.network\n"
            "  State: routable (configured)\n",
        ),
        "networkctl status --no-pager --lines=0 mig:0": (0, "Network File: n/a\nState: off\n"),
    }
    running, claims = network.managers(["mgmt", "mig:0"])
    assert running == {"networkmanager": True, "networkd": True, "netplan": False}
    assert claims["mgmt"]["networkmanager"] == {
        "state": "connected",
        "uuid": "u-1",
        "file": "/etc/x:y.nmconnection",
    }
    assert claims["mgmt"]["networkd"] == {
        "state": "configured",
        "file": "/run/systemd/network/10-netplan-m.network",
    }
    assert claims["mig:0"]["networkmanager"]["state"] == "unmanaged"
    assert claims["mig:0"]["networkd"] == {"state": "unmanaged", "file": ""}


def test_a_host_without_managers(host):
    network, _answers, _path = host
    running, claims = network.managers(["mgmt"])
    assert not any(running.values())
    assert claims["mgmt"]["networkmanager"] is claims["mgmt"]["networkd"] is None


def process(path, number, parent, *variables):
    directory = path / "proc" / str(number)
    directory.mkdir(parents=True)
    (directory / "stat").write_text(f"{number} (a (b) c) S {parent} 1 1")
    (directory / "environ").write_bytes(b"\0".join(variables))


def test_ansible_s_interface_is_found_although_sudo_dropped_the_variable(host):
    network, answers, path = host
    process(path, os.getpid(), 4242, b"PATH=/bin")
    process(path, 4242, 1, b"A=1", b"SSH_CONNECTION=198.51.100.9 5000 ::ffff:192.0.2.11 22")
    answers["ip -json route get 198.51.100.9"] = (0, '[{"dst": "198.51.100.9", "dev": "v.7"}]')
    (path / "sys/class/net/mgmt/lower_eno1").mkdir(parents=True)
    links = network.links()
    assert network.carriers(links | {"eno1": links["lo"]}) == ["eno1", "mgmt", "v.7"]


def test_without_ssh_there_is_no_interface_of_ansible_s(host):
    network, _answers, _path = host
    assert network.carriers(network.links()) == []


RINGS = """\
Ring parameters for mig:
Pre-set maximums:
RX:             4096
RX Mini:        n/a
TX:             8192
Current hardware settings:
RX:             512
RX Mini:        n/a
TX:             8192
"""
FEATURES = """\
Features for mig:
rx-checksumming: on [fixed]
tcp-segmentation-offload: off
\ttx-tcp-segmentation: off
generic-receive-offload: on
"""


def test_the_hardware_is_told(host):
    network, answers, path = host
    link_file = path / "10-a.link"
    link_file.write_text(
        "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep path\nRxBufferSize=8\nName=a\n"
        "TCPSegmentationOffload=no\n"
    )
    answers |= {
        "ethtool -g mig": (0, RINGS),
        "ethtool -k mig": (0, FEATURES),
        "udevadm info --query=property /sys/class/net/mig": (0, f"ID_NET_LINK_FILE={link_file}\n"),
    }
    speed = path / "sys/class/net/mig/speed"
    speed.parent.mkdir(parents=True)
    speed.write_text("10000\n")
    assert network.hardware("mig") == {
        "speed": 10000,
        "rings": {"rx": 512, "rx_max": 4096, "tx": 8192, "tx_max": 8192},
        "offloads": {
            "rx": {"on": True, "fixed": True},
            "tso": {"on": False, "fixed": False},
            "gro": {"on": True, "fixed": False},
        },
        "link_lines": ["NamePolicy=keep path", "Name=a"],
    }


@pytest.mark.parametrize("text", ["-1\n", "x", None])
def test_what_a_driver_does_not_know_is_not_guessed(host, text):
    network, _answers, path = host
    speed = path / "sys/class/net/mig/speed"
    speed.parent.mkdir(parents=True)
    if text is not None:
        speed.write_text(text)
    assert network.hardware("mig") == {
        "speed": None,
        "rings": {},
        "offloads": {},
        "link_lines": list(interfaces.DEFAULT_LINK),
    }


@pytest.mark.parametrize(
    ("told", "speed"), [("\tSpeed: 25000Mb/s\n", 25000), ("\tSpeed: Unknown!\n", None)]
)
def test_a_speed_that_the_kernel_does_not_know_is_the_driver_s(host, told, speed):
    network, answers, _path = host
    answers["ethtool mig"] = (0, f"Settings for mig:\n{told}")
    assert network.speed("mig") == speed


def test_kernel_settings_are_read(host):
    network, _answers, path = host
    file = path / "proc/sys/net/ipv4/tcp_rmem"
    file.parent.mkdir(parents=True)
    file.write_text("4096\t131072\t6291456\n")
    fixed = path / "proc/sys/net/core/rmem_max"
    fixed.parent.mkdir()
    fixed.write_text("4194304\n")
    fixed.chmod(0o444)
    assert network.sysctls(["net.ipv4.tcp_rmem", "net.core.rmem_max", "net.core.no"]) == {
        "net.ipv4.tcp_rmem": "4096 131072 6291456",
        "net.core.rmem_max": None,
        "net.core.no": None,
    }


@pytest.mark.parametrize(
    ("answers", "firewall"),
    [
        ({}, {"name": "none", "zone": ""}),
        ({"ufw status": (0, "Status: inactive\n")}, {"name": "none", "zone": ""}),
        ({"ufw status": (0, "Status: active\n")}, {"name": "ufw", "zone": ""}),
        (
            {
                "systemctl is-active --quiet firewalld.service": (0, ""),
                "firewall-cmd --get-zone-of-interface=mig": (0, "internal\n"),
            },
            {"name": "firewalld", "zone": "internal"},
        ),
        (
            {
                "systemctl is-active --quiet firewalld.service": (0, ""),
                "firewall-cmd --get-zone-of-interface=mig": (2, "no zone\n"),
                "firewall-cmd --get-default-zone": (0, "public\n"),
            },
            {"name": "firewalld", "zone": "public"},
        ),
    ],
)
def test_the_firewall_is_found(host, answers, firewall):
    network, known, _path = host
    known |= answers
    assert network.firewall("mig") == firewall


def test_ifupdown_s_interfaces_are_found(host, monkeypatch):
    network, _answers, path = host
    (path / "interfaces.d").mkdir()
    (path / "interfaces").write_text("auto lo\niface mig inet static\n  address 192.0.2.11/24\n")
    (path / "interfaces.d/a").write_text("# iface no inet\niface mgmt inet dhcp\n")
    monkeypatch.setattr(interfaces, "IFUPDOWN_DIR", path)
    _running, claims = network.managers(["mig", "mgmt", "no"])
    assert [claims[name]["ifupdown"] for name in ("mig", "mgmt", "no")] == [True, True, False]
