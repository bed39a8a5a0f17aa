# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with guests on real hypervisors, made to happen."""

from __future__ import annotations

import shutil
from xml.etree import ElementTree

from lab.backend import LabError
from lab.hypervisors.machine import Machine

INSTANCES = "/var/lib/nova/instances"
VIRSH = ("virsh", "--connect", "qemu:///system")


def lose(machine: Machine, guest: str) -> None:
    """Let a guest (UUID) vanish from its host, as if libvirt had never had it.

    Nova notices within 15 s and stops the server, unless the host's nova-compute is dead.
    """
    machine.run(*VIRSH, "destroy", guest)
    machine.run(*VIRSH, "undefine", guest, "--nvram", check=False)


def split_brain(running_on: Machine, second: Machine, guest: str) -> None:
    """Run a guest (UUID) on a second host too, with a copy of its disk made while it runs.

    Only its network is missing there: its port is bound to the first host, which has its device.
    Raises LabError when its files are shared by the hosts: QEMU locks them against just this.
    """
    xml = running_on.run(*VIRSH, "dumpxml", guest, "--security-info", "--migratable").stdout
    source, target = (machine.path(INSTANCES) for machine in (running_on, second))
    if source.samefile(target):
        raise LabError(f"{INSTANCES}: shared by the hosts; use a lab with local storage")
    for name in (guest, "_base"):
        shutil.copytree(source / name, target / name, dirs_exist_ok=True)
    second.run(*VIRSH, "define", "/dev/stdin", input=_without_network(xml))
    second.run(*VIRSH, "start", guest)


def _without_network(xml: str) -> str:
    domain = ElementTree.fromstring(xml)
    for devices in domain.iter("devices"):
        for interface in devices.findall("interface"):
            devices.remove(interface)
    return ElementTree.tostring(domain, encoding="unicode")
