# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Glance's API: the properties of an image that Nova's API hides.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from ansible_collections.lowtide.compute.plugins.module_utils._errors import Refused, Unauthorized
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import Api

#: Nova shows the properties that it knows itself, as they were when the guest was made. Of the
#: others these are policies (see the planner's policy_keys).
POLICY_PREFIXES = ("lowtide_", "hw_wrs_live_migration_")


class Image:
    """The image API."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def policy_properties(self, image_id: str) -> dict[str, str]:
        """Those of the image's properties that are policies; none if it is gone or hidden."""
        try:
            found = self._api.get(f"/images/{image_id}")
        except (Refused, Unauthorized):
            return {}
        return {key: str(found[key]) for key in found if key.startswith(POLICY_PREFIXES)}
