# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines and the network between them: what they keep apart, and that they leave nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from lab.backend import LabError
from lab.hypervisors import cgroups, images, survey
from lab.hypervisors.machine import Machine
from lab.hypervisors.settings import Settings
from lab.hypervisors.site import Site
from lab.tests.hypervisors.conftest import mounted_below

BURST_BYTES = 4_000_000
IP_AND_ICMP_BYTES = 28


def test_a_machine_has_a_root_and_a_name_of_its_own(site: Site) -> None:
    first, second = site.hosts.values()
    first.write("/etc/lab-test/only-here", "word\n", mode=0o600)
    assert first.run("stat", "-c", "%a", "/etc/lab-test/only-here").stdout == "600\n"
    assert not second.path("/etc/lab-test/only-here").exists()
    assert not (images.userland() / "etc/lab-test").exists()
    assert first.run("hostname").stdout == "cmp-1\n"
    assert first.run("getent", "hosts", "cmp-2").stdout.split() == ["10.77.0.12", "cmp-2"]


def test_writing_follows_the_machines_links_not_ours(site: Site) -> None:
    machine = site.hosts["cmp-1"]
    machine.write("/var/run/lab-test/file", "inside")
    assert machine.run("cat", "/run/lab-test/file").stdout == "inside"
    assert not Path("/run/lab-test").exists()
    with pytest.raises(LabError, match=r"without '\.\.'"):
        machine.write("/etc/../../escaped", "")


def test_only_cables_lead_out(site: Site) -> None:
    first = site.hosts["cmp-1"]
    first.run("ping", "-c1", "-W2", "10.77.0.12")
    first.run("ping", "-c1", "-W2", "-I", "mig", "10.78.0.12")
    routes = first.run("ip", "route").stdout
    assert "default" not in routes
    assert site.control.run("ping", "-c1", "-W1", "10.78.0.11", check=False).returncode != 0
    ours = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert "cmp-1" not in ours
    assert "mgmt" not in ours


def test_a_command_tells_its_output_its_failure_and_its_lateness(site: Site) -> None:
    machine = site.hosts["cmp-1"]
    assert machine.run("cat", input="in").stdout == "in"
    assert machine.run("sh", "-c", "echo $LAB", env={"LAB": "x"}).stdout == "x\n"
    with pytest.raises(LabError, match=r"cmp-1: ls /nowhere: ended with status 2: .*No such file"):
        machine.run("ls", "/nowhere")
    with pytest.raises(LabError, match=r"sleep 61: not done after 0.2 s"):
        machine.run("sleep", "61", timeout=0.2)
    assert "sleep 61" not in machine.run("ps", "-eo", "args,stat").stdout


def test_a_daemon_is_known_by_its_outside_pid_until_it_ends(site: Site) -> None:
    machine = site.hosts["cmp-1"]
    pid = machine.spawn("napper", "/bin/bash", "-c", "echo awake; exec sleep 1000")
    assert Path(f"/proc/{pid}/comm").exists()
    assert machine.service_pid("napper") == pid
    assert "napper" in machine.services()
    assert pid in survey.inside(site)["cmp-1"]
    _eventually(lambda: machine.log_path("napper").read_text() == "awake\n")
    assert machine.stop_service("napper")
    assert machine.service_pid("napper") is None
    assert not machine.stop_service("napper")


def test_a_daemon_that_ignores_the_signal_is_named(site: Site) -> None:
    machine = site.hosts["cmp-1"]
    script = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"
    machine.spawn("stubborn", "/bin/bash", "-c", script)
    _eventually(lambda: "deaf" in machine.log_path("stubborn").read_text())
    with pytest.raises(LabError, match=r"stubborn: still runs 0.3 s after signal 15"):
        machine.stop_service("stubborn", wait=0.3)
    assert machine.stop_service("stubborn", signal.SIGKILL)


def test_waiting_for_a_port_ends_either_way(site: Site) -> None:
    machine = site.hosts["cmp-1"]
    with pytest.raises(LabError, match=r"nothing answers at 10\.77\.0\.11:4711 after 0\.3 s"):
        machine.wait_port(4711, timeout=0.3)
    program = "import socket,time; s=socket.create_server(('', 4711)); time.sleep(60)"
    machine.spawn("listener", "python3", "-c", program)
    machine.wait_port(4711)
    machine.stop_service("listener")


def test_the_migration_network_has_the_rate_it_is_given(site: Site) -> None:
    sender, receiver = site.hosts.values()
    site.fabric.set_rate(sender, "80mbit")
    receiver.spawn("iperf3", "iperf3", "--server")
    receiver.wait_port(5201)
    command = ("iperf3", "--client", "10.78.0.12", "--bytes", str(BURST_BYTES))
    began = time.monotonic()
    sender.run(*command)
    assert time.monotonic() - began > BURST_BYTES * 8 / 80e6 * 0.7
    site.fabric.set_rate(sender, "off")
    assert "tbf" not in sender.run("tc", "qdisc", "show", "dev", "mig").stdout
    receiver.stop_service("iperf3")
    with pytest.raises(LabError, match=r"rate 'fast': write a rate such as 400mbit"):
        site.fabric.set_rate(sender, "fast")


