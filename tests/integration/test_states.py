# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of guest on the real Nova: what is planned for it, and what becomes of it.

The cloud is lab/scenarios/states.yml: one guest for each row of docs/guests.md that a cloud can
show, named after it. Its host is planned, drained as far as it goes, and drained again with what
it takes to get the others away.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

SCENARIO = Path(__file__).parents[2] / "lab" / "scenarios" / "states.yml"
HOST = "cmp-1"
FIRST_PORT_BASE = 30000


@dataclass(frozen=True)
class Row:
    """What the plan says of a guest, and the state of its domain once it has moved."""

    method: str
    code: str
    note: str = ""
    domain: str = "running"


#: What can go, by default.
GOES = {
    "active": Row("live", "active"),
    "paused": Row("live", "paused", domain="paused"),
    "shutoff": Row("cold", "shutoff", domain="shutoff"),
    "locked": Row("live", "active", "locked: moved"),
    "migrating": Row("wait", "migrating"),
    "volume-backed": Row("live", "active", "boots from a volume"),
    "local-disk": Row("live", "active", "local disk: copied"),
    "config-drive": Row("live", "active", "config drive: read-only"),
    "sriov": Row("live", "active", "the link is lost"),
    "pinned": Row("live", "active", "pinned CPUs"),
    "huge-pages": Row("live", "active", "huge pages"),
    "notified": Row("live", "active", "its owner wishes to be told"),
}
#: What cannot.
STAYS = {
    "suspended": Row("blocked", "suspended"),
    "rescued": Row("blocked", "rescued"),
    "shelved": Row("blocked", "shelved"),
    "resized-here": Row("blocked", "resize_unconfirmed"),
    "resized-away": Row("blocked", "resize_source_here"),
    "error-alive": Row("blocked", "error_guest_alive"),
    "error-dead": Row("blocked", "error_guest_dead"),
    "building": Row("wait", "building"),
    "soft-deleted": Row("blocked", "soft_deleted"),
    "task-set": Row("wait", "busy"),
    "affinity-1": Row("blocked", "affinity_group"),
    "affinity-2": Row("blocked", "affinity_group"),
    "affinity-alone": Row("blocked", "affinity_group"),
    "anti-affinity": Row("blocked", "anti_affinity"),
    "pci": Row("blocked", "pci_passthrough"),
    "vgpu": Row("blocked", "vgpu"),
    "sev": Row("blocked", "sev"),
    "vtpm": Row("blocked", "vtpm"),
    "share": Row("blocked", "share"),
    "settled": Row("blocked", "owner_wishes_to_stay"),
    "zone-pinned": Row("blocked", "availability_zone"),
    "too-big": Row("blocked", "nothing_fits"),
}
ROWS = GOES | STAYS
BLOCKED = {name for name, row in ROWS.items() if row.method == "blocked"}

#: What may be done to guests so that more of them can go ...
ALLOWED = {"allow_cold_migration": True, "confirm_resizes": True, "reset_error_state": True}
#: ... what is then planned for which ...
ALLOWED_ROWS = {
    "pci": Row("cold", "pci_passthrough"),
    "sev": Row("cold", "sev"),
    "vgpu": Row("cold", "vgpu"),
    "share": Row("cold", "share"),
    "resized-here": Row("confirm", "resize_unconfirmed"),
    "resized-away": Row("confirm", "resize_source_here"),
    "error-alive": Row("recover", "error_guest_alive"),
}
#: ... and how they leave. There is no Manila here that could give a share to another host.
LEAVES = {
    "pci": "cold",
    "sev": "cold",
    "vgpu": "cold",
    "resized-here": "live",
    "resized-away": "cold",
    "error-alive": "live",
}
#: How each of the others is excluded.
EXCLUDED = {name: "name" for name in STAYS if name not in LEAVES}
EXCLUDED |= {"vtpm": "id", "soft-deleted": "id", "zone-pinned": "tag", "too-big": "metadata"}

