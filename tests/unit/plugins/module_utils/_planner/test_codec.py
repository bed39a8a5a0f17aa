# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that passes between two calls of a module survives JSON unchanged."""

from __future__ import annotations

import inspect
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import decode, encode
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import make_plan
from tests.unit.support import guest, migration, survey

#: Events and decisions are told, not read back: what an event's data holds has no type.
KINDS = [
    each
    for _name, each in inspect.getmembers(m, inspect.isclass)
    if is_dataclass(each) and each not in (m.Event, m.Decision)
]


def filled(hint: Any, numbers: Iterator[int]) -> Any:
    """A value of this type with no default in it, no two parts of it alike."""
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return hint(**{name: filled(kind, numbers) for name, kind in hints.items()})
    origin, args = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return filled(args[0], numbers)
    if origin is tuple:
        return tuple(filled(args[0], numbers) for _each in range(2))
    if origin is Mapping:
        return {f"k{next(numbers)}": filled(args[1], numbers) for _each in range(2)}
    number = next(numbers)
    return {bool: True, int: number, float: number + 0.5, str: f"ü{number}"}[hint]


def through_json(kind, value):
    return decode(kind, json.loads(json.dumps(encode(value))))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_field_survives(kind):
    value = filled(kind, itertools.count(1))
    assert through_json(kind, value) == value


@given(st.builds(m.Move, guest_id=st.text(), name=st.text(), since=st.floats(allow_nan=False)))
def test_any_text_and_number_survives(move):
    assert through_json(m.Move, move) == move


def test_a_real_plan_survives():
    group = m.Group("group-1", "apart", "anti-affinity", 2, {"g1": "cmp-1", "x": ""})
    guests = (
        guest(group=group, ports=(m.Port("p1", "direct"),), tags=("a",), alive=None),
        guest("g2", vm_state="error", alive=False, metadata={"é": "ü"}),
    )
    plan = make_plan(survey(*guests, migrations=(migration(),)), m.Options())
    again = through_json(m.Plan, plan)
    assert again == plan
    assert isinstance(again.entries[0].guest.ports, tuple)
    assert hash(again.scope) == hash(plan.scope)


def test_encoded_values_are_plain():
    assert encode(m.Exclusions(ids=("g1",), metadata={"k": "v"})) == {
        "ids": ["g1"],
        "names": [],
        "projects": [],
        "tags": [],
        "metadata": {"k": "v"},
    }


def test_a_whole_number_becomes_a_float_where_one_is_meant():
    ledger = decode(m.Ledger, {"started_at": 90, "ticks": 3})
    assert isinstance(ledger.started_at, float)
    assert isinstance(ledger.ticks, int)


def test_fields_that_are_left_out_have_their_defaults():
    assert decode(m.Options, {"order": "name"}) == m.Options(order="name")


def test_none_is_kept_where_it_may_be():
    assert decode(m.Observation, {"service": None, "alive": {"g1": None}}).alive == {"g1": None}


@pytest.mark.parametrize(
    ("kind", "value", "names"),
    [
        (m.Ledger, {"run_id": "r", "colour": 1, "age": 2}, "Ledger has no field age, colour"),
        (m.Ledger, {"moves": {"g1": {"guest_id": "g1", "x": 1}}}, "Move has no field x"),
        (m.Move, {"guest_id": "g1"}, "name"),
        (m.Ledger, [], "Ledger cannot be read from list"),
        (m.Plan, {"scope": "cmp-1"}, "Scope cannot be read from str"),
        (m.Plan, None, "Plan cannot be read from NoneType"),
    ],
)
def test_what_is_of_another_version_is_refused(kind, value, names):
    with pytest.raises(TypeError, match=names):
        decode(kind, value)
