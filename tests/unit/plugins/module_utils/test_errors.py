# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors: one line, ending with the remedy, with a code and details for machines."""

from __future__ import annotations

import inspect

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils import _errors
from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    BadOptions,
    LowtideError,
    Refused,
)

CLASSES = [
    each
    for _name, each in inspect.getmembers(_errors, inspect.isclass)
    if issubclass(each, LowtideError)
]


@pytest.mark.parametrize(
    ("message", "remedy", "line"),
    [
        ("It is so", "Do that", "It is so. Do that"),
        ("It is so.", "Do that", "It is so. Do that"),
        ("It is so", "", "It is so"),
        ("It is so.", "", "It is so."),
        ("It\n  is\tso ", "Do\nthat\n", "It is so. Do that"),
    ],
)
def test_text_is_one_line_that_ends_with_the_remedy(message, remedy, line):
    assert str(LowtideError(message, remedy)) == line


def test_parts_and_details_are_kept():
    error = LowtideError("It is so", "Do that", host="cmp-1")
    assert (error.message, error.remedy, error.details) == (
        "It is so",
        "Do that",
        {"host": "cmp-1"},
    )


def test_bad_option_names_option_value_and_remedy():
    error = BadOption("max_parallel", 0, "is not above 0", "Give 1 or more")
    assert str(error) == "max_parallel: 0 is not above 0. Give 1 or more"
    assert error.details == {"option": "max_parallel", "value": 0}
    assert error.code == "bad_option"


def test_refused_keeps_the_status():
    error = Refused("No", status=409, guest="g1")
    assert (error.status, error.details) == (409, {"status": 409, "guest": "g1"})


@pytest.mark.parametrize("kind", [Refused])
def test_a_refusal_without_status_is_a_mistake(kind):
    with pytest.raises(TypeError):
        kind("No")


def test_each_kind_has_a_code_of_its_own():
    # Several bad options are the same kind of error as one.
    codes = [each.code for each in CLASSES if each is not BadOptions]
    assert len(CLASSES) > 5
    assert BadOptions.code == BadOption.code
    assert len(set(codes)) == len(codes)
