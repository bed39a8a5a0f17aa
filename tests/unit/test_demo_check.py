# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make demo-hypervisors` checks would be found if it were wrong."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "demo_check_hypervisors.py"
HOST = "cmp-1"


def problems(status, report):
    spec = importlib.util.spec_from_file_location("demo_check_hypervisors", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.problems(HOST, status, report)


def good():
    """A drain of six guests with which nothing is wrong."""
    guests = [
        {
            "id": f"id-{number}",
            "name": f"vm-{number}",
            "outcome": "moved",
            "code": "verified",
            "method": "live",
            "state": "active",
            "witnesses": 3,
            "policy": {"on_timeout": {"value": "abort", "source": "default"}},
            "measured": {"over_policy_ms": 249.0},
        }
        for number in range(6)
    ]
    domains = [{"id": guest["id"], "host": "cmp-2"} for guest in guests]
    return {"domains": domains}, {"guests": guests}


def test_nothing_is_wrong_with_a_good_drain():
    assert problems(*good()) == []


def left_on_host(status, report):
    status["domains"][0]["host"] = HOST


def twice(status, report):
    status["domains"].append({"id": "id-0", "host": "cmp-3"})


def nowhere(status, report):
    del status["domains"][0]


def too_few(status, report):
    del report["guests"][0]


def left(status, report):
    report["guests"][0]["outcome"] = "left"


def two_witnesses(status, report):
    report["guests"][0]["witnesses"] = 2


def missed_too_long(status, report):
    report["guests"][0]["measured"]["over_policy_ms"] = 250.5


def not_measured(status, report):
    report["guests"][0]["measured"] = None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (left_on_host, "has a domain on cmp-1"),
        (twice, "id-0 has 2 domains"),
        (nowhere, "vm-0: has no domain"),
        (too_few, "only 5 guests"),
        (left, "vm-0: is left"),
        (two_witnesses, "seen by 2 witnesses"),
        (missed_too_long, "missed for 250 ms more"),
        (not_measured, "was not measured"),
    ],
)
def test_each_thing_that_is_wrong_is_found(spoil, words):
    status, report = good()
    spoil(status, report)
    (problem,) = problems(status, report)
    assert words in problem


def test_a_guest_whose_policy_lets_it_be_forced_may_be_missed_longer():
    status, report = good()
    missed_too_long(status, report)
    report["guests"][0]["policy"]["on_timeout"]["value"] = "force_complete"
    assert problems(status, report) == []
