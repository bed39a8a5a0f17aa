# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""numa_check: what it says of guests and hosts, and that Nova does what it said.

The cloud is numa.yml. What numa_info would read on a hypervisor comes from Nova's own records.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

SCENARIO = Path(__file__).with_name("numa.yml")
FIRST_PORT_BASE = 36000
MOVE_SECONDS = 120


@pytest.fixture(scope="module")
def lab(start_lab, free_port_base):
    with start_lab(SCENARIO, free_port_base(FIRST_PORT_BASE)) as started:
        yield started


@pytest.fixture(scope="module")
def api(lab, connect):
    return connect(lab)


@pytest.fixture
def topologies(lab):
    return json.loads(lab.command("topology", "--json"))


def verdicts(outcome):
    return {(row["guest"], row["host"]): row for row in outcome["verdicts"]}


def test_it_says_where_each_guest_of_a_host_can_go_and_only_reads(failing, topologies):
    outcome = failing("numa_check", source="cmp-1", topologies=topologies, require="all")
    assert outcome.writes == []
    assert outcome["code"] == "does_not_fit"
    rows = verdicts(outcome)
    assert set(rows) == {(g, h) for g in ("mover", "pages", "floating") for h in ("cmp-2", "cmp-3")}
    assert {pair for pair, row in rows.items() if row["result"] == "no_fit"} == {("mover", "cmp-2")}
    refused = rows["mover", "cmp-2"]
    assert (refused["code"], refused["seen"]) == ("dedicated_cpus", "hypervisor")
    assert "mover (cmp-2: no_fit dedicated_cpus" in outcome["msg"]
    assert rows["pages", "cmp-2"]["cells"][0]["page_size_kib"] == 2048
    assert outcome["table"][0].split() == ["guest", "cmp-2", "cmp-3"]


def test_the_apis_alone_do_not_know_of_cells(module, failing):
    alone = {"guests": [{"name": "mover"}], "hosts": ["cmp-2"]}
    outcome = failing("numa_check", **alone)
    (row,) = outcome["verdicts"]
    assert (row["result"], row["code"], row["seen"]) == ("unknown", "unseen", "api")
    assert "numa_info" in outcome["msg"]
    pinned = {cell["cell"]: len(cell["pinned_cpus"]) for cell in outcome["hosts"][0]["occupied"]}
    assert sorted(pinned.values()) == [2, 3]
    tolerated = module("numa_check", **alone, affinity="best_effort")
    assert tolerated["holds"] is True
    assert any("mover on cmp-2: unknown" in str(warning) for warning in tolerated["warnings"])


def test_the_apis_alone_know_of_too_few_cpus(failing):
    guests = [{"name": "mover"}, {"flavor": "pinned-2"}]
    wanted = {"guests": guests, "hosts": ["cmp-2"], "affinity": "best_effort", "together": True}
    outcome = failing("numa_check", **wanted)
    row = verdicts(outcome)["pinned-2", "cmp-2"]
    assert (row["result"], row["code"], row["seen"]) == ("no_fit", "dedicated_cpus", "api")
    assert "0 PCPU are free in Placement, 2 needed" in row["reason"]


def test_a_guest_is_where_it_is(module, topologies):
    named = {"guests": [{"name": "mover"}], "hosts": ["cmp-1"], "topologies": topologies}
    (row,) = module("numa_check", **named)["verdicts"]
    assert (row["result"], row["code"]) == ("fit", "here")
    assert len(row["cells"][0]["pinning"]) == 3


def test_together_guests_leave_less_to_one_another(failing, module, topologies):
    one = {"guests": [{"flavor": "pinned-3"}] * 2, "topologies": topologies}
    assert module("numa_check", **one, hosts=["cmp-3"], together=True)["holds"] is True
    three = {**one, "guests": [{"flavor": "pinned-3"}] * 3}
    assert module("numa_check", **three, hosts=["cmp-3"])["holds"] is True
    outcome = failing("numa_check", **three, hosts=["cmp-3"], together=True)
    assert [guest["holds"] for guest in outcome["guests"]].count(False) == 1


