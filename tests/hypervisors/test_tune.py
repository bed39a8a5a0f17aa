# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt_migrate_tune and libvirt_migration_info with real migrations between real hypervisors.

On 800 Mbit/s (95 MiB/s) a guest that writes 150 MiB/s over 80 MiB needs a pause of about 0.9 s.
"""

from __future__ import annotations

import time

import pytest

from lab.hypervisors import host
from lab.hypervisors.settings import migration_address
from tests.hypervisors.conftest import Hypervisors, Vm, ended

TUNE, INFO = "libvirt_migrate_tune", "libvirt_migration_info"
STATUS = "/root/.ansible/lowtide/tuning.json"


def wait_for(what, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


def watching(hypervisors: Hypervisors, **options):
    """Start a watch on cmp-1, and return when it holds its files."""
    process = hypervisors.start("cmp-1", TUNE, state="watch", deadline=120, **options)
    wait_for(hypervisors.host("cmp-1").path(STATUS + ".run").exists)
    return process


def job_runs(vm: Vm) -> bool:
    told = vm.hypervisors.host("cmp-1").run("virsh", "domjobinfo", vm.name, check=False).stdout
    return "Iteration:" in told


def pass_number(vm: Vm) -> int:
    told = vm.hypervisors.host("cmp-1").run("virsh", "domjobinfo", vm.name, check=False).stdout
    lines = [line for line in told.splitlines() if line.startswith("Iteration:")]
    return int(lines[0].split()[-1]) if lines else 0


def only(rows):
    (row,) = rows
    return row


def test_a_watch_takes_the_downtime_back_and_tells_how_it_went(hypervisors: Hypervisors, vm: Vm):
    vm.dirty(150, 80)
    watch = watching(hypervisors, guests=[{"id": vm.id, "max_downtime_ms": 100}])
    migration = vm.migrate()
    wait_for(lambda: pass_number(vm) >= 3)
    # As one of Nova's steps; the guest could not go with it either.
    hypervisors.host("cmp-1").run("virsh", "migrate-setmaxdowntime", vm.name, "95")
    time.sleep(2)
    assert migration.poll() is None
    limit = hypervisors.host("cmp-1").run("virsh", "migrate-getmaxdowntime", vm.name).stdout
    assert limit.strip() == "100"
    # What it needs; from now on nobody else may say less.
    stopped = hypervisors.run("cmp-1", TUNE, state="absent")
    assert stopped["changed"]
    row = only(ended(watch)["guests"])
    assert (row["outcome"], row["final"], row["times_overwritten"]) == (
        "running",
        "last_sample",
        {"max_downtime_ms": 1},
    )
    assert row["dirty_rate_mib_s"] > 20
    assert stopped["guests"] == [row]
    second = watching(hypervisors, guests=[{"id": vm.id, "max_downtime_ms": 3000}])
    assert migration.wait(60) == 0
    found = ended(second)
    row = only(found["guests"])
    assert (found["ended_by"], row["outcome"], row["final"]) == ("away", "moved", "completed")
    assert 100 < row["downtime_ms"] <= 3250
    assert row["total_ms"] > 2000
    assert row["iterations"] >= 3
    assert row["bytes"] > 80 << 20
    assert row["block"] is False
    arrived = only(hypervisors.run("cmp-2", INFO, ids=[vm.id])["completed"])
    assert arrived["direction"] == "incoming"
    assert arrived["downtime_ms"] == pytest.approx(row["downtime_ms"], abs=100)


def test_both_sides_of_a_migration_are_told(hypervisors: Hypervisors, vm: Vm):
    vm.dirty(150, 80)
    migration = vm.migrate()
    wait_for(lambda: pass_number(vm) >= 2)
    here, there = (hypervisors.run(name, INFO, ids=[vm.id]) for name in ("cmp-1", "cmp-2"))
    assert [only(each["domains"])["job"] for each in (here, there)] == ["outgoing", "incoming"]
    assert [only(each["domains"])["state"] for each in (here, there)] == ["running", "paused"]
    job = only(here["jobs"])
    assert job["max_downtime_ms"] == 300
    assert job["downtime_ms"] is None
    # A busy machine sends less than the wire carries.
    assert 2 < job["throughput_mib_s"] < 110
    assert there["jobs"] == []
    # Present sets it once, for the migration that runs.
    planned = hypervisors.run("cmp-1", TUNE, "--check", max_downtime_ms=4000)
    assert planned["changed"]
    assert migration.poll() is None
    assert hypervisors.run("cmp-1", TUNE, max_downtime_ms=4000)["changed"]
    assert migration.wait(60) == 0
    assert hypervisors.run("cmp-1", INFO, ids=[vm.id])["domains"] == []


def test_an_aborted_migration_leaves_its_guest_here(hypervisors: Hypervisors, vm: Vm):
    vm.dirty(150, 80)
    watch = watching(hypervisors, max_downtime_ms=50, bandwidth_mib_s=30)
    migration = vm.migrate()
    wait_for(lambda: job_runs(vm))
    time.sleep(2)
    hypervisors.host("cmp-1").run("virsh", "domjobabort", vm.name)
    assert migration.wait(30) != 0
    time.sleep(1)
    hypervisors.run("cmp-1", TUNE, state="absent")
    row = only(ended(watch)["guests"])
    assert (row["outcome"], row["ended"], row["downtime_ms"]) == ("stayed", False, None)
    assert row["applied"] == {"max_downtime_ms": 50, "bandwidth_mib_s": 30}
    assert row["throughput_mib_s"] < 45


def test_once_is_once(hypervisors: Hypervisors, vm: Vm):
    wanted = {"guests": [{"name": vm.name, "bandwidth_mib_s": 40, "post_copy_bandwidth_mib_s": 50}]}
    assert hypervisors.run("cmp-1", TUNE, **wanted)["changed"]
    assert not hypervisors.run("cmp-1", TUNE, **wanted)["changed"]
    speeds = [
        hypervisors.host("cmp-1").run("virsh", "migrate-getspeed", vm.name, *which).stdout.strip()
        for which in ([], ["--postcopy"])
    ]
    assert speeds == ["40", "50"]


def test_after_post_copy_no_downtime_is_made_up(hypervisors: Hypervisors, vm: Vm):
    vm.dirty(150, 80)
    watch = watching(hypervisors, guests=[{"id": vm.id}])
    assert vm.migrate("--postcopy", "--timeout", "3", "--timeout-postcopy").wait(60) == 0
    row = only(ended(watch)["guests"])
    assert (row["outcome"], row["final"], row["downtime_ms"]) == ("moved", "completed", None)
    assert row["post_copy_requests"] > 0


def test_a_restart_of_libvirt_is_survived(hypervisors: Hypervisors, vm: Vm):
    first = hypervisors.host("cmp-1")
    watch = watching(hypervisors, guests=[{"id": vm.id, "max_downtime_ms": 500}])
    first.stop_service("libvirtd")
    time.sleep(1)
    host.start_libvirt(first, migration_address(1))
    time.sleep(1)
    assert vm.migrate().wait(60) == 0
    found = ended(watch)
    row = only(found["guests"])
    assert found["interruptions"] > 0
    assert (row["outcome"], row["final"]) == ("moved", "completed")


def test_a_dirty_rate_is_measured_before_anything_moves(hypervisors: Hypervisors, vm: Vm):
    vm.dirty(100, 64)
    found = hypervisors.run("cmp-1", INFO, ids=[vm.id], dirty_rate_seconds=1)
    # Each page of the working set is counted once.
    assert 40 <= only(found["domains"])["dirty_rate_mib_s"] <= 90


def test_files_without_a_domain_are_leftovers(hypervisors: Hypervisors, vm: Vm):
    other = "5f0c1d0e-6c6b-4e0e-9a57-0f3f6f3d9a41"
    for name in (vm.id, other):
        hypervisors.host("cmp-1").mkdir(f"/var/lib/nova/instances/{name}")
    found = hypervisors.run("cmp-1", INFO)
    assert (found["leftovers"], found["instances_shared"]) == ([other], False)


def test_without_a_daemon_the_remedy_is_told(hypervisors: Hypervisors):
    found = hypervisors.run("cmp-1", INFO, uri="qemu+unix:///system?socket=/nowhere")
    assert (found["failed"], found["code"]) == (True, "unreachable")
    assert "libvirtd or virtqemud" in found["msg"]
