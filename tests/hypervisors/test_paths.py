# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verification of a migration network of three real hosts, with one thing wrong at a time."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.hypervisors import images, ssh
from lab.hypervisors.machine import Machine
from lab.hypervisors.settings import Settings
from lab.hypervisors.site import Site

ROOT = Path(__file__).parents[2]
PLAY_SECONDS = 600
NAMES = ("cmp-1", "cmp-2", "cmp-3")
PORT = 49215
#: What a busy machine with two cores carries at any time, and half of it.
#: A busy machine carries less than the wire: what is slow on purpose is slower by far.
WIRE, LIMIT, SLOW = "600mbit", 150, 50
PLAY = """\
- hosts: compute
  gather_facts: false
  tasks:
    - name: Verify
      ansible.builtin.include_role:
        name: lowtide.compute.management_network
        tasks_from: verify
    - name: Go on
      ansible.builtin.debug:
        msg: it went on
"""


@dataclass(frozen=True)
class Network:
    """Three hosts on a migration network of MTU 9000 and 600 Mbit/s."""

    site: Site
    inventory: Path
    play: Path

    def host(self, name: str) -> Machine:
        return self.site.hosts[name]

    def mend(self) -> None:
        """Everything as it should be."""
        self.switch(9000, *NAMES)
        for machine in self.site.hosts.values():
            machine.run("ip", "link", "set", "mig", "up", "mtu", "9000")
            self.site.fabric.set_rate(machine, WIRE)
            machine.run("nft", "flush", "ruleset")

    def switch(self, mtu: int, *names: str) -> None:
        """Set the MTU of the switch's ports of these hosts."""
        ports = [self.host(name) for name in names]
        self.site.fabric.set_mtu(ports, mtu, self.site.hosts.values())

    def verify(self, *arguments: str, **variables: Any) -> Outcome:
        """Run the tasks as an operator does."""
        report = self.play.with_name("report.json")
        report.unlink(missing_ok=True)
        done = self.begin(report, *arguments, **variables)
        output, _none = done.communicate(timeout=PLAY_SECONDS)
        told = json.loads(report.read_text()) if report.exists() else {}
        return Outcome(done.returncode, output, told)

    def begin(self, report: Path, *arguments: str, **variables: Any) -> subprocess.Popen[str]:
        given = {
            "management_network_interface": "mig",
            "management_network_names": "none",
            "management_network_verify_throughput_mbit": LIMIT,
            "management_network_verify_latency_avg_ms": 50,
            "management_network_verify_latency_max_ms": 500,
            "management_network_verify_count": 10,
            "management_network_verify_seconds": 1,
            "management_network_verify_report": str(report),
        } | {f"management_network_{name}": value for name, value in variables.items()}
        command = ["ansible-playbook", f"--inventory={self.inventory}", str(self.play)]
        command += [f"--extra-vars={json.dumps(given)}", *arguments]
        return subprocess.Popen(
            self.site.control.argv(*command, net_only=True),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
            cwd=ROOT,
        )

    def listeners(self) -> list[str]:
        """Hosts on which something of iperf3 runs."""
        return [
            name
            for name, machine in self.site.hosts.items()
            if machine.run("pgrep", "--exact", "iperf3", check=False).returncode == 0
        ]


