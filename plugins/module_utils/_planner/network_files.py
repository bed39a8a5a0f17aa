# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""How each network manager is told of a migration network: its files, profiles and commands.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.migration_network import (
    HASHING,
    Wanted,
    nic_changes,
)

Row = Mapping[str, Any]
Sections = Sequence[tuple[str, Sequence[tuple[str, object]]]]

HEAD = "# Written by the Ansible role lowtide.compute.management_network: it will write it again.\n"
OURS = "lowtide-migration"
NETWORKD = "/etc/systemd/network"
#: Of several files that match an interface the first counts, and netplan's begin with 10.
FIRST = f"{NETWORKD}/05-{OURS}"
NETPLAN = f"/etc/netplan/90-{OURS}.yaml"
PROFILES = "/etc/NetworkManager/system-connections"
#: Netplan's names for an interface, in what it writes for networkd.
NETPLAN_ID = re.compile(r"/10-netplan-(.+)\.network$")
OFFLOAD_LINES = {
    "rx": ("ReceiveChecksumOffload",),
    "tx": ("TransmitChecksumOffload",),
    "tso": ("TCPSegmentationOffload", "TCP6SegmentationOffload"),
    "gso": ("GenericSegmentationOffload",),
    "gro": ("GenericReceiveOffload",),
}


def ini(sections: Sections) -> str:
    """A file for networkd or udev."""
    parts = []
    for name, settings in sections:
        parts.append("".join([f"\n[{name}]\n", *(f"{key}={value}\n" for key, value in settings)]))
    return HEAD + "".join(parts)


def files(want: Wanted, manager: str, seen: Row) -> dict[str, str]:
    """Every file that is to be there, with what it says."""
    found = dict(link_files(want, seen))
    if manager == "networkd":
        found |= networkd_files(want, seen)
    elif manager == "netplan":
        found[NETPLAN] = HEAD + yaml({"network": {"version": 2, **netplan(want, seen)}})
    return found


# --- NIC: udev applies .link files whoever manages the addresses ---------------------------------


def link_files(want: Wanted, seen: Row) -> Iterator[tuple[str, str]]:
    """A .link file for each NIC that would otherwise come up with less than its driver offers.

    Only one such file counts, so it keeps all that the one in force says of names.
    """
    differ = {what.partition(" ")[0] for what, _now, _then in nic_changes(want, seen)}
    for name in want.nics:
        path = f"{FIRST}-{name}.link"
        if name in differ or path in seen["own_files"]:
            hardware = seen["hardware"].get(name, {})
            yield path, ini([_match(name, seen), ("Link", [*_link(want, hardware)])])


def _match(name: str, seen: Row) -> tuple[str, list[tuple[str, object]]]:
    row = seen["interfaces"][name]
    key, value = ("PermanentMACAddress", row["mac"]) if row["permanent_mac"] else ("", "")
    return "Match", [(key, value) if key else ("OriginalName", name)]


def _link(want: Wanted, hardware: Row) -> Iterator[tuple[str, object]]:
    for line in hardware.get("link_lines", ()):
        key, _equals, value = line.partition("=")
        yield key, value
    rings = hardware.get("rings", {}) if want.rings == "maximum" else {}
    for key, name in (("rx", "RxBufferSize"), ("tx", "TxBufferSize")):
        if key in rings:
            yield name, rings[f"{key}_max"]
    offered = hardware.get("offloads", {})
    for key in want.offloads:
        if key in offered and not offered[key]["fixed"]:
            for name in OFFLOAD_LINES.get(key, ()):
                yield name, "yes"


def nic_commands(want: Wanted, seen: Row) -> list[list[str]]:
    """What makes the running NICs so."""
    found = []
    for what, _now, then in nic_changes(want, seen):
        name, kind, key = what.split()
        found.append(["ethtool", "-G" if kind == "ring" else "-K", name, key, then])
    return found


# --- systemd-networkd ----------------------------------------------------------------------------


def networkd_files(want: Wanted, seen: Row) -> dict[str, str]:
    """Files of its own; an interface below that has one of somebody else's gets a drop-in."""
    found = {f"{FIRST}.network": ini(_own_network(want))}
    if want.bond_members:
        found[f"{FIRST}-bond.netdev"] = ini(_bond_netdev(want))
        members = [("Match", [("Name", " ".join(want.bond_members))])]
        link = ("Link", [("MTUBytes", want.mtu), ("RequiredForOnline", "no")])
        port = ("Network", [("Bond", want.base), ("LinkLocalAddressing", "no")])
        found[f"{FIRST}-ports.network"] = ini([*members, link, port])
    if want.vlan_id:
        device = [("Name", want.interface), ("Kind", "vlan"), ("MTUBytes", want.mtu)]
        found[f"{FIRST}-vlan.netdev"] = ini([("NetDev", device), ("VLAN", [("Id", want.vlan_id)])])
        path, sections = _networkd_base(want, seen)
        found[path] = ini(sections)
    return found


