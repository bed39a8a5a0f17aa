# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pre-flight said before the first guest moved came true."""

from __future__ import annotations

import json
import os
from pathlib import Path

import openstack
import pytest

REPORTS = Path(os.environ["REPORT_DIR"])
HOST, STAYS = "cmp-1", "pages-too-many"


def said(name: str) -> dict:
    """A result that the play kept."""
    return json.loads((REPORTS / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def cloud():
    return openstack.connect(compute_default_microversion="2.96")


@pytest.fixture(scope="session")
def guests(cloud):
    """Every guest of the cloud, by name."""
    return {server.name: server for server in cloud.compute.servers(all_projects=True)}


@pytest.fixture(scope="session")
def planned():
    """Name -> host that the plan named."""
    return {row["name"]: row["to"] for row in said("plan")["guests"] if row["name"] != STAYS}


@pytest.fixture(scope="session")
def verdicts():
    """(guest's name, host) -> the verdict of numa_check."""
    return {(row["guest"], row["host"]): row for row in said("numa_check")["verdicts"]}


def test_every_guest_is_where_the_plan_said(guests, planned):
    assert len(planned) == 11
    assert {name: guests[name].compute_host for name in planned} == planned


def test_nova_refused_nothing_on_the_way(cloud, guests, planned):
    answer = cloud.compute.get(f"/os-migrations?source_compute={HOST}", microversion="2.80")
    rows = answer.json()["migrations"]
    assert {row["status"] for row in rows} == {"completed"}
    assert {row["instance_uuid"] for row in rows} == {guests[name].id for name in planned}


def test_no_guest_went_where_it_did_not_fit(guests, planned, verdicts):
    went = {name: verdicts[name, guests[name].compute_host]["result"] for name in planned}
    assert went == dict.fromkeys(planned, "fit")


def test_the_guest_that_fits_nowhere_was_told_of_and_left_alone(guests, verdicts):
    found = {
        host: (v["result"], v["code"]) for (name, host), v in verdicts.items() if name == STAYS
    }
    assert found == dict.fromkeys(
        ["cmp-2", "cmp-3", "cmp-4", "cmp-5", "cmp-6"], ("no_fit", "page_size")
    )
    assert (guests[STAYS].compute_host, guests[STAYS].status) == (HOST, "ACTIVE")
    assert said("numa_check")["msg"].startswith("1 of 12 guests do not fit: pages-too-many ")


def test_six_cpus_of_one_cell_fit_only_hosts_that_have_them(verdicts):
    found = {host: v["result"] for (name, host), v in verdicts.items() if name == "pinned-six"}
    assert found == {
        "cmp-2": "no_fit",
        "cmp-3": "no_fit",
        "cmp-4": "no_fit",
        "cmp-5": "fit",
        "cmp-6": "fit",
    }


def test_what_blocks_a_host_is_said_when_two_are_planned():
    told = said("two_hosts")
    assert [(row["name"], row["code"]) for row in told["blockers"]] == [(STAYS, "incompatible")]
    assert told["hosts"] == [HOST, "cmp-3"]
    assert [turn["host"] for turn in told["together"]] == [HOST, "cmp-3"]
