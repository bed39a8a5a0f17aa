# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What libvirt_migration_info tells of a hypervisor, and what it does not disturb."""

from __future__ import annotations

import json

import pytest
import yaml

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    MissingLibrary,
    Unreachable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import (
    hypervisor,
    instances,
)
from ansible_collections.lowtide.compute.plugins.modules import libvirt_migration_info as module
from tests.unit import fake_libvirt
from tests.unit.fake_libvirt import MIB, FakeLibvirt, Guest

A, B, C = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abc")


@pytest.fixture
def library(monkeypatch):
    library = FakeLibvirt(Guest(A, "instance-1"), Guest(B, "instance-2"))
    monkeypatch.setattr(hypervisor, "libvirt", library)
    return library


@pytest.fixture
def ask(library, tmp_path):
    """``ask(**options)``: the module's result, with its warnings in ``warned``."""

    def run(**given):
        options = {name: spec.get("default") for name, spec in module.SPEC.items()}
        task = fake_libvirt.task(library, **options | {"instances_path": str(tmp_path)} | given)
        return module.handle(task) | {"warned": task.warned}

    return run


def by_id(rows):
    return {row["id"]: row for row in rows}


def test_domains_with_their_states(library, ask):
    library.guests[B].state = fake_libvirt.SHUTOFF
    found = ask()
    assert [(row["name"], row["state"], row["job"]) for row in found["domains"]] == [
        ("instance-1", "running", "none"),
        ("instance-2", "shutdown", "none"),
    ]
    assert found["changed"] is False
    assert found["msg"] == "2 domains, 0 migrations out, 0 in, 0 leftovers"


@pytest.mark.parametrize(
    ("number", "word"),
    list(enumerate("nostate running running paused shutdown shutdown crashed suspended".split())),
)
def test_states_are_novas_words(library, ask, number, word):
    library.guests[A].state = number
    assert by_id(ask()["domains"])[A]["state"] == word


def test_a_migration_that_leaves_has_live_figures(library, ask):
    library.migrate(A, memory=1000 * MIB, dirty=300)
    library.advance(4)
    found = ask()
    (job,) = found["jobs"]
    assert by_id(found["domains"])[A]["job"] == "outgoing"
    assert (job["id"], job["direction"], job["max_downtime_ms"]) == (A, "outgoing", 300)
    assert job["total_ms"] == 4000
    assert job["bytes"] == pytest.approx(400 * MIB, rel=0.01)
    assert job["throughput_mib_s"] == 100.0
    assert job["downtime_ms"] is None
    assert job["expected_downtime_ms"] == pytest.approx(1280, rel=0.01)
    assert job["block"] is False


def test_a_migration_that_arrives_is_told_as_such(library, ask):
    library.guests[A].incoming = True
    library.guests[A].state = fake_libvirt.PAUSED
    found = ask()
    assert by_id(found["domains"])[A] == {
        "id": A,
        "name": "instance-1",
        "state": "paused",
        "job": "incoming",
        "dirty_rate_mib_s": None,
    }
    assert found["jobs"] == []


def test_another_job_is_no_migration(library, ask):
    backup = 9
    library.migrate(A, operation=backup)
    assert by_id(ask()["domains"])[A]["job"] == "none"


def test_a_completed_migration_is_read_and_kept_for_nova(library, ask):
    stats = {"type": 3, "operation": 4, "time_elapsed": 5000, "downtime": 120, "disk_total": 0}
    library.guests[A].completed = stats
    for _time in range(2):
        (row,) = ask()["completed"]
        assert (row["id"], row["direction"]) == (A, "incoming")
        assert (row["total_ms"], row["downtime_ms"]) == (5000, 120)
        # libvirt tells a destination of no disks, even when they were copied.
        assert (row["block"], row["disk_bytes"]) == (None, None)
    assert library.guests[A].completed is stats


def test_a_source_that_kept_its_domain_knows_of_disks(library, ask):
    stats = {"type": 3, "operation": 5, "disk_total": 9, "disk_processed": 9}
    library.guests[A].completed = stats
    (row,) = ask()["completed"]
    assert (row["direction"], row["block"], row["disk_bytes"]) == ("outgoing", True, 9)


def test_a_completed_backup_is_no_migration(library, ask):
    library.guests[A].completed = {"type": 3, "operation": 9}
    assert ask()["completed"] == []


def test_it_only_reads(library, ask):
    library.migrate(A)
    ask()
    assert [connection.read_only for connection in library.connections] == [True]


def test_only_the_guests_that_are_asked_for(library, ask, tmp_path):
    for guest_id in (A, C):
        (tmp_path / guest_id).mkdir()
    found = ask(ids=[B.upper()])
    assert [row["id"] for row in found["domains"]] == [B]
    assert found["leftovers"] == []
    assert ask(ids=[C])["leftovers"] == [C]


def test_a_guest_that_leaves_meanwhile_is_no_error(library, ask, monkeypatch):
    fake = fake_libvirt.Domain.state

    def leave(domain):
        answer = fake(domain)
        library.guests.pop(A, None)
        return answer

    monkeypatch.setattr(fake_libvirt.Domain, "state", leave)
    assert [row["job"] for row in ask()["domains"]] == ["none", "none"]


