# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One case for each row of the table: the guest that it is for, and one that it just misses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.destinations import (
    traits_asked,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.eligibility import (
    DESTINATION_CODES,
    NOTES,
    RULES,
    Context,
    destinations,
    excluded_by,
    has_numa_topology,
    has_vgpu,
    judge,
    loses_link,
)
from tests.unit.support import SOURCE, cells, guest, migration, pinned, resources, room

RUN_BEGAN = "2026-11-20T03:15:00"
NONE: Mapping[str, Any] = MappingProxyType({})
COLD_ALLOWED = {"allow_cold_migration": True}
SEV = {"extra_specs": {"hw:mem_encryption": "true"}}
VGPU = {"extra_specs": {"resources:VGPU": "1"}}
PCI = {"extra_specs": {"pci_passthrough:alias": "gpu:1, nic:2"}}


def vtpm(security: str = "", **fields) -> m.Guest:
    specs = {"hw:tpm_version": "2.0", "hw:tpm_model": "tpm-crb"}
    return guest(
        extra_specs=specs | ({"hw:tpm_secret_security": security} if security else {}), **fields
    )


def grouped(policy: str, limit: int = 1, **members: str) -> m.Guest:
    group = m.Group("group-1", "apart", policy, limit, {"g1": SOURCE, **members})
    return guest(group=group)


def with_port(vnic_type: str, **fields) -> m.Guest:
    return guest(ports=(m.Port("p1"), m.Port("p2", vnic_type)), **fields)


def context(options: Mapping[str, Any] = NONE, **fields) -> Context:
    ordinary = {"rooms": (room(SOURCE), room("cmp-2"), room("cmp-3")), "since": RUN_BEGAN}
    return Context(m.Options(**options), SOURCE, **(ordinary | fields))


@dataclass(frozen=True)
class Case:
    """``miss`` and ``miss_sees``: what differs in the near miss, and ``gives`` what it becomes.

    ``choices``: options -> the method that they make of ``hit``.
    """

    hit: m.Guest
    method: str
    gives: str
    miss: m.Guest | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    sees: Mapping[str, Any] = field(default_factory=dict)
    miss_options: Mapping[str, Any] | None = None
    miss_sees: Mapping[str, Any] | None = None
    choices: tuple[tuple[Mapping[str, Any], str], ...] = ()

    def judged(self) -> m.Verdict:
        return judge(self.hit, context(self.options, **self.sees))

    def judged_miss(self) -> m.Verdict:
        options = self.options if self.miss_options is None else self.miss_options
        sees = self.sees if self.miss_sees is None else self.miss_sees
        return judge(self.miss or self.hit, context(options, **sees))


def in_state(vm_state: str, **fields) -> m.Guest:
    return guest(vm_state=vm_state, power_state="shutdown", **fields)


AWAY = guest(vm_state="resized", host="cmp-2")
OURS = migration(kind="migration", status="finished", created_at="2026-11-20T03:16:00.000000")
OLD = replace(OURS, created_at="2026-11-20T03:14:00.000000")
ERROR = guest(vm_state="error", alive=True)
FAILED_HERE = migration(status="error")
CONFIRMED = (({}, m.BLOCKED), ({"confirm_resizes": True}, m.CONFIRM))
COLD_CHOICES = (({}, m.BLOCKED), (COLD_ALLOWED, m.COLD))


def qemu(host: str, version: int, **fields) -> m.Room:
    return room(host, hypervisor_type="QEMU", hypervisor_version=version, **fields)


FULL = room("cmp-2", free=resources(8) | {"MEMORY_MB": 1023})

