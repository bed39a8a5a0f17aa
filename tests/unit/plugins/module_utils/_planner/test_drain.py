# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state machine of a drain: one test for each way in which Nova surprises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.drain import step
from ansible_collections.lowtide.compute.plugins.module_utils._planner.eligibility import (
    DESTINATION_CODES,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import make_plan
from tests.unit.support import SOURCE, guest, migration, service, survey

SINCE = "2027-01-15T08:00:00"
EPOCH = 1_800_000_000.0
RUN = "20270115T080000Z-beef"
MARK = f"lowtide:{RUN}: drain"
CLOSED = service(enabled=False, disabled_reason=MARK)
QUICK = m.Options(quiet_seconds=0.0)


class Drain:
    """A drain of cmp-1 in slow motion: each ``tick`` shows one observation to the planner.

    What is not said stays as it was: guests, migrations and the service. Answers are for one
    tick only. Time goes on by five seconds a tick, or by ``after``.
    """

    def __init__(self, *guests, options=QUICK, scope=None, closed=True, **fields):
        looked = survey(*guests, **({"scope": scope} if scope else {}), **fields)
        self.options = options
        self.plan = make_plan(looked, options, SINCE)
        self.ledger = m.Ledger(run_id=RUN, started_at=EPOCH, since=SINCE)
        if closed:
            self.ledger = replace(self.ledger, disabled_at=EPOCH - 60, ticks=1)
        self.guests, self.migrations = guests, ()
        self.service = CLOSED if closed else service()
        self.now = EPOCH
        self.told: list[m.Event] = []
        self.decision = m.Decision()

    def tick(self, *, after=5.0, **shown) -> Drain:
        self.now += after
        for name in ("guests", "migrations", "service"):
            if name in shown:
                setattr(self, name, shown.pop(name))
        seen = m.Observation(
            service=self.service, guests=self.guests, migrations=self.migrations, **shown
        )
        self.decision, self.ledger = step(self.plan, self.options, self.ledger, seen, self.now)
        self.told += self.decision.events
        return self

    def wait(self, seconds, **shown) -> Drain:
        """Tick every five seconds for so long, showing the same."""
        for _tick in range(int(seconds // 5)):
            self.tick(**shown)
        return self

    def move(self, guest_id="g1") -> m.Move:
        return self.ledger.moves[guest_id]

    def phase(self, guest_id="g1") -> str:
        return self.move(guest_id).phase

    @property
    def verbs(self) -> list[str]:
        return [action.verb for action in self.decision.actions]

    @property
    def started(self) -> list[str]:
        return [a.guest_id for a in self.decision.actions if a.verb.endswith("_migrate")]

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.decision.events]

    def last(self, kind) -> m.Event:
        return next(event for event in reversed(self.told) if event.kind == kind)

    # --- the ways there

    def in_flight(self, status="running", **fields) -> Drain:
        """The first guest was started, and its migration (number 1) is in this status."""
        self.tick()
        busy = (replace(self.guests[0], task_state="migrating"), *self.guests[1:])
        fields = {"status": status} | fields
        return self.tick(guests=busy, migrations=(migration(1, **fields),))

    def ended(self, status, **guest_fields) -> Drain:
        """Its migration ended so; the guest is now like this."""
        guests = tuple(replace(g, task_state="", **guest_fields) for g in self.guests)
        first = replace(self.migrations[0], status=status)
        return self.tick(guests=guests, migrations=(first, *self.migrations[1:]))


def evidence(host="cmp-2", **fields) -> dict[str, m.Evidence]:
    """g1 as it should be after its move."""
    proof = {
        "host": host,
        "vm_state": "active",
        "power_state": "running",
        "allocations": (host,),
    }
    return {"g1": m.Evidence(exists=True, **(proof | fields))}


FAILED = {"causes": {"g1": "the wire broke"}}
ALIVE = FAILED | {"alive": {"g1": True}}


# --- the ordinary way --------------------------------------------------------------------


def test_a_guest_is_moved_and_proven():
    drain = Drain(guest())
    assert drain.tick().started == ["g1"]
    assert drain.told[-1].data == {"method": "live", "destination": "", "attempt": 1}
    drain.tick(guests=(guest(task_state="migrating"),), migrations=(migration(1),))
    assert (drain.phase(), drain.verbs) == (m.MIGRATING, ["progress"])
    drain.tick(progress={"g1": m.Progress(100, 70, 30)})
    assert (drain.move().processed_bytes, drain.move().remaining_bytes) == (70, 30)
    drain.tick(guests=(), migrations=(migration(1, status="completed"),))
    assert (drain.phase(), drain.verbs) == (m.VERIFYING, ["verify"])
    drain.tick(evidence=evidence())
    assert drain.kinds == ["moved", "done"]
    assert drain.decision.done
    moved = drain.last("moved").data
    assert moved["destination"] == "cmp-2"
    assert (moved["seconds"], moved["bytes"], moved["attempts"]) == (15.0, 100, 1)


def test_an_empty_host_is_done_at_once_and_nothing_is_written():
    drain = Drain().tick()
    assert drain.decision == m.Decision((), (m.Event(drain.now, "done"),), True)


def test_the_place_is_free_only_when_the_source_has_cleaned_up():
    """The server's host changes, and its task ends, before the migration completes."""
    drain = Drain(guest("g1"), guest("g2")).in_flight()
    moved = (guest("g1", host="cmp-2"), guest("g2"))
    assert drain.tick(guests=moved[1:]).started == []
    assert drain.phase() == m.MIGRATING
    assert drain.tick(migrations=(migration(1, status="completed"),)).started == ["g2"]


# --- disable first -----------------------------------------------------------------------


def test_the_service_is_disabled_before_anything_is_looked_at():
    drain = Drain(guest(), closed=False).tick()
    assert drain.decision.actions == (m.Action("disable", host=SOURCE, text=MARK),)
    assert drain.kinds == ["disabled"]
    assert drain.ledger.moves == {}
    assert drain.tick(service=CLOSED).started == ["g1"]


def test_nothing_starts_while_the_service_is_still_seen_enabled():
    drain = Drain(guest(), closed=False).tick()
    assert drain.tick(after=1.0).started == []
    assert not drain.decision.done
    assert drain.tick(service=CLOSED).started == ["g1"]


def test_a_request_to_disable_that_got_no_answer_is_known_by_our_mark():
    drain = Drain(guest(), closed=False)
    drain.ledger = replace(drain.ledger, disabled_at=EPOCH)
    drain.tick(service=CLOSED)
    assert drain.kinds == ["disabled", "started"]
    assert drain.ledger.disabled_at == EPOCH


def test_a_request_to_disable_that_was_lost_is_not_claimed_when_somebody_else_did():
    drain = Drain(guest(), closed=False)
    drain.ledger = replace(drain.ledger, disabled_at=EPOCH)
    drain.tick(service=service(enabled=False, disabled_reason="by hand"))
    assert drain.kinds == ["started"]
    assert drain.ledger.disabled_at == 0.0


def test_a_host_that_an_earlier_run_disabled_is_not_said_to_be_disabled_by_this_one():
    drain = Drain(guest(), closed=False).tick(service=CLOSED)
    assert drain.kinds == ["started"]
    assert drain.ledger.disabled_at == 0.0


def test_somebody_who_enables_the_service_stops_the_drain():
    drain = Drain(guest("g1"), guest("g2")).in_flight()
    drain.tick(service=service())
    assert drain.last("stopped").data == {"reason": "enabled"}
    drain.tick(guests=(guest("g2"),), migrations=(migration(1, status="completed"),))
    drain.tick(evidence=evidence())
    assert drain.phase("g1") == m.MOVED
    assert drain.decision.done
    assert drain.move("g2").code == "enabled"
    assert drain.move("g2").remedy


def test_builds_that_were_scheduled_before_may_still_land():
    drain = Drain(options=m.Options(quiet_seconds=10.0), closed=False).tick()
    assert not drain.tick(service=CLOSED).decision.done
    assert drain.tick(after=6.0).decision.done


def test_an_interrupted_run_s_quiet_time_goes_on():
    drain = Drain(options=m.Options(quiet_seconds=10.0), closed=False)
    drain.ledger = replace(drain.ledger, started_at=EPOCH + 3)
    assert not drain.tick(service=CLOSED, after=3.0).decision.done
    assert drain.tick(after=8.0).decision.done


def test_a_migration_on_its_way_here_is_waited_for_but_not_for_ever():
    coming = migration(1, "g9", source="cmp-3", destination=SOURCE)
    drain = Drain().tick(migrations=(coming,))
    assert not drain.decision.done
    drain.wait(120)
    assert drain.tick().decision.done


def test_a_guest_that_arrives_is_told_of_and_moved():
    drain = Drain(guest("g1")).in_flight()
    drain.tick(guests=(*drain.guests, guest("g2")))
    assert "arrived" in drain.kinds
    assert drain.phase("g2") == m.WAITING


def test_a_guest_that_came_back_is_moved_again():
    drain = Drain(guest()).in_flight().ended("completed", host="cmp-2")
    drain.options = replace(drain.options, deadline=0.0)
    drain.tick(guests=(), evidence=evidence())
    assert drain.phase() == m.MOVED
    back = migration(2, kind="resize", status="reverted")
    drain.tick(guests=(guest(),), migrations=(back, *drain.migrations))
    assert drain.kinds == ["arrived", "started"]


# --- 202 and then nothing ----------------------------------------------------------------


def test_a_request_without_a_record_holds_its_place():
    drain = Drain(guest("g1"), guest("g2")).tick()
    busy = (guest("g1", task_state="migrating"), guest("g2"))
    assert drain.wait(55, guests=busy).started == []
    assert drain.phase() == m.REQUESTED


def test_a_request_whose_record_never_comes_is_tried_again():
    drain = Drain(guest()).tick().wait(65)
    assert drain.phase() == m.RECOVERING
    drain.tick(**FAILED).tick(**FAILED)
    assert drain.last("failed").data["code"] == "no_record"
    assert drain.last("failed").data["retry"]
    assert drain.wait(15).told[-1].kind == "started"


def test_a_record_that_comes_late_is_ours():
    drain = Drain(guest()).tick().wait(65, guests=(guest(task_state="migrating"),))
    assert drain.phase() == m.RECOVERING
    drain.tick(migrations=(migration(1),))
    assert (drain.phase(), drain.move().adopted) == (m.MIGRATING, False)
    assert "failed" not in [event.kind for event in drain.told]


def test_a_request_that_hangs_for_good_is_left_and_its_group_stays():
    group = m.Group("a", "a", "anti-affinity")
    drain = Drain(guest("g1", group=group), guest("g2", group=group)).tick()
    drain.wait(200, guests=(guest("g1", task_state="migrating"), guest("g2")), **FAILED)
    assert drain.move().code == "busy"
    assert drain.started == []
    drain.wait(130)
    assert drain.decision.done
    assert drain.move("g2").code == "place_taken"


def test_a_request_of_an_interrupted_run_is_waited_for_and_not_repeated():
    drain = Drain(guest("g1"), guest("g2"))
    drain.tick(guests=(guest("g1", task_state="migrating"), guest("g2")))
    assert drain.phase("g1") == m.REQUESTED
    assert drain.started == []
    drain.tick(migrations=(migration(1),))
    assert drain.kinds == ["adopted"]


def test_a_foreign_request_that_came_to_nothing_is_no_attempt():
    drain = Drain(guest()).tick(guests=(guest(task_state="resize_prep"),))
    assert (drain.phase(), drain.move().method) == (m.REQUESTED, m.COLD)
    drain.tick(guests=(guest(),))
    assert drain.phase() == m.WAITING
    assert drain.tick().last("started").data["attempt"] == 1


def test_a_foreign_request_that_has_already_moved_it():
    drain = Drain(guest()).tick(guests=(guest(task_state="migrating"),))
    drain.tick(guests=(), migrations=(migration(1, status="running"),))
    assert (drain.phase(), drain.move().adopted) == (m.MIGRATING, True)


def test_a_vanished_record_is_searched_for_and_then_given_up():
    drain = Drain(guest()).in_flight()
    drain.wait(60, migrations=())
    assert drain.phase() == m.MIGRATING
    drain.tick().tick()
    assert (drain.phase(), drain.move().code) == (m.RECOVERING, "no_record")


def test_a_vanished_record_of_a_guest_that_is_gone_is_verified():
    drain = Drain(guest()).in_flight().tick(guests=(), migrations=())
    assert drain.phase() == m.VERIFYING


# --- refusals ----------------------------------------------------------------------------


def refused(status):
    return {"refusals": {"g1": m.Refusal(status, "no")}}


def test_a_guest_that_is_busy_for_a_moment_is_asked_again():
    drain = Drain(guest()).tick().tick(**refused(409))
    assert drain.phase() == m.WAITING
    assert drain.tick().started == []
    assert drain.tick().started == ["g1"]


def test_a_guest_that_is_always_busy_is_left():
    drain = Drain(guest(), options=replace(QUICK, max_attempts=1)).tick().tick(**refused(409))
    assert drain.move().code == "refused_by_nova"
    assert drain.decision.done


def test_a_bad_request_is_not_repeated():
    drain = Drain(guest()).tick().tick(**refused(400))
    assert drain.last("refused").data == {"status": 400, "message": "no"}
    assert (drain.phase(), drain.move().code) == (m.LEFT, "refused_by_nova")


def test_a_guest_that_its_user_deleted_is_gone():
    drain = Drain(guest()).tick().tick(guests=(), **refused(404))
    assert drain.verbs == ["verify"]
    drain.tick(evidence={"g1": m.Evidence(exists=False)})
    assert drain.kinds == ["gone", "done"]
    assert drain.phase() == m.GONE


def test_a_404_for_a_guest_that_is_there_ends_too():
    drain = Drain(guest())
    for _tick in range(20):
        drain.tick(**refused(404), evidence=evidence(SOURCE))
    assert drain.decision.done
    assert drain.move().code == "attempts_spent"
    assert sum(event.kind == "started" for event in drain.told) == 3


def test_a_request_without_an_answer_may_have_been_taken():
    drain = Drain(guest()).tick().tick(refusals={"g1": m.Refusal(0, "reset")})
    assert drain.phase() == m.REQUESTED
    drain.tick(migrations=(migration(1),), guests=(guest(task_state="migrating"),))
    assert drain.phase() == m.MIGRATING


def test_a_request_that_lost_to_an_operator_s_watches_the_operator_s():
    drain = Drain(guest()).tick()
    drain.tick(migrations=(migration(1),), guests=(guest(task_state="migrating"),), **refused(409))
    assert (drain.phase(), drain.move().adopted) == (m.MIGRATING, True)


# --- failures ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["failed", "error", "cancelled"])
def test_a_failed_migration_is_explained_and_tried_again(status):
    drain = Drain(guest()).in_flight().ended(status)
    drain.tick().tick(**FAILED)
    assert drain.last("failed").data == {
        "code": "migration_failed",
        "reason": "the wire broke",
        "attempt": 1,
        "retry": True,
    }
    drain.tick()
    assert drain.started == []
    assert drain.tick().started == ["g1"]
    assert drain.move().known_migration == 1


def test_a_second_attempt_begins_to_count_its_bytes_anew():
    drain = Drain(guest()).in_flight().tick(progress={"g1": m.Progress(100, 70, 30)})
    drain.ended("error").tick().tick(**FAILED).tick().tick()
    assert drain.started == ["g1"]
    move = drain.move()
    assert (move.total_bytes, move.processed_bytes, move.remaining_bytes) == (0, 0, 0)


def test_after_its_last_attempt_it_is_left_with_nova_s_words():
    drain = Drain(guest(), options=replace(QUICK, max_attempts=1)).in_flight().ended("error")
    drain.tick().tick(**FAILED)
    assert drain.last("left").data["code"] == "migration_failed"
    assert drain.last("left").data["reason"] == "the wire broke"
    assert drain.last("left").data["remedy"]


def test_a_failure_that_nobody_explains_says_what_the_record_said():
    drain = Drain(guest()).in_flight().ended("error").tick(causes={"g1": ""})
    assert drain.last("failed").data["reason"] == "the migration ended error"


def test_a_failure_whose_cause_cannot_be_read_does_not_hang():
    drain = Drain(guest()).in_flight().ended("error").wait(125)
    assert drain.last("failed").data["retry"]


def test_error_after_a_failure_is_reset_when_the_guest_runs_here():
    """Nova 32.2 and later leave the server in ERROR, running on its source."""
    drain = Drain(guest()).in_flight().ended("failed")
    drain.tick(guests=(guest(vm_state="error"),))
    assert drain.verbs == ["explain", "ask_alive"]
    drain.tick(**ALIVE)
    assert drain.verbs == ["reset_state"]
    assert drain.kinds == ["recovered"]
    drain.tick(guests=(guest(),)).tick(**FAILED)
    assert drain.last("failed").data["retry"]
    assert drain.wait(10).told[-1].kind == "started"


def test_error_that_shows_only_later_is_not_yet_missed():
    """The record says so before the server does."""
    drain = Drain(guest()).in_flight()
    drain.ended("failed")
    drain.tick(after=1.0, **FAILED)
    assert drain.phase() == m.RECOVERING
    drain.tick(after=1.0, guests=(guest(vm_state="error"),), **FAILED)
    assert "ask_alive" in drain.verbs


def test_error_that_shows_after_all_patience_is_recovered_before_the_next_attempt():
    drain = Drain(guest()).in_flight().ended("failed").tick().tick(**FAILED)
    assert drain.phase() == m.WAITING
    drain.tick(guests=(guest(vm_state="error"),))
    assert drain.verbs == ["ask_alive"]
    drain.tick(**ALIVE)
    assert (drain.phase(), drain.move().code) == (m.RECOVERING, "error_after_migration")
    drain.tick(**ALIVE).tick(**ALIVE)
    assert drain.verbs == ["reset_state"]
    drain.tick(guests=(guest(),)).tick(**FAILED)
    assert drain.tick().started == ["g1"]
    assert [e.data["attempt"] for e in drain.told if e.kind == "failed"] == [1]


def test_a_dead_guest_s_state_is_never_reset():
    drain = Drain(guest()).in_flight().ended("failed", vm_state="error")
    drain.tick().tick(**FAILED, alive={"g1": False})
    assert drain.move().code == "error_guest_dead"
    assert "recovered" not in [event.kind for event in drain.told]


def test_a_guest_that_may_be_dead_is_asked_about_and_then_left():
    drain = Drain(guest()).in_flight().ended("failed", vm_state="error")
    drain.wait(115, **FAILED, alive={"g1": None})
    assert drain.phase() == m.RECOVERING
    drain.wait(15, **FAILED, alive={"g1": None})
    assert drain.move().code == "error_guest_unknown"


def test_a_reset_that_has_no_effect_is_repeated_and_then_given_up():
    drain = Drain(guest()).in_flight().ended("failed", vm_state="error")
    drain.tick().tick(**ALIVE).tick().tick(**ALIVE)
    assert drain.verbs == ["reset_state"]
    drain.wait(125, **ALIVE)
    assert drain.move().code == "reset_failed"


def test_a_task_that_never_ends_after_a_failure_is_left():
    drain = Drain(guest()).in_flight().ended("failed")
    drain.wait(130, guests=(guest(task_state="deleting"),), **FAILED)
    assert drain.move().code == "busy"


def test_a_paused_guest_is_paused_again_after_the_reset():
    paused = {"vm_state": "paused", "power_state": "paused"}
    drain = Drain(guest(**paused)).in_flight()
    drain.ended("failed", vm_state="error").tick().tick(**ALIVE)
    drain.tick(guests=(guest(power_state="paused"),)).tick(**FAILED)
    assert drain.verbs == ["pause"]
    drain.tick(guests=(guest(**paused),), **FAILED).tick(**FAILED)
    assert drain.last("failed").data["retry"]


def test_a_guest_that_cannot_be_paused_again_is_left():
    drain = Drain(guest(vm_state="paused", power_state="paused")).in_flight()
    drain.ended("failed", vm_state="error").tick().tick(**ALIVE)
    drain.wait(125, guests=(guest(power_state="paused"),), **FAILED)
    assert drain.move().code == "state_changed"


def test_a_guest_that_its_user_unpaused_is_not_paused():
    drain = Drain(guest(vm_state="paused", power_state="paused")).in_flight()
    drain.ended("failed", vm_state="active", power_state="running").tick().tick(**FAILED)
    assert "pause" not in drain.verbs
    assert drain.phase() == m.WAITING


def test_a_migration_that_failed_on_its_destination_is_no_reason_to_touch_the_guest():
    drain = Drain(guest()).in_flight().ended("error", host="cmp-2", vm_state="error")
    assert drain.verbs == ["verify"]
    proof = evidence(vm_state="error")
    drain.wait(120, guests=(), evidence=proof).tick(evidence=proof)
    assert (drain.phase(), drain.move().code) == (m.UNVERIFIED, "state_changed")


def test_a_guest_that_vanishes_while_it_recovers_is_verified():
    drain = Drain(guest()).in_flight().ended("failed").tick(guests=())
    assert drain.phase() == m.VERIFYING


def test_a_restarted_nova_compute_leaves_records_that_nothing_works_on():
    drain = Drain(guest()).in_flight("queued")
    drain.wait(10, guests=(guest(),))
    assert drain.phase() == m.MIGRATING
    drain.tick().tick()
    assert drain.phase() == m.RECOVERING
    drain.tick().tick(**FAILED).wait(10)
    assert drain.told[-1].kind == "started"
    assert drain.move().known_migration == 1


def test_a_dead_record_of_an_earlier_run_is_no_attempt():
    drain = Drain(guest(), options=replace(QUICK, max_attempts=1))
    drain.tick(migrations=(migration(1, status="preparing"),)).wait(20)
    assert drain.tick().started == ["g1"]
    assert drain.last("started").data["attempt"] == 1


def test_a_record_that_only_seemed_dead_is_watched_on():
    drain = Drain(guest()).in_flight()
    drain.tick(guests=(guest(),))
    drain.tick(guests=(guest(task_state="migrating"),))
    assert (drain.phase(), drain.move().escalation) == (m.MIGRATING, "")


# --- budgets -----------------------------------------------------------------------------

BUDGET = 120.0  # 2 GiB at least, at 60 s each


def overdue(on_timeout="abort", status="running", allow_cold=False, **fields) -> Drain:
    options = replace(QUICK, on_timeout=on_timeout, allow_cold_migration=allow_cold)
    drain = Drain(guest(**fields), options=options).in_flight(status)
    return drain.wait(BUDGET).tick()


def test_a_migration_over_its_budget_is_aborted():
    drain = overdue()
    assert drain.verbs == ["abort"]
    assert drain.last("timed_out").data["action"] == "abort"
    drain.ended("cancelled").tick().tick(causes={"g1": ""})
    assert drain.move().code == "timeout"
    assert "120 s" in drain.move().reason
    assert drain.decision.done


def test_a_migration_that_completes_after_its_timeout_counts():
    drain = overdue().ended("completed", host="cmp-2")
    drain.tick(guests=(), evidence=evidence())
    assert drain.phase() == m.MOVED


def test_an_abort_without_an_answer_is_sent_again():
    drain = overdue().tick(refusals={"g1": m.Refusal(0, "reset")})
    assert drain.verbs == ["abort"]
    assert drain.tick().verbs == []


def test_a_migration_that_cannot_be_aborted_is_left_to_nova():
    drain = overdue().wait(125, refusals={"g1": m.Refusal(400, "no")})
    assert drain.move().code == "stuck_in_flight"
    assert drain.decision.done


def test_a_stuck_migration_that_ends_after_all_is_followed():
    drain = Drain(guest("g1"), guest("g2")).in_flight()
    drain.wait(BUDGET + 5).wait(125)
    assert drain.move("g1").code == "stuck_in_flight"
    drain.ended("error")
    assert drain.phase("g1") == m.RECOVERING


def test_a_migration_that_was_left_may_still_arrive():
    drain = Drain(guest("g1"), guest("g2"), options=replace(QUICK, on_timeout="leave"))
    drain.in_flight().wait(BUDGET).tick()
    assert drain.move("g1").code == "timeout"
    assert drain.started == []
    drain.tick(guests=(guest("g2"),), migrations=(migration(1, status="completed"),))
    assert drain.started == ["g2"]
    drain.tick(evidence=evidence())
    assert drain.phase("g1") == m.MOVED


def test_the_rest_does_not_wait_for_ever_for_a_migration_that_was_left():
    drain = Drain(guest("g1"), guest("g2"), options=replace(QUICK, on_timeout="leave"))
    drain.in_flight().wait(BUDGET + 5 + 125)
    assert drain.decision.done
    assert drain.move("g2").code == "place_taken"


def test_force_complete_is_sent_only_when_asked_for():
    drain = overdue("force_complete")
    assert drain.verbs == ["force_complete"]
    drain.tick(migrations=(migration(1, status=m.POST_COPY),))
    assert (drain.verbs, drain.move().escalation) == ([], "watch")


def test_a_refused_force_complete_becomes_an_abort():
    drain = overdue("force_complete").tick(refusals={"g1": m.Refusal(409, "no")})
    assert drain.verbs == ["abort"]


def test_a_force_complete_without_effect_becomes_an_abort():
    drain = overdue("force_complete").wait(125)
    assert drain.move().escalation == "abort"


def test_a_force_complete_without_an_answer_is_sent_again():
    drain = overdue("force_complete").tick(refusals={"g1": m.Refusal(0, "reset")})
    assert drain.verbs == ["force_complete"]


def test_nova_would_refuse_to_force_a_paused_guest():
    drain = overdue("force_complete", vm_state="paused", power_state="paused")
    assert drain.verbs == ["abort"]


def test_nova_would_refuse_to_force_a_migration_that_only_prepares():
    assert overdue("force_complete", status="preparing").verbs == ["abort"]


def test_a_post_copy_is_never_aborted():
    drain = overdue(status=m.POST_COPY)
    assert (drain.verbs, drain.last("timed_out").data["action"]) == ([], "leave")
    drain.wait(125)
    assert drain.move().code == "stuck_in_flight"


def test_a_guest_that_has_switched_over_is_never_aborted():
    drain = Drain(guest()).in_flight().wait(115, guests=()).tick().tick()
    assert (drain.verbs, drain.move().escalation) == ([], "watch")


def test_an_overdue_cold_migration_cannot_be_aborted():
    stopped = guest(vm_state="stopped", power_state="shutdown")
    drain = Drain(stopped).tick()
    record = migration(1, kind="migration", status="migrating")
    drain.wait(130, guests=(replace(stopped, task_state="resize_migrating"),), migrations=(record,))
    assert (drain.phase(), drain.move().code) == (m.LEFT, "timeout")
    assert "abort" not in drain.verbs


def test_an_overdue_cold_migration_is_confirmed_while_others_still_move():
    stopped = guest("g1", vm_state="stopped", power_state="shutdown")
    options = replace(QUICK, max_parallel=2, timeout_per_gib=60)
    drain = Drain(stopped, guest("g2", ram_mib=65536), options=options).tick()
    cold = migration(1, kind="migration", status="migrating")
    live = migration(2, "g2")
    busy = (
        replace(stopped, task_state="resize_migrating"),
        guest("g2", ram_mib=65536, task_state="migrating"),
    )
    drain.wait(130, guests=busy, migrations=(live, cold))
    assert drain.move("g1").code == "timeout"
    drain.tick(guests=busy[1:], migrations=(live, replace(cold, status="finished")))
    assert (drain.phase("g1"), "confirm" in drain.verbs) == (m.CONFIRMING, True)


def test_after_its_timeout_a_guest_goes_cold_if_that_is_allowed():
    drain = overdue(allow_cold=True).ended("cancelled").tick().tick(causes={"g1": ""})
    assert drain.last("failed").data["retry"]
    drain.wait(10)
    assert drain.decision.actions[0].verb == "cold_migrate"


def test_a_paused_guest_does_not_go_cold_after_its_timeout():
    paused = {"vm_state": "paused", "power_state": "paused"}
    drain = overdue(allow_cold=True, **paused).ended("cancelled").tick().tick(causes={"g1": ""})
    assert not drain.last("failed").data["retry"]
    assert drain.phase() == m.LEFT


def test_a_queued_migration_waits_as_long_as_the_queue_moves_on():
    options = replace(QUICK, max_parallel=3)
    drain = Drain(guest("g1"), guest("g2"), guest("g3"), options=options).tick()
    busy = tuple(replace(g, task_state="migrating") for g in drain.guests)
    queued = [migration(n, f"g{n}", status="queued") for n in (1, 2, 3)]
    drain.tick(guests=busy, migrations=(replace(queued[0], status="running"), *queued[1:]))
    drain.wait(115)
    drain.tick(
        guests=busy[1:],
        migrations=(
            replace(queued[0], status="completed"),
            replace(queued[1], status="running"),
            queued[2],
        ),
    )
    drain.wait(115)
    assert drain.phase("g3") == m.MIGRATING
    assert "timed_out" not in [event.kind for event in drain.told]


def test_a_queue_that_stands_still_is_given_up():
    drain = Drain(guest()).in_flight("queued").wait(125)
    assert drain.verbs == ["abort"]


def test_the_cap_of_the_source_is_learned_and_kept():
    options = replace(QUICK, max_parallel=3)
    guests = tuple(guest(f"g{n}") for n in range(1, 6))
    drain = Drain(*guests, options=options).tick()
    assert len(drain.started) == 3
    busy = tuple(replace(g, task_state="migrating") for g in guests[:3])
    queued = tuple(migration(n, f"g{n}", status="queued") for n in (2, 3))
    drain.tick(guests=busy + guests[3:], migrations=(*queued, migration(1)))
    drain.tick().tick()
    assert drain.last("capped").data == {"cap": 1, "asked": 3}
    assert drain.ledger.source_cap == 1
    drain.tick(guests=guests[3:], migrations=(migration(3, "g3", status="completed"),))
    assert len(drain.started) == 1


# --- verification ------------------------------------------------------------------------


def completed() -> Drain:
    return Drain(guest()).in_flight().ended("completed", host="cmp-2").tick(guests=())


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("allocations", {"allocations": (SOURCE, "cmp-2")}),
        ("allocations", {"leftover_allocations": True}),
        ("port_bindings", {"bindings": (m.Binding("p", SOURCE, "inactive"),)}),
        ("volume_attachments", {"attachments": {"v": 2}}),
        ("state_changed", {"power_state": "shutdown"}),
        ("still_busy", {"task_state": "migrating"}),
    ],
)
def test_moved_is_not_said_before_every_witness_agrees(code, wrong):
    drain = completed().wait(110, evidence=evidence(**wrong))
    assert (drain.phase(), drain.verbs) == (m.VERIFYING, ["verify"])
    drain.wait(15, evidence=evidence(**wrong))
    assert (drain.phase(), drain.move().code) == (m.UNVERIFIED, code)
    assert drain.move().destination == "cmp-2"
    assert "moved" not in [event.kind for event in drain.told]


