# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module in the simulated world, called step by step as its action plugin does."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._errors import NotDrained
from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import encode
from ansible_collections.lowtide.compute.plugins.modules import nova_drain
from tests.simulation.drains import Drain, Inhabitant
from tests.simulation.harness import STEP, Simulation
from tests.simulation.world import OTHERS, SOURCE

HYPERVISORS = {host: f"{host}.example.org" for host in (SOURCE, *OTHERS)}


class Task:
    """A call of the module, with the simulated cloud and clock."""

    check_mode = False

    def __init__(self, simulation, **given):
        defaults = {name: spec.get("default") for name, spec in nova_drain.SPEC.items()}
        self.params = defaults | {"host": SOURCE, "wait": False} | given
        self.cloud, self.clock = simulation.cloud, simulation.clock

    def chance(self):
        return "beef"

    def warn(self, text):
        raise AssertionError(text)


def simulation_of(*courses):
    guests = tuple(Inhabitant(courses=(course,)) for course in courses)
    return Simulation(Drain(guests, options=m.Options(hypervisors=tuple(HYPERVISORS))))


def drain(simulation, **options):
    """Step until it is done; the last step, and the hosts that each step wanted to have asked."""
    state, answers, wanted = {}, {}, []
    for _step in range(500):
        step = nova_drain.handle(Task(simulation, state=state, answers=answers, **options))
        if step["done"]:
            return step, wanted
        wanted.append(step["wanted"])
        simulation.clock.sleep(STEP)
        said = simulation.cloud.ask_hypervisors(tuple(step["wanted"]))
        state, answers = step["state"], {"hypervisors": encode(said)}
    raise AssertionError("it never ends")


def test_libvirt_s_word_goes_from_step_to_step():
    step, wanted = drain(simulation_of("completes", "fails"), hypervisors=HYPERVISORS)
    assert step["outcome"] == "drained"
    assert [guest["witnesses"] for guest in step["guests"]] == [3, 3]
    assert wanted[0] == []
    assert any(SOURCE in hosts for hosts in wanted)


def test_nobody_is_asked_who_is_not_named():
    step, wanted = drain(simulation_of("completes"))
    assert step["guests"][0]["witnesses"] == 2
    assert not any(wanted)


def test_a_split_brain_fails_the_drain_and_is_told():
    with pytest.raises(NotDrained, match="NOT drained") as raised:
        drain(simulation_of("runs_twice", "completes"), hypervisors=HYPERVISORS)
    result = raised.value.details
    codes = {guest["code"] for guest in result["guests"]}
    assert "split_brain" in codes
    assert any("libvirt has domain g0 (running) on cmp-1" in each for each in result["problems"])
    lines = [event["line"] for event in result["events"]]
    assert not [line for line in lines if "moved to" in line and "vm-g0" in line]


def test_called_to_the_end_at_once_it_has_two_witnesses():
    simulation = simulation_of("completes")
    step = nova_drain.handle(Task(simulation, hypervisors=HYPERVISORS, wait=True))
    assert step["done"]
    assert step["guests"][0]["witnesses"] == 2
