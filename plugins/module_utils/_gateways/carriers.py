# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""All that can carry a policy, images, flavors and instances: how it is found and changed.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from ansible_collections.lowtide.compute.plugins.module_utils._errors import Refused
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import Api, Session
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.cloud import looks_like_uuid
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.image_list import ImageList
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.nova import Nova
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Carrier, Guest


class Carriers:
    """One cloud's images, flavors and instances. Lists are read once, on first use."""

    def __init__(self, nova: Nova, identity: Api, image: ImageList | None, project: str) -> None:
        self._nova = nova
        self._identity = identity
        self._image = image
        #: ID of the project that the credentials are for.
        self.project = project

    # --- reads

    @cached_property
    def images(self) -> tuple[Carrier, ...]:
        """Every image; none in a cloud without an image service."""
        return self._image.images() if self._image else ()

    @cached_property
    def flavors(self) -> tuple[Carrier, ...]:
        """Every flavor."""
        return self._nova.flavors()

    def guests(self, host: str = "", projects: Iterable[str] = ()) -> tuple[Guest, ...]:
        """Guests of a host, else of these projects (IDs), else all; NotFound for no such host."""
        if host:
            self._nova.service(host)
            return self._nova.guests_of(host)
        chosen = tuple(projects)
        if not chosen:
            return self._nova.guests()
        return tuple(guest for each in chosen for guest in self._nova.guests_of_project(each))

    def guests_called(self, name_or_id: str) -> tuple[Guest, ...]:
        """The guest with this ID, or every guest with exactly this name."""
        by_id = self._nova.guest(name_or_id) if looks_like_uuid(name_or_id) else None
        return (by_id,) if by_id else self._nova.guests_named(name_or_id)

    def projects_called(self, name_or_id: str) -> tuple[str, ...]:
        """ID of the project with this ID, or of every project with exactly this name."""
        if looks_like_uuid(name_or_id):
            try:
                return (self._identity.get(f"/projects/{name_or_id}")["project"]["id"],)
            except Refused as refusal:
                if refusal.status != 404:
                    raise
        found = self._identity.get("/projects", {"name": name_or_id})["projects"]
        return tuple(project["id"] for project in found)

    # --- writes

    def change(self, carrier: Carrier, put: Mapping[str, str], removed: Iterable[str]) -> None:
        """Set and remove texts of one carrier."""
        if carrier.place == "flavor":
            self._nova.change_flavor(carrier.id, put, removed)
        elif carrier.place == "instance":
            self._nova.change_metadata(carrier.id, put, removed)
        elif self._image:
            self._image.change(carrier.id, put, removed)


def open_carriers(session: Session) -> Carriers:
    """What the session's cloud has. Services are discovered on first use."""
    return Carriers(
        Nova(session.api("compute")),
        session.api("identity"),
        ImageList(session.api("image")) if session.offers("image") else None,
        session.project_id(),
    )