def test_leftovers_that_pass_are_waited_for():
    drain = completed().wait(60, evidence=evidence(leftover_allocations=True))
    assert drain.tick(evidence=evidence()).kinds == ["moved", "done"]


def test_the_newest_migration_is_the_one_whose_leftovers_are_looked_for():
    drain = completed()
    assert drain.decision.actions[0].migration_uuid == "migration-1"


def test_completed_but_still_on_its_source_is_left_and_never_touched():
    drain = Drain(guest()).in_flight().ended("completed")
    drain.wait(130, evidence=evidence(SOURCE))
    assert (drain.phase(), drain.move().code) == (m.LEFT, "completed_but_on_source")
    assert drain.decision.done


def test_a_ghost_is_not_touched_by_the_next_run_either():
    drain = Drain(guest()).tick(migrations=(migration(1, status="completed"),))
    assert (drain.verbs, drain.decision.done) == (["ask_alive"], False)
    drain.wait(130, alive={"g1": None})
    assert drain.decision.done
    assert drain.move().code == "completed_but_on_source"
    assert "started" not in [event.kind for event in drain.told]


def test_a_guest_that_came_back_by_a_way_without_record_is_no_ghost():
    drain = Drain(guest()).tick(migrations=(migration(1, status="completed"),))
    assert drain.tick(alive={"g1": True}).started == ["g1"]


