# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop over the module's steps: what it passes on, prints, keeps and gives back."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.playbook.task import Task

from ansible_collections.lowtide.compute.plugins.action import nova_drain
from ansible_collections.lowtide.compute.plugins.modules import nova_drain as module

LAST = {"changed": False, "done": True, "msg": "drained", "state": {}, "invocation": {}}


def event(text):
    return {"kind": "moved", "line": text}


class FakeClock:
    """Each step takes ten seconds; sleeping is noted."""

    def __init__(self):
        self.time, self.slept = 0.0, []

    def now(self):
        self.time += 5.0
        return self.time

    def sleep(self, seconds):
        self.slept.append(seconds)


@pytest.fixture
def drain(monkeypatch):
    """Run the plugin over scripted steps; returns its result, its calls and what it printed."""
    clock = FakeClock()
    monkeypatch.setattr(nova_drain, "SystemClock", lambda: clock)

    def run(*steps, verbosity=0, **arguments):
        printed, calls, script = [], [], list(steps)
        screen = MagicMock(verbosity=verbosity)
        screen.display = lambda text, stderr: printed.append((text, stderr))
        monkeypatch.setattr(nova_drain, "display", screen)
        task = Task()
        task.args = {"host": "cmp-3", **arguments}
        plugin = nova_drain.ActionModule(task, MagicMock(), MagicMock(), None, None, None)

        def execute(module, module_args, task_vars):
            calls.append((module, module_args))
            step = script.pop(0)
            if isinstance(step, Exception):
                raise step
            return step

        plugin._execute_module = execute
        result = plugin.run(task_vars={})
        assert not script, "not every step was asked for"
        assert all(stderr is True for _text, stderr in printed)
        return result, calls, [text for text, _stderr in printed]

    run.clock = clock
    return run


def test_it_steps_until_the_module_is_done(drain):
    first = {"done": False, "changed": True, "state": {"n": 1}, "events": [event("one")]}
    result, calls, printed = drain(first, {**LAST, "events": [event("two")]}, max_parallel=2)
    assert [module for module, _arguments in calls] == ["lowtide.compute.nova_drain"] * 2
    assert calls[0][1] == {"host": "cmp-3", "max_parallel": 2, "wait": False, "state": {}}
    assert calls[1][1]["state"] == {"n": 1}
    assert printed == ["one", "two"]
    assert [each["line"] for each in result["events"]] == ["one", "two"]
    assert result["changed"] is True


def test_what_is_private_between_the_two_stays_private(drain):
    result, _calls, _printed = drain({**LAST, "progress": "p", "detail": ["d"], "lines": ["end"]})
    assert set(result) == {"changed", "done", "msg", "events"}


def test_a_failure_ends_the_loop(drain):
    result, _calls, _printed = drain({"failed": True, "msg": "no such host", "code": "not_found"})
    assert result["failed"] is True
    assert result["code"] == "not_found"


def test_without_wait_it_takes_one_step(drain):
    result, calls, _printed = drain({"done": False, "changed": True, "state": {"n": 1}}, wait=False)
    assert len(calls) == 1
    assert result["done"] is False


def test_the_end_is_told(drain):
    done = [{"kind": "done", "line": "nothing more to move"}]
    _result, _calls, printed = drain({**LAST, "events": done, "table": ["plan"], "lines": ["end"]})
    assert printed == ["plan", "end"]


def beats(steps):
    return [{"done": False, "state": {"n": 1}, "progress": "beat", "detail": ["bytes"]}] * steps


def test_the_heartbeat_comes_at_most_once_an_interval(drain):
    _result, _calls, printed = drain(*beats(6), LAST, progress_interval=10)
    assert printed == ["beat"] * 3


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        ({}, None),
        ({"progress_interval": 5}, 5.0),
        ({"progress_interval": 5, "step_seconds": 7}, 7),
        ({"progress_interval": 60}, None),
    ],
)
def test_steps_are_no_longer_than_the_interval(drain, arguments, seconds):
    _result, calls, _printed = drain(LAST, **arguments)
    assert calls[0][1].get("step_seconds") == seconds