#: What the operator may want to leave, and what may be known of devices.
CHOSEN = {
    "shutoff": "leave",
    "paused": "leave",
    "sriov": "leave",
    "vgpu": "live",
    "live_migratable_pci_aliases": ["accel"],
}
CHOSEN_ROWS = {
    "shutoff": Row("excluded", "shutoff_left"),
    "paused": Row("excluded", "paused_left"),
    "sriov": Row("excluded", "sriov_left"),
    "vgpu": Row("live", "active"),
    "pci": Row("live", "active"),
}

#: States that pass by themselves do not pass here, and the guest that migrates never converges.
QUICK = {
    "poll_interval": 1,
    "max_parallel": 4,
    "retry_delay": 1,
    "settle_timeout": 20,
    "timeout_per_gib": 8,
    "on_timeout": "force_complete",
    "quiet_seconds": 2,
}


# --- the cloud, and what is called once for all rows ---------------------------------------


@pytest.fixture(scope="module")
def lab(start_lab, free_port_base):
    """A cloud of its own: it is drained for good."""
    with start_lab(SCENARIO, free_port_base(FIRST_PORT_BASE)) as started:
        yield started


@pytest.fixture(scope="module")
def api(lab, connect):
    return connect(lab)


@pytest.fixture(scope="module")
def seen():
    """What was called already."""
    return {}


@pytest.fixture
def once(seen):
    """``once(name, call)``: the call's result. One that failed is not made again for each row."""

    def remember(name, call):
        if name not in seen:
            seen[name] = None
            seen[name] = call()
        assert seen[name] is not None, f"{name}: failed before"
        return seen[name]

    return remember


@dataclass(frozen=True)
class Moment:
    """An outcome, and the guests as Nova (by name) and the hypervisors (by id) had them then."""

    outcome: dict
    servers: dict
    domains: dict

    def guest(self, name):
        return by_name(self.outcome)[name]

    def nova(self, name):
        """What a drain must leave as it is; None for a guest that Nova does not list."""
        server = self.servers.get(name)
        return server and (server.compute_host, server.vm_state, server.task_state)

    def domain(self, name):
        """Host -> state."""
        return self.domains[self.guest(name)["id"]]

    def writes_to(self, name):
        return [call for call in self.outcome.writes if self.guest(name)["id"] in call]


def by_name(outcome):
    return {guest["name"]: guest for guest in outcome["guests"]}


@pytest.fixture
def look(lab, api):
    def now(outcome):
        servers = {server.name: server for server in api.compute.servers(all_projects=True)}
        return Moment(outcome, servers, lab.domains())

    return now


@pytest.fixture
def planned(once, module, look):
    """The plan, and the cloud before anything was done to it."""
    return once("plan", lambda: look(module("nova_drain_info", host=HOST)))


@pytest.fixture
def plan_with(once, module, planned):
    """``plan_with(name, **options)``: the plan as these options make it, by guest."""
    return lambda name, **options: by_name(
        once(name, lambda: module("nova_drain_info", host=HOST, **options))
    )


@pytest.fixture
def refused(once, failing, planned):
    return once("refused", lambda: failing("nova_drain", host=HOST, **QUICK))


@pytest.fixture
def drained(once, failing, look, refused):
    """The host after its drain, which cannot get it empty."""
    return once(
        "drained",
        lambda: look(failing("nova_drain", host=HOST, on_blocker="drain_the_rest", **QUICK)),
    )


@pytest.fixture
def exclude(planned):
    ways = {way: [n for n, by in EXCLUDED.items() if by == way] for way in EXCLUDED.values()}
    return {
        "ids": [planned.guest(name)["id"] for name in ways["id"]],
        "names": ways["name"],
        "tags": ["stay"],
        "metadata": {"purpose": "test"},
    }


@pytest.fixture
def emptied(once, module, look, drained, exclude):
    """The host after a drain that may do what it takes, and need not move the others."""
    options = {**QUICK, **ALLOWED, "exclude": exclude}
    return once("emptied", lambda: look(module("nova_drain", host=HOST, **options)))


