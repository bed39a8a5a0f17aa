# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that an action plugin runs on other hosts, in a real play of whichever Ansible this is.

Every host is this machine. Which one it is taken for shows in the environment, which the host's own
Python sets; that a host's become was used shows in a variable that its become program sets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ACTION = """
from ansible.plugins.action import ActionBase
from ansible_collections.lowtide.compute.plugins.plugin_utils.elsewhere import Elsewhere

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        elsewhere, found = Elsewhere(self, task_vars), {}
        for name, host, become in self._task.args["calls"]:
            found[name] = elsewhere.run(
                host, "ansible.builtin.command", {"_raw_params": "env"}, become=become
            )
        elsewhere.close()
        return {"found": found}
"""
PLAY = """
- hosts: drained
  gather_facts: false
  tasks:
    - try_elsewhere:
        calls:
          - [plain, plain, null]
          - [again, plain, null]
          - [becoming, becoming, null]
          - [not_becoming, becoming, false]
          - [made_to_become, plain, true]
          - [unknown, nobody, null]
          - [unreachable, unreachable, null]
      delegate_to: localhost
      register: result
    - copy:
        content: "{{ result.found | to_json }}"
        dest: "{{ playbook_dir }}/found.json"
      delegate_to: localhost
"""
PYTHON = """#!/bin/sh
TAKEN_FOR={host} exec {python} "$@"
"""
BECOME = """#!/bin/sh
while [ "$1" != /bin/sh ]; do shift; done
BECAME=root exec "$@"
"""


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each call of the action plugin returned, by the name of the call."""
    home = tmp_path_factory.mktemp("play")
    become = script(home / "become", BECOME)
    hosts = {
        host: {
            "ansible_connection": "local",
            "ansible_become_exe": become,
            "ansible_python_interpreter": "{{ its_python }}",
            "its_python": script(
                home / f"python-{host}", PYTHON.format(host=host, python=sys.executable)
            ),
            "beside_the_point": "{{ nobody_defines_this }}",
        }
        for host in ("drained", "plain", "becoming", "localhost")
    }
    hosts["becoming"]["ansible_become"] = "{{ 'y' + 'es' }}"
    hosts["unreachable"] = {"ansible_connection": "nowhere"}
    for folder, name, text in (
        ("action_plugins", "try_elsewhere.py", ACTION),
        ("library", "try_elsewhere.py", ""),
        (".", "play.yml", PLAY),
        (".", "inventory.json", json.dumps({"all": {"hosts": hosts}})),
    ):
        (home / folder).mkdir(exist_ok=True)
        (home / folder / name).write_text(text)
    environment = {
        **os.environ,
        "ANSIBLE_HOME": str(home / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
        # Tests may run as root, and becoming root would then be skipped.
        "ANSIBLE_BECOME_ALLOW_SAME_USER": "1",
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "inventory.json", "play.yml"]
    done = subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((home / "found.json").read_text())


def environment(result):
    return dict(line.split("=", 1) for line in result["stdout_lines"] if "=" in line)


@pytest.mark.parametrize("call", ["plain", "again"])
def test_a_module_runs_there_with_what_the_inventory_has_of_it(found, call):
    seen = environment(found[call])
    assert seen["TAKEN_FOR"] == "plain"
    assert "BECAME" not in seen


@pytest.mark.parametrize(("call", "host"), [("becoming", "becoming"), ("made_to_become", "plain")])
def test_become_is_as_the_inventory_says_or_as_it_is_told(found, call, host):
    seen = environment(found[call])
    assert (seen["TAKEN_FOR"], seen["BECAME"]) == (host, "root")


def test_become_can_be_forbidden(found):
    assert "BECAME" not in environment(found["not_becoming"])


@pytest.mark.parametrize(
    ("call", "why"), [("unknown", "no host 'nobody'"), ("unreachable", "'nowhere'")]
)
def test_a_host_that_cannot_be_reached_is_no_exception(found, call, why):
    assert found[call]["unreachable"] is True
    assert why in found[call]["msg"]