CASES = {
    "excluded": Case(
        guest(),
        m.EXCLUDED,
        miss=guest("g2"),
        gives="active",
        options={"exclude": m.Exclusions(ids=("g1",))},
    ),
    "already_there": Case(
        guest(host="cmp-2"),
        m.EXCLUDED,
        miss=guest(),
        gives="active",
        options={"destination": "cmp-2"},
    ),
    "soft_deleted": Case(
        in_state("soft-delete"), m.BLOCKED, miss=in_state("soft_deleted"), gives="unknown_state"
    ),
    "deleting": Case(
        guest(task_state="deleting"), m.WAIT, miss=guest(task_state="restoring"), gives="busy"
    ),
    "migrating": Case(
        guest(task_state="migrating"),
        m.WAIT,
        sees={"newest": migration(status=m.POST_COPY)},
        miss=guest(),
        miss_sees={"newest": migration(status="error")},
        gives="active",
    ),
    "cold_unconfirmed": Case(
        AWAY,
        m.CONFIRM,
        sees={"newest": OURS},
        miss_sees={"newest": OLD},
        gives="resize_source_here",
    ),
    "resize_source_here": Case(
        AWAY,
        m.BLOCKED,
        sees={"newest": replace(OURS, kind="resize")},
        miss=replace(AWAY, host=SOURCE),
        gives="resize_unconfirmed",
        choices=CONFIRMED,
    ),
    "resize_unconfirmed": Case(
        guest(vm_state="resized"),
        m.BLOCKED,
        sees={"newest": migration(kind="resize", status="finished")},
        miss=guest(),
        gives="active",
        choices=CONFIRMED,
    ),
    "building": Case(
        guest(vm_state="building", task_state="spawning", power_state="nostate"),
        m.WAIT,
        miss=guest(task_state="rebuild_spawning"),
        gives="busy",
    ),
    "busy": Case(
        guest(task_state="image_uploading"), m.WAIT, miss=guest(task_state=""), gives="active"
    ),
    "error_after_migration": Case(
        ERROR,
        m.RECOVER,
        sees={"newest": FAILED_HERE},
        miss_sees={"newest": replace(FAILED_HERE, source="cmp-2", destination=SOURCE)},
        gives="error_guest_alive",
    ),
    "error_guest_alive": Case(
        ERROR,
        m.BLOCKED,
        miss=replace(ERROR, alive=False),
        gives="error_guest_dead",
        choices=(({}, m.BLOCKED), ({"reset_error_state": True}, m.RECOVER)),
    ),
    "gone_after_migration": Case(
        guest(power_state="nostate"),
        m.BLOCKED,
        sees={"newest": FAILED_HERE},
        miss_sees={"newest": replace(FAILED_HERE, destination="")},
        gives="power_state_mismatch",
    ),
    "error_guest_dead": Case(
        replace(ERROR, alive=False),
        m.BLOCKED,
        sees={"newest": FAILED_HERE},
        miss=replace(ERROR, alive=None),
        gives="error_guest_unknown",
    ),
    "error_guest_unknown": Case(
        replace(ERROR, alive=None),
        m.BLOCKED,
        sees={"newest": FAILED_HERE},
        miss=guest(alive=None),
        gives="active",
        miss_sees={},
    ),
    "suspended": Case(
        guest(vm_state="suspended", power_state="suspended"),
        m.BLOCKED,
        miss=guest(vm_state="paused", power_state="paused"),
        gives="paused",
    ),
    "rescued": Case(guest(vm_state="rescued"), m.BLOCKED, miss=guest(), gives="active"),
    "shelved": Case(
        in_state("shelved"),
        m.BLOCKED,
        miss=in_state("shelved_offloaded", host=""),
        gives="unknown_state",
    ),
    "unknown_state": Case(
        in_state("deleted"), m.BLOCKED, miss=in_state("stopped"), gives="shutoff"
    ),
    "shutoff_left": Case(
        in_state("stopped"),
        m.EXCLUDED,
        options={"shutoff": "leave"},
        miss=guest(),
        gives="active",
    ),
    "paused_left": Case(
        guest(vm_state="paused", power_state="paused"),
        m.EXCLUDED,
        options={"paused": "leave"},
        miss=guest(),
        gives="active",
    ),
    "sriov_left": Case(
        with_port("direct"),
        m.EXCLUDED,
        options={"sriov": "leave"},
        miss=with_port("macvtap"),
        gives="active",
    ),
    "owner_wishes_to_stay": Case(
        guest(metadata={"lowtide:wish": "leave"}),
        m.BLOCKED,
        miss=guest(metadata={"lowtide:wish": "notify"}),
        gives="active",
    ),
    "power_state_mismatch": Case(
        guest(power_state="shutdown"),
        m.BLOCKED,
        miss=guest(power_state="paused"),
        gives="active",
    ),
    "share": Case(
        guest(shares=("share-1",)), m.BLOCKED, miss=guest(), gives="active", choices=COLD_CHOICES
    ),
    "accelerator": Case(
        guest(extra_specs={"accel:device_profile": "fpga"}),
        m.BLOCKED,
        options=COLD_ALLOWED,
        miss=guest(extra_specs={"accel:device_profile": ""}),
        gives="active",
    ),
    "affinity_group": Case(
        grouped("affinity"), m.BLOCKED, miss=grouped("soft-affinity"), gives="active"
    ),
    "vtpm": Case(
        vtpm(),
        m.BLOCKED,
        options=COLD_ALLOWED,
        miss=vtpm("host"),
        gives="active",
    ),
    "vtpm_deployment": Case(
        vtpm("deployment"),
        m.BLOCKED,
        miss=vtpm("deployment", vm_state="stopped", power_state="shutdown"),
        gives="shutoff",
        choices=COLD_CHOICES,
    ),
    "sev": Case(
        guest(**SEV),
        m.BLOCKED,
        miss=guest(extra_specs={"hw:mem_encryption": "false"}),
        gives="active",
        choices=COLD_CHOICES,
    ),
    "pci_passthrough": Case(
        guest(**PCI),
        m.BLOCKED,
        options={"live_migratable_pci_aliases": ("gpu",)},
        miss_options={"live_migratable_pci_aliases": ("gpu", "nic")},
        gives="active",
        choices=(*COLD_CHOICES, ({"live_migratable_pci_aliases": ("nic",)}, m.BLOCKED)),
    ),
    "vgpu": Case(
        guest(**VGPU),
        m.BLOCKED,
        miss_options={"vgpu": "live"},
        gives="active",
        choices=COLD_CHOICES,
    ),
    "no_other_host": Case(
        guest(),
        m.BLOCKED,
        sees={"rooms": (room(SOURCE), room("cmp-2", unusable="disabled"))},
        miss_sees={"rooms": (room(SOURCE), room("cmp-2"))},
        gives="active",
    ),
    "availability_zone": Case(
        guest(pinned_availability_zone="edge", availability_zone="edge"),
        m.BLOCKED,
        miss=guest(availability_zone="edge"),
        gives="active",
    ),
    "hypervisor": Case(
        guest(),
        m.BLOCKED,
        sees={"rooms": (qemu(SOURCE, 8_002_000), qemu("cmp-2", 8_001_005))},
        miss_sees={"rooms": (qemu(SOURCE, 8_002_000), qemu("cmp-2", 8_002_000))},
        gives="active",
    ),
    "anti_affinity": Case(
        grouped("anti-affinity", g2="cmp-2", g3="cmp-3"),
        m.BLOCKED,
        miss=grouped("anti-affinity", limit=2, g2="cmp-2", g3="cmp-3"),
        gives="active",
    ),
    "nothing_fits": Case(
        guest(), m.BLOCKED, sees={"rooms": (FULL,)}, miss=guest(resources={}), gives="active"
    ),
    "not_offered": Case(
        guest(candidates=(SOURCE, "cmp-9"), extra_specs={"trait:CUSTOM_GOLD": "required"}),
        m.BLOCKED,
        miss=guest(candidates=("cmp-3",)),
        gives="active",
    ),
    "numa": Case(
        pinned("g1", 4),
        m.BLOCKED,
        sees={"rooms": (room("cmp-2", numa=cells("cmp-2", 3, 3)),)},
        miss_sees={"rooms": (room("cmp-2", numa=cells("cmp-2", 3, 4)),)},
        gives="active",
    ),
    "incompatible": Case(
        guest(),
        m.BLOCKED,
        options={"incompatible": {"g1": ("cmp-2", "cmp-3")}},
        miss_options={"incompatible": {"g1": ("cmp-2",), "g2": ("cmp-3",)}},
        gives="active",
    ),
    "destination_unfit": Case(
        guest(),
        m.BLOCKED,
        sees={"rooms": (FULL, room("cmp-3"))},
        options={"destination": "cmp-2"},
        miss_options={"destination": "cmp-3"},
        gives="active",
    ),
    "plan_does_not_fit": Case(
        guest(),
        m.BLOCKED,
        sees={"squeezed_out": True},
        miss_sees={"squeezed_out": False},
        gives="active",
    ),
    "shutoff": Case(
        in_state("stopped"),
        m.COLD,
        miss=in_state("stopped"),
        miss_options={"shutoff": "leave"},
        gives="shutoff_left",
    ),
    "paused": Case(
        guest(vm_state="paused", power_state="paused"),
        m.LIVE,
        miss=guest(vm_state="active", power_state="paused"),
        gives="active",
    ),
    "active": Case(guest(), m.LIVE, miss=in_state("stopped"), gives="shutoff"),
}

