# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The migration model against the closed form, by hand-computed cases and by properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.embedded.bandwidth import Flow, fair_shares
from lab.embedded.physics import PAGE_BYTES, Fabric, Guest, NotPossibleError, Phase, Terms

MIB = 2**20
GIB = 2**30
HOSTS = ("a", "b", "c", "d", "e")


def fabric(speed=100 * MIB, **options):
    return Fabric(dict.fromkeys(HOSTS, speed), **({"setup_s": 0.0, "activation_s": 0.0} | options))


def guest(memory=GIB, dirty=0.0, working_set=None, **options):
    return Guest(memory, memory, dirty, memory if working_set is None else working_set, **options)


def finish(model, limit=1e6):
    """Run the model to its end, event by event; return the time of the last one."""
    now = 0.0
    while (event := model.next_event()) is not None:
        assert now <= event < limit
        now = event
        model.advance(now)
    return now


# --- the closed form -----------------------------------------------------------------------


@pytest.mark.parametrize("memory", [64 * MIB, 4 * GIB, 64 * GIB])
@pytest.mark.parametrize("ratio", [0.2, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_total_time_follows_the_closed_form(memory, ratio, rounds):
    bandwidth = 100 * MIB
    dirty = ratio * bandwidth
    # The remainder after n rounds takes M/B (D/B)^n: a downtime just above stops there.
    downtime = memory / bandwidth * ratio**rounds * 1.001
    model = fabric(bandwidth)
    job = model.begin(0.0, "a", "b", guest(memory, dirty), Terms(max_downtime_s=downtime))
    ended = finish(model)
    expected = memory / bandwidth * (1 - ratio ** (rounds + 1)) / (1 - ratio)
    assert ended == pytest.approx(expected, rel=1e-9)
    assert job.iteration == rounds
    assert job.phase is Phase.COMPLETED
    assert job.sent_bytes == pytest.approx(expected * bandwidth, rel=1e-9)
    assert job.downtime_s == pytest.approx(memory / bandwidth * ratio**rounds, rel=1e-9)


def test_the_moments_of_asking_do_not_change_the_result():
    ends = []
    for step in (0.013, 0.5, 1000.0):
        model = fabric()
        job = model.begin(0.0, "a", "b", guest(dirty=40 * MIB), Terms(max_downtime_s=0.1))
        now = 0.0
        while not job.done:
            now += step
            model.advance(now)
        ends.append((job.finished, job.sent_bytes))
    assert ends[0] == pytest.approx(ends[1], rel=1e-9)
    assert ends[0] == pytest.approx(ends[2], rel=1e-9)


def test_setup_and_activation_are_added():
    model = fabric(setup_s=2.0, activation_s=0.25)
    job = model.begin(0.0, "a", "b", guest(1000 * MIB))
    model.advance(1.9)
    assert (job.phase, job.sent_bytes) == (Phase.SETUP, 0)
    assert finish(model) == pytest.approx(12.25)
    assert job.downtime_s == pytest.approx(0.25)


def test_time_scale_divides_the_seconds_but_not_the_figures():
    model = fabric(time_scale=20.0, activation_s=0.25)
    job = model.begin(0.0, "a", "b", guest(1000 * MIB))
    assert finish(model) == pytest.approx(10.25 / 20)
    assert model.stats(job)["time_elapsed"] == 10250
    assert job.downtime_s == pytest.approx(0.25)


def test_the_working_set_bounds_what_a_round_leaves():
    model = fabric()
    slow = guest(dirty=500 * MIB, working_set=50 * MIB)
    job = model.begin(0.0, "a", "b", slow, Terms(max_downtime_s=0.5))
    finish(model)
    assert job.iteration == 1
    assert job.sent_bytes == pytest.approx(GIB + 50 * MIB)
    assert job.downtime_s == pytest.approx(0.5)


def test_only_resident_memory_is_sent():
    model = fabric()
    job = model.begin(0.0, "a", "b", Guest(4 * GIB, 1000 * MIB, 0.0, 0))
    model.advance(5.0)
    assert model.stats(job)["memory_remaining"] == pytest.approx(2 * GIB, rel=1e-6)
    assert finish(model) == pytest.approx(10.0)
    assert model.stats(job)["memory_constant"] == (4 * GIB - 1000 * MIB) // PAGE_BYTES


# --- sharing -------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("shared_end", ["source", "destination"])
def test_migrations_share_a_nic_at_either_end(count, shared_end):
    model = fabric()
    ends = [("a", h) if shared_end == "source" else (h, "a") for h in HOSTS[1 : count + 1]]
    jobs = [model.begin(0.0, *pair, guest(900 * MIB)) for pair in ends]
    model.advance(1.0)
    assert [job.rate_bytes_s for job in jobs] == pytest.approx([100 * MIB / count] * count)
    assert finish(model) == pytest.approx(9.0 * count)


def test_the_two_ways_of_a_nic_are_independent():
    model = fabric()
    model.begin(0.0, "a", "b", guest(900 * MIB))
    model.begin(0.0, "b", "a", guest(900 * MIB))
    assert finish(model) == pytest.approx(9.0)


def test_a_later_start_slows_the_first():
    model = fabric()
    first = model.begin(0.0, "a", "b", guest(1000 * MIB))
    model.advance(5.0)
    second = model.begin(5.0, "a", "c", guest(1000 * MIB))
    finish(model)
    # 500 MiB alone, the other 500 at half speed; then 500 left of the second, alone.
    assert first.finished == pytest.approx(15.0)
    assert second.finished == pytest.approx(20.0)


def test_what_one_flow_cannot_use_goes_to_the_others():
    capacity = {"ab": 100.0, "cd": 30.0}
    flows = [Flow(("ab",), 10.0), Flow(("ab",)), Flow(("ab", "cd")), Flow(("cd",))]
    assert fair_shares(flows, capacity) == pytest.approx([10.0, 75.0, 15.0, 15.0])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(HOSTS), st.sampled_from(HOSTS), st.floats(1.0, 1e9) | st.just(math.inf)
        ),
        max_size=12,
    ),
    st.lists(st.floats(1.0, 1e9), min_size=5, max_size=5),
)
def test_shares_are_max_min_fair(pairs, speeds):
    capacity = {(host, way): speeds[i] for i, host in enumerate(HOSTS) for way in ("out", "in")}
    flows = [Flow(((a, "out"), (b, "in")), cap) for a, b, cap in pairs]
    rates = fair_shares(flows, capacity)
    used = dict.fromkeys(capacity, 0.0)
    for flow, rate in zip(flows, rates, strict=True):
        for link in flow.links:
            used[link] += rate
    assert all(used[link] <= capacity[link] * (1 + 1e-9) for link in capacity)
    for flow, rate in zip(flows, rates, strict=True):
        bottlenecks = [
            link
            for link in flow.links
            if used[link] >= capacity[link] * (1 - 1e-9)
            and all(
                other_rate <= rate * (1 + 1e-9)
                for other, other_rate in zip(flows, rates, strict=True)
                if link in other.links
            )
        ]
        assert bottlenecks or rate == pytest.approx(flow.ceiling)


