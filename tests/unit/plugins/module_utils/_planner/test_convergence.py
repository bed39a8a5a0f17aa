# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The prediction of a live migration against the closed form, its bounds and its limits."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.convergence import (
    MAX_ROUNDS,
    budget,
    estimate,
    precopy,
)
from tests.unit.support import guest

MIB = 1 << 20
GIB = 1 << 30
LINK = 1000 * MIB

memories = st.floats(16 * MIB, 2048 * GIB)
bandwidths = st.floats(10 * MIB, 20000 * MIB)
downtimes = st.floats(0.01, 5.0)
#: Dirty rate by bandwidth at which each of those migrations converges within MAX_ROUNDS.
modest = st.floats(0, 0.7)


def closed_form(memory: float, bandwidth: float, dirty_rate: float, last: int) -> float:
    """T = M/B * (1 - (D/B)^(n+1)) / (1 - D/B): rounds 0 to n."""
    ratio = dirty_rate / bandwidth
    return memory / bandwidth * (1 - ratio ** (last + 1)) / (1 - ratio)


def test_idle_guest_is_sent_once():
    found = precopy(8 * GIB, LINK)
    assert found == m.Estimate(8.192, 8 * GIB, rounds=1, downtime_ms=0.0)


@pytest.mark.parametrize(
    ("ratio", "rounds", "seconds"),
    [
        # 10 s of memory; the rest must fit into 0.5 s: 10 * ratio^rounds <= 0.5.
        (0.04, 1, 10.4),
        (0.2, 2, 12.4),
        (0.5, 5, 19.6875),
        (0.9, 29, 95.7608841724783),
    ],
)
def test_known_migrations(ratio, rounds, seconds):
    found = precopy(10 * LINK, LINK, ratio * LINK)
    assert found.rounds == rounds
    assert found.seconds == pytest.approx(seconds)
    assert found.downtime_ms == pytest.approx(10_000 * ratio**rounds)
    assert found.bytes == pytest.approx(found.seconds * LINK, abs=1)


@given(memories, bandwidths, modest, downtimes)
def test_time_is_the_closed_form(memory, bandwidth, ratio, downtime):
    found = precopy(memory, bandwidth, ratio * bandwidth, max_downtime_s=downtime)
    assert found.converges
    expected = closed_form(memory, bandwidth, ratio * bandwidth, found.rounds)
    assert found.seconds == pytest.approx(expected, rel=1e-9)
    assert found.bytes == pytest.approx(expected * bandwidth, rel=1e-9, abs=1)


@given(memories, bandwidths, modest, downtimes)
def test_rounds_are_the_fewest_that_fit_the_downtime(memory, bandwidth, ratio, downtime):
    found = precopy(memory, bandwidth, ratio * bandwidth, max_downtime_s=downtime)
    assert found.downtime_ms <= 1000 * downtime * (1 + 1e-9)
    round_before = memory / bandwidth * ratio ** (found.rounds - 1)
    assert found.rounds == 1 or round_before > downtime * (1 - 1e-9)


@given(memories, bandwidths, st.floats(0, 50), st.floats(0, 2), downtimes)
def test_every_prediction_is_bounded(memory, bandwidth, ratio, share, downtime):
    found = precopy(memory, bandwidth, ratio * bandwidth, share * memory, downtime)
    assert 1 <= found.rounds <= MAX_ROUNDS
    assert math.isfinite(found.seconds)
    assert memory / bandwidth <= found.seconds * (1 + 1e-9)
    # Each round after the first sends the working set at most, and never more than the memory.
    most = memory + found.rounds * min(1.0, share) * memory
    assert found.bytes <= most * (1 + 1e-9) + 1


@given(memories, bandwidths, st.floats(0, 50), st.floats(0, 1), downtimes)
def test_a_working_set_never_makes_it_longer(memory, bandwidth, ratio, share, downtime):
    free = precopy(memory, bandwidth, ratio * bandwidth, max_downtime_s=downtime)
    bound = precopy(memory, bandwidth, ratio * bandwidth, share * memory, downtime)
    assume(free.converges)
    assert bound.converges
    assert bound.seconds <= free.seconds * (1 + 1e-9)


