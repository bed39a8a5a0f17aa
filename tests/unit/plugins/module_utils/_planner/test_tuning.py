# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration is held to, and how libvirt's statistics become figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._planner import tuning as t

MIB = 1 << 20

#: As libvirt 11.3 with QEMU 10.0 gave them, of a busy guest of 512 MiB on a slow wire.
RUNNING = {
    "type": 2,
    "operation": 5,
    "time_elapsed": 4400,
    "downtime": 1300,
    "setup_time": 4,
    "data_total": 554573824,
    "data_processed": 330301440,
    "data_remaining": 78643200,
    "memory_total": 554573824,
    "memory_processed": 330301440,
    "memory_remaining": 78643200,
    "memory_bps": 117964800,
    "memory_constant": 98304,
    "memory_normal": 80000,
    "memory_normal_bytes": 327680000,
    "memory_dirty_rate": 28000,
    "memory_iteration": 3,
    "memory_postcopy_requests": 0,
    "memory_page_size": 4096,
    "disk_total": 0,
    "disk_processed": 0,
    "disk_remaining": 0,
}


# --- figures ---------------------------------------------------------------------------------


def test_statistics_of_a_migration_that_runs():
    assert t.figures(RUNNING) == t.Figures(
        total_ms=4400,
        setup_ms=4,
        downtime_ms=None,
        expected_downtime_ms=1300,
        bytes=330301440,
        memory_bytes=330301440,
        disk_bytes=0,
        remaining_bytes=78643200,
        dirty_rate_mib_s=109.4,
        iterations=3,
        throughput_mib_s=112.5,
        throttle_percent=0,
        post_copy_requests=0,
        block=False,
    )


def test_the_downtime_is_known_when_it_has_ended():
    found = t.figures(RUNNING | {"downtime": 970}, ended=True)
    assert (found.downtime_ms, found.expected_downtime_ms) == (970, None)


@pytest.mark.parametrize("said", [{}, {"downtime": 3}])
def test_after_post_copy_there_is_no_downtime(said):
    stats = {name: value for name, value in RUNNING.items() if name != "downtime"}
    found = t.figures(stats | said | {"memory_postcopy_requests": 310}, ended=True)
    assert (found.downtime_ms, found.post_copy_requests) == (None, 310)


def test_throughput_is_the_average_when_qemu_says_none():
    stats = RUNNING | {"memory_bps": 0, "data_processed": 110 * MIB, "time_elapsed": 2204}
    assert t.figures(stats).throughput_mib_s == 50.0


@pytest.mark.parametrize("stats", [{}, {"time_elapsed": 4, "setup_time": 4, "data_processed": 9}])
def test_what_is_not_known_is_none(stats):
    found = t.figures(stats)
    assert (found.throughput_mib_s, found.dirty_rate_mib_s, found.block) == (None, None, None)


def test_copied_disks_make_it_a_block_migration():
    assert t.figures(RUNNING | {"disk_total": 1}).block is True


def test_the_last_figures_keep_what_qemu_forgets_at_the_end():
    running = t.figures(RUNNING | {"auto_converge_throttle": 50})
    ended = t.figures(RUNNING | {"memory_dirty_rate": 0, "downtime": 200}, ended=True)
    found = t.joined(running, ended)
    assert (found.dirty_rate_mib_s, found.throttle_percent) == (109.4, 50)
    assert (found.downtime_ms, found.expected_downtime_ms) == (200, 1300)


@pytest.mark.parametrize(("iteration", "rate"), [(1, None), (2, 0.0)])
def test_the_first_pass_says_nothing_of_the_dirty_rate(iteration, rate):
    stats = RUNNING | {"memory_dirty_rate": 0, "memory_iteration": iteration}
    assert t.figures(stats).dirty_rate_mib_s == rate


@given(st.lists(st.integers(0, 99), min_size=1))
def test_the_strongest_throttle_is_kept(percents):
    found = t.Figures()
    for percent in percents:
        found = t.joined(found, t.figures(RUNNING | {"auto_converge_throttle": percent}))
    assert found.throttle_percent == max(percents)


def test_the_fastest_writing_is_kept_and_that_disks_were_copied():
    found = t.Figures()
    for pages, disk in ((100, 0), (51200, 1 << 20), (10, 0)):
        seen = RUNNING | {"memory_dirty_rate": pages, "disk_total": disk}
        found = t.joined(found, t.figures(seen))
    assert (found.dirty_rate_mib_s, found.block) == (200.0, True)


# --- wishes ----------------------------------------------------------------------------------


def test_a_wish_of_nothing_sets_nothing():
    assert t.Wish().settings(0) == {}


def test_a_wish_sets_what_it_names():
    wish = t.Wish(500, 200, 100, 64)
    assert wish.settings(0) == {
        "max_downtime_ms": 500,
        "bandwidth_mib_s": 200,
        "post_copy_bandwidth_mib_s": 100,
        "compression_cache_mib": 64,
    }


