# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a network, by the figures of its links and paths."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import path_limits
from ansible_collections.lowtide.compute.plugins.module_utils._planner.path_limits import (
    Host,
    Limits,
    Path,
    judge,
)

LIMITS = Limits()


def host(number, **changes):
    own = Host(f"cmp-{number}", "mig", f"192.0.2.{number}", True, 9000, 10000)
    return replace(own, **changes)


def path(source, target, **changes):
    measured = Path(
        f"cmp-{source}",
        f"cmp-{target}",
        largest=9000,
        sent=100,
        latency_avg_ms=0.1,
        latency_max_ms=0.3,
        loss_percent=0.0,
        throughput_mbit=9800.0,
        resent=0,
        seconds=5.0,
        hostname=f"cmp-{target}-migration",
        found=(f"192.0.2.{target}",),
        reverse=f"cmp-{target}-migration",
    )
    return replace(measured, **changes)


def mesh(number, bad=(), **changes):
    """All directions between so many hosts; those of pairs in ``bad`` changed."""
    ends = [(a, b) for a in range(1, number + 1) for b in range(1, number + 1) if a != b]
    return [path(a, b, **(changes if {a, b} in bad else {})) for a, b in ends]


def of(hosts, paths, limits=LIMITS):
    return judge(hosts, paths, limits).failures


def one(*, first=None, second=None, there=None, limits=LIMITS):
    """The only failure of two hosts of which something was changed."""
    hosts = [host(1, **(first or {})), host(2, **(second or {}))]
    (found,) = of(hosts, [path(1, 2, **(there or {})), path(2, 1)], limits)
    return found


def test_what_is_as_it_must_be_has_no_failure():
    assert judge([host(1), host(2), host(3)], mesh(3), LIMITS) == path_limits.Judgement()


# --- Links -------------------------------------------------------------------------------


def test_a_slow_link_is_named_with_both_numbers():
    found = one(first={"speed_mbit": 1000})
    assert (found.code, found.source, found.target) == ("speed", "cmp-1", "")
    assert (found.figure, found.limit) == (1000, 10000)
    assert found.text == "mig runs at 1000 Mbit/s, 10000 is wanted"


def test_a_link_of_unknown_speed_is_noted():
    judged = judge([host(1, speed_mbit=None), host(2)], mesh(2), LIMITS)
    assert judged.failures == ()
    assert judged.notes == ("the speed of the link is unknown on cmp-1",)


def test_a_link_of_unknown_speed_fails_when_that_is_asked():
    found = one(first={"speed_mbit": None}, limits=Limits(require_speed=True))
    assert found.code == "speed_unknown"


def test_nobody_asks_for_a_speed_when_none_is_wanted():
    hosts = [host(1, speed_mbit=None), host(2, speed_mbit=10)]
    limits = Limits(speed_mbit=0, require_speed=True)
    assert judge(hosts, mesh(2), limits) == path_limits.Judgement()


def test_a_host_of_which_nothing_is_known_has_its_own_remedy():
    found = one(first={"error": "ping is not there", "remedy": "Install it"})
    assert (found.code, found.text, found.remedy) == ("no_host", "ping is not there", "Install it")
    assert one(first={"error": "gone"}).remedy.startswith("Mend that, or leave the host out of ")


def test_a_link_that_is_down_is_told_of_beside_its_paths():
    dead = {"largest": 0, "sent": 56, "throughput_mbit": None}
    found = of([host(1, up=False), host(2)], mesh(2, [{1, 2}], **dead))
    assert [each.code for each in found] == ["down", "unreachable", "unreachable"]


# --- Paths -------------------------------------------------------------------------------


def test_a_small_mtu_on_the_way_is_the_switch_s():
    found = of([host(1), host(2)], mesh(2, [{1, 2}], largest=1500, throughput_mbit=None))
    assert [(each.code, each.source, each.target) for each in found] == [
        ("mtu", "cmp-1", "cmp-2"),
        ("mtu", "cmp-2", "cmp-1"),
    ]
    assert found[0].text == "packets of 1500 bytes pass, of 9000 they do not"
    assert found[0].remedy == (
        "A switch port or NIC on the way has MTU 1500: see it with ping -M do -s 8972 from host to"
        " host"
    )


def test_the_ping_to_see_it_with_fits_the_version_of_ip():
    hosts = [host(1, address="2001:db8::1"), host(2, address="2001:db8::2")]
    found = of(hosts, mesh(2, [{1, 2}], largest=1500, found=("2001:db8::1", "2001:db8::2")))
    assert "ping -M do -s 8952 " in found[0].remedy


def test_a_small_mtu_of_a_host_s_own_is_that_host_s():
    hosts = [host(1), host(2, mtu=1500)]
    found = of(hosts, mesh(2, [{1, 2}], largest=1500))
    assert [each.code for each in found] == ["interface_mtu", "mtu", "mtu"]
    assert found[1].remedy == "Set the MTU of mig of cmp-2 to 9000"


def test_losses_are_told_with_their_limit():
    found = one(there={"loss_percent": 2.0})
    assert found.text == "2 % of 100 packets were lost, 0 % may be"
    assert of([host(1), host(2)], [path(1, 2, loss_percent=2.0)], Limits(loss_percent=2.0)) == ()