CODES = [rule.code for rule in RULES]
each_row = pytest.mark.parametrize("code", CODES)
#: What a remedy must tell an operator to do.
DOES = re.compile(
    r"\b(set|wait|exclude|add|enable|delete|confirm|restore|reset|repair|look|find out|resume"
    r"|leave rescue|offload|bring|start|stop|detach|recreate|ask the owner|free room|choose)\b"
)


# --- the table -----------------------------------------------------------------------------


def test_every_row_has_its_case():
    assert list(CASES) == CODES


def test_codes_are_unique():
    assert len(set(CODES)) == len(CODES)


def test_every_code_is_one_lower_case_word():
    assert [code for code in CODES if not re.fullmatch(r"[a-z]+(_[a-z]+)*", code)] == []


@each_row
def test_row_decides(code):
    case = CASES[code]
    verdict = case.judged()
    assert (verdict.code, verdict.method) == (code, case.method)


@each_row
def test_near_miss_falls_to_another_row(code):
    assert CASES[code].judged_miss().code == CASES[code].gives != code


@each_row
def test_options_choose_the_method(code):
    case = CASES[code]
    for options, method in case.choices:
        verdict = judge(case.hit, context(options, **case.sees))
        assert (verdict.code, verdict.method) == (code, method), options


@each_row
def test_first_row_that_applies_wins(code):
    case = CASES[code]
    seen = context(case.options, **case.sees)
    assert next(rule.code for rule in RULES if rule.applies(case.hit, seen)) == code


