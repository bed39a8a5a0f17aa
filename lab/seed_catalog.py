# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Creates what a scenario's guests are made of: flavors, images, networks, volumes, groups."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from lab.backend import LabError
from lab.scenario import Host, Scenario, Volume

SRIOV_PHYSICAL_NETWORK = "physnet1"
VOLUME_SECONDS = 120.0


class SeedError(LabError):
    """The population is not what the scenario asks for; the text names what is missing."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Identifiers of what guests are made of, by name."""

    flavors: dict[str, str]
    images: dict[str, str]
    networks: dict[str, str]
    volumes: dict[str, str]
    groups: dict[str, str]


def build(connection: Any, scenario: Scenario, pool: ThreadPoolExecutor) -> Catalog:
    """Create whatever is missing, the independent kinds side by side.

    Raises SeedError for a volume that does not become available.
    """
    ensure_aggregates(connection, scenario.hosts)
    images = pool.submit(_ensure_images, connection, scenario)
    flavors = pool.submit(ensure_flavors, connection, scenario)
    networks = pool.submit(_ensure_networks, connection, scenario)
    groups = pool.submit(ensure_groups, connection, scenario)
    volumes = _ensure_volumes(connection, scenario.volumes, images.result(), pool)
    return Catalog(flavors.result(), images.result(), networks.result(), volumes, groups.result())


def ensure_aggregates(connection: Any, hosts: Iterable[Host]) -> None:
    """Create the hosts' aggregates and zones, and put the hosts there."""
    known = {aggregate.name: aggregate for aggregate in connection.compute.aggregates()}
    for host in hosts:
        name = host.aggregate or host.availability_zone
        if name is None:
            continue
        if name not in known:
            attributes = {"name": name}
            if host.availability_zone is not None:
                attributes["availability_zone"] = host.availability_zone
            known[name] = connection.compute.create_aggregate(**attributes)
        if host.name not in (known[name].hosts or []):
            known[name] = connection.compute.add_host_to_aggregate(known[name].id, host.name)


def _ensure_images(connection: Any, scenario: Scenario) -> dict[str, str]:
    known = {image.name: image.id for image in connection.image.images()}
    for image in scenario.images:
        if image.name not in known:
            made = connection.image.create_image(
                name=image.name,
                disk_format="raw",
                container_format="bare",
                visibility="public",
                data=bytes(image.size_mib * 1024 * 1024),
                **image.properties,
            )
            known[image.name] = made.id
    return known


def ensure_flavors(connection: Any, scenario: Scenario) -> dict[str, str]:
    """Create what is missing of the flavors and return the identifiers of all, by name."""
    known = {flavor.name: flavor.id for flavor in connection.compute.flavors()}
    for flavor in scenario.flavors:
        if flavor.name not in known:
            made = connection.compute.create_flavor(
                name=flavor.name, vcpus=flavor.vcpus, ram=flavor.ram_mib, disk=flavor.disk_gib
            )
            if flavor.extra_specs:
                connection.compute.create_flavor_extra_specs(made, dict(flavor.extra_specs))
            known[flavor.name] = made.id
    return known


def _ensure_networks(connection: Any, scenario: Scenario) -> dict[str, str]:
    known = {network.name: network.id for network in connection.network.networks()}
    for network in scenario.networks:
        if network.name in known:
            continue
        provider = {}
        if network.sriov:
            provider["provider_network_type"] = "vlan"
            provider["provider_physical_network"] = SRIOV_PHYSICAL_NETWORK
        made = connection.network.create_network(name=network.name, **provider)
        connection.network.create_subnet(
            network_id=made.id, name=network.name, ip_version=4, cidr=network.cidr,
            enable_dhcp=False,
        )  # fmt: skip
        known[network.name] = made.id
    return known


def ensure_groups(connection: Any, scenario: Scenario) -> dict[str, str]:
    """Create what is missing of the server groups and return the identifiers, by name."""
    known = {group.name: group.id for group in connection.compute.server_groups()}
    for group in scenario.server_groups:
        if group.name not in known:
            attributes: dict[str, Any] = {"name": group.name, "policy": group.policy}
            if group.rules:
                attributes["rules"] = {key: int(value) for key, value in group.rules.items()}
            known[group.name] = connection.compute.create_server_group(**attributes).id
    return known


def _ensure_volumes(
    connection: Any, volumes: Iterable[Volume], images: dict[str, str], pool: ThreadPoolExecutor
) -> dict[str, str]:
    wanted = {volume.name: volume for volume in volumes}
    if not wanted:
        return {}
    known = {volume.name: volume.id for volume in connection.block_storage.volumes()}
    missing = [volume for name, volume in wanted.items() if name not in known]

    def create(volume: Volume) -> None:
        image = {"image_id": images[volume.image]} if volume.image else {}
        connection.block_storage.create_volume(name=volume.name, size=volume.size_gib, **image)

    list(pool.map(create, missing))
    return _await_volumes(connection, wanted)


def _await_volumes(connection: Any, wanted: Iterable[str]) -> dict[str, str]:
    deadline = time.monotonic() + VOLUME_SECONDS
    while True:
        found = {v.name: v for v in connection.block_storage.volumes() if v.name in wanted}
        unready = {
            name: found[name].status if name in found else "missing"
            for name in wanted
            if name not in found or found[name].status not in ("available", "in-use")
        }
        if not unready:
            return {name: volume.id for name, volume in found.items()}
        if time.monotonic() > deadline or "error" in unready.values():
            listed = ", ".join(f"{name} ({status})" for name, status in unready.items())
            raise SeedError(f"volumes not available: {listed}; see `lab log cinder`")
        time.sleep(0.5)