def test_the_switch_drops_what_is_larger_than_it_is_told(site: Site) -> None:
    first, second = site.hosts.values()
    for machine in (first, second):
        machine.run("ip", "link", "set", "mig", "mtu", "9000")
    assert _passes(first, "10.78.0.12", 9000)
    site.fabric.set_mtu([second], 1500, site.hosts.values())
    assert not _passes(first, "10.78.0.12", 1501)
    assert _passes(first, "10.78.0.12", 1500)
    # The kernel lets four bytes more in, for the tag of a VLAN.
    assert not _passes(second, "10.78.0.11", 1505)
    assert not _sends(first, second)
    second.stop()
    second.start()
    second.run("ip", "link", "set", "mig", "mtu", "9000")
    assert not _passes(first, "10.78.0.12", 1501)
    site.fabric.set_mtu([second], 9000, site.hosts.values())
    assert _passes(first, "10.78.0.12", 9000)
    assert _sends(first, second)
    with pytest.raises(LabError, match=r"mtu 99: the switch carries 576 to 9000 bytes"):
        site.fabric.set_mtu([second], 99, [])


def test_a_power_cut_ends_everything_at_once_and_keeps_the_files(site: Site) -> None:
    machine = site.hosts["cmp-2"]
    machine.write("/etc/kept", "kept")
    pid = machine.spawn("napper", "sleep", "1000")
    machine.stop()
    assert not Path(f"/proc/{pid}").exists()
    assert not machine.running()
    with pytest.raises(LabError, match=r"cmp-2: is not running"):
        machine.run("true")
    machine.start()
    assert machine.services() == []
    assert machine.run("cat", "/etc/kept").stdout == "kept"
    machine.run("ping", "-c1", "-W2", "10.77.0.11")


def test_a_site_leaves_no_process_namespace_or_mount(tmp_path: Path) -> None:
    settings = Settings.create(tmp_path / "lab")
    settings.save()
    made = Site(settings, ["cmp-1"], [images.userland()])
    made.start()
    made.hosts["cmp-1"].spawn("napper", "sleep", "1000")
    made.save()
    pids = [Path(f"/proc/{machine.pid}") for machine in made]
    used = _namespaces(pids) - _namespaces([Path("/proc/self")])
    assert len(used) >= 5 * len(pids)
    again = Site.load(settings)
    assert [machine.pid for machine in again] == [machine.pid for machine in made]
    again.stop()
    assert not any(machine.running() for machine in made)
    assert not made.fabric.running()
    assert mounted_below(tmp_path) == []
    assert not used & _namespaces(Path("/proc").glob("[0-9]*"))
    left = cgroups.group(made.hosts["cmp-1"].directory)
    assert left is not None
    assert not left.exists()


def test_what_is_the_kernels_own_cannot_be_set_from_a_machine(site: Site) -> None:
    for machine in (site.control, *site.hosts.values()):
        refused = machine.run("sysctl", "-w", "kernel.threads-max=4711", check=False)
        assert refused.returncode != 0
        machine.run("sysctl", "-w", "net.ipv4.tcp_mtu_probing=1")
    assert Path("/proc/sys/kernel/threads-max").read_text() != "4711\n"


def test_a_machine_without_control_groups_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("proc /proc proc rw 0 0\n")
    monkeypatch.setattr(cgroups, "MOUNTS", mounts)
    machine = Machine(tmp_path / "cmp-1", "", [images.userland()], systemd=True)
    with pytest.raises(LabError, match=r"systemd.*needs control groups: mount .*cgroup2"):
        machine.start()
    mounts.write_text("cgroup2 /proc cgroup2 rw 0 0\n")
    with pytest.raises(LabError, match=r"/proc/lab-cmp-1-.*: systemd.*a control group of its own"):
        machine.start()


def test_a_root_that_was_removed_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "broken", "", [tmp_path / "missing"])
    with pytest.raises(LabError, match=r"broken: its root .*/missing is gone"):
        machine.start()
    assert mounted_below(tmp_path) == []


def _passes(machine: Machine, address: str, size: int) -> bool:
    """Tell whether packets of a size in bytes, headers included, come and go unfragmented."""
    payload = str(size - IP_AND_ICMP_BYTES)
    command = ("ping", "-c3", "-i0.2", "-W1", "-Mdo", f"-s{payload}", address)
    return machine.run(*command, check=False).returncode == 0


def _sends(sender: Machine, receiver: Machine) -> bool:
    """Tell whether a megabyte arrives by TCP, whose segments nobody cuts on the way."""
    receiver.spawn("iperf3", "iperf3", "--server")
    receiver.wait_port(5201)
    address = receiver.run("ip", "-brief", "-4", "address", "show", "mig").stdout.split()[2]
    command = ("timeout", "3", "iperf3", "--bytes=1M", "--client", address.partition("/")[0])
    sent = sender.run(*command, check=False).returncode == 0
    receiver.stop_service("iperf3", signal.SIGKILL)
    return sent


def _namespaces(pids: Iterable[Path]) -> set[str]:
    """Return the namespaces that processes are in; gone and foreign ones are in none."""
    found = set()
    for directory in pids:
        with contextlib.suppress(OSError):
            found |= {os.readlink(path) for path in (directory / "ns").iterdir()}
    return found


def _eventually(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
