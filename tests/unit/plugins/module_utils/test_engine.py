# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop: what it asks for, what it sends, and what it does when nobody answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._engine import (
    check_host,
    iso_time,
    new_ledger,
    run,
    survey_and_plan,
)
from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    Refused,
    Unauthorized,
    Unreachable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import decode, encode
from tests.unit.support import SOURCE, guest, migration, service, survey

EPOCH = 1_800_000_000.0
QUICK = m.Options(quiet_seconds=0.0)
SCOPE = m.Scope(SOURCE)


class StubClock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.time = EPOCH
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += max(0.0, seconds)


class ScriptedCloud:
    """Answers what it is told to and notes what it is asked; errors are raised by name of call.

    A live migration takes the guest to cmp-2 by the next look.
    """

    def __init__(self, *guests: m.Guest, enabled: bool = False) -> None:
        self.guests = {each.id: each for each in guests}
        self.service = service(enabled=enabled, disabled_reason="by hand")
        self.migrations: list[m.Migration] = []
        self.errors: dict[str, list[Exception]] = {}
        self.asked: list[tuple] = []

    def _ask(self, *call) -> None:
        self.asked.append(call)
        waiting = self.errors.get(call[0])
        if waiting:
            error = waiting.pop(0)
            if error:
                raise error

    def calls(self, name: str) -> int:
        return sum(call[0] == name for call in self.asked)

    def _here(self):
        return tuple(each for each in self.guests.values() if each.host == SOURCE)

    def survey(self, scope):
        self._ask("survey")
        return survey(*self._here(), migrations=tuple(self.migrations))

    def observe(self, scope):
        self._ask("observe")
        newest_first = tuple(reversed(self.migrations))
        return m.Observation(self.service, self._here(), newest_first)

    def disable(self, host, reason):
        self._ask("disable", host, reason)
        self.service = service(enabled=False, disabled_reason=reason)

    def live_migrate(self, guest_id, host):
        self._ask("live_migrate", guest_id, host)
        number = len(self.migrations) + 1
        self.migrations.append(migration(number, guest_id, status="completed"))
        self.guests[guest_id] = replace(self.guests[guest_id], host="cmp-2")

    def evidence(self, guest_id, migration_uuid):
        self._ask("evidence", guest_id, migration_uuid)
        seen = self.guests[guest_id]
        return m.Evidence(True, seen.host, seen.vm_state, "", seen.power_state, (seen.host,))

    def cause(self, guest_id):
        self._ask("cause", guest_id)
        return "because"

    def alive(self, guest_id):
        self._ask("alive", guest_id)

    def progress(self, guest_id, migration_id):
        self._ask("progress", guest_id)

    def host_allocations(self, host):
        self._ask("host_allocations", host)
        return tuple(each.id for each in self._here())

    def __getattr__(self, verb):
        return lambda *arguments: self._ask(verb, *arguments)


class Session:
    """A cloud, a clock, and the plan and ledger that go from one call to the next."""

    def __init__(self, *guests, options=QUICK, enabled=False):
        self.cloud, self.clock, self.options = (
            ScriptedCloud(*guests, enabled=enabled),
            StubClock(),
            options,
        )
        _survey, self.plan = survey_and_plan(self.cloud, SCOPE, options)
        self.ledger = new_ledger("run", EPOCH)
        self.events: list[m.Event] = []

    def run(self, seconds=float("inf")):
        ended = run(self.cloud, self.clock, self.plan, self.options, self.ledger, seconds=seconds)
        self.plan, self.ledger = ended.plan, ended.ledger
        self.events += ended.events
        return ended

    @property
    def kinds(self):
        return [event.kind for event in self.events]


def silence(message="no connection"):
    return Unreachable(message, "wait")


# --- to the end --------------------------------------------------------------------------


def test_a_host_is_drained():
    session = Session(guest("g1"), guest("g2"), enabled=True)
    ended = session.run()
    assert ended.done
    assert session.kinds == ["disabled", "started", "started", "moved", "moved", "done"]
    verdict = check_host(session.cloud, session.clock, session.plan, session.ledger)
    assert verdict.empty


