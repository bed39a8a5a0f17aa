# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""cmp-1 is empty, by every witness, and nothing was lost on the way."""

from __future__ import annotations

import json

import pytest

HOST = "cmp-1"
STATUS = {"shutoff": "SHUTOFF", "paused": "PAUSED"}


def test_nova_lists_no_guest_on_the_host(guests):
    assert [name for name, guest in guests.items() if guest.compute_host == HOST] == []


def test_placement_holds_no_allocation_on_the_host(cloud):
    provider = next(cloud.placement.resource_providers(name=HOST))
    answer = cloud.placement.get(
        f"/resource_providers/{provider.id}/allocations", microversion="1.39"
    )
    assert answer.json()["allocations"] == {}


def test_no_guest_is_lost_and_each_has_its_state(guests, planned):
    expected = {name: STATUS.get(g.get("state", ""), "ACTIVE") for name, g in planned.items()}
    assert {name: guest.status for name, guest in guests.items()} == expected


def test_no_guest_is_busy(guests):
    assert {name: guest.task_state for name, guest in guests.items() if guest.task_state} == {}


def test_each_guest_has_a_domain_on_exactly_the_host_that_nova_says(guests, domains):
    said = {guest.id: [guest.compute_host] for guest in guests.values()}
    assert {guest: [host for host, _state in where] for guest, where in domains.items()} == said


def test_ports_are_bound_once_and_where_the_guest_is(cloud, guests):
    hosts = {guest.id: guest.compute_host for guest in guests.values()}
    for port in cloud.network.ports():
        bindings = [(b.host, b.status) for b in cloud.network.port_bindings(port.id)]
        assert bindings == [(hosts[port.device_id], "ACTIVE")]


def test_the_service_is_disabled_with_our_mark(cloud):
    service = next(cloud.compute.services(host=HOST, binary="nova-compute"))
    assert service.status == "disabled"
    assert service.disabled_reason.startswith("lowtide:")


@pytest.fixture
def reports(host, report_dir):
    """Every JSON report that was written, oldest first."""
    names = host.check_output("find %s -name '*.json' | sort", report_dir).split()
    return [json.loads(host.file(name).content_string) for name in names]


def test_the_last_report_says_what_happened(reports):
    assert reports, "no report was written"
    last = reports[-1]
    assert last["host"] == HOST
    assert {guest["outcome"] for guest in last["guests"]} <= {"moved", "gone"}


def test_no_half_written_report_is_left(host, report_dir):
    names = host.check_output("ls -A %s", report_dir).split()
    assert all(name.endswith((".json", ".md")) for name in names)
