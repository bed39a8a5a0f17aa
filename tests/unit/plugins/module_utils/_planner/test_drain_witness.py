# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The third witness and the probe in a drain: what libvirt and the guests' clients change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from tests.unit.plugins.module_utils._planner.test_drain import ALIVE, FAILED, Drain, evidence
from tests.unit.support import SOURCE, guest, migration

ASKABLE = m.Options(quiet_seconds=0.0, hypervisors=(SOURCE, "cmp-2"))
EMPTY = m.Domains()


def says(state, guest_id="g1"):
    return m.Domains({guest_id: state})


def libvirt(source, destination, **more):
    """What both hosts say, as a keyword of a tick: a state, "" for no domain, or Domains."""
    said = {SOURCE: source, "cmp-2": destination} | more
    return {
        "hypervisors": {
            host: word if isinstance(word, m.Domains) else (says(word) if word else EMPTY)
            for host, word in said.items()
        }
    }


ARRIVED = libvirt("", "running")
STAYED = libvirt("running", "")


def asked(drain):
    return [action.host for action in drain.decision.actions if action.verb == "ask_hypervisor"]


def drain_that_left(*others, options=ASKABLE, **fields):
    """g1's migration completed, and Nova has it on cmp-2."""
    drain = Drain(guest(**fields), *others, options=options).in_flight()
    return drain.tick(guests=others, migrations=(migration(1, status="completed"),))


def drain_that_failed(*others, options=ASKABLE, in_error=True):
    """g1's migration failed, and Nova has it on its source."""
    drain = Drain(guest(), *others, options=options).in_flight()
    return drain.ended("error", **({"vm_state": "error"} if in_error else {}))


# --- a guest that left -------------------------------------------------------------------


def test_both_hosts_are_asked_when_a_guest_has_left_and_not_before():
    drain = Drain(guest(), options=ASKABLE)
    assert drain.tick().ledger.wanted == ()
    drain.tick(guests=(guest(task_state="migrating"),), migrations=(migration(1),))
    assert drain.ledger.wanted == ()
    drain.tick(guests=(), migrations=(migration(1, status="completed"),))
    assert drain.ledger.wanted == (SOURCE, "cmp-2")
    drain.tick(evidence=evidence(), **ARRIVED)
    assert drain.phase() == m.MOVED
    assert drain.move().witnesses == 3
    assert drain.decision.done
    assert drain.ledger.wanted == ()


def test_a_host_is_asked_once_for_all_its_guests():
    drain = Drain(guest("g1"), guest("g2"), options=replace(ASKABLE, max_parallel=2)).tick()
    both = (migration(1, status="completed"), migration(2, "g2", status="completed"))
    drain.tick(guests=(), migrations=both)
    assert drain.verbs.count("verify") == 2
    assert asked(drain) == [SOURCE, "cmp-2"]


def test_without_hypervisors_there_are_two_witnesses():
    drain = drain_that_left(options=m.Options(quiet_seconds=0.0))
    assert drain.ledger.wanted == ()
    drain.tick(evidence=evidence())
    assert (drain.phase(), drain.move().witnesses) == (m.MOVED, 2)


@pytest.mark.parametrize(
    "said",
    [
        libvirt("", m.Domains(error="no route")),
        libvirt(m.Domains(error="no route"), "running"),
        libvirt(m.Domains(error="no route"), m.Domains(error="no route")),
    ],
)
def test_a_host_out_of_reach_leaves_two_witnesses_and_holds_nothing_up(said):
    drain = drain_that_left().tick(evidence=evidence(), **said)
    assert (drain.phase(), drain.move().witnesses) == (m.MOVED, 2)
    assert drain.decision.done


def test_a_destination_that_nobody_can_ask_leaves_two_witnesses():
    drain = drain_that_left(options=replace(ASKABLE, hypervisors=(SOURCE,)))
    assert asked(drain) == [SOURCE]
    drain.tick(evidence=evidence(), hypervisors={SOURCE: EMPTY})
    assert (drain.phase(), drain.move().witnesses) == (m.MOVED, 2)


def test_where_it_went_on_to_is_asked_and_not_where_its_migration_led():
    drain = drain_that_left(options=replace(ASKABLE, hypervisors=(SOURCE, "cmp-2", "cmp-3")))
    drain.tick(evidence=evidence("cmp-3"), **libvirt("", ""))
    assert drain.phase() == m.VERIFYING
    assert asked(drain) == [SOURCE, "cmp-3"]
    drain.tick(evidence=evidence("cmp-3"), hypervisors={SOURCE: EMPTY, "cmp-3": says("running")})
    assert (drain.phase(), drain.move().witnesses) == (m.MOVED, 3)


