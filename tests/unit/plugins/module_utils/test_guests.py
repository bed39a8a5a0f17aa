# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Named guests: found, judged by each module, and moved or refused before anything is asked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils import _errors as errors
from ansible_collections.lowtide.compute.plugins.module_utils import _guests as guests
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Evidence,
    Observation,
    Scope,
)
from ansible_collections.lowtide.compute.plugins.modules import (
    nova_cold_migrate,
    nova_live_migrate,
)
from tests.unit.support import guest, migration, room, service, survey

DEFAULTS = {name: spec.get("default") for name, spec in guests.SPEC.items()}


class Cloud:
    """Guests by name; a migration that is asked for is over at the next look."""

    def __init__(self, *found, busy=()):
        self.found = {each.id: each for each in found}
        self.migrations = tuple(busy)
        self.asked = []
        self.services = {"cmp-1": service("cmp-1"), "cmp-2": service("cmp-2")}

    def find_guests(self, wanted):
        return tuple(g for g in self.found.values() if wanted in (g.id, g.name))

    def service(self, host):
        return self.services[host]

    def survey(self, scope):
        present = [self.found[i] for i in scope.guest_ids]
        rooms = (room("cmp-1"), room("cmp-2"))
        return survey(*present, scope=scope, rooms=rooms, migrations=self.migrations)

    def observe(self, scope):
        return Observation(
            guests=tuple(self.found[i] for i in scope.guest_ids), migrations=self.migrations
        )

    def live_migrate(self, guest_id, host):
        self._move("live", guest_id, host, "live-migration", "completed")

    def cold_migrate(self, guest_id, host):
        self._move("cold", guest_id, host, "migration", "confirmed")

    def _move(self, how, guest_id, host, kind, status):
        self.asked.append((how, guest_id, host))
        number = len(self.migrations) + 1
        done = migration(number, guest_id, kind=kind, status=status)
        self.migrations = (done, *self.migrations)
        fields = {name: getattr(self.found[guest_id], name) for name in ("vm_state", "power_state")}
        self.found[guest_id] = guest(guest_id, host=host or "cmp-2", **fields)

    def evidence(self, guest_id, migration_uuid):
        there = self.found[guest_id]
        return Evidence(
            True, there.host, there.vm_state, "", there.power_state, allocations=(there.host,)
        )


class Clock:
    """Virtual seconds."""

    def __init__(self):
        self.seconds = 1_800_000_000.0

    def now(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += max(seconds, 0.001)


def task(cloud, check=False, **params):
    return SimpleNamespace(
        cloud=cloud,
        clock=Clock(),
        check_mode=check,
        params=DEFAULTS | {"host": None, "servers": ["g1"]} | params,
        chance=lambda: "0000",
    )


def live(cloud, **more):
    return nova_live_migrate.handle(task(cloud, **more))


def cold(cloud, **more):
    return nova_cold_migrate.handle(task(cloud, **more))


STOPPED = {"vm_state": "stopped", "power_state": "shutdown"}


def test_a_guest_moves_and_is_verified():
    cloud = Cloud(guest("g1"))
    result = live(cloud)
    assert result["changed"]
    assert result["msg"] == "vm-g1: moved to cmp-2"
    assert result["summary"] == {"total": 1, "moved": 1}
    assert cloud.asked == [("live", "g1", "")]


def test_check_mode_asks_for_nothing():
    cloud = Cloud(guest("g1"))
    result = live(cloud, check=True)
    assert result["changed"]
    assert result["guests"][0]["outcome"] == "planned"
    assert cloud.asked == []


def test_a_guest_that_is_there_stays():
    result = live(Cloud(guest("g1", host="cmp-2")), host="cmp-2")
    assert not result["changed"]
    assert result["guests"][0]["outcome"] == "already_there"


def test_guests_are_named_once_each():
    cloud = Cloud(guest("g1"), guest("g2"))
    assert guests.find(cloud, ["vm-g2", "g1", "g2"]) == ("g2", "g1")


@pytest.mark.parametrize(
    ("servers", "error", "words"),
    [
        (["g9"], errors.NotFound, "servers: 'g9'"),
        ([" "], errors.NotFound, "servers: ' '"),
        ([], errors.BadOption, "names no guest"),
        (["twin"], errors.BadOption, "several guests: g1, g2"),
    ],
)
def test_guests_that_cannot_be_told(servers, error, words):
    cloud = Cloud(guest("g1", name="twin"), guest("g2", name="twin"))
    with pytest.raises(error, match=words):
        live(cloud, servers=servers)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"enabled": False, "disabled_reason": "ask Eve"}, r"disabled \(ask Eve\)"),
        ({"enabled": False}, "is disabled, so"),
        ({"up": False}, "is down, so"),
        ({"forced_down": True}, "is down, so"),
    ],
)
def test_a_destination_that_takes_no_guests(fields, words):
    cloud = Cloud(guest("g1"))
    cloud.services["cmp-2"] = service("cmp-2", **fields)
    with pytest.raises(errors.HostNotReady, match=words):
        live(cloud, host="cmp-2")
    assert cloud.asked == []


