# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab's machines run right now, as data."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab import processes
from lab.backend import LabError
from lab.hypervisors.host import LIBVIRT
from lab.hypervisors.machine import Machine
from lab.hypervisors.site import Site

NOVA = "{http://openstack.org/xmlns/libvirt/nova/1.1}"


def inside(site: Site) -> dict[str, list[int]]:
    """Return the outside pids of every process of every machine that runs."""
    spaces = {
        os.readlink(f"/proc/{machine.pid}/ns/pid"): machine.name
        for machine in site
        if machine.running()
    }
    found: dict[str, list[int]] = {name: [] for name in spaces.values()}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            space = os.readlink(directory / "ns" / "pid")
        except (FileNotFoundError, PermissionError):
            # It has ended, or is none of ours: even root may not look at the machine's own init.
            continue
        if space in spaces:
            found[spaces[space]].append(int(directory.name))
    return found


def machines(site: Site) -> list[dict[str, Any]]:
    """Return {machine, address, running, memory_mib} of each; memory is its fair share (PSS)."""
    pids = inside(site)
    return [
        {
            "machine": machine.name,
            "address": machine.address,
            "running": machine.running(),
            "memory_mib": sum(processes.memory_mib(pid) or 0 for pid in pids.get(machine.name, [])),
        }
        for machine in site
    ]


def services(site: Site) -> list[dict[str, Any]]:
    """Return what was started on each machine since its power-on, and whether it runs."""
    return [
        {
            "machine": machine.name,
            "service": service,
            "pid": pid,
            "running": pid is not None,
            "ready": pid is not None,
            "memory_mib": processes.memory_mib(pid) if pid else None,
            "cpu_seconds": processes.cpu_seconds(pid) if pid else None,
        }
        for machine in site
        if machine.running()
        for service in machine.services()
        for pid in [machine.service_pid(service)]
    ]


def domains(site: Site) -> list[dict[str, Any]]:
    """Return {host, id, domain, name, address, state} of every domain that libvirt has.

    ``name`` and ``address`` are Nova's, None for a domain that it did not make.
    """
    return [entry for machine in site.hosts.values() for entry in _domains(machine)]


def _domains(machine: Machine) -> Iterator[dict[str, Any]]:
    if machine.service_pid(LIBVIRT) is None:
        return
    for uuid in machine.run("virsh", "list", "--all", "--uuid").stdout.split():
        dump = machine.run("virsh", "dumpxml", uuid, check=False)
        state = machine.run("virsh", "domstate", uuid, check=False)
        if dump.returncode or state.returncode:
            # It has left since it was listed.
            continue
        tree = ElementTree.fromstring(dump.stdout)
        address = tree.find(f".//{NOVA}ip[@type='fixed']")
        yield {
            "host": machine.name,
            "id": uuid,
            "domain": tree.findtext("name"),
            "name": tree.findtext(f".//{NOVA}name"),
            "address": None if address is None else address.get("address"),
            "state": state.stdout.strip(),
        }


def guest_address(site: Site, guest: str) -> str:
    """Return the address of a guest by name, UUID, domain or just that address.

    Raises LabError for a guest that no hypervisor knows, or that Nova gave no address.
    """
    if re.fullmatch(r"[0-9]+(\.[0-9]+){3}", guest):
        return guest
    known = domains(site)
    for entry in known:
        if guest in (entry["name"], entry["id"], entry["domain"]):
            if entry["address"] is None:
                raise LabError(f"{guest}: Nova has given it no address; name it by its address")
            return str(entry["address"])
    names = sorted({entry["name"] or entry["domain"] for entry in known})
    raise LabError(f"{guest}: no such guest; there are: {', '.join(names) or 'none'}")
