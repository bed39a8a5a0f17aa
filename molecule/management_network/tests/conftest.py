# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines over ssh, and playbooks of the scenario."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import testinfra

SCENARIO = Path(__file__).parents[1]
INVENTORY = Path(os.environ["LAB_STATE"]) / "inventory.yml"
HOSTS = ("cmp-1", "cmp-2", "cmp-3")
PLAY_SECONDS = 900


def connect(name):
    """A host over ssh."""
    return testinfra.get_host(f"ansible://{name}?ansible_inventory={INVENTORY}")


@pytest.fixture(params=HOSTS)
def name(request):
    """The name of each host in turn."""
    return request.param


@pytest.fixture
def machine(name):
    """Each host in turn."""
    return connect(name)


@pytest.fixture(scope="session")
def machines():
    """All hosts, by their names."""
    return {name: connect(name) for name in HOSTS}


def run(playbook, *arguments):
    """Run a playbook of the scenario's; returns its exit status and output, in one line."""
    inventories = [f"--inventory={INVENTORY}"]
    inventories += [f"--inventory={SCENARIO / 'inventory/addresses.yml'}"]
    done = subprocess.run(
        ["ansible-playbook", *inventories, str(SCENARIO / playbook), *arguments],
        capture_output=True,
        text=True,
        timeout=PLAY_SECONDS,
        check=False,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_STDOUT_CALLBACK": "default"},
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.fixture(scope="session")
def play():
    """The function that runs a playbook."""
    return run


def look(machine):
    """What is in /etc, and how the interfaces run."""
    return json.loads(machine.check_output("python3 /root/snapshot.py"))


@pytest.fixture(scope="session")
def seen(machines):
    """The function that looks at all machines."""
    return lambda: {name: look(machine) for name, machine in machines.items()}


@pytest.fixture(scope="session")
def before(machines):
    """What the machines were before the role came."""
    files = {name: machine.file("/root/before.json") for name, machine in machines.items()}
    return {name: json.loads(file.content_string) for name, file in files.items()}
