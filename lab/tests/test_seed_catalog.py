# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What guests are made of: made once, by name, on a modelled cloud."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from lab import scenario, seed_catalog


class ModelService:
    """A service whose collections are lists: `things()` lists, `create_thing()` appends."""

    def __init__(self, **states):
        self.rows: dict[str, list] = {}
        self.states = states
        self.calls: list[str] = []

    def __getattr__(self, name):
        if name.startswith("create_flavor_extra"):
            return self._add_specs
        if name.startswith("create_"):
            return lambda **body: self._create(name.removeprefix("create_"), body)
        return lambda: list(self.rows.get(name.removesuffix("s"), ()))

    def _create(self, kind, body):
        self.calls.append(f"create {kind} {body['name']}")
        row = SimpleNamespace(id=f"id of {body['name']}", **self.states, **body)
        self.rows.setdefault(kind, []).append(row)
        return row

    def _add_specs(self, flavor, specs):
        self.calls.append(f"specs {flavor.name}")
        flavor.extra_specs = specs

    def add_host_to_aggregate(self, number, host):
        self.calls.append(f"add {host}")
        (row,) = [row for row in self.rows["aggregate"] if row.id == number]
        row.hosts = [*(row.hosts or []), host]
        return row


class ModelCloud:
    def __init__(self, volume_status="available"):
        self.compute = ModelService(hosts=None)
        self.network = ModelService()
        self.image = ModelService()
        self.block_storage = ModelService(status=volume_status)

    @property
    def calls(self):
        services = (self.compute, self.network, self.image, self.block_storage)
        return [call for service in services for call in service.calls]


def build(cloud, scene):
    with ThreadPoolExecutor(2) as pool:
        return seed_catalog.build(cloud, scene, pool)


@pytest.fixture(name="states")
def fixture_states():
    return scenario.load(scenario.shipped("states"))


def test_everything_is_made_and_found_by_name(states):
    cloud = ModelCloud()
    catalog = build(cloud, states)
    assert set(catalog.flavors) == {flavor.name for flavor in states.flavors}
    assert set(catalog.volumes) == {volume.name for volume in states.volumes}
    assert catalog.groups["together"] == "id of together"
    assert cloud.compute.rows["aggregate"][0].availability_zone == "edge"
    assert cloud.compute.rows["aggregate"][0].hosts == ["cmp-1"]
    (fast,) = [row for row in cloud.network.rows["network"] if row.name == "fast"]
    assert fast.provider_physical_network == seed_catalog.SRIOV_PHYSICAL_NETWORK
    (root,) = [r for r in cloud.block_storage.rows["volume"] if r.name == "volume-backed-root"]
    assert root.image_id == catalog.images["cirros"]


def test_making_it_again_makes_nothing(states):
    cloud = ModelCloud()
    build(cloud, states)
    before = cloud.calls
    build(cloud, states)
    assert cloud.calls == before


def test_rules_of_a_group_are_numbers():
    cloud = ModelCloud()
    build(cloud, scenario.load(scenario.shipped("demo")))
    (quorum,) = [row for row in cloud.compute.rows["server_group"] if row.name == "quorum"]
    assert quorum.rules == {"max_server_per_host": 2}


def test_a_volume_in_error_is_named(states):
    with pytest.raises(seed_catalog.SeedError, match=r"volume-backed-root \(error\)"):
        build(ModelCloud(volume_status="error"), states)
