# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seeding: what each guest needs next, and the loop that leads all of them, on a modelled Nova."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from openstack import exceptions

from lab import scenario, seed, seed_catalog, seed_plan
from lab.scenario import Alteration, Guest
from lab.seed_plan import ALTER, CREATE, DONE, LOCK, WAIT, Unreachable, View


def guest(state: str = "active", **keys) -> Guest:
    if state == "verify_resize":
        keys = {"host": "cmp-1", "source": "cmp-2", **keys}
    return Guest(name="g", flavor="small", image="cirros", state=state, **keys)


def test_every_state_of_the_scenario_file_has_a_way():
    assert set(scenario.GUEST_STATES) == set(seed_plan.WAYS) - {"error, dead"}


def test_a_guest_that_does_not_exist_is_created_at_its_source():
    assert seed_plan.next_step(guest(), None, altered=False) == CREATE
    assert seed_plan.creation_host(guest("verify_resize")) == "cmp-2"
    assert seed_plan.creation_host(guest(host="cmp-1")) == "cmp-1"
    assert seed_plan.creation_host(guest()) is None


@pytest.mark.parametrize(
    ("wanted", "view", "step"),
    [
        (guest(), View("ACTIVE"), DONE),
        (guest(), View("BUILD", launched=False), WAIT),
        (guest("paused"), View("ACTIVE"), "pause"),
        (guest("paused"), View("ACTIVE", task_state="pausing"), WAIT),
        (guest("paused"), View("PAUSED"), DONE),
        (guest("verify_resize"), View("ACTIVE", host="cmp-2"), "migrate"),
        (guest("verify_resize"), View("RESIZE", host="cmp-2"), WAIT),
        (guest("verify_resize"), View("VERIFY_RESIZE", host="cmp-1"), DONE),
        (guest("migrating"), View("ACTIVE"), "live_migrate"),
        (guest("migrating"), View("MIGRATING", task_state="migrating"), DONE),
        (guest(), View("MIGRATING", task_state="migrating"), WAIT),
        (guest("error"), View("ACTIVE"), "reset_to_error"),
        (guest("error", alive=False), View("ACTIVE"), "stop"),
        (guest("error", alive=False), View("SHUTOFF"), "reset_to_error"),
        (guest("error"), View("ERROR"), DONE),
        (guest("building"), View("ACTIVE"), ALTER),
        (guest("building"), View("BUILD", launched=False), WAIT),
        (guest("building"), View("BUILD", task_state="spawning"), ALTER),
        (guest("soft_deleted"), View("ACTIVE"), "soft_delete"),
        (guest("soft_deleted"), View("SOFT_DELETED"), DONE),
        (guest(locked=True), View("ACTIVE"), LOCK),
        (guest(locked=True), View("ACTIVE", locked=True), DONE),
        (guest(alter=Alteration(task_state="x")), View("ACTIVE"), ALTER),
        (guest(alter=Alteration(task_state="x")), View("ACTIVE", task_state="x"), ALTER),
        (guest(alter=Alteration(task_state="x")), View("ACTIVE", task_state="y"), WAIT),
    ],
)
def test_next_step(wanted, view, step):
    assert seed_plan.next_step(wanted, view, altered=False) == step


def test_an_alteration_is_made_once_in_a_run():
    wanted = guest(alter=Alteration(extra_specs={"hw:mem_encryption": "true"}))
    assert seed_plan.next_step(wanted, View("ACTIVE"), altered=True) == DONE
    held = View("BUILD", task_state="spawning")
    assert seed_plan.next_step(guest("building"), held, altered=True) == DONE


@pytest.mark.parametrize(
    ("wanted", "view", "reason"),
    [
        (guest(), View("ERROR", fault="No valid host was found."), "No valid host"),
        (guest("error"), View("ERROR", fault="Build failed"), "Build failed"),
        (guest("paused"), View("SHUTOFF"), "no way from SHUTOFF to paused"),
        (guest("shelved"), View("SHELVED_OFFLOADED"), "no way from SHELVED_OFFLOADED"),
        (guest(host="cmp-1"), View("ACTIVE", host="cmp-2"), "is on cmp-2, not on cmp-1"),
    ],
)
def test_a_guest_out_of_reach_says_why(wanted, view, reason):
    step = seed_plan.next_step(wanted, view, altered=False)
    assert isinstance(step, Unreachable)
    assert reason in step.reason


# --- the loop, on a Nova that takes one list call to finish each action ---------------------