@pytest.mark.parametrize(
    ("figure", "code", "text"),
    [
        ({"latency_avg_ms": 1.5}, "latency_avg", "answers took 1.5 ms on average, 1 ms may be"),
        ({"latency_max_ms": 12.0}, "latency_max", "answers took 12 ms at most, 10 ms may be"),
    ],
)
def test_slow_answers_are_told_with_their_limit(figure, code, text):
    found = one(there=figure)
    assert (found.code, found.text) == (code, text)
    limits = Limits(latency_avg_ms=0, latency_max_ms=0)
    assert of([host(1), host(2)], [path(1, 2, **figure)], limits) == ()


@pytest.mark.parametrize(
    ("first", "there", "remedy"),
    [
        ({}, {}, "Look at what the switch ports negotiated"),
        ({}, {"resent": 501}, "501 segments were sent again"),
        ({"speed_mbit": 1000}, {}, "mig of cmp-1 runs at 1000 Mbit/s"),
    ],
)
def test_a_slow_path_is_told_with_what_may_be_why(first, there, remedy):
    hosts = [host(1, **first), host(2)]
    paths = [path(1, 2, throughput_mbit=941.4, **there), path(2, 1)]
    found = of(hosts, paths, Limits(speed_mbit=0))
    assert [each.text for each in found] == ["941 Mbit/s, 8000 wanted"]
    assert found[0].remedy.startswith(remedy)


def test_a_throughput_that_nobody_wants_may_be_missing():
    paths = mesh(2, [{1, 2}], throughput_mbit=None)
    assert of([host(1), host(2)], paths, Limits(throughput_mbit=0)) == ()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("Connection refused", "could not be measured: Connection refused"),
        ("", "could not be measured: a host went away before its turn"),
    ],
)
def test_a_throughput_that_is_missing_is_never_taken_for_good(error, text):
    found = of([host(1), host(2)], mesh(2, [{1, 2}], throughput_mbit=None, error=error))
    assert [each.code for each in found] == ["not_measured"] * 2
    assert found[0].text == f"the throughput {text}"


def test_where_full_packets_do_not_pass_one_way_nothing_is_loaded():
    hosts = [host(1), host(2)]
    paths = [path(1, 2, largest=1500, throughput_mbit=None), path(2, 1, throughput_mbit=None)]
    assert path_limits.loadable(hosts, paths, LIMITS) == frozenset()
    assert [each.code for each in of(hosts, paths)] == ["mtu"]


@pytest.mark.parametrize("change", [{"up": False}, {"error": "gone"}])
def test_a_host_that_is_not_there_is_not_loaded(change):
    hosts = [host(1), host(2), host(3, **change)]
    assert path_limits.loadable(hosts, mesh(3), LIMITS) == {("cmp-1", "cmp-2"), ("cmp-2", "cmp-1")}


def test_a_path_of_which_nothing_is_known_is_not_good():
    found = of([host(1), host(2)], [Path("cmp-1", "cmp-2"), path(2, 1)])
    assert [(each.code, each.text) for each in found] == [("not_measured", "was not measured")]


@pytest.mark.parametrize(
    ("there", "code", "text"),
    [
        ({"found": ()}, "name", "leads to nowhere, not to 192.0.2.2"),
        ({"found": ("198.51.100.2",)}, "name", "leads to 198.51.100.2, not to 192.0.2.2"),
        ({"reverse": ""}, "reverse_name", "192.0.2.2 has the name (none), not cmp-2-migration"),
        ({"reverse": "other"}, "reverse_name", "192.0.2.2 has the name other, not"),
    ],
)
def test_names_lead_there_and_back(there, code, text):
    found = one(there=there)
    assert found.code == code
    assert text in found.text
    assert "on cmp-1" in found.remedy
    assert of([host(1), host(2)], [path(1, 2, **there)], Limits(names=False)) == ()


def test_a_name_that_was_not_looked_up_is_not_wrong():
    assert of([host(1), host(2)], [path(1, 2, hostname="", found=(), reverse="")]) == ()


@pytest.mark.parametrize(
    ("name", "other", "same"),
    [
        ("cmp-1", "cmp-1", True),
        ("cmp-1", "CMP-1.", True),
        ("cmp-1", "cmp-1.example", True),
        ("cmp-1.one.example", "cmp-1.two.example", False),
        ("cmp-1", "cmp-2", False),
        ("", "", False),
    ],
)
def test_names_of_one_host(name, other, same):
    assert path_limits.same_host(name, other) is same
    assert path_limits.same_host(other, name) is same


# --- Who is suspected --------------------------------------------------------------------


def suspects(number, *bad):
    hosts = [host(each) for each in range(1, number + 1)]
    judged = judge(hosts, mesh(number, [*map(set, bad)], largest=1500), LIMITS)
    return [(each.code, each.hosts, each.pairs) for each in judged.suspicions]


def test_the_host_that_all_bad_pairs_share_is_suspected():
    assert suspects(3, (1, 2), (2, 3)) == [("mtu", ("cmp-2",), 2)]
    assert suspects(5, (1, 4), (4, 2)) == [("mtu", ("cmp-4",), 2)]


def test_several_hosts_of_whom_every_pair_is_bad_are_suspected():
    bad = [(1, 2), (1, 5), (2, 3), (2, 4), (2, 5), (3, 5), (4, 5)]
    assert suspects(5, *bad) == [("mtu", ("cmp-2", "cmp-5"), 7)]


def test_nobody_is_suspected_without_a_reason():
    assert suspects(3, (1, 2)) == []
    assert suspects(3, (1, 2), (1, 3), (2, 3)) == []
    assert suspects(6, (1, 2), (3, 4)) == []
