# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a certificate follows from what the handshakes showed."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner.certificates import (
    REMEDIES,
    Refusal,
    Seen,
    days_left,
    faults,
)

DAY, NOW = 86400, 1_800_000_000.0
GOOD = {"not_before": NOW - DAY, "not_after": NOW + 100 * DAY, "names": ["192.0.2.11"]}


def found(days=30, **fields):
    return faults(Seen("qemu", **(GOOD | fields)), NOW, days)


def codes(**fields):
    return [fault.code for fault in found(**fields)]


def test_a_good_one_has_no_faults():
    assert found() == []


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"not_after": NOW - 2 * DAY}, "expired", "expired 2 days ago"),
        ({"not_before": NOW + DAY}, "not_yet_valid", "another 1.0 days"),
        ({"not_after": NOW + 9 * DAY}, "expires_soon", "in 9 days, which is less than 30"),
        ({"unnamed": ["192.0.2.12", "b"]}, "name_missing", "192.0.2.12, b; it has 192.0.2.11"),
        ({"unnamed": ["b"], "names": []}, "name_missing", "it has no names"),
        ({"refusals": {"client": Refusal(26, "no")}}, "wrong_purpose", "for a client"),
        ({"refusals": {"server": Refusal(20, "no issuer")}}, "not_signed", "no issuer"),
        ({"refusals": {"server": Refusal(79, "no CA")}}, "no_authority", "no CA"),
        ({"refusals": {"server": Refusal(0, "weak")}}, "refused", "weak"),
        ({"distrusted": {"cmp-2": Refusal(20, "why")}}, "not_trusted", "by cmp-2: why"),
    ],
)
def test_each_fault_has_its_code_and_says_the_figure(fields, code, words):
    (fault,) = found(**fields)
    assert (fault.code, fault.about) == (code, "qemu")
    assert words in fault.what
    assert fault.remedy == REMEDIES[code]


def test_all_faults_are_told_at_once():
    refusals = {"client": Refusal(26, "no")}
    assert codes(refusals=refusals, unnamed=["b"], not_after=NOW - DAY) == [
        "wrong_purpose",
        "name_missing",
        "expired",
    ]


def test_the_same_of_both_purposes_is_said_once():
    unsigned = {"server": Refusal(20, "no issuer"), "client": Refusal(20, "no issuer")}
    assert codes(refusals=unsigned) == ["not_signed"]
    useless = {"server": Refusal(26, "no"), "client": Refusal(26, "no")}
    assert codes(refusals=useless) == ["wrong_purpose", "wrong_purpose"]


def test_what_cannot_be_loaded_is_all_that_is_said():
    assert codes(unusable=[("missing", "ca"), ("unreadable", "key")], unnamed=["b"]) == [
        "missing",
        "unreadable",
    ]


def test_without_dates_nothing_is_said_of_them():
    assert codes(not_before=None, not_after=None) == []
    assert days_left(Seen("qemu"), NOW) is None
    assert days_left(Seen("qemu", **GOOD), NOW) == 100
