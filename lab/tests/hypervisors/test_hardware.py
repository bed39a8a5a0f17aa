# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that pretends to have processors and memory cells, and what libvirt makes of them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hypervisors import guest, hardware, host, images
from lab.hypervisors.machine import Machine
from lab.hypervisors.settings import Settings
from lab.hypervisors.site import Site
from lab.scenario import Host
from lab.tests.hypervisors.conftest import mounted_below

SHAPE = Host(name="cmp-1", cpus=40, numa_cells=2, threads_per_core=2, memory_mib=8192)
PINNED = (
    "<vcpu>1</vcpu><cputune><vcpupin vcpu='0' cpuset='39'/></cputune>"
    "<numatune><memory mode='strict' nodeset='1'/></numatune>"
)


@pytest.fixture(scope="module")
def pretender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A hypervisor of that shape."""
    settings = Settings.create(tmp_path_factory.mktemp("site"))
    settings.save()
    own = hardware.binds(settings.hardware_dir / SHAPE.name, SHAPE, images.pretence())
    shared = {guest.IMAGE_DIR: images.guest().kernel.parent}
    Site(settings, [SHAPE.name], [images.userland()], shared, host_binds={"cmp-1": own}).save()
    site = Site.load(settings)
    try:
        site.start()
        machine = site.hosts["cmp-1"]
        host.start_libvirt(machine, "10.78.0.11", env=hardware.environment(True))
        host.start_switch(machine)
        yield machine
    finally:
        site.stop()


def test_libvirt_believes_in_the_shape(pretender: Machine) -> None:
    text = pretender.run("virsh", "capabilities").stdout
    cells = ElementTree.fromstring(text).findall(".//cells/cell")
    assert [cell.findtext("memory") for cell in cells] == [str(4096 * 1024)] * 2
    assert [cell.find("cpus").get("num") for cell in cells] == ["20", "20"]
    second = cells[1].find("cpus/cpu")
    assert (second.get("id"), second.get("siblings")) == ("20", "20-21")
    distances = [sibling.get("value") for sibling in cells[1].iter("sibling")]
    assert distances == ["21", "10"]


def test_a_guest_is_pinned_to_what_is_not_there_and_runs(pretender: Machine) -> None:
    xml = guest.domain(
        "g1", "10.88.0.99", images.guest(), accelerator="qemu", bridge="br-phys"
    ).replace("<vcpu>1</vcpu>", PINNED)
    pretender.run("virsh", "create", "/dev/stdin", input=xml)
    try:
        assert pretender.run("virsh", "vcpupin", "g1").stdout.split()[-2:] == ["0", "39"]
        assert "nodeset   : 1" in pretender.run("virsh", "numatune", "g1").stdout
        console = "/var/log/libvirt/g1.console"
        wait = f"until grep -q '{guest.SIGN_OF_LIFE}' {console}; do sleep 0.2; done"
        pretender.run("/bin/sh", "-c", wait, timeout=90)
    finally:
        pretender.run("virsh", "destroy", "g1", check=False)


def test_the_real_machine_keeps_its_own(pretender: Machine) -> None:
    assert pretender.run("cat", "/sys/devices/system/cpu/online").stdout == "0-39\n"
    assert mounted_below(Path(hardware.SYSTEM)) == []


def test_masks_are_written_as_the_kernel_does(tmp_path: Path) -> None:
    hardware.binds(tmp_path / "host", SHAPE, tmp_path)
    node = tmp_path / "host" / "node"
    assert (node / "node0" / "cpumap").read_text() == "000fffff\n"
    assert (node / "node1" / "cpumap").read_text() == "000000ff,fff00000\n"
    assert (node / "node1" / "cpu39").resolve() == tmp_path / "host" / "cpu" / "cpu39"
    single = Host(name="one", cpus=2, numa_cells=1, threads_per_core=1, memory_mib=1024)
    hardware.binds(tmp_path / "one", single, tmp_path)
    assert (tmp_path / "one/node/online").read_text() == "0\n"
    assert (tmp_path / "one/cpu/cpu1/topology/thread_siblings_list").read_text() == "1\n"
