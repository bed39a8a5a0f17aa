# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt_compat_info on real hypervisors: its verdicts, and what libvirt then does."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from lab.hypervisors import host
from lab.hypervisors.machine import Machine
from tests.hypervisors.conftest import Hypervisors, Vm

CPU_MODELS = "/usr/share/libvirt/cpu_map/index.xml"
MODEL = "Nehalem"
CPU = f"<cpu mode='custom' match='exact' check='none'><model>{MODEL}</model></cpu>"
DOMAIN = """\
<domain type='qemu'><name>{name}</name><uuid>{id}</uuid><memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='{machine}'>hvm</type></os>
  {cpu}
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='none'/></devices>
</domain>
"""


@pytest.fixture
def guest(hypervisors: Hypervisors) -> Iterator[Vm]:
    """A guest on cmp-1 that never gets beyond its BIOS, which is enough for libvirt."""
    made = Vm(hypervisors, str(uuid.uuid4()), "g2", "")
    xml = DOMAIN.format(name=made.name, id=made.id, machine="q35", cpu=CPU)
    hypervisors.host("cmp-1").run("virsh", "create", "/dev/stdin", input=xml)
    yield made
    for machine in hypervisors.site.hosts.values():
        machine.run("virsh", "destroy", made.name, check=False)


def leaving(hypervisors: Hypervisors) -> dict[str, Any]:
    """What cmp-1 says of itself and its guests."""
    found = hypervisors.run("cmp-1", "libvirt_compat_info", host="cmp-1")
    assert not found["failed"], found["msg"]
    return found