def test_no_evidence_is_not_waited_for_without_end():
    drain = completed().wait(290)
    assert drain.phase() == m.VERIFYING
    drain.wait(15)
    assert (drain.phase(), drain.move().code) == (m.UNVERIFIED, "no_evidence")


def test_a_guest_that_is_back_on_its_source_is_not_said_to_have_moved():
    drain = completed().tick(guests=(guest(),), evidence=evidence())
    assert drain.phase() == m.WAITING


# --- what users do meanwhile -------------------------------------------------------------


def test_a_waiting_guest_that_disappears_is_looked_for():
    drain = Drain(guest("g1"), guest("g2")).in_flight()
    drain.tick(guests=drain.guests[:1])
    assert drain.phase("g2") == m.VERIFYING


def test_a_guest_that_its_user_shelved_is_gone():
    drain = Drain(guest()).tick(guests=())
    drain.tick(evidence=evidence(host="", vm_state="shelved_offloaded", allocations=()))
    assert drain.phase() == m.GONE


def test_a_guest_that_its_user_soft_deleted_is_left_and_not_looked_for_again():
    drain = Drain(guest("g1"), guest("g2")).in_flight()
    drain.tick(guests=drain.guests[1:], migrations=(migration(1, status="error"),))
    hidden = evidence(SOURCE, vm_state="soft-delete", power_state="shutdown")
    drain.tick(evidence=hidden)
    assert drain.move().code == "soft_deleted"
    assert "verify" not in drain.tick().verbs


