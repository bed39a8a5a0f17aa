# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nova_fleet_info's options, and how a plan is told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ansible_collections.lowtide.compute.plugins.module_utils import _fleet
from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption, NotFound
from ansible_collections.lowtide.compute.plugins.module_utils._planner.batches import plan_batches
from ansible_collections.lowtide.compute.plugins.module_utils._planner.fleet_model import (
    FAULT_DOMAIN,
    ZONE,
    FleetGroup,
    Rules,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.undrainable import REFUSALS
from ansible_collections.lowtide.compute.plugins.modules import nova_fleet_info as module
from tests.unit.support import guest, room


def params(**given):
    """The module's options with their defaults."""
    defaults = {name: option.get("default") for name, option in _fleet.SPEC.items()}
    return defaults | given


class FakeFleet:
    aggregates = {"ssd": ("cmp-1", "cmp-2", "gone"), "bare": ()}


ROOMS = (room("cmp-1"), room("cmp-2"), room("cmp-3", availability_zone="west"))


# --- options -----------------------------------------------------------------------------


def test_the_defaults_are_the_planner_s():
    assert _fleet.read_rules(params()) == Rules()


@pytest.mark.parametrize("limit", ["1", "25", "1%", "100%", " 10% "])
def test_limits_of_aggregates(limit):
    assert _fleet.read_rules(params(aggregate_limit=limit)).aggregate_limit == limit.strip()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("aggregate_limit", text) for text in ("0", "-1", "0%", "101%", "half", "1.5", "%", "٣")),
        ("max_hosts", 0),
        ("max_parallel", 0),
        ("bandwidth_mib_s", float("nan")),
        ("overhead_seconds", -1.0),
    ],
)
def test_values_that_make_no_sense_are_named(option, value):
    with pytest.raises(BadOption) as caught:
        _fleet.read_rules(params(**{option: value}))
    assert caught.value.details["option"] == option
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("cmp-1", "cmp-2", "cmp-3")),
        ({"hosts": ["cmp-3", "cmp-1", "cmp-3"]}, ("cmp-1", "cmp-3")),
        ({"aggregate": "ssd"}, ("cmp-1", "cmp-2")),
        ({"aggregate": "bare"}, ()),
        ({"availability_zone": "west"}, ("cmp-3",)),
    ],
)
def test_the_hosts_that_are_meant(given, expected):
    assert _fleet.chosen_hosts(params(**given), FakeFleet(), ROOMS) == expected


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ({"hosts": ["cmp-1", "cmp-33"]}, "cmp-3"),
        ({"aggregate": "sdd"}, "ssd"),
        ({"availability_zone": "wset"}, "west"),
    ],
)
def test_unknown_names_are_told_with_their_neighbours(given, near):
    with pytest.raises(NotFound) as caught:
        _fleet.chosen_hosts(params(**given), FakeFleet(), ROOMS)
    assert caught.value.details["option"] in given
    assert near in caught.value.remedy


@pytest.mark.parametrize("hosts", [[], [""], ["cmp-*"], ["cmp-1,cmp-2"]])
def test_hosts_are_neither_none_nor_patterns(hosts):
    with pytest.raises(BadOption) as caught:
        _fleet.chosen_hosts(params(hosts=hosts), FakeFleet(), ROOMS)
    assert caught.value.details["option"] == "hosts"


def test_a_fault_domain_for_each_host_when_the_rule_needs_it():
    some = {"cmp-1": "r1", "cmp-9": 7}
    with pytest.raises(BadOption, match="lack 1 host that `within` needs: cmp-2"):
        _fleet.read_domains(params(within="fault_domain", fault_domains=some), ("cmp-1", "cmp-2"))
    assert _fleet.read_domains(params(fault_domains=some), ("cmp-2",))["cmp-9"] == "7"


# --- what the planner gets ---------------------------------------------------------------


def test_guests_alike_share_one_kind_and_those_on_no_host_are_left_out():
    everyone = [guest("g1"), guest("g2"), guest("g3", ram_mib=4096), guest("g4", host="")]
    found = list(_fleet.fleet_guests(everyone, [], params()))
    assert [each.id for each in found] == ["g1", "g2", "g3"]
    assert found[0].kind is found[1].kind
    assert found[0].kind.seconds < found[2].kind.seconds


