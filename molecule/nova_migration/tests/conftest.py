# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts, playbooks of the scenario, and guests that are on their way while a test wants."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

import openstack
import pytest
import testinfra
import yaml

SCENARIO = Path(__file__).parents[1]
LAB = SCENARIO.parents[1] / "lab" / "lab"
INVENTORY = Path(os.environ["LAB_STATE"]) / "inventory.yml"
PATH = "/etc/nova/nova.conf.d/90-lowtide-migration.conf"
PLAY_SECONDS = 900
MOVE_SECONDS = 400
QUIET = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
#: What is in prepare.yml, word for word: every file below /etc, but for the guests that are there.
SUM = (
    r"export LC_ALL=C;"
    r" find /etc -xdev -path /etc/libvirt/qemu -prune -o \( -type f -o -type l \)"
    r" -exec stat -c '%n %a %U %G %N' {} + | sort;"
    r" find /etc -xdev -path /etc/libvirt/qemu -prune -o -type f -exec sha256sum {} + | sort"
)


class Play:
    """A playbook that has run. ``tasks``: host -> name of a task -> its result, the last one."""

    def __init__(self, done):
        self.status = done.returncode
        self.text = done.stdout + done.stderr
        told = json.loads(done.stdout[done.stdout.index("{") :]) if "{" in done.stdout else {}
        self.stats = told.get("stats", {})
        self.tasks: dict[str, dict] = {}
        for play in told.get("plays", ()):
            for task in play["tasks"]:
                name = task["task"]["name"].rpartition(" : ")[2]
                for host, result in task["hosts"].items():
                    if not result.get("skipped"):
                        self.tasks.setdefault(host, {})[name] = result

    def changed(self, host):
        return self.stats[host]["changed"]

    @property
    def why(self):
        """The tasks that failed, and why; what was printed if there are none."""
        failed = [
            f"{host}: {name}: {result.get('msg')}"
            for host, tasks in self.tasks.items()
            for name, result in tasks.items()
            if result.get("failed")
        ]
        return "\n".join(failed) or self.text[-2000:]

    def failure(self, host):
        """What the task said that failed last."""
        failed = [each for each in self.tasks[host].values() if each.get("failed")]
        assert failed, self.text
        return str(failed[-1].get("msg", ""))


@pytest.fixture(scope="session")
def play():
    """Run a playbook of the scenario's with variables."""

    def run(name, *arguments, limit="cmp-1", **given):
        extra = {f"nova_migration_{key}": value for key, value in given.items()}
        done = subprocess.run(
            ["ansible-playbook", f"--inventory={INVENTORY}", str(SCENARIO / name), "--limit", limit,
             "--extra-vars", json.dumps(extra), *arguments],
            capture_output=True, text=True, timeout=PLAY_SECONDS, check=False,
            env=os.environ | QUIET,
        )  # fmt: skip
        return Play(done)

    return run


@pytest.fixture(scope="session")
def machines():
    """The hosts over ssh, by name."""
    return {
        name: testinfra.get_host(f"ansible://{name}?ansible_inventory={INVENTORY}")
        for name in ("cmp-1", "cmp-2")
    }


@pytest.fixture
def pid(machines):
    """The main process of a host's nova-compute."""
    command = "systemctl show nova-compute.service --property=MainPID --value"
    return lambda name: int(machines[name].check_output(command))


def lab(*arguments):
    """The lab's command."""
    subprocess.run([LAB, *arguments], check=True, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="session")
def addresses():
    """Host -> its address on the migration network."""
    hosts = yaml.safe_load(INVENTORY.read_text())["all"]["children"]["compute"]["hosts"]
    return {name: of["ansible_host"].replace("10.77.", "10.78.") for name, of in hosts.items()}


class Cloud:
    """Nova, and what the tests ask of it."""

    def __init__(self):
        self.sdk = openstack.connect(compute_default_microversion="2.96")

    def guest(self, name):
        return self.sdk.compute.find_server(name, all_projects=True, ignore_missing=False)

    def migrate(self, name, host):
        path = f"/servers/{self.guest(name).id}/action"
        body = {"os-migrateLive": {"host": host, "block_migration": "auto"}}
        answer = self.sdk.compute.post(path, json=body, microversion="2.68")
        assert answer.status_code == 202, answer.text

    def running(self, name):
        """The guest's migrations in flight."""
        wanted = self.guest(name).id
        ended = ("completed", "error", "failed", "cancelled")
        listed = self.sdk.compute.migrations(server_id=wanted)
        return [m for m in listed if m.server_id == wanted and m.status not in ended]

    def wait(self, what, seconds=MOVE_SECONDS):
        """Wait until ``what`` returns something true, and return that."""
        end = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < end, "waited in vain"
            time.sleep(1)
        return found

    def settled(self, name):
        guest = self.guest(name)
        return guest.task_state is None and not self.running(name) and guest.status

    def home(self, name, host):
        """Have the guest on this host, ACTIVE."""
        lab("guest", name, "stop")
        for _attempt in range(3):
            if self.wait(lambda: self.settled(name)) == "ERROR":
                # A migration that was aborted leaves that behind; the guest runs.
                self.sdk.compute.reset_server_state(self.guest(name), "active")
            if self.guest(name).compute_host == host:
                return
            self.migrate(name, host)
            time.sleep(2)
        raise AssertionError(f"{name} does not get to {host}")


@pytest.fixture(scope="session")
def cloud():
    return Cloud()


@pytest.fixture(scope="session")
def domain(cloud):
    """libvirt's name of a guest."""
    return lambda name: cloud.sdk.compute.get(
        f"/servers/{cloud.guest(name).id}", microversion="2.96"
    ).json()["server"]["OS-EXT-SRV-ATTR:instance_name"]


@pytest.fixture
def moving(cloud, machines, domain):
    """Have a guest leave a host so slowly that it does not arrive; in the end it may."""

    @contextlib.contextmanager
    def on_its_way(name, source, target):
        cloud.home(name, source)
        # So slow that a guest which hardly gets a processor writes faster, too.
        lab("rate", "8mbit")
        lab("guest", name, "dirty", "20", "128")
        try:
            cloud.migrate(name, target)
            cloud.wait(lambda: [m.status for m in cloud.running(name)] == ["running"])
            job = f"virsh domjobinfo {domain(name)}"
            cloud.wait(lambda: "Outgoing migration" in machines[source].check_output(job), 60)
            yield
        finally:
            lab("guest", name, "stop")
            lab("rate", "off")
            cloud.wait(lambda: cloud.settled(name))

    return on_its_way