def test_a_tick_is_three_lists_however_many_guests_there_are():
    session = Session(*(guest(f"g{n}") for n in range(50)))
    session.cloud.asked.clear()
    session.run(seconds=0)
    assert [call[0] for call in session.cloud.asked] == ["observe", "live_migrate"]


def test_the_mark_of_the_run_is_the_reason():
    session = Session(enabled=True)
    session.run()
    assert ("disable", SOURCE, "lowtide:run: drain") in session.cloud.asked


def test_the_times_are_nova_s():
    assert iso_time(EPOCH) == "2027-01-15T08:00:00"
    assert new_ledger("run", EPOCH).since == "2027-01-15T08:00:00"
    assert new_ledger("run", EPOCH, "2027-01-15T07:00:00").since == "2027-01-15T07:00:00"


# --- in steps ----------------------------------------------------------------------------


def test_a_step_ends_before_it_would_exceed_its_time():
    session = Session(guest())
    assert not session.run(seconds=4.9).done
    assert session.clock.slept == []
    assert session.run(seconds=5.0).done
    assert session.clock.slept == [5.0]


def test_a_drain_in_steps_of_one_tick_ends_as_one_in_a_single_call():
    session = Session(guest("g1"), guest("g2"), enabled=True)
    for _run in range(10):
        ended = session.run(seconds=0)
        session.plan = decode(m.Plan, encode(session.plan))
        session.ledger = decode(m.Ledger, encode(session.ledger))
        if ended.done:
            break
        session.clock.sleep(5)
    assert session.kinds == ["disabled", "started", "started", "moved", "moved", "done"]


def test_a_refusal_in_the_last_tick_of_a_step_is_known_to_the_next():
    session = Session(guest())
    session.cloud.errors["live_migrate"] = [Refused("no", status=400)]
    session.run(seconds=0)
    session.run(seconds=0)
    assert session.kinds == ["started", "refused", "left", "done"]


def test_polls_are_evenly_spaced():
    session = Session(guest())
    slow = session.cloud.observe

    def observe(scope):
        session.clock.time += 2
        return slow(scope)

    session.cloud.observe = observe
    session.run(seconds=12)
    assert session.clock.slept == [3.0, 3.0]


# --- when nobody answers -----------------------------------------------------------------


def test_an_outage_is_told_of_once_and_waited_out():
    session = Session(guest())
    session.cloud.errors["observe"] = [silence(), silence(), silence()]
    assert session.run().done
    assert session.kinds[:3] == ["unreachable", "reachable", "started"]
    assert session.events[1].data == {"seconds": 15.0}
    assert session.ledger.unreachable_since == 0.0


def test_patience_with_the_api_ends():
    session = Session(guest(), options=replace(QUICK, api_patience=20.0))
    session.cloud.errors["observe"] = [silence(f"try {n}") for n in range(9)]
    with pytest.raises(Unreachable, match="try 5"):
        session.run()


def test_patience_is_counted_over_steps():
    session = Session(guest(), options=replace(QUICK, api_patience=20.0))
    session.cloud.errors["observe"] = [silence() for n in range(9)]
    for _run in range(5):
        session.run(seconds=0)
        session.clock.sleep(5)
    with pytest.raises(Unreachable):
        session.run(seconds=0)


def test_an_outage_is_not_charged_to_what_was_waited_for():
    session = Session(guest())
    session.run(seconds=0)
    session.run(seconds=0)
    assert session.ledger.moves["g1"].phase == m.VERIFYING
    since = session.ledger.moves["g1"].since
    session.cloud.errors["observe"] = [silence()] * 20
    session.run(seconds=100)
    assert session.ledger.moves["g1"].since == since + 100


def test_evidence_from_before_an_outage_is_asked_for_again():
    session = Session(guest())
    session.run(seconds=0)
    session.run(seconds=0)
    session.cloud.errors["observe"] = [silence()]
    session.run(seconds=0)
    assert session.ledger.answers.evidence == {}
    session.run(seconds=0)
    assert session.cloud.calls("evidence") == 2


