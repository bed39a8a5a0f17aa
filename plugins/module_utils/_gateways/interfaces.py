# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What a Linux host says of its network interfaces, who manages them and who connects over them.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import configparser
import ipaddress
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import NotFound

#: Runs a program: arguments in, exit status and standard output back; 127 when there is none.
Run = Callable[[Sequence[str]], tuple[int, str]]
Row = dict[str, Any]

#: Offloads by the names that ``ethtool -K`` takes, and those that ``ethtool -k`` shows.
OFFLOADS = {
    "rx": "rx-checksumming",
    "tx": "tx-checksumming",
    "sg": "scatter-gather",
    "tso": "tcp-segmentation-offload",
    "gso": "generic-segmentation-offload",
    "gro": "generic-receive-offload",
}
#: systemd's 99-default.link, for hosts on which udev does not say which file an interface has.
DEFAULT_LINK = (
    "NamePolicy=keep kernel database onboard slot path",
    "AlternativeNamesPolicy=database onboard slot path mac",
    "MACAddressPolicy=persistent",
)
#: What a .link file of the role says beyond what the interface's own said.
LINK_KEYS = re.compile(r"(RxBufferSize|TxBufferSize|\w+Offload)=")
#: Of ethtool: `Speed: 10000Mb/s`, or `Speed: Unknown!`.
SPEED = re.compile(r"^\s*Speed:\s*(\d+)\s*Mb/s", re.MULTILINE)
NETPLAN_DIR, IFUPDOWN_DIR = Path("/etc/netplan"), Path("/etc/network")