def test_an_answer_that_got_lost_is_asked_for_again():
    drain = drain_that_left().tick(evidence=evidence())
    assert (drain.phase(), asked(drain)) == (m.VERIFYING, [SOURCE, "cmp-2"])
    drain.wait(200, evidence=evidence())
    assert (drain.phase(), drain.move().witnesses) == (m.MOVED, 2)


def test_what_the_source_cleans_up_late_is_waited_for():
    leaves = libvirt(m.Domains({}, ("g1",)), "running")
    drain = drain_that_left().tick(evidence=evidence(), **leaves)
    assert (drain.phase(), asked(drain)) == (m.VERIFYING, [SOURCE, "cmp-2"])
    assert drain.tick(evidence=evidence(), **ARRIVED).phase() == m.MOVED


def test_what_the_source_never_cleans_up_is_told():
    drain = drain_that_left()
    drain.wait(130, evidence=evidence(), **libvirt(m.Domains({}, ("g1",)), "running"))
    assert (drain.phase(), drain.move().code) == (m.UNVERIFIED, "leftover_on_source")
    assert drain.ledger.stopped == ""


@pytest.mark.parametrize("destination", ["paused", "shutdown"])
def test_a_guest_that_arrives_in_another_state_is_told(destination):
    drain = drain_that_left().wait(130, evidence=evidence(), **libvirt("", destination))
    assert (drain.phase(), drain.move().code) == (m.UNVERIFIED, "state_changed")


def test_a_stopped_guest_is_looked_for_as_a_stopped_domain():
    drain = Drain(guest(vm_state="stopped", power_state="shutdown"), options=ASKABLE).tick()
    drain.tick(guests=(), migrations=(migration(1, kind="migration", status="confirmed"),))
    stopped = evidence(vm_state="stopped", power_state="shutdown")
    drain.tick(evidence=stopped, **libvirt("", "shutdown"))
    assert (drain.phase(), drain.move().witnesses) == (m.MOVED, 3)


@pytest.mark.parametrize(
    ("code", "said"), [("split_brain", libvirt("running", "running")), ("lost", libvirt("", ""))]
)
def test_what_is_gravely_wrong_twice_stops_everything(code, said):
    drain = drain_that_left(guest("g2"), options=replace(ASKABLE, max_parallel=2))
    drain.tick(evidence=evidence(), **said)
    assert drain.phase() == m.VERIFYING
    assert drain.ledger.stopped == ""
    drain.tick(evidence=evidence(), **said)
    assert (drain.phase(), drain.move().code) == (m.UNVERIFIED, code)
    assert drain.ledger.stopped == code
    stop = drain.last("stopped")
    assert (stop.guest_id, stop.data) == ("g1", {"reason": code})


def test_what_is_in_flight_when_everything_stops_is_watched_to_its_end():
    guests = [guest(f"g{number}") for number in range(1, 5)]
    drain = Drain(*guests, options=replace(ASKABLE, max_parallel=2)).tick()
    assert drain.started == ["g1", "g2"]
    busy = guest("g2", task_state="migrating")
    over = migration(1, status="completed")
    drain.tick(guests=(busy, *guests[2:]), migrations=(migration(2, "g2"), over))
    assert drain.started == ["g3"]
    twice = libvirt("running", "running")
    drain.tick(evidence=evidence(), **twice).tick(evidence=evidence(), **twice)
    assert drain.ledger.stopped == "split_brain"
    assert drain.phase("g2") == m.MIGRATING
    ended = [migration(3, "g3", status="completed"), migration(2, "g2", status="completed")]
    drain.tick(guests=guests[3:], migrations=(*ended, over))
    assert drain.started == []
    proof = dict.fromkeys(("g2", "g3"), evidence()["g1"])
    there = m.Domains({"g2": "running", "g3": "running"})
    drain.tick(evidence=proof, **libvirt(EMPTY, there))
    assert (drain.phase("g2"), drain.phase("g3")) == (m.MOVED, m.MOVED)
    assert (drain.phase("g4"), drain.move("g4").code) == (m.LEFT, "emergency_stop")
    assert drain.decision.done


