# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Whom numa_check is asked about: the guests that its options mean, and the hosts.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    HostNotReady,
    NotFound,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.cloud import looks_like_uuid
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.nova import Nova
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.rooms import unusable
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.topology_api import (
    Placed,
    TopologyApi,
)
from ansible_collections.lowtide.compute.plugins.module_utils._options import exact_host
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Guest, Room
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import HostNuma

Params = Mapping[str, Any]


# --- guests ------------------------------------------------------------------------------


def guests_asked(params: Params, nova: Nova, api: TopologyApi) -> list[Guest]:
    """The guests, each once, with their image properties. Raises NotFound and BadOption."""
    source = params["source"]
    if source is not None:
        nova.service(exact_host(source, "source"))
        found = sorted(nova.guests_of(source), key=lambda guest: (guest.name, guest.id))
    else:
        wanted = params["guests"]
        if not wanted:
            raise BadOption("guests", [], "names no guest", "Give at least one, or `source`")
        found = [_guest(one, nova, api) for one in wanted]
    once = {guest.id or f"{guest.name}/{number}": guest for number, guest in enumerate(found)}
    return [replace(g, image_properties=api.properties_of(g)) for g in once.values()]


def _guest(wanted: Params, nova: Nova, api: TopologyApi) -> Guest:
    if wanted["flavor"] is not None:
        return api.guest_of_flavor(_named("flavor", wanted["flavor"]), wanted["image"] or "")
    if wanted["id"] is not None:
        guest = nova.guest(wanted["id"]) if looks_like_uuid(wanted["id"]) else None
        return _only("id", wanted["id"], [guest] if guest else [])
    return _only("name", wanted["name"], nova.guests_named(_named("name", wanted["name"])))


def _named(option: str, value: str) -> str:
    if not value.strip():
        raise BadOption(f"guests.{option}", value, "names nothing", "Give an exact name")
    return value


def _only(option: str, value: str, found: Sequence[Guest]) -> Guest:
    if not found:
        raise NotFound(
            f"guests.{option}: there is no guest {value!r}",
            "Give the ID of a guest as `id`, or its exact name as `name`",
            option=f"guests.{option}",
        )
    if len(found) > 1:
        ids = ", ".join(guest.id for guest in found)
        raise BadOption(f"guests.{option}", value, f"is the name of several: {ids}", "Give an ID")
    return found[0]


# --- hosts -------------------------------------------------------------------------------


def rooms_asked(
    params: Params, topologies: Mapping[str, HostNuma], nova: Nova, api: TopologyApi
) -> list[Room]:
    """The hosts, with what is free on them; raises NotFound for one that is not there."""
    services = {service.host: service for service in nova.services()}
    for host in sorted(topologies.keys() - services.keys()):
        raise BadOption(
            "topologies", host, "is no host of this cloud", "Use the names that Nova gives hosts"
        )
    usable = {service.host for service in services.values() if not unusable(service)}
    free, roots = api.free(), {host: root for root, host in nova.hypervisors().items()}
    rooms = []
    for host in _hosts(params, services.keys(), usable, nova):
        root = roots.get(host, "")
        resources, traits = free.get(root, ({}, ()))
        numa = _completed(host, root, topologies[host], api) if host in topologies else None
        why = unusable(services[host])
        rooms.append(Room(host, resources, unusable=why, traits=traits, numa=numa))
    return rooms


def _hosts(params: Params, known: Collection[str], usable: set[str], nova: Nova) -> list[str]:
    hosts = params["hosts"]
    if hosts is None:
        hosts = sorted(usable - {params["source"]})
        if not hosts:
            remedy = "Enable one, or name `hosts`"
            raise HostNotReady("hosts: no other host is enabled and up", remedy)
    if not hosts:
        raise BadOption("hosts", [], "names no host", "Give at least one, or leave it out")
    for host in hosts:
        if exact_host(host, "hosts") not in known:
            # Raises NotFound, with the names that look like it.
            nova.service(host)
    return list(dict.fromkeys(hosts))


def _completed(host: str, root: str, numa: HostNuma, api: TopologyApi) -> HostNuma:
    """With the ratios that only Placement knows: those that nova.conf leaves to it."""
    numa = replace(numa, host=host)
    if not root or None not in (numa.cpu_allocation_ratio, numa.ram_allocation_ratio):
        return numa
    cpu, ram = api.ratios(root)
    return replace(
        numa,
        cpu_allocation_ratio=cpu
        if numa.cpu_allocation_ratio is None
        else numa.cpu_allocation_ratio,
        ram_allocation_ratio=ram
        if numa.ram_allocation_ratio is None
        else numa.ram_allocation_ratio,
    )


def pinned_by_cell(guests: Iterable[Placed]) -> dict[int, set[int]]:
    """Host cell -> its CPUs that guests have."""
    pinned: dict[int, set[int]] = {}
    for placed in guests:
        for _cell, there in placed:
            pinned.setdefault(there.host_cell, set()).update(there.pinning.values())
    return pinned