class Network:
    """One host. ``sys`` and ``proc`` are where those file systems are mounted."""

    def __init__(self, run: Run, sys: str = "/sys", proc: str = "/proc") -> None:
        self._run = run
        self._class = Path(sys, "class/net")
        self._proc = Path(proc)

    def links(self) -> dict[str, Row]:
        """Every interface: kind, state, MTU, MAC, addresses, routes and whose port it is.

        Raises NotFound where there is no iproute2 that speaks JSON.
        """
        code, out = self._run(["ip", "-json", "-details", "address"])
        if code or not out.lstrip().startswith("["):
            raise NotFound("ip -json address gave no answer", "Install iproute2 5.0 or later")
        rows = [row for row in json.loads(out) if row.get("ifname")]
        routes = list(self._routes())
        return {
            row["ifname"]: link_row(row)
            | {"routes": [route for dev, route in routes if dev == row["ifname"]]}
            for row in rows
        }

    def _routes(self) -> Iterator[tuple[str, Row]]:
        """Routes that somebody added, by device; those of addresses are the kernel's."""
        for family in ("-4", "-6"):
            code, out = self._run(["ip", family, "-json", "route", "show", "table", "main"])
            for row in json.loads(out or "[]") if code == 0 else []:
                if row.get("protocol") != "kernel" and "dev" in row:
                    yield (
                        row["dev"],
                        {
                            "to": row["dst"],
                            "via": row.get("gateway", ""),
                            "metric": row.get("metric", 0),
                        },
                    )

    def managers(self, names: Sequence[str]) -> tuple[dict[str, bool], dict[str, Row]]:
        """Which managers run, and what each says of these interfaces."""
        running = {
            "networkmanager": self._active("NetworkManager.service"),
            "networkd": self._active("systemd-networkd.service"),
            "netplan": self._run(["netplan", "--help"])[0] == 0,
        }
        known = self._nm_devices() if running["networkmanager"] else {}
        by_ifupdown = self._ifupdown()
        claims = {
            name: {
                "networkmanager": known.get(name),
                "networkd": self._networkd(name) if running["networkd"] else None,
                "ifupdown": name in by_ifupdown,
            }
            for name in names
        }
        return running, claims

    def netplan_files(self) -> list[str]:
        """Netplan's files of this host."""
        return sorted(map(str, NETPLAN_DIR.glob("*.yaml")))

    def _active(self, unit: str) -> bool:
        return self._run(["systemctl", "is-active", "--quiet", unit])[0] == 0

    def _nm_devices(self) -> dict[str, Row]:
        """NetworkManager's state of each device, with the profile that is active and its file."""
        code, devices = self._run([*terse("DEVICE,STATE,CON-UUID"), "device"])
        if code:
            return {}
        profiles = dict(
            split_terse(line)[:2]
            for line in self._run([*terse("UUID,FILENAME"), "connection"])[1].splitlines()
        )
        return {
            device: {"state": state, "uuid": uuid, "file": profiles.get(uuid, "")}
            for device, state, uuid in map(split_terse, devices.splitlines())
        }

    def _networkd(self, name: str) -> Row | None:
        """networkd's state of a link, and the .network file that it follows."""
        code, out = self._run(["networkctl", "status", "--no-pager", "--lines=0", name])
        if code:
            return None
        state = re.search(r"State: \S+ \((\w+)\)", out)
        file = re.search(r"Network File: (\S+)", out)
        path = file.group(1) if file else ""
        return {
            "state": state.group(1) if state else "unmanaged",
            "file": "" if path == "n/a" else path,
        }

    def _ifupdown(self) -> set[str]:
        """Interfaces that /etc/network/interfaces and what it includes configure."""
        found: set[str] = set()
        files = [IFUPDOWN_DIR / "interfaces", *IFUPDOWN_DIR.glob("interfaces.d/*")]
        for file in files:
            if file.is_file():
                found |= set(re.findall(r"(?m)^\s*iface\s+(\S+)", file.read_text(errors="replace")))
        return found

    def carriers(self, links: Mapping[str, Row]) -> list[str]:
        """Interfaces over which the ssh connection comes, with those below them."""
        server, client = self._ssh_ends()
        found = {name for name, row in links.items() if server in map(bare, row["addresses"])}
        if client:
            code, out = self._run(["ip", "-json", "route", "get", client])
            found |= {row["dev"] for row in json.loads(out or "[]") if "dev" in row and not code}
        todo = found & set(links)
        found = set()
        while todo:
            name = todo.pop()
            found.add(name)
            todo |= {*links[name]["lowers"], *self._ports(name)} - found
        return sorted(found)

    def _ports(self, name: str) -> list[str]:
        return [path.name[len("lower_") :] for path in (self._class / name).glob("lower_*")]

    def _ssh_ends(self) -> tuple[str, str]:
        """Server's and client's address of the ssh connection: sudo drops it from the environment,
        but a process above still has it."""
        process = os.getpid()
        while process > 1:
            try:
                variables = (self._proc / str(process) / "environ").read_bytes().split(b"\0")
                status = (self._proc / str(process) / "stat").read_text()
            except OSError:
                break
            for variable in variables:
                if variable.startswith(b"SSH_CONNECTION="):
                    client, _port, server, _own = variable.decode().partition("=")[2].split()
                    return plain(server), plain(client)
            process = int(status.rpartition(")")[2].split()[1])
        return "", ""

    def hardware(self, name: str) -> Row:
        """What the driver offers: speed, rings, offloads, and the naming of the link."""
        return {
            "speed": self.speed(name),
            "rings": parse_rings(self._run(["ethtool", "-g", name])[1]),
            "offloads": parse_offloads(self._run(["ethtool", "-k", name])[1]),
            "link_lines": self._link_lines(name),
        }

    def speed(self, name: str) -> int | None:
        """Mbit/s of an interface, from the kernel or else its driver; None when nobody knows."""
        # Reading it fails while the link is down, and for some drivers always.
        with suppress(OSError, ValueError):
            if (speed := int((self._class / name / "speed").read_text())) > 0:
                return speed
        found = SPEED.search(self._run(["ethtool", name])[1])
        return int(found.group(1)) if found else None

    def _link_lines(self, name: str) -> list[str]:
        """The lines of the section [Link] of the .link file in force, but for what tunes the NIC.

        Only one .link file applies: one of the role's has to keep the names that this one gives.
        """
        _code, out = self._run(["udevadm", "info", "--query=property", f"/sys/class/net/{name}"])
        file = re.search(r"(?m)^ID_NET_LINK_FILE=(.+)$", out)
        if not file or not Path(file.group(1)).is_file():
            return list(DEFAULT_LINK)
        parser = configparser.ConfigParser(
            delimiters=("=",), interpolation=None, strict=False, allow_no_value=True
        )
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read(file.group(1))
        section = parser["Link"] if parser.has_section("Link") else {}
        lines = [f"{key}={value}" for key, value in section.items()]
        return [line for line in lines if not LINK_KEYS.match(line)]

    def sysctls(self, keys: Sequence[str]) -> dict[str, str | None]:
        """Kernel settings in force; None for those that cannot be set here.

        That is one that this kernel does not have, or that is not a container's to set.
        """
        return {key: self._sysctl(key) for key in keys}

    def _sysctl(self, key: str) -> str | None:
        path = self._proc.joinpath("sys", *key.split("."))
        try:
            text = path.read_text()
            writable = path.stat().st_mode & stat.S_IWUSR
        except OSError:
            return None
        return " ".join(text.split()) if writable else None

    def firewall(self, name: str) -> Row:
        """The firewall that runs (``firewalld``, ``ufw`` or ``none``), and the interface's zone."""
        if self._active("firewalld.service"):
            code, zone = self._run(["firewall-cmd", f"--get-zone-of-interface={name}"])
            if code:
                _code, zone = self._run(["firewall-cmd", "--get-default-zone"])
            return {"name": "firewalld", "zone": zone.strip()}
        code, out = self._run(["ufw", "status"])
        active = code == 0 and re.search(r"(?m)^Status: active$", out)
        return {"name": "ufw" if active else "none", "zone": ""}