@each_row
def test_words_are_filled_in(code):
    verdict = CASES[code].judged()
    for text in (verdict.reason, verdict.remedy, *verdict.notes):
        assert not re.search(r"[{}]|\bNone\b|\s{2}|\(\)| ,", text), text
    assert verdict.reason


@each_row
def test_who_cannot_move_now_gets_a_remedy_that_can_be_done(code):
    verdict = CASES[code].judged()
    if verdict.method in (m.BLOCKED, m.WAIT):
        assert DOES.search(verdict.remedy), verdict.remedy
    else:
        assert verdict.remedy == ""


@each_row
def test_only_guests_that_move_have_notes(code):
    case = CASES[code]
    noted = replace(case.hit, locked=True)
    verdict = judge(noted, context(case.options, **case.sees))
    assert bool(verdict.notes) == (verdict.method in (m.LIVE, m.COLD))


def test_destination_rows_say_nothing_while_rooms_are_unknown():
    for code in sorted(DESTINATION_CODES - {"plan_does_not_fit"}):
        case = CASES[code]
        verdict = judge(case.hit, context(case.options, **(case.sees | {"rooms": None})))
        assert verdict.code == "active", code


def test_destination_codes_are_rows():
    assert set(CODES) >= DESTINATION_CODES


def test_user_text_with_braces_stays_as_it_is():
    verdict = judge(guest("{id}", task_state="{x}"), context())
    assert verdict.reason == "busy: task_state is {x}"


