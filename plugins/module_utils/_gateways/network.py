# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Neutron's API: the ports of guests, and where they are bound.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import Api
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Binding, Port

FIELDS = ("id", "device_id", "binding:vnic_type")
#: Devices named in one query: longer URLs are refused by some front ends.
DEVICES_PER_CALL = 50


class Network:
    """The network API."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def ports_on(self, host: str) -> dict[str, tuple[Port, ...]]:
        """Guest id -> ports, for every port bound to ``host``. One list."""
        return self._ports({"binding:host_id": host})

    def ports_of(self, guest_ids: Iterable[str]) -> dict[str, tuple[Port, ...]]:
        """Guest id -> ports, of the guests named."""
        ids = list(guest_ids)
        found: dict[str, tuple[Port, ...]] = {}
        for start in range(0, len(ids), DEVICES_PER_CALL):
            found |= self._ports({"device_id": ids[start : start + DEVICES_PER_CALL]})
        return found

    def bindings_of(self, guest_id: str) -> tuple[Binding, ...]:
        """Every binding of every port of a guest, also the inactive ones."""
        return tuple(
            Binding(port_id=port.id, host=raw["host"], status=raw["status"].lower())
            for port in self.ports_of([guest_id]).get(guest_id, ())
            for raw in self._api.list(f"/ports/{port.id}/bindings", "bindings")
        )

    def _ports(self, query: Mapping[str, object]) -> dict[str, tuple[Port, ...]]:
        found: defaultdict[str, list[Port]] = defaultdict(list)
        for raw in self._api.list("/ports", "ports", {**query, "fields": FIELDS}):
            vnic_type = raw.get("binding:vnic_type") or "normal"
            found[raw["device_id"]].append(Port(id=raw["id"], vnic_type=vnic_type))
        return {guest_id: tuple(ports) for guest_id, ports in found.items()}