# --- tuning while it runs ------------------------------------------------------------------


def test_maximum_speed_changes_while_it_runs():
    model = fabric()
    job = model.begin(0.0, "a", "b", guest(1000 * MIB), Terms(max_speed_bytes_s=10 * MIB))
    model.set_max_speed(20.0, job, math.inf)
    assert job.sent_bytes == pytest.approx(200 * MIB)
    assert finish(model) == pytest.approx(28.0)


def test_raising_the_maximum_downtime_ends_a_migration_that_does_not_converge():
    model = fabric()
    busy = guest(dirty=200 * MIB, working_set=128 * MIB)
    job = model.begin(0.0, "a", "b", busy)
    model.advance(60.0)
    assert job.phase is Phase.PRECOPY
    assert job.iteration > 30
    model.set_max_downtime(60.0, job, 1.5)
    ended = finish(model)
    assert ended < 60 + 2 * 1.28 + 0.01
    assert job.downtime_s == pytest.approx(1.28)


def test_auto_converge_throttles_step_by_step_until_it_fits():
    model = fabric()
    busy = guest(dirty=200 * MIB, working_set=128 * MIB)
    job = model.begin(0.0, "a", "b", busy, Terms(auto_converge=True))
    seen = []
    while (event := model.next_event()) is not None:
        model.advance(event)
        if job.throttle_percent not in seen:
            seen.append(job.throttle_percent)
    assert job.phase is Phase.COMPLETED
    assert seen[:4] == [0, 20, 30, 40]
    assert model.stats(job)["auto_converge_throttle"] == seen[-1]


