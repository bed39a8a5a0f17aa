# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole drains against a modelled cloud in virtual time: what may never happen never does.

LOWTIDE_SIMULATIONS sets how many drains are simulated in all. Without it they are a few
hundred, and always the same; with it they are new ones each time.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._engine import check_host
from ansible_collections.lowtide.compute.plugins.module_utils._planner import drain as planner
from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases import verifying
from tests.simulation.drains import Drain, Inhabitant, benign_drains, drains
from tests.simulation.harness import Simulation

PROPERTIES = 5
TOTAL = os.environ.get("LOWTIDE_SIMULATIONS")
simulated = settings(
    max_examples=max(1, int(TOTAL or 500) // PROPERTIES),
    derandomize=TOTAL is None,
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
    assert check_host(simulation.cloud, simulation.clock, outcome.plan, outcome.ledger).empty


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


def test_what_a_tick_asks_does_not_grow_with_the_number_of_guests():
    options = m.Options(max_parallel=4)
    guests = (Inhabitant(copy_seconds=8.0),) * 150
    simulation = Simulation(Drain(guests=guests, options=options))
    outcome = simulation.run()
    assert set(outcome.phases().values()) == {m.MOVED}
    calls = simulation.cloud.calls
    assert calls["list guests"] == calls["list migrations"] == outcome.ticks
    assert calls["progress"] <= 4 * outcome.ticks
    assert calls["evidence"] <= 2 * len(guests)
    assert calls["survey"] == 1


# --- the watchers are awake --------------------------------------------------------------


def watched(*guests: Inhabitant, **fields) -> None:
    simulation = Simulation(Drain(guests=guests, **fields))
    simulation.check_end(simulation.run())


def test_a_lie_is_caught(monkeypatch):
    monkeypatch.setattr(verifying, "first_problem", lambda evidence, move: None)
    with pytest.raises(AssertionError, match="said moved"):
        watched(Inhabitant(courses=("leftovers_for_good",)))


def test_a_broken_group_is_caught(monkeypatch):
    monkeypatch.setattr(planner, "choose", lambda candidates, *_: [(c[0], "") for c in candidates])
    with pytest.raises(AssertionError, match="of its group moved"):
        watched(*[Inhabitant(group="blue")] * 2, options=m.Options(max_parallel=2))


def test_a_crowd_is_caught(monkeypatch):
    monkeypatch.setattr(planner, "choose", lambda candidates, *_: [(c[0], "") for c in candidates])
    with pytest.raises(AssertionError, match="beyond max_parallel"):
        watched(*[Inhabitant()] * 2)


def test_a_drain_without_end_is_caught(monkeypatch):
    monkeypatch.setattr(planner, "finish", lambda _tick: False)
    with pytest.raises(AssertionError, match="still running after"):
        watched(Inhabitant())


def test_a_touched_excluded_guest_is_caught(monkeypatch):
    exclude = m.Exclusions(tags=("someone",))
    with pytest.raises(AssertionError, match="is excluded: live_migrate"):
        watched(Inhabitant(kind="excluded"), options=m.Options(exclude=exclude))


def test_a_revived_dead_guest_is_caught(monkeypatch):
    reset = planner.Tick.do

    def careless(tick, verb, move, **fields):
        reset(tick, "reset_state" if verb == "ask_alive" else verb, move, **fields)

    monkeypatch.setattr(planner.Tick, "do", careless)
    with pytest.raises(AssertionError, match="reset although it does not run"):
        watched(Inhabitant(courses=("fails_and_dies",)))


def test_an_open_door_is_caught(monkeypatch):
    monkeypatch.setattr(planner, "must_disable_first", lambda _tick: False)
    with pytest.raises(AssertionError, match="while the service was enabled"):
        watched(Inhabitant())
