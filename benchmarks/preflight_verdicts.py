# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection says before a guest moves: numa_check's verdicts, and the planner's."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from preflight_cloud import topologies

from ansible_collections.lowtide.compute.plugins.module_utils._errors import DoesNotFit
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.nova import Nova
from ansible_collections.lowtide.compute.plugins.module_utils._module import Task
from ansible_collections.lowtide.compute.plugins.module_utils._numa_check import SPEC, check_fit
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import decode
from ansible_collections.lowtide.compute.plugins.module_utils._planner.destinations import (
    TESTS,
    home_of,
    is_open,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Guest,
    Room,
    Scope,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    FIT,
    NO_FIT,
    UNKNOWN,
    HostNuma,
)

__all__ = ["FIT", "NO_FIT", "UNKNOWN", "Oracle", "Verdict"]


@dataclass(frozen=True)
class Verdict:
    """Of one guest and one host. ``by``: numa_check, or the planner's test that refused."""

    result: str
    code: str = ""
    reason: str = ""
    by: str = "numa_check"


class Oracle:
    """Asks the collection, in the way that its modules do, about the cloud of OS_CLOUD."""

    def __init__(self) -> None:
        defaults = {name: option.get("default") for name, option in SPEC.items()}
        self._params: dict[str, Any] = {**defaults, "cloud": os.environ["OS_CLOUD"]}
        self._task = self._asked()
        self.cloud = self._task.cloud
        self.nova = Nova(self._task.session.api("compute"))

    def _asked(self, **params: Any) -> Task:
        return Task({**self._params, **params}, True, lambda _text: None)

    def verdicts(self, guest_id: str) -> tuple[str, dict[str, Verdict]]:
        """The guest's host, and host -> verdict of every other one. What refuses first counts."""
        survey = self.cloud.survey(Scope(guest_ids=(guest_id,)))
        seen = topologies(room.host for room in survey.rooms)
        (guest,) = survey.guests
        rooms = [replace(r, numa=decode(HostNuma, seen[r.host])) for r in survey.rooms]
        found = self._numa_check(guest_id, seen, [r.host for r in rooms if r.host != guest.host])
        for host, code in _refused(guest, rooms):
            if found[host].result != NO_FIT:
                found[host] = Verdict(NO_FIT, code, by="the planner")
        return guest.host, found

    def _numa_check(
        self, guest_id: str, seen: dict[str, Any], hosts: list[str]
    ) -> dict[str, Verdict]:
        asked = {"id": guest_id, "name": None, "flavor": None, "image": None}
        task = self._asked(
            guests=[asked], hosts=hosts, topologies=seen, affinity="best_effort", source=None
        )
        # One connection for all questions.
        task.__dict__["session"] = self._task.session
        try:
            result = check_fit(task)
        except DoesNotFit as error:
            result = error.details
        return {
            row["host"]: Verdict(row["result"], row["code"], row["reason"])
            for row in result["verdicts"]
        }


def _refused(guest: Guest, rooms: Iterable[Room]) -> Iterable[tuple[str, str]]:
    """Hosts that the planner would not send the guest to, with the first test that says so."""
    rooms = tuple(rooms)
    home = home_of(guest, rooms)
    for room in rooms:
        if room.host == guest.host:
            continue
        failing = [test.__name__ for test in TESTS if not test(guest, room, home)]
        if not is_open(room):
            failing.insert(0, "is_open")
        if failing:
            yield room.host, failing[0]
