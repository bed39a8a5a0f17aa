# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Glance's API: every image that the caller may see, and changes of their properties.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import Api, Json
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Carrier

#: The media type of a change of some of an image's properties.
PATCH = "application/openstack-images-v2.1-json-patch"
PAGE = "1000"


class ImageList:
    """The image API, for who looks at all images."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def images(self) -> tuple[Carrier, ...]:
        """Images of all projects that may be seen, hidden and community ones too."""
        query = {"limit": PAGE, "visibility": "all", "member_status": "all"}
        found = (
            raw
            for hidden in ("false", "true")
            for raw in self._api.list("/images", "images", {**query, "os_hidden": hidden})
        )
        return tuple(map(image_from, found))

    def change(self, image_id: str, put: Mapping[str, str], removed: Iterable[str]) -> None:
        """Set and remove properties, all in one request."""
        body = [{"op": "add", "path": _pointer(name), "value": put[name]} for name in put]
        body += [{"op": "remove", "path": _pointer(name)} for name in removed]
        self._api.send("PATCH", f"/images/{image_id}", body, content_type=PATCH)


def image_from(raw: Json) -> Carrier:
    """An image as it lists itself: what it says in texts."""
    return Carrier(
        place="image",
        id=raw["id"],
        name=raw.get("name") or "",
        texts={key: value for key, value in raw.items() if isinstance(value, str)},
        owner=raw.get("owner") or "",
        protected=bool(raw.get("protected")),
        tags=tuple(raw.get("tags") or ()),
    )


def _pointer(name: str) -> str:
    """A property's name as a JSON pointer (RFC 6901)."""
    return "/" + name.replace("~", "~0").replace("/", "~1")
