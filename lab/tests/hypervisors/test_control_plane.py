# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real OpenStack on real hypervisors: a move as four parties see it, and what goes wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lab import seed
from lab.backend import LabError
from lab.hypervisors import accidents, compute, network, population, survey
from lab.hypervisors.backend import HypervisorBackend
from lab.hypervisors.machine import ENVIRONMENT
from lab.hypervisors.settings import Settings
from lab.processes import Process, start_time
from lab.scenario import load, shipped

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and mounts need root")

SCENARIO = shipped("hypervisors")
MICROVERSION = "2.80"
PING_SECONDS = 0.02
LONGEST_GAP_SECONDS = 10.0
MOVE_SECONDS = 240.0


class Lab:
    """A populated lab and a client of its cloud."""

    def __init__(self, backend):
        self.backend, self.site = backend, backend.site
        self.connection = seed.connect(backend.settings.clouds_file)

    def ask(self, function, *arguments, **options):
        """Call the SDK where the APIs are."""
        return network.call(self.site.control, lambda: function(*arguments, **options))

    def server(self, name):
        servers = self.ask(lambda: list(self.connection.compute.servers(all_projects=True)))
        return next(server for server in servers if server.name == name)

    def address(self, name):
        return self.ask(population.addresses, self.connection)[name]

    def hosts_of(self, server):
        """Where libvirt has a server: host -> state."""
        found = survey.domains(self.site)
        return {one["host"]: one["state"] for one in found if one["id"] == server.id}

    def order_move(self, server, host):
        action = {"os-migrateLive": {"host": host, "block_migration": "auto"}}
        answer = self.ask(
            self.connection.compute.post,
            f"/servers/{server.id}/action", json=action, microversion=MICROVERSION,
        )  # fmt: skip
        assert answer.status_code == 202, answer.text

    def settle(self, server):
        """Wait until Nova has ended what it does with a server."""
        return self.until(
            lambda: self.ask(self.connection.compute.get_server, server.id),
            lambda found: found.task_state is None and found.status != "MIGRATING",
        )

    def until(self, look, satisfied, seconds=MOVE_SECONDS):
        deadline = time.monotonic() + seconds
        while not satisfied(found := look()):
            assert time.monotonic() < deadline, found
            time.sleep(0.2)
        return found

    def migrations(self, server):
        query = {"instance_uuid": server.id}
        answer = self.ask(
            self.connection.compute.get,
            "/os-migrations", params=query, microversion=MICROVERSION,
        )  # fmt: skip
        return [one["status"] for one in answer.json()["migrations"]]

    def allocated_on(self, server):
        """The hosts on which Placement holds resources for a server."""

        def look():
            placement = self.connection.placement
            names = {one.id: one.name for one in placement.resource_providers()}
            allocations = placement.get(f"/allocations/{server.id}").json()["allocations"]
            return [names[one] for one in allocations]

        return self.ask(look)

    def bound_to(self, server):
        """The hosts to which Neutron binds the ports of a server."""
        ports = self.ask(lambda: list(self.connection.network.ports(device_id=server.id)))
        return [port.binding_host_id for port in ports]


class Ping:
    """Pings of a guest from the observer, for as long as the block lasts."""

    def __init__(self, lab, address):
        observer = lab.site.observer
        self._command = observer.argv("ping", "-D", "-n", "-i", str(PING_SECONDS), address)
        self.answers = []

    def __enter__(self):
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=ENVIRONMENT,
        )  # fmt: skip
        return self

    def __exit__(self, *_error):
        time.sleep(1)
        children = f"/proc/{self._process.pid}/task/{self._process.pid}/children"
        with open(children) as file:
            for pid in [*map(int, file.read().split()), self._process.pid]:
                os.kill(pid, signal.SIGINT)
        output, _errors = self._process.communicate(timeout=10)
        self.answers = [float(found) for found in re.findall(r"^\[([\d.]+)\].*time=", output, re.M)]

    @property
    def longest_gap(self):
        pairs = zip(self.answers, self.answers[1:], strict=False)
        return max(after - before for before, after in pairs)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    settings = Settings.create(tmp_path_factory.mktemp("hypervisors"))
    backend = HypervisorBackend(settings, print)
    backend.up(SCENARIO, restart=False)
    try:
        backend.seed(SCENARIO)
        yield Lab(backend)
    finally:
        backend.down()