def test_a_service_that_could_not_be_disabled_is_disabled_by_the_next_tick():
    session = Session(guest(), enabled=True)
    session.cloud.errors["disable"] = [silence()]
    assert session.run().done
    assert session.kinds[:4] == ["unreachable", "reachable", "disabled", "started"]


def test_a_service_that_was_disabled_without_an_answer_is_this_run_s_doing():
    session = Session(guest(), enabled=True)
    answered = session.cloud.disable

    def disable(host, reason):
        answered(host, reason)
        raise silence()

    session.cloud.disable = disable
    assert session.run().done
    assert session.kinds[:4] == ["unreachable", "reachable", "disabled", "started"]
    assert session.cloud.calls("disable") == 1
    assert session.ledger.disabled_at == EPOCH


def test_a_refusal_to_disable_ends_the_run():
    session = Session(guest(), enabled=True)
    session.cloud.errors["disable"] = [Refused("no", status=403)]
    with pytest.raises(Refused):
        session.run()


def test_credentials_that_are_no_longer_good_end_the_run():
    session = Session(guest())
    session.cloud.errors["observe"] = [Unauthorized("expired")]
    with pytest.raises(Unauthorized):
        session.run()


def test_a_read_that_fails_is_asked_again():
    session = Session(guest())
    session.cloud.errors["evidence"] = [silence(), Refused("odd", status=400)]
    assert session.run().done
    assert session.cloud.calls("evidence") == 3


def test_a_write_without_an_answer_is_not_a_refusal():
    session = Session(guest())
    session.cloud.errors["live_migrate"] = [silence()]
    session.run(seconds=0)
    assert session.ledger.answers.refusals["g1"].status == 0
    assert session.ledger.moves["g1"].phase == m.REQUESTED


# --- guests the plan does not know -------------------------------------------------------


def test_a_guest_that_lands_later_is_surveyed_once_and_planned():
    session = Session(guest("g1"))
    session.run(seconds=0)
    session.cloud.guests["g2"] = guest("g2", vm_state="rescued")
    session.cloud.asked.clear()
    session.run(seconds=10)
    assert session.cloud.calls("survey") == 1
    assert {entry.guest.id for entry in session.plan.entries} == {"g1", "g2"}
    assert session.run().done
    assert session.ledger.moves["g2"].code == "rescued"


def test_what_only_the_survey_tells_is_kept():
    group = m.Group("a", "a", "anti-affinity")
    planned = guest(group=group, ports=(m.Port("p"),), shares=("s",), tags=("t",))
    session = Session(planned)
    session.cloud.guests["g1"] = guest()
    session.run(seconds=0)
    assert session.ledger.moves["g1"].code == "share"


@pytest.mark.parametrize(
    ("planned", "listed", "asked"), [("error", "error", 0), ("active", "error", 1)]
)
def test_who_is_known_to_be_dead_is_not_asked_about_again(planned, listed, asked):
    session = Session(guest(vm_state=planned, alive=False if planned == "error" else None))
    session.cloud.guests["g1"] = guest(vm_state=listed)
    session.run(seconds=0)
    assert session.cloud.calls("alive") == asked


# --- what is sent ------------------------------------------------------------------------


def test_a_guest_that_went_wrong_is_explained_and_repaired():
    """Every verb and every read reaches the gateway with what it needs."""
    failed = migration(1, status="running")
    session = Session(guest(task_state="migrating"), options=replace(QUICK, timeout_per_gib=1))
    session.cloud.migrations = [failed]
    session.run(seconds=10)
    assert ("progress", "g1") in session.cloud.asked
    assert ("abort", "g1", 1) in session.cloud.asked
    session.cloud.migrations = [replace(failed, status="error")]
    session.cloud.guests["g1"] = guest(vm_state="error")
    session.cloud.alive = lambda guest_id: True
    session.run(seconds=20)
    assert ("cause", "g1") in session.cloud.asked
    assert ("reset_state", "g1") in session.cloud.asked