class ModelNova:
    """Just enough of the SDK's compute proxy: actions take effect at the list after the next."""

    ENDS = {
        "pause": ("pausing", "PAUSED"),
        "stop": ("powering-off", "SHUTOFF"),
        "suspend": ("suspending", "SUSPENDED"),
        "rescue": ("rescuing", "RESCUE"),
        "shelve": ("shelving", "SHELVED"),
    }

    def __init__(self):
        self.rows: dict[str, dict] = {}
        self.calls: list[tuple[str, str]] = []
        self.refuse: dict[str, list[Exception]] = {}
        self._lock = threading.Lock()

    def __getattr__(self, name):
        verb = name.removesuffix("_server")
        if verb not in self.ENDS:
            raise AttributeError(name)
        return lambda server: self._act(verb, server, *self.ENDS[verb])

    def _act(self, verb, server, task, status, **extra):
        with self._lock:
            row = self.rows[server]
            self.calls.append((verb, row["name"]))
            if self.refuse.get(row["name"]):
                raise self.refuse[row["name"]].pop()
            row.update(task_state=task, _next={"status": status, "task_state": None, **extra})

    def get(self, path, params, microversion):
        assert path == "/servers/detail"
        assert params["soft_deleted"], "soft-deleted servers are left out otherwise"
        with self._lock:
            names = sorted(self.rows)
            after = names.index(params["marker"]) + 1 if "marker" in params else 0
            chosen = [self.rows[name] for name in names[after : after + params["limit"]]]
            listed = [self._row(row) for row in chosen]
            for row in chosen:
                row.update(row.pop("_next", {}))
        return SimpleNamespace(status_code=200, json=lambda: {"servers": listed})

    @staticmethod
    def _row(row):
        return {
            "id": row["id"], "name": row["name"], "status": row["status"],
            "OS-EXT-STS:task_state": row["task_state"], "locked": row["is_locked"],
            "OS-EXT-SRV-ATTR:host": row["compute_host"],
            "OS-SRV-USG:launched_at": row["launched_at"],
        }  # fmt: skip

    def create_server(self, name, host=None, **body):
        assert body["networks"]
        with self._lock:
            self.calls.append(("create", name))
            self.rows[name] = {
                "id": name, "name": name, "status": "BUILD", "task_state": "spawning",
                "compute_host": None, "is_locked": False, "launched_at": None,
                "_next": {
                    "status": "ACTIVE", "task_state": None, "launched_at": "now",
                    "compute_host": host,
                },
            }  # fmt: skip
            return SimpleNamespace(id=name)

    def migrate_server(self, server, host):
        self._act("migrate", server, "resize_prep", "VERIFY_RESIZE", compute_host=host)

    def delete_server(self, server):
        self._act("delete", server, "soft-deleting", "SOFT_DELETED")

    def reset_server_state(self, server, state):
        self._act("reset", server, None, state.upper())

    def lock_server(self, server):
        status = self.rows[server]["status"]
        self._act("lock", server, self.rows[server]["task_state"], status, is_locked=True)

    def post(self, path, json, microversion):
        assert microversion == seed.COMPUTE_MICROVERSION
        server = path.split("/")[2]
        self._act("live_migrate", server, "migrating", "MIGRATING")
        self.rows[server]["_next"]["task_state"] = "migrating"
        return SimpleNamespace(status_code=202)


class ModelControl:
    def __init__(self, nova):
        self.nova, self.registered, self.altered = nova, {}, []

    def put(self, path, body):
        self.registered[path] = body

    def post(self, path, body):
        server = path.split("/")[2]
        self.altered.append(server)
        if body.get("vm_state") == "building":
            self.nova.rows[server].update(status="BUILD", task_state=body["task_state"])
        elif "task_state" in body:
            self.nova.rows[server]["task_state"] = body["task_state"]


@pytest.fixture(name="states")
def fixture_states():
    return scenario.load(scenario.shipped("states"))


@pytest.fixture(autouse=True)
def _instant(monkeypatch):
    """Real threads do the actions: leave them a moment between two lists, no more."""
    pause = threading.Event()
    monkeypatch.setattr(seed.time, "sleep", lambda seconds: pause.wait(0.002))


def populate(scene, nova, control):
    names = [*scene.flavors, *scene.images, *scene.networks, *scene.volumes, *scene.server_groups]
    every = {item.name: item.name for item in names}
    catalog = seed_catalog.Catalog(every, every, every, every, every)
    network = SimpleNamespace(
        ports=lambda name: iter(()), create_port=lambda **body: SimpleNamespace(id="port")
    )
    connection = SimpleNamespace(compute=nova, network=network)
    with ThreadPoolExecutor(2) as pool:
        population = seed._Population(connection, control, scene, catalog, pool)
        population.run()
    return population


def statuses(nova):
    return {row["name"]: row["status"] for row in nova.rows.values()}