def test_a_guest_that_was_soft_deleted_before_is_blocked():
    drain = Drain(guest(vm_state="soft-delete"))
    drain.tick(guests=())
    assert drain.decision.done
    assert drain.move().code == "soft_deleted"


def test_a_rebooting_guest_goes_when_it_is_up_again():
    drain = Drain(guest()).tick(guests=(guest(task_state="rebooting"),))
    assert (drain.started, drain.decision.done) == ([], False)
    assert drain.tick(guests=(guest(),)).started == ["g1"]


def test_a_guest_that_stays_busy_is_left():
    drain = Drain(guest()).wait(130, guests=(guest(task_state="rebooting"),))
    assert drain.decision.done
    assert drain.move().code == "busy"


RESIZED = migration(1, kind="resize", status="finished", created_at="2027-01-15T08:01:00.0")


def test_a_user_s_resize_during_the_drain_is_not_ours_to_confirm():
    drain = Drain(guest())
    drain.tick(guests=(guest(task_state="resize_prep"),))
    drain.tick(migrations=(replace(RESIZED, status="migrating"),))
    assert drain.kinds == ["adopted"]
    drain.tick(guests=(), migrations=(RESIZED,))
    assert (drain.phase(), drain.move().code) == (m.LEFT, "resize_source_here")
    assert "confirm" not in drain.verbs