def test_a_step_is_as_long_as_the_module_says():
    assert module.SPEC["step_seconds"]["default"] == nova_drain.STEP_SECONDS


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"progress": "none"}, []),
        ({"progress": "summary"}, ["one", "beat", "end"]),
        ({"progress": "detail"}, ["one", "beat", "bytes", "end"]),
        ({"progress": "summary", "verbosity": 1}, ["one", "beat", "bytes", "end"]),
        ({"progress": "none", "verbosity": 1}, []),
    ],
)
def test_as_much_is_said_as_was_asked_for(drain, arguments, expected):
    first = {**beats(1)[0], "events": [event("one")]}
    _result, _calls, printed = drain(
        first, {**LAST, "lines": ["end"]}, progress_interval=1, **arguments
    )
    assert printed == expected


def test_an_interval_that_is_no_number_is_left_to_the_module(drain):
    result, calls, _printed = drain({"failed": True, "msg": "no number"}, progress_interval="soon")
    assert calls[0][1]["progress_interval"] == "soon"
    assert result["failed"]


class Beside:
    """Stands for all that is asked beside the drain; notes what was wanted."""

    def __init__(self):
        self.wanted = []

    def answers(self, wanted):
        self.wanted.append(list(wanted))
        return {"hypervisors": {host: {"states": {}} for host in wanted}} if wanted else {}


@pytest.fixture
def beside(monkeypatch):
    made = Beside()
    monkeypatch.setattr(nova_drain, "Lookout", lambda *_all: made)
    return made


def test_what_a_step_wants_to_know_is_asked_before_the_next(drain, beside):
    asking = {"done": False, "state": {"n": 1}, "wanted": ["cmp-1", "cmp-2"]}
    result, calls, _printed = drain(asking, beats(1)[0], LAST)
    assert beside.wanted == [["cmp-1", "cmp-2"], []]
    said = {"hypervisors": {"cmp-1": {"states": {}}, "cmp-2": {"states": {}}}}
    assert [arguments.get("answers") for _module, arguments in calls] == [None, said, None]
    assert "wanted" not in result


def test_without_a_next_step_nobody_is_asked(drain, beside):
    step = {"done": False, "state": {"n": 1}, "wanted": []}
    _result, calls, _printed = drain(step, wait=False, hypervisors={"cmp-3": "three"})
    assert "hypervisors" not in calls[0][1]
    assert beside.wanted == []


def test_a_lost_connection_loses_no_answers(drain, beside):
    asking = {"done": False, "state": {"n": 1}, "wanted": ["cmp-1"]}
    _result, calls, _printed = drain(asking, AnsibleConnectionFailure("ssh: gone"), LAST)
    assert calls[1][1]["answers"] == calls[2][1]["answers"] != {}


def test_with_a_probe_each_step_is_one_look_and_the_next_does_not_follow_at_once(drain, beside):
    asking = {"done": False, "state": {"n": 1}, "wanted": ["cmp-1"]}
    _result, calls, _printed = drain(
        beats(1)[0], asking, LAST, probe={"inventory_host": "observer"}
    )
    assert {arguments["step_seconds"] for _module, arguments in calls} == {3.0}
    assert drain.clock.slept == [2.0]


def test_a_lost_connection_is_tried_again(drain):
    lost = AnsibleConnectionFailure("ssh: gone")
    result, calls, printed = drain(beats(1)[0], lost, lost, LAST)
    assert len(calls) == 4
    assert calls[3][1]["state"] == {"n": 1}
    assert drain.clock.slept == [15.0, 15.0]
    assert printed[0].startswith("connection lost, trying again in 15s")
    assert "failed" not in result


def test_a_connection_that_never_was_is_no_reason_to_wait(drain):
    with pytest.raises(AnsibleConnectionFailure):
        drain(AnsibleConnectionFailure("ssh: no"))
    assert drain.clock.slept == []


def test_patience_with_a_lost_connection_ends(drain):
    lost = [AnsibleConnectionFailure("ssh: gone")] * nova_drain.RETRIES
    with pytest.raises(AnsibleConnectionFailure):
        drain(beats(1)[0], *lost)
