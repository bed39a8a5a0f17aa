# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one guest needs next to reach the state that its scenario asks for: pure decisions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from lab.scenario import Alteration, Guest

DONE = "done"
WAIT = "wait"
CREATE = "create"
ALTER = "alter"
LOCK = "lock"

# For each wanted state: the action to take at each status of Nova on the way there.
WAYS: dict[str, dict[str, str]] = {
    "active": {"ACTIVE": DONE},
    "paused": {"ACTIVE": "pause", "PAUSED": DONE},
    "shutoff": {"ACTIVE": "stop", "SHUTOFF": DONE},
    "suspended": {"ACTIVE": "suspend", "SUSPENDED": DONE},
    "rescued": {"ACTIVE": "rescue", "RESCUE": DONE},
    "shelved": {"ACTIVE": "shelve", "SHELVED": DONE},
    "verify_resize": {"ACTIVE": "migrate", "VERIFY_RESIZE": DONE},
    "migrating": {"ACTIVE": "live_migrate", "MIGRATING": DONE},
    "error": {"ACTIVE": "reset_to_error", "ERROR": DONE},
    "error, dead": {"ACTIVE": "stop", "SHUTOFF": "reset_to_error", "ERROR": DONE},
    "building": {"ACTIVE": ALTER, "BUILD": DONE},
    "soft_deleted": {"ACTIVE": "soft_delete", "SOFT_DELETED": DONE},
}
# A status that lasts only while Nova works on the guest.
PASSING = ("BUILD", "MIGRATING", "RESIZE", "REBUILD", "REBOOT", "HARD_REBOOT", "UNKNOWN")


@dataclass(frozen=True, slots=True)
class View:
    """What Nova's list says of a server: API status, task, host, lock, and its last fault."""

    status: str
    task_state: str | None = None
    host: str | None = None
    locked: bool = False
    launched: bool = True
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A guest that cannot reach its state, with the reason."""

    reason: str


def alteration(guest: Guest) -> Alteration | None:
    """Return what to rewrite in Nova's database for a guest, or None.

    A build cannot be held half way by any API, so state ``building`` is an alteration too.
    """
    if guest.state != "building":
        return guest.alter
    held = guest.alter or Alteration()
    return dataclasses.replace(held, vm_state="building", task_state="spawning", power_state=0)


def creation_host(guest: Guest) -> str | None:
    """Return the host on which to create a guest; None leaves it to the scheduler."""
    return guest.source or guest.host


def next_step(guest: Guest, view: View | None, altered: bool) -> str | Unreachable:
    """Decide what to do with a guest now.

    ``view`` is None when the server does not exist; ``altered`` says whether its alteration has
    been made in this run. Returns DONE, WAIT, the name of an action, or Unreachable.
    """
    if view is None:
        return CREATE
    if view.status == "ERROR" and view.fault:
        return Unreachable(f"server is in ERROR: {view.fault}")
    step = _towards_state(guest, view)
    if step != DONE:
        return step
    if guest.host is not None and view.host != guest.host:
        return Unreachable(f"is on {view.host}, not on {guest.host}")
    if guest.locked and not view.locked:
        return LOCK
    if alteration(guest) is not None and not altered:
        return ALTER
    return DONE


def _towards_state(guest: Guest, view: View) -> str | Unreachable:
    way = WAYS["error, dead" if guest.state == "error" and not guest.alive else guest.state]
    step = way.get(view.status)
    rewritten = alteration(guest)
    kept = (rewritten.task_state if rewritten else None, "migrating" if step == DONE else None)
    if view.status == "BUILD" and not view.launched:
        return WAIT
    if view.task_state is not None and view.task_state not in kept:
        return WAIT
    if step is not None:
        return step
    if view.status in PASSING:
        return WAIT
    return Unreachable(f"no way from {view.status} to {guest.state}")
