# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What is wrong with the wishes for a host's migration network, before anything is written.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.migration_network import (
    Wanted,
    normal,
)

Row = Mapping[str, Any]

PREFIX = "management_network_"
#: IFNAMSIZ of Linux, less the end of the string; no slash, no space.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
SYSCTL = re.compile(r"net(\.[A-Za-z0-9_-]+){2,}")
PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
#: IPv6 needs 1280 (RFC 8200); IPv4 works with less, migrations do not want to.
MTUS = range(1280, 65536)
SECONDS = range(20, 3601)
PROGRAMS = {
    "networkmanager": "NetworkManager",
    "networkd": "systemd-networkd",
    "netplan": "netplan",
}


def fault(option: str, value: object, why: str, remedy: str) -> str:
    """One sentence that names option, value and remedy."""
    return f"{PREFIX}{option}: {value!r} {why}. {remedy}"


def value_faults(variables: Row) -> list[str]:
    """What can be said of the values by themselves."""
    return [
        *_names(variables),
        *_address(variables),
        *_numbers(variables),
        *_layers(variables),
        *_peers(variables),
        *_firewall(variables),
        *_sysctls(variables),
    ]


def _names(variables: Row) -> Iterator[str]:
    named = [("interface", variables["interface"])]
    named += [("bond_members", member) for member in variables["bond_members"]]
    if variables["vlan_parent"]:
        named.append(("vlan_parent", variables["vlan_parent"]))
    for option, name in named:
        if not NAME.fullmatch(str(name)):
            yield fault(option, name, "is no name of an interface", "Give one of ip link's")