def test_a_guest_that_stays_is_a_problem_unless_it_was_excluded():
    options = replace(QUICK, exclude=m.Exclusions(ids=("g1",)))
    session = Session(guest("g1"), guest("g2", vm_state="rescued"), options=options)
    assert session.run().done
    verdict = check_host(session.cloud, session.clock, session.plan, session.ledger)
    assert not verdict.empty
    assert verdict.excluded == ("g1",)
    assert len(verdict.problems) == 1
    assert "g2" in verdict.problems[0]


def test_an_allocation_that_nova_is_about_to_delete_is_waited_for():
    session = Session(guest("g1"))
    session.run()
    held = iter([("migration-1",), ("migration-1",), ()])
    session.cloud.host_allocations = lambda host: next(held)
    assert check_host(session.cloud, session.clock, session.plan, session.ledger).empty
    assert next(held, "spent") == "spent"


def test_an_allocation_that_stays_is_a_problem():
    session = Session(guest("g1"))
    session.run()
    session.cloud.host_allocations = lambda host: ("stranger",)
    began = session.clock.now()
    verdict = check_host(session.cloud, session.clock, session.plan, session.ledger)
    assert not verdict.empty
    assert "stranger" in verdict.problems[0]
    assert 15 <= session.clock.now() - began < 20


# --- what is asked elsewhere -------------------------------------------------------------

ASKABLE = replace(QUICK, hypervisors=(SOURCE, "cmp-2"))
GONE, THERE = m.Domains(), m.Domains({"g1": "running"})


def told(session, **answers):
    """What the next step begins with."""
    session.ledger = replace(session.ledger, answers=replace(session.ledger.answers, **answers))


def test_a_step_ends_when_a_hypervisor_must_be_asked():
    session = Session(guest("g1"), options=ASKABLE)
    ended = session.run()
    assert (ended.done, ended.ledger.wanted) == (False, (SOURCE, "cmp-2"))
    assert session.kinds == ["started"]
    assert not [call for call in session.cloud.asked if "hypervisor" in call[0]]
    told(session, hypervisors={SOURCE: GONE, "cmp-2": THERE})
    assert session.run().done
    assert session.ledger.moves["g1"].witnesses == 3


def test_what_libvirt_said_is_no_answer_to_a_later_question():
    session = Session(guest("g1"), guest("g2"), options=ASKABLE)
    session.run()
    told(session, hypervisors={SOURCE: GONE, "cmp-2": THERE})
    session.run()
    assert session.ledger.answers.hypervisors == {}


def test_silence_of_the_api_makes_libvirt_s_word_old():
    session = Session(guest("g1"), options=ASKABLE)
    session.run()
    told(session, hypervisors={SOURCE: GONE, "cmp-2": THERE}, silent_ms={"g1": 9.0})
    session.cloud.errors["observe"] = [silence()]
    session.run(seconds=0)
    assert session.ledger.wanted == ()
    assert session.ledger.answers.hypervisors == {}
    assert session.ledger.answers.silent_ms == {"g1": 9.0}
    assert session.run().ledger.wanted == (SOURCE, "cmp-2")


def test_the_probe_s_word_holds_for_the_whole_step():
    options = replace(QUICK, on_unreachable="pause")
    session = Session(guest("g1"), guest("g2"), options=options)
    session.run(seconds=0)
    told(session, silent_ms={"g1": 60_000.0})
    session.ledger = replace(session.ledger, started_at=EPOCH - 3600)
    moves = {**session.ledger.moves}
    moves["g1"] = replace(moves["g1"], started_at=EPOCH - 3600)
    session.ledger = replace(session.ledger, moves=moves)
    assert not session.run(seconds=30).done
    assert session.cloud.calls("live_migrate") == 1
    told(session, silent_ms={})
    assert session.run().done


def test_a_domain_that_is_left_on_the_host_is_a_problem():
    session = Session(guest("g1"), options=ASKABLE)
    session.run()
    stray = m.Domains({"stray": "running"})
    told(session, hypervisors={SOURCE: stray, "cmp-2": THERE})
    assert session.run().done
    verdict = check_host(session.cloud, session.clock, session.plan, session.ledger)
    assert len(verdict.problems) == 1
    assert "libvirt has domain stray (running) on cmp-1" in verdict.problems[0]