states = st.sampled_from(
    "active paused stopped suspended rescued resized building error shelved shelved_offloaded"
    " soft-delete deleted other".split()
)
powers = st.sampled_from("nostate running paused shutdown crashed suspended".split())


@given(
    state=states,
    power=powers,
    task=st.sampled_from(["", "migrating", "deleting"]),
    alive=st.sampled_from([True, False, None]),
    cold=st.booleans(),
    host=st.sampled_from([SOURCE, "cmp-2"]),
)
def test_whatever_the_state_a_verdict_is_given_that_nova_would_take(
    state, power, task, alive, cold, host
):
    seen = guest(vm_state=state, power_state=power, task_state=task, alive=alive, host=host, **PCI)
    verdict = judge(seen, context({"allow_cold_migration": cold}))
    assert verdict.code in CODES
    if verdict.method == m.LIVE:
        assert state in ("active", "paused")
        assert power in ("running", "paused")
    if verdict.method == m.COLD:
        assert state in ("active", "stopped")
    if verdict.method in (m.LIVE, m.COLD):
        assert task == ""


# --- what single rows are particular about -------------------------------------------------


@pytest.mark.parametrize(
    ("exclude", "text"),
    [
        ({"ids": ("g1",)}, "id g1"),
        ({"names": ("vm-g1",)}, "name vm-g1"),
        ({"projects": ("p1",)}, "project p1"),
        ({"tags": ("keep", "pets")}, "tag pets"),
        ({"metadata": {"stay": "yes"}}, "metadata stay=yes"),
        ({"metadata": {"stay": "no"}}, ""),
        ({"ids": ("g",), "names": ("vm",), "projects": ("p",), "tags": ("pet",)}, ""),
        ({}, ""),
    ],
)
def test_exclusion_says_what_named_the_guest(exclude, text):
    seen = guest(project_id="p1", tags=("pets", "blue"), metadata={"stay": "yes"})
    assert excluded_by(seen, m.Exclusions(**exclude)) == text


def test_excluded_guest_stays_whatever_its_state():
    verdict = judge(in_state("suspended"), context({"exclude": m.Exclusions(names=("vm-g1",))}))
    assert (verdict.code, verdict.reason) == ("excluded", "excluded by name vm-g1")


@pytest.mark.parametrize("task", ["deleting", "soft-deleting"])
def test_deletion_is_waited_for_even_during_a_migration(task):
    verdict = judge(guest(task_state=task), context(newest=migration()))
    assert (verdict.method, verdict.code) == (m.WAIT, "deleting")


@pytest.mark.parametrize("status", sorted(m.LIVE_IN_FLIGHT))
def test_live_migration_in_flight_is_adopted(status):
    assert judge(guest(), context(newest=migration(status=status))).code == "migrating"


@pytest.mark.parametrize("status", sorted(m.COLD_IN_FLIGHT))
def test_cold_migration_in_flight_is_adopted(status):
    newest = migration(kind="resize", status=status)
    assert judge(AWAY, context(newest=newest)).code == "migrating"


def test_migrating_tells_how_to_abort_it():
    verdict = judge(guest(), context(newest=migration(17)))
    assert "migration abort g1 17" in verdict.remedy


@pytest.mark.parametrize("status", sorted(m.FAILED))
def test_error_after_each_kind_of_failure_is_recovered(status):
    verdict = judge(ERROR, context(newest=migration(status=status)))
    assert verdict.method == m.RECOVER


def test_cold_migration_is_only_ours_if_the_run_knows_when_it_began():
    assert judge(AWAY, context(newest=OURS, since="")).code == "resize_source_here"
    assert judge(AWAY, context()).code == "resize_source_here"
    at_once = replace(OURS, created_at=RUN_BEGAN)
    assert judge(AWAY, context(newest=at_once)).code == "cold_unconfirmed"


@pytest.mark.parametrize(
    "fields", [SEV, VGPU, PCI, {"shares": ("share-1",)}], ids="sev vgpu pci share".split()
)
def test_paused_guest_is_never_moved_cold(fields):
    paused = guest(vm_state="paused", power_state="paused", **fields)
    verdict = judge(paused, context(COLD_ALLOWED))
    assert verdict.method == m.BLOCKED
    assert "unpaused" in verdict.remedy


