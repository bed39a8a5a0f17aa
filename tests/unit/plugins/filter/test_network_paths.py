# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what hosts measured to the verdict: the filters, the report, the table and the sentence."""

from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.lowtide.compute.plugins.filter import network_paths as filters
from ansible_collections.lowtide.compute.plugins.module_utils._report import paths as report

HOSTS = ["cmp-1", "cmp-2", "cmp-3"]
ADDRESSES = dict(zip(HOSTS, ("192.0.2.1", "192.0.2.2", "192.0.2.3"), strict=True))
LIMITS = {"mtu": "9000", "throughput_mbit": 8000, "names": "no", "require_speed": False}
GONE = {"unreachable": True, "msg": "Failed to connect to the host via ssh: timed out"}


def link(name, **changes):
    own = {"interface": "mig", "address": ADDRESSES[name], "up": True, "mtu": 9000}
    return own | {"speed_mbit": 10000, "iperf3": True, "msg": "mig: up"} | changes


def row(name, **changes):
    measured = {"sent": 100, "latency_avg_ms": 0.1, "latency_max_ms": 0.2, "loss_percent": 0.0}
    own = {"name": name, "address": ADDRESSES[name], "largest_packet": 9000}
    return own | measured | changes


def quiet(name, **changes):
    return {"paths": [row(peer, **changes.get(peer, {})) for peer in HOSTS if peer != name]}


def load(peer, there=9000.0, back=9100.0):
    figures = {"throughput_mbit": there, "resent": 0, "seconds": 5}
    figures |= {"back_throughput_mbit": back, "back_resent": 0}
    return {"peer": peer, "result": {"paths": [figures]}}


def loads(course, change=None):
    """What the first of each pair keeps, in the order of HOSTS; ``change``: of all of them."""
    found = {name: [] for name in HOSTS}
    for one, two in (pair for each in course["rounds"] for pair in each):
        found[one].append(change(one, two) if change else load(two))
    return [found[name] for name in HOSTS]


@pytest.fixture
def course():
    return filters.network_path_course(HOSTS, seconds="5", forks=5)


def verdict(course, links=None, quiets=None, loud=None, **limits):
    links = links or [link(name) for name in HOSTS]
    quiets = quiets or [quiet(name) for name in HOSTS]
    loud = loads(course) if loud is None else loud
    return filters.network_path_verdict(HOSTS, links, quiets, loud, course, LIMITS | limits)


# --- The course --------------------------------------------------------------------------


def test_the_course_is_data(course):
    assert json.loads(json.dumps(course)) == course
    assert course["coverage"] == "all"
    assert course["pairs"] == len(course["rounds"]) == 3
    assert set(course["partners"]["cmp-1"]) == {"cmp-2", "cmp-3"}
    assert course["listen_seconds"] > 30
    assert course["seconds"] > 36


@pytest.mark.parametrize(
    ("given", "words"),
    [({"coverage": "some"}, "give auto, all, ring"), ({"speed": 1}, "speed: unknown; give ")],
)
def test_a_wrong_wish_for_a_course_is_named(given, words):
    with pytest.raises(AnsibleFilterError, match=words):
        filters.network_path_course(HOSTS, **given)


def test_peers_have_address_and_name():
    links = {"cmp-2": link("cmp-2"), "cmp-3": {"msg": "gone"}}
    partners = {"cmp-1": ["cmp-2", "cmp-3"], "cmp-2": ["cmp-1"]}
    found = filters.network_path_peers(partners, links, {"cmp-2": "cmp-2-migration"})
    peer = {"name": "cmp-2", "address": "192.0.2.2", "hostname": "cmp-2-migration"}
    assert found == {"cmp-1": [peer], "cmp-2": []}


