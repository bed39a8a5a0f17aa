# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""A whole cloud in a few calls: all hosts with their room, all guests, page by page.

This module util is **PRIVATE** to the collection: it may change without notice.
The number of calls grows with Nova's pages (``[api] max_limit``, 1000 rows), and with nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import (
    Api,
    Json,
    Session,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.nova import Nova
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.placement import Placement
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.rooms import rooms_from
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Group,
    Guest,
    Room,
)


class Fleet:
    """Reads of one cloud as a whole."""

    def __init__(self, compute: Api, placement: Api) -> None:
        self._nova = Nova(compute)
        self._placement = Placement(placement)

    @cached_property
    def aggregates(self) -> Mapping[str, tuple[str, ...]]:
        """Name of each host aggregate -> its hosts."""
        return {raw["name"]: tuple(raw["hosts"]) for raw in self._aggregates}

    @cached_property
    def _aggregates(self) -> tuple[Json, ...]:
        return self._nova.aggregates()

    def groups(self) -> tuple[Group, ...]:
        """Every server group with its members."""
        return self._nova.groups()

    def guests(self) -> Iterator[Guest]:
        """Every guest of the cloud; memory holds one page of them."""
        for page in self._nova.guest_pages():
            yield from page

    def rooms(self) -> tuple[Room, ...]:
        """Every compute host, sorted by name. What Placement does not list has no memory left."""
        services = sorted(self._nova.services(), key=lambda service: service.host)
        return rooms_from(
            services, self._nova.nodes(), self._aggregates, self._placement.summaries()
        )


def open_fleet(session: Session) -> Fleet:
    """The cloud that the session is signed in to."""
    return Fleet(session.api("compute"), session.api("placement"))
