# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""A guest to try migrations with: made, replaced and deleted, each with an end to the waiting.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    HostNotReady,
    Unreachable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.guest_maker import (
    GuestMaker,
    TrialGuest,
)
from ansible_collections.lowtide.compute.plugins.module_utils._guests import check_destination
from ansible_collections.lowtide.compute.plugins.module_utils._module import Task
from ansible_collections.lowtide.compute.plugins.module_utils._options import exact_host

ACTIVE = "ACTIVE"
POLL_SECONDS = 1.0


def keep(task: Task, maker: GuestMaker, before: TrialGuest | None) -> TrialGuest:
    """The guest on its host, active. What is ours and is not so is replaced.

    Raises before anything is changed for a host, an image, a flavor or a network that is not
    there, for a host that takes no guests, and for a guest of that name that is not ours.
    """
    params = task.params
    host = exact_host(params["host"])
    if params["timeout"] < 1:
        raise BadOption("timeout", params["timeout"], "is less than 1", "Give seconds")
    if before is not None:
        refuse_foreign(before)
        if (before.host, before.status) == (host, ACTIVE):
            return before
    recipe = maker.recipe(params["image"], params["flavor"], params["network"] or "")
    check_destination(task.cloud, host)
    if task.check_mode:
        return TrialGuest(id="", name=params["name"], host=host, status=ACTIVE, ours=True)
    if before is not None:
        remove(task, maker, before)
    maker.create(params["name"], host, recipe)
    return _built(task, maker)


def remove(task: Task, maker: GuestMaker, guest: TrialGuest) -> None:
    """Delete a guest of ours, and wait until it is gone."""
    if task.check_mode:
        return
    maker.delete(guest)
    gone = _wait(task, maker, lambda found: found is None or found.id != guest.id)
    if not gone:
        raise Unreachable(
            f"timeout: {guest.name} was not deleted within {task.params['timeout']} s",
            f"See the log of nova-compute on {guest.host}",
        )


def _built(task: Task, maker: GuestMaker) -> TrialGuest:
    settled = _wait(task, maker, lambda found: found is not None and found.status != "BUILD")
    guest = maker.named(task.params["name"])
    if settled and guest is not None and guest.status == ACTIVE:
        return guest
    why = f"was not built within {task.params['timeout']} s"
    if guest is not None:
        if settled:
            why = f"could not be built: {guest.fault or guest.status}"
        remove(task, maker, guest)
    raise HostNotReady(
        f"{task.params['name']} {why}",
        "See `openstack server event list` of an ordinary guest there, and the host's nova-compute",
        host=task.params["host"],
    )


def _wait(task: Task, maker: GuestMaker, enough: Callable[[TrialGuest | None], bool]) -> bool:
    ends = task.clock.now() + task.params["timeout"]
    while not enough(maker.named(task.params["name"])):
        if task.clock.now() >= ends:
            return False
        task.clock.sleep(POLL_SECONDS)
    return True


def refuse_foreign(guest: TrialGuest) -> None:
    """Raise BadOption for a guest that somebody else made."""
    if not guest.ours:
        raise BadOption(
            "name", guest.name, "is the name of a guest that was not made here", "Choose another"
        )


def guest_row(guest: TrialGuest | None) -> dict[str, Any] | None:
    """The guest as RETURN documents it."""
    if guest is None:
        return None
    return {"id": guest.id, "name": guest.name, "host": guest.host, "status": guest.status}
