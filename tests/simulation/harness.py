# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry a simulated drain out as the modules do, one tick a call, and watch it all the while."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ansible_collections.lowtide.compute.plugins.module_utils._drain import begin
from ansible_collections.lowtide.compute.plugins.module_utils._engine import run, survey_and_plan
from ansible_collections.lowtide.compute.plugins.module_utils._errors import Unreachable
from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import decode, encode
from ansible_collections.lowtide.compute.plugins.module_utils._planner.mark import new_run_id
from tests.simulation.cloud import SimulatedCloud
from tests.simulation.drains import Drain, populate
from tests.simulation.world import OTHERS, SOURCE, VirtualClock, World

LISTS = ("list services", "list migrations", "list guests")
#: Which phases of a guest let the engine ask about that guest alone.
ASKED_IN = {
    "progress": frozenset({m.MIGRATING}),
    "evidence": frozenset({m.VERIFYING}),
    "cause": frozenset({m.RECOVERING}),
}

#: Phases in which a guest may be when a run is over.
ENDS = frozenset({m.MOVED, m.UNVERIFIED, m.GONE, m.SKIPPED, m.LEFT})


@dataclass
class Outcome:
    """How a run ended. ``events``: of all its ticks."""

    plan: m.Plan
    ledger: m.Ledger
    seconds: float
    ticks: int
    events: list[m.Event] = field(default_factory=list)
    killed: bool = False

    def phases(self) -> dict[str, str]:
        return {guest_id: move.phase for guest_id, move in self.ledger.moves.items()}


class Simulation:
    """One world, and as many runs of its drain as it takes."""

    def __init__(self, drain: Drain) -> None:
        self.drain = drain
        self.clock = VirtualClock()
        self.world = World(self.clock, drain.seed, drain.settings)
        populate(self.world, drain)
        self.cloud = SimulatedCloud(
            self.world, self.clock, drain.options, drain.faults, drain.seed + 1
        )
        self._runs = 0
        self._called = self.cloud.calls.copy()

    def run(self, kill_after: int | None = None, *, through_codec: bool = False) -> Outcome:
        """From the plan to the end, or until it is killed after so many ticks."""
        plan, ledger = self._plan()
        outcome = Outcome(plan, ledger, 0.0, 0)
        began, bound = self.clock.now(), self.bound()
        while True:
            phases = _phases(outcome.ledger)
            tick = self._tick(outcome)
            outcome.plan, outcome.ledger = tick.plan, tick.ledger
            outcome.ticks += 1
            outcome.seconds = self.clock.now() - began
            outcome.events += tick.events
            self.check_calls(self.cloud.calls - self._called, phases | _phases(tick.ledger))
            self.check_starts(outcome)
            self.check_moved(tick.events)
            assert not self.cloud.breaches.found, self.cloud.breaches.found
            assert outcome.seconds < bound, f"still running after {bound:.0f} s: {tick.ledger}"
            if tick.done or outcome.ticks == kill_after:
                outcome.killed = not tick.done
                return outcome
            if through_codec:
                outcome.plan = decode(m.Plan, encode(outcome.plan))
                outcome.ledger = decode(m.Ledger, encode(outcome.ledger))
            self.clock.sleep(self.drain.poll_interval)

    def _tick(self, outcome: Outcome):
        """One tick; a run that lost patience with the API is begun anew, as an operator would."""
        options, interval = self.drain.options, self.drain.poll_interval
        self._called = self.cloud.calls.copy()
        try:
            return run(
                self.cloud,
                self.clock,
                outcome.plan,
                options,
                outcome.ledger,
                seconds=0.0,
                poll_interval=interval,
            )
        except Unreachable:
            plan, ledger = self._plan()
            outcome.events.clear()
            self._called = self.cloud.calls.copy()
            return run(self.cloud, self.clock, plan, options, ledger, seconds=0.0)

    def _plan(self) -> tuple[m.Plan, m.Ledger]:
        self._runs += 1
        for _patience in range(1000):
            now = self.clock.now()
            try:
                service = self.cloud.service(SOURCE)
                ledger = begin(service, now, new_run_id(now, f"{self._runs:04x}"))
                options = self.drain.options
                _survey, plan = survey_and_plan(self.cloud, m.Scope(SOURCE), options, ledger.since)
                return plan, ledger
            except Unreachable:
                self.clock.sleep(5.0)
        raise AssertionError("the API never answers")

    def bound(self) -> float:
        """The longest that this drain may take: every budget spent in full, one after the other."""
        options = self.drain.options
        attempt = (
            options.record_timeout
            + 2 * options.timeout_per_gib * 2
            + 2 * options.escalation_timeout
            + 3 * options.settle_timeout
            + 2 * options.verify_timeout
            + options.api_patience
            + 4 * options.retry_delay
        )
        guests = len(self.world.vms) + len(self.drain.builds) + 1
        silent = sum(o[1] - o[0] for o in (self.drain.faults.outage, self.drain.crash)[:1])
        return guests * (options.max_attempts + 2) * attempt + silent + 3000.0

    # --- what must hold at every tick

    def check_calls(self, calls: Counter[str], phases: Counter[str]) -> None:
        """A constant number of lists, and no question about a guest on which nothing is done."""
        for name in LISTS:
            assert calls[name] <= 2, calls
        for name, allowed in ASKED_IN.items():
            assert calls[name] <= sum(phases[phase] for phase in allowed), (calls, phases)

    def check_starts(self, outcome: Outcome) -> None:
        stopped = False
        for event in outcome.events:
            stopped |= event.kind in ("stopped", "deadline")
            if event.kind == "started":
                assert not stopped, f"started after it was stopped: {event}"
                deadline = self.drain.options.deadline
                age = event.at - outcome.ledger.started_at
                assert not deadline or age <= deadline, f"started after the deadline: {event}"

    def check_moved(self, events: tuple[m.Event, ...]) -> None:
        for event in events:
            if event.kind == "moved":
                proven = self.cloud.proven.get(event.guest_id)
                assert proven, f"said moved, and it is not: {self.world.vms[event.guest_id]}"

    def check_end(self, outcome: Outcome) -> None:
        """Every guest is accounted for, and nobody that is still here was forgotten."""
        moves = outcome.ledger.moves
        for guest_id, phase in outcome.phases().items():
            assert phase in ENDS, (guest_id, phase)
        for move in moves.values():
            if move.phase == m.LEFT:
                assert all((move.code, move.reason, move.remedy)), move
        for vm in self.world.vms.values():
            if not vm.deleted and vm.vm_state != "shelved_offloaded":
                assert vm.really_on in (SOURCE, *OTHERS), f"lost: {vm}"
                asleep = vm.power_state in ("shutdown", "suspended")
                assert vm.runs or vm.died or asleep, f"died: {vm}"
        left = [event.guest_id for event in outcome.events if event.kind == "left"]
        assert set(left) >= {g for g, p in outcome.phases().items() if p == m.LEFT}

    def on_source(self) -> set[str]:
        return {vm.id for vm in self.world.vms.values() if SOURCE in (vm.host, vm.really_on)}


def _phases(ledger: m.Ledger) -> Counter[str]:
    return Counter(move.phase for move in ledger.moves.values())
