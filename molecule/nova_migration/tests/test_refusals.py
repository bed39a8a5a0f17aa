# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad values are refused by their variables' names, all at once, before anything is written."""

from __future__ import annotations

import pytest
from conftest import SUM

#: What the specification of the role refuses.
MISTYPED = {
    "layout": "snap",
    "link_gbit_s": "fast",
    "link_share": "half",
    "concurrent": "two",
    "bandwidth_mib_s": "1G",
    "scheme": "udp",
    "downtime_ms": "short",
    "downtime_steps": "few",
    "downtime_delay_s": "3s",
    "completion_timeout_s_per_gib": "never",
    "timeout_action": "kill",
    "permit_post_copy": "perhaps",
    "permit_auto_converge": "perhaps",
    "parallel_connections": "many",
    "native_tls": "perhaps",
    "tunnelled": "perhaps",
    "monitor_interval_s": "often",
    "rpc_response_timeout_s": "long",
    "vif_plugging_timeout_s": "long",
    "shutdown_timeout_s": "long",
    "resume_guests_state_on_host_boot": "perhaps",
    "enable_qemu_monitor_announce_self": "perhaps",
    "skip_cpu_compare_on_dest": "perhaps",
    "options": "cpu_mode",
    "restart": "now",
    "restart_wait_s": "long",
    "restart_poll_s": "often",
    "settle_s": "long",
    "ask_nova": "perhaps",
}
#: What Nova would not start with, or what would hurt.
WRONG = {
    "link_gbit_s": 0,
    "link_share": 1.5,
    "concurrent": 0,
    "bandwidth_mib_s": -1,
    "inbound_addr": "192.0.2.99",
    "cold_inbound_addr": "192.0.2.98",
    "downtime_ms": 50,
    "downtime_steps": 1,
    "downtime_delay_s": 1,
    "completion_timeout_s_per_gib": -5,
    "parallel_connections": 0,
    "tunnelled": True,
    "monitor_interval_s": 0,
    "rpc_response_timeout_s": 0,
    "vif_plugging_timeout_s": -1,
    "shutdown_timeout_s": -1,
    "vnc_server_listen": "not an address",
    "options": {"libvirt": {"num_pcie_ports": "few", "live_migration_downtime": "soon"}},
}


@pytest.fixture(scope="module")
def refused(play, machines):
    """What each of both lists gets as an answer; nothing may be written."""
    before = machines["cmp-1"].check_output(SUM)
    answers = {}
    for kind, given in (("mistyped", MISTYPED), ("wrong", WRONG)):
        done = play("converge.yml", **given)
        assert done.status != 0, done.why
        answers[kind] = done.failure("cmp-1")
        assert machines["cmp-1"].check_output(SUM) == before
    return answers


@pytest.mark.parametrize("name", MISTYPED)
def test_a_value_of_the_wrong_type_is_refused_by_name(refused, name):
    assert f"nova_migration_{name}" in refused["mistyped"]


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_value_that_would_not_do_is_refused_by_name(refused, name):
    assert f"nova_migration_{name}" in refused["wrong"]


def test_parallel_connections_with_post_copy_are_refused_on_this_qemu(play):
    done = play("converge.yml", parallel_connections=2, permit_post_copy=True)
    assert done.status != 0
    assert "10.1" in done.failure("cmp-1")
    assert "nova_migration_parallel_connections" in done.failure("cmp-1")


def test_a_release_that_is_none_is_refused(play):
    done = play("converge.yml", release="2199.9x")
    assert done.status != 0
    assert "release" in done.failure("cmp-1")


def test_check_mode_writes_nothing_and_says_what_it_would(play, machines, pid):
    before = machines["cmp-1"].check_output(SUM), pid("cmp-1")
    done = play("converge.yml", "--check", "--diff", link_share=0.3)
    assert done.status == 0, done.why
    assert done.changed("cmp-1") > 0
    assert "live_migration_bandwidth = 178" in done.text
    assert "would be restarted" in done.text
    assert (machines["cmp-1"].check_output(SUM), pid("cmp-1")) == before


def test_a_file_that_nova_refuses_is_put_back(play, machines, pid):
    """Nova's definitions judge what the role does not know: it gets as far as the validator."""
    before = machines["cmp-1"].check_output(SUM), pid("cmp-1")
    done = play("converge.yml", options={"libvirt": {"images_type": "stone"}})
    assert done.status != 0, done.why
    assert "images_type" in done.failure("cmp-1")
    assert (machines["cmp-1"].check_output(SUM), pid("cmp-1")) == before
    again = play("converge.yml")
    assert (again.status, again.changed("cmp-1")) == (0, 0), again.why
