# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each manager has set up the migration network, and check mode leaves it alone."""

from __future__ import annotations

import json

import pytest

OWN = {
    "cmp-1": "/etc/NetworkManager/system-connections/lowtide-migration.nmconnection",
    "cmp-2": "/etc/systemd/network/05-lowtide-migration.network",
    "cmp-3": "/etc/netplan/90-lowtide-migration.yaml",
}
BAD = {"management_network_mtu": 100, "management_network_firewall_ports": ["x"]}


def test_the_address_and_the_mtu_are_there(machine, name):
    (row,) = json.loads(machine.check_output("ip -json address show dev mig"))
    addresses = [each["local"] for each in row["addr_info"] if each["family"] == "inet"]
    assert addresses == [f"10.78.0.1{name[-1]}"]
    assert row["mtu"] == 9000
    assert "UP" in row["flags"]


def test_each_manager_has_its_own_file_and_only_that(machine, name):
    found = machine.check_output(
        "find /etc/NetworkManager /etc/systemd/network /etc/netplan -name '*lowtide-migration*'"
    ).split()
    assert [path for path in found if not path.endswith(".link")] == [OWN[name]]


def test_names_lead_to_the_migration_network_and_back(machine):
    for number in (1, 2, 3):
        address, peer = f"10.78.0.1{number}", f"cmp-{number}-migration"
        assert machine.check_output(f"getent hosts {peer}").split() == [address, peer]
        assert machine.check_output(f"getent hosts {address}").split() == [address, peer]


def test_a_jumbo_frame_reaches_every_peer(machine):
    for number in (1, 2, 3):
        machine.check_output(f"ping -c 1 -W 2 -M do -s 8972 10.78.0.1{number}")


def test_the_kernel_has_its_buffers(machine):
    sizes = machine.check_output("sysctl -n net.ipv4.tcp_wmem").split()
    assert sizes == ["4096", "65536", "33554432"]


def test_the_nic_has_its_offloads_now_and_at_the_next_start(machine):
    assert "generic-receive-offload: on" in machine.check_output("ethtool -k mig")
    link = machine.file("/etc/systemd/network/05-lowtide-migration-mig.link")
    assert "GenericReceiveOffload=yes" in link.content_string


def test_the_timer_is_gone(machine):
    assert "lowtide" not in machine.check_output("systemctl list-units --all --plain --no-legend")


def test_a_run_on_one_host_forgets_none_of_the_others(play):
    status, output = play("converge.yml", "--limit=cmp-2")
    assert status == 0, output
    assert output.count("changed=0") == 1


def test_check_mode_shows_what_it_would_do_and_writes_nothing(play, seen):
    was = seen()
    status, output = play("converge.yml", "--check", "--diff", "-e", "management_network_mtu=8000")
    assert status == 0, output
    assert output.count("now: mig has MTU 9000, not 8000") == 3
    for line in ("+MTUBytes=8000", "+ mtu: 8000", "802-3-ethernet.mtu"):
        assert line in output, output
    assert seen() == was


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (BAD, ["_mtu: 100 is out of range", "_firewall_ports: 'x' is no port"]),
        ({"management_network_mtu": "big"}, ["management_network_mtu", "'big'"]),
        ({"management_network_manager": "ifupdown"}, ["management_network_manager"]),
        ({"management_network_interface": "nope"}, ["_interface: 'nope' does not exist"]),
        (
            {
                "management_network_interface": "mgmt",
                "management_network_address": "10.79.0.1/24",
                "management_network_names": "none",
            },
            ["_interface: 'mgmt' carries Ansible's own connection to this host"],
        ),
        (
            {"management_network_interface": "ten"},
            ["_address:", "is in the network of mig"],
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(play, seen, values, words):
    was = seen()
    status, output = play("converge.yml", "-e", json.dumps(values))
    assert status == 2, output
    for word in words:
        assert word in output, output
    assert "changed=0" in output
    assert not any(f"changed={number}" in output for number in range(1, 9))
    assert seen() == was
