# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What converge left behind is in force: in nova-compute, and in the next migration."""

from __future__ import annotations

import configparser

import pytest
from conftest import PATH, lab

HOSTS = ("cmp-1", "cmp-2")


def said(machine):
    parser = configparser.RawConfigParser(default_section="")
    parser.read_string(machine.file(PATH).content_string)
    return {group: dict(parser[group]) for group in parser.sections()}


@pytest.mark.parametrize("name", HOSTS)
def test_the_drop_in_says_the_profile_of_10_gigabit(machines, addresses, name):
    options = said(machines[name])
    assert options["DEFAULT"]["max_concurrent_live_migrations"] == "2"
    libvirt = options["libvirt"]
    assert libvirt["live_migration_bandwidth"] == "417"
    assert libvirt["live_migration_inbound_addr"] == addresses[name]
    steps, delay = (int(libvirt[f"live_migration_downtime_{each}"]) for each in ("steps", "delay"))
    assert int(libvirt["live_migration_completion_timeout"]) > steps * delay


@pytest.mark.parametrize("name", HOSTS)
def test_others_may_not_write_it_and_nova_may_read_it(machines, name):
    theirs, ours = machines[name].file("/etc/nova/nova.conf"), machines[name].file(PATH)
    assert (ours.user, ours.group, ours.mode) == (theirs.user, theirs.group, theirs.mode)


@pytest.mark.parametrize("name", HOSTS)
def test_nova_compute_runs_and_nova_takes_it_for_up(machines, cloud, name):
    assert machines[name].service("nova-compute").is_running
    service = next(cloud.sdk.compute.services(host=name, binary="nova-compute"))
    assert (service.status, service.state) == ("enabled", "up")


def test_a_unit_that_reads_the_directory_last_stays_as_it_is(machines):
    assert not machines["cmp-1"].file("/etc/systemd/system/nova-compute.service.d").exists


def test_a_unit_that_names_files_reads_the_directory_after_them(machines, pid):
    told = machines["cmp-2"].file(f"/proc/{pid('cmp-2')}/cmdline").content_string.split("\0")
    assert told[-3:-1] == ["--config-dir", "/etc/nova/nova.conf.d"]
    assert "--config-file=/etc/nova/nova-compute.conf" in told
    assert "--log-file=/var/log/nova/nova-compute.log" in told


@pytest.mark.parametrize(("source", "target"), [HOSTS, HOSTS[::-1]])
def test_libvirt_has_them_in_the_next_migration(moving, machines, domain, source, target):
    with moving("busy-01", source, target):
        name = domain("busy-01")
        assert machines[source].check_output(f"virsh migrate-getspeed {name}") == "417"
        # The first of five steps to 500 ms; Nova's own first step is of 50 ms.
        assert machines[source].check_output(f"virsh migrate-getmaxdowntime {name}") == "100"


def test_two_leave_at_a_time(moving, machines, domain, cloud):
    with moving("busy-01", "cmp-1", "cmp-2"), moving("busy-02", "cmp-1", "cmp-2"):
        states = machines["cmp-1"].check_output(
            "for name in %s %s; do virsh domjobinfo $name; done",
            domain("busy-01"),
            domain("busy-02"),
        )
        assert states.count("Outgoing migration") == 2
        lab("rate", "off")
