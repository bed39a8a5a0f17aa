# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options: the same defaults as the planner's, and values that make sense."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption
from ansible_collections.lowtide.compute.plugins.module_utils._options import (
    AT_LEAST_ONE,
    DRAIN_SPEC,
    MOVE_SPEC,
    NOT_NEGATIVE,
    POSITIVE,
    RENAMED,
    WATCH_SPEC,
    check_probe,
    exact_host,
    read_options,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Exclusions,
    Options,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy import (
    OPERATORS,
    PROFILES,
)

DEFAULTS = {name: spec.get("default") for name, spec in DRAIN_SPEC.items()}


def test_the_modules_defaults_are_the_planner_s():
    assert asdict(read_options(DEFAULTS)) == asdict(Options())


def test_every_option_of_the_planner_can_be_given():
    given = {RENAMED.get(f.name, f.name) for f in fields(Options) if f.name != "destination"}
    assert given <= set(DRAIN_SPEC | WATCH_SPEC)


@pytest.mark.parametrize("who", ["scheduler", "planned"])
def test_who_chooses_destinations_is_no_destination(who):
    options = read_options(DEFAULTS | {"destination": who})
    assert (options.destinations, options.destination) == (who, "")


def test_topologies_are_checked():
    cell = {"id": 0, "dedicated_cpus": [1, 2], "memory_mib": 1024}
    given = {"cmp-2": {"host": "cmp-2", "cells": [cell]}}
    read = read_options(DEFAULTS | {"topologies": given}).topologies
    assert read["cmp-2"].cells[0].dedicated_cpus == (1, 2)
    with pytest.raises(BadOption, match=r"topologies\.cmp-2"):
        read_options(DEFAULTS | {"topologies": {"cmp-2": "two cells"}})


def test_every_number_has_a_range():
    specs = (DRAIN_SPEC | WATCH_SPEC).items()
    numbers = {name for name, spec in specs if spec["type"] in ("int", "float")}
    assert numbers <= {*AT_LEAST_ONE, *NOT_NEGATIVE, *POSITIVE}


def test_values_arrive():
    given = {
        "max_parallel": 4,
        "max_parallel_per_destination": 4,
        "live_migratable_pci_aliases": ["gpu"],
        "exclude": {"ids": ["a"], "tags": None, "metadata": {"n": 1}},
    }
    options = read_options(DEFAULTS | given, destination="cmp-2")
    assert options.max_parallel == options.max_parallel_per_destination == 4
    assert options.live_migratable_pci_aliases == ("gpu",)
    assert options.exclude == Exclusions(ids=("a",), metadata={"n": "1"})
    assert options.destination == "cmp-2"


def test_the_operator_s_policy_arrives_as_text():
    given = {
        "profile": "minimize_downtime",
        "policy": {"max_downtime_ms": 300, "auto_converge": True, "on_timeout": None},
        "dirty_rates": {"a": 3, "b": "1.5"},
    }
    options = read_options(DEFAULTS | given)
    assert options.profile == "minimize_downtime"
    assert options.policy == {"max_downtime_ms": "300", "auto_converge": "True"}
    assert options.dirty_rates == {"a": 3.0, "b": 1.5}


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("max_downtime_ms", 5, "10 to 2000000 milliseconds"),
        ("completion_timeout", 9999, "0 (none of its own) or 10 to 7200 seconds"),
        ("recovery_priority", 0, "1 to 10"),
    ],
)
def test_a_policy_out_of_its_range_names_the_key(key, value, remedy):
    with pytest.raises(BadOption) as raised:
        read_options(DEFAULTS | {"policy": {key: value}})
    assert str(raised.value).startswith(f"policy.{key}: {value!r} is not allowed")
    assert raised.value.remedy == f"Give {remedy}"


def test_every_field_that_the_operator_may_set_is_an_option():
    assert set(MOVE_SPEC["policy"]["options"]) == set(OPERATORS)
    assert MOVE_SPEC["profile"]["choices"] == list(PROFILES)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "fast", None])
def test_a_dirty_rate_that_is_none_names_the_guest(value):
    with pytest.raises(BadOption, match=r"^dirty_rates\.g1: "):
        read_options(DEFAULTS | {"dirty_rates": {"g1": value}})


