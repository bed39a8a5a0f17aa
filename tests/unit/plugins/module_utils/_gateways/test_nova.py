# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nova's answers as values, and which calls are made for them."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils import _errors as errors
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import nova

SERVER = {
    "id": "g1",
    "name": "web",
    "tenant_id": "p1",
    "OS-EXT-SRV-ATTR:host": "cmp-1",
    "OS-EXT-STS:vm_state": "active",
    "OS-EXT-STS:task_state": None,
    "OS-EXT-STS:power_state": 1,
    "OS-EXT-AZ:availability_zone": "nova",
    "os-extended-volumes:volumes_attached": [{"id": "v1"}],
    "flavor": {
        "vcpus": 2,
        "ram": 2048,
        "disk": 10,
        "ephemeral": 5,
        "swap": 1500,
        "extra_specs": {"hw:cpu_policy": "dedicated"},
    },
    "image": {"id": "i1", "properties": {"hw_firmware_type": "uefi"}},
    "metadata": {"purpose": "test"},
    "addresses": {
        "tenant": [{"addr": "10.0.0.7", "version": 4}, {"addr": "192.0.2.7", "version": 4}],
        "backup": [{"addr": "fd00::7", "version": 6}],
    },
    "tags": ["a"],
    "config_drive": "True",
    "locked": True,
    "pinned_availability_zone": "edge",
}


class FakeApi:
    """Answers GETs from a function, and notes everything that is asked of it."""

    def __init__(self, answer, newest=(2, 100)):
        self.answer, self.newest, self.asked = answer, newest, []

    def get(self, path, params=None, *, microversion=None):
        self.asked.append(("GET", path, dict(params or {}), microversion))
        return self.answer(path, dict(params or {}))

    def pages(self, path, key, params=None, *, microversion=None, marker="id"):
        params = dict(params or {})
        while True:
            page = self.get(path, params, microversion=microversion)[key]
            yield page
            if len(page) < int(params.get("limit", 1000)):
                return
            params["marker"] = page[-1][marker]

    def list(self, path, key, params=None, **more):
        return [item for page in self.pages(path, key, params, **more) for item in page]

    def send(self, method, path, body=None, *, microversion=None):
        self.asked.append((method, path, body, microversion))
        return {}

    def max_microversion(self):
        return self.newest


def test_a_server_becomes_a_guest():
    guest = nova.guest_from(SERVER)
    assert (guest.host, guest.vm_state, guest.task_state) == ("cmp-1", "active", "")
    assert guest.power_state == "running"
    assert guest.disk_gib == 10 + 5 + 2
    assert guest.extra_specs == {"hw:cpu_policy": "dedicated"}
    assert guest.image_properties == {"hw_firmware_type": "uefi"}
    assert guest.image_id == "i1"
    assert guest.volumes == ("v1",)
    assert guest.addresses == ("fd00::7", "10.0.0.7", "192.0.2.7")
    assert guest.config_drive
    assert guest.locked
    assert not guest.boots_from_volume
    assert (guest.pinned_availability_zone, guest.availability_zone) == ("edge", "nova")


def test_a_server_of_an_old_nova_lacks_what_it_does_not_say():
    old = {k: v for k, v in SERVER.items() if k not in ("tags", "pinned_availability_zone")}
    old |= {"image": "", "OS-EXT-SRV-ATTR:host": None, "OS-EXT-STS:power_state": None}
    guest = nova.guest_from(old)
    assert guest.boots_from_volume
    assert guest.disk_gib == 5 + 2
    assert guest.host == guest.pinned_availability_zone == ""
    assert guest.power_state == "nostate"


@pytest.mark.parametrize(("newest", "used"), [((2, 104), "2.100"), ((2, 96), "2.96")])
def test_guests_are_asked_for_at_the_newest_version_that_is_known(newest, used):
    api = FakeApi(lambda *_a: {"servers": [SERVER]}, newest)
    assert [guest.id for guest in nova.Nova(api).guests_of("cmp-1")] == ["g1"]
    assert api.asked == [("GET", "/servers/detail", {"all_tenants": "1", "host": "cmp-1"}, used)]


def test_a_nova_that_is_too_old_is_named():
    with pytest.raises(errors.Unreachable, match=r"2\.60 at most"):
        nova.Nova(FakeApi(None, (2, 60))).guests_of("cmp-1")