def test_faults_are_those_of_the_variables():
    variables = {"interface": "", "verify_coverage": "all"}
    numbers = dict.fromkeys(filters.paths.RANGES, 1500) | {"verify_loss_percent": 0}
    numbers |= {"verify_streams": "1"}
    found = filters.network_path_faults(HOSTS, "cmp-1", HOSTS, **variables, **numbers)
    assert found == ["management_network_interface: '' names none. Give the interface to measure."]


def test_pairs_between_which_full_packets_do_not_pass_are_not_loaded(course):
    quiets = [quiet(name, **{"cmp-2": {"largest_packet": 1500}}) for name in HOSTS]
    links = [link(name) for name in HOSTS]
    found = filters.network_path_rounds(HOSTS, links, quiets, course, LIMITS)
    assert [[sorted(pair) for pair in each] for each in found] == [[["cmp-1", "cmp-3"]]]


# --- The verdict -------------------------------------------------------------------------


def test_a_good_network_is_told_as_such(course):
    found = verdict(course)
    assert found["ok"] is True
    assert found["msg"] == "3 pairs measured, all as they must be"
    assert len(found["paths"]) == 6
    assert json.loads(json.dumps(found)) == found
    assert found["limits"]["mtu"] == 9000
    assert found["limits"]["names"] is False


def test_figures_belong_to_their_direction(course):
    found = verdict(course)
    there = {(each["from"], each["to"]): each["throughput_mbit"] for each in found["paths"]}
    for one, two in (pair for each in course["rounds"] for pair in each):
        assert (there[one, two], there[two, one]) == (9000.0, 9100.0)


def test_the_table_has_a_line_for_each_pair(course):
    lines = verdict(course)["lines"]
    assert lines[0] == "cmp-1  mig  192.0.2.1  MTU 9000, 10000 Mbit/s"
    head = lines.index(
        "pair             packet  avg ms  max ms  lost  -> Mbit/s  <- Mbit/s  verdict"
    )
    assert len(lines) == head + 4
    assert "cmp-1 <-> cmp-2  9000    0.100   0.20    0 %   9000       9100       ok" in lines


def test_both_directions_of_a_bad_size_are_told_as_one_by_the_smaller_number(course):
    quiets = [
        quiet("cmp-1", **{"cmp-2": {"largest_packet": 1504}}),
        quiet("cmp-2", **{"cmp-1": {"largest_packet": 1500}}),
        quiet("cmp-3"),
    ]
    found = verdict(course, quiets=quiets)
    assert found["ok"] is False
    assert found["msg"] == (
        "3 pairs measured, 1 bad: cmp-1 <-> cmp-2: packets of 1500 bytes pass, of 9000 they do not."
        " A switch port or NIC on the way has MTU 1500: see it with ping -M do -s 8972 from host to"
        " host"
    )
    assert [each["figure"] for each in found["failures"]] == [1504, 1500]
    bad = [each for each in found["paths"] if each["failures"]]
    assert {(each["from"], each["to"]) for each in bad} == {("cmp-1", "cmp-2"), ("cmp-2", "cmp-1")}


def test_a_slow_direction_is_told_alone_and_its_host_suspected(course):
    def slow(one, two):
        return load(two, 941.0 if one == "cmp-3" else 9000.0, 942.0 if two == "cmp-3" else 9100.0)

    found = verdict(course, loud=loads(course, slow))
    assert "cmp-3 -> cmp-1: 94" in found["msg"]
    assert "cmp-3 -> cmp-2: 94" in found["msg"]
    assert "<->" not in found["msg"]
    assert found["msg"].endswith("Look at cmp-3 first: it is an end of both of them")
    assert "! throughput: Look at cmp-3 first" in "\n".join(found["lines"])
    assert found["failures"][0]["message"].startswith("cmp-3 -> cmp-")


def test_a_suspect_of_many_pairs_is_named_with_their_number():
    host = filters.path_limits.Suspicion("mtu", ("cmp-2",), 15)
    assert report.suspicion(host) == "Look at cmp-2 first: it is an end of all 15 of them"


