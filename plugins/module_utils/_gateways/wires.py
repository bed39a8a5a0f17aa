# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Neutron's API: which physical networks and tunnels the ports of guests need.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ansible_collections.lowtide.compute.plugins.module_utils._errors import Refused
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import Api, Json
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.network import (
    DEVICES_PER_CALL,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import NumaPort

FIELDS = ("id", "device_id", "network_id", "binding:vnic_type", "numa_affinity_policy")
#: nova/network/constants.py, L3_NETWORK_TYPES.
TUNNELS = frozenset({"vxlan", "gre", "geneve"})


class Wires:
    """Each network is read once."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._networks: dict[str, tuple[str, bool]] = {}

    def of_guests(self, guest_ids: Iterable[str]) -> dict[str, tuple[NumaPort, ...]]:
        """Guest id -> its ports."""
        ids = list(guest_ids)
        found: defaultdict[str, list[NumaPort]] = defaultdict(list)
        for start in range(0, len(ids), DEVICES_PER_CALL):
            query = {"device_id": ids[start : start + DEVICES_PER_CALL], "fields": FIELDS}
            for raw in self._api.list("/ports", "ports", query):
                found[raw["device_id"]].append(self._wire(raw))
        return {guest_id: tuple(wires) for guest_id, wires in found.items()}

    def _wire(self, raw: Json) -> NumaPort:
        network = raw["network_id"]
        if network not in self._networks:
            self._networks[network] = self._network(network)
        name, tunnelled = self._networks[network]
        vnic_type = raw.get("binding:vnic_type") or "normal"
        return NumaPort(vnic_type, name, tunnelled, raw.get("numa_affinity_policy") or "")

    def _network(self, network_id: str) -> tuple[str, bool]:
        """Physical network and whether it is a tunnel: of its first segment with a network."""
        try:
            network = self._api.get(f"/networks/{network_id}")["network"]
        except Refused:
            return "", False
        for segment in network.get("segments") or ():
            if segment.get("provider:physical_network"):
                return segment["provider:physical_network"], False
        name = network.get("provider:physical_network") or ""
        return name, network.get("provider:network_type") in TUNNELS