@given(memories, bandwidths, st.floats(0, 100), downtimes)
def test_working_set_that_fits_the_downtime_always_converges(memory, bandwidth, ratio, downtime):
    fits = downtime * bandwidth
    found = precopy(memory, bandwidth, ratio * bandwidth, fits, downtime)
    assert found.converges
    assert found.rounds == 1
    assert found.seconds <= memory / bandwidth + downtime * (1 + 1e-9)


@given(memories, bandwidths, st.floats(1, 50), st.floats(0.01, 1), downtimes)
def test_dirtying_as_fast_as_the_link_never_converges(memory, bandwidth, ratio, share, downtime):
    assume(share * memory > downtime * bandwidth * (1 + 1e-9))
    found = precopy(memory, bandwidth, ratio * bandwidth, share * memory, downtime)
    assert not found.converges
    assert found.downtime_ms > 1000 * downtime


def test_what_does_not_converge_tells_the_downtime_that_it_needs():
    found = precopy(8 * GIB, LINK, 2 * LINK, working_set=2 * GIB)
    assert found == m.Estimate(10.24, 10 * GIB, rounds=2, downtime_ms=2048.0, converges=False)
    enough = precopy(8 * GIB, LINK, 2 * LINK, 2 * GIB, max_downtime_s=2.048)
    assert enough.converges


def test_the_last_round_may_be_the_one_that_fits():
    ratio = 0.8
    last = precopy(1000 * LINK, LINK, ratio * LINK, max_downtime_s=1000 * ratio**MAX_ROUNDS * 1.001)
    assert last.converges
    assert last.rounds == MAX_ROUNDS


def test_so_slow_a_convergence_is_none():
    found = precopy(512 * GIB, LINK, 0.999 * LINK)
    assert not found.converges
    assert found.rounds == MAX_ROUNDS


def test_all_memory_dirtied_at_once_is_seen_after_one_round():
    found = precopy(8 * GIB, LINK, LINK)
    assert found == m.Estimate(8.192, 8 * GIB, 1, 8192.0, converges=False)


@pytest.mark.parametrize("bandwidth", [0, -1])
def test_there_must_be_a_link(bandwidth):
    with pytest.raises(ValueError, match="bandwidth"):
        precopy(GIB, bandwidth)


# --- what a plan says ------------------------------------------------------------------------


def test_live_estimate_is_memory_over_bandwidth_and_the_overhead():
    options = m.Options(bandwidth_mib_s=512, overhead_seconds=3.0)
    found = estimate(guest(ram_mib=4096, disk_gib=100), m.LIVE, options)
    assert found == m.Estimate(11.0, 4 * GIB)


def test_cold_estimate_has_no_bytes_that_are_known():
    found = estimate(guest(ram_mib=4096), m.COLD, m.Options(overhead_seconds=7.0))
    assert (found.seconds, found.bytes) == (7.0, 0)


@pytest.mark.parametrize("method", [m.WAIT, m.CONFIRM, m.RECOVER, m.BLOCKED, m.EXCLUDED])
def test_what_does_not_move_costs_nothing(method):
    assert estimate(guest(), method, m.Options()) == m.Estimate(0.0, 0)


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"ram_mib": 512}, 120),
        ({"ram_mib": 2048}, 120),
        ({"ram_mib": 8192}, 480),
        ({"ram_mib": 8192, "disk_gib": 40}, 2880),
        # A root disk that is a volume is not among the local ones, an ephemeral one is.
        ({"ram_mib": 8192, "disk_gib": 10, "boots_from_volume": True}, 1080),
    ],
)
def test_budget_counts_what_is_sent(fields, seconds):
    assert budget(guest(**fields), m.Options(timeout_per_gib=60)) == seconds