def test_a_cell_that_is_down_does_not_make_a_host_look_empty():
    api = FakeApi(lambda *_a: {"servers": [{"id": "g1", "status": "UNKNOWN"}]})
    with pytest.raises(errors.Unreachable, match="cell"):
        nova.Nova(api).guests_of("cmp-1")


def test_names_are_matched_exactly_whatever_the_database_makes_of_them():
    api = FakeApi(lambda *_a: {"servers": [SERVER | {"name": "w.b"}, SERVER | {"name": "web"}]})
    assert [guest.name for guest in nova.Nova(api).guests_named("w.b")] == ["w.b"]
    assert api.asked[0][2]["name"] == "^w.b$"
    nova.Nova(api).guests_named("a(b|c) d")
    assert api.asked[1][2]["name"] == "^a.b.c..d$"


def test_services_and_near_misses():
    def answer(_path, query):
        services = [
            {"id": f"s{i}", "host": f"cmp-{i}", "status": "enabled", "state": "up", "zone": "nova"}
            for i in (1, 2, 30)
        ]
        return {"services": [s for s in services if query.get("host") in (None, s["host"])]}

    gateway = nova.Nova(FakeApi(answer))
    assert gateway.service("cmp-1").enabled
    with pytest.raises(errors.NotFound, match="3 hosts, such as cmp-"):
        gateway.service("cmp-31")


def test_a_cloud_without_hosts_is_said_to_be_one():
    with pytest.raises(errors.NotFound, match="no nova-compute at all"):
        nova.Nova(FakeApi(lambda *_a: {"services": []})).service("cmp-1")


def migration(number, status, **more):
    return {
        "id": number,
        "uuid": f"u{number}",
        "instance_uuid": "g1",
        "migration_type": "live-migration",
        "status": status,
        "source_compute": "cmp-1",
        "dest_compute": None,
        "created_at": f"2026-11-20T03:15:{number:02}",
    } | more


class Migrations:
    """/os-migrations: newest first, in pages."""

    def __init__(self, *rows):
        self.rows = {row["id"]: row for row in rows}

    def __call__(self, _path, query):
        newest = sorted(self.rows.values(), key=lambda row: -row["id"])
        ids = [row["uuid"] for row in newest]
        start = ids.index(query["marker"]) + 1 if "marker" in query else 0
        return {"migrations": newest[start : start + int(query.get("limit", 1000))]}


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(nova, "RECENT_MIGRATIONS", 2)


@pytest.mark.usefixtures("small_pages")
def test_an_old_migration_in_flight_is_never_lost_sight_of():
    rows = Migrations(migration(1, "running"), *(migration(n, "completed") for n in range(2, 9)))
    api = FakeApi(rows)
    gateway = nova.Nova(api)
    assert len(gateway.migrations_of("cmp-1")) == 8
    rows.rows[1]["status"] = "completed"
    assert gateway.migrations_of("cmp-1")[-1].status == "completed"


@pytest.mark.usefixtures("small_pages")
def test_a_host_with_a_long_history_costs_one_call_a_look():
    rows = Migrations(*(migration(n, "completed") for n in range(1, 50)))
    api = FakeApi(rows)
    gateway = nova.Nova(api)
    gateway.migrations_of("cmp-1")
    api.asked.clear()
    rows.rows[50] = migration(50, "accepted")
    seen = gateway.migrations_of("cmp-1")
    assert [m.id for m in seen] == list(range(50, 0, -1))
    assert seen[0].in_flight
    assert len(api.asked) == 1


@pytest.mark.usefixtures("small_pages")
def test_more_new_migrations_than_a_page_holds_are_all_seen():
    rows = Migrations(migration(1, "completed"))
    gateway = nova.Nova(FakeApi(rows))
    gateway.migrations_of("cmp-1")
    rows.rows |= {n: migration(n, "completed") for n in range(2, 9)}
    assert len(gateway.migrations_of("cmp-1")) == 8


@pytest.mark.usefixtures("small_pages")
def test_a_migration_that_was_purged_is_forgotten():
    rows = Migrations(migration(1, "running"), migration(2, "completed"))
    gateway = nova.Nova(FakeApi(rows))
    gateway.migrations_of("cmp-1")
    del rows.rows[1]
    assert [m.id for m in gateway.migrations_of("cmp-1")] == [2]