def _interface(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    try:
        return ipaddress.ip_interface(text)
    except ValueError:
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _host_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _address(variables: Row) -> Iterator[str]:
    text = str(variables["address"])
    parsed = _interface(text)
    remedy = "Give an address of this host and its prefix length, such as 192.0.2.11/24"
    if parsed is None or "/" not in text:
        yield fault("address", text, "is no address with a prefix length", remedy)
        return
    network = parsed.network
    ends = [network.network_address]
    if parsed.version == 4:
        ends.append(network.broadcast_address)
    if network.prefixlen < network.max_prefixlen - 1 and parsed.ip in ends:
        yield fault("address", text, "is that of the network itself", remedy)
    if parsed.is_loopback or parsed.is_multicast or parsed.is_unspecified or parsed.is_link_local:
        yield fault("address", text, "is none that a host can be reached at", remedy)
    yield from _routes(variables, parsed)


def _routes(
    variables: Row, own: ipaddress.IPv4Interface | ipaddress.IPv6Interface
) -> Iterator[str]:
    for row in variables["routes"]:
        to, via = _network(str(row["to"])), _host_address(str(row.get("via") or own.ip))
        if to is None:
            yield fault("routes", row["to"], "is no network", "Give one such as 198.51.100.0/24")
        elif to.prefixlen == 0:
            remedy = "Route only the other migration networks over this one"
            yield fault("routes", row["to"], "would take all of the host's traffic", remedy)
        elif to.version != own.version:
            yield fault("routes", row["to"], f"does not fit {own}", "Use one family of addresses")
        if via is None or (row.get("via") and via not in own.network):
            remedy = f"Give a router in {own.network}"
            yield fault("routes", row.get("via"), "is no neighbour of this host", remedy)
        if not 0 <= int(row.get("metric") or 0) < 2**32:
            yield fault("routes", row["metric"], "is no metric", "Give 0 to 4294967295")


def _numbers(variables: Row) -> Iterator[str]:
    for option, allowed in (
        ("mtu", MTUS),
        ("vlan_id", range(4095)),
        ("rollback_seconds", SECONDS),
    ):
        if int(variables[option]) not in allowed:
            remedy = f"Give {allowed[0]} to {allowed[-1]}"
            yield fault(option, variables[option], "is out of range", remedy)


def _layers(variables: Row) -> Iterator[str]:
    """VLAN and bond make sense together."""
    tag, parent = int(variables["vlan_id"]), str(variables["vlan_parent"])
    interface, members = str(variables["interface"]), list(map(str, variables["bond_members"]))
    if tag and not parent:
        remedy = "Name the interface on which the VLAN lies, in management_network_vlan_parent"
        yield fault("vlan_id", tag, "is a VLAN on nothing", remedy)
    if parent and not tag:
        yield fault(
            "vlan_parent", parent, "is given without a VLAN", "Set management_network_vlan_id"
        )
    if parent and parent == interface:
        yield fault("vlan_parent", parent, "is the VLAN's own name", "Give each its own")
    for member in sorted({name for name in members if members.count(name) > 1}):
        yield fault("bond_members", member, "is there twice", "Name each port once")
    for member in sorted(set(members) & {interface, parent}):
        yield fault("bond_members", member, "is no port of itself", "Give the bond its own name")


def _peers(variables: Row) -> Iterator[str]:
    taken: dict[str, str] = {}
    suffix = str(variables["name_suffix"])
    for name, text in variables["peers"].items():
        if not HOST.fullmatch(f"{name}{suffix}"):
            remedy = "Use letters, digits, hyphens and dots"
            yield fault("peers", f"{name}{suffix}", "is no host name", remedy)
        if (address := _host_address(str(text).partition("/")[0])) is None:
            yield fault("peers", text, f"is no address of {name}", "Give one such as 192.0.2.12")
        elif (other := taken.setdefault(str(address), str(name))) != str(name):
            yield fault("peers", text, f"belongs to {other} and {name}", "Give each its own")


def _firewall(variables: Row) -> Iterator[str]:
    for source in variables["firewall_sources"]:
        if _network(str(source)) is None:
            remedy = "Give networks such as 192.0.2.0/24"
            yield fault("firewall_sources", source, "is no network", remedy)
    for text in variables["firewall_ports"]:
        found = PORTS.fullmatch(str(text))
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 0 < first <= last < 65536:
            remedy = "Give a TCP port or a range, such as 49152-49215"
            yield fault("firewall_ports", text, "is no port", remedy)


def _sysctls(variables: Row) -> Iterator[str]:
    for key, value in variables["sysctl"].items():
        if not SYSCTL.fullmatch(str(key)):
            remedy = "Give settings such as net.ipv4.tcp_rmem"
            yield fault("sysctl", key, "is no setting of the network", remedy)
        if not re.fullmatch(r"[\w .:-]+", str(value)):
            yield fault("sysctl", value, f"is no value for {key}", "Give numbers or a word")


def host_faults(want: Wanted, seen: Row) -> list[str]:
    """What does not fit this host. Only for wishes without faults of their own."""
    links = seen["interfaces"]
    return [*_existence(want, links), *_conflicts(want, links), *_ansibles(want, seen)]


def _existence(want: Wanted, links: Row) -> Iterator[str]:
    there = ", ".join(sorted(set(links) - {"lo"}))
    for name in want.nics:
        option = "bond_members" if name in want.bond_members else "interface"
        option = "vlan_parent" if want.vlan_id and name == want.base else option
        if name not in links:
            yield fault(option, name, "does not exist on this host", f"It has {there}")
            continue
        row = links[name]
        if row["kind"] == "loopback":
            yield fault(option, name, "is the loopback interface", f"It has {there}")
        owner = want.base if name in want.bond_members else ""
        if row["master"] not in ("", owner):
            remedy = f"Name {row['master']}, or take it out of there first"
            yield fault(option, name, f"is a port of {row['master']}", remedy)
        if 0 < row["max_mtu"] < want.mtu:
            yield fault("mtu", want.mtu, f"is more than {name} can", f"Give {row['max_mtu']}")
    # A bond without a VLAN on it bears the interface's name.
    for name, kind in {want.interface: "vlan", want.base: "bond"}.items():
        if name in want.made and name in links and links[name]["kind"] != kind:
            option = "interface" if name == want.interface else "vlan_parent"
            why = f"exists and is no {kind}, but {links[name]['kind']}"
            yield fault(option, name, why, "Give the one to be made another name")


def _conflicts(want: Wanted, links: Row) -> Iterator[str]:
    """The network is on no other interface, for the kernel would send over either."""
    for name, row in links.items():
        if name in want.touched:
            continue
        for address in row["addresses"]:
            other = ipaddress.ip_interface(normal(address))
            if other.version == want.parsed.version and other.network.overlaps(want.parsed.network):
                why = f"is in the network of {name} ({address})"
                yield fault("address", want.address, why, "Give migrations a network of their own")


def _ansibles(want: Wanted, seen: Row) -> Iterator[str]:
    if want.allow_ansible_interface:
        return
    for name in sorted(set(want.touched) & set(seen["carriers"])):
        remedy = (
            "Choose another, or set management_network_allow_ansible_interface: true; "
            "the host then restores the old settings by itself if it is lost"
        )
        yield fault("interface", name, "carries Ansible's own connection to this host", remedy)


def choose_manager(want: Wanted, seen: Row) -> tuple[str, str]:
    """Who is to configure the interface, and the fault that keeps us from saying so.

    Netplan writes for the others, so it goes before them. Of NetworkManager and networkd the one
    that has the interface; if none has it, the only one that runs.
    """
    running = seen["managers"]
    if want.manager != "auto":
        return want.manager, _named_manager(want, seen)
    if any(seen["claims"].get(name, {}).get("ifupdown") for name in want.nics):
        why = "finds the interface in /etc/network/interfaces (ifupdown)"
        remedy = "Take it out of there, and name one of networkmanager, networkd, netplan"
        return "", fault("manager", "auto", why, remedy)
    if running["netplan"] and seen["netplan_files"]:
        return "netplan", ""
    there = [name for name in ("networkmanager", "networkd") if running[name]]
    owners = [name for name in there if _has(want, seen, name)]
    for candidates in (owners, there):
        if len(candidates) == 1:
            return candidates[0], ""
    if not there:
        why = "finds no network manager at work"
        return "", fault("manager", "auto", why, "Start NetworkManager or systemd-networkd")
    both = " and ".join(PROGRAMS[name] for name in owners or there)
    why = f"finds {both}, and cannot tell whose {want.interface} is"
    return "", fault("manager", "auto", why, "Name one of them, and keep it from the others")


def _has(want: Wanted, seen: Row, manager: str) -> bool:
    """Whether a manager regards one of the existing interfaces as its own."""
    claims = [seen["claims"].get(name, {}).get(manager) for name in want.nics]
    return any(claim and claim["state"] != "unmanaged" for claim in claims)


def _named_manager(want: Wanted, seen: Row) -> str:
    """Why the one that was named cannot do it; empty if it can."""
    name, running = want.manager, seen["managers"]
    if not running[name]:
        remedy = "Start it, or set management_network_manager: auto"
        return fault("manager", name, "does not run on this host", remedy)
    other = {"networkmanager": "networkd", "networkd": "networkmanager"}.get(name, "")
    if other and running[other] and _has(want, seen, other) and not _has(want, seen, name):
        remedy = f"Name {other}, or make it leave the interface alone first"
        return fault("manager", name, f"would fight with {PROGRAMS[other]}, which has it", remedy)
    return ""
