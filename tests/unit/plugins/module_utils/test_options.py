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
    exact_host,
    read_options,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Exclusions,
    Options,
)

DEFAULTS = {name: spec.get("default") for name, spec in DRAIN_SPEC.items()}


def test_the_modules_defaults_are_the_planner_s():
    assert asdict(read_options(DEFAULTS)) == asdict(Options())


def test_every_option_of_the_planner_can_be_given():
    assert {f.name for f in fields(Options)} - {"destination"} <= set(DRAIN_SPEC)


def test_every_number_has_a_range():
    numbers = {name for name, spec in DRAIN_SPEC.items() if spec["type"] in ("int", "float")}
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
