# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What the APIs say of guests' cells: flavors and images by name, where cells are, free resources.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    NotFound,
    Refused,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import (
    Api,
    Json,
    Session,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.cloud import looks_like_uuid
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.nova import FLAVORS
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.placement import (
    MICROVERSION,
    Placement,
    free_by_root,
    traits_by_root,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Guest
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    CellFit,
    GuestCell,
)

#: /servers/ID/topology; an administrator is also told of the host's cells and CPUs.
TOPOLOGY = "2.78"
#: Properties that Nova reads; the others are Glance's own, or nobody's business here.
NOVA_PREFIXES = ("hw_", "os_", "trait:")

#: A guest's cells, each with where it is.
Placed = tuple[tuple[GuestCell, CellFit], ...]


class TopologyApi:
    """Reads only. ``image``, ``volume``: None in a cloud without that service."""

    def __init__(self, compute: Api, placement: Api, image: Api | None, volume: Api | None) -> None:
        self._compute = compute
        self._placement = placement
        self._image: Any = image
        self._volume = volume
        self._properties: dict[str, dict[str, str]] = {}

    # --- what guests are made of

    def guest_of_flavor(self, flavor: str, image: str) -> Guest:
        """A guest that does not exist, of a flavor and an image ("" for none), by ID or name.

        Raises NotFound, and BadOption for the name of several images.
        """
        found = self._flavor(flavor)
        return Guest(
            id="",
            name=f"{found['name']}+{image}" if image else found["name"],
            host="",
            vm_state="",
            vcpus=found["vcpus"],
            ram_mib=found["ram"],
            extra_specs=dict(found.get("extra_specs") or {}),
            image_properties=self._properties_called(image) if image else {},
            flavor_name=found["name"],
        )

    def properties_of(self, guest: Guest) -> dict[str, str]:
        """Image properties of a guest: of the image in its volume where it boots from one.

        Nova hides those, and before 2.98 all of them; then Glance and Cinder are asked.
        """
        if guest.image_properties or not (guest.boots_from_volume or guest.image_id):
            return dict(guest.image_properties)
        if guest.boots_from_volume:
            return self._properties_of_volumes(guest.volumes)
        if guest.image_id not in self._properties:
            self._properties[guest.image_id] = self._properties_by_id(guest.image_id)
        return self._properties[guest.image_id]

    def _flavor(self, name_or_id: str) -> Json:
        try:
            path = f"/flavors/{quote(name_or_id, safe='')}"
            return self._compute.get(path, microversion=FLAVORS)["flavor"]
        except Refused as refusal:
            if refusal.status not in (400, 404):
                raise
        query = {"is_public": "None"}
        listed = self._compute.list("/flavors/detail", "flavors", query, microversion=FLAVORS)
        return _one("flavor", name_or_id, [f for f in listed if f["name"] == name_or_id])

    def _properties_called(self, name_or_id: str) -> dict[str, str]:
        if self._image is None:
            raise NotFound(
                f"image: {name_or_id!r} cannot be looked up: this cloud has no image service",
                "Give the flavor alone",
            )
        by_id = self._image_with(name_or_id) if looks_like_uuid(name_or_id) else None
        found = [by_id] if by_id else self._image.list("/images", "images", {"name": name_or_id})
        return _of_nova(_one("image", name_or_id, found))

    def _properties_by_id(self, image_id: str) -> dict[str, str]:
        # One deleted since: Nova kept what it needs, and does not show it before 2.98.
        return _of_nova(self._image_with(image_id) or {}) if self._image else {}

    def _image_with(self, image_id: str) -> Json | None:
        try:
            return self._image.get(f"/images/{image_id}")
        except Refused as refusal:
            if refusal.status != 404:
                raise
            return None

    def _properties_of_volumes(self, volumes: Sequence[str]) -> dict[str, str]:
        for volume in volumes if self._volume else ():
            found = self._volume.get(f"/volumes/{volume}")["volume"]
            if found.get("bootable") == "true":
                return _of_nova(found.get("volume_image_metadata") or {})
        return {}

    # --- where they are, and what is free

    def placed(self, guest_id: str) -> Placed:
        """A guest's cells on its host; none for a guest without cells, or one that is gone."""
        try:
            body = self._compute.get(f"/servers/{guest_id}/topology", microversion=TOPOLOGY)
        except Refused:
            return ()
        size = body.get("pagesize_kb") or 0
        return tuple(
            (
                GuestCell(
                    id=number,
                    cpus=tuple(set(node["vcpu_set"]) - set(map(int, node["cpu_pinning"]))),
                    pinned_cpus=tuple(sorted(map(int, node["cpu_pinning"]))),
                    memory_mib=node["memory_mb"],
                    page_size_kib=size,
                ),
                CellFit(number, node["host_node"], size, node["cpu_pinning"]),
            )
            for number, node in enumerate(body["nodes"])
            if "host_node" in node
        )

    def free(self) -> dict[str, tuple[dict[str, int], tuple[str, ...]]]:
        """Root provider -> what is free by resource class, and traits of its tree. One call.

        Nodes without any memory left are not in it.
        """
        summaries = Placement(self._placement).summaries()
        free, traits = free_by_root(summaries), traits_by_root(summaries)
        return {root: (free[root], tuple(sorted(traits[root]))) for root in free}

    def ratios(self, root: str) -> tuple[float | None, float | None]:
        """Allocation ratios of CPUs and of memory, None for what the provider has not."""
        path = f"/resource_providers/{root}/inventories"
        inventories = self._placement.get(path, microversion=MICROVERSION)["inventories"]
        cpu, memory = (inventories.get(each) or {} for each in ("VCPU", "MEMORY_MB"))
        return cpu.get("allocation_ratio"), memory.get("allocation_ratio")


def _of_nova(properties: Mapping[str, Any]) -> dict[str, str]:
    return {k: str(v) for k, v in properties.items() if k.startswith(NOVA_PREFIXES)}


def _one(option: str, name_or_id: str, found: Sequence[Json]) -> Json:
    if not found:
        raise NotFound(
            f"{option}: {name_or_id!r} is neither the ID nor the name of any",
            "Give an ID, or the exact name",
            option=option,
        )
    if len(found) > 1:
        ids = ", ".join(each["id"] for each in found)
        raise BadOption(option, name_or_id, f"is the name of several: {ids}", "Give an ID")
    return found[0]


def open_topology_api(session: Session) -> TopologyApi:
    """The reads of the cloud that the session is signed in to."""
    return TopologyApi(
        session.api("compute"),
        session.api("placement"),
        session.api("image") if session.offers("image") else None,
        session.api("block_storage") if session.offers("block-storage") else None,
    )