def test_several_suspects_are_named():
    hosts = filters.path_limits.Suspicion("mtu", ("cmp-2", "cmp-5"), 7)
    assert report.suspicion(hosts) == (
        "Look at cmp-2, cmp-5 first: each of the 7 has one of them as an end"
    )


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"paths": [{"error": "Connection refused", "seconds": 5}]}, "Connection refused"),
        ({"msg": "iperf3 cannot listen. Free it", "remedy": "Free it"}, "iperf3 cannot listen"),
        ({"paths": []}, "it took no part in this play"),
    ],
)
def test_a_throughput_that_failed_says_why(course, result, words):
    def failed(one, two):
        return {"peer": two, "result": result} if two == "cmp-3" or one == "cmp-3" else load(two)

    found = verdict(course, loud=loads(course, failed))
    assert {each["code"] for each in found["failures"]} == {"not_measured"}
    assert f"cmp-1 <-> cmp-3: the throughput could not be measured: {words}" in found["msg"]


def test_one_direction_that_failed_leaves_the_other_its_figure(course):
    def half(_one, two):
        figures = {"throughput_mbit": 9000.0, "resent": 0, "seconds": 5, "error": "it broke"}
        return {"peer": two, "result": {"paths": [figures]}}

    found = verdict(course, loud=loads(course, half))
    known = [each["throughput_mbit"] for each in found["paths"]]
    assert sorted(known, key=str) == [9000.0] * 3 + [None] * 3
    assert len(found["failures"]) == 3


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (GONE, "cmp-3: Failed to connect to the host via ssh: timed out. Mend that, or leave"),
        ({}, "cmp-3: it took no part in this play. Mend that, or leave"),
        (
            {"msg": "interface: 'x' is no interface here. Give one", "remedy": "Give one"},
            "cmp-3: interface: 'x' is no interface here. Give one",
        ),
        (link("cmp-3", address=""), "cmp-3: mig has no address"),
    ],
)
def test_a_host_that_is_not_there_is_told_of_once(course, lost, words):
    links = [link("cmp-1"), link("cmp-2"), lost]
    quiets = [quiet("cmp-1", **{"cmp-3": {"largest_packet": 0}}), quiet("cmp-2"), {}]
    found = verdict(course, links=links, quiets=quiets)
    assert [(each["code"], each["from"], each["to"]) for each in found["failures"]] == [
        ("no_host", "cmp-3", "")
    ]
    assert words in found["msg"]
    assert "cmp-3  -" in found["lines"][2]


def test_a_host_that_may_not_ping_is_told_so(course):
    first = {"msg": "ping: not permitted. Become root", "remedy": "Become root"}
    found = verdict(course, quiets=[first, quiet("cmp-2"), quiet("cmp-3")])
    assert found["failures"][0]["message"] == "cmp-1: ping: not permitted. Become root"


def test_a_pair_of_which_nothing_is_known_is_not_ok(course):
    quiets = [{"paths": []}, quiet("cmp-2"), quiet("cmp-3")]
    found = verdict(course, quiets=quiets)
    assert found["ok"] is False
    assert {each["code"] for each in found["failures"]} == {"not_measured"}
    skipped = verdict(course, links=[GONE, link("cmp-2"), link("cmp-3")], quiets=[{}] * 3)
    assert any(line.endswith("not measured") for line in skipped["lines"])


def test_a_link_of_unknown_speed_is_noted_in_the_lines(course):
    found = verdict(course, links=[link("cmp-1", speed_mbit=None), link("cmp-2"), link("cmp-3")])
    assert found["ok"] is True
    assert found["lines"][-1] == "note: the speed of the link is unknown on cmp-1"
    assert found["lines"][0].endswith("MTU 9000, speed unknown")


def test_an_unknown_limit_is_refused(course):
    with pytest.raises(AnsibleFilterError, match="jitter: unknown; give "):
        verdict(course, jitter=1)
