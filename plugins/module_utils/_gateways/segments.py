# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Masakari's API: which hosts it watches, and which of them are in maintenance.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import Api

#: Hosts and segments of one page; Masakari gives no link to the next, so it is asked for more.
PAGE = 1000


class Segments:
    """The instance HA API. One call for the segments and one for each segment's hosts."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def maintenance(self) -> dict[str, tuple[str, bool]]:
        """Compute host -> the name of its segment, and whether it is in maintenance."""
        found: dict[str, tuple[str, bool]] = {}
        for segment in self._pages("/segments", "segments"):
            for host in self._pages(f"/segments/{segment['uuid']}/hosts", "hosts"):
                found[host["name"]] = (segment["name"], bool(host["on_maintenance"]))
        return found

    def _pages(self, path: str, key: str) -> list[dict]:
        rows: list[dict] = []
        query: dict[str, str | int] = {"limit": PAGE}
        while True:
            page = self._api.get(path, query)[key]
            rows += page
            if len(page) < PAGE:
                return rows
            query["marker"] = page[-1]["uuid"]
