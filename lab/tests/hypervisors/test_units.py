# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd runs on the hosts, and that the lab knows it whoever starts it again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from lab.backend import LabError
from lab.hypervisors import host
from lab.hypervisors.machine import Machine
from lab.hypervisors.site import Site

UNIT = """\
[Service]
ExecStart=/bin/bash -c 'echo hello; exec sleep 1000'
ExecReload=/bin/kill -HUP $MAINPID
Restart=no
StandardOutput=append:/var/log/lab/napper.log
"""


@pytest.fixture
def machine(site: Site) -> Machine:
    """A host with a unit that sleeps."""
    found = site.hosts["cmp-1"]
    found.write("/etc/systemd/system/napper.service", UNIT)
    found.systemctl("daemon-reload")
    return found


def test_a_host_boots_with_nothing_failed(site: Site) -> None:
    for machine in site.hosts.values():
        assert machine.systemctl("is-system-running").stdout == "running\n"
        assert machine.run("cat", "/proc/1/comm").stdout == "systemd\n"
    assert site.control.run("cat", "/proc/1/comm").stdout == "bash\n"


def test_a_unit_is_known_after_a_restart_from_inside(machine: Machine) -> None:
    first = machine.start_unit("napper", "napper.service")
    assert Path(f"/proc/{first}/comm").read_text() == "sleep\n"
    machine.systemctl("restart", "napper")
    second = machine.service_pid("napper")
    assert second not in (None, first)
    assert not Path(f"/proc/{first}").exists()
    assert "napper" in machine.services()
    assert machine.log_path("napper").read_text() == "hello\nhello\n"
    assert machine.stop_service("napper")
    assert machine.service_pid("napper") is None


def test_a_crash_stays_a_crash(machine: Machine) -> None:
    machine.start_unit("napper", "napper.service")
    assert machine.stop_service("napper", signal.SIGKILL)
    assert machine.systemctl("is-active", "napper", check=False).stdout == "failed\n"
    assert machine.service_pid("napper") is None
    machine.start_unit("napper", "napper.service")
    assert machine.service_pid("napper") is not None


def test_a_unit_that_does_not_start_is_named_with_its_last_words(machine: Machine) -> None:
    machine.write("/etc/systemd/system/broken.service", "[Service]\nExecStart=/bin/nowhere\n")
    machine.systemctl("daemon-reload")
    with pytest.raises(LabError, match=r"cmp-1: broken.service does not start: .*No such file"):
        machine.start_unit("broken", "broken.service")
    machine.systemctl("reset-failed")


def test_libvirt_stops_until_it_is_started_and_keeps_its_files(hypervisors: Site) -> None:
    machine = hypervisors.hosts["cmp-2"]
    assert "libvirtd-tcp.socket" in machine.systemctl("list-sockets").stdout
    assert machine.stop_service(host.LIBVIRT)
    # Its sockets would start it again.
    assert machine.run("virsh", "list", check=False).returncode != 0
    machine.write("/etc/libvirt/libvirtd.conf", 'auth_unix_rw = "none"\nmax_clients = 77\n')
    host.start_libvirt(machine, "10.78.0.12")
    assert "max_clients = 77" in machine.run("cat", "/etc/libvirt/libvirtd.conf").stdout
    shown = machine.run("virt-admin", "server-clients-info", "libvirtd").stdout
    assert shown.split("nclients_max")[1].split()[1] == "77"
    assert machine.run("virsh", "list").returncode == 0


def test_libvirt_listens_where_the_host_says_after_a_power_cut(hypervisors: Site) -> None:
    machine = hypervisors.hosts["cmp-2"]
    machine.systemctl("disable", "--now", "--quiet", "libvirtd-tcp.socket")
    machine.stop()
    machine.start()
    host.start_libvirt(machine, "10.78.0.12")
    assert machine.run("virsh", "list").returncode == 0
    assert "16509" not in machine.run("ss", "-ltn").stdout


def test_units_are_forgotten_with_the_power(machine: Machine) -> None:
    machine.start_unit("napper", "napper.service")
    machine.stop()
    assert machine.service_pid("napper") is None
    machine.start()
    assert "napper" not in machine.services()
