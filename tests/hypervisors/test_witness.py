# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The third witness on real hypervisors: accidents that Nova's API does not tell of.

Each test drains cmp-1 of one guest of its own; the others are excluded.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.hypervisors import accidents
from lab.hypervisors.machine import Machine
from lab.hypervisors.settings import Settings
from lab.hypervisors.site import Site

ROOT = Path(__file__).parents[2]
GUESTS = ("well", "twice", "unnoticed", "vanishing")
SCENARIO = f"""
name: witnesses
hosts: [{{name: cmp-1}}, {{name: cmp-2}}]
flavors: [{{name: tiny, ram_mib: 192, disk_gib: 1}}]
images: [{{name: guest}}]
networks: [{{name: tenant, cidr: 10.88.0.0/24}}]
guest_defaults: {{flavor: tiny, image: guest, networks: [tenant], host: cmp-1}}
guests: [{", ".join(f"{{name: {name}}}" for name in GUESTS)}]
"""
#: Budgets that are over soon: a guest of this size moves in ten seconds.
SOON = {
    "poll_interval": 2,
    "quiet_seconds": 0,
    "timeout_per_gib": 10,
    "escalation_timeout": 10,
    "settle_timeout": 60,
    "max_attempts": 1,
    "progress": "none",
}
LAB_SECONDS, DRAIN_SECONDS = 900, 600


@dataclass(frozen=True)
class Cloud:
    """A lab with a cloud on it. ``ids``: of its guests, by name."""

    state: Path
    site: Site
    ids: dict[str, str]

    def lab(self, *words: str, seconds: float = LAB_SECONDS) -> subprocess.CompletedProcess[str]:
        return run_lab(self.state, *words, seconds=seconds)

    def host(self, name: str) -> Machine:
        return self.site.hosts[name]

    def drain(self, guest: str, **options: Any) -> dict[str, Any]:
        """Move one guest from cmp-1; the module's result with the guest's own row as ``row``."""
        others = [name for name in GUESTS if name != guest and self.lives_on(name, "cmp-1")]
        arguments = SOON | {"cloud": "lab", "host": "cmp-1", "exclude": {"names": others}}
        arguments |= {"hypervisors": {"cmp-1": "cmp-1", "cmp-2": "cmp-2"}} | options
        command = ["exec", "--net-only", "ctl", "--", "ansible", "localhost", "--one-line"]
        command += [f"--inventory={self.state / 'inventory.yml'}"]
        command += ["--module-name=lowtide.compute.nova_drain", f"--args={json.dumps(arguments)}"]
        done = self.lab(*command, seconds=DRAIN_SECONDS)
        _head, arrow, text = done.stdout.partition("=> ")
        assert arrow, done.stdout + done.stderr
        result = json.loads(text)
        rows = [row for row in result["guests"] if row["name"] == guest]
        return result | {"row": rows[0] if rows else {}}

    def lives_on(self, guest: str, host: str) -> bool:
        return self.ids[guest] in self.nova()[host]

    def nova(self) -> dict[str, dict[str, str]]:
        """Status of each guest by its ID, by the host on which Nova has it."""
        program = (
            "import json, openstack; print(json.dumps([[s.compute_host, s.id, s.status, s.name]"
            " for s in openstack.connect(cloud='lab').compute.servers(all_projects=True)]))"
        )
        done = self.lab("exec", "--net-only", "ctl", "--", "python", "-c", program)
        found: dict[str, dict[str, str]] = {"cmp-1": {}, "cmp-2": {}}
        for host, guest_id, status, name in json.loads(done.stdout):
            found[host][guest_id] = status
            self.ids[name] = guest_id
        return found

    def running(self, host: str) -> list[str]:
        """IDs of the domains that run on a host."""
        return self.host(host).run("virsh", "list", "--uuid").stdout.split()