def test_nothing_starts_between_the_first_grave_look_and_the_second():
    drain = drain_that_left().tick(evidence=evidence(), **libvirt("", ""))
    assert drain.tick(after=1, guests=(guest("g2"),), evidence=evidence()).started == []
    drain.tick(evidence=evidence(), **ARRIVED)
    assert (drain.phase("g1"), drain.started) == (m.MOVED, ["g2"])


def test_what_looked_wrong_once_is_no_alarm():
    drain = drain_that_left().tick(evidence=evidence(), **libvirt("running", "running"))
    assert drain.tick(evidence=evidence(), **ARRIVED).phase() == m.MOVED
    assert drain.ledger.stopped == ""


def test_two_looks_in_one_moment_are_one():
    drain = drain_that_left()
    for _look in range(4):
        drain.tick(after=1.0, evidence=evidence(), **libvirt("", ""))
    assert drain.phase() == m.VERIFYING
    drain.tick(after=1.0, evidence=evidence(), **libvirt("", "running"))
    assert drain.phase() == m.MOVED


def test_a_hard_reboot_takes_the_domain_away_for_a_moment():
    drain = drain_that_left()
    drain.wait(60, evidence=evidence(task_state="reboot_started_hard"), **libvirt("", ""))
    assert (drain.phase(), drain.ledger.stopped) == (m.VERIFYING, "")
    assert drain.tick(evidence=evidence(), **ARRIVED).phase() == m.MOVED


def test_nova_has_it_on_its_source_and_libvirt_has_it_on_the_destination():
    drain = Drain(guest(), options=ASKABLE).in_flight()
    drain.tick(guests=(guest(),), migrations=(migration(1, status="completed"),))
    drain.wait(130, evidence=evidence(SOURCE), **ARRIVED)
    assert (drain.phase(), drain.move().code) == (m.LEFT, "runs_on_destination")
    assert "docs/witnesses.md" in drain.move().remedy


# --- a migration that failed -------------------------------------------------------------


def test_no_state_is_reset_before_libvirt_was_asked():
    drain = drain_that_failed()
    assert asked(drain) == []
    drain.tick(**ALIVE)
    assert "reset_state" not in drain.verbs
    assert asked(drain) == [SOURCE, "cmp-2"]
    drain.tick(**ALIVE, **STAYED)
    assert "reset_state" in drain.verbs


def test_libvirt_s_word_is_enough_where_nova_cannot_tell_whether_it_runs():
    drain = drain_that_failed().tick(**FAILED)
    drain.tick(**FAILED, alive={"g1": None}, **STAYED)
    assert "reset_state" in drain.verbs


def test_libvirt_s_word_counts_more_than_nova_s():
    drain = drain_that_failed().tick(**ALIVE).tick(**ALIVE, **libvirt("shutdown", ""))
    assert (drain.phase(), drain.move().code) == (m.LEFT, "error_guest_dead")


def test_a_hypervisor_out_of_reach_leaves_it_to_nova_s_word():
    out = m.Domains(error="no route")
    drain = drain_that_failed().tick(**ALIVE).tick(**ALIVE, **libvirt(out, out))
    assert "reset_state" in drain.verbs


@pytest.mark.parametrize("in_error", [True, False])
@pytest.mark.parametrize("destination", ["running", "paused"])
def test_a_guest_that_went_after_all_is_never_reset_and_never_tried_again(in_error, destination):
    drain = drain_that_failed(in_error=in_error)
    drain.tick(**ALIVE)
    for _look in range(3):
        drain.tick(**ALIVE, **libvirt("", destination))
        assert not {"reset_state", "live_migrate"} & set(drain.verbs)
    assert (drain.phase(), drain.move().code) == (m.LEFT, "runs_on_destination")
    assert "cmp-2" in drain.move().reason
    assert "the wire broke" in drain.move().reason
    assert drain.ledger.stopped == ""


@pytest.mark.parametrize(
    ("code", "said"), [("split_brain", libvirt("running", "running")), ("lost", libvirt("", ""))]
)
def test_after_a_failure_too_what_is_gravely_wrong_stops_everything(code, said):
    drain = drain_that_failed().tick(**ALIVE).tick(**ALIVE, **said)
    assert drain.ledger.stopped == ""
    drain.tick(**ALIVE, **said)
    assert (drain.phase(), drain.move().code) == (m.LEFT, code)
    assert drain.ledger.stopped == code
    assert drain.last("stopped").name == "vm-g1"
    assert drain.tick(guests=(*drain.guests, guest("g2"))).started == []


