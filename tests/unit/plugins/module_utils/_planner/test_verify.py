# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The witnesses of a move, one by one, and whether a host is empty."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.verify import (
    HostVerdict,
    checks,
    first_problem,
    judge_host,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.witness import (
    ALARMS,
    Sight,
)
from tests.unit.support import SOURCE, migration

MOVE = m.Move("g1", "vm-g1", SOURCE, vm_state="active", power_state="running", destination="cmp-2")
#: All witnesses say that g1 is on cmp-2.
GOOD = m.Evidence(
    exists=True,
    host="cmp-2",
    vm_state="active",
    power_state="running",
    allocations=("cmp-2",),
    bindings=(m.Binding("p1", "cmp-2", "active"), m.Binding("p2", "cmp-2", "active")),
    attachments={"v1": 1, "v2": 1},
)
THERE = Sight(source="", destination="running")
PLAN = m.Plan(m.Scope(SOURCE), (), 0.0, 0)


def problem(move: m.Move = MOVE, **changes):
    return first_problem(replace(GOOD, **changes), move)


def test_a_complete_move_has_no_problem():
    assert first_problem(GOOD, MOVE, THERE) is None
    assert [check.code for check in checks(GOOD, MOVE, THERE) if not check.ok] == []


def test_hypervisors_that_were_not_asked_are_no_witness():
    assert first_problem(GOOD, MOVE) is None


ON_SOURCE = {"host": SOURCE}
SEEN = [
    ("split_brain", Sight("running", "running"), {}, "running on cmp-1 and on cmp-2"),
    ("split_brain", Sight("running", "running"), ON_SOURCE, "running on cmp-1 and on cmp-2"),
    ("split_brain", Sight("running", "running"), {"task_state": "rebooting"}, "running on cmp-1"),
    ("lost", Sight("", ""), {}, "neither on cmp-1 nor on cmp-2"),
    ("lost", Sight("", ""), ON_SOURCE, "neither on cmp-1 nor on cmp-2"),
    ("domain", Sight("", ""), {"task_state": "reboot_started_hard"}, "it on no host, Nova on"),
    ("runs_on_destination", Sight("", "running"), ON_SOURCE, "on cmp-2 (running), Nova on cmp-1"),
    ("runs_on_destination", Sight("paused", "running"), ON_SOURCE, "on cmp-2 (running)"),
    ("runs_on_destination", Sight("", "paused"), ON_SOURCE, "on cmp-2 (paused)"),
    ("completed_but_on_source", Sight("running", ""), ON_SOURCE, "it is on cmp-1"),
    ("completed_but_on_source", Sight("running", "paused"), ON_SOURCE, "it is on cmp-1"),
    ("completed_but_on_source", Sight("", None), ON_SOURCE, "it is on cmp-1"),
    ("domain", Sight("running", ""), {}, "has it on cmp-1 (running), Nova on cmp-2"),
    ("domain", Sight("paused", "running"), {}, "on cmp-1 (paused), cmp-2 (running)"),
    ("domain", Sight("running", "paused"), {}, "on cmp-1 (running), cmp-2 (paused)"),
    ("domain", Sight("running", None), {}, "on cmp-1 (running), Nova on cmp-2"),
    ("domain", Sight(None, ""), {}, "on no host, Nova on cmp-2"),
    ("state_changed", Sight("", "paused"), {}, "libvirt says paused on cmp-2, it was running"),
    ("leftover_on_source", Sight("", "running", True), {}, "directory is still on cmp-1"),
    ("allocations", Sight("", "running", True), {"allocations": ()}, "on no host"),
]


@pytest.mark.parametrize(("code", "sight", "changes", "detail"), SEEN)
def test_what_libvirt_finds_wrong(code, sight, changes, detail):
    wrong = first_problem(replace(GOOD, **changes), MOVE, sight)
    assert wrong.code == code
    assert detail in wrong.detail
    assert wrong.remedy


@pytest.mark.parametrize("sight", [Sight(None, "running"), Sight("", None), Sight(None, None)])
def test_one_side_alone_finds_nothing_wrong_with_a_good_move(sight):
    assert first_problem(GOOD, MOVE, sight) is None


@pytest.mark.parametrize(
    ("vm_state", "power_state", "domain"),
    [("stopped", "shutdown", "shutdown"), ("paused", "paused", "paused")],
)
def test_a_guest_that_did_not_run_does_not_run_on_its_new_host(vm_state, power_state, domain):
    state = {"vm_state": vm_state, "power_state": power_state}
    move, evidence = replace(MOVE, **state), replace(GOOD, **state)
    assert first_problem(evidence, move, Sight("", domain)) is None
    assert first_problem(evidence, move, Sight("", "running")).code == "state_changed"


def test_no_ports_and_no_volumes_are_fine():
    assert problem(bindings=(), attachments={}) is None


WRONG = [
    ("completed_but_on_source", {"host": SOURCE}, "it is on cmp-1"),
    ("completed_but_on_source", {"host": ""}, "it is on no host"),
    ("state_changed", {"vm_state": "error"}, "it is error/running, it was active/running"),
    ("state_changed", {"power_state": "paused"}, "it is active/paused"),
    ("still_busy", {"task_state": "migrating"}, "task_state is migrating"),
    ("allocations", {"allocations": ()}, "on no host"),
    ("allocations", {"allocations": (SOURCE,)}, "on cmp-1"),
    ("allocations", {"allocations": (SOURCE, "cmp-2")}, "on cmp-1, cmp-2"),
    ("allocations", {"leftover_allocations": True}, "the migration still holds some"),
    (
        "port_bindings",
        {"bindings": (*GOOD.bindings, m.Binding("p3", SOURCE, "inactive"))},
        "port p3 is inactive on cmp-1",
    ),
    (
        "port_bindings",
        {"bindings": (m.Binding("p1", "cmp-2", "inactive"),)},
        "port p1 is inactive on cmp-2",
    ),
    ("port_bindings", {"bindings": (m.Binding("p1", SOURCE, "active"),)}, "active on cmp-1"),
    ("volume_attachments", {"attachments": {"v1": 2}}, "volume v1 has 2 attachments"),
    ("volume_attachments", {"attachments": {"v1": 1, "v2": 0}}, "volume v2 has 0 attachments"),
]


