# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pre-flight as rows and as a table: what comes first, how wide it is, what is cut."""

from __future__ import annotations

from dataclasses import replace

import yaml

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner import preflight_model as pm
from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight_turns import Turn
from ansible_collections.lowtide.compute.plugins.module_utils._report import preflight
from ansible_collections.lowtide.compute.plugins.modules import nova_drain_info
from tests.unit.plugins.module_utils._report.builders import entry, plan

LONG = "and so it goes on, " * 20
FOUND = pm.Preflight(
    (
        pm.Blocker(
            "suspended", "suspended: " + LONG, "resume it", "Nova: api.py", "id-vm-s", "vm-s"
        ),
    ),
    (
        pm.Caution("sriov_link_loss", "no link", "bond it", "Nova: driver.py", {"id-vm-a": "vm-a"}),
        pm.Caution("tunnelled", "slow", "unset it", "Nova: conf"),
    ),
    (pm.Unseen("cap_of_one", "nova.conf of the host", "Nova: conf"),),
)
PLAN = plan(entry(), entry("vm-s", m.BLOCKED, "suspended", reason="suspended", remedy="resume it"))


def returned():
    return yaml.safe_load(nova_drain_info.RETURN)


def first(lines, word):
    return next(number for number, line in enumerate(lines) if word in line)


def test_the_table_says_first_what_matters_first():
    lines = preflight.preflight_lines(PLAN, FOUND, m.Options())
    order = [first(lines, word) for word in ("[cmp-3]", "BLOCKED", "CAUTION", "NOT SEEN", "guest ")]
    assert order == sorted(order)
    assert max(map(len, lines)) <= preflight.WIDTH
    text = "\n".join(lines)
    assert "CAUTION vm-a: no link" in text
    assert "CAUTION slow" in text
    assert "rule: suspended (Nova: api.py)" in text
    assert "NOT SEEN nova.conf of the host, so not checked: cap_of_one" in text


def test_a_note_is_told_once_with_all_whom_it_concerns():
    moving = plan(entry(notes=("locked", "paused")), entry("vm-b", notes=("locked",)))
    lines = preflight.preflight_lines(moving, pm.Preflight(), m.Options())
    assert lines[-2:] == ["  NOTE vm-a, vm-b: locked", "  NOTE vm-a: paused"]


def test_it_shows_what_the_estimates_rest_upon():
    moving = plan(entry(), entry("vm-b"))
    options = m.Options(dirty_rates={"id-vm-a": 12.4}, bandwidth_mib_s=500.0, max_parallel=2)
    lines = preflight.preflight_lines(moving, pm.Preflight(), options)
    assert lines[2].split() == "vm-a active live scheduler 10s 2.0 GiB 12 MiB/s".split()
    assert lines[3].split()[-1] == "?"
    assert "500 MiB/s on the wire" in lines[4]
    assert "measured of 1 of 2" in " ".join(lines)
    (row, other) = preflight.estimate_rows(moving, options)
    assert (row["link_mib_s"], row["dirty_rate_mib_s"]) == (500.0, 12.4)
    assert other["dirty_rate_mib_s"] is None
    assert set(row) == set(returned()["estimates"]["contains"])


def test_a_guest_s_policy_may_take_less_of_the_link():
    slow = replace(entry(), policy=m.Policy(bandwidth_mib_s=100))
    (row,) = preflight.estimate_rows(plan(slow), m.Options())
    assert row["link_mib_s"] == 100
    assert "(1 by their policies less)" in " ".join(
        preflight.preflight_lines(plan(slow), pm.Preflight(), m.Options())
    )


def test_a_plan_with_destinations_shows_them():
    placed = replace(entry(), placed="cmp-7")
    for options, to in (
        (m.Options(destinations="planned"), "cmp-7"),
        (m.Options(), "scheduler"),
    ):
        lines = preflight.preflight_lines(plan(placed), pm.Preflight(), options)
        assert lines[2].split()[3] == to


def test_it_fits_a_screen_however_many_guests_there_are():
    many = plan(*(entry(f"guest-with-a-name-that-is-too-long-{n}") for n in range(200)))
    lines = preflight.preflight_lines(many, pm.Preflight(), m.Options())
    assert len(lines) < 40
    assert max(map(len, lines)) <= preflight.WIDTH
    assert "  and 170 more, in the result's `guests`" in lines


def test_an_empty_host_is_one_line():
    lines = preflight.preflight_lines(plan(seconds=0), pm.Preflight(), m.Options())
    assert lines == ["[cmp-3] no guests: nothing to move"]


def test_rows_are_as_return_says():
    rows = preflight.found_rows(FOUND, "cmp-3")
    for name, listed in rows.items():
        assert all(set(row) == set(returned()[name]["contains"]) for row in listed), name
    assert rows["cautions"][0]["guests"] == ["vm-a"]
    assert rows["cautions"][0]["ids"] == ["id-vm-a"]


def test_a_host_that_is_down_is_blocked_though_no_guest_is():
    down = pm.Preflight((pm.Blocker("host_down", "down", "start it", "Nova: x"),))
    result = preflight.preflight_result(plan(entry()), down, m.Options())
    assert result["outcome"] == "blocked"
    assert set(result) <= set(returned())
    assert "  BLOCKED down" in result["table"]


def fleet():
    one = preflight.preflight_result(PLAN, FOUND, m.Options())
    other = {**preflight.preflight_result(plan(entry()), replace(FOUND, blockers=()), m.Options())}
    there = m.Plan(m.Scope("cmp-4"), (entry(),), 10.0, 5, fits=False)
    for row in ("cautions", "not_seen"):
        other[row] = [each | {"host": "cmp-4"} for each in other[row]]
    turns = (Turn(PLAN), Turn(there, (entry().guest,)))
    return preflight.fleet_result([one, other | {"host": "cmp-4"}], turns)


def test_several_hosts_are_summed_up():
    result = fleet()
    assert result["hosts"] == ["cmp-3", "cmp-4"]
    assert (result["outcome"], result["fits"]) == ("blocked", False)
    assert result["summary"]["total"] == 3
    assert result["predicted_seconds"] == 30.0
    assert [len(result[name]) for name in ("blockers", "cautions", "not_seen")] == [1, 4, 2]
    assert result["together"][1]["arrivals"] == ["id-vm-a"]
    assert "do NOT fit" in result["msg"]
    assert set(result) <= set(returned())
    assert all(set(row) == set(returned()["together"]["contains"]) for row in result["together"])


def test_what_is_the_same_of_several_hosts_is_said_once():
    lines = fleet()["table"]
    assert max(map(len, lines)) <= preflight.WIDTH
    assert [line for line in lines if "slow" in line] == ["  CAUTION cmp-3, cmp-4: slow"]
    assert any("NOT SEEN nova.conf of the host (cmp-3, cmp-4)" in line for line in lines)
    assert any(line.startswith("  BLOCKED cmp-3: vm-s") for line in lines)
    assert lines[3].split()[0] == "cmp-4"
    assert lines[3].endswith("0 cannot go, 1 came")


def test_a_plan_s_result_gains_what_to_beware_of():
    result = preflight.with_cautions({"host": "cmp-3", "table": ["[cmp-3] plan"]}, FOUND)
    assert [row["code"] for row in result["cautions"]] == ["sriov_link_loss", "tunnelled"]
    assert result["table"][0] == "[cmp-3] plan"
    assert "blockers" not in result
    assert not any("BLOCKED" in line for line in result["table"])