def test_a_user_s_resize_is_confirmed_when_the_operator_says_so():
    drain = Drain(guest(), options=replace(QUICK, confirm_resizes=True))
    drain.tick(migrations=(replace(RESIZED, status="migrating"),))
    drain.tick(guests=(), migrations=(RESIZED,))
    assert drain.verbs == ["confirm"]


def test_a_resize_that_its_user_confirms_is_verified():
    drain = Drain(guest(), guest("g2")).in_flight()
    away = guest("g2", host="cmp-3", vm_state="resized")
    drain = Drain(away, finished=(replace(RESIZED, guest_id="g2"),))
    drain.tick(guests=(), migrations=(replace(RESIZED, guest_id="g2", status="confirmed"),))
    assert drain.phase("g2") == m.VERIFYING


def test_a_resize_that_its_user_reverts_brings_a_guest_that_goes():
    drain = Drain(guest()).tick(migrations=(replace(RESIZED, status="reverting"),))
    assert drain.kinds == ["adopted"]
    drain.tick(migrations=(replace(RESIZED, status="reverted"),))
    assert drain.phase() == m.WAITING
    assert drain.tick().started == ["g1"]


def test_an_unconfirmed_resize_away_is_blocked_and_said_so_at_the_end():
    away = guest(host="cmp-3", vm_state="resized")
    drain = Drain(away, finished=(RESIZED,)).tick(guests=(), migrations=(RESIZED,))
    assert drain.decision.done
    assert (drain.phase(), drain.move().code) == (m.LEFT, "resize_source_here")


