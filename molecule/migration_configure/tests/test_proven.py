# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What migration_configure left, and what migration_verify found, on hosts with real guests."""

from __future__ import annotations

import json
import os
from pathlib import Path

import openstack
import pytest
import testinfra

INVENTORY = Path(os.environ["LAB_STATE"]) / "inventory.yml"
REPORTS = Path(os.environ["REPORT_DIR"])
HOSTS = {"cmp-1": "10.78.0.11", "cmp-2": "10.78.0.12"}


@pytest.fixture(params=sorted(HOSTS))
def machine(request):
    url = f"ansible://{request.param}?ansible_inventory={INVENTORY}"
    found = testinfra.get_host(url)
    found.told = request.param
    return found


@pytest.fixture(scope="session")
def cloud():
    return openstack.connect(cloud="lab")


def test_the_network_carries_migrations_in_large_packets(machine):
    link = json.loads(machine.check_output("ip -json address show dev mig"))[0]
    assert link["mtu"] == 9000
    assert HOSTS[machine.told] in [each["local"] for each in link["addr_info"]]


def test_nova_receives_guests_there(machine):
    text = machine.check_output("cat /etc/nova/nova.conf.d/90-lowtide-migration.conf")
    assert f"live_migration_inbound_addr = {HOSTS[machine.told]}" in text


def test_the_network_was_proven_between_the_hosts():
    report = json.loads((REPORTS / "network.json").read_text())
    assert report["ok"] is True
    assert {(path["from"], path["to"]) for path in report["paths"]} == {
        ("cmp-1", "cmp-2"),
        ("cmp-2", "cmp-1"),
    }


def test_the_policies_were_audited(cloud):
    report = json.loads((REPORTS / "audit.json").read_text())
    guest = next(each for each in report["guests"] if each["name"] == "resident")
    assert guest["policy"]["max_downtime_ms"]["value"] == 400
    namespaces = cloud.image.get("/metadefs/namespaces").json()["namespaces"]
    assert "Lowtide::Compute::Migration" in [each["namespace"] for each in namespaces]


def test_a_guest_went_around_the_ring_and_is_gone(cloud):
    """Both ways, and nothing of it is left."""
    ring = json.loads((REPORTS / "ring.json").read_text())
    assert [(hop["from"], hop["to"], hop["outcome"]) for hop in ring] == [
        ("cmp-1", "cmp-2", "passed"),
        ("cmp-2", "cmp-1", "passed"),
    ]
    names = [server.name for server in cloud.compute.servers(all_projects=True)]
    assert names == ["resident"]
