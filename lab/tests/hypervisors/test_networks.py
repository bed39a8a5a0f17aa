# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labs without a cloud, whose hosts set up the migration network with managers of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from lab.backend import LabError
from lab.hypervisors.backend import HypervisorBackend
from lab.hypervisors.machine import Machine
from lab.hypervisors.settings import Settings

SCENARIO = """\
---
name: bare
cloud: false
migration_network: bare
migration_link_gbit_s: 1
hosts:
  - {name: cmp-1, network_manager: networkmanager}
  - {name: cmp-2, network_manager: networkd}
  - {name: cmp-3, network_manager: netplan}
"""
CONNECTION = """\
[connection]
id=migration
type=ethernet
interface-name=mig

[ethernet]
mtu=9000

[ipv4]
method=manual
address1=10.78.0.11/24
"""
NETWORK = """\
[Match]
Name=mig

[Link]
MTUBytes=9000

[Network]
Address=10.78.0.12/24
"""
NETPLAN = """\
network:
  version: 2
  ethernets:
    mig: {mtu: 9000, addresses: [10.78.0.13/24]}
"""
MANAGERS = {"cmp-1": "NetworkManager", "cmp-2": "systemd-networkd", "cmp-3": "systemd-networkd"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HypervisorBackend]:
    """Three hosts, each with another manager."""
    directory = tmp_path_factory.mktemp("bare")
    scenario = directory / "bare.yml"
    scenario.write_text(SCENARIO)
    backend = HypervisorBackend(Settings.create(directory / "lab"), print)
    backend.up(scenario, restart=False)
    try:
        yield backend
    finally:
        backend.down()


def test_there_are_machines_with_libvirt_and_no_cloud(lab: HypervisorBackend) -> None:
    status = lab.status()
    assert status["running"]
    running = {(entry["machine"], entry["service"]) for entry in status["services"]}
    assert {(name, "libvirtd") for name in MANAGERS} <= running
    assert {service for machine, service in running if machine == "ctl"} == {"sshd"}
    assert "nova-compute" not in {service for _machine, service in running}
    assert not lab.settings.clouds_file.exists()
    with pytest.raises(LabError, match=r"crash: the lab in .* has no OpenStack"):
        lab.crash("cmp-1", "now", "compute")


def test_the_migration_network_is_left_to_the_hosts(lab: HypervisorBackend) -> None:
    for name, machine in lab.site.hosts.items():
        assert addresses(machine, "mig") == []
        assert addresses(machine, "mgmt") == [f"{machine.address}/24"]
        # Nor do guests arrive there, as long as nobody has set it up.
        said = machine.path("/etc/libvirt/qemu.conf").read_text()
        assert f'migration_host = "{machine.address}"' in said
        assert machine.service_pid(MANAGERS[name]) is not None
        assert machine.systemctl("is-system-running").stdout == "running\n"


def test_each_manager_sets_its_host_up(lab: HypervisorBackend) -> None:
    hosts = lab.site.hosts
    path = "/etc/NetworkManager/system-connections/migration.nmconnection"
    hosts["cmp-1"].write(path, CONNECTION, mode=0o600)
    hosts["cmp-1"].run("nmcli", "connection", "reload")
    hosts["cmp-1"].run("nmcli", "connection", "up", "migration")
    hosts["cmp-2"].write("/etc/systemd/network/50-mig.network", NETWORK)
    hosts["cmp-2"].run("networkctl", "reload")
    hosts["cmp-3"].write("/etc/netplan/50-mig.yaml", NETPLAN, mode=0o600)
    hosts["cmp-3"].run("netplan", "apply")
    for number, machine in enumerate(hosts.values(), 1):
        eventually(lambda machine=machine: addresses(machine, "mig") != [])
        assert addresses(machine, "mig") == [f"10.78.0.1{number}/24"]
        assert addresses(machine, "mgmt") == [f"{machine.address}/24"]
    for address in ("10.78.0.12", "10.78.0.13"):
        eventually(lambda address=address: passes(hosts["cmp-1"], address))


def test_what_was_set_up_outlives_a_power_cut(lab: HypervisorBackend) -> None:
    hardware = [hardware_address(machine) for machine in lab.site.hosts.values()]
    for name in lab.site.hosts:
        lab.crash(name, "now", "power")
        lab.start(name)
    for number, machine in enumerate(lab.site.hosts.values(), 1):
        eventually(lambda machine=machine: addresses(machine, "mig") != [])
        assert addresses(machine, "mig") == [f"10.78.0.1{number}/24"]
        assert "tbf" in machine.run("tc", "qdisc", "show", "dev", "mig").stdout
    assert [hardware_address(machine) for machine in lab.site.hosts.values()] == hardware
    eventually(lambda: passes(lab.site.hosts["cmp-1"], "10.78.0.13"))


def test_the_mtu_of_one_port_is_one_hosts_affair(lab: HypervisorBackend) -> None:
    first = lab.site.hosts["cmp-1"]
    lab.set_mtu(1500, ["cmp-2"])
    assert not passes(first, "10.78.0.12")
    assert passes(first, "10.78.0.13")
    lab.set_mtu(9000, [])
    eventually(lambda: passes(first, "10.78.0.12"))
    with pytest.raises(LabError, match="cmp-9: no such host"):
        lab.set_mtu(1500, ["cmp-9"])


def test_a_firewall_of_the_hosts_own_is_in_force(lab: HypervisorBackend) -> None:
    first, second = lab.site.hosts["cmp-1"], lab.site.hosts["cmp-2"]
    second.systemctl("start", "firewalld")
    second.spawn("listener", "iperf3", "--server", "--port", "4713")
    attempt = ("timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/10.78.0.12/4713")
    # It says that it has started before its rules are there.
    eventually(lambda: first.run(*attempt, check=False).returncode != 0)
    second.run("firewall-cmd", "--add-port=4713/tcp")
    eventually(lambda: first.run(*attempt, check=False).returncode == 0)
    second.systemctl("stop", "firewalld")


def addresses(machine: Machine, interface: str) -> list[str]:
    """IPv4 addresses of an interface, with their prefixes."""
    shown = machine.run("ip", "-brief", "-4", "address", "show", interface).stdout.split()
    return [word for word in shown if "/" in word]


def hardware_address(machine: Machine) -> str:
    """What the migration interface is known by on its network."""
    return machine.run("cat", "/sys/class/net/mig/address").stdout


def passes(machine: Machine, address: str) -> bool:
    """Whether packets of 9000 bytes come and go unfragmented."""
    command = ("ping", "-c2", "-i0.2", "-W1", "-Mdo", "-s8972", address)
    return machine.run(*command, check=False).returncode == 0


def eventually(holds: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait until something holds; fail when it does not."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
