# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each guest's policy on the real APIs: from flavor, image and metadata into plan and drain.

The cloud is policy.yml. Its host is planned, and then drained as far as its guests allow.
"""

from __future__ import annotations

from pathlib import Path

import pytest

SCENARIO = Path(__file__).with_name("policy.yml")
HOST = "cmp-1"
FIRST_PORT_BASE = 34000
DRAIN = {
    "host": HOST,
    "on_timeout": "force_complete",
    "policy": {"recovery_priority": 5},
    "order": "priority",
    "max_parallel": 2,
}


@pytest.fixture(scope="module")
def lab(start_lab, free_port_base):
    with start_lab(SCENARIO, free_port_base(FIRST_PORT_BASE)) as started:
        yield started


@pytest.fixture(scope="module")
def api(lab, connect):
    return connect(lab)


@pytest.fixture(scope="module")
def kept():
    """What plan and drain returned, for the tests after them."""
    return {}


@pytest.fixture
def plan(kept, module):
    if "plan" not in kept:
        kept["plan"] = module("nova_drain_info", **DRAIN)
    return kept["plan"]


@pytest.fixture
def rows(plan):
    return {row["name"]: row for row in plan["guests"]}


@pytest.fixture
def drained(kept, failing):
    if "drained" not in kept:
        quick = {"poll_interval": 1.0, "on_blocker": "drain_the_rest"}
        kept["drained"] = failing("nova_drain", **DRAIN, **quick)
    return {row["name"]: row for row in kept["drained"]["guests"]}


@pytest.mark.parametrize(
    ("guest", "field", "value", "source"),
    [
        ("ordinary", "max_downtime_ms", 500, "default"),
        ("ordinary", "on_timeout", "force_complete", "option on_timeout"),
        ("ordinary", "recovery_priority", 5, "option policy.recovery_priority"),
        ("promised", "max_downtime_ms", 300, "flavor lowtide:max_downtime_ms"),
        ("promised", "bandwidth_mib_s", 800, "flavor lowtide:bandwidth_mib_s"),
        ("promised", "recovery_priority", 1, "instance sw:wrs:recovery_priority"),
        ("veteran", "completion_timeout", 180, "flavor hw:wrs:live_migration_timeout"),
        ("tender", "completion_timeout", 10, "instance lowtide:completion_timeout"),
        ("tender", "post_copy", False, "image lowtide_post_copy"),
        ("tender", "on_timeout", "abort", "image lowtide_post_copy"),
    ],
)
def test_the_plan_says_what_holds_and_whose_word_it_is(rows, guest, field, value, source):
    assert rows[guest]["policy"][field] == {"value": value, "source": source}


def test_what_was_asked_for_in_vain_is_a_note_of_the_plan(rows, plan):
    [finding] = rows["veteran"]["policy_findings"]
    assert finding.startswith("instance hw:wrs:live_migration_timeout: 'soon' is ignored")
    assert finding in rows["veteran"]["notes"]
    # The table is as wide as a terminal.
    assert f"NOTE veteran: {finding}" in " ".join(line.strip() for line in plan["table"])
    assert [row["name"] for row in plan["guests"] if row["policy_findings"]] == ["veteran"]


def test_the_first_is_who_has_the_highest_priority(plan):
    assert plan["guests"][0]["name"] == "promised"


def test_who_wishes_to_stay_blocks_the_drain(rows, plan):
    assert plan["outcome"] == "blocked"
    blocked = [row for row in rows.values() if row["outcome"] == "blocked"]
    assert [(row["name"], row["code"]) for row in blocked] == [("settled", "owner_wishes_to_stay")]
    assert "instance lowtide:wish" in blocked[0]["reason"]


def test_images_are_asked_once_each(plan):
    asked = [call["path"] for call in plan.calls if "/images/" in call["path"]]
    assert len(asked) == len(set(asked)) == 2


def test_each_guest_is_held_to_its_policy(drained, host_of):
    outcomes = {name: row["outcome"] for name, row in drained.items()}
    assert outcomes == {
        "ordinary": "moved",
        "promised": "moved",
        "veteran": "moved",
        "sturdy": "moved",
        "tender": "left",
        "settled": "left",
    }
    assert drained["tender"]["code"] == "timeout"
    assert {name for name in drained if host_of(name) == HOST} == {"tender", "settled"}


def test_only_who_did_not_forbid_it_was_forced(drained, kept):
    actions = {
        event["name"]: event["data"]["action"]
        for event in kept["drained"]["events"]
        if event["kind"] == "timed_out"
    }
    assert actions == {"sturdy": "force_complete", "tender": "abort"}


def test_the_owner_is_told_just_before_the_move(drained, kept):
    kinds = [event["kind"] for event in kept["drained"]["events"] if event["name"] == "veteran"]
    assert kinds[:2] == ["notify", "started"]


def test_the_report_s_rows_still_say_what_held(drained, rows):
    assert drained["tender"]["policy"] == rows["tender"]["policy"]