def test_auto_converge_is_not_used_unless_asked_for():
    model = fabric()
    job = model.begin(0.0, "a", "b", guest(dirty=200 * MIB, working_set=128 * MIB))
    model.advance(600.0)
    assert (job.phase, job.throttle_percent) == (Phase.PRECOPY, 0)
    assert "auto_converge_throttle" not in model.stats(job)


def test_a_guest_that_never_converges_is_throttled_in_vain():
    model = fabric()
    job = model.begin(
        0.0, "a", "b", guest(64 * MIB, never_converges=True), Terms(1e12, 1e6, auto_converge=True)
    )
    model.advance(3600.0)
    assert (job.phase, job.throttle_percent) == (Phase.PRECOPY, 99)
    assert model.stats(job)["memory_remaining"] > 0


def test_a_guest_that_calms_down_converges():
    model = fabric()
    job = model.begin(0.0, "a", "b", guest(dirty=200 * MIB, working_set=512 * MIB))
    model.advance(100.0)
    assert job.phase is Phase.PRECOPY
    model.set_guest(100.0, job, guest(dirty=1 * MIB))
    assert finish(model) < 115.0


# --- post-copy, pause, abort, failure ------------------------------------------------------


def test_post_copy_hands_the_guest_over_and_pulls_the_rest():
    model = fabric(activation_s=0.02)
    job = model.begin(
        0.0,
        "a",
        "b",
        guest(1000 * MIB, dirty=10 * MIB),
        Terms(post_copy=True, max_speed_bytes_s=50 * MIB),
    )
    model.start_post_copy(4.0, job)
    assert job.guest_on_destination
    # 800 MiB of the round and 40 dirtied are left, without the limit that pre-copy had.
    assert model.stats(job)["memory_remaining"] == 840 * MIB
    assert finish(model) == pytest.approx(4.0 + 8.4)
    assert job.downtime_s == pytest.approx(0.02)


def test_post_copy_is_only_for_migrations_begun_with_it():
    model = fabric()
    job = model.begin(0.0, "a", "b", guest())
    with pytest.raises(NotPossibleError, match="post-copy"):
        model.start_post_copy(1.0, job)


def test_post_copy_asked_for_during_set_up_starts_after_it():
    model = fabric(setup_s=1.0)
    job = model.begin(0.0, "a", "b", guest(1000 * MIB), Terms(post_copy=True))
    model.start_post_copy(0.5, job)
    assert not job.guest_on_destination
    model.advance(1.1)
    assert job.guest_on_destination
    assert finish(model) == pytest.approx(11.0)


def test_post_copy_cannot_be_aborted():
    model = fabric()
    job = model.begin(0.0, "a", "b", guest(), Terms(post_copy=True))
    model.start_post_copy(1.0, job)
    with pytest.raises(NotPossibleError, match="post-copy"):
        model.abort(2.0, job)
    finish(model)
    assert job.phase is Phase.COMPLETED