def terse(fields: str) -> list[str]:
    """The beginning of an nmcli command whose output is for programs."""
    return ["nmcli", "--terse", "--fields", fields]


def split_terse(line: str) -> list[str]:
    """The fields of a line of ``nmcli --terse``, which escapes colons within them."""
    return [part.replace("\\:", ":").replace("\\\\", "\\") for part in re.split(r"(?<!\\):", line)]


def link_row(row: Mapping[str, Any]) -> Row:
    """An interface, from what ``ip -json -details address`` says of it."""
    info = row.get("linkinfo", {})
    data = info.get("info_data", {})
    kind = info.get("info_kind") or {"loopback": "loopback"}.get(row.get("link_type", ""), "")
    return {
        "kind": kind or "ethernet",
        "up": "UP" in row.get("flags", ()),
        "carrier": "LOWER_UP" in row.get("flags", ()),
        "mtu": row.get("mtu", 0),
        "max_mtu": row.get("max_mtu", 0),
        "mac": row.get("permaddr") or row.get("address", ""),
        "permanent_mac": bool(row.get("permaddr")) or kind == "",
        "master": row.get("master", ""),
        "lowers": [row["link"]] if kind == "vlan" and row.get("link") else [],
        "vlan_id": data.get("id", 0) if kind == "vlan" else 0,
        "bond_mode": data.get("mode", "") if kind == "bond" else "",
        "addresses": [
            f"{each['local']}/{each['prefixlen']}"
            for each in row.get("addr_info", ())
            if each.get("scope") != "link" and "local" in each
        ],
    }


def bare(address: str) -> str:
    """An address without its prefix."""
    return address.partition("/")[0]


def plain(address: str) -> str:
    """An address as the kernel shows it: no zone, no IPv4 in IPv6."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)


def parse_rings(text: str) -> Row:
    """``{rx, rx_max, tx, tx_max}`` from ``ethtool -g``; nothing where the driver has no rings."""
    limits, _head, current = text.partition("Current hardware settings:")
    found = {}
    for key, name in (("rx", "RX"), ("tx", "TX")):
        most = re.search(rf"(?m)^{name}:\s+(\d+)", limits)
        now = re.search(rf"(?m)^{name}:\s+(\d+)", current)
        if most and now and int(most.group(1)) > 0:
            found |= {key: int(now.group(1)), f"{key}_max": int(most.group(1))}
    return found


def parse_offloads(text: str) -> dict[str, Row]:
    """``{name: {on, fixed}}`` from ``ethtool -k``, by the names that ``ethtool -K`` takes."""
    found = {}
    for short, name in OFFLOADS.items():
        if seen := re.search(rf"(?m)^{name}: (on|off)(.*)$", text):
            found[short] = {"on": seen.group(1) == "on", "fixed": "[fixed]" in seen.group(2)}
    return found
