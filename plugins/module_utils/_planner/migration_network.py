# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The network that carries migrations on one host: what is wanted, and how the host differs.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

#: Modes of a bond that spread streams over its ports by what is in their packets.
HASHING = ("balance-xor", "802.3ad")


@dataclass(frozen=True, slots=True)
class Route:
    """A network that is reached over the migration network."""

    to: str
    via: str = ""
    metric: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """The role's variables, without their prefix. ``address``: with its prefix length."""

    interface: str
    address: str
    mtu: int = 9000
    manager: str = "auto"
    routes: tuple[Route, ...] = ()
    vlan_id: int = 0
    vlan_parent: str = ""
    bond_members: tuple[str, ...] = ()
    bond_mode: str = "active-backup"
    allow_ansible_interface: bool = False
    rings: str = "maximum"
    offloads: tuple[str, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()

    @property
    def base(self) -> str:
        """What a VLAN lies on; without one the interface itself."""
        return self.vlan_parent if self.vlan_id else self.interface

    @property
    def touched(self) -> list[str]:
        """Every interface whose settings change."""
        return list(dict.fromkeys((self.interface, self.base, *self.bond_members)))

    @property
    def made(self) -> list[str]:
        """Those of them that do not exist before."""
        bond = [self.base] if self.bond_members else []
        return list(dict.fromkeys(bond + ([self.interface] if self.vlan_id else [])))

    @property
    def nics(self) -> list[str]:
        """Those of them that have rings and offloads."""
        return [name for name in self.touched if name not in self.made]

    @property
    def parsed(self) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
        return ipaddress.ip_interface(self.address)


def wanted(variables: Row) -> Wanted:
    """From the role's variables, whose types its argument specification has checked."""
    routes = tuple(
        Route(str(row["to"]), str(row.get("via") or ""), int(row.get("metric") or 0))
        for row in variables["routes"]
    )
    own = {str(key): " ".join(str(value).split()) for key, value in variables["sysctl"].items()}
    return Wanted(
        interface=str(variables["interface"]),
        address=str(variables["address"]),
        mtu=int(variables["mtu"]),
        manager=str(variables["manager"]),
        routes=routes,
        vlan_id=int(variables["vlan_id"]),
        vlan_parent=str(variables["vlan_parent"]),
        bond_members=tuple(map(str, variables["bond_members"])),
        bond_mode=str(variables["bond_mode"]),
        allow_ansible_interface=bool(variables["allow_ansible_interface"]),
        rings=str(variables["rings"]),
        offloads=tuple(map(str, variables["offloads"])),
        sysctls=tuple(sorted(own.items())),
    )


def differences(want: Wanted, seen: Row) -> list[str]:
    """What of the running interfaces is not as it was meant, one sentence each; empty if nothing.

    ``seen``: what the module network_interface_info returned.
    """
    links = seen["interfaces"]
    missing = [f"{name} does not exist" for name in want.touched if name not in links]
    if missing:
        return missing
    return [
        *_layer_2(want, links),
        *_layer_3(want, links[want.interface]),
        *(f"{key} is {now}, not {then}" for key, now, then in nic_changes(want, seen)),
    ]


def _layer_2(want: Wanted, links: Row) -> Iterator[str]:
    for name in want.touched:
        if not links[name]["up"]:
            yield f"{name} is down"
        # A VLAN, and a port of a bond, cannot have a larger one than what they belong to.
        low = links[name]["mtu"] < want.mtu
        if low or (name == want.interface and links[name]["mtu"] != want.mtu):
            yield f"{name} has MTU {links[name]['mtu']}, not {want.mtu}"
    row = links[want.interface]
    if want.vlan_id and (row["vlan_id"], row["lowers"]) != (want.vlan_id, [want.base]):
        yield f"{want.interface} is not VLAN {want.vlan_id} on {want.base}"
    for member in want.bond_members:
        if links[member]["master"] != want.base:
            yield f"{member} is no port of {want.base}"
    if want.bond_members and links[want.base]["bond_mode"] != want.bond_mode:
        yield f"{want.base} works as {links[want.base]['bond_mode']}, not {want.bond_mode}"


def _layer_3(want: Wanted, link: Row) -> Iterator[str]:
    if str(want.parsed) not in map(normal, link["addresses"]):
        has = ", ".join(link["addresses"]) or "none"
        yield f"{want.interface} has the address {has}, not {want.address}"
    there = [(str(route["to"]), str(route["via"])) for route in link["routes"]]
    for route in want.routes:
        network = ipaddress.ip_network(route.to)
        # The kernel shows a network of one address without its prefix length.
        names = {str(network), str(network.network_address)} if _single(network) else {str(network)}
        if not any(to in names and via == route.via for to, via in there):
            yield f"{want.interface} has no route to {route.to}"


def _single(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return network.prefixlen == network.max_prefixlen


def normal(address: str) -> str:
    """An address with its prefix, as text that can be compared."""
    return str(ipaddress.ip_interface(address))


def nic_changes(want: Wanted, seen: Row) -> list[tuple[str, str, str]]:
    """Rings and offloads that the drivers offer and that are not as wanted: (what, now, then).

    ``what`` is ``NIC ring KEY`` or ``NIC offload KEY``.
    """
    found = []
    for name in want.nics:
        hardware = seen["hardware"].get(name, {})
        rings = hardware.get("rings", {}) if want.rings == "maximum" else {}
        for key in ("rx", "tx"):
            if key in rings and rings[key] != rings[f"{key}_max"]:
                found.append((f"{name} ring {key}", str(rings[key]), str(rings[f"{key}_max"])))
        offloads = hardware.get("offloads", {})
        for key in want.offloads:
            if key in offloads and not offloads[key]["on"] and not offloads[key]["fixed"]:
                found.append((f"{name} offload {key}", "off", "on"))
    return found


def sysctl_text(want: Wanted, seen: Row) -> str:
    """The drop-in file: the settings that this kernel has; empty if there are none."""
    offered = [(key, value) for key, value in want.sysctls if seen["sysctls"].get(key) is not None]
    return "".join(f"{key} = {value}\n" for key, value in offered)


def sysctl_changes(want: Wanted, seen: Row) -> list[str]:
    """Those whose value in force is another one."""
    in_force = seen["sysctls"]
    return [
        key
        for key, value in want.sysctls
        if in_force.get(key) is not None and in_force[key] != value
    ]


def firewall_rules(sources: Sequence[str], ports: Sequence[str], want: Wanted) -> list[dict]:
    """One row for each source and port: ``source``, ``family``, ``port`` (``A`` or ``A-B``)."""
    networks = [str(source) for source in sources] or [str(want.parsed.network)]
    return [
        {
            "source": source,
            "family": f"ipv{ipaddress.ip_network(source).version}",
            "port": str(port),
            "rule": f'rule family="ipv{ipaddress.ip_network(source).version}" '
            f'source address="{source}" port port="{port}" protocol="tcp" accept',
        }
        for source in networks
        for port in ports
    ]
