# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What the role management_network does on one host: one decision for check mode, diff and work.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.migration_network import (
    Wanted,
    differences,
    firewall_rules,
    sysctl_changes,
    sysctl_text,
    wanted,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.network_faults import (
    choose_manager,
    fault,
    host_faults,
    value_faults,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.network_files import (
    HEAD,
    NETPLAN,
    NETWORKD,
    PROFILES,
    commands,
    files,
    foreign_profile,
    profile_file,
    profiles,
)

Row = Mapping[str, Any]

SYSCTL_FILE = "/etc/sysctl.d/60-lowtide-migration.conf"
HOSTS_FILE = "/etc/hosts"
FIREWALL_FILES = {
    "firewalld": ("/etc/firewalld/zones/{zone}.xml", "/etc/firewalld/zones/{zone}.xml.old"),
    "ufw": ("/etc/ufw/user.rules", "/etc/ufw/user6.rules"),
    "none": (),
}


def plan(variables: Row, seen: Row) -> dict[str, Any]:
    """``{faults}`` if anything is wrong with the wishes; else all that is to be there.

    ``variables``: the role's, without their prefix. ``seen``: what network_interface_info returned,
    and ``own_files``, the files that an earlier run of the role has left.
    """
    if bad := value_faults(variables):
        return {"faults": bad}
    want = wanted(variables)
    manager, unclear = choose_manager(want, seen)
    bad = [*host_faults(want, seen), *filter(None, [unclear]), *_firewall_faults(variables, seen)]
    if bad:
        return {"faults": bad}
    found = _network(want, manager, seen)
    if stale := _stale(found, seen):
        why = f"was set up in another way before ({', '.join(stale)})"
        remedy = "Take that back first, with tasks_from: revert"
        return {"faults": [fault("interface", want.interface, why, remedy)]}
    rest = {
        "sysctl": _sysctl(want, seen),
        "names": _names(variables),
        "firewall": _firewall(variables, want, seen),
    }
    return {"faults": [], **found, **rest, "before": _before(want, found, rest, seen)}


def _network(want: Wanted, manager: str, seen: Row) -> dict[str, Any]:
    texts = files(want, manager, seen)
    rows = profiles(want, seen) if manager == "networkmanager" else []
    return {
        "manager": manager,
        "files": [
            # Netplan complains of files that others may read: they may hold passwords.
            {"path": path, "content": text, "mode": "0600" if manager == "netplan" else "0644"}
            for path, text in sorted(texts.items())
        ],
        "profiles": rows,
        "foreign_profile": foreign_profile(want, seen) if manager == "networkmanager" else None,
        # Every word of it was checked: names, numbers and addresses.
        "script": " && ".join(map(" ".join, commands(want, manager, seen))),
        "differences": differences(want, seen),
    }


def _stale(found: Row, seen: Row) -> list[str]:
    """Files of an earlier run that this one would not write."""
    wanted_files = {row["path"] for row in found["files"]}
    wanted_files |= {profile_file(row["conn_name"]) for row in found["profiles"]}
    ours = [path for path in seen["own_files"] if path.startswith((NETWORKD, NETPLAN, PROFILES))]
    return sorted(set(ours) - wanted_files)


def _sysctl(want: Wanted, seen: Row) -> dict[str, Any]:
    text = sysctl_text(want, seen)
    return {
        "path": SYSCTL_FILE,
        "content": f"{HEAD}{text}" if text else "",
        "changes": sysctl_changes(want, seen),
    }


def _names(variables: Row) -> dict[str, Any]:
    suffix = variables["name_suffix"]
    lines = [
        f"{str(address).partition('/')[0]} {name}{suffix}"
        for name, address in sorted(variables["peers"].items())
    ]
    return {"path": HOSTS_FILE, "block": "\n".join(lines)}


def _firewall_faults(variables: Row, seen: Row) -> list[str]:
    name, runs = variables["firewall"], seen["firewall"]["name"]
    if name in ("auto", "none", runs):
        return []
    why = f"does not run on this host (there is: {runs})"
    return [fault("firewall", name, why, "Start it, or set management_network_firewall: auto")]


def _firewall(variables: Row, want: Wanted, seen: Row) -> dict[str, Any]:
    running = seen["firewall"]
    name = running["name"] if variables["firewall"] == "auto" else variables["firewall"]
    rules = firewall_rules(variables["firewall_sources"], variables["firewall_ports"], want)
    places = [path.format(zone=running["zone"]) for path in FIREWALL_FILES[name]]
    return {"name": name, "zone": running["zone"], "rules": rules, "files": places}


def _before(want: Wanted, found: Row, rest: Row, seen: Row) -> dict[str, Any]:
    """What has to be kept so that everything can be undone.

    ``shared``: files that others write too, so that later changes of theirs survive.
    """
    own = [row["path"] for row in found["files"]]
    own += [profile_file(row["conn_name"]) for row in found["profiles"]]
    foreign = found["foreign_profile"]
    network = own + ([foreign["file"]] if foreign else [])
    hardware = {
        name: {
            "rings": {key: rings[key] for key in ("rx", "tx") if key in rings},
            "offloads": {
                key: offload["on"]
                for key, offload in seen["hardware"].get(name, {}).get("offloads", {}).items()
                if key in want.offloads and not offload["fixed"]
            },
        }
        for name in want.nics
        if (rings := seen["hardware"].get(name, {}).get("rings", {})) is not None
    }
    links = {"touched": want.touched, "made": want.made, "hardware": hardware}
    offered = {key: seen["sysctls"].get(key) for key, _value in want.sysctls}
    shared = [
        *([rest["names"]["path"]] if rest["names"]["block"] else []),
        *rest["firewall"]["files"],
    ]
    sysctl = [rest["sysctl"]["path"]] if rest["sysctl"]["content"] else []
    return {
        "network": {"manager": found["manager"], "files": network, "shared": [], **links},
        "all": {
            "manager": found["manager"],
            "files": [*network, *sysctl],
            "shared": shared,
            "firewall": rest["firewall"],
            "sysctls": {key: value for key, value in offered.items() if value is not None},
            **links,
        },
    }
