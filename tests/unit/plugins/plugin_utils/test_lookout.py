# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked beside a drain, of whom, and what becomes of those who do not answer."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.plugin_utils.lookout import INFO, PROBE, Lookout

DOMAINS = [
    {"id": "g1", "name": "instance-1", "state": "running", "job": "none"},
    {"id": "g2", "name": "instance-2", "state": "paused", "job": "incoming"},
]
HYPERVISORS = {"cmp-1": "one.example.org", "cmp-2": "two.example.org"}


class Inventory:
    """Answers by host's name; notes what it was asked."""

    def __init__(self, **answers):
        self.answers, self.asked = answers, []

    def run(self, host, module, arguments, *, become=None):
        self.asked.append((host, module, dict(arguments), become))
        return self.answers[host.partition(".")[0]]


class Clock:
    time = 0.0

    def now(self):
        return self.time


@pytest.fixture
def lookout():
    """A Lookout for these options over this inventory, with its clock and its warnings."""

    def make(inventory, **options):
        clock, warnings = Clock(), []
        made = Lookout(inventory, options, clock, warnings.append)
        made.clock, made.warnings = clock, warnings
        return made

    return make


def test_a_hypervisor_is_asked_by_its_name_in_the_inventory(lookout):
    inventory = Inventory(two={"domains": DOMAINS, "leftovers": ["g3"], "changed": False})
    found = lookout(inventory, hypervisors=HYPERVISORS).answers(["cmp-2"])
    assert inventory.asked == [("two.example.org", INFO, {}, None)]
    said = {"states": {"g1": "running", "g2": "paused"}, "leftovers": ["g3"]}
    assert found == {"hypervisors": {"cmp-2": said}}


@pytest.mark.parametrize("become", [True, "yes", False, "false"])
def test_how_libvirt_is_asked_is_passed_on(lookout, become):
    inventory = Inventory(one={"domains": [], "leftovers": []})
    access = {"uri": "qemu:///session", "instances_shared": True, "become": become}
    access["instances_path"] = None
    lookout(inventory, hypervisors=HYPERVISORS, libvirt=access).answers(["cmp-1"])
    _host, _module, arguments, became = inventory.asked[0]
    assert arguments == {"uri": "qemu:///session", "instances_shared": True}
    assert became is (become in (True, "yes"))


def test_options_may_be_texts_as_modules_take_them(lookout):
    inventory = Inventory(one={"domains": [], "leftovers": []})
    texts = {"hypervisors": '{"cmp-1": "one.example.org"}', "libvirt": "uri=qemu:///session"}
    lookout(inventory, **texts).answers(["cmp-1"])
    assert inventory.asked == [("one.example.org", INFO, {"uri": "qemu:///session"}, None)]


def test_nothing_is_asked_that_nobody_wants_to_know(lookout):
    inventory = Inventory()
    assert lookout(inventory, hypervisors=HYPERVISORS).answers([]) == {}
    assert inventory.asked == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"unreachable": True, "msg": "no route to host"}, "no route to host"),
        ({"failed": True, "msg": "libvirt-python is missing"}, "libvirt-python is missing"),
        ({"failed": True}, "it failed without a word"),
    ],
)
def test_a_hypervisor_that_cannot_be_asked_is_told_once_and_left_alone_for_a_minute(
    lookout, answer, reason
):
    inventory = Inventory(one=answer)
    watch = lookout(inventory, hypervisors=HYPERVISORS)
    for _step in range(3):
        assert watch.answers(["cmp-1"]) == {"hypervisors": {"cmp-1": {"error": reason}}}
    assert len(inventory.asked) == 1
    assert len(watch.warnings) == 1
    assert reason in watch.warnings[0]
    watch.clock.time = 61.0
    inventory.answers["one"] = {"domains": [], "leftovers": []}
    found = watch.answers(["cmp-1"])
    assert found == {"hypervisors": {"cmp-1": {"states": {}, "leftovers": []}}}


GUESTS = [
    {"id": "g1", "silent_ms": 12.5, "answered": True},
    {"id": "g2", "silent_ms": None, "answered": False},
]


def test_the_probe_tells_who_is_silent(lookout):
    inventory = Inventory(observer={"guests": GUESTS, "running": True})
    probe = {"inventory_host": "observer", "status_path": None}
    assert lookout(inventory, probe=probe).answers([]) == {"silent_ms": {"g1": 12.5}}
    assert inventory.asked == [("observer", PROBE, {"state": "status"}, None)]


def test_the_probe_s_figures_may_lie_elsewhere(lookout):
    inventory = Inventory(observer={"guests": [], "running": True})
    probe = {"inventory_host": "observer", "status_path": "/root/probe.json"}
    lookout(inventory, probe=probe).answers([])
    assert inventory.asked[0][2] == {"state": "status", "status_path": "/root/probe.json"}


@pytest.mark.parametrize(
    ("answer", "warning"),
    [
        ({"guests": GUESTS, "running": False}, "the probe on observer does not run"),
        ({"failed": True, "msg": "no such file"}, "no such file"),
    ],
)
def test_a_probe_that_does_not_tell_is_no_reason_to_hold(lookout, answer, warning):
    watch = lookout(Inventory(observer=answer), probe={"inventory_host": "observer"})
    assert watch.answers([]) == watch.answers([]) == {}
    assert len(watch.warnings) == 1
    assert warning in watch.warnings[0]
