# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""One line for each thing that happened in a drain, in words that stay the same.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Event
from ansible_collections.lowtide.compute.plugins.module_utils._report.units import (
    duration,
    milliseconds,
    size,
)

Data = Mapping[str, Any]

_AFTER_TIMEOUT = {
    "abort": "aborting the migration",
    "force_complete": "forcing it to complete",
    "leave": "leaving it to Nova",
}
_STOPPED = {
    "failure": "a guest could not be moved, and on_failure is stop",
    "enabled": "somebody enabled the service again",
    "split_brain": "it RUNS ON TWO HOSTS; pause one side before both write (docs/witnesses.md)",
    "lost": "libvirt has it on NO HOST (docs/witnesses.md)",
    "guest_unreachable": "it still does not answer",
}


def event_line(event: Event, host: str) -> str:
    """``[cmp-3] vm-a: moved to cmp-7 in 42s (1.2 GiB, live)``.

    An event of a kind that has no words here is shown with its data rather than dropped.
    """
    word = _WORDS.get(event.kind, _unknown(event.kind))
    subject = event.name or event.guest_id
    text = " ".join(word(event.data).split())
    return f"[{host}] {subject}: {text}" if subject else f"[{host}] {text}"


def because(code: str, reason: str, remedy: str = "") -> str:
    """``code: reason. Remedy: remedy.`` with what is missing, or said twice, left out."""
    reason = reason.rstrip(". ")
    said = reason.startswith(f"{code}:")
    why = ": ".join(part for part in ("" if said else code, reason) if part)
    return f"{why}. Remedy: {remedy.rstrip('. ')}." if remedy else why


def _unknown(kind: str) -> Callable[[Data], str]:
    return lambda data: " ".join([kind, *(f"{k}={v}" for k, v in sorted(data.items()))])


def _disabled(data: Data) -> str:
    reason = data.get("reason")
    return "closed to new guests" + (f" (service disabled, reason {reason!r})" if reason else "")


def _adopted(data: Data) -> str:
    return (
        f"a {data.get('method', 'live')} migration is already under way "
        f"(id {data.get('migration_id')}, {data.get('status')}): watching it"
    )


def _attempt(data: Data) -> str:
    attempt = int(data.get("attempt") or data.get("attempts") or 1)
    return f"attempt {attempt}" if attempt > 1 else ""


def _started(data: Data) -> str:
    where = f" to {data['destination']}" if data.get("destination") else ""
    again = f" ({_attempt(data)})" if _attempt(data) else ""
    return f"{data.get('method', 'live')} migration{where} started{again}"


def _replanned(data: Data) -> str:
    to = data.get("destination")
    instead = f"{to} instead" if to else "now the scheduler chooses"
    return f"planned for {data.get('was')}, which does not take it or is needed: {instead}"


def _moved(data: Data) -> str:
    amount = int(data.get("bytes") or 0)
    parts = [size(amount) if amount else "", str(data.get("method") or ""), _attempt(data)]
    detail = ", ".join(part for part in parts if part)
    taken = f" in {duration(float(data.get('seconds') or 0))}"
    return f"moved to {data.get('destination')}{taken}" + (f" ({detail})" if detail else "")


def _failed(data: Data) -> str:
    why = because(str(data.get("code") or ""), str(data.get("reason") or ""))
    after = "trying again" if data.get("retry") else "giving up"
    return f"attempt {data.get('attempt') or 1} failed, {after}: {why}"


def _refused(data: Data) -> str:
    status = f" ({data['status']})" if data.get("status") else ""
    return f"Nova refused{status}: {data.get('message', '')}"


def _timed_out(data: Data) -> str:
    action = str(data.get("action") or "")
    return (
        f"over its budget ({duration(float(data.get('seconds') or 0))} of "
        f"{duration(float(data.get('budget') or 0))}): {_AFTER_TIMEOUT.get(action, action)}"
    )


def _left(data: Data) -> str:
    # The remedy is told at the end, when somebody reads it.
    return "given up: " + because(str(data.get("code") or ""), str(data.get("reason") or ""))


def _notify(data: Data) -> str:
    of = f" (project {data['project_id']})" if data.get("project_id") else ""
    return f"about to move, of which its owner{of} wishes to be told"


def _capped(data: Data) -> str:
    return (
        f"this host runs {data.get('cap')} live migration(s) at a time, {data.get('asked')} were "
        "asked for: raise max_concurrent_live_migrations in its nova.conf to use more"
    )


def _unreachable(data: Data) -> str:
    return f"the API does not answer, running migrations go on: {data.get('message', '')}"


def _reachable(data: Data) -> str:
    return f"the API answers again after {duration(float(data.get('seconds') or 0))}"


def _stopped(data: Data) -> str:
    why = str(data.get("reason") or "")
    return f"nothing more is started: {_STOPPED.get(why, why)}"


def _unreachable_guest(data: Data) -> str:
    silent, limit = float(data.get("silent_ms") or 0), float(data.get("limit_ms") or 0)
    return f"has not answered for {milliseconds(silent)}, {milliseconds(limit)} are allowed"


def _reachable_guest(data: Data) -> str:
    return f"answers again after {duration(float(data.get('seconds') or 0))}"


_WORDS: Mapping[str, Callable[[Data], str]] = {
    "disabled": _disabled,
    "arrived": lambda data: "arrived after the plan was made",
    "adopted": _adopted,
    "started": _started,
    "replanned": _replanned,
    "moved": _moved,
    "failed": _failed,
    "refused": _refused,
    "timed_out": _timed_out,
    "recovered": lambda data: "in ERROR, but it runs here: state reset",
    "confirming": lambda data: "cold migration finished, confirming it",
    "gone": lambda data: "gone from this host, and not by this drain",
    "left": _left,
    "notify": _notify,
    "capped": _capped,
    "unreachable": _unreachable,
    "reachable": _reachable,
    "unreachable_guest": _unreachable_guest,
    "reachable_guest": _reachable_guest,
    "deadline": lambda data: "deadline reached: nothing more is started",
    "stopped": _stopped,
    "done": lambda data: "nothing more to move",
}

#: The kinds of event that have words.
KINDS = frozenset(_WORDS)