def test_pages_of_a_flavor_are_counted(failing, topologies):
    wanted = {"guests": [{"flavor": "paged-large"}], "topologies": topologies}
    outcome = failing("numa_check", **wanted, require="all")
    assert {row["code"] for row in outcome["verdicts"]} <= {"page_size", "memory"}
    assert {row["result"] for row in outcome["verdicts"]} == {"no_fit"}


@pytest.mark.parametrize(
    ("guest", "said"),
    [
        ({"flavor": "lopsided"}, ("lopsided", "hw:numa_nodes", "2")),
        ({"flavor": "unpinned", "image": "pinned-image"}, ("unpinned+pinned-image", "cpu_policy")),
        ({"flavor": "nothing"}, ("'nothing'",)),
        ({"flavor": "plain", "image": "nothing"}, ("'nothing'",)),
        ({"name": "nobody"}, ("'nobody'",)),
        ({"id": "nobody"}, ("'nobody'",)),
    ],
)
def test_a_guest_that_makes_no_sense_is_named(failing, guest, said):
    outcome = failing("numa_check", guests=[guest])
    assert outcome["code"] in ("bad_option", "not_found")
    for words in said:
        assert words in outcome["msg"]


def test_a_guest_with_a_flavor_that_nova_would_not_take_fits_nowhere(failing, topologies):
    wanted = {"guests": [{"name": "odd"}, {"name": "mover"}], "topologies": topologies}
    outcome = failing("numa_check", **wanted)
    rows = verdicts(outcome)
    assert {row["code"] for (guest, _h), row in rows.items() if guest == "odd"} == {"bad_request"}
    assert "hw:numa_nodes" in outcome["msg"]
    assert [guest["holds"] for guest in outcome["guests"]] == [False, True]


def test_a_topology_that_is_none_is_refused(failing, topologies):
    swapped = {"cmp-2": topologies["cmp-3"]}
    outcome = failing("numa_check", source="cmp-1", topologies=swapped)
    assert outcome["code"] == "bad_option"
    assert "topologies.cmp-2" in outcome["msg"]
    assert "that of cmp-3" in outcome["msg"]
    assert outcome.calls == []


def test_who_is_no_administrator_is_told(run_module):
    outcome = run_module("numa_check", cloud="lab-member", source="cmp-1")
    assert outcome["failed"]
    assert outcome["code"] == "unauthorized"
    assert "lab-member" in outcome["msg"]


def migrate(api, server, host):
    """Ask for a live migration to ``host``; where the guest is when that is over."""
    body = {"os-migrateLive": {"host": host, "block_migration": "auto"}}
    path = f"/servers/{server('mover').id}/action"
    assert api.compute.post(path, json=body, microversion="2.68").status_code == 202
    ends = time.monotonic() + MOVE_SECONDS
    while time.monotonic() < ends:
        time.sleep(0.5)
        found = server("mover")
        if found.status != "MIGRATING" and not found.task_state:
            return found.compute_host
    raise AssertionError(f"mover did not come to rest within {MOVE_SECONDS} s")


def test_nova_does_what_was_said(api, server, module, failing, topologies):
    """Last: it moves the guest."""
    wanted = {"guests": [{"name": "mover"}], "topologies": topologies}
    assert failing("numa_check", **wanted, hosts=["cmp-2"])["verdicts"][0]["result"] == "no_fit"
    (said,) = module("numa_check", **wanted, hosts=["cmp-3"])["verdicts"]
    assert migrate(api, server, "cmp-2") == "cmp-1"
    assert migrate(api, server, "cmp-3") == "cmp-3"
    path = f"/servers/{server('mover').id}/topology"
    (node,) = api.compute.get(path, microversion="2.78").json()["nodes"]
    (cell,) = said["cells"]
    assert node["host_node"] == cell["host_cell"]
    # Which of a cell's free CPUs hangs on the order in which Nova happens to hold its cores.
    assert node["cpu_pinning"].keys() == cell["pinning"].keys()
    dedicated = topologies["cmp-3"]["cells"][cell["host_cell"]]["dedicated_cpus"]
    assert set(node["cpu_pinning"].values()) <= set(dedicated)
