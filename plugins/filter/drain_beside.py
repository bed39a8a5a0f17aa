# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that tell the tuner and the probe beside a drain which guests to look after."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

Guest = dict[str, Any]

#: Fields of a guest's policy that libvirt_migrate_tune holds, under the same names.
LIMITS = ("max_downtime_ms", "bandwidth_mib_s")


def drain_limits(plan: Mapping[str, Any]) -> list[Guest]:
    """``guests`` for libvirt_migrate_tune: those that the plan moves live, with their limits."""
    return [
        {"id": row["id"]} | {field: int(row["policy"][field]["value"]) for field in LIMITS}
        for row in _rows(plan, "drain_limits")
        if row["outcome"] == "planned" and row["method"] == "live"
    ]


def drain_clients(plan: Mapping[str, Any], address: str = "") -> list[Guest]:
    """``guests`` for reachability_probe: running ones that the plan moves live.

    ``address``: a regular expression; each guest is asked at its first address that it matches.
    """
    try:
        fits = re.compile(address).search
    except re.error as error:
        raise AnsibleFilterError(
            f"drain_clients: {address!r} is no regular expression: {error}"
        ) from error
    found = []
    for row in _rows(plan, "drain_clients"):
        addresses = [each for each in row["addresses"] if fits(each)]
        running = row["state"].split()[0].split("/")[0] == "active"
        if row["outcome"] == "planned" and row["method"] == "live" and running and addresses:
            found.append({"id": row["id"], "name": row["name"], "address": addresses[0]})
    return found


def drain_dirty_rates(info: Mapping[str, Any]) -> dict[str, float]:
    """``dirty_rates`` for nova_drain, from what libvirt_migration_info measured."""
    return {
        domain["id"]: float(domain["dirty_rate_mib_s"])
        for domain in info.get("domains", ())
        if domain.get("dirty_rate_mib_s") is not None
    }


def _rows(plan: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    try:
        return plan["guests"]
    except KeyError as error:
        raise AnsibleFilterError(
            f"{name} needs a plan, such as nova_drain_info returns it: this has no {error}."
        ) from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "drain_limits": drain_limits,
            "drain_clients": drain_clients,
            "drain_dirty_rates": drain_dirty_rates,
        }
