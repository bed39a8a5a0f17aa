# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter by which the role management_network decides what to do on a host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.lowtide.compute.plugins.module_utils._planner.network_plan import plan


def migration_network_plan(variables: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be there, or ``faults``; ``seen`` is the result of network_interface_info."""
    try:
        return plan(variables, seen)
    except KeyError as error:
        raise AnsibleFilterError(
            f"migration_network_plan misses {error}. Give it every variable of the role "
            "management_network, and the result of network_interface_info with own_files."
        ) from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"migration_network_plan": migration_network_plan}