@pytest.mark.parametrize("fields", [SEV, VGPU, PCI], ids="sev vgpu pci".split())
def test_stopped_guest_needs_no_leave_to_move_cold(fields):
    verdict = judge(in_state("stopped", **fields), context())
    assert (verdict.method, verdict.code) == (m.COLD, "shutoff")


def test_stopped_guest_that_runs_is_not_stopped_by_a_cold_migration():
    verdict = judge(guest(vm_state="stopped", power_state="running"), context())
    assert verdict.code == "power_state_mismatch"


@pytest.mark.parametrize("power", ["shutdown", "nostate", "crashed"])
def test_stopped_guest_moves_however_it_came_to_rest(power):
    assert judge(guest(vm_state="stopped", power_state=power), context()).method == m.COLD


def test_what_is_left_by_wish_needs_no_way_to_move():
    stopped = in_state("stopped", group=grouped("affinity").group, shares=("share-1",))
    assert judge(stopped, context({"shutoff": "leave"})).method == m.EXCLUDED


def test_sriov_port_of_a_stopped_guest_loses_nothing():
    stopped = with_port("direct", vm_state="stopped", power_state="shutdown")
    assert judge(stopped, context({"sriov": "leave"})).code == "shutoff"


@pytest.mark.parametrize(
    ("vnic_type", "lost"),
    [
        ("direct", True),
        ("direct-physical", True),
        ("remote-managed", True),
        ("vdpa", True),
        ("macvtap", False),
        ("virtio-forwarder", False),
        ("normal", False),
    ],
)
def test_which_ports_lose_their_link(vnic_type, lost):
    assert loses_link(with_port(vnic_type)) is lost
    notes = judge(with_port(vnic_type), context()).notes
    assert any("link is lost" in note for note in notes) is lost


@pytest.mark.parametrize("vnic_type", ["accelerator-direct", "accelerator-direct-physical"])
def test_port_of_an_accelerator_blocks_even_a_stopped_guest(vnic_type):
    stopped = with_port(vnic_type, vm_state="stopped", power_state="shutdown")
    assert judge(stopped, context(COLD_ALLOWED)).code == "accelerator"


@pytest.mark.parametrize("security", ["", "user"])
def test_stopped_guest_with_its_owners_vtpm_stays(security):
    stopped = vtpm(security, vm_state="stopped", power_state="shutdown")
    assert judge(stopped, context(COLD_ALLOWED)).code == "vtpm"


def test_vtpm_may_come_from_the_image_but_its_security_only_from_the_flavor():
    properties = {"hw_tpm_version": "2.0", "hw_tpm_secret_security": "host"}
    assert judge(guest(image_properties=properties), context()).code == "vtpm"


@pytest.mark.parametrize(
    ("specs", "properties", "code"),
    [
        ({"hw:mem_encryption": "True"}, {}, "sev"),
        ({"hw:mem_encryption": "1"}, {}, "sev"),
        ({}, {"hw_mem_encryption": "true"}, "sev"),
        ({"hw:mem_encryption": "0"}, {}, "active"),
        ({"hw:mem_encryption_model": "amd-sev"}, {}, "active"),
    ],
)
def test_spellings_of_encrypted_memory(specs, properties, code):
    assert judge(guest(extra_specs=specs, image_properties=properties), context()).code == code


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"extra_specs": {"resources:VGPU": "1"}}, True),
        ({"extra_specs": {"resources1:VGPU": "2"}}, True),
        ({"extra_specs": {"resources_GPU:VGPU": "1"}}, True),
        ({"extra_specs": {"resources:VGPU": "0"}}, False),
        ({"extra_specs": {"trait1:CUSTOM_VGPU": "required"}}, False),
        ({"extra_specs": {"resources:PGPU": "1"}}, False),
        ({"resources": {"VGPU": 1}}, True),
        ({"resources": {"VCPU": 1}}, False),
    ],
)
def test_spellings_of_a_vgpu(fields, asked):
    assert has_vgpu(guest(**fields)) is asked