@dataclass(frozen=True)
class Outcome:
    """How a verification ended: the play's status and words, and the report."""

    status: int
    output: str
    report: dict[str, Any]

    def bad(self) -> set[tuple[str, str, str]]:
        """Code and ends of each failure."""
        return {(each["code"], each["from"], each["to"]) for each in self.report["failures"]}

    def failure(self) -> str:
        """The one line with which the play failed."""
        fatal = [line for line in self.output.splitlines() if line.startswith("fatal: ")]
        assert len(fatal) == 1, self.output
        return json.loads(fatal[0].partition("=> ")[2])["msg"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    settings = Settings.create(tmp_path_factory.mktemp("paths"))
    settings.save()
    site = Site(settings, NAMES, [images.userland()])
    try:
        site.start()
        key = ssh.make_key_pair(settings, site.control)
        for machine in site:
            ssh.start(machine, key)
        play = settings.state / "verify.yml"
        play.write_text(PLAY)
        yield Network(site, ssh.write_inventory(site), play)
    finally:
        site.stop()


@pytest.fixture
def network(made: Network) -> Network:
    made.mend()
    return made


def pairs(*ends: tuple[str, str], code: str) -> set[tuple[str, str, str]]:
    """Failures in both directions of these pairs."""
    return {(code, *each) for pair in ends for each in (pair, pair[::-1])}


@pytest.mark.parametrize("mode", [[], ["--check", "--diff"]], ids=["", "check"])
def test_a_network_without_a_fault_has_none(network, mode):
    done = network.verify(*mode)
    assert done.status == 0, done.output
    assert "it went on" in done.output
    assert done.report["ok"] is True
    assert len(done.report["paths"]) == 6
    assert all(path["largest"] == 9000 for path in done.report["paths"])
    assert all(LIMIT < path["throughput_mbit"] < 700 for path in done.report["paths"])
    assert done.output.count("changed=0") == len(NAMES)
    assert network.listeners() == []


def test_a_switch_port_with_a_small_mtu_is_found_and_nothing_else(network):
    network.switch(1500, "cmp-2")
    done = network.verify()
    assert done.status == 2
    assert done.bad() == pairs(("cmp-1", "cmp-2"), ("cmp-2", "cmp-3"), code="mtu")
    words = done.failure()
    assert "cmp-1 <-> cmp-2: packets of 1500 bytes pass, of 9000 they do not" in words
    assert "cmp-2 <-> cmp-3: packets of 1500 bytes pass, of 9000 they do not" in words
    assert "A switch port or NIC on the way has MTU 1500" in words
    assert "Look at cmp-2 first" in words
    assert "cmp-1 <-> cmp-3" not in words
    assert "it went on" not in done.output


def test_a_host_with_a_small_mtu_of_its_own_is_told_so(network):
    network.host("cmp-2").run("ip", "link", "set", "mig", "mtu", "4000")
    done = network.verify(verify_throughput_mbit=0)
    assert done.bad() == {("interface_mtu", "cmp-2", "")} | pairs(
        ("cmp-1", "cmp-2"), ("cmp-2", "cmp-3"), code="mtu"
    )
    assert "Set the MTU of mig of cmp-2 to 9000" in done.failure()
    assert "switch port" not in done.failure()


def test_a_slow_host_is_found_with_its_numbers_and_nothing_else(network):
    network.site.fabric.set_rate(network.host("cmp-3"), f"{SLOW}mbit")
    done = network.verify()
    assert done.status == 2
    assert done.bad() == {("throughput", "cmp-3", "cmp-1"), ("throughput", "cmp-3", "cmp-2")}
    slow = [each for each in done.report["failures"] if each["code"] == "throughput"]
    assert all(0.5 * SLOW < each["figure"] < SLOW and each["limit"] == LIMIT for each in slow)
    for each in slow:
        assert (
            f"cmp-3 -> {each['to']}: {each['figure']:.0f} Mbit/s, {LIMIT} wanted" in done.failure()
        )
    assert "Look at cmp-3 first" in done.failure()


def test_a_host_that_nobody_reaches_is_found(network):
    network.host("cmp-1").run("ip", "link", "set", "mig", "down")
    done = network.verify()
    assert done.bad() == {("down", "cmp-1", "")} | pairs(
        ("cmp-1", "cmp-2"), ("cmp-1", "cmp-3"), code="unreachable"
    )
    assert "cmp-1: mig is down" in done.failure()


def test_a_firewall_in_the_way_of_migrations_is_found(network):
    rules = f"""\
table inet wall {{
    chain in {{
        type filter hook input priority 0
        tcp dport {PORT} drop
    }}
}}
"""
    network.host("cmp-3").run("nft", "-f", "-", input=rules)
    done = network.verify()
    assert done.bad() == pairs(("cmp-1", "cmp-3"), ("cmp-2", "cmp-3"), code="not_measured")
    assert "a firewall drops TCP port" in done.failure()
    assert network.listeners() == []


def test_a_port_that_is_taken_is_told_of(network):
    done = network.verify(verify_port=22)
    assert {code for code, *_ends in done.bad()} == {"not_measured"}
    assert "iperf3 cannot listen at 10.78.0.12 port 22: Address already in use" in done.failure()


def test_names_must_lead_there_and_back(network):
    wrong = {"cmp-1": "10.77.0.11", "cmp-2": "10.78.0.12", "cmp-3": "10.78.0.13"}
    right = wrong | {"cmp-1": "10.78.0.11"}
    for name, machine in network.site.hosts.items():
        kept = machine.path("/etc/hosts").read_text().split("# names\n")[0]
        known = wrong if name == "cmp-3" else right
        lines = [f"{address} {peer}-migration" for peer, address in known.items()]
        machine.write("/etc/hosts", kept + "# names\n" + "\n".join(lines) + "\n")
    done = network.verify(names="hosts_file", verify_throughput_mbit=0)
    assert done.bad() == {("name", "cmp-3", "cmp-1")}
    assert "cmp-1-migration leads to 10.77.0.11, not to 10.78.0.11" in done.failure()


def test_without_iperf3_nothing_is_begun(network):
    machine = network.host("cmp-2")
    machine.run("mv", "/usr/bin/iperf3", "/usr/bin/iperf3.away")
    try:
        done = network.verify()
    finally:
        machine.run("mv", "/usr/bin/iperf3.away", "/usr/bin/iperf3")
    assert done.status == 2
    assert "iperf3 is missing on cmp-2. Install the package iperf3" in done.failure()
    assert done.report == {}


def test_a_host_without_the_interface_is_told_of_and_the_others_are_measured(network):
    interface = "{{ 'nothing0' if inventory_hostname == 'cmp-3' else 'mig' }}"
    done = network.verify(interface=interface)
    assert done.status == 2
    assert done.bad() == {("no_host", "cmp-3", "")}
    assert "cmp-3: interface: 'nothing0' is no interface here" in done.failure()
    good = [path for path in done.report["paths"] if path["throughput_mbit"]]
    assert {(path["from"], path["to"]) for path in good} == {("cmp-1", "cmp-2"), ("cmp-2", "cmp-1")}


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"mtu": 900}, "management_network_mtu: 900 is out of range. Give 1280 to 65535"),
        ({"verify_seconds": 0}, "management_network_verify_seconds: 0 is out of range"),
        ({"verify_hosts": ["cmp-1"]}, "management_network_verify_hosts: ['cmp-1'] makes no pair"),
    ],
)
def test_what_cannot_be_used_is_named(network, variables, named):
    done = network.verify(**variables)
    assert done.status == 2
    assert named in done.output


def test_an_interrupted_verification_leaves_nothing_behind(network):
    report = network.play.with_name("never.json")
    running = network.begin(report, verify_seconds=20)
    deadline = time.monotonic() + PLAY_SECONDS
    while not network.listeners() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert network.listeners()
    running.terminate()
    running.communicate(timeout=60)
    done = network.verify()
    assert done.status == 0, done.output
    assert network.listeners() == []