def test_a_paused_guest_converges_and_its_downtime_counts_from_the_pause():
    model = fabric()
    job = model.begin(0.0, "a", "b", guest(1000 * MIB, never_converges=True))
    model.set_paused(5.0, job, True)
    assert finish(model) == pytest.approx(10.0)
    assert job.downtime_s == pytest.approx(5.0)


def test_a_resumed_guest_dirties_again():
    model = fabric()
    job = model.begin(0.0, "a", "b", guest(dirty=200 * MIB), paused=True)
    model.advance(5.0)
    assert job.redirtied_bytes == 0
    model.set_paused(5.0, job, False)
    model.advance(6.0)
    assert job.redirtied_bytes == pytest.approx(200 * MIB)
    assert job.stopped is None


def test_abort_ends_it_at_once_and_frees_the_wire():
    model = fabric()
    job = model.begin(0.0, "a", "b", guest())
    other = model.begin(0.0, "a", "c", guest(1000 * MIB))
    model.abort(5.0, job)
    assert (job.phase, job.guest_on_destination) == (Phase.CANCELLED, False)
    assert other.rate_bytes_s == pytest.approx(100 * MIB)
    assert finish(model) == pytest.approx(12.5)


def test_abort_is_too_late_during_the_switch_over():
    model = fabric(activation_s=1.0)
    job = model.begin(0.0, "a", "b", guest(1000 * MIB))
    model.advance(10.5)
    assert job.phase is Phase.ACTIVATION
    with pytest.raises(NotPossibleError, match="activation"):
        model.abort(10.6, job)


@pytest.mark.parametrize("percent", [0, 50, 100])
def test_a_migration_fails_where_it_is_told_to(percent):
    model = fabric()
    job = model.begin(0.0, "a", "b", guest(1000 * MIB), Terms(fail_at_percent=percent))
    assert finish(model) == pytest.approx(percent / 10)
    assert (job.phase, job.guest_on_destination) == (Phase.FAILED, False)
    assert job.sent_bytes == pytest.approx(percent * 10 * MIB)


def test_figures_are_those_of_libvirt():
    model = fabric(setup_s=0.5)
    job = model.begin(0.0, "a", "b", guest(1000 * MIB, dirty=20 * MIB))
    model.advance(11.5)
    figures = model.stats(job)
    assert figures["time_elapsed"] == 11500
    assert figures["setup_time"] == 500
    assert figures["memory_total"] == 1000 * MIB
    assert figures["memory_processed"] == 1100 * MIB
    assert figures["memory_remaining"] == 100 * MIB
    assert figures["memory_iteration"] == 2
    assert figures["memory_dirty_rate"] == 20 * MIB // PAGE_BYTES
    assert figures["memory_bps"] == 100 * MIB
    assert figures["downtime"] == 2000
    finish(model)
    assert model.stats(job)["memory_remaining"] == 0
    assert model.stats(job)["downtime"] == 80


# --- bad input -----------------------------------------------------------------------------


def test_time_cannot_go_back():
    model = fabric()
    model.advance(5.0)
    with pytest.raises(ValueError, match="goes back"):
        model.advance(4.9)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Guest(GIB, 2 * GIB, 0.0, 0), "resident_bytes"),
        (lambda: Guest(GIB, GIB, 0.0, 2 * GIB), "working_set_bytes"),
        (lambda: Guest(GIB, GIB, -1.0, 0), "dirty_bytes_s"),
        (lambda: Terms(max_speed_bytes_s=0), "max_speed_bytes_s"),
        (lambda: Terms(max_downtime_s=-1), "max_downtime_s"),
        (lambda: Fabric({"a": 0.0}), "NIC of a"),
        (lambda: Fabric({"a": 1.0}, time_scale=0), "time_scale"),
        (lambda: fabric().begin(0.0, "a", "a", guest()), "itself"),
    ],
)
def test_impossible_values_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_an_unknown_host_is_refused():
    with pytest.raises(KeyError, match="nowhere"):
        fabric().begin(0.0, "a", "nowhere", guest())