def test_pci_row_names_its_aliases():
    assert "(gpu, nic)" in judge(guest(**PCI), context()).reason


@pytest.mark.parametrize(
    ("specs", "properties", "numa"),
    [
        ({"hw:cpu_policy": "dedicated"}, {}, True),
        ({"hw:cpu_policy": "mixed"}, {}, True),
        ({}, {"hw_cpu_policy": "dedicated"}, True),
        ({"hw:cpu_policy": "shared"}, {}, False),
        ({"hw:mem_page_size": "2MB"}, {}, True),
        ({"hw:mem_page_size": "small"}, {}, True),
        ({"hw:mem_page_size": "any"}, {"hw_mem_page_size": "1GB"}, True),
        ({"hw:numa_nodes": "2"}, {}, True),
        ({"hw:pmem": "6GB"}, {}, True),
        ({"hw:cpu_sockets": "2"}, {}, False),
    ],
)
def test_what_makes_a_numa_topology(specs, properties, numa):
    seen = guest(extra_specs=specs, image_properties=properties)
    assert has_numa_topology(seen) is numa


# --- destinations ----------------------------------------------------------------------------


def test_destinations_are_usable_others_the_roomiest_first():
    rooms = (
        room(SOURCE, 99),
        room("cmp-2", 2),
        room("cmp-4", 5),
        room("cmp-3", 5),
        room("cmp-5", 50, unusable="disabled"),
    )
    found = destinations(guest(), context(rooms=rooms))
    assert [each.host for each in found] == ["cmp-3", "cmp-4", "cmp-2"]


def test_destinations_of_unknown_rooms_are_none():
    assert destinations(guest(), context(rooms=None)) == ()


def test_only_the_chosen_destination_counts():
    found = destinations(guest(), context({"destination": "cmp-3"}))
    assert [each.host for each in found] == ["cmp-3"]


def test_zone_holds_only_for_who_is_pinned_to_it():
    rooms = (room("cmp-2"), room("cmp-3", 1, availability_zone="edge"))
    pinned = destinations(guest(pinned_availability_zone="edge"), context(rooms=rooms))
    free = destinations(guest(availability_zone="edge"), context(rooms=rooms))
    assert [each.host for each in pinned] == ["cmp-3"]
    assert [each.host for each in free] == ["cmp-2", "cmp-3"]


def test_anti_affinity_counts_the_other_members_of_a_host():
    crowded = grouped("anti-affinity", 2, g2="cmp-2", g3="cmp-2", g4="cmp-3")
    assert [each.host for each in destinations(crowded, context())] == ["cmp-3"]


def test_a_guest_is_not_in_its_own_way():
    alone = grouped("anti-affinity", g1="cmp-2")
    assert len(destinations(alone, context())) == 2


@pytest.mark.parametrize("lacking", ["VCPU", "MEMORY_MB", "DISK_GB"])
def test_each_resource_class_must_fit(lacking):
    short = resources(8) | {lacking: resources()[lacking] - 1}
    rooms = (room("cmp-2", free=short), room("cmp-3", 1))
    assert [each.host for each in destinations(guest(), context(rooms=rooms))] == ["cmp-3"]


def test_class_that_a_host_has_not_does_not_fit():
    assert destinations(guest(resources={"PCPU": 1}), context()) == ()


def test_no_destination_is_one_that_cannot_take_it_as_it_runs():
    options = {"incompatible": {"g1": ("cmp-3",)}}
    assert [r.host for r in destinations(guest(), context(options))] == ["cmp-2"]
    stopped = guest(vm_state="stopped", power_state="shutdown")
    assert [r.host for r in destinations(stopped, context(options))] == ["cmp-2", "cmp-3"]


def test_incompatible_hosts_are_named():
    verdict = judge(guest(), context({"incompatible": {"g1": ("cmp-2", "cmp-3")}}))
    assert "(cmp-2, cmp-3)" in verdict.reason