def judged(hypervisors: Hypervisors, found: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What cmp-2 says of the guest of cmp-1. ``changes``: of what that needs."""
    (needs,) = found["domains"]
    result = hypervisors.run(
        "cmp-2",
        "libvirt_compat_info",
        host="cmp-2",
        source=found["hypervisor"],
        domains=[needs | changes],
    )
    assert not result["failed"], result["msg"]
    (verdict,) = result["verdicts"]
    assert result["incompatible"] == ({needs["id"]: ["cmp-2"]} if verdict["result"] == "no" else {})
    return verdict


def refusal(hypervisors: Hypervisors, machine: str, cpu: str) -> str:
    """What libvirt on cmp-2 says against starting a guest with that machine type and CPU."""
    there = hypervisors.host("cmp-2")
    xml = DOMAIN.format(name="trial", id=uuid.uuid4(), machine=machine, cpu=cpu)
    done = there.run("virsh", "create", "--paused", "/dev/stdin", input=xml, check=False)
    if done.returncode == 0:
        there.run("virsh", "destroy", "trial")
    return "" if done.returncode == 0 else done.stdout + done.stderr


def checked(cpu: str) -> str:
    """A running guest's CPU as a definition that libvirt compares before it starts QEMU."""
    return re.sub(r'check="\w+"', 'check="partial"', cpu)


def domains(machine: Machine) -> list[str]:
    return machine.run("virsh", "list", "--uuid").stdout.split()


def test_what_it_says_is_what_virsh_says(hypervisors: Hypervisors, guest: Vm) -> None:
    found = leaving(hypervisors)
    here, (needs,) = found["hypervisor"], found["domains"]
    machine = hypervisors.host("cmp-1")
    versions = machine.run("virsh", "version").stdout
    for number in (here["hypervisor_version"], here["libvirt_version"]):
        assert f"{number // 10**6}.{number // 1000 % 1000}.{number % 1000}" in versions
    assert (needs["id"], needs["name"], needs["type"]) == (guest.id, guest.name, "qemu")
    xml = machine.run("virsh", "dumpxml", guest.name).stdout
    assert f"machine='{needs['machine']}'" in xml
    shown = re.search(r"<cpu .*?</cpu>", xml, re.DOTALL)
    assert shown
    features = re.findall(r"name='([\w.-]+)'", shown.group())
    assert features == re.findall(r'name="([\w.-]+)"', needs["cpu"]) != []


def test_a_guest_that_can_go_goes(hypervisors: Hypervisors, guest: Vm) -> None:
    verdict = judged(hypervisors, leaving(hypervisors))
    assert (verdict["result"], verdict["cpu"]) == ("ok", "superset")
    moved = guest.migrate()
    told, _none = moved.communicate(timeout=120)
    assert moved.returncode == 0, told
    assert domains(hypervisors.host("cmp-2")) == [guest.id]


@pytest.mark.usefixtures("guest")
def test_a_feature_that_the_host_lacks(hypervisors: Hypervisors) -> None:
    found = leaving(hypervisors)
    machine, has = found["domains"][0]["machine"], found["domains"][0]["cpu"]
    lacks = has.replace("</cpu>", '<feature policy="require" name="avx512f"/></cpu>')
    verdict = judged(hypervisors, found, cpu=lacks)
    assert (verdict["result"], verdict["code"], verdict["cpu"]) == ("no", "cpu", "incompatible")
    assert verdict["reason"].endswith("Host CPU does not provide required features: avx512f")
    # libvirt refuses it in the same words; without the feature it does not.
    assert "not provide required features: avx512f" in refusal(hypervisors, machine, checked(lacks))
    assert refusal(hypervisors, machine, checked(has)) == ""


@pytest.mark.usefixtures("guest")
def test_a_machine_type_that_qemu_lacks(hypervisors: Hypervisors) -> None:
    verdict = judged(hypervisors, leaving(hypervisors), machine="pc-q35-99.0")
    assert (verdict["result"], verdict["code"]) == ("no", "machine_type")
    assert "pc-q35-99.0" in verdict["reason"]
    assert "pc-q35-99.0" in refusal(hypervisors, "pc-q35-99.0", CPU)


@pytest.mark.usefixtures("guest")
def test_an_older_qemu(hypervisors: Hypervisors) -> None:
    found = leaving(hypervisors)
    found["hypervisor"]["hypervisor_version"] += 1000
    assert judged(hypervisors, found)["code"] == "hypervisor_too_old"


@pytest.mark.usefixtures("guest")
def test_a_guest_with_the_cpu_of_its_host(hypervisors: Hypervisors) -> None:
    found = leaving(hypervisors)
    whole = {"cpu": "<cpu mode='maximum'/>", "cpu_mode": "maximum"}
    assert judged(hypervisors, found, **whole)["cpu"] == "identical"
    for platform in found["hypervisor"]["platforms"]:
        platform["cpu"] = platform["cpu"].replace('<feature policy="require" name="erms" />', "")
    verdict = judged(hypervisors, found, **whole)
    assert (verdict["result"], verdict["code"]) == ("unknown", "cpu_passthrough_differs")


@pytest.fixture
def older(hypervisors: Hypervisors) -> Iterator[None]:
    """libvirt on cmp-2 does not know the guest's CPU model, as an older one would not."""
    machine = hypervisors.host("cmp-2")
    whole = machine.path(CPU_MODELS).read_text()
    # With the versions of it, which are made from it.
    rest = [line for line in whole.splitlines(keepends=True) if f"_{MODEL}" not in line]
    assert len(rest) < len(whole.splitlines())
    try:
        reread(machine, "".join(rest))
        yield
    finally:
        reread(machine, whole)


def reread(machine: Machine, models: str) -> None:
    """Let libvirt on a machine know these CPU models."""
    machine.write(CPU_MODELS, models)
    machine.systemctl("restart", host.LIBVIRT_UNIT)
    machine.run("virsh", "version")


@pytest.mark.usefixtures("older")
def test_a_cpu_model_that_libvirt_there_does_not_know(hypervisors: Hypervisors, guest: Vm) -> None:
    verdict = judged(hypervisors, leaving(hypervisors))
    assert (verdict["result"], verdict["code"]) == ("no", "cpu"), verdict["reason"]
    unknown = f"unknown CPU model {MODEL}".lower()
    assert verdict["reason"].lower().endswith(unknown)
    # The migration fails in the same words, and leaves the guest where it is.
    moved = guest.migrate()
    told, _none = moved.communicate(timeout=120)
    assert moved.returncode != 0
    assert unknown in told.lower()
    assert domains(hypervisors.host("cmp-1")) == [guest.id]