def _own_network(want: Wanted) -> Sections:
    family = "ipv6" if want.parsed.version == 6 else "no"
    network = [("Address", str(want.parsed)), ("DHCP", "no"), ("IPv6AcceptRA", "no")]
    routes = []
    for route in want.routes:
        row: list[tuple[str, object]] = [("Destination", route.to)]
        row += [("Gateway", route.via)] if route.via else [("Scope", "link")]
        row += [("Metric", route.metric)] if route.metric else []
        routes.append(("Route", row))
    return [
        ("Match", [("Name", want.interface)]),
        # A host comes up without its migration network.
        ("Link", [("MTUBytes", want.mtu), ("RequiredForOnline", "no")]),
        ("Network", [*network, ("LinkLocalAddressing", family)]),
        *routes,
    ]


def _bond_netdev(want: Wanted) -> Sections:
    device = [("Name", want.base), ("Kind", "bond"), ("MTUBytes", want.mtu)]
    bond: list[tuple[str, object]] = [("Mode", want.bond_mode), ("MIIMonitorSec", "100ms")]
    bond += [("TransmitHashPolicy", "layer3+4")] if want.bond_mode in HASHING else []
    bond += [("LACPTransmitRate", "fast")] if want.bond_mode == "802.3ad" else []
    return [("NetDev", device), ("Bond", bond)]


def _networkd_base(want: Wanted, seen: Row) -> tuple[str, Sections]:
    """What tells the interface below of its VLAN."""
    claim = (seen["claims"].get(want.base) or {}).get("networkd") or {}
    file = claim.get("file", "")
    network = ("Network", [("VLAN", want.interface)])
    if file and OURS not in file:
        link = ("Link", [("MTUBytes", base_mtu(want, seen))])
        return f"{NETWORKD}/{file.rpartition('/')[2]}.d/50-{OURS}.conf", [link, network]
    link = [("MTUBytes", base_mtu(want, seen)), ("RequiredForOnline", "no")]
    quiet = ("Network", [("VLAN", want.interface), ("LinkLocalAddressing", "no")])
    return f"{FIRST}-base.network", [("Match", [("Name", want.base)]), ("Link", link), quiet]


def base_mtu(want: Wanted, seen: Row) -> int:
    """The MTU of what a VLAN lies on: never less than it is, and the same at every run."""
    now = seen["interfaces"].get(want.base, {}).get("mtu", 0)
    return want.mtu if want.bond_members else max(want.mtu, now)


# --- netplan -------------------------------------------------------------------------------------


def netplan(want: Wanted, seen: Row) -> dict[str, Any]:
    """What is merged with what the other files say."""
    own: dict[str, Any] = {
        "mtu": want.mtu,
        "optional": True,
        "dhcp4": False,
        "dhcp6": False,
        "accept-ra": False,
        "link-local": ["ipv6"] if want.parsed.version == 6 else [],
        "addresses": [str(want.parsed)],
    }
    if want.routes:
        own["routes"] = [
            {"to": route.to}
            | ({"via": route.via} if route.via else {"scope": "link"})
            | ({"metric": route.metric} if route.metric else {})
            for route in want.routes
        ]
    found: dict[str, Any] = {}
    base = {"mtu": base_mtu(want, seen), "optional": True} if want.vlan_id else own
    if want.vlan_id:
        link = netplan_id(want.base, seen)
        found["vlans"] = {want.interface: {"id": want.vlan_id, "link": link, **own}}
    if want.bond_members:
        ports = [netplan_id(name, seen) for name in want.bond_members]
        found["ethernets"] = {port: {"mtu": want.mtu, "optional": True} for port in ports}
        bond = {"interfaces": ports, "parameters": _netplan_bond(want)}
        found["bonds"] = {want.base: {**bond, **base}}
    else:
        kind = {"bond": "bonds", "bridge": "bridges", "vlan": "vlans"}
        section = kind.get(seen["interfaces"][want.base]["kind"], "ethernets")
        found.setdefault(section, {})[netplan_id(want.base, seen)] = base
    return found


def _netplan_bond(want: Wanted) -> dict[str, Any]:
    found: dict[str, Any] = {"mode": want.bond_mode, "mii-monitor-interval": 100}
    if want.bond_mode in HASHING:
        found["transmit-hash-policy"] = "layer3+4"
    if want.bond_mode == "802.3ad":
        found["lacp-rate"] = "fast"
    return found


def netplan_id(name: str, seen: Row) -> str:
    """Netplan's name for an interface: another file may have given it one of its own."""
    claim = (seen["claims"].get(name) or {}).get("networkd") or {}
    known = NETPLAN_ID.search(claim.get("file", ""))
    return known.group(1) if known else name


