# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of the role management_network, and a host as network_interface_info sees it."""

from __future__ import annotations

from typing import Any


def variables(**changes: Any) -> dict[str, Any]:
    return {
        "interface": "mig",
        "address": "192.0.2.11/24",
        "mtu": 9000,
        "routes": [],
        "manager": "auto",
        "vlan_id": 0,
        "vlan_parent": "",
        "bond_members": [],
        "bond_mode": "active-backup",
        "allow_ansible_interface": False,
        "rollback_seconds": 90,
        "rings": "maximum",
        "offloads": ["tso", "gro"],
        "sysctl": {"net.ipv4.tcp_mtu_probing": 1, "net.core.rmem_max": 67108864},
        "peers": {"cmp-1": "192.0.2.11/24", "cmp-2": "192.0.2.12"},
        "name_suffix": "-migration",
        "firewall": "auto",
        "firewall_sources": [],
        "firewall_ports": ["16509", "49152-49215"],
    } | changes


def link(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "ethernet",
        "up": True,
        "carrier": True,
        "mtu": 1500,
        "max_mtu": 9216,
        "mac": "00:00:5e:00:53:01",
        "permanent_mac": True,
        "master": "",
        "lowers": [],
        "vlan_id": 0,
        "bond_mode": "",
        "addresses": [],
        "routes": [],
    } | changes


def as_meant(**changes: Any) -> dict[str, Any]:
    """The interface of :func:`variables`, as the role leaves it."""
    return link(mtu=9000, addresses=["192.0.2.11/24"]) | changes


def claim(**changes: Any) -> dict[str, Any]:
    return {"networkmanager": None, "networkd": None, "ifupdown": False} | changes


def seen(**changes: Any) -> dict[str, Any]:
    interfaces = {
        "lo": link(kind="loopback", addresses=["127.0.0.1/8"], mtu=65536, max_mtu=0),
        "mgmt": link(addresses=["198.51.100.11/24"], mac="00:00:5e:00:53:02"),
        "mig": link(),
        "mig2": link(mac="00:00:5e:00:53:03"),
    }
    hardware = {"speed": 10000, "rings": {}, "offloads": {}, "link_lines": ["NamePolicy=keep"]}
    found = {
        "interfaces": interfaces,
        "carriers": ["mgmt"],
        "managers": {"networkmanager": False, "networkd": True, "netplan": False},
        "netplan_files": [],
        "claims": {name: claim() for name in ("mig", "mig2", "mgmt")},
        "hardware": {name: dict(hardware) for name in ("mig", "mig2", "mgmt")},
        "firewall": {"name": "none", "zone": ""},
        "sysctls": {"net.ipv4.tcp_mtu_probing": "0", "net.core.rmem_max": None},
        "own_files": [],
    }
    for key in ("interfaces", "claims", "hardware", "managers"):
        found[key] |= changes.pop(key, {})
    return found | changes