# --- properties ----------------------------------------------------------------------------

# Of 100 MiB/s NICs and at most six jobs, each job has at least 16 MiB/s: it converges below.
converging = st.builds(
    lambda memory, dirty, ws: guest(memory * MIB, dirty * MIB, int(ws * memory) * MIB),
    st.integers(1, 4096),
    st.floats(0, 15),
    st.floats(0, 1),
)
starts = st.lists(
    st.tuples(
        st.floats(0, 30),
        st.sampled_from(HOSTS),
        st.integers(1, len(HOSTS) - 1),
        converging,
        st.floats(0.01, 2),
    ),
    min_size=1,
    max_size=6,
)


def launch(model, plan, **terms):
    jobs = []
    for at, source, offset, load, downtime in sorted(plan, key=lambda item: item[0]):
        destination = HOSTS[(HOSTS.index(source) + offset) % len(HOSTS)]
        jobs.append(
            model.begin(at, source, destination, load, Terms(max_downtime_s=downtime, **terms))
        )
    return jobs


@settings(deadline=None)
@given(starts)
def test_every_migration_slower_than_its_wire_ends(plan):
    model = fabric()
    jobs = launch(model, plan)
    finish(model)
    for job, (_, _, _, load, downtime) in zip(
        jobs, sorted(plan, key=lambda item: item[0]), strict=True
    ):
        assert job.phase is Phase.COMPLETED
        assert job.sent_bytes >= load.resident_bytes * (1 - 1e-9)
        # Other jobs may start while the guest is stopped, and take up to 5/6 of its bandwidth.
        assert job.downtime_s <= max(downtime * 6, 1e-3)
        assert job.finished - job.started >= job.sent_bytes / (100 * MIB) * (1 - 1e-9)


@settings(deadline=None)
@given(starts, st.floats(0.05, 3))
def test_no_byte_is_made_or_lost(plan, step):
    model = fabric()
    jobs = launch(model, plan)
    now = max(item[0] for item in plan)
    before = {job.id: job.sent_bytes for job in jobs}
    for _ in range(200):
        now += step
        model.advance(now)
        sent = {job.id: job.sent_bytes - before[job.id] for job in jobs}
        before = {job.id: job.sent_bytes for job in jobs}
        for host in HOSTS:
            for way in ("source", "destination"):
                through = sum(sent[job.id] for job in jobs if getattr(job, way) == host)
                assert through <= 100 * MIB * step * (1 + 1e-6) + 1
        for job in jobs:
            assert sent[job.id] >= 0
            assert 0 <= job.rest_bytes <= job.guest.resident_bytes
            assert 0 <= job.redirtied_bytes <= job.guest.working_set_bytes
            if job.phase is Phase.PRECOPY:
                assert job.rest_bytes + job.sent_bytes >= job.guest.resident_bytes * (1 - 1e-9)


@settings(deadline=None)
@given(starts, st.lists(st.sampled_from(["pause", "resume", "abort", "post-copy", "speed"])))
def test_any_order_of_commands_leaves_each_guest_on_exactly_one_side(plan, commands):
    model = fabric(activation_s=0.02, setup_s=0.1)
    jobs = launch(model, plan, post_copy=True)
    now = max(item[0] for item in plan)
    for i, command in enumerate(commands):
        now += 0.7
        job = jobs[i % len(jobs)]
        try:
            if command in ("pause", "resume"):
                model.set_paused(now, job, command == "pause")
            elif command == "abort":
                model.abort(now, job)
            elif command == "post-copy":
                model.start_post_copy(now, job)
            else:
                model.set_max_speed(now, job, 20 * MIB)
        except NotPossibleError:
            assert job.done or job.phase not in (Phase.SETUP, Phase.PRECOPY)
    finish(model)
    assert model.jobs == ()
    for job in jobs:
        assert job.phase in (Phase.COMPLETED, Phase.CANCELLED)
        assert job.guest_on_destination == (job.phase is Phase.COMPLETED)
