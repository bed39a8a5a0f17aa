# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hypervisors without OpenStack: a guest moves between real libvirts and is missed briefly."""

from __future__ import annotations

import contextlib
import itertools
import re
import subprocess
import time
from collections.abc import Iterator

import pytest
import yaml

from lab.backend import LabError
from lab.hypervisors import guest, images, ssh, survey
from lab.hypervisors.machine import Machine
from lab.hypervisors.site import Site

ADDRESS = "10.88.0.99"
PING_MS = 10
BRIDGE = "br-phys"
PATIENCE_SECONDS = 4
# A guest that moves is silent for a tenth of a second; a test machine may be busy with others.
LONGEST_GAP_SECONDS = 5.0


@pytest.fixture(scope="module")
def running_guest(hypervisors: Site) -> Iterator[Site]:
    """A guest on one of the hosts that answers; see `_where`."""
    with _guest(hypervisors, "g1", ADDRESS):
        yield hypervisors


@contextlib.contextmanager
def _guest(site: Site, name: str, address: str) -> Iterator[None]:
    """Run a guest from cmp-1 on; it is gone from both hosts afterwards."""
    image = images.guest()
    virt_type = guest.accelerator(site.observer, image)
    xml = guest.domain(name, address, image, accelerator=virt_type, bridge=BRIDGE)
    site.hosts["cmp-1"].run("virsh", "create", "/dev/stdin", input=xml)
    try:
        knock = f"until ping -c1 -W1 {address}; do :; done"
        site.observer.run("/bin/sh", "-c", knock, timeout=90)
        yield
    finally:
        for machine in site.hosts.values():
            machine.run("virsh", "destroy", name, check=False)


def _where(site: Site) -> tuple[Machine, Machine]:
    """Return the host that the guest g1 is on, and the other one."""
    (name,) = {entry["host"] for entry in survey.domains(site) if entry["domain"] == "g1"}
    (other,) = set(site.hosts) - {name}
    return site.hosts[name], site.hosts[other]


def test_a_guest_moves_over_the_limited_network_and_answers_all_the_while(
    running_guest: Site,
) -> None:
    source, target = _where(running_guest)
    running_guest.fabric.set_rate(source, "1gbit")
    before = _sent_bytes(source)
    pid = running_guest.observer.spawn(
        "ping", "fping", "--loop", "--timestamp", f"--period={PING_MS}", "--timeout=2000", ADDRESS
    )
    time.sleep(1)
    _migrate(source, target)
    assert _where(running_guest) == (target, source)
    time.sleep(1)
    assert running_guest.observer.service_pid("ping") == pid
    running_guest.observer.stop_service("ping")
    longest = _longest_gap(running_guest.observer.log_path("ping").read_text())
    assert longest < LONGEST_GAP_SECONDS
    # What the kernel and its ramdisk take at least: it went over this network, not another.
    assert _sent_bytes(source) - before > 30e6


def test_a_busy_guest_on_a_slow_network_has_to_be_stopped(running_guest: Site) -> None:
    source, target = _where(running_guest)
    running_guest.fabric.set_rate(source, "100mbit")
    assert guest.order(running_guest.observer, ADDRESS, "dirty 60 64") == "ok"
    began = time.monotonic()
    _migrate(source, target, "--timeout", str(PATIENCE_SECONDS), "--timeout-suspend")
    assert time.monotonic() - began > PATIENCE_SECONDS
    answer = guest.order(running_guest.observer, ADDRESS, "status")
    assert re.match(r"rate=60 working_set=64 written_mib=\d+ seconds=", answer)
    assert _where(running_guest) == (target, source)


def test_the_agent_writes_at_the_rate_it_is_told(running_guest: Site) -> None:
    observer = running_guest.observer
    guest.order(observer, ADDRESS, "dirty 20 32")
    time.sleep(3)
    found = dict(word.split("=") for word in guest.order(observer, ADDRESS, "status").split())
    rate = float(found["written_mib"]) / float(found["seconds"])
    assert 2 < rate < 25
    guest.order(observer, ADDRESS, "stop")
    assert "working_set=0" in guest.order(observer, ADDRESS, "status")
    with pytest.raises(LabError, match=r"refuses 'dance': error: dirty RATE WORKING_SET"):
        guest.order(observer, ADDRESS, "dance")
    with pytest.raises(LabError, match=r"guest at 10\.88\.0\.98: gives no answer"):
        guest.order(observer, "10.88.0.98", "status", timeout=1)


def test_the_power_button_stops_a_guest(hypervisors: Site) -> None:
    first = hypervisors.hosts["cmp-1"]
    with _guest(hypervisors, "g2", "10.88.0.97"):
        first.run("virsh", "shutdown", "g2")
        deadline = time.monotonic() + 60
        while "g2" in first.run("virsh", "list", "--all", "--name").stdout.split():
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_hosts_differ_and_speak_to_each_other(hypervisors: Site) -> None:
    first, second = hypervisors.hosts.values()
    uuids = {
        re.search(r"<uuid>(.*?)</uuid>", machine.run("virsh", "capabilities").stdout)[1]
        for machine in (first, second)
    }
    assert len(uuids) == 2
    for address in ("10.77.0.12", "10.78.0.12"):
        listed = first.run("virsh", "--connect", f"qemu+tcp://{address}/system", "hostname")
        assert listed.stdout.strip() == "cmp-2"
    imported = first.run("python3", "-c", "import libvirt; print(libvirt.getVersion())")
    assert int(imported.stdout) >= 11_000_000


def test_the_inventory_lets_one_in(hypervisors: Site) -> None:
    key = ssh.make_key_pair(hypervisors.settings, hypervisors.control)
    for machine in hypervisors:
        ssh.start(machine, key)
    inventory = yaml.safe_load(ssh.write_inventory(hypervisors).read_text())["all"]
    hosts = inventory["children"]["compute"]["hosts"] | inventory["children"]["observer"]["hosts"]
    assert set(hosts) == {"cmp-1", "cmp-2", "obs"}
    options = inventory["vars"]["ansible_ssh_common_args"].split()
    for name, variables in hosts.items():
        command = ["ssh", *options, "-o", "BatchMode=yes"]
        command += ["-i", inventory["vars"]["ansible_ssh_private_key_file"]]
        command += [f"root@{variables['ansible_host']}", "hostname"]
        argv = hypervisors.control.argv(*command, net_only=True)
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == name


def _migrate(source: Machine, target: Machine, *options: str) -> None:
    uri = f"qemu+tcp://{target.name}/system"
    source.run("virsh", "migrate", "--live", "--p2p", *options, "g1", uri, timeout=120)


def _sent_bytes(machine: Machine) -> int:
    return int(machine.run("cat", "/sys/class/net/mig/statistics/tx_bytes").stdout)


def _longest_gap(log: str) -> float:
    """Return the longest time between two answers, in seconds."""
    times = [float(found) for found in re.findall(r"^\[([\d.]+)\].*bytes", log, re.MULTILINE)]
    assert len(times) > 100
    return max(later - earlier for earlier, later in itertools.pairwise(times))
