# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call of nova_compute_process: what is noted, who is signalled, when nothing is restarted."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils import _compute_process as module
from ansible_collections.lowtide.compute.plugins.module_utils._errors import HostBusy, HostNotReady
from ansible_collections.lowtide.compute.plugins.module_utils._planner.compute_process import (
    Process,
)

ARGV = ("/usr/bin/nova-compute",)
EVENTLET = Process(91, "boot:91:1", 1000.0, ARGV, "no", polls=True)
RESTART, RELOAD = "libvirt.live_migration_bandwidth", "libvirt.live_migration_timeout_action"


class Machine:
    """A host with nova-compute: what is done to it is in ``done``."""

    def __init__(self, tmp_path, monkeypatch):
        self.process, self.next, self.job, self.done = EVENTLET, None, "none", []
        self.path = tmp_path / "nova.conf.d" / "90.conf"
        self.path.parent.mkdir()
        self.record = tmp_path / "run" / "note.json"
        domain = SimpleNamespace(id="g1", name="instance-1")
        kind = SimpleNamespace
        libvirt = kind(domains=lambda: (domain,), job=lambda guest: kind(kind=self.job))
        monkeypatch.setattr(module, "LibvirtHypervisor", lambda uri: libvirt)
        monkeypatch.setattr(module.machine, "Unit", lambda name: self)
        monkeypatch.setattr(module.machine, "process", lambda pid: self.process)
        monkeypatch.setattr(module.machine, "hang_up", self.hang_up)

    name = "nova-compute.service"

    def state(self):
        return {"MainPID": "91", "ActiveState": "active" if self.process else "inactive"}

    def command(self, without):
        return " ".join((*ARGV, "--config-dir", str(self.path.parent)))

    def journal(self, pid):
        return []

    def hang_up(self, process):
        self.done.append("SIGHUP")
        self.process = self.next or self.process

    def restart(self):
        self.done.append("restart")
        self.process = replace(self.process, identity="boot:92:2", started=9e9)

    def call(self, state, check_mode=False, **given):
        params = {key: of["default"] for key, of in module.SPEC.items()} | {
            "state": state, "path": str(self.path), "record": str(self.record), "settle_seconds": 0,
            "log_path": "/nonexistent", **given,
        }  # fmt: skip
        clock = SimpleNamespace(now=lambda: 0.0, sleep=lambda seconds: None)
        return module.handle(SimpleNamespace(params=params, check_mode=check_mode, clock=clock))


@pytest.fixture
def host(tmp_path, monkeypatch):
    found = Machine(tmp_path, monkeypatch)
    found.process = replace(EVENTLET, argv=(*ARGV, "--config-dir", str(found.path.parent)))
    return found


def write(host, text="[libvirt]\nlive_migration_bandwidth = 5\n"):
    host.path.write_text(text)


def test_what_is_noted_is_pending_until_it_is_done(host):
    host.call("noted", restart=[RESTART], reload=[RELOAD])
    write(host)
    told = host.call("written")
    assert told["pending"] == {"restart": [RESTART], "reload": [RELOAD]}
    told = host.call("reloaded")
    assert (told["changed"], told["pending"]) == (True, {"restart": [RESTART], "reload": []})
    told = host.call("restarted")
    assert (told["changed"], told["pending"]) == (True, {"restart": [], "reload": []})
    assert host.done == ["SIGHUP", "restart"]
    assert [host.call(state)["changed"] for state in ("reloaded", "restarted")] == [False, False]


def test_threads_get_no_sighup(host):
    host.process = replace(host.process, no_patching="yes")
    host.call("noted", reload=[RELOAD])
    told = host.call("reloaded")
    assert (told["changed"], told["pending"]["restart"]) == (False, [RELOAD])
    assert host.done == []


@pytest.mark.parametrize("job", ["incoming", "outgoing"])
def test_a_busy_host_is_left_alone(host, job):
    host.call("noted", restart=[RESTART])
    host.job = job
    with pytest.raises(HostBusy, match="instance-1"):
        host.call("restarted")
    assert host.done == []


def test_check_mode_touches_nothing(host):
    host.call("noted", check_mode=True, restart=[RESTART])
    assert not host.record.exists()
    host.call("noted", restart=[RESTART], reload=[RELOAD])
    assert host.call("reloaded", check_mode=True)["changed"] is True
    assert host.call("restarted", check_mode=True)["changed"] is True
    assert host.done == []


def test_who_does_not_survive_sighup_is_told_of(host):
    host.call("noted", reload=[RELOAD])
    host.next = replace(host.process, identity="boot:93:3")
    with pytest.raises(HostNotReady, match="did not survive SIGHUP"):
        host.call("reloaded")


def test_one_that_was_stopped_stays_stopped(host):
    host.process = None
    told = host.call("restarted")
    assert (told["changed"], told["running"], host.done) == (False, False, [])


def test_a_restart_that_does_not_have_it_read_is_an_error(host):
    write(host)
    host.process = replace(host.process, argv=(*ARGV, "--config-dir", "/etc/other"))
    with pytest.raises(HostNotReady, match="does not read"):
        host.call("restarted")


def test_what_was_there_before_may_be_known_again(host):
    write(host)
    host.call("noted", restart=[RESTART])
    told = host.call("known")
    assert told["pending"] == {"restart": [], "reload": []}
