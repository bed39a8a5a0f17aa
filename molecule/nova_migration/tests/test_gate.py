# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nova-compute is restarted when it must be and nothing moves; what it can read it reads."""

from __future__ import annotations

from conftest import PATH

SOON = {"restart_wait_s": 4, "restart_poll_s": 2}
FAIL = "Apply | Fail rather than restart it under a migration"
RESTART = "Restart | Restart it unless a migration has begun"


def value(machine, option):
    return machine.check_output("sed -n 's/^%s = //p' %s", option, PATH)


def test_it_is_not_restarted_while_a_guest_leaves_or_arrives(
    moving, play, pid, machines, cloud, domain
):
    assert play("converge.yml", limit="compute").status == 0
    before = {name: pid(name) for name in machines}
    with moving("busy-01", "cmp-1", "cmp-2"):
        done = play("converge.yml", limit="compute", link_share=0.5, **SOON)
        for name in machines:
            assert FAIL in done.tasks[name], (done.why, sorted(done.tasks[name]))
            said = done.tasks[name][FAIL]["msg"]
            assert cloud.guest("busy-01").id in said
            assert "libvirt.live_migration_bandwidth" in said
            # What it will know is written.
            assert value(machines[name], "live_migration_bandwidth") == "298"
        going_on = play("converge.yml", link_share=0.5, restart="pending_ok", **SOON)
        assert (going_on.status, going_on.changed("cmp-1")) == (0, 0), going_on.why
        assert {name: pid(name) for name in machines} == before
        job = machines["cmp-1"].check_output(f"virsh domjobinfo {domain('busy-01')}")
        assert "Outgoing migration" in job

    # Nothing is written any more, and the restart is still known to be due.
    done = play("converge.yml", limit="compute", link_share=0.5)
    assert done.status == 0, done.why
    for name in machines:
        assert done.tasks[name][RESTART]["changed"] is True
        assert pid(name) != before[name]
    again = play("converge.yml", limit="compute", link_share=0.5)
    assert again.status == 0, again.why
    assert [again.changed(name) for name in machines] == [0, 0]


def test_whoever_restarts_it_settles_what_was_pending(play, pid, machines):
    done = play("converge.yml", link_share=0.6, restart="never")
    assert done.status == 0, done.why
    before = pid("cmp-1")
    machines["cmp-1"].check_output("systemctl restart nova-compute")
    restarted = pid("cmp-1")
    assert restarted != before
    again = play("converge.yml", link_share=0.6)
    assert (again.status, again.changed("cmp-1")) == (0, 0), again.why
    assert pid("cmp-1") == restarted


def test_a_migration_that_runs_heeds_the_mutable_options(moving, play, pid, cloud, machines):
    """On eventlet, SIGHUP has it read them: the migration is aborted by a new timeout."""
    assert play("converge.yml", limit="cmp-2").status == 0
    before = pid("cmp-2")
    with moving("other", "cmp-2", "cmp-1"):
        done = play(
            "converge.yml",
            limit="cmp-2",
            completion_timeout_s_per_gib=16,
        )
        assert done.status == 0, done.why
        told = done.tasks["cmp-2"]["Apply | Have it read its mutable options"]
        assert told["changed"] is True
        assert RESTART not in done.tasks["cmp-2"]
        assert pid("cmp-2") == before
        log = machines["cmp-2"].file("/var/log/nova/nova-compute.log").content_string
        assert "Option libvirt.live_migration_completion_timeout changed from [600] to [16]" in log
        # 2 GiB at least, so 32 seconds; with the 1200 of before it would still run.
        cloud.wait(lambda: not cloud.running("other"), 60)
    assert cloud.guest("other").compute_host == "cmp-2"
    cloud.home("other", "cmp-2")
    assert pid("cmp-2") == before


def test_a_nova_compute_of_threads_gets_no_sighup(play, pid, machines):
    """It would end by it: they wait for a restart there, as all others do."""
    assert play("converge.yml").status == 0
    before = pid("cmp-1")
    done = play("converge.yml", timeout_action="force_complete", restart="never")
    assert done.status == 0, done.why
    assert value(machines["cmp-1"], "live_migration_timeout_action") == "force_complete"
    assert pid("cmp-1") == before
    now = play("converge.yml", timeout_action="force_complete")
    assert now.tasks["cmp-1"][RESTART]["changed"] is True
    assert pid("cmp-1") != before
    assert play("converge.yml").status == 0
