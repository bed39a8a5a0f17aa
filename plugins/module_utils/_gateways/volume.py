# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Cinder's API: how many attachments a guest has to each of its volumes.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections import Counter

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import Api

ATTACHMENTS = "3.27"


class Volume:
    """The block storage API."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def attachments_of(self, guest_id: str) -> dict[str, int]:
        """Volume id -> number of attachments that the guest has to it."""
        found = self._api.list(
            "/attachments",
            "attachments",
            {"all_tenants": "1", "instance_id": guest_id},
            microversion=ATTACHMENTS,
        )
        return dict(Counter(attachment["volume_id"] for attachment in found))
