# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a probe's answers say: losses, gaps, silence, and whose fault they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._planner.reachability import (
    REMEMBERED,
    Pace,
    Record,
    utc,
)

INTERVAL = 0.05


def record(answered, interval=INTERVAL):
    """A record of sends that were answered at once (True) or given up."""
    found = Record()
    for index, came in enumerate(answered):
        if came:
            found.answer(index, index * interval, index * interval)
        else:
            found.lose(index)
    return found


def figures(answered):
    return record(answered).figures((len(answered) - 1) * INTERVAL, 1000.0)


def test_nothing_lost():
    found = figures([True] * 21)
    assert (found["sent"], found["lost"], found["answered"]) == (21, 0, True)
    assert (found["longest_gap_ms"], found["silent_ms"]) == (50.0, 0.0)


def test_a_gap_lasts_from_the_last_answer_before_to_the_first_after():
    found = figures([True, True] + [False] * 5 + [True, True])
    assert found["longest_gap_ms"] == pytest.approx(300)
    assert found["gap_at"] == "1970-01-01T00:16:40.050Z"
    assert (found["sent"], found["lost"], found["silent_ms"]) == (9, 5, 0)


def test_the_longest_of_several_gaps_counts():
    found = figures([True, False, True, False, False, False, True, False, True])
    assert found["longest_gap_ms"] == pytest.approx(200)
    assert found["gap_at"] == "1970-01-01T00:16:40.100Z"


def test_who_never_answered_is_not_measured():
    assert figures([False] * 9) == {
        "sent": 9,
        "lost": None,
        "longest_gap_ms": None,
        "gap_at": None,
        "silent_ms": None,
        "answered": False,
    }


def test_a_target_is_measured_from_its_first_answer_on():
    found = figures([False] * 8 + [True, False, True])
    assert (found["sent"], found["lost"]) == (3, 1)
    assert found["longest_gap_ms"] == pytest.approx(100)


def test_a_silence_that_lasts_is_a_gap():
    found = figures([True] * 3 + [False] * 10)
    assert found["silent_ms"] == pytest.approx(500)
    assert found["longest_gap_ms"] == found["silent_ms"]
    assert found["gap_at"] == "1970-01-01T00:16:40.100Z"


def test_one_answer_is_no_gap():
    found = figures([True])
    assert (found["longest_gap_ms"], found["gap_at"], found["lost"]) == (0, None, 0)


def test_answers_that_queued_up_are_not_lost_but_came_late():
    """A guest that is paused, and then answers everything that its switch kept for it."""
    found = Record()
    found.answer(0, 0.0, 0.0)
    for index in range(1, 15):
        found.answer(index, 0.7, 0.7)
    shown = found.figures(0.7, 0)
    assert (shown["lost"], shown["longest_gap_ms"]) == (0, 700)


def test_a_send_without_any_reply_is_lost():
    found = record([True, True])
    found.answer(9, 0.45, 0.45)
    assert found.figures(0.45, 0)["lost"] == 7


def test_an_answer_that_comes_out_of_turn_counts():
    found = record([True])
    found.answer(2, 0.1, 0.1)
    assert found.figures(0.1, 0)["lost"] == 1
    found.answer(1, 0.11, 0.09)
    shown = found.figures(0.11, 0)
    assert (shown["lost"], shown["longest_gap_ms"]) == (0, 100)


def test_an_answer_from_before_the_first_does_not_count():
    found = Record()
    found.answer(3, 1.0, 1.0)
    found.answer(2, 1.1, 1.1)
    shown = found.figures(1.0, 0)
    assert (shown["sent"], shown["lost"]) == (1, 0)


def test_an_answer_that_comes_twice_counts_once():
    found = record([True, False, True])
    for _each in range(5):
        found.answer(2, 0.1, 0.1)
    assert found.figures(0.1, 0)["lost"] == 1


def test_what_is_remembered_of_answers_does_not_grow():
    found = record([True] * 20 * REMEMBERED)
    assert len(found.answered) <= 2 * REMEMBERED
    assert found.figures(0, 0)["lost"] == 0


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_every_send_is_answered_or_lost_and_the_gap_is_the_longest_run_of_losses(answered):
    found = figures(answered)
    if not any(answered):
        assert (found["answered"], found["sent"]) == (False, len(answered))
        return
    measured = answered[answered.index(True) :]
    assert found["sent"] == len(measured)
    assert found["lost"] == measured.count(False)
    text = "".join("x" if came else "." for came in measured)
    *between, last = text.split("x")[1:]
    lengths = [len(run) + 1 for run in between] + [len(last)]
    assert found["longest_gap_ms"] == pytest.approx(50 * max(lengths), abs=0.11)
    assert found["silent_ms"] == pytest.approx(50 * len(last), abs=0.11)


# --- the probe's own pace ----------------------------------------------------------------


def test_a_regular_probe_is_not_late():
    pace = Pace(INTERVAL)
    for index in range(100):
        pace.note(index * INTERVAL + 0.01 * (index % 2))
    assert pace.late_ms == 0
    assert pace.time(7.0) == 7.0


def test_a_probe_that_never_heard_itself_does_not_know():
    assert Pace(INTERVAL).late_ms is None


def test_while_the_probe_is_held_up_no_time_passes():
    pace = Pace(INTERVAL)
    for at in (0.0, 0.05, 0.55, 0.60, 0.90):
        pace.note(at)
    assert pace.late_ms == pytest.approx(450)
    assert pace.time(1.0) == pytest.approx(1.0 - 0.45 - 0.25)


@given(st.integers(2, 60), st.integers(1, 40), st.integers(0, 40))
def test_a_held_up_probe_blames_nobody(before, held, silent):
    """The probe sleeps for ``held`` rounds; then the guest is silent for ``silent`` more."""
    pace, found = Pace(INTERVAL), Record()
    rounds = [*range(before), *range(before + held, before + held + silent + 1)]
    for index, number in enumerate(rounds):
        at = number * INTERVAL
        pace.note(at)
        if index < before or number == rounds[-1]:
            found.answer(index, at, pace.time(at))
        else:
            found.lose(index)
    shown = found.figures(pace.time(rounds[-1] * INTERVAL), 0)
    assert shown["longest_gap_ms"] == pytest.approx(50 * (silent + 1), abs=0.11)
    assert pace.late_ms == pytest.approx(50 * held, abs=0.11)


def test_moments_are_in_utc_with_whole_milliseconds():
    assert utc(1795193644.7106) == "2026-11-20T16:54:04.710Z"