@pytest.mark.parametrize(
    ("handle", "fields", "code"),
    [
        (live, STOPPED, "not_running"),
        (live, {"vm_state": "suspended"}, "suspended"),
        (cold, {}, "running"),
        (cold, {"vm_state": "paused", "power_state": "paused"}, "paused"),
    ],
)
def test_guests_that_cannot_go_this_way_keep_all_from_going(handle, fields, code):
    cloud = Cloud(guest("g1", **fields), guest("g2", **(STOPPED if handle is cold else {})))
    with pytest.raises(errors.Blocked, match=f"vm-g1: {code}") as refused:
        handle(cloud, servers=["g1", "g2"])
    assert refused.value.remedy
    assert {row["outcome"] for row in refused.value.details["guests"]} == {"blocked", "planned"}
    assert cloud.asked == []


def test_a_stopped_guest_goes_cold():
    cloud = Cloud(guest("g1", **STOPPED))
    assert cold(cloud, host="cmp-2")["guests"][0]["method"] == "cold"
    assert cloud.asked == [("cold", "g1", "cmp-2")]


def test_a_running_guest_goes_cold_when_it_may():
    cloud = Cloud(guest("g1"))
    assert cold(cloud, allow_cold_migration=True)["guests"][0]["outcome"] == "moved"
    assert cloud.asked == [("cold", "g1", "")]


def test_without_wait_all_are_asked_for_at_once():
    cloud = Cloud(guest("g1"), guest("g2"), guest("g3"))
    live(cloud, servers=["g1", "g2", "g3"], wait=False)
    assert [asked[1] for asked in cloud.asked] == ["g1", "g2", "g3"]


def test_a_migration_that_was_running_and_ends_elsewhere_is_no_success():
    class Elsewhere(Cloud):
        """The guest is on its way to cmp-3 and arrives after the first look."""

        def observe(self, scope):
            seen = super().observe(scope)
            self.found["g1"] = guest("g1", host="cmp-3")
            self.migrations = (migration(1, destination="cmp-3", status="completed"),)
            return seen

    cloud = Elsewhere(guest("g1"), busy=[migration(1, destination="cmp-3")])
    with pytest.raises(errors.NotDrained, match=r"elsewhere.*cmp-3") as raised:
        live(cloud, host="cmp-2")
    assert raised.value.details["guests"][0]["outcome"] == "left"
    assert cloud.asked == []


def test_the_scope_is_the_guests_and_no_host():
    seen = []

    class Noting(Cloud):
        """Keeps the scopes."""

        def survey(self, scope):
            seen.append(scope)
            return super().survey(scope)

    live(Noting(guest("g1")))
    assert seen == [Scope(guest_ids=("g1",))]
