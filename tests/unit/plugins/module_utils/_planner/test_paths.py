# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pairs are measured when, how long that takes, and which packets are tried."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._planner import paths
from ansible_collections.lowtide.compute.plugins.module_utils._planner.paths import Effort

numbers = st.integers(min_value=2, max_value=40)
EFFORT = Effort(seconds=5, omit=1, count=50, interval_ms=20, forks=5)


def named(number):
    return [f"cmp-{at}" for at in range(number)]


def unordered(rounds):
    return [frozenset(pair) for each in rounds for pair in each]


@given(numbers)
def test_a_tournament_has_every_pair_once_in_as_few_rounds_as_can_be(number):
    rounds = paths.tournament(named(number))
    wanted = {frozenset(pair) for pair in itertools.combinations(named(number), 2)}
    assert set(unordered(rounds)) == wanted
    assert len(unordered(rounds)) == len(wanted)
    assert len(rounds) == number - 1 + number % 2


@given(numbers)
def test_a_ring_has_each_host_twice_in_two_or_three_rounds(number):
    rounds = paths.ring(named(number))
    found = unordered(rounds)
    assert len(found) == len(set(found)) == (1 if number == 2 else number)
    assert len(rounds) <= 3
    for host in named(number):
        assert sum(host in pair for pair in found) == min(2, number - 1)


@given(numbers, st.sampled_from([paths.tournament, paths.ring]))
def test_no_host_is_in_two_measurements_at_once(number, plan):
    for each in plan(named(number)):
        ends = [host for pair in each for host in pair]
        assert len(ends) == len(set(ends)) > 0


@pytest.mark.parametrize(
    ("number", "wanted", "found"),
    [
        (16, "auto", "all"),
        (17, "auto", "ring"),
        (17, "all", "all"),
        (4, "ring", "ring"),
    ],
)
def test_auto_measures_all_pairs_of_few_hosts(number, wanted, found):
    course = paths.course(named(number), wanted, 16, EFFORT)
    assert course.coverage == found
    assert len(course.pairs) == (number * (number - 1) // 2 if found == "all" else number)


def test_the_prediction_is_the_sum_of_the_rounds():
    # Three rounds of two times six seconds, and what is about them; one burst of pings; and
    # Ansible's own time for three tasks of three rounds and the others, on four hosts.
    course = paths.course(named(4), "all", 16, EFFORT)
    tasks = 4 * (paths.TASKS + 3 * 3) * paths.TASK_SECONDS
    assert course.seconds == pytest.approx(
        3 * (12 + paths.ROUND_OVERHEAD) + paths.OVERHEAD + 3 + tasks
    )


def test_fewer_forks_than_pairs_take_longer():
    plenty = paths.course(named(16), "all", 16, Effort(forks=16)).seconds
    scarce = paths.course(named(16), "all", 16, Effort(forks=4)).seconds
    assert scarce > 1.9 * plenty


def test_a_ring_of_many_hosts_takes_longer_only_by_ansible_s_own_time():
    few, many = (
        paths.course(named(number), "ring", 16, Effort(forks=200)).seconds for number in (20, 200)
    )
    assert many - few == pytest.approx(180 * (paths.TASKS + 2 * 3) * paths.TASK_SECONDS)


def test_without_throughput_rounds_cost_nothing():
    course = paths.course(named(16), "all", 16, Effort(seconds=0, forks=16))
    assert course.seconds < 25


def test_a_listener_outlives_its_round():
    course = paths.course(named(16), "all", 16, EFFORT)
    assert course.listen_seconds > 2 * 2 * (12 + paths.ROUND_OVERHEAD)
    assert paths.course(["one"], "all", 16, EFFORT).listen_seconds == paths.SPARE


def test_partners_are_mutual():
    found = paths.partners(paths.ring(named(5)))
    assert set(found) == set(named(5))
    assert all(host in found[other] for host in found for other in found[host])


@given(st.integers(84, 9000), st.integers(0, 9000))
def test_the_largest_packet_is_found_to_the_byte(wanted, real):
    passing, failing, steps = 84, wanted, 0
    real = max(84, min(real, wanted - 1))
    while tries := paths.next_sizes(passing, failing):
        assert len(tries) <= paths.TRIED_AT_ONCE
        answered = {size: size <= real for size in tries}
        passing, failing = paths.narrowed(passing, failing, answered)
        steps += 1
    assert passing == max(real, 84)
    assert steps <= 4


def test_a_small_packet_that_is_lost_hides_no_larger_one():
    assert paths.narrowed(84, 9000, {1000: False, 1500: True, 2000: False}) == (1500, 2000)


# --- Values ------------------------------------------------------------------------------

GOOD = {
    "interface": "mig",
    "verify_coverage": "auto",
    "mtu": 9000,
    "verify_all_up_to": 16,
    "verify_speed_mbit": 10000,
    "verify_latency_avg_ms": 1.0,
    "verify_latency_max_ms": "10",
    "verify_loss_percent": 0.0,
    "verify_throughput_mbit": 8000.0,
    "verify_count": 50,
    "verify_interval_ms": 20,
    "verify_seconds": 5,
    "verify_streams": 1,
    "verify_port": 49215,
}


def faults(hosts=("a", "b"), here="a", play=("a", "b"), later=(), **variables):
    return paths.faults(list(hosts), here, play, later, GOOD | variables)


def test_good_values_have_no_fault():
    assert faults() == []


@pytest.mark.parametrize("name", paths.RANGES)
@pytest.mark.parametrize("end", [0, 1])
def test_every_range_is_held(name, end):
    bound = paths.RANGES[name][end]
    if bound is None:
        assert faults(**{name: 10**9}) == []
        return
    assert faults(**{name: bound}) == []
    (found,) = faults(**{name: bound + (1 if end else -1)})
    assert found.startswith(f"management_network_{name}: ")
    assert "is out of range. Give " in found


@pytest.mark.parametrize("value", ["many", "", "nan", "inf", None])
def test_what_is_no_number_is_refused(value):
    (found,) = faults(verify_port=value)
    assert found.startswith("management_network_verify_port: ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hosts": ["a"]}, "verify_hosts: ['a'] makes no pair"),
        ({"hosts": ["a", "b", "a"]}, "has a host twice"),
        ({"here": "c"}, "lacks c, which is to measure"),
        ({"hosts": ["a", "b", "z"]}, "verify_hosts: ['z'] are not in this play"),
        ({"later": ["b"]}, "verify_hosts: ['b'] are in another batch of the play. Take `serial`"),
        ({"interface": ""}, "interface: '' names none"),
        ({"verify_coverage": "some"}, "verify_coverage: 'some' is unknown. Give auto, all, ring"),
    ],
)
def test_wrong_hosts_are_named(change, words):
    (found,) = faults(**change)
    assert words in found


def test_all_faults_are_told_at_once():
    assert len(faults(mtu=1, verify_port=0, verify_seconds=0)) == 3