def test_disks_that_placement_does_not_count_on_the_host_are_no_limit():
    shared = _fleet.fleet_host(room(free={"MEMORY_MB": 5}), {})
    assert shared.free["DISK_GB"] > 1 << 60
    assert _fleet.fleet_host(room(free={}), {}).free == {}


@pytest.mark.parametrize(
    ("why", "down"), [("", False), ("disabled", False), ("down", True), ("forced_down", True)]
)
def test_guests_leave_a_disabled_host_but_no_dead_one(why, down):
    seen = _fleet.fleet_host(room(unusable=why), {})
    assert (seen.unusable, seen.down) == (why, down)


# --- what is returned --------------------------------------------------------------------


@pytest.fixture
def result():
    everyone = tuple(
        _fleet.fleet_guests(
            [guest("g1"), guest("g2"), guest("g3", host="cmp-2", ram_mib=90000)], [], params()
        )
    )
    hosts = [_fleet.fleet_host(each, {}) for each in ROOMS]
    chosen = ("cmp-1", "cmp-2")
    plan = plan_batches(hosts, everyone, [], chosen, Rules(canary=True))
    return _fleet.fleet_result(plan, everyone, chosen)


def test_a_batch_and_a_host_that_is_in_none(result):
    (batch,) = result["batches"]
    assert batch["hosts"] == ["cmp-1"]
    assert batch["destinations"] == {"cmp-3": 2}
    assert batch["predicted_seconds"] == pytest.approx(12, abs=1)
    assert result["undrainable"][0]["host"] == "cmp-2"
    assert result["undrainable"][0]["short"]["MEMORY_MB"] > 0
    assert result["msg"] == "2 hosts, 3 guests: 1 batch, about 12s; 1 cannot be drained: cmp-2"
    assert result["summary"] == {
        "hosts": 2,
        "guests": 3,
        "batches": 1,
        "undrainable": 1,
        "moves": 2,
    }


def test_the_table_is_read_at_three_in_the_morning(result):
    lines = result["table"]
    assert lines[:2] == ["batch  hosts  guests  estimate", "1      cmp-1  2       12s       canary"]
    assert lines[2].startswith("cmp-2: ")
    assert lines[2].endswith("(no_room)")
    assert lines[3] == "  -> Add or enable hosts, or move or resize guests, and try again"


def test_return_describes_each_field(result):
    told = yaml.safe_load(module.RETURN)
    assert set(result) - {"changed"} <= set(told)
    assert set(told["batches"]["contains"]) == set(result["batches"][0])
    assert set(told["undrainable"]["contains"]) == set(result["undrainable"][0])


def test_return_names_each_code():
    told = yaml.safe_load(module.RETURN)["undrainable"]["contains"]["code"]["description"]
    codes = {code for code, *_texts in REFUSALS.values()}
    for code in codes | {"no_room", "affinity_group", "host_down"}:
        assert f"V({code})" in told


def test_the_page_names_each_rule_and_each_code():
    text = (Path(__file__).parents[4] / "docs" / "fleet.md").read_text()
    named = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", text, re.M))))
    codes = {code for code, *_texts in REFUSALS.values()}
    rules = {"max_hosts", "server_group", "aggregate_limit", "room", ZONE, FAULT_DOMAIN}
    assert named == codes | rules | {"no_room", "affinity_group", "host_down"}


def test_options_and_documentation_agree():
    options = yaml.safe_load(module.DOCUMENTATION)["options"]
    assert set(options) == set(_fleet.SPEC)
    for name, spec in _fleet.SPEC.items():
        assert options[name].get("default") == spec.get("default"), name


def test_only_groups_that_matter_have_a_limit():
    group = FleetGroup("g", "apart", "anti-affinity", 2)
    seen = _fleet.Group("g", "apart", "anti-affinity", 2, {"g1": ""})
    assert _fleet.fleet_group(seen) == group
    assert _fleet.fleet_group(replace(seen, policy="soft-anti-affinity")).most == 0