def test_the_population_is_what_the_scenario_says(lab):
    states = {"active": ("ACTIVE", "running"), "paused": ("PAUSED", "paused")}
    states["shutoff"] = ("SHUTOFF", "shut off")
    for guest in load(SCENARIO).guests:
        server = lab.server(guest.name)
        status, domain = states[guest.state]
        assert (server.status, server.compute_host) == (status, guest.host)
        assert lab.hosts_of(server)[guest.host] == domain


def test_a_guest_writes_the_memory_that_the_scenario_wants(lab):
    answer = lab.backend.order_guest("busy", "status")
    assert "rate=40 working_set=96" in answer


def test_a_live_migration_moves_the_guest_for_everybody(lab):
    server = lab.server("idle-01")
    with Ping(lab, lab.address("idle-01")) as ping:
        lab.order_move(server, "cmp-2")
        moved = lab.settle(server)
    assert (moved.status, moved.compute_host) == ("ACTIVE", "cmp-2")
    # Nova frees the server before it writes that the migration has ended.
    assert lab.until(lambda: lab.migrations(server), lambda all_: all_ != ["running"]) == [
        "completed"
    ]
    assert lab.allocated_on(server) == ["cmp-2"]
    assert lab.bound_to(server) == ["cmp-2"]
    assert lab.hosts_of(server) == {"cmp-2": "running"}
    assert ping.longest_gap < LONGEST_GAP_SECONDS
    print(f"longest gap {ping.longest_gap * 1000:.0f} ms of {len(ping.answers)} answers")


def test_a_crash_after_the_switchover_leaves_nova_behind(lab):
    server, source = lab.server("idle-02"), lab.site.hosts["cmp-1"]
    lab.backend.crash("cmp-1", "after_switchover", "compute")
    lab.order_move(server, "cmp-3")
    lab.until(lambda: source.service_pid(compute.SERVICE), lambda pid: pid is None)
    assert lab.hosts_of(server) == {"cmp-3": "running"}
    left = lab.server("idle-02")
    assert (left.status, left.compute_host) == ("MIGRATING", "cmp-1")
    lab.backend.start("cmp-1")
    assert source.service_pid(compute.SERVICE) is not None


def test_a_guest_can_run_twice_and_be_lost(lab):
    server = lab.server("idle-02")
    hosts = lab.site.hosts
    accidents.split_brain(hosts["cmp-3"], hosts["cmp-1"], server.id)
    assert lab.hosts_of(server) == {"cmp-1": "running", "cmp-3": "running"}
    for name in ("cmp-1", "cmp-3"):
        accidents.lose(hosts[name], server.id)
    assert lab.hosts_of(server) == {}


def test_a_crash_of_nothing_is_an_error(lab):
    host = lab.site.hosts["cmp-2"]
    lab.backend.crash("cmp-2", "now", "compute")
    with pytest.raises(LabError, match="cmp-2: nothing runs there"):
        lab.backend.crash("cmp-2", "before_switchover", "compute")
    lab.backend.start("cmp-2")
    assert host.service_pid(compute.SERVICE) is not None


def test_a_power_cut_takes_the_guests_along(lab):
    server = lab.server("idle-01")
    lab.backend.crash("cmp-2", "now", "power")
    assert not lab.site.hosts["cmp-2"].running()
    assert lab.hosts_of(server) == {}
    # Nova learns of it only by the silence of the service.
    assert lab.server("idle-01").status == "ACTIVE"
    lab.backend.start("cmp-2")
    assert lab.site.hosts["cmp-2"].service_pid(compute.SERVICE) is not None
    assert lab.hosts_of(server) == {"cmp-2": "shut off"}


def test_down_leaves_nothing_behind(lab):
    pids = [pid for found in survey.inside(lab.site).values() for pid in found]
    started = [Process("", pid, start_time(pid)) for pid in pids]
    assert all(one.running for one in started)
    lab.backend.down()
    assert not [one for one in started if one.running]
    mounts = Path("/proc/self/mounts").read_text()
    assert str(lab.backend.settings.state) not in mounts