def test_the_copy_that_waits_on_the_destination_goes_away_by_itself():
    drain = drain_that_failed().tick(**ALIVE)
    drain.wait(60, **ALIVE, **libvirt("running", "paused"))
    assert drain.phase() == m.RECOVERING
    assert "reset_state" not in drain.verbs
    assert "reset_state" in drain.tick(**ALIVE, **STAYED).verbs


def test_a_copy_that_does_not_go_away_is_never_reset_over():
    drain = drain_that_failed().tick(**ALIVE)
    for _look in range(30):
        drain.tick(**ALIVE, **libvirt("running", "paused"))
        assert "reset_state" not in drain.verbs
    assert (drain.phase(), drain.move().code) == (m.LEFT, "domain")


def test_a_stuck_task_does_not_hide_that_it_went():
    drain = Drain(guest(), options=ASKABLE).in_flight()
    stuck = (guest(task_state="migrating"),)
    drain.tick(guests=stuck, migrations=(migration(1, status="error"),))
    drain.wait(150, **FAILED, **ARRIVED)
    assert (drain.phase(), drain.move().code) == (m.LEFT, "runs_on_destination")


def test_a_domain_that_is_missing_while_a_task_runs_is_no_alarm():
    drain = Drain(guest(), options=ASKABLE).in_flight()
    drain.tick(
        guests=(guest(task_state="reboot_started_hard"),),
        migrations=(migration(1, status="error"),),
    )
    drain.wait(200, **FAILED, **libvirt("", ""))
    assert (drain.phase(), drain.move().code) == (m.LEFT, "lost")
    assert drain.ledger.stopped == ""


def test_a_migration_that_was_never_given_a_destination_is_looked_for_on_its_source():
    drain = Drain(guest(), options=ASKABLE).in_flight(status="accepted", destination="")
    drain.ended("error", vm_state="error").tick(**ALIVE)
    assert asked(drain) == [SOURCE]
    drain.tick(**ALIVE, hypervisors={SOURCE: says("running")})
    assert "reset_state" in drain.verbs


# --- a run that begins after the failure -------------------------------------------------

OLD = migration(1, status="error")


def test_a_guest_whose_last_migration_failed_is_located_before_it_is_started():
    drain = Drain(guest(), options=ASKABLE, migrations=(OLD,)).tick(migrations=(OLD,))
    assert (drain.phase(), drain.started) == (m.RECOVERING, [])
    drain.tick(**FAILED)
    assert asked(drain) == [SOURCE, "cmp-2"]
    drain.tick(**FAILED, **STAYED)
    assert drain.phase() == m.WAITING
    assert drain.tick().started == ["g1"]


def test_if_it_is_elsewhere_it_is_not_started():
    drain = Drain(guest(), options=ASKABLE, migrations=(OLD,)).tick(migrations=(OLD,))
    drain.wait(30, **FAILED, **ARRIVED)
    assert (drain.phase(), drain.move().code) == (m.LEFT, "runs_on_destination")
    assert "live_migrate" not in [event.kind for event in drain.told]


@pytest.mark.parametrize(
    "options", [m.Options(quiet_seconds=0.0), replace(ASKABLE, hypervisors=("cmp-9",))]
)
def test_where_nobody_can_be_asked_it_is_started_at_once(options):
    drain = Drain(guest(), options=options, migrations=(OLD,)).tick(migrations=(OLD,))
    assert drain.started == ["g1"]


# --- a migration that never ends ---------------------------------------------------------


def never_ending(**fields):
    """Its nova-compute died at the switch-over: Nova says running for ever."""
    drain = Drain(guest(), options=ASKABLE).in_flight(**fields)
    return drain.wait(120 + 120 + 15)


def test_before_a_migration_is_called_stuck_libvirt_is_asked():
    drain = never_ending()
    assert (drain.phase(), asked(drain)) == (m.MIGRATING, [SOURCE, "cmp-2"])
    drain.tick(**ARRIVED).tick(**ARRIVED)
    assert (drain.phase(), drain.move().code) == (m.LEFT, "runs_on_destination")