def test_a_guest_whose_resize_to_here_is_confirmed_goes_live_though_cold_is_allowed():
    here = guest(vm_state="resized")
    resize = replace(RESIZED, source="cmp-3", destination=SOURCE)
    options = replace(QUICK, confirm_resizes=True, allow_cold_migration=True)
    drain = Drain(here, options=options).tick(migrations=(resize,))
    assert drain.verbs == ["confirm"]
    confirmed = (replace(resize, status="confirmed"),)
    drain.tick(guests=(guest(),), migrations=confirmed).tick()
    assert drain.verbs == ["live_migrate"]


def test_a_migration_that_a_user_begins_after_ours_failed_is_the_user_s():
    drain = Drain(guest()).in_flight()
    failed = migration(1, status="failed")
    resize = migration(2, kind="resize", status="migrating")
    drain.tick(guests=(guest(task_state="resize_migrating"),), migrations=(resize, failed))
    assert (drain.move().migration_id, drain.move().adopted) == (2, True)


# --- cold migrations ---------------------------------------------------------------------

STOPPED = guest(vm_state="stopped", power_state="shutdown")
COLD = migration(1, kind="migration", status="migrating", created_at="2027-01-15T08:01:00.0")
FINISHED = replace(COLD, status="finished")


def cold_finished() -> Drain:
    drain = Drain(STOPPED).tick()
    assert drain.verbs == ["cold_migrate"]
    drain.tick(guests=(replace(STOPPED, task_state="resize_migrating"),), migrations=(COLD,))
    return drain.tick(guests=(), migrations=(FINISHED,))


