# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Makes and deletes guests that exist only to be migrated, and never touches any other.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    HostNotReady,
    NotFound,
    Refused,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import (
    Api,
    Json,
    Session,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.nova import exactly

#: What tells our guests from all others, in their metadata.
MARK = "lowtide_test_guest"
#: The first one that takes the name of a host, which the scheduler checks.
CREATE = "2.74"
LIST = "2.53"


@dataclass(frozen=True, slots=True)
class TrialGuest:
    """A guest of ours, or one that has its name. ``fault``: why it is broken, else ""."""

    id: str
    name: str
    host: str
    status: str
    ours: bool
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a guest is made of: IDs. ``network`` "": no port."""

    image: str
    flavor: str
    network: str


class GuestMaker:
    """The few calls of Nova, Glance and Neutron that this takes."""

    def __init__(self, session: Session) -> None:
        self._compute = session.api("compute")
        self._image = session.api("image")
        self._network = session.api("network")

    def recipe(self, image: str, flavor: str, network: str) -> Recipe:
        """The IDs of what is named by ID or name. Raises NotFound or BadOption."""
        images = self._image.list("/images", "images", {"name": image})
        flavors = self._compute.list("/flavors", "flavors", {"is_public": "None"})
        networks = _listed(self._network, "/networks", "networks", network) if network else []
        return Recipe(
            image=_one("image", image, images or _by_id(self._image, "/images", image)),
            flavor=_one("flavor", flavor, flavors),
            network=_one("network", network, networks) if network else "",
        )

    def named(self, name: str) -> TrialGuest | None:
        """The guest of that exact name, of any project; raises BadOption when there are several."""
        query = {"all_tenants": "1", "name": exactly(name)}
        servers = self._compute.list("/servers/detail", "servers", query, microversion=LIST)
        found = [guest_from(server) for server in servers if server["name"] == name]
        if len(found) > 1:
            ids = ", ".join(guest.id for guest in found)
            raise BadOption(
                "name", name, f"is the name of several guests: {ids}", "Choose another name"
            )
        return found[0] if found else None

    def create(self, name: str, host: str, recipe: Recipe) -> None:
        """Ask for a guest on ``host``. Raises HostNotReady when Nova refuses the host."""
        server = {
            "name": name,
            "imageRef": recipe.image,
            "flavorRef": recipe.flavor,
            "networks": [{"uuid": recipe.network}] if recipe.network else "none",
            "host": host,
            "metadata": {MARK: "true"},
        }
        try:
            self._compute.send("POST", "/servers", {"server": server}, microversion=CREATE)
        except Refused as refusal:
            if "ompute host" in str(refusal):
                remedy = "Give the name of a host as Nova names it"
                raise HostNotReady(str(refusal), remedy, host=host) from refusal
            raise

    def delete(self, guest: TrialGuest) -> None:
        """Ask for its deletion; one that is gone already is fine."""
        if not guest.ours:
            raise ValueError(f"{guest.id} is not ours")
        try:
            self._compute.send("DELETE", f"/servers/{guest.id}")
        except Refused as refusal:
            if refusal.status != 404:
                raise


def guest_from(raw: Json) -> TrialGuest:
    """A server of servers/detail."""
    return TrialGuest(
        id=raw["id"],
        name=raw["name"],
        host=raw.get("OS-EXT-SRV-ATTR:host") or "",
        status=raw["status"],
        ours=MARK in (raw.get("metadata") or {}),
        fault=(raw.get("fault") or {}).get("message", ""),
    )


def _one(option: str, wanted: str, found: Sequence[Any]) -> str:
    ids = [each["id"] for each in found if wanted in (each["id"], each["name"])]
    if not ids:
        raise NotFound(
            f"{option}: {wanted!r} is neither the ID nor the name of one in this cloud",
            f"List them with `openstack {option} list`",
            option=option,
        )
    if len(ids) > 1 and wanted not in ids:
        raise BadOption(option, wanted, f"is the name of several: {', '.join(ids)}", "Give an ID")
    return wanted if wanted in ids else ids[0]


def _listed(api: Api, path: str, key: str, wanted: str) -> list[Json]:
    return [one for field in ("id", "name") for one in api.list(path, key, {field: wanted})]


def _by_id(api: Api, path: str, wanted: str) -> list[Json]:
    try:
        found = api.get(f"{path}/{wanted}")
    except Refused:
        return []
    return [found] if found.get("id") == wanted else []
