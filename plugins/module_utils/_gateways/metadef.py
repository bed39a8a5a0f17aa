# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Glance's catalogue of metadata definitions: what images, flavors and servers may be told.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ansible_collections.lowtide.compute.plugins.module_utils._errors import Refused
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import Api

NAMESPACES = "/metadefs/namespaces"
NAMESPACE = "namespace"
METHODS: Mapping[str, str] = {"create": "POST", "update": "PUT", "delete": "DELETE"}
#: Kind of a namespace's member -> its place below the namespace.
COLLECTIONS: Mapping[str, str] = {
    "property": "properties",
    "object": "objects",
    "tag": "tags",
    "association": "resource_types",
}
TAKEN = (
    "Somebody made it just now: run this again. Or it is in a project whose namespaces these"
    " credentials may not see: use those of its owner"
)


class Metadefs:
    """The definitions. Reads and writes raise what `Api` raises."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def namespace(self, name: str) -> dict[str, Any] | None:
        """A namespace with all its members; None if there is none that the caller may see."""
        try:
            return self._api.get(_path(name))
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def send(
        self, namespace: str, action: str, kind: str, name: str, body: Mapping[str, Any]
    ) -> None:
        """Create, update or delete a namespace or a member; ``body``: all of it, its name too."""
        by_name = action != "create" or kind == "tag"
        where = NAMESPACES if kind == NAMESPACE else f"{_path(namespace)}/{COLLECTIONS[kind]}"
        path = f"{where}/{quote(name, safe='')}" if by_name else where
        told = None if action == "delete" or kind == "tag" else dict(body)
        try:
            self._api.send(METHODS[action], path, told)
        except Refused as error:
            if error.status != 409 or action != "create":
                raise
            details = {key: error.details[key] for key in error.details if key != "status"}
            raise Refused(error.message, TAKEN, status=error.status, **details) from error


def _path(namespace: str) -> str:
    return f"{NAMESPACES}/{quote(namespace, safe='')}"