@pytest.mark.parametrize(("code", "changes", "detail"), WRONG)
def test_one_witness_that_disagrees_is_enough(code, changes, detail):
    found = problem(**changes)
    assert found is not None
    assert found.code == code
    assert detail in found.detail
    assert found.remedy


def test_each_witness_is_tested():
    tested = {row[0] for row in (*WRONG, *SEEN)}
    assert tested == {c.code for c in checks(GOOD, MOVE)} | ALARMS | {"runs_on_destination"}


def test_the_gravest_problem_is_told():
    found = problem(host=SOURCE, vm_state="error", task_state="migrating", allocations=())
    assert found is not None
    assert found.code == "completed_but_on_source"


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("active/running", "active/running", True),
        ("paused/paused", "paused/paused", True),
        ("paused/paused", "active/running", False),
        ("paused/paused", "paused/running", False),
        ("stopped/shutdown", "stopped/shutdown", True),
        ("stopped/shutdown", "active/running", False),
        ("stopped/shutdown", "stopped/running", False),
        # A cold migration defines the domain anew: how it had come to rest is lost.
        ("stopped/nostate", "stopped/shutdown", True),
        ("stopped/crashed", "stopped/shutdown", True),
        # Paused by the hypervisor alone, as after an input or output error.
        ("active/paused", "active/paused", True),
        ("active/paused", "active/running", True),
        # Adopted when its earlier state was not known any more.
        ("/", "active/running", True),
        ("/", "paused/paused", True),
        ("/", "stopped/shutdown", True),
        ("/", "active/shutdown", False),
        ("/", "error/running", False),
        ("/", "resized/running", False),
    ],
)
def test_state_must_be_as_before(before, after, same):
    vm_before, power_before = before.split("/")
    vm_after, power_after = after.split("/")
    move = replace(MOVE, vm_state=vm_before, power_state=power_before)
    found = problem(move, vm_state=vm_after, power_state=power_after)
    assert (found is None) is same
    assert found is None or found.code == "state_changed"


# --- the host ----------------------------------------------------------------------------------


def host_verdict(present=(), consumers=(), migrations=(), excluded=(), domains=None) -> HostVerdict:
    return judge_host(PLAN, present, consumers, migrations, excluded, domains)


def test_an_empty_host_is_empty():
    ended = migration(status="completed")
    assert host_verdict(migrations=(ended,)) == HostVerdict(True)


def test_a_guest_that_is_still_there_is_told_once():
    found = host_verdict(present=["g1"], consumers=["g1"])
    assert found == HostVerdict(False, ("guest g1 is still on cmp-1",))


def test_excluded_guests_may_stay():
    found = host_verdict(present=["g2", "g1"], consumers=["g1", "g2"], excluded=["g2", "g1"])
    assert found == HostVerdict(True, excluded=("g1", "g2"))


@pytest.mark.parametrize(
    ("consumer", "owner"),
    [("stranger", "consumer stranger"), ("migration-1", "migration of guest g1")],
)
def test_an_allocation_that_was_left_is_told(consumer, owner):
    ended = migration(status="completed")
    found = host_verdict(consumers=[consumer], migrations=[ended])
    assert not found.empty
    assert found.problems == (f"Placement: {owner} still holds an allocation on cmp-1",)


def test_disks_that_wait_for_a_confirmation_are_told():
    waits = migration(kind="resize", status="finished")
    found = host_verdict(migrations=[waits])
    assert found.problems == ("guest g1 waits for confirmation, its disks are still on cmp-1",)


def test_a_confirmation_of_another_source_is_none_of_ours():
    waits = migration(kind="resize", status="finished", source="cmp-2", destination=SOURCE)
    assert host_verdict(migrations=[waits]).empty


def test_a_guest_on_its_way_here_is_told():
    inbound = migration(source="cmp-2", destination=SOURCE)
    assert host_verdict(migrations=[inbound]).problems == ("guest g1 is on its way to cmp-1",)
    assert host_verdict(migrations=[replace(inbound, status="error")]).empty


@pytest.mark.parametrize(
    "theirs",
    [
        migration(kind="resize", status="finished"),
        migration(source="cmp-2", destination=SOURCE),
    ],
    ids=["unconfirmed", "inbound"],
)
def test_migrations_of_excluded_guests_may_stay_with_what_they_hold(theirs):
    found = host_verdict(consumers=[theirs.uuid], migrations=[theirs], excluded=["g1"])
    assert found == HostVerdict(True, excluded=("g1",))


def test_a_domain_that_nova_does_not_have_there_is_told():
    domains = m.Domains({"g1": "running", "g2": "shutdown", "g3": "running"})
    found = host_verdict(present=["g3"], excluded=["g2"], domains=domains)
    assert found.problems[0] == "guest g3 is still on cmp-1"
    assert found.problems[1].startswith("libvirt has domain g1 (running) on cmp-1, where Nova")
    assert len(found.problems) == 2
    assert not found.may_pass


@pytest.mark.parametrize("domains", [None, m.Domains(), m.Domains(error="no route to host")])
def test_a_host_whose_libvirt_says_nothing_is_judged_by_nova(domains):
    assert host_verdict(domains=domains).empty