def test_a_stopped_guest_goes_cold_and_is_confirmed():
    drain = cold_finished()
    assert (drain.verbs, drain.kinds) == (["confirm"], ["confirming"])
    drain.tick(migrations=(replace(COLD, status="confirmed"),))
    drain.tick(evidence=evidence(vm_state="stopped", power_state="shutdown"))
    assert drain.phase() == m.MOVED


def test_a_confirmation_that_is_refused_is_asked_for_again():
    drain = cold_finished().tick(refusals={"g1": m.Refusal(409, "source down")})
    assert drain.verbs == ["confirm"]
    assert drain.tick().verbs == []


def test_a_confirmation_that_does_not_come_is_left():
    drain = cold_finished().wait(125)
    assert drain.move().code == "confirm_stuck"


def test_a_guest_that_is_deleted_instead_of_confirmed_is_gone():
    drain = cold_finished().tick(refusals={"g1": m.Refusal(404, "none")})
    assert drain.phase() == m.VERIFYING


def test_a_failed_confirmation_is_verified_where_the_guest_is():
    drain = cold_finished().tick(migrations=(replace(COLD, status="error"),)).tick()
    assert drain.phase() == m.VERIFYING


def test_a_reverted_cold_migration_starts_over():
    drain = cold_finished().tick(guests=(STOPPED,))
    assert drain.phase() == m.WAITING


def test_a_cold_migration_of_an_interrupted_run_is_confirmed():
    away = guest(host="cmp-2", vm_state="resized")
    drain = Drain(away, finished=(FINISHED,)).tick(guests=(), migrations=(FINISHED,))
    assert drain.verbs == ["confirm"]


def test_a_cold_migration_that_finished_behind_our_back_is_confirmed():
    """Interrupted between the change of its host and its finish: in no list of the host."""
    on_its_way = replace(COLD, status="post-migrating")
    drain = Drain().tick(migrations=(on_its_way,))
    assert (drain.kinds, drain.decision.done) == (["adopted"], False)
    assert drain.tick(migrations=(FINISHED,)).verbs == ["confirm"]


def test_an_older_unconfirmed_migration_of_a_stranger_is_not_ours():
    older = replace(FINISHED, created_at="2027-01-15T07:00:00.0")
    assert Drain().tick(migrations=(older,)).decision.done


def test_a_live_migration_that_switched_over_behind_our_back_is_watched():
    drain = Drain().tick(migrations=(migration(1),))
    assert (drain.kinds, drain.decision.done) == (["adopted"], False)


def test_the_group_of_a_guest_that_is_just_leaving_is_known_from_another_member():
    group = m.Group("a", "a", "anti-affinity", members={"g1": "cmp-2", "g2": SOURCE})
    drain = Drain(guest("g2", group=group), options=replace(QUICK, max_parallel=2))
    drain.tick(migrations=(migration(1),))
    assert (drain.kinds, drain.started) == (["adopted"], [])


def test_a_guest_that_switches_over_between_the_plan_and_the_first_look_is_watched():
    drain = Drain(guest("g1"), guest("g2"))
    drain.tick(guests=(guest("g2"),), migrations=(migration(1),))
    assert (drain.kinds, drain.phase("g1"), drain.started) == (["adopted"], m.MIGRATING, [])


def test_an_excluded_guest_that_leaves_by_itself_is_not_watched():
    options = replace(QUICK, exclude=m.Exclusions(ids=("g1",)))
    assert Drain(options=options).tick(migrations=(migration(1),)).ledger.moves == {}


def test_a_guest_here_whose_resize_is_unconfirmed_is_confirmed_and_then_moved():
    resized = guest(vm_state="resized")
    here = replace(RESIZED, source="cmp-3", destination=SOURCE)
    drain = Drain(resized, options=replace(QUICK, confirm_resizes=True))
    assert drain.tick(migrations=(here,)).verbs == ["confirm"]
    drain.tick(guests=(guest(),), migrations=(replace(here, status="confirmed"),))
    assert drain.tick().started == ["g1"]


# --- adoption ----------------------------------------------------------------------------