# --- the plan -------------------------------------------------------------------------------


def test_every_guest_of_the_scenario_has_a_row():
    scenario = yaml.safe_load(SCENARIO.read_text())
    home = scenario["guest_defaults"]["host"]
    assert home == HOST
    concerned = {
        guest["name"]
        for guest in scenario["guests"]
        if HOST in (guest.get("host", home), guest.get("source"))
    }
    assert concerned == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_the_plan(planned, name):
    row, guest = ROWS[name], planned.guest(name)
    assert (guest["method"], guest["code"]) == (row.method, row.code)
    assert guest["outcome"] == ("blocked" if row.method == "blocked" else "planned")
    assert guest["reason"]
    assert bool(guest["remedy"]) == (row.method in ("blocked", "wait"))
    assert row.note in " ".join(guest["notes"])


def test_the_plan_names_every_guest_once_and_changes_nothing(planned):
    assert sorted(guest["name"] for guest in planned.outcome["guests"]) == sorted(ROWS)
    assert planned.outcome["outcome"] == "blocked"
    assert planned.outcome.writes == []


def test_check_mode_says_the_same_and_changes_nothing(module, planned):
    checked = module("nova_drain", host=HOST, check=True, on_blocker="drain_the_rest")
    assert checked["guests"] == planned.outcome["guests"]
    assert checked["changed"]
    assert checked.writes == []


@pytest.mark.parametrize("name", ROWS)
def test_the_plan_when_more_is_allowed(plan_with, name):
    guest = plan_with("plan when more is allowed", **ALLOWED)[name]
    row = ALLOWED_ROWS.get(name, ROWS[name])
    assert (guest["method"], guest["code"]) == (row.method, row.code)


@pytest.mark.parametrize("name", ROWS)
def test_the_plan_when_some_are_to_be_left(plan_with, name):
    guest = plan_with("plan when some are to be left", **CHOSEN)[name]
    row = CHOSEN_ROWS.get(name, ROWS[name])
    assert (guest["method"], guest["code"]) == (row.method, row.code)
    assert (guest["outcome"] == "excluded") == (row.method == "excluded")


@pytest.mark.parametrize("name", ROWS)
def test_the_plan_with_exclusions(plan_with, exclude, name):
    guest = plan_with("plan with exclusions", exclude=exclude)[name]
    row = Row("excluded", "excluded") if name in EXCLUDED else ROWS[name]
    assert (guest["method"], guest["code"]) == (row.method, row.code)
    assert f"excluded by {EXCLUDED.get(name)}" in guest["reason"] or name not in EXCLUDED


def test_the_plan_without_a_project(plan_with, planned):
    project = planned.servers["active"].project_id
    guests = plan_with("plan without a project", exclude={"projects": [project]})
    assert {guest["outcome"] for guest in guests.values()} == {"excluded"}
    assert {guest["reason"] for guest in guests.values()} == {f"excluded by project {project}"}


def test_a_drain_refuses_with_all_blockers_at_once(refused):
    assert refused["code"] == "blocked"
    blocked = [guest for guest in refused["guests"] if guest["outcome"] == "blocked"]
    assert {guest["name"] for guest in blocked} == BLOCKED
    assert all(guest["code"] and guest["reason"] and guest["remedy"] for guest in blocked)
    assert "cannot go" in refused["msg"]
    assert refused["remedy"] in refused["msg"]


def test_a_drain_that_refuses_has_changed_nothing(refused):
    assert refused.writes == []
    assert not refused["changed"]


# --- the drain of what can go -----------------------------------------------------------------


@pytest.mark.parametrize("name", GOES)
def test_what_can_go_is_moved(drained, name):
    guest, domain = drained.guest(name), drained.domain(name)
    assert (guest["outcome"], guest["code"]) == ("moved", "verified")
    assert guest["method"] == ("cold" if GOES[name].method == "cold" else "live")
    assert guest["from"] == HOST
    assert guest["to"] != HOST
    assert domain == {guest["to"]: GOES[name].domain}