@pytest.mark.parametrize(
    ("code", "said"), [("split_brain", libvirt("running", "running")), ("lost", libvirt("", ""))]
)
def test_a_migration_that_never_ends_may_have_ended_gravely(code, said):
    drain = never_ending().tick(**said)
    assert (drain.phase(), drain.ledger.stopped) == (m.MIGRATING, "")
    drain.tick(**said)
    assert (drain.phase(), drain.move().code, drain.ledger.stopped) == (m.LEFT, code, code)


@pytest.mark.parametrize("said", [libvirt("running", "paused"), STAYED])
def test_a_migration_that_goes_on_in_libvirt_is_stuck(said):
    drain = never_ending().tick(**said)
    assert (drain.phase(), drain.move().code) == (m.LEFT, "stuck_in_flight")


def test_a_post_copy_runs_on_the_destination_by_its_nature():
    drain = never_ending(status="running (post-copy)").tick(**libvirt("paused", "running"))
    assert (drain.phase(), drain.move().code) == (m.LEFT, "stuck_in_flight")


def test_libvirt_that_never_answers_does_not_hold_up_the_end():
    drain = never_ending().wait(130)
    assert (drain.phase(), drain.move().code) == (m.LEFT, "stuck_in_flight")


# --- the host ----------------------------------------------------------------------------


def test_the_host_itself_is_asked_before_the_end():
    drain = Drain(options=ASKABLE).tick()
    assert not drain.decision.done
    assert drain.ledger.wanted == (SOURCE,)
    assert drain.tick(hypervisors={SOURCE: EMPTY}).decision.done


# --- guests that fall silent -------------------------------------------------------------


def watching(how, **more):
    return m.Options(quiet_seconds=0.0, on_unreachable=how, **more)


def silent(ms, guest_id="g1"):
    return {"silent_ms": {guest_id: ms}}


@pytest.mark.parametrize("how", ["report", "pause", "abort"])
def test_a_guest_that_falls_silent_and_answers_again_is_told(how):
    drain = Drain(guest("g1"), options=watching(how)).in_flight(status="queued")
    drain.tick(after=1, **silent(4000.0))
    assert "unreachable_guest" not in drain.kinds
    drain.tick(**silent(6000.0))
    assert drain.last("unreachable_guest").data == {"silent_ms": 6000, "limit_ms": 5000}
    assert "unreachable_guest" not in drain.tick(**silent(11000.0)).kinds
    drain.tick(**silent(0.0))
    assert drain.last("reachable_guest").data == {"seconds": 16.0}


def moved_with_one_waiting(how, **more):
    drain = Drain(guest("g1"), guest("g2"), options=watching(how, **more)).in_flight()
    drain.tick(guests=(guest("g2"),), migrations=(migration(1, status="completed"),))
    return drain


def test_reporting_holds_nothing():
    drain = Drain(guest("g1"), guest("g2"), options=watching("report")).in_flight()
    drain.tick(
        guests=(guest("g2"),), migrations=(migration(1, status="completed"),), **silent(6000.0)
    )
    assert drain.started == ["g2"]


@pytest.mark.parametrize("how", ["pause", "abort"])
def test_nothing_starts_while_a_guest_that_was_moved_is_silent(how):
    drain = Drain(guest("g1"), guest("g2"), options=watching(how)).in_flight()
    over = (migration(1, status="completed"),)
    drain.tick(guests=(guest("g2"),), migrations=over, **silent(6000.0))
    assert drain.started == []
    drain.tick(evidence=evidence(), **silent(11000.0))
    assert (drain.phase("g1"), drain.started, drain.decision.done) == (m.MOVED, [], False)
    assert drain.tick(**silent(20.0)).started == ["g2"]


def test_a_guest_that_stays_silent_ends_the_run():
    drain = Drain(guest("g1"), guest("g2"), options=watching("pause")).in_flight()
    drain.tick(guests=(guest("g2"),), migrations=(migration(1, status="completed"),))
    # The second one had begun at once; it comes back.
    drain.tick(evidence=evidence(), guests=(guest("g2", task_state="migrating"),))
    drain.tick(migrations=(migration(2, "g2"), *drain.migrations))
    failed = (migration(2, "g2", status="error"), migration(1, status="completed"))
    drain.tick(guests=(guest("g2"),), migrations=failed, **silent(6000.0))
    for second in range(30):
        drain.tick(causes={"g2": "no"}, **silent(11000.0 + 5000 * second))
    assert drain.ledger.stopped == "guest_unreachable"
    assert (drain.phase("g2"), drain.move("g2").code) == (m.LEFT, "held")
    assert drain.decision.done


