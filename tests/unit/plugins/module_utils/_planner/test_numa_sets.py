# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of CPUs and reserved pages, as Nova reads them."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_sets import (
    DEDICATED,
    LEGACY,
    SHARED,
    BadSetting,
    cpu_set,
    cpu_sets,
    cpu_text,
    reserved_pages,
)

ONLINE = frozenset(range(8))


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0", {0}),
        ("1-4,^3,6", {1, 2, 4, 6}),
        (" 1 - 3 , ,5,", {1, 2, 3, 5}),
        ("0-7,^2-5", {0, 1, 6, 7}),
        ("^1,0-2", {0, 2}),
        ("", set()),
    ],
)
def test_sets(text, cpus):
    assert cpu_set(text) == cpus


@pytest.mark.parametrize("text", ["3-1", "a", "1-", "-1", "1-2-3", "^", "1;2", "^3-1", "1.5", "²"])
def test_what_is_no_set(text):
    with pytest.raises(ValueError, match="has '"):
        cpu_set(text)


@pytest.mark.parametrize("cpus", [{0}, {1, 2, 4, 6}, {0, 1, 2, 3}, set()])
def test_a_set_s_text_is_that_set(cpus):
    assert cpu_set(cpu_text(cpus)) == cpus


def test_ranges_are_written_short():
    assert cpu_text([6, 0, 1, 2, 4]) == "0-2,4,6"


@pytest.mark.parametrize(
    ("texts", "shared", "dedicated"),
    [
        # Nothing is set: all CPUs for everybody, as before Train.
        ({}, ONLINE, ONLINE),
        ({SHARED: "", DEDICATED: ""}, ONLINE, ONLINE),
        ({SHARED: "0-3"}, {0, 1, 2, 3}, set()),
        ({DEDICATED: "4-7"}, set(), {4, 5, 6, 7}),
        ({SHARED: "0-3", DEDICATED: "4-7"}, {0, 1, 2, 3}, {4, 5, 6, 7}),
        ({LEGACY: "2-7"}, {2, 3, 4, 5, 6, 7}, {2, 3, 4, 5, 6, 7}),
        # cpu_shared_set is only for emulators then.
        ({LEGACY: "2-7", SHARED: "0-1"}, {2, 3, 4, 5, 6, 7}, {2, 3, 4, 5, 6, 7}),
    ],
)
def test_whose_cpus(texts, shared, dedicated):
    found = cpu_sets(texts, ONLINE, ONLINE)
    assert (found.shared, found.dedicated) == (shared, dedicated)


@pytest.mark.parametrize(
    ("texts", "name", "why"),
    [
        ({SHARED: "3-1"}, SHARED, "a range that ends before it begins"),
        ({DEDICATED: "x"}, DEDICATED, "neither a CPU nor a range"),
        ({DEDICATED: "1,^1"}, DEDICATED, "has no CPU in it"),
        ({SHARED: "6-9"}, SHARED, "not on line here: 8-9"),
        ({DEDICATED: "9"}, DEDICATED, "not on line here: 9"),
        ({LEGACY: "0-9"}, LEGACY, "not on line here: 8-9"),
        ({SHARED: "0-3", DEDICATED: "3-7"}, DEDICATED, "too: 3"),
        ({LEGACY: "0-3", DEDICATED: "4-7"}, LEGACY, "cannot be set beside"),
    ],
)
def test_sets_with_which_nova_does_not_start(texts, name, why):
    with pytest.raises(BadSetting, match=why) as raised:
        cpu_sets(texts, ONLINE, ONLINE)
    assert (raised.value.name, raised.value.value) == (name, texts[name])
    assert raised.value.remedy


def test_dedicated_cpus_may_be_off_line_where_nova_switches_them():
    texts, present = {DEDICATED: "6-9"}, frozenset(range(10))
    assert cpu_sets(texts, ONLINE, present, power_management=True).dedicated == {6, 7, 8, 9}
    with pytest.raises(BadSetting):
        cpu_sets(texts, ONLINE, present)


def test_reserved_pages():
    texts = [
        "node:0,size:2048,count:64",
        " node : 1 , size : 1GB , count : 2 ",
        "node:0,size:2MiB,count:32",
        "node:2,size:4096B,count:1",
    ]
    assert reserved_pages(texts) == {(0, 2048): 32, (1, 1048576): 2, (2, 4): 1}


@pytest.mark.parametrize(
    "text",
    ["", "2048", "node:0,size:2048", "node:x,size:4,count:1", "node:0,size:many,count:1"],
)
def test_what_reserves_no_pages(text):
    with pytest.raises(BadSetting, match="reserved_huge_pages: "):
        reserved_pages([text])