def test_hosts_that_cannot_take_a_guest_arrive():
    given = {"destination": "planned", "incompatible": {"ABC": ["cmp-2", "cmp-3"], "d": []}}
    assert read_options(DEFAULTS | given).incompatible == {"abc": ("cmp-2", "cmp-3")}


@pytest.mark.parametrize("value", ["cmp-2", ["cmp-2", 3], [""], {"cmp-2": "why"}, None])
def test_hosts_that_are_no_list_of_names_name_the_guest(value):
    with pytest.raises(BadOption, match=r"^incompatible\.g1: "):
        read_options(DEFAULTS | {"destination": "planned", "incompatible": {"g1": value}})


def test_the_scheduler_does_not_know_them():
    with pytest.raises(BadOption, match="needs destination: planned"):
        read_options(DEFAULTS | {"incompatible": {"g1": ["cmp-2"]}})
    with pytest.raises(BadOption, match=r"^avoid: .* needs destination: planned"):
        read_options(DEFAULTS | {"avoid": ["cmp-2"]})
    assert read_options(DEFAULTS | {"incompatible": {"g1": []}}).incompatible == {}


def test_hosts_to_be_avoided_are_named_exactly():
    planned = DEFAULTS | {"destination": "planned"}
    assert read_options(planned | {"avoid": ["cmp-2"]}).avoid == ("cmp-2",)
    with pytest.raises(BadOption, match=r"^avoid: "):
        read_options(planned | {"avoid": ["cmp-*"]})


WATCHED = {name: spec.get("default") for name, spec in WATCH_SPEC.items()}


def test_hypervisors_are_known_by_nova_s_names():
    given = {"hypervisors": {"cmp-1": "one.example.org", "cmp-2": "two"}}
    assert read_options(DEFAULTS | WATCHED | given).hypervisors == ("cmp-1", "cmp-2")


@pytest.mark.parametrize("name", ["", " ", None, {"inventory_host": "one"}, 7])
def test_a_hypervisor_without_a_name_in_the_inventory_is_refused(name):
    with pytest.raises(BadOption, match=r"^hypervisors\.cmp-1: "):
        read_options(DEFAULTS | WATCHED | {"hypervisors": {"cmp-1": name}})


@pytest.mark.parametrize("how", ["pause", "abort"])
def test_what_to_do_about_silence_needs_somebody_who_listens(how):
    with pytest.raises(BadOption, match="needs a probe"):
        check_probe(WATCHED | {"on_unreachable": how})
    check_probe(WATCHED | {"on_unreachable": how, "probe": {"inventory_host": "observer"}})
    check_probe(WATCHED)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((name, value) for name in AT_LEAST_ONE for value in (0, -1)),
        *((name, value) for name in NOT_NEGATIVE for value in (-1, float("nan"))),
        *((name, value) for name in POSITIVE for value in (0, -0.5, float("inf"), float("nan"))),
    ],
)
def test_numbers_that_make_no_sense(option, value):
    with pytest.raises(BadOption) as raised:
        read_options(DEFAULTS | {option: value})
    assert raised.value.details["option"] == option
    assert str(raised.value).startswith(f"{option}: {value!r} ")
    assert raised.value.remedy


@pytest.mark.parametrize("option", sorted(NOT_NEGATIVE))
def test_zero_is_a_number_like_others_where_it_means_none(option):
    assert getattr(read_options(DEFAULTS | {option: 0}), option) == 0


def test_more_per_destination_than_in_all_is_a_contradiction():
    with pytest.raises(
        BadOption, match="max_parallel_per_destination: 3 contradicts max_parallel: 2"
    ):
        read_options(DEFAULTS | {"max_parallel": 2, "max_parallel_per_destination": 3})


@pytest.mark.parametrize("name", ["cmp-1", "cmp-1.example.org", "0cd0fbd4_x"])
def test_a_host_s_name(name):
    assert exact_host(name) == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "cmp-*", "cmp-?", "cmp-[12]", "a,b", "a b", "all:!cmp-1", "~cmp.*", "{a}", "a;b"],
)
def test_what_is_no_host_s_name(name):
    with pytest.raises(BadOption) as raised:
        exact_host(name)
    assert str(raised.value).startswith(f"host: {name!r} ")


def test_modules_that_move_named_guests_take_a_part_of_the_drain_s_options():
    assert MOVE_SPEC.items() <= DRAIN_SPEC.items()
