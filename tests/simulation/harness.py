# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry a simulated drain out as the modules do, one tick a call, and watch it all the while."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ansible_collections.lowtide.compute.plugins.module_utils._drain import begin, hear
from ansible_collections.lowtide.compute.plugins.module_utils._engine import run, survey_and_plan
from ansible_collections.lowtide.compute.plugins.module_utils._errors import Unreachable
from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import decode, encode
from ansible_collections.lowtide.compute.plugins.module_utils._planner.mark import new_run_id
from tests.simulation.cloud import SimulatedCloud
from tests.simulation.drains import Drain, populate
from tests.simulation.world import EPOCH, OTHERS, SOURCE, VirtualClock, World

LISTS = ("list services", "list migrations", "list guests")
#: Which phases of a guest let the engine ask about that guest alone.
ASKED_IN = {
    "progress": frozenset({m.MIGRATING}),
    "evidence": frozenset({m.VERIFYING}),
    "cause": frozenset({m.RECOVERING}),
}

#: Phases of a guest in which hypervisors are asked; else only the drained host, before the end.
LIBVIRT_IN = frozenset({m.VERIFYING, m.RECOVERING, m.MIGRATING})
#: Seconds that a step takes at least.
STEP = 2.0

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
            self.check_moved(tick.events, tick.ledger)
            self.check_hold(tick.events, tick.ledger)
            assert not self.cloud.breaches.found, self.cloud.breaches.found
            assert outcome.seconds < bound, f"still running after {bound:.0f} s: {tick.ledger}"
            if tick.done or outcome.ticks == kill_after:
                outcome.killed = not tick.done
                return outcome
            if through_codec:
                outcome.plan = decode(m.Plan, encode(outcome.plan))
                outcome.ledger = decode(m.Ledger, encode(outcome.ledger))
            outcome.ledger = self._between_steps(outcome.ledger)

    def _between_steps(self, ledger: m.Ledger) -> m.Ledger:
        """What the action plugin does: time passes, hypervisors and the probe are asked."""
        self.clock.sleep(STEP if ledger.wanted else self.drain.poll_interval)
        said = self.cloud.ask_hypervisors(ledger.wanted)
        answers = {"hypervisors": encode(said), "silent_ms": self._silent()}
        return hear(ledger, answers)

    def _silent(self) -> dict[str, float]:
        """Milliseconds for which each guest is silent, by the drain's calendar."""
        age = self.clock.now() - EPOCH
        return {
            f"g{number % len(self.drain.guests)}": 1000 * (age - begins)
            for begins, ends, number in self.drain.silences
            if begins <= age < ends
        }

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
        assert calls["ask hypervisor"] <= len(self.drain.options.hypervisors), calls
        if not set(phases) & LIBVIRT_IN:
            assert calls["ask hypervisor"] <= 1, (calls, phases)
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

    def check_moved(self, events: tuple[m.Event, ...], ledger: m.Ledger) -> None:
        for event in events:
            if event.kind == "moved":
                vm = self.world.vms[event.guest_id]
                assert self.cloud.proven.get(vm.id), f"said moved, and it is not: {vm}"
                if ledger.moves[vm.id].witnesses == 3:
                    assert self.cloud.single[vm.id], f"said moved, and it is not only there: {vm}"

    def check_hold(self, events: tuple[m.Event, ...], ledger: m.Ledger) -> None:
        """Where the operator wants it so, nothing starts while a guest is silent."""
        silent = [move.name for move in ledger.moves.values() if move.silent_since]
        started = [event.name for event in events if event.kind == "started"]
        if self.drain.options.on_unreachable != "report":
            assert not (silent and started), f"{started} started while {silent} are silent"

    def check_end(self, outcome: Outcome) -> None:
        """Every guest is accounted for, and nobody that is still here was forgotten."""
        moves = outcome.ledger.moves
        for guest_id, phase in outcome.phases().items():
            assert phase in ENDS, (guest_id, phase)
        for move in moves.values():
            if move.phase == m.LEFT:
                assert all((move.code, move.reason, move.remedy)), move
        for vm in self.world.vms.values():
            if not (vm.deleted or vm.vanished) and vm.vm_state != "shelved_offloaded":
                assert vm.really_on in (SOURCE, *OTHERS), f"lost: {vm}"
                asleep = vm.power_state in ("shutdown", "suspended")
                assert vm.runs or vm.died or asleep, f"died: {vm}"
        left = [event.guest_id for event in outcome.events if event.kind == "left"]
        assert set(left) >= {g for g, p in outcome.phases().items() if p == m.LEFT}

    def on_source(self) -> set[str]:
        return {vm.id for vm in self.world.vms.values() if SOURCE in (vm.host, vm.really_on)}


def _phases(ledger: m.Ledger) -> Counter[str]:
    return Counter(move.phase for move in ledger.moves.values())