def run_lab(state: Path, *words: str, seconds: float) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "LAB_STATE": str(state),
        "LAB_BACKEND": "hypervisors",
        "OS_CLIENT_CONFIG_FILE": str(state / "clouds.yaml"),
    }
    return subprocess.run(
        [ROOT / "lab" / "lab", *words],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Two hosts and a cloud, with its guests on cmp-1."""
    state = tmp_path_factory.mktemp("lab")
    scenario = state.with_suffix(".yml")
    scenario.write_text(SCENARIO)
    try:
        for words in (("up", "--scenario", str(scenario)), ("seed", str(scenario))):
            done = run_lab(state, *words, seconds=LAB_SECONDS)
            assert done.returncode == 0, done.stdout + done.stderr
        made = Cloud(state, Site.load(Settings.create(state)), {})
        made.nova()
        yield made
    finally:
        run_lab(state, "down", seconds=LAB_SECONDS)


def told(result: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [event for event in result["events"] if event["kind"] == kind]


def test_a_guest_that_arrived_has_three_witnesses(cloud: Cloud) -> None:
    result = cloud.drain("well")
    assert (result["outcome"], result["problems"]) == ("drained", [])
    assert (result["row"]["outcome"], result["row"]["witnesses"]) == ("moved", 3)
    assert cloud.ids["well"] in cloud.running("cmp-2")


def test_a_guest_that_runs_twice_stops_everything(cloud: Cloud) -> None:
    twice = cloud.ids["twice"]
    with meanwhile(bring_back, cloud, twice):
        result = cloud.drain("twice")
    assert (result["row"]["outcome"], result["row"]["code"]) == ("unverified", "split_brain")
    assert told(result, "stopped")[0]["data"] == {"reason": "split_brain"}
    assert not told(result, "moved")
    assert [each for each in result["problems"] if f"libvirt has domain {twice} (running)" in each]
    accidents.lose(cloud.host("cmp-1"), twice)


def bring_back(cloud: Cloud, guest: str) -> None:
    """Run a guest on cmp-1 again, as soon as Nova has cleaned up there after its move."""
    left = cloud.host("cmp-1").path(accidents.INSTANCES) / guest
    wait_until(lambda: guest in cloud.running("cmp-2") and not left.exists())
    accidents.split_brain(cloud.host("cmp-2"), cloud.host("cmp-1"), guest)


def wait_until(done: Callable[[], bool]) -> None:
    until = time.monotonic() + DRAIN_SECONDS
    while not done():
        assert time.monotonic() < until, "it never comes to that"
        time.sleep(0.2)


@contextmanager
def meanwhile(do: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Do something else at the same time; its failure is the test's."""
    with ThreadPoolExecutor() as pool:
        other = pool.submit(do, *arguments)
        yield
        other.result()


@pytest.fixture
def crash(cloud: Cloud) -> Iterator[None]:
    """The nova-compute of cmp-1 dies when its next migration has switched over."""
    cloud.lab("crash", "cmp-1", "--when", "after_switchover")
    yield
    done = cloud.lab("start", "cmp-1")
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("crash")
def test_a_guest_that_went_unnoticed_is_left_alone(cloud: Cloud) -> None:
    unnoticed = cloud.ids["unnoticed"]
    result = cloud.drain("unnoticed")
    assert (result["row"]["outcome"], result["row"]["code"]) == ("left", "runs_on_destination")
    # Nova's record is as false as before, also when its nova-compute is back.
    assert cloud.lab("start", "cmp-1").returncode == 0
    again = cloud.drain("unnoticed", on_blocker="drain_the_rest")
    assert again["row"]["code"] == "runs_on_destination"
    assert not told(again, "started")
    assert not told(again, "recovered")
    assert unnoticed in cloud.nova()["cmp-1"]
    assert unnoticed in cloud.running("cmp-2")
    assert unnoticed not in cloud.running("cmp-1")


@pytest.mark.usefixtures("crash")
def test_a_guest_that_is_on_no_host_stops_everything(cloud: Cloud) -> None:
    vanishing = cloud.ids["vanishing"]
    with meanwhile(take_away, cloud, vanishing):
        result = cloud.drain("vanishing")
    assert (result["row"]["outcome"], result["row"]["code"]) == ("left", "lost")
    assert told(result, "stopped")[0]["data"] == {"reason": "lost"}


def take_away(cloud: Cloud, guest: str) -> None:
    """Let a guest vanish from cmp-2 as soon as it runs there."""
    wait_until(lambda: guest in cloud.running("cmp-2") and guest not in cloud.running("cmp-1"))
    accidents.lose(cloud.host("cmp-2"), guest)
