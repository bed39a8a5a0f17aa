# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A unit as systemctl shows it, a process as /proc shows it, and notes that survive anything."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils import _errors
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import (
    compute_process as machine,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.compute_process import (
    DropIn,
    Told,
)

OURS = "/etc/systemd/system/nova-compute.service.d/90-lowtide-migration.conf"
CAT = f"""\
# /lib/systemd/system/nova-compute.service
[Service]
User=nova
ExecStart=/usr/bin/nova-compute \\
    --config-file /etc/nova/nova.conf
# /etc/systemd/system/nova-compute.service.d/a.conf
[Service]
ExecStart=
ExecStart=/opt/nova-compute -v
# {OURS}
[Service]
ExecStart=
ExecStart=/opt/nova-compute -v --config-dir /etc/nova/nova.conf.d
"""


def systemctl(**answers):
    """Stands for the command: what it answers to each verb, and what it was asked."""
    asked = []

    def run(*command):
        asked.append(command)
        verb, name = command[1], command[2] if len(command) > 2 else ""
        status, text = answers.get(verb, lambda name: (0, ""))(name)
        return subprocess.CompletedProcess(command, status, text, "it is broken" if status else "")

    run.asked = asked
    return run


def loaded(only):
    return lambda name: (0, f"LoadState={'loaded' if name == only else 'not-found'}\nMainPID=7\n")


@pytest.mark.parametrize("name", machine.UNITS)
def test_the_unit_that_is_there_is_found(name):
    unit = machine.Unit(run=systemctl(show=loaded(name)))
    assert unit.name == name
    assert unit.state()["MainPID"] == "7"


def test_a_machine_without_any_is_told_so():
    with pytest.raises(_errors.NotFound, match=r"neither nova-compute\.service nor openstack"):
        machine.Unit(run=systemctl(show=loaded("other.service")))


def test_the_command_is_the_last_that_is_not_ours():
    unit = machine.Unit("nova-compute.service", run=systemctl(cat=lambda name: (0, CAT)))
    assert unit.command(without=OURS) == "/opt/nova-compute -v"
    assert unit.command(without="") == "/opt/nova-compute -v --config-dir /etc/nova/nova.conf.d"


def test_a_command_over_two_lines_is_one():
    text = CAT[: CAT.index("# /etc/")]
    unit = machine.Unit("nova-compute.service", run=systemctl(cat=lambda name: (0, text)))
    assert unit.command(without=OURS) == "/usr/bin/nova-compute --config-file /etc/nova/nova.conf"


def test_a_restart_reads_the_unit_again_first():
    run = systemctl()
    machine.Unit("n.service", run=run).restart()
    assert [command[1] for command in run.asked] == ["daemon-reload", "restart"]


def test_a_restart_that_fails_is_an_error():
    unit = machine.Unit("n.service", run=systemctl(restart=lambda name: (1, "")))
    with pytest.raises(_errors.HostNotReady, match="does not start: it is broken"):
        unit.restart()


def test_a_tool_that_is_missing_is_an_error():
    with pytest.raises(_errors.NotFound, match="no-such-tool is not on this machine"):
        machine.run("no-such-tool")


def test_this_process_is_seen_as_it_is():
    before = time.time() - time.monotonic()
    mine = machine.process(os.getpid())
    assert mine.pid == os.getpid()
    assert mine.argv
    assert before - 1 < mine.started < time.time()
    assert mine.identity == machine.process(os.getpid()).identity


def test_no_process_has_this_number():
    assert machine.process(2**22 + 1) is None


def test_who_polls_is_seen():
    quiet = machine.process(os.getpid()).polls
    with select.epoll():
        assert machine.process(os.getpid()).polls is True
    assert machine.process(os.getpid()).polls is quiet


CHILD = """
import signal, sys, time
signal.signal(signal.SIGHUP, lambda *each: (print("hup", flush=True), sys.exit(0)))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def child():
    environment = os.environ | {machine.PATCHING: "yes"}
    command = [sys.executable, "-c", CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout.readline() == "ready\n"
        yield running
        running.kill()


def test_its_environment_is_seen(child):
    assert machine.process(child.pid).no_patching == "yes"


def test_sighup_reaches_it(child):
    machine.hang_up(machine.process(child.pid))
    assert child.stdout.readline() == "hup\n"


def test_another_with_the_same_number_is_spared(child):
    seen = machine.process(child.pid)
    other = type(seen)(seen.pid, seen.identity + "0", seen.started)
    with pytest.raises(_errors.HostNotReady, match="restarted meanwhile"):
        machine.hang_up(other)
    child.send_signal(signal.SIGTERM)
    assert child.stdout.read() == ""


def test_what_a_drop_in_holds(tmp_path):
    path = tmp_path / "90.conf"
    assert machine.drop_in(str(path)) is None
    path.write_text("# ours\n[DEFAULT]\na = 1\n[libvirt]\nB = %x\nc = \n[libvirt]\nd = 2\n")
    found = machine.drop_in(str(path))
    assert found.options == ("DEFAULT.a", "libvirt.B", "libvirt.c", "libvirt.d")
    assert abs(found.written - time.time()) < 60
    path.write_text("[libvirt]\n")
    assert machine.drop_in(str(path)).digest != found.digest


def test_notes_come_back(tmp_path):
    path = tmp_path / "run" / "note.json"
    assert machine.recall(str(path)) is None
    told = Told("boot:1:2", "digest", ("a.b",), ("c.d",))
    machine.remember(str(path), told)
    assert machine.recall(str(path)) == told
    assert [each.name for each in path.parent.iterdir()] == ["note.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"process": "x"}'])
def test_a_note_that_is_none_is_no_note(tmp_path, text):
    path = tmp_path / "note.json"
    path.write_text(text)
    assert machine.recall(str(path)) is None


def test_the_end_of_a_log(tmp_path):
    path = tmp_path / "x.log"
    assert machine.log_lines(str(path)) == []
    path.write_text("first\nsecond\nthird\n")
    assert machine.log_lines(str(path)) == ["first", "second", "third"]
    assert machine.log_lines(str(path), most=6) == ["third"]


@pytest.mark.parametrize(
    ("first", "is_script"),
    [
        ("#!/bin/sh", True),
        ("#! /usr/bin/env bash", True),
        ("#!/usr/bin/python3", False),
        ("\x7fELF", False),
    ],
)
def test_a_shell_script_is_told_from_a_program(tmp_path, first, is_script):
    path = tmp_path / "program"
    path.write_text(f"{first}\necho\n")
    assert (machine.script(str(path)) is not None) is is_script
    assert machine.script(str(tmp_path / "none")) is None


def test_a_drop_in_is_dated_as_its_file(tmp_path):
    path = tmp_path / "90.conf"
    path.write_text("[a]\nb = 1\n")
    os.utime(path, (5, 5))
    found = machine.drop_in(str(path))
    assert found == DropIn(found.digest, 5.0, ("a.b",))
