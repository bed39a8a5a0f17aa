# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nova_host_info and nova_drain_info: everything that is on a host, whatever lists hide of it."""

from __future__ import annotations

import pytest


def by_name(rows):
    return {row["name"]: row for row in rows}


@pytest.fixture(scope="module")
def seen():
    """What one call of each module returned, shared by the tests below."""
    return {}


@pytest.fixture
def host_info(seen, module):
    if "host" not in seen:
        seen["host"] = module("nova_host_info", host="cmp-2")
    return seen["host"]


@pytest.fixture
def drain_info(seen, module):
    if "drain" not in seen:
        seen["drain"] = module("nova_drain_info", host="cmp-2")
    return seen["drain"]


def test_it_only_reads(host_info, drain_info):
    assert host_info["changed"] is drain_info["changed"] is False
    assert host_info.writes == drain_info.writes == []
    assert host_info.calls
    assert drain_info.calls


def test_the_service_is_described(host_info):
    service = host_info["service"]
    assert service["host"] == "cmp-2"
    assert (service["status"], service["state"], service["owner"]) == ("enabled", "up", "")


def test_a_soft_deleted_guest_is_found_though_lists_hide_it(host_info):
    assert by_name(host_info["guests"])["trashed"]["vm_state"] == "soft-delete"


def test_a_resize_from_here_is_found_though_its_guest_is_elsewhere(host_info):
    (migration,) = host_info["unconfirmed"]
    guest = by_name(host_info["guests"])["resized"]
    assert migration["guest_id"] == guest["id"]
    assert migration["source"] == "cmp-2"
    assert guest["host"] == migration["destination"] == "cmp-3"


def test_a_guest_in_error_is_asked_for_its_life(host_info):
    broken = by_name(host_info["guests"])["broken"]
    assert broken["vm_state"] == "error"
    assert broken["alive"] is True


def test_a_group_tells_where_its_other_members_are(host_info):
    (group,) = host_info["groups"]
    assert group["name"] == "apart"
    assert sorted(group["members"].values()) == ["cmp-2", "cmp-3"]
    assert by_name(host_info["guests"])["apart-1"]["group"] == group["id"]


def test_placement_and_neutron_are_asked(host_info):
    guest = by_name(host_info["guests"])["apart-1"]
    assert guest["resources"] == {"VCPU": 1, "MEMORY_MB": 1024, "DISK_GB": 1}
    assert [port["vnic_type"] for port in guest["ports"]] == ["normal"]
    assert host_info["unknown_consumers"] == []


def test_the_plan_judges_every_guest_and_says_what_to_do(drain_info):
    guests = by_name(drain_info["guests"])
    assert drain_info["outcome"] == "blocked"
    assert {name: row["code"] for name, row in guests.items() if row["outcome"] == "blocked"} == {
        "broken": "error_guest_alive",
        "resized": "resize_source_here",
        "sleepy": "suspended",
        "trashed": "soft_deleted",
    }
    assert all(row["remedy"] for row in guests.values() if row["outcome"] == "blocked")
    assert guests["apart-1"]["method"] == "live"
    assert drain_info["table"][0].startswith("[cmp-2]")


def test_options_change_the_plan(module):
    plan = module(
        "nova_drain_info",
        host="cmp-2",
        confirm_resizes=True,
        reset_error_state=True,
        exclude={"names": ["sleepy", "trashed"]},
    )
    guests = by_name(plan["guests"])
    assert plan["outcome"] == "planned"
    assert plan["summary"]["excluded"] == 2
    assert guests["resized"]["method"] == "confirm"
    assert guests["broken"]["method"] == "recover"


def test_calls_do_not_grow_with_the_guests(module):
    """cmp-3 has guests, cmp-4 none: the difference is the shares of each, where the cloud has a
    service for shares, their one image, the second page of server groups, and one question to
    Placement for each kind of request."""
    many = module("nova_host_info", host="cmp-3")
    none = module("nova_host_info", host="cmp-4")

    def fixed(outcome):
        return [
            call
            for call in outcome.calls
            if call["service"] != "image"
            and not call["path"].endswith("/shares")
            and not offers(call)
        ]

    def offers(call):
        # The one for memory alone is for the rooms.
        return "/allocation_candidates" in call["path"] and "CPU" in call["path"]

    asked = [call["path"] for call in many.calls if offers(call)]
    assert len(asked) == len(set(asked))
    assert len(fixed(many)) - len(fixed(none)) <= 2
    assert len(fixed(many)) <= 20
    assert len([call for call in many.calls if "/images/" in call["path"]]) == 1
