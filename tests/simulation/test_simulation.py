# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole drains against a modelled cloud in virtual time: what may never happen never does.

LOWTIDE_SIMULATIONS sets how many drains each property is tried on (default 100).
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from tests.simulation.drains import Drain, benign_drains, drains
from tests.simulation.harness import Simulation

HOW_MANY = int(os.environ.get("LOWTIDE_SIMULATIONS", "100"))
simulated = settings(
    max_examples=HOW_MANY,
    derandomize="LOWTIDE_SIMULATIONS" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@simulated
@given(drains)
def test_whatever_happens_a_drain_ends_and_keeps_the_rules(drain: Drain):
    simulation = Simulation(drain)
    simulation.check_end(simulation.run())


@simulated
@given(drains, st.integers(1, 60))
def test_a_drain_killed_at_any_tick_and_run_again_ends_and_keeps_the_rules(drain, tick):
    simulation = Simulation(drain)
    killed = simulation.run(kill_after=tick, through_codec=True)
    if killed.killed:
        simulation.check_end(simulation.run())


@simulated
@given(benign_drains)
def test_a_drain_that_nothing_prevents_empties_the_host(drain: Drain):
    simulation = Simulation(drain)
    outcome = simulation.run()
    assert set(outcome.phases().values()) <= {m.MOVED}, outcome.ledger
    assert not simulation.on_source()


@simulated
@given(benign_drains, st.integers(1, 40))
def test_killed_at_any_tick_it_ends_in_the_same_place(drain: Drain, tick: int):
    simulation = Simulation(drain)
    simulation.run(kill_after=tick)
    simulation.check_end(simulation.run())
    assert not simulation.on_source()
    assert not any(vm.vm_state in ("error", "resized") for vm in simulation.world.vms.values())


@simulated
@given(benign_drains)
def test_a_second_run_on_a_drained_host_does_nothing(drain: Drain):
    simulation = Simulation(drain)
    simulation.run()
    writes = list(simulation.cloud.writes)
    again = simulation.run()
    assert simulation.cloud.writes == writes
    assert [event.kind for event in again.events] == ["done"]
    assert again.ticks == 1
