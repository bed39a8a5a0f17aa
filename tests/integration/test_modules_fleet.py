# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nova_fleet_info on six hosts in two zones."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCENARIO = Path(__file__).with_name("fleet.yml")
ALL = [f"cmp-{n}" for n in range(1, 7)]


@pytest.fixture(scope="module")
def lab(start_lab, free_port_base):
    """A cloud of its own: nothing here changes it."""
    with start_lab(SCENARIO, free_port_base(27000)) as started:
        yield started


@pytest.fixture(scope="module")
def api(lab, connect):
    return connect(lab)


@pytest.fixture(scope="module")
def seen():
    """What one call returned, shared by the tests below."""
    return {}


@pytest.fixture
def fleet(seen, module):
    if "all" not in seen:
        seen["all"] = module("nova_fleet_info")
    return seen["all"]


def batch_of(fleet):
    return {host: batch["number"] for batch in fleet["batches"] for host in batch["hosts"]}


def test_it_only_reads(fleet):
    assert fleet["changed"] is False
    assert fleet.writes == []


def test_each_host_is_in_one_batch_or_told(fleet):
    drained = [host for batch in fleet["batches"] for host in batch["hosts"]]
    assert sorted(drained + [each["host"] for each in fleet["undrainable"]]) == ALL
    assert fleet["summary"]["guests"] == 17


def test_empty_hosts_go_first(fleet):
    assert set(fleet["batches"][0]["hosts"]) <= {"cmp-3", "cmp-5"}
    assert fleet["batches"][0]["guests"] == 0


def test_members_of_an_anti_affinity_group_are_in_different_batches(fleet):
    assert batch_of(fleet)["cmp-1"] != batch_of(fleet)["cmp-2"]
    both = [set(batch["hosts"]) for batch in fleet["batches"]]
    assert not any({"cmp-1", "cmp-2"} <= hosts for hosts in both)


def test_a_guest_that_fits_nowhere_is_told_with_what_it_is_short_of(fleet):
    (left,) = fleet["undrainable"]
    assert (left["host"], left["code"]) == ("cmp-6", "no_room")
    assert 0 < left["short"]["MEMORY_MB"] < 20480
    assert left["host"] in "\n".join(fleet["table"])


def test_what_guests_need_is_what_placement_says_that_they_hold(module):
    """What is worked out of flavors and images, against the allocations that Nova made."""
    found = module("nova_host_info", host="cmp-1")
    held = {guest["name"]: guest["resources"] for guest in found["guests"]}
    assert held["odd"] == {"VCPU": 3, "MEMORY_MB": 512, "DISK_GB": 1}
    plan = module("nova_fleet_info", hosts=["cmp-1"])
    (batch,) = plan["batches"]
    assert sum(batch["destinations"].values()) == len(held) == 14


def test_a_pinned_guest_stays_in_its_zone(module):
    fleet = module("nova_fleet_info", hosts=["cmp-4"])
    (batch,) = fleet["batches"]
    assert set(batch["destinations"]) <= {"cmp-5", "cmp-6"}


def test_hosts_of_a_zone_and_of_an_aggregate(module):
    east = module("nova_fleet_info", availability_zone="east", max_hosts=3, aggregate_limit="100%")
    assert sorted(batch_of(east)) == ["cmp-1", "cmp-2", "cmp-3"]
    big = module("nova_fleet_info", aggregate="big", max_hosts=3, aggregate_limit="1")
    assert [len(batch["hosts"]) for batch in big["batches"]] == [1, 1]


def test_batches_within_a_zone_and_a_canary(module):
    fleet = module(
        "nova_fleet_info",
        within="availability_zone",
        max_hosts=3,
        aggregate_limit="100%",
        canary=True,
    )
    assert [batch["canary"] for batch in fleet["batches"]][:2] == [True, False]
    for batch in fleet["batches"]:
        assert set(batch["hosts"]) <= set(ALL[:3]) or set(batch["hosts"]) <= set(ALL[3:])


def test_what_is_left_of_a_host_that_is_disabled_is_no_room(module, lab, api):
    service = next(api.compute.services(binary="nova-compute", host="cmp-5"))
    api.compute.disable_service(service)
    try:
        fleet = module("nova_fleet_info", hosts=["cmp-4", "cmp-6"], aggregate_limit="1")
        assert all("cmp-5" not in batch["destinations"] for batch in fleet["batches"])
    finally:
        api.compute.enable_service(service)


def test_the_number_of_calls_does_not_grow_with_hosts_or_guests(module, fleet):
    """One page of guests, and the second page of groups, which says that there are no more."""
    one = module("nova_fleet_info", hosts=["cmp-3"])

    def paths(outcome):
        return sorted(call["path"].partition("?")[0] for call in outcome.calls)

    assert paths(one) == paths(fleet)
    asked = [path.rpartition("/")[2] for path in paths(fleet)]
    for listed in ("os-aggregates", "os-services", "allocation_candidates"):
        assert asked.count(listed) == 1
    assert len([path for path in paths(fleet) if path.endswith("/servers/detail")]) == 1
    assert len(fleet.calls) <= 16


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ({"hosts": ["cmp-9"]}, "not_found", "cmp-9"),
        ({"hosts": ["cmp-*"]}, "bad_option", "hosts"),
        ({"aggregate": "bog"}, "not_found", "big"),
        ({"availability_zone": "north"}, "not_found", "north"),
        ({"max_hosts": 0}, "bad_option", "max_hosts"),
        ({"aggregate_limit": "some"}, "bad_option", "aggregate_limit"),
        ({"within": "fault_domain"}, "bad_option", "fault_domains"),
    ],
)
def test_bad_input_is_named_with_a_remedy(failing, options, code, said):
    outcome = failing("nova_fleet_info", **options)
    assert outcome["code"] == code
    assert said in outcome["msg"]
    assert outcome["remedy"]


def test_two_ways_to_choose_hosts_are_one_too_many(failing):
    outcome = failing("nova_fleet_info", hosts=["cmp-1"], aggregate="big")
    assert "mutually exclusive" in outcome["msg"]


def test_the_playbook_prints_the_batches(lab):
    command = [
        *("ansible-playbook", "lowtide.compute.fleet_plan"),
        *("-e", "os_cloud=lab", "-e", "fleet_max_hosts=3", "-e", '{"fleet_hosts": ["cmp-3"]}'),
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
    environment["OS_CLIENT_CONFIG_FILE"] = str(lab.clouds_file)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 host, 0 guests: 1 batch" in done.stdout
    assert "1      cmp-3  0       0s" in done.stdout
    assert "changed=0" in done.stdout