def test_a_migration_that_already_runs_is_adopted_and_not_repeated():
    drain = Drain(guest(task_state="migrating")).tick(migrations=(migration(7),))
    assert drain.last("adopted").data == {"migration_id": 7, "status": "running", "method": "live"}
    drain.ended("completed", host="cmp-2").tick(guests=(), evidence=evidence())
    assert drain.phase() == m.MOVED


def test_an_excluded_guest_is_not_adopted_and_never_aborted():
    options = replace(QUICK, exclude=m.Exclusions(ids=("g1",)))
    drain = Drain(guest(task_state="migrating"), options=options)
    drain.tick(migrations=(migration(7),))
    assert (drain.phase(), drain.verbs, drain.decision.done) == (m.SKIPPED, [], True)


def test_error_of_an_interrupted_run_is_recovered():
    broken = guest(vm_state="error", alive=True)
    failed = migration(1, status="error")
    drain = Drain(broken, migrations=(failed,)).tick(migrations=(failed,))
    assert drain.phase() == m.RECOVERING
    drain.tick(**ALIVE).tick(**ALIVE)
    assert drain.verbs == ["reset_state"]


def test_a_named_guest_that_is_just_leaving_is_watched_where_it_came_from():
    leaving = guest(host="cmp-2", task_state="")
    drain = Drain(leaving, scope=m.Scope(guest_ids=("g1",)))
    drain.tick(service=None, migrations=(migration(1),))
    assert drain.move().source == SOURCE
    assert drain.phase() == m.MIGRATING
    drain.tick(migrations=(migration(1, status="completed"),)).tick(evidence=evidence())
    assert drain.kinds == ["moved", "done"]


def test_a_guest_that_is_to_go_cold_goes_cold_after_its_recovery_too():
    """nova_cold_migrate says so by a record of the guest that it opens beforehand."""
    options = replace(QUICK, allow_cold_migration=True)
    failed = migration(1, kind="migration", status="error")
    drain = Drain(guest(vm_state="error", alive=True), options=options, migrations=(failed,))
    known = m.Move("g1", "vm-g1", SOURCE, method=m.COLD, since=EPOCH)
    drain.ledger = replace(drain.ledger, moves={"g1": known})
    drain.tick(migrations=(failed,)).tick(**ALIVE).tick(**ALIVE)
    assert drain.verbs == ["reset_state"]
    drain.tick(guests=(guest(),)).tick(**FAILED).tick()
    assert drain.verbs == ["cold_migrate"]


def test_a_named_guest_is_moved_without_touching_the_service():
    drain = Drain(guest(), scope=m.Scope(guest_ids=("g1",)), closed=False)
    assert drain.tick(service=None).started == ["g1"]


# --- limits of the whole run -------------------------------------------------------------


def test_members_of_a_group_are_never_in_flight_together():
    group = m.Group("a", "a", "anti-affinity")
    options = replace(QUICK, max_parallel=3)
    drain = Drain(guest("g1", group=group), guest("g2", group=group), options=options)
    assert drain.tick().started == ["g1"]


def test_nothing_starts_after_the_deadline():
    drain = Drain(guest("g1"), guest("g2"), options=replace(QUICK, deadline=60)).in_flight()
    drain.wait(55)
    assert drain.kinds == ["deadline"]
    drain.tick(guests=drain.guests[1:], migrations=(migration(1, status="completed"),))
    drain.tick(evidence=evidence())
    assert drain.decision.done
    assert drain.move("g2").code == "deadline"


def test_a_failure_stops_the_drain_when_that_is_asked_for():
    drain = Drain(guest("g1"), guest("g2"), options=replace(QUICK, on_failure="stop"))
    drain.tick().tick(**refused(400))
    assert drain.kinds == ["refused", "left", "stopped", "left", "done"]
    assert drain.move("g2").code == "failure"


def test_after_a_stop_nothing_new_is_repaired():
    broken = guest("g2", vm_state="error", alive=True)
    failed = migration(1, "g2", status="error")
    options = replace(QUICK, on_failure="stop", max_attempts=1)
    drain = Drain(guest("g1"), broken, options=options, migrations=(failed,))
    drain.ledger = replace(drain.ledger, stopped="failure")
    drain.tick(migrations=(failed,))
    assert drain.verbs == []
    assert drain.move("g2").code == "failure"


def test_what_was_returned_in_a_stopped_run_is_left_with_the_reason():
    drain = Drain(guest(), options=replace(QUICK, deadline=60)).in_flight().wait(60)
    drain.ended("failed").tick().tick(**FAILED)
    assert not drain.decision.done
    drain.tick()
    assert drain.decision.done
    assert drain.move().code == "deadline"


def test_blocked_guests_are_all_left_at_the_end_and_stop_nothing():
    options = replace(QUICK, on_blocker="drain_the_rest", on_failure="stop")
    rescued = guest("g2", vm_state="rescued")
    drain = Drain(guest("g1"), rescued, options=options)
    assert drain.tick().started == ["g1"]
    drain.tick(guests=(rescued,), migrations=(migration(1, status="completed"),))
    drain.tick(evidence=evidence())
    assert drain.kinds == ["moved", "left", "done"]
    assert drain.move("g2").code == "rescued"
    assert drain.move("g2").remedy


def test_what_the_plan_says_of_destinations_holds():
    drain = Drain(guest(), rooms=()).tick()
    assert drain.decision.done
    assert drain.move().code in DESTINATION_CODES


def test_an_error_of_which_nobody_knows_whether_it_lives_is_asked_about_for_a_while():
    drain = Drain(guest(vm_state="error")).tick()
    assert (drain.verbs, drain.decision.done) == (["ask_alive"], False)
    drain.wait(130, alive={"g1": None})
    assert drain.decision.done
    assert drain.move().code == "error_guest_unknown"


def test_nothing_starts_while_the_host_s_nova_compute_is_down():
    drain = Drain(guest()).tick(service=replace(CLOSED, up=False))
    assert (drain.started, drain.decision.done) == ([], False)
    assert drain.tick(service=CLOSED).started == ["g1"]


def test_a_nova_compute_that_stays_down_ends_the_drain():
    drain = Drain(guest()).wait(130, service=replace(CLOSED, up=False))
    assert drain.decision.done
    assert drain.move().code == "host_down"
