# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole drains against a modelled cloud in virtual time: what may never happen never does.

LOWTIDE_SIMULATIONS sets how many drains are simulated in all. Without it they are a few
hundred, and always the same; with it they are new ones each time.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._engine import check_host
from ansible_collections.lowtide.compute.plugins.module_utils._planner import drain as planner
from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner import silence
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases import (
    recovering,
    verifying,
)
from tests.simulation.drains import Drain, Inhabitant, benign_drains, drains
from tests.simulation.harness import Simulation
from tests.simulation.world import OTHERS, SOURCE, Settings

ASKABLE = m.Options(hypervisors=(SOURCE, *OTHERS))

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
    # Where libvirt can be asked, it is asked what the host has, once.
    assert again.ticks == 1 + (SOURCE in drain.options.hypervisors)


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


# --- planned destinations ----------------------------------------------------------------


def planned_drain(*, guests=4, **options) -> Drain:
    return Drain((Inhabitant(),) * guests, options=m.Options(destinations="planned", **options))


def test_guests_end_where_the_plan_says():
    simulation = Simulation(planned_drain(guests=6))
    outcome = simulation.run()
    planned = {entry.guest.id: entry.placed for entry in outcome.plan.entries}
    assert {vm.id: vm.really_on for vm in simulation.world.vms.values()} == planned
    assert simulation.cloud.calls["survey"] == 1


def test_a_plan_that_is_overtaken_is_made_anew():
    drain = replace(planned_drain(), settings=Settings(refusing=OTHERS[:1]))
    simulation = Simulation(drain)
    outcome = simulation.run(through_codec=True)
    simulation.check_end(outcome)
    assert set(outcome.phases().values()) == {m.MOVED}
    assert {vm.really_on for vm in simulation.world.vms.values()} <= set(OTHERS[1:])
    changed = [event for event in outcome.events if event.kind == "replanned"]
    assert {event.data["was"] for event in changed} >= {OTHERS[0]}
    assert simulation.cloud.calls["survey"] <= 1 + 4


def test_in_the_last_attempt_the_scheduler_chooses():
    drain = replace(planned_drain(guests=1), settings=Settings(refusing=OTHERS[:3]))
    simulation = Simulation(drain)
    outcome = simulation.run()
    assert simulation.world.vms["g0"].really_on == OTHERS[3]
    told = [dict(event.data) for event in outcome.events if event.kind == "replanned"]
    assert told == [
        {"was": OTHERS[0], "destination": OTHERS[1]},
        {"was": OTHERS[1], "destination": ""},
    ]


# --- what only libvirt can tell ----------------------------------------------------------


@pytest.mark.parametrize(
    ("course", "phase", "code", "stopped"),
    [
        ("runs_twice", m.UNVERIFIED, "split_brain", "split_brain"),
        ("vanishes", m.UNVERIFIED, "lost", "lost"),
        ("directory_stays", m.UNVERIFIED, "leftover_on_source", ""),
        ("directory_stays_for_a_while", m.MOVED, "verified", ""),
        ("copy_stays", m.LEFT, "domain", ""),
        ("moves_but_says_error", m.LEFT, "runs_on_destination", ""),
        ("completes_but_on_source", m.LEFT, "runs_on_destination", ""),
    ],
)
def test_libvirt_is_heard(course, phase, code, stopped):
    simulation = Simulation(Drain((Inhabitant(courses=(course,)),), options=ASKABLE))
    outcome = simulation.run()
    simulation.check_end(outcome)
    move = outcome.ledger.moves["g0"]
    assert (move.phase, move.code) == (phase, code)
    assert outcome.ledger.stopped == stopped
    assert not [what for _when, what, _guest in simulation.cloud.writes if what == "reset_state"]


def test_another_run_does_not_start_a_guest_that_went_unnoticed():
    guests = (Inhabitant(courses=("moves_but_says_error",)),)
    simulation = Simulation(
        Drain(guests, options=ASKABLE, settings=Settings(error_after_failure=False))
    )
    simulation.run()
    begun = [what for _when, what, _guest in simulation.cloud.writes]
    again = simulation.run()
    assert again.ledger.moves["g0"].code == "runs_on_destination"
    assert [what for _when, what, _guest in simulation.cloud.writes] == begun


@pytest.mark.parametrize("course", ["runs_twice", "moves_but_says_error"])
def test_what_libvirt_has_on_the_host_keeps_it_from_being_empty(course):
    simulation = Simulation(Drain((Inhabitant(courses=(course,)),), options=ASKABLE))
    outcome = simulation.run()
    verdict = check_host(simulation.cloud, simulation.clock, outcome.plan, outcome.ledger)
    strays = [problem for problem in verdict.problems if problem.startswith("libvirt has domain")]
    assert bool(strays) is (course == "runs_twice")
    assert not verdict.empty


# --- the watchers are awake --------------------------------------------------------------


def watched(*guests: Inhabitant, **fields) -> None:
    simulation = Simulation(Drain(guests=guests, **fields))
    simulation.check_end(simulation.run())


def test_a_lie_is_caught(monkeypatch):
    monkeypatch.setattr(verifying, "first_problem", lambda *_all: None)
    with pytest.raises(AssertionError, match="said moved"):
        watched(Inhabitant(courses=("leftovers_for_good",)))


@pytest.mark.parametrize("course", ["runs_twice", "vanishes", "directory_stays"])
def test_a_lie_that_only_libvirt_can_tell_is_caught(monkeypatch, course):
    monkeypatch.setattr(verifying, "first_problem", lambda *_all: None)
    with pytest.raises(AssertionError, match="not only there"):
        watched(Inhabitant(courses=(course,)), options=ASKABLE)


@pytest.mark.parametrize(
    ("course", "complaint"),
    [("moves_but_says_error", "reset although|seen elsewhere"), ("copy_stays", "reset although")],
)
def test_deafness_to_libvirt_is_caught(monkeypatch, course, complaint):
    monkeypatch.setattr(recovering, "_misplaced", lambda *_all: None)
    monkeypatch.setattr(recovering, "_alive", lambda *_all: True)
    with pytest.raises(AssertionError, match=complaint):
        watched(Inhabitant(courses=(course,)), options=ASKABLE)


def test_a_start_beside_a_silent_guest_is_caught(monkeypatch):
    monkeypatch.setattr(silence, "_hold", lambda *_all: None)
    options = m.Options(on_unreachable="pause", order="name")
    with pytest.raises(AssertionError, match="are silent"):
        watched(*[Inhabitant()] * 4, options=options, silences=((12.0, 400.0, 0),))


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
