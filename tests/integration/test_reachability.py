# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe and fping in real networks: two network namespaces, and a wire that can be cut.

Needs root, iproute2 and fping; no cloud.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

MODULE = "ansible_collections.lowtide.compute.plugins.modules.reachability_probe"
OBSERVER, WEB, DB, NOBODY = "10.213.0.1", "10.213.0.2", "10.213.0.3", "10.213.0.9"
PORT = 8080
INTERVAL_MS = 20
SERVER = f"""
import socket
with socket.create_server(("", {PORT})) as server:
    print("up", flush=True)
    while True:
        server.accept()[0].close()
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces want root")


class Namespace:
    """A network namespace without a name, which ends with the process that holds it."""

    def __init__(self) -> None:
        script = "ip link set lo up && echo up && exec sleep 600"
        self.holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", script], stdout=subprocess.PIPE, text=True
        )
        assert self.holder.stdout.readline() == "up\n"

    def command(self, *command: str) -> list[str]:
        return ["nsenter", "--target", str(self.holder.pid), "--net", *command]

    def ip(self, *arguments: str) -> None:
        subprocess.run(self.command("ip", *arguments), check=True)

    def ignore_pings(self, ignore: bool) -> None:
        path = "/proc/sys/net/ipv4/icmp_echo_ignore_all"
        subprocess.run(self.command("sh", "-c", f"echo {int(ignore)} > {path}"), check=True)

    def stop(self) -> None:
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()


class Network:
    """An observer, and a machine at the other end of its wire that answers for all guests."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.status_path = directory / "found.json"
        self.observer, self.guests = Namespace(), Namespace()
        self.observer.ip(
            *"link add o0 type veth peer name g0 netns".split(), str(self.guests.holder.pid)
        )
        self.observer.ip("address", "add", f"{OBSERVER}/24", "dev", "o0")
        self.observer.ip("link", "set", "o0", "up")
        for address in (WEB, DB):
            self.guests.ip("address", "add", f"{address}/24", "dev", "g0")
        self.guests.ip("link", "set", "g0", "up")
        self._remember_guests()
        self._server = subprocess.Popen(
            self.guests.command(sys.executable, "-c", SERVER), stdout=subprocess.PIPE, text=True
        )
        assert self._server.stdout.readline() == "up\n"

    def _remember_guests(self) -> None:
        """Else the observer forgets them with the carrier, and takes up to a second to ask."""
        shown = subprocess.check_output(self.guests.command("ip", "--json", "link", "show", "g0"))
        (link,) = json.loads(shown)
        for address in (WEB, DB):
            entry = f"neighbour replace {address} lladdr {link['address']} dev o0 nud permanent"
            self.observer.ip(*entry.split())

    def stop(self) -> None:
        self._server.kill()
        self._server.wait()
        self._server.stdout.close()
        self.observer.stop()
        self.guests.stop()

    def cut(self, seconds: float) -> float:
        """Take the wire away for that long; for how long it was away, in ms."""
        began = time.monotonic()
        self.guests.ip("link", "set", "g0", "down")
        time.sleep(seconds)
        self.guests.ip("link", "set", "g0", "up")
        return 1000 * (time.monotonic() - began)

    def begin(self, **options: Any) -> subprocess.Popen[str]:
        """The module on the observer, as Ansible starts it there."""
        arguments = {"interval_ms": INTERVAL_MS, **options}
        return subprocess.Popen(
            self.observer.command(sys.executable, "-m", MODULE),
            stdin=self._given(arguments),
            stdout=subprocess.PIPE,
            text=True,
        )

    def _given(self, arguments: dict[str, Any]) -> int:
        read, write = os.pipe()
        with os.fdopen(write, "w") as file:
            json.dump({"ANSIBLE_MODULE_ARGS": arguments}, file)
        return read

    def probe(self, **options: Any) -> dict[str, Any]:
        """The module's result; it must succeed."""
        result = finish(self.begin(**options))
        assert not result.get("failed"), result
        return result

    def at_path(self, state: str, **options: Any) -> dict[str, Any]:
        return self.probe(state=state, status_path=str(self.status_path), **options)

    @contextmanager
    def started(self, *guests: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
        """A probe that runs; killed in the end, if it is still there."""
        process = self.begin(state="started", guests=guests, status_path=str(self.status_path))
        try:
            deadline = time.monotonic() + 30
            while not self.at_path("status")["running"]:  # Of one that was killed here before.
                assert time.monotonic() < deadline
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _nothing = process.communicate(timeout=60)
    return json.loads(output)


def guest(address: str, **more: Any) -> dict[str, Any]:
    return {"id": f"id-{address}", "name": address, "address": address, **more}


def children(process: subprocess.Popen[str]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


@pytest.fixture(scope="module")
def wire(tmp_path_factory) -> Iterator[Network]:
    made = Network(tmp_path_factory.mktemp("probe"))
    yield made
    made.stop()


@pytest.fixture
def network(wire, tmp_path) -> Network:
    """The network, and a status file that no other test has used."""
    wire.status_path = tmp_path / "found.json"
    return wire


def test_without_a_disturbance_nothing_is_lost(network):
    result = network.probe(duration=1.5, guests=[guest(WEB, port=PORT), guest(DB)])
    web, db = result["guests"]
    assert web["sent"] > 60
    assert web["tcp"]["sent"] > 30
    assert (web["lost"], web["tcp"]["lost"], db["lost"], db["tcp"]) == (0, 0, 0, None)
    assert web["longest_gap_ms"] < 15 * INTERVAL_MS
    assert not network.status_path.exists()


def test_a_cut_of_the_wire_is_the_longest_gap(network):
    guests = [guest(WEB, port=PORT), guest(DB), guest(NOBODY)]
    with network.started(*guests):
        time.sleep(0.5)
        before = time.time()
        away = network.cut(0.3)
        time.sleep(1.5)
        result = network.at_path("stopped")
    web, db, nobody = result["guests"]
    for found in (web, db, web["tcp"]):
        # The guests' side looks for the observer again before it answers.
        assert 300 <= found["longest_gap_ms"] <= away + 15 * INTERVAL_MS
        assert found["lost"] >= 250 / INTERVAL_MS
        assert found["silent_ms"] < 15 * INTERVAL_MS
        began = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(before))
        assert found["gap_at"].startswith(began[:13])
    assert (nobody["answered"], nobody["lost"]) == (False, None)
    assert result["changed"]
    assert not result["running"]


def test_who_drops_pings_is_measured_by_connects(network):
    network.guests.ignore_pings(True)
    result = network.probe(duration=1, guests=[guest(WEB, port=PORT), guest(DB)])
    network.guests.ignore_pings(False)
    web, db = result["guests"]
    assert (web["measured_by"], web["answered"], web["lost"]) == ("tcp", True, 0)
    assert web["longest_gap_ms"] == web["tcp"]["longest_gap_ms"] < 400
    assert (db["measured_by"], db["answered"]) == ("", False)


def test_the_started_module_returns_what_the_stopped_one_does(network):
    with network.started(guest(WEB)) as process:
        stopped = network.at_path("stopped")
        returned = finish(process)
    assert returned["guests"] == stopped["guests"]
    assert returned["changed"]
    assert not list(network.status_path.parent.glob("*.run"))


def test_a_silence_is_seen_while_it_lasts(network):
    with network.started(guest(WEB)):
        began = time.monotonic()
        network.guests.ip("link", "set", "g0", "down")
        time.sleep(2.5)
        found = network.at_path("status")
        passed_ms = (time.monotonic() - began) * 1000
        network.guests.ip("link", "set", "g0", "up")
        (web,) = found["guests"]
        assert web["answered"]
        # What passed, and the interval between two pings before.
        assert 1000 < web["silent_ms"] == web["longest_gap_ms"] < passed_ms + 500
        assert found["age_ms"] < passed_ms


def test_a_killed_probe_leaves_its_figures_no_fping_and_its_place(network):
    with network.started(guest(WEB)) as process:
        time.sleep(1.2)
        (fping,) = children(process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = network.at_path("status")
        assert not found["running"]
        assert found["guests"][0]["sent"] > 10
        deadline = time.monotonic() + 5
        while Path(f"/proc/{fping}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{fping}").exists()
    assert not network.at_path("stopped")["changed"]
    with network.started(guest(DB)):
        assert network.at_path("status")["guests"][0]["name"] == DB


def test_there_is_one_probe_for_each_path(network):
    with network.started(guest(WEB)):
        second = finish(
            network.begin(state="started", guests=[guest(DB)], status_path=str(network.status_path))
        )
        assert (second["failed"], second["code"]) == (True, "bad_option")
        assert "another probe" in second["msg"]
        assert network.at_path("status")["running"]


def test_a_probe_that_is_held_up_blames_no_guest(network):
    with network.started(guest(WEB)) as process:
        time.sleep(0.5)
        (fping,) = children(process)
        os.kill(fping, signal.SIGSTOP)
        time.sleep(0.6)
        os.kill(fping, signal.SIGCONT)
        time.sleep(0.5)
        result = network.at_path("stopped")
    assert result["late_ms"] >= 500
    assert result["guests"][0]["longest_gap_ms"] < 300
    # The one under way when it was stopped, if that took more than a second.
    assert result["guests"][0]["lost"] <= 1


def test_where_there_is_no_way_nothing_begins(network):
    result = finish(network.begin(duration=5, guests=[guest(WEB), guest("192.0.2.7")]))
    assert (result["failed"], result["code"]) == (True, "bad_option")
    assert result["option"] == "guests[1].address"
    assert "Network is unreachable" in result["msg"]


def test_check_mode_starts_nothing(network):
    options = {"state": "started", "guests": [guest(WEB)], "_ansible_check_mode": True}
    assert network.at_path(**options)["changed"]
    assert list(network.status_path.parent.iterdir()) == []
    with network.started(guest(WEB)):
        assert network.at_path("stopped", _ansible_check_mode=True)["changed"]
        assert network.at_path("status")["running"]