@pytest.mark.parametrize(
    ("elapsed_ms", "downtime_ms"),
    [
        (0, 100),
        (1999, 100),
        (2000, 200),
        (10_000, 600),
        (17_999, 900),
        (18_000, 1000),
        (10**9, 1000),
    ],
)
def test_a_ramp_reaches_the_maximum_in_ten_steps(elapsed_ms, downtime_ms):
    wish = t.Wish(max_downtime_ms=1000, ramp_seconds=20)
    assert wish.settings(elapsed_ms) == {"max_downtime_ms": downtime_ms}


def test_a_ramp_begins_when_the_first_pass_is_over():
    held = t.Held("a", "a", t.Wish(max_downtime_ms=1000, ramp_seconds=10))
    wanted = []
    for total, iterations in ((500, 0), (20_000, 1), (20_500, 2), (22_600, 2), (40_000, 3)):
        stats = RUNNING | {"time_elapsed": total, "memory_iteration": iterations}
        held = held.seen_running(t.figures(stats), 0.0)
        wanted.append(held.settings()["max_downtime_ms"])
    assert wanted == [100, 100, 100, 300, 1000]


def test_a_second_attempt_has_a_first_pass_of_its_own():
    wish = t.Wish(max_downtime_ms=1000, ramp_seconds=10)
    second = t.figures(RUNNING | {"time_elapsed": 30_000, "memory_iteration": 9})
    held = t.Held("a", "a", wish).seen_running(second, 0.0).seen_running(second, 1.0).seen_idle(2.0)
    first = t.figures(RUNNING | {"time_elapsed": 30_000, "memory_iteration": 1})
    assert held.seen_running(first, 3.0).settings() == {"max_downtime_ms": 100}


def test_outside_of_a_migration_there_is_no_ramp():
    assert t.Wish(1000, ramp_seconds=20).settings() == {"max_downtime_ms": 1000}


@given(st.integers(1, 2_000_000), st.floats(0.1, 1e5), st.integers(0, 10**8), st.integers(0, 10**8))
def test_a_ramp_only_rises_and_never_beyond(most, seconds, early, late):
    wish = t.Wish(most, ramp_seconds=seconds)
    early, late = sorted((early, late))
    before, after = (wish.settings(at)["max_downtime_ms"] for at in (early, late))
    assert 1 <= before <= after <= most


# --- what a watch knows ----------------------------------------------------------------------


def held(**fields):
    return t.Held("id-a", "instance-1", **fields)


def test_the_first_look_knows_when_it_began():
    found = held().seen_running(t.Figures(total_ms=4000), at=100.0)
    assert (found.outcome, found.attempts, found.started_at) == (t.RUNNING, 1, 96.0)
    assert (found.final, found.samples) == ("last_sample", 1)


def test_a_second_migration_starts_afresh():
    first = held().seen_running(t.Figures(total_ms=1, bytes=9), 10.0).was_set("x", 50, 500)
    again = first.seen_idle(20.0).seen_running(t.Figures(total_ms=2), 30.0)
    assert (again.attempts, again.figures.bytes, again.samples) == (2, None, 2)
    assert (again.applied, again.times_applied) == ({}, {"x": 1})
    assert again.was_set("x", 300, 500).times_overwritten == {}


def test_a_migration_that_ends_without_the_guest_going_stayed():
    found = held().seen_running(t.Figures(total_ms=1), 10.0).seen_idle(20.0)
    assert (found.outcome, found.ended_at) == (t.STAYED, 20.0)
    assert found.seen_idle(30.0) == found


def test_idle_is_waiting_until_something_happens():
    assert held().seen_idle(1.0).outcome == t.WAITING


@pytest.mark.parametrize("outcome", sorted(t.AWAY))
def test_who_comes_back_waits_again(outcome):
    assert held(outcome=outcome).seen_idle(1.0).outcome == t.WAITING


def test_the_end_keeps_the_samples():
    seen = held().seen_running(t.figures(RUNNING), 10.0)
    found = seen.completed(t.figures(RUNNING | {"downtime": 9}, ended=True), 20.0)
    assert (found.outcome, found.final, found.attempts) == (t.MOVED, "completed", 1)
    assert (found.figures.downtime_ms, found.figures.expected_downtime_ms) == (9, 1300)
    assert found.absent(30.0) == found


def test_a_migration_between_two_looks_is_one():
    found = held().completed(t.Figures(total_ms=300), 10.0)
    assert (found.outcome, found.attempts, found.samples) == (t.MOVED, 1, 0)
    assert found.started_at == 9.7


def test_who_goes_without_a_word_is_gone():
    found = held().seen_running(t.Figures(total_ms=1), 10.0).absent(20.0)
    assert (found.outcome, found.final, found.ended_at) == (t.GONE, "last_sample", 20.0)


def test_settings_are_counted_and_robberies_too():
    found = held().was_set("x", 50, 500)
    assert (found.before, found.applied, found.times_overwritten) == ({"x": 50}, {"x": 500}, {})
    found = found.was_set("x", 95, 500).was_set("x", 500, 600)
    assert (found.before, found.applied) == ({"x": 50}, {"x": 600})
    assert (found.times_applied, found.times_overwritten) == ({"x": 3}, {"x": 1})


def test_the_same_problem_is_told_once():
    assert held().failed("no").failed("no").failed("never").problems == ("no", "never")