def refusing(status, text="no"):
    def answer(*_a):
        raise errors.Refused(text, status=status)

    return answer


def test_a_guest_that_is_gone_is_none_and_other_refusals_are_not():
    assert nova.Nova(FakeApi(refusing(404))).guest("g1") is None
    with pytest.raises(errors.Refused):
        nova.Nova(FakeApi(refusing(409))).guest("g1")


def unreachable(*_a):
    raise errors.Unreachable("silence")


@pytest.mark.parametrize(
    ("answer", "alive"),
    [
        (lambda *_a: {"state": "running"}, True),
        (lambda *_a: {"state": "paused"}, True),
        (lambda *_a: {"state": "shutdown"}, False),
        (refusing(409), False),
        (refusing(400), None),
        (unreachable, None),
    ],
)
def test_life(answer, alive):
    assert nova.Nova(FakeApi(answer)).alive("g1") is alive


def test_progress_that_nova_does_not_show():
    assert nova.Nova(FakeApi(refusing(404))).progress("g1", 7) is None
    early = {"migration": {"memory_total_bytes": None}}
    assert nova.Nova(FakeApi(lambda *_a: early)).progress("g1", 7) is None
    body = {"memory_total_bytes": 9, "memory_processed_bytes": 12, "memory_remaining_bytes": 0}
    shown = nova.Nova(FakeApi(lambda *_a: {"migration": body})).progress("g1", 7)
    assert (shown.total_bytes, shown.processed_bytes, shown.remaining_bytes) == (9, 12, 0)


@pytest.mark.parametrize(
    ("events", "cause"),
    [
        ([], ""),
        ([{"result": "Success", "details": "fine"}], ""),
        ([{"result": "Error", "details": "No valid\n host"}], "No valid host"),
        (
            [{"result": "Error", "traceback": "Traceback\n  x\nNoValidHost: none\n"}],
            "NoValidHost: none",
        ),
        (
            [
                {"result": "Error", "details": "first", "finish_time": "1"},
                {"result": "Error", "details": "last", "finish_time": "2"},
            ],
            "last",
        ),
    ],
)
def test_the_cause_of_a_failure(events, cause):
    assert nova.cause_from({"events": events}) == cause


def test_the_cause_is_looked_for_in_the_newest_move():
    def answer(path, _query):
        if path.endswith("/os-instance-actions"):
            actions = (("live-migration", 1), ("live-migration", 3), ("reboot", 9))
            return {
                "instanceActions": [
                    {"action": action, "start_time": str(at), "request_id": f"r{at}"}
                    for action, at in actions
                ]
            }
        return {"instanceAction": {"events": [{"result": "Error", "details": path[-2:]}]}}

    assert nova.Nova(FakeApi(answer)).cause("g1") == "r3"
    assert nova.Nova(FakeApi(refusing(404))).cause("g1") == ""


def test_writes_are_pinned_and_never_forced():
    api = FakeApi(None)
    gateway = nova.Nova(api)
    gateway.live_migrate("g1", "")
    gateway.live_migrate("g1", "cmp-2")
    gateway.cold_migrate("g1", "")
    gateway.cold_migrate("g1", "cmp-2")
    gateway.abort("g1", 7)
    gateway.force_complete("g1", 7)
    live = {"host": None, "block_migration": "auto"}
    assert api.asked == [
        ("POST", "/servers/g1/action", {"os-migrateLive": live}, "2.68"),
        ("POST", "/servers/g1/action", {"os-migrateLive": live | {"host": "cmp-2"}}, "2.68"),
        ("POST", "/servers/g1/action", {"migrate": None}, "2.56"),
        ("POST", "/servers/g1/action", {"migrate": {"host": "cmp-2"}}, "2.56"),
        ("DELETE", "/servers/g1/migrations/7", None, "2.68"),
        ("POST", "/servers/g1/migrations/7/action", {"force_complete": None}, "2.68"),
    ]


def test_a_group_of_hosts_and_its_rule():
    raw = {"id": "x", "name": "n", "policy": "anti-affinity", "members": ["g1", "g2"]}
    group = nova.group_from(raw | {"rules": {"max_server_per_host": 3}})
    assert group.max_server_per_host == 3
    assert group.members == {"g1": "", "g2": ""}
    assert nova.group_from(raw | {"rules": {}}).max_server_per_host == 1