def test_every_guest_of_states_reaches_its_state(states):
    nova = ModelNova()
    control = ModelControl(nova)
    population = populate(states, nova, control)
    assert population.created == len(states.guests)
    wanted = {
        "active": "ACTIVE", "paused": "PAUSED", "shutoff": "SHUTOFF", "suspended": "SUSPENDED",
        "rescued": "RESCUE", "shelved": "SHELVED", "verify_resize": "VERIFY_RESIZE",
        "migrating": "MIGRATING", "error": "ERROR", "building": "BUILD",
        "soft_deleted": "SOFT_DELETED",
    }  # fmt: skip
    assert statuses(nova) == {guest.name: wanted[guest.state] for guest in states.guests}
    assert nova.rows["locked"]["is_locked"]
    assert nova.rows["resized-here"]["compute_host"] == "cmp-1"
    assert nova.rows["resized-away"]["compute_host"] == "cmp-2"
    assert ("stop", "error-dead") in nova.calls
    assert ("stop", "error-alive") not in nova.calls
    assert {"vtpm", "share", "task-set", "building"} == set(control.altered)
    assert len(control.registered) == len(states.guests)
    assert control.registered["/guests/migrating"]["never_converges"] is True


def test_seeding_again_does_nothing_to_the_guests(states):
    nova = ModelNova()
    control = ModelControl(nova)
    populate(states, nova, control)
    nova.calls.clear()
    assert populate(states, nova, control).created == 0
    assert nova.calls == []


def test_seeding_again_finishes_what_was_interrupted(states):
    nova = ModelNova()
    control = ModelControl(nova)
    populate(states, nova, control)
    del nova.rows["active"]
    nova.rows["paused"].update(status="ACTIVE")
    nova.calls.clear()
    assert populate(states, nova, control).created == 1
    assert sorted(nova.calls) == [("create", "active"), ("pause", "paused")]


def one_guest(**keys):
    scene = scenario.load(scenario.shipped("smoke"))
    guest = Guest(name="one", flavor="small", image="cirros", **keys)
    return dataclasses.replace(scene, guests=(guest,))


def test_long_lists_come_in_pages(states, monkeypatch):
    monkeypatch.setattr(seed, "PAGE", 7)
    nova = ModelNova()
    populate(states, nova, ModelControl(nova))
    assert set(statuses(nova)) == {guest.name for guest in states.guests}


def test_a_conflict_is_tried_once_more():
    nova = ModelNova()
    nova.refuse["one"] = [exceptions.ConflictException("busy")]
    populate(one_guest(state="paused"), nova, ModelControl(nova))
    assert nova.calls == [("create", "one"), ("pause", "one"), ("pause", "one")]
    assert statuses(nova) == {"one": "PAUSED"}


def test_a_refusal_names_the_guest_the_action_and_the_reason():
    nova = ModelNova()
    nova.refuse["one"] = [exceptions.HttpException("snapshot is not possible")]
    with pytest.raises(seed.SeedError, match=r"one: shelve: .*snapshot is not possible"):
        populate(one_guest(state="shelved"), nova, ModelControl(nova))


def test_an_action_without_effect_ends_the_attempts():
    nova = ModelNova()
    nova.ENDS = {**ModelNova.ENDS, "pause": (None, "ACTIVE")}
    with pytest.raises(seed.SeedError, match=r"one: pause done .* without effect"):
        populate(one_guest(state="paused"), nova, ModelControl(nova))


def test_no_progress_ends_with_what_the_guest_waits_for(monkeypatch):
    monkeypatch.setattr(seed, "STALL_SECONDS", 0.05)
    nova = ModelNova()
    nova.ENDS = {**ModelNova.ENDS, "pause": ("pausing", "ACTIVE")}
    listing = nova.get

    def stuck(*args, **query):
        answer = listing(*args, **query)
        for row in nova.rows.values():
            if row["task_state"] is None and ("pause", "one") in nova.calls:
                row["task_state"] = "pausing"
        return answer

    nova.get = stuck
    with pytest.raises(seed.SeedError, match=r"one: no progress for .*pausing"):
        populate(one_guest(state="paused"), nova, ModelControl(nova))


def test_a_cloud_of_another_scenario_is_refused_before_anything_is_made(states):
    services = [SimpleNamespace(host="cmp-1")]
    connection = SimpleNamespace(compute=SimpleNamespace(services=lambda binary: services))
    with pytest.raises(seed.SeedError, match=r"no cmp-2, cmp-3, cmp-4; start it with"):
        seed.populate(states, connection, control=None, build=seed_catalog.build)


def test_a_cloud_that_does_not_answer_is_an_error_of_one_line(states, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        auth = {"auth_url": f"{url}/v3", "username": "a", "password": "b", "project_name": "c"}
        clouds = {"clouds": {"lab": {"auth": auth, "region_name": "RegionOne"}}}
        (tmp_path / "clouds.yaml").write_text(json.dumps(clouds))
        with pytest.raises(seed.SeedError, match="seeding states: ") as caught:
            seed.seed(states, tmp_path / "clouds.yaml", url)
    assert "\n" not in str(caught.value)


def test_a_control_api_that_does_not_answer_is_an_error():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        control = seed.Control(f"http://127.0.0.1:{probe.getsockname()[1]}")
        with pytest.raises(seed.SeedError, match=r"control API: PUT .*/guests/x: .*refused"):
            control.put("/guests/x", {})