def yaml(value: Any, indent: int = 0) -> str:
    """YAML of mappings, lists of scalars or of flat mappings, and scalars."""
    pad, lines = "  " * indent, []
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            lines.append(f"{pad}{_scalar(key)}:\n{yaml(inner, indent + 1)}")
        elif isinstance(inner, list) and inner:
            rows = "".join(f"{pad}  - {_item(each)}\n" for each in inner)
            lines.append(f"{pad}{_scalar(key)}:\n{rows}")
        else:
            lines.append(f"{pad}{_scalar(key)}: {_scalar(inner)}\n")
    return "".join(lines)


def _item(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_scalar(key)}: {_scalar(each)}" for key, each in value.items())
        return f"{{{inner}}}"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if not value:
        return "[]" if isinstance(value, list) else '""'
    text = str(value)
    return text if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", text) else f'"{text}"'


# --- NetworkManager ------------------------------------------------------------------------------


def profiles(want: Wanted, seen: Row) -> list[dict[str, Any]]:
    """Options of community.general.nmcli, a row for each connection profile, below before above."""
    own: dict[str, Any] = {"ifname": want.interface, "mtu": want.mtu, **_ip(want)}
    if not want.vlan_id and not want.bond_members:
        return [{"conn_name": OURS, "type": "ethernet", **own}]
    found = []
    if want.bond_members:
        bond = {"type": "bond", "mode": want.bond_mode, "miimon": 100}
        bond |= {"xmit_hash_policy": "layer3+4"} if want.bond_mode in HASHING else {}
        if want.vlan_id:
            found.append(
                {
                    "conn_name": f"{OURS}-base",
                    "ifname": want.base,
                    "mtu": want.mtu,
                    **_no_ip(),
                    **bond,
                }
            )
        else:
            found.append({"conn_name": OURS, **own, **bond})
        found += [
            {
                "conn_name": f"{OURS}-{member}",
                "type": "ethernet",
                "ifname": member,
                "mtu": want.mtu,
                "master": want.base,
                "slave_type": "bond",
            }
            for member in want.bond_members
        ]
    elif not foreign_profile(want, seen):
        found.append(
            {
                "conn_name": f"{OURS}-base",
                "type": "ethernet",
                "ifname": want.base,
                "mtu": base_mtu(want, seen),
                **_no_ip(),
            }
        )
    if want.vlan_id:
        vlan = {"type": "vlan", "vlandev": want.base, "vlanid": want.vlan_id}
        found.append({"conn_name": OURS, **own, **vlan})
    return found


def _ip(want: Wanted) -> dict[str, Any]:
    family, other = ("6", "4") if want.parsed.version == 6 else ("4", "6")
    routes = [
        {"ip": route.to}
        | ({"next_hop": route.via} if route.via else {})
        | ({"metric": route.metric} if route.metric else {})
        for route in want.routes
    ]
    return {
        f"ip{family}": [str(want.parsed)],
        f"method{family}": "manual",
        f"routes{family}": routes,
        f"method{other}": "disabled",
    }


def _no_ip() -> dict[str, Any]:
    return {"method4": "disabled", "method6": "disabled"}


def foreign_profile(want: Wanted, seen: Row) -> dict[str, str] | None:
    """The profile of somebody else that is active on what a VLAN lies on: ``uuid``, ``file``."""
    claim = (seen["claims"].get(want.base) or {}).get("networkmanager") or {}
    if want.bond_members or not want.vlan_id or not claim.get("uuid"):
        return None
    return None if OURS in claim["file"] else {"uuid": claim["uuid"], "file": claim["file"]}


def profile_file(name: str) -> str:
    """Where NetworkManager keeps a profile that nmcli made."""
    return f"{PROFILES}/{name}.nmconnection"


# --- commands ------------------------------------------------------------------------------------


def commands(want: Wanted, manager: str, seen: Row) -> list[list[str]]:
    """What puts the files and profiles into force, in order."""
    found: list[list[str]] = []
    if manager == "networkd":
        found = [["networkctl", "reload"], ["networkctl", "reconfigure", *_present(want, seen)]]
    elif manager == "netplan" and not seen["managers"]["networkmanager"]:
        # `netplan apply` would look at all interfaces again, and at Open vSwitch.
        found = [["netplan", "generate"], ["networkctl", "reload"]]
        found.append(["networkctl", "reconfigure", *_present(want, seen)])
    elif manager == "netplan":
        found = [["netplan", "apply"]]
    else:
        foreign = foreign_profile(want, seen)
        if foreign and seen["interfaces"][want.base]["mtu"] < want.mtu:
            mtu = ["802-3-ethernet.mtu", str(want.mtu)]
            found.append(["nmcli", "connection", "modify", foreign["uuid"], *mtu])
            found.append(["nmcli", "connection", "up", foreign["uuid"]])
        rows = profiles(want, seen)
        found += [["nmcli", "connection", "up", row["conn_name"]] for row in rows]
    return found + nic_commands(want, seen)


def _present(want: Wanted, seen: Row) -> list[str]:
    """Interfaces that networkd can be asked to look at again; reload makes the others."""
    return [name for name in want.touched if name in seen["interfaces"]]