def test_the_downtime_of_a_migration_that_just_ends_is_not_known(library, ask):
    library.migrate(A, memory=1000 * MIB)
    library.guests[A].deaf["getMaxDowntime"] = fake_libvirt.OPERATION_INVALID
    (job,) = ask()["jobs"]
    assert job["max_downtime_ms"] is None


# --- dirty rates -----------------------------------------------------------------------------


def test_dirty_rates_of_those_that_run_and_do_not_migrate(library, ask):
    library.guests[A].rate = 37
    library.guests[C] = Guest(C, "instance-3", state=fake_libvirt.PAUSED)
    library.migrate(B, memory=10_000 * MIB)
    began = library.time
    found = by_id(ask(dirty_rate_seconds=2)["domains"])
    assert {row["id"]: row["dirty_rate_mib_s"] for row in found.values()} == {
        A: 37,
        B: None,
        C: None,
    }
    assert 2 <= library.time - began < 2.2


def test_a_rate_that_never_comes_is_not_waited_for_long(library, ask):
    began = library.time
    assert by_id(ask(dirty_rate_seconds=1)["domains"])[A]["dirty_rate_mib_s"] is None
    assert library.time - began < 4


def test_a_guest_that_cannot_be_measured_is_told(library, ask):
    library.guests[A].deaf["startDirtyRateCalc"] = fake_libvirt.OPERATION_UNSUPPORTED
    library.guests[B].rate = 5
    found = ask(dirty_rate_seconds=1)
    assert by_id(found["domains"])[B]["dirty_rate_mib_s"] == 5
    (warning,) = found["warned"]
    assert "instance-1" in warning


@pytest.mark.parametrize("seconds", [-1, 61])
def test_qemus_range_of_seconds(ask, seconds):
    with pytest.raises(BadOption, match="dirty_rate_seconds"):
        ask(dirty_rate_seconds=seconds)


# --- leftovers -------------------------------------------------------------------------------


def test_leftovers_are_directories_without_a_domain(library, ask, tmp_path):
    for name in (A, C, C + "_resize", "_base", "locks"):
        (tmp_path / name).mkdir()
    (tmp_path / B.replace("b", "d")).write_text("a file")
    found = ask()
    assert found["leftovers"] == [C]
    assert found["instances_shared"] is False


def test_of_a_shared_directory_nothing_can_be_said(ask, tmp_path):
    (tmp_path / C).mkdir()
    found = ask(instances_shared=True)
    assert (found["leftovers"], found["instances_shared"]) == ([], True)


def test_no_such_directory_is_a_warning(ask, tmp_path):
    found = ask(instances_path=str(tmp_path / "nothing"))
    assert found["leftovers"] == []
    assert "instances_path" in found["warned"][0]


def test_a_path_that_is_no_directory_is_an_error(ask, tmp_path):
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(BadOption, match="instances_path"):
        ask(instances_path=str(path))


@pytest.mark.parametrize(
    ("users", "shared"),
    [
        ({"cmp-1": 999_000}, False),
        ({"cmp-1": 999_000, "cmp-2": 998_000}, True),
        ({"cmp-1": 999_000, "cmp-2": 900_000}, False),
        (["odd"], False),
    ],
)
def test_nova_tells_who_shares_it(ask, tmp_path, users, shared):
    (tmp_path / "compute_nodes").write_text(json.dumps(users))
    assert ask()["instances_shared"] is shared


def test_half_written_users_are_none(ask, tmp_path):
    (tmp_path / "compute_nodes").write_text("{")
    assert ask()["instances_shared"] is False


@pytest.mark.parametrize(
    ("path", "shared"),
    [("/var/lib/nova/instances", True), ("/var/lib/nova", False), ("/srv/x", False)],
)
def test_some_file_systems_are_shared_by_nature(tmp_path, path, shared):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\nfiler:/i /var/lib/nova/instances nfs4 rw 0 0\n"
        "filer:/s /srv nfs4 rw 0 0\n/dev/sdb /srv ext4 rw 0 0\n"
    )
    assert instances.is_shared(path, 0.0, str(mounts)) is shared


# --- errors and documentation ----------------------------------------------------------------


def test_without_the_library_the_remedy_is_its_package(ask, monkeypatch):
    monkeypatch.setattr(hypervisor, "libvirt", None)
    with pytest.raises(MissingLibrary, match="python3-libvirt"):
        ask()


def test_a_daemon_that_does_not_answer(ask):
    with pytest.raises(Unreachable, match=r"uri: 'qemu://nowhere/system'.*virtqemud") as raised:
        ask(uri="qemu://nowhere/system")
    assert raised.value.details["uri"] == "qemu://nowhere/system"


def test_what_else_libvirt_says_is_passed_on(library, ask):
    library.guests[A].deaf["jobStats"] = fake_libvirt.OPERATION_TIMEOUT
    with pytest.raises(hypervisor.HypervisorRefused, match=f"domain {A}.*jobStats is refused"):
        ask()


def test_return_describes_the_result(library, ask):
    library.guests[A].completed = {"type": 3, "operation": 4}
    library.migrate(B, memory=1000 * MIB)
    found, told = ask(), yaml.safe_load(module.RETURN)
    assert set(found) - {"changed", "warned"} == set(told) - {"code", "remedy"}
    for rows in ("domains", "jobs", "completed"):
        assert set(found[rows][0]) == set(told[rows]["contains"])
