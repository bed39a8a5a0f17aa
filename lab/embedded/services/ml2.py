# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Neutron's ML2 mechanism driver of the lab: binds any port on any host, with no wires."""

from __future__ import annotations

from typing import Any

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api

SRIOV_VNIC_TYPES = ("direct", "macvtap")


class LabMechanismDriver(api.MechanismDriver):
    """Binds as Open vSwitch would, or as SR-IOV would for a direct port.

    A port is ACTIVE as soon as it is bound, which is an agent's part: it makes Neutron send
    Nova the network-vif-plugged event that a live migration waits for.
    """

    def initialize(self) -> None:
        """Nothing to prepare."""

    @property
    def connectivity(self) -> str:
        """Tell Neutron that these ports reach layer 2 only."""
        return portbindings.CONNECTIVITY_L2

    def bind_port(self, context: Any) -> None:
        """Bind the port to the first segment on offer."""
        segment = context.segments_to_bind[0]
        if context.current.get(portbindings.VNIC_TYPE) in SRIOV_VNIC_TYPES:
            vif_type = portbindings.VIF_TYPE_HW_VEB
            details = {
                portbindings.CAP_PORT_FILTER: False,
                portbindings.VIF_DETAILS_VLAN: segment.get(api.SEGMENTATION_ID) or 0,
            }
        else:
            vif_type = portbindings.VIF_TYPE_OVS
            details = {
                portbindings.CAP_PORT_FILTER: True,
                portbindings.OVS_HYBRID_PLUG: False,
                "bridge_name": "br-int",
                "datapath_type": "system",
            }
        context.set_binding(segment[api.ID], vif_type, details, status=constants.PORT_STATUS_ACTIVE)
