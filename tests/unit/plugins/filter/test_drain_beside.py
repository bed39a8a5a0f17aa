# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs beside a drain looks after the guests that move live, and only those."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.lowtide.compute.plugins.filter.drain_beside import (
    drain_clients,
    drain_dirty_rates,
    drain_limits,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Options
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import make_plan
from ansible_collections.lowtide.compute.plugins.module_utils._report.result import plan_result
from tests.unit.support import guest, survey


def plan(*guests):
    """As nova_drain_info returns it."""
    return plan_result(make_plan(survey(*guests), Options()))


def test_limits_are_those_of_each_guests_policy():
    held = guest(
        "held", metadata={"lowtide:max_downtime_ms": "80", "lowtide:bandwidth_mib_s": "50"}
    )
    limits = drain_limits(plan(guest("free"), held))
    assert sorted(limits, key=lambda each: each["id"]) == [
        {"id": "free", "max_downtime_ms": 500, "bandwidth_mib_s": 0},
        {"id": "held", "max_downtime_ms": 80, "bandwidth_mib_s": 50},
    ]


def test_guests_that_do_not_move_live_have_no_limits_and_no_clients():
    stopped = guest("s", vm_state="stopped", power_state="shutdown", addresses=("10.0.0.1",))
    staying = guest("x", metadata={"lowtide:wish": "leave"}, addresses=("10.0.0.2",))
    assert drain_limits(plan(stopped, staying)) == []
    assert drain_clients(plan(stopped, staying)) == []


def test_a_paused_guest_is_held_to_its_limits_but_answers_nobody():
    paused = plan(guest("p", vm_state="paused", power_state="paused", addresses=("10.0.0.1",)))
    assert [each["id"] for each in drain_limits(paused)] == ["p"]
    assert drain_clients(paused) == []


def test_a_client_asks_at_the_first_address_that_fits():
    two = guest("a", addresses=("10.0.0.1", "10.88.0.21", "10.88.0.22"), locked=True)
    none = guest("b", addresses=("10.0.0.2",))
    wanted = {"id": "a", "name": "vm-a", "address": "10.88.0.21"}
    assert drain_clients(plan(two, none), r"^10\.88\.") == [wanted]
    assert {each["address"] for each in drain_clients(plan(two, none))} == {"10.0.0.1", "10.0.0.2"}


def test_a_bad_expression_is_named():
    with pytest.raises(AnsibleFilterError, match=r"'\('"):
        drain_clients(plan(guest()), "(")


def test_what_is_no_plan_is_refused():
    with pytest.raises(AnsibleFilterError, match="drain_limits needs a plan"):
        drain_limits({"failed": True})


def test_only_measured_rates_reach_the_plan():
    domains = [{"id": "a", "dirty_rate_mib_s": 37}, {"id": "b", "dirty_rate_mib_s": None}]
    assert drain_dirty_rates({"domains": domains}) == {"a": 37.0}
    assert drain_dirty_rates({"unreachable": True}) == {}
