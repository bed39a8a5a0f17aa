# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change that cuts a host off is taken back by the host itself; a revert takes all back."""

from __future__ import annotations

import pytest

GAVE_UP = "the change of its network did not work out, and"
BY_ITSELF = f"{GAVE_UP} the host restored what it had by itself, because nobody came back in time."


def test_a_host_that_is_cut_off_restores_itself_to_the_byte(play, seen):
    was = seen()
    status, output = play("cut_off.yml")
    assert status == 2, output
    for name in was:
        assert f"{name}: {BY_ITSELF}" in output, output
    assert seen() == was


def test_a_second_run_after_that_finds_nothing_to_do(play):
    status, output = play("converge.yml")
    assert status == 0, output
    assert output.count("changed=0") == 3


@pytest.fixture(scope="module")
def reverted(play, seen):
    """Revert everywhere, tell what is there then, and configure again at the end."""
    status, output = play("revert.yml")
    assert status == 0, output
    yield seen()
    status, output = play("converge.yml")
    assert status == 0, output


def test_a_revert_restores_everything_to_the_byte(reverted, name, before, machine):
    assert reverted[name]["running"] == before[name]["running"]
    assert reverted[name]["etc"] == before[name]["etc"]
    assert not machine.file("/var/lib/lowtide/management_network").exists


@pytest.mark.usefixtures("reverted")
def test_nothing_is_reverted_twice(play):
    status, output = play("revert.yml")
    assert status == 0, output
    assert output.count("changed=0") == 3
    assert "This role has left nothing on this host" in output


@pytest.mark.usefixtures("reverted")
@pytest.mark.parametrize(
    ("playbook", "probe"), [("vlan.yml", "link lo name"), ("bond.yml", "name")]
)
def test_layers_work_or_leave_no_trace(play, seen, machines, playbook, probe):
    """Where this kernel has no VLANs or bonds, the manager's failure is taken back."""
    kind = "vlan id 7" if playbook == "vlan.yml" else "bond"
    offered = machines["cmp-2"].run(f"ip link add {probe} probe type {kind} && ip link del probe")
    play("spare.yml")
    was = seen()
    status, output = play(playbook)
    if offered.rc == 0:
        assert status == 0, output
        status, output = play(playbook)
        assert (status, output.count("changed=0")) == (0, 3), output
        status, output = play("revert.yml")
        assert status == 0, output
    else:
        assert status == 2, output
        assert output.count(f"{GAVE_UP} ") >= 3, output
    assert seen() == was


def test_what_others_wrote_since_survives_a_revert(play, machines):
    status, output = play("converge.yml")
    assert status == 0, output
    for machine in machines.values():
        machine.check_output("echo 192.0.2.99 theirs >> /etc/hosts")
    try:
        status, output = play("revert.yml")
        assert status == 0, output
        for machine in machines.values():
            text = machine.file("/etc/hosts").content_string
            assert "192.0.2.99 theirs" in text
            assert "lowtide" not in text
            assert "-migration" not in text
    finally:
        for machine in machines.values():
            machine.check_output("sed -i /192.0.2.99/d /etc/hosts")