def test_nothing_fits_names_what_is_needed():
    verdict = judge(guest(), context(rooms=(FULL,)))
    assert "(1 DISK_GB, 1024 MEMORY_MB, 1 VCPU)" in verdict.reason


@pytest.mark.parametrize(
    ("there", "open_to"),
    [
        (qemu("cmp-2", 8_002_000), True),
        (qemu("cmp-2", 9_000_000), True),
        (qemu("cmp-2", 8_001_999), False),
        (room("cmp-2", hypervisor_type="ironic", hypervisor_version=9_000_000), False),
        (room("cmp-2"), True),
    ],
    ids=["the same", "newer", "older", "of another type", "not known"],
)
def test_running_guests_go_to_no_older_hypervisor(there, open_to):
    rooms = (qemu(SOURCE, 8_002_000), there)
    stopped = in_state("stopped")
    assert bool(destinations(guest(), context(rooms=rooms))) == open_to
    assert destinations(stopped, context(rooms=rooms))


def test_an_older_hypervisor_is_named():
    rooms = (qemu(SOURCE, 8_002_000), qemu("cmp-2", 6_002_001))
    assert "(QEMU 6.2.1; here QEMU 8.2.0)" in judge(guest(), context(rooms=rooms)).reason


@pytest.mark.parametrize("closed", [{"unusable": "disabled"}, {"closing": True}], ids=str)
def test_closed_hosts_take_nobody(closed):
    assert destinations(guest(), context(rooms=(room("cmp-2", **closed),))) == ()


def test_placement_has_the_last_word_on_what_is_asked_for():
    asks = guest(candidates=("cmp-3",))
    assert [each.host for each in destinations(asks, context())] == ["cmp-3"]


def test_traits_that_are_asked_for():
    specs = {"trait:HW_B": "required", "trait1:X": "required", "trait:A": "forbidden", "hw:x": "1"}
    images = {"trait:CUSTOM_C": "required", "trait:A": "required"}
    found = traits_asked(guest(extra_specs=specs, image_properties=images))
    assert found == ("!A", "CUSTOM_C", "HW_B")
    blocked = judge(guest(extra_specs=specs, candidates=()), context())
    assert "(!A, HW_B)" in blocked.reason


def test_a_guest_that_fits_no_cell_is_told_why():
    rooms = tuple(room(f"cmp-{i}", numa=cells(f"cmp-{i}", 3)) for i in range(2, 7))
    reason = judge(pinned("g1", 4), context(rooms=rooms)).reason
    assert "cmp-2: cell 0: it has 3 dedicated CPUs, 4 needed; cmp-3: " in reason
    assert "cmp-5" not in reason
    assert "; and 2 more)" in reason


# --- notes -----------------------------------------------------------------------------------

NOTED = {
    "sriov": (with_port("direct"), with_port("normal")),
    "local_disk": (guest(disk_gib=1), guest(disk_gib=0)),
    "config_drive": (guest(config_drive=True), guest()),
    "volume_backed": (guest(boots_from_volume=True), guest()),
    "volumes": (guest(volumes=("v1",)), guest()),
    "locked": (guest(locked=True), guest()),
    "numa": (guest(extra_specs={"hw:cpu_policy": "dedicated"}), guest()),
    "group": (grouped("soft-anti-affinity"), guest()),
    "notify": (
        guest(image_properties={"lowtide_wish": "notify"}),
        guest(metadata={"lowtide:wish": "migrate"}),
    ),
}


def test_every_note_has_its_case():
    assert list(NOTED) == [name for name, _applies, _text in NOTES]


@pytest.mark.parametrize(("name", "applies", "text"), NOTES, ids=[note[0] for note in NOTES])
def test_note(name, applies, text):
    noted, plain = NOTED[name]
    assert text in judge(noted, context()).notes
    assert text not in judge(plain, context()).notes


def test_notes_are_for_guests_that_move_cold_too():
    verdict = judge(in_state("stopped", locked=True), context())
    assert verdict.notes == ("locked: moved with the administrator's right",)