@pytest.mark.parametrize("name", GOES)
def test_what_moved_is_as_it_was(drained, planned, name):
    before, now = planned.servers[name], drained.servers[name]
    assert now.compute_host == drained.guest(name)["to"]
    assert now.vm_state == before.vm_state
    assert now.task_state is None
    assert now.is_locked == before.is_locked == (name == "locked")


@pytest.mark.parametrize("name", STAYS)
def test_what_cannot_go_is_left_with_the_reason(drained, name):
    guest, row = drained.guest(name), STAYS[name]
    assert (guest["outcome"], guest["code"]) == ("left", row.code)
    assert guest["reason"]
    assert guest["remedy"]
    assert guest["to"] == ""
    assert guest["attempts"] == 0


@pytest.mark.parametrize("name", STAYS)
def test_what_cannot_go_is_not_touched(drained, planned, name):
    assert drained.writes_to(name) == []
    assert drained.nova(name) == planned.nova(name)
    assert drained.domain(name) == planned.domain(name)


def test_guests_elsewhere_are_not_touched(drained, planned):
    elsewhere = set(planned.servers) - set(ROWS)
    assert len(elsewhere) == 3
    for name in elsewhere:
        assert drained.nova(name) == planned.nova(name)


def test_a_migration_under_way_is_adopted_not_started(drained):
    kinds = [e["kind"] for e in drained.outcome["events"] if e["name"] == "migrating"]
    assert kinds[0] == "adopted"
    assert "started" not in kinds
    (write,) = drained.writes_to("migrating")
    assert "/migrations/" in write


def test_a_stopped_guest_is_never_started(drained):
    """A cold migration and its confirmation, no more."""
    assert len(drained.writes_to("shutoff")) == 2


def test_a_drain_that_leaves_guests_fails_and_says_so(drained):
    outcome = drained.outcome
    assert outcome["code"] == outcome["outcome"] == "not_drained"
    assert outcome["msg"].startswith(f"NOT drained: {len(STAYS)} guests not moved")
    assert outcome["summary"]["moved"] == len(GOES)
    assert outcome["summary"]["left"] == len(STAYS)
    assert outcome["changed"]


@pytest.mark.parametrize("name", STAYS)
def test_the_look_at_the_host_finds_what_is_left(drained, name):
    assert any(drained.guest(name)["id"] in problem for problem in drained.outcome["problems"])


# --- the drain of what else may go --------------------------------------------------------------


@pytest.mark.parametrize("name", LEAVES)
def test_what_is_allowed_is_done(emptied, name):
    guest, server = emptied.guest(name), emptied.servers[name]
    assert (guest["outcome"], guest["code"]) == ("moved", "verified")
    assert guest["method"] == LEAVES[name]
    assert guest["from"] == HOST
    assert guest["to"] != HOST
    assert emptied.domain(name) == {guest["to"]: "running"}
    assert (server.compute_host, server.vm_state) == (guest["to"], "active")


@pytest.mark.parametrize("name", EXCLUDED)
def test_what_is_excluded_is_not_touched(emptied, planned, name):
    guest = emptied.guest(name)
    assert (guest["outcome"], guest["code"]) == ("excluded", "excluded")
    assert f"excluded by {EXCLUDED[name]}" in guest["reason"]
    assert emptied.writes_to(name) == []
    assert emptied.nova(name) == planned.nova(name)
    assert emptied.domain(name) == planned.domain(name)


def test_a_host_with_nothing_but_excluded_guests_is_drained(emptied):
    assert emptied.outcome["outcome"] == "drained"
    assert emptied.outcome["problems"] == []
    assert emptied.outcome["summary"]["excluded"] == len(EXCLUDED)
    assert emptied.outcome["summary"]["left"] == 0


def test_once_more_there_is_nothing_to_do(module, emptied, exclude):
    again = module("nova_drain", host=HOST, **QUICK, **ALLOWED, exclude=exclude)
    assert again["outcome"] == "nothing_to_do"
    assert not again["changed"]
    assert again.writes == []