def test_the_migration_of_a_silent_guest_is_aborted_and_not_tried_again():
    drain = Drain(guest("g1"), options=watching("abort")).in_flight()
    drain.tick(**silent(6000.0))
    assert "abort" in drain.verbs
    drain.tick(**silent(11000.0))
    assert "abort" not in drain.verbs
    drain.ended("cancelled", vm_state="active").tick(**FAILED).tick(**FAILED)
    assert (drain.phase(), drain.move().code) == (m.LEFT, "guest_unreachable")
    assert "could not reach it for 6.0 s" in drain.last("left").data["reason"]


def test_an_abort_that_comes_too_late_does_no_harm():
    drain = Drain(guest("g1"), options=watching("abort")).in_flight()
    drain.tick(**silent(6000.0))
    drain.tick(guests=(), migrations=(migration(1, status="completed"),), **silent(11000.0))
    drain.tick(evidence=evidence(), **silent(30.0))
    assert drain.phase() == m.MOVED


def test_pausing_aborts_nothing():
    drain = Drain(guest("g1"), options=watching("pause")).in_flight().tick(**silent(60000.0))
    assert "abort" not in drain.verbs


@pytest.mark.parametrize("status", ["queued", "preparing", "running (post-copy)"])
def test_only_what_is_being_copied_is_aborted(status):
    drain = Drain(guest("g1"), options=watching("abort")).in_flight(status=status)
    assert "abort" not in drain.tick(**silent(4000.0)).tick(**silent(9000.0)).verbs


def test_its_policy_may_let_it_be_silent_for_longer():
    patient = watching("abort", policy={"max_downtime_ms": "9000"})
    drain = Drain(guest("g1"), options=patient).in_flight().tick(**silent(6000.0))
    assert "unreachable_guest" not in drain.kinds
    drain.tick(**silent(9500.0))
    assert drain.last("unreachable_guest").data["limit_ms"] == 9000


def test_a_guest_that_was_silent_before_is_none_of_ours():
    drain = Drain(guest("g1"), options=watching("abort")).in_flight()
    drain.tick(**silent(3_600_000.0))
    assert drain.kinds == []
    assert "abort" not in drain.verbs


def test_a_guest_that_is_moved_cold_is_silent_by_intent():
    stopped = guest("g1", extra_specs={"hw:mem_encryption": "true"})
    options = watching("abort", allow_cold_migration=True)
    drain = Drain(stopped, options=options).tick()
    assert drain.verbs == ["cold_migrate"]
    busy = (replace(stopped, task_state="resize_migrating"),)
    drain.tick(guests=busy, migrations=(migration(1, kind="migration", status="migrating"),))
    drain.tick(**silent(4000.0)).tick(**silent(9000.0))
    assert "unreachable_guest" not in [event.kind for event in drain.told]


def test_guests_that_wait_are_none_of_ours():
    drain = Drain(guest("g1"), guest("g2"), options=watching("pause")).in_flight()
    drain.tick(**silent(9000.0, "g2"))
    assert drain.kinds == []
    assert drain.ledger.held_since == 0.0


def test_a_probe_that_ends_lets_the_drain_go_on():
    drain = Drain(guest("g1"), guest("g2"), options=watching("pause")).in_flight()
    over = (migration(1, status="completed"),)
    drain.tick(guests=(guest("g2"),), migrations=over, **silent(6000.0))
    assert drain.tick(evidence=evidence()).started == ["g2"]
    assert "reachable_guest" not in drain.kinds


# --- a guest that its source does not have any more --------------------------------------


def nowhere_to_be_seen():
    """A nova-compute that came back found its migration in flight, and no domain."""
    missing = guest(power_state="nostate")
    return Drain(missing, options=ASKABLE, migrations=(OLD,)).tick(migrations=(OLD,))


def test_a_guest_that_is_missing_after_a_failure_is_looked_for_on_both_sides():
    drain = nowhere_to_be_seen()
    assert drain.phase() == m.RECOVERING
    drain.wait(30, **FAILED, **ARRIVED)
    assert (drain.phase(), drain.move().code) == (m.LEFT, "runs_on_destination")


def test_a_guest_that_is_found_after_all_is_not_looked_for_again():
    drain = nowhere_to_be_seen().wait(30, **FAILED, **STAYED)
    assert (drain.phase(), drain.move().code) == (m.LEFT, "gone_after_migration")
    assert drain.decision.done
