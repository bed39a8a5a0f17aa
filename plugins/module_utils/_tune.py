# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Setting what migrations may do, once or for as long as they run, and reading how they went.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    HypervisorRefused,
    NotFound,
    Unreachable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import (
    Clock,
    SystemClock,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.control import RunFiles
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.hypervisor import (
    OUTGOING,
    Domain,
    Hypervisor,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import encode
from ansible_collections.lowtide.compute.plugins.module_utils._planner.times import utc
from ansible_collections.lowtide.compute.plugins.module_utils._planner.tuning import (
    AWAY,
    MOVED,
    Held,
    Wish,
    figures,
)

#: Where a watch keeps what it knows, unless it is told.
DEFAULT_PATH = "~/.ansible/lowtide/tuning.json"
#: Seconds between two times that it does.
KEEP_EVERY = 5.0

#: libvirt's domain states in which something can be set.
ACTIVE = frozenset({"running", "paused"})

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wishes:
    """Whose migrations to hold to what. ``named`` None: every domain, to ``default``."""

    default: Wish
    named: Mapping[str, Wish] | None = None

    def of(self, domain: Domain) -> Wish | None:
        """By ID, else by name; None when the domain is not asked for."""
        if self.named is None:
            return self.default
        return self.named.get(domain.id, self.named.get(domain.name))

    def missing(self, domains: Iterable[Domain]) -> list[str]:
        """Who is named and not there."""
        known = {word for domain in domains for word in (domain.id, domain.name)}
        return sorted(set(self.named or ()) - known)


def wishes_of(params: Mapping[str, Any]) -> Wishes:
    """The options as Wishes. Raises BadOption for values that libvirt would refuse."""
    default = _wish(params, Wish())
    if not params["guests"]:
        return Wishes(default)
    named = {}
    for guest in params["guests"]:
        key = guest["id"].lower() if guest["id"] else guest["name"]
        named[key] = _wish(guest, default)
    return Wishes(default, named)


#: Option -> the most that QEMU takes.
MOST = {
    "max_downtime_ms": 2_000_000,
    "bandwidth_mib_s": 8_796_093_022_207,
    "post_copy_bandwidth_mib_s": 8_796_093_022_207,
    "compression_cache_mib": 1024 * 1024,
    "ramp_seconds": 1_000_000,
}


def _wish(given: Mapping[str, Any], default: Wish) -> Wish:
    told = {name: given[name] for name in MOST if given[name] is not None}
    for name, value in told.items():
        if not 0 <= value <= MOST[name]:
            raise BadOption(
                name, value, f"is not within 0 and {MOST[name]}", "Give 0 to leave it as it is"
            )
    cache = told.get("compression_cache_mib", 0)
    if cache & (cache - 1):
        raise BadOption(
            "compression_cache_mib", cache, "is no power of two", "QEMU takes 64, 128, 256, ..."
        )
    return replace(default, **told)


# --- once ------------------------------------------------------------------------------------


def once(
    hypervisor: Hypervisor, wishes: Wishes, now: float, check_mode: bool, *, strict: bool = True
) -> tuple[Held, ...]:
    """Set what differs, on running domains; in check mode only say what would be set.

    ``now``: epoch seconds. Raises NotFound for a guest that is named and has no domain here, when
    ``strict``.
    """
    domains = hypervisor.domains()
    missing = wishes.missing(domains)
    if missing and strict:
        raise NotFound(
            f"guests: {', '.join(missing)} has no domain on this hypervisor",
            "Name guests by ID or by libvirt's name; libvirt_migration_info lists them",
            missing=missing,
        )
    found = []
    for domain in domains:
        wish = wishes.of(domain)
        if wish is not None and domain.state in ACTIVE:
            # It may have left since it was listed.
            with suppress(NotFound):
                held = _seen(hypervisor, Held(domain.id, domain.name, wish), now)
                found.append(_set_once(hypervisor, held, check_mode))
    return tuple(found)


def _seen(hypervisor: Hypervisor, held: Held, now: float) -> Held:
    job = hypervisor.job(held.id)
    if job.kind != OUTGOING or job.stats is None:
        return held
    return held.seen_running(figures(job.stats), now)


def _set_once(hypervisor: Hypervisor, held: Held, check_mode: bool) -> Held:
    # The whole of it, without a ramp: nobody comes back to raise it.
    for name, value in held.wish.settings().items():
        found = hypervisor.setting(held.id, name)
        if found != value:
            if not check_mode:
                hypervisor.apply(held.id, name, value)
            held = held.was_set(name, found, value)
    return held


# --- for as long as they run -----------------------------------------------------------------


@dataclass(slots=True)
class Watch:
    """Holds migrations to their wishes until the guests are away.

    ``goes_on``: asked before each look, False ends the watch. ``keep``: called now and then, so
    that a killed watch loses little.
    """

    hypervisor: Hypervisor
    wishes: Wishes
    clock: Clock
    interval: float
    goes_on: Callable[[], bool]
    keep: Callable[[], None] = lambda: None
    held: dict[str, Held] = field(default_factory=dict)
    interruptions: int = 0
    looks: int = 0
    missed: set[str] = field(default_factory=set)

    def run(self, deadline: float) -> str:
        """Why it ended: ``away``, ``deadline`` or ``stopped``. ``deadline``: seconds from now.

        Raises Unreachable when libvirt cannot be asked even once.
        """
        ends = self.clock.now() + deadline
        kept = self.clock.now()
        while self.goes_on():
            if not self._look():
                return "away"
            if self.clock.now() >= ends:
                return "deadline"
            self._pass(self.interval)
            if self.clock.now() - kept >= KEEP_EVERY:
                self.keep()
                kept = self.clock.now()
        return "stopped"

    def known(self) -> tuple[Held, ...]:
        """All guests that were seen, by name."""
        return tuple(sorted(self.held.values(), key=lambda held: (held.name, held.id)))

    def _look(self) -> bool:
        """Look at every guest once, and set what has another value. False when all are away."""
        try:
            here = {d.id: d for d in self.hypervisor.domains() if self.wishes.of(d) is not None}
        except Unreachable:
            if not self.looks:
                raise
            # libvirt is being restarted, which does not disturb migrations that run.
            self.interruptions += 1
            return True
        self.looks += 1
        for domain in here.values():
            held = self.held.get(domain.id) or self._new(domain)
            # A domain that was migrated away may stay defined.
            left = held.outcome == MOVED and domain.state not in ACTIVE
            self.held[domain.id] = held if left else self._tended(held)
        self._note_absences(here)
        return any(held.outcome not in AWAY for held in self.held.values())

    def _new(self, domain: Domain) -> Held:
        return Held(domain.id, domain.name, self.wishes.of(domain) or Wish())

    def _note_absences(self, here: Mapping[str, Domain]) -> None:
        """A guest that is missed twice is gone: the word of how it went may come in between."""
        absent = {held.id for held in self.held.values() if held.id not in here}
        for domain_id in absent & self.missed:
            self.held[domain_id] = self.held[domain_id].absent(self.clock.now())
        self.missed = absent

    def _pass(self, seconds: float) -> None:
        for domain_id, stats in self.hypervisor.wait(seconds):
            held = self.held.get(domain_id)
            if held is not None:
                self.held[domain_id] = held.completed(figures(stats, ended=True), self.clock.now())

    def _tended(self, held: Held) -> Held:
        try:
            job = self.hypervisor.job(held.id)
            if job.kind != OUTGOING or job.stats is None:
                return held.seen_idle(self.clock.now())
        except (NotFound, Unreachable):
            # The next look tells what became of it.
            return held
        except HypervisorRefused as refusal:
            return held.failed(str(refusal))
        return self._corrected(held.seen_running(figures(job.stats), self.clock.now()))

    def _corrected(self, held: Held) -> Held:
        for name, value in held.settings().items():
            try:
                now = self.hypervisor.setting(held.id, name)
                if now != value:
                    self.hypervisor.apply(held.id, name, value)
                    held = held.was_set(name, now, value)
            except (NotFound, Unreachable):
                break
            except HypervisorRefused as refusal:
                held = held.failed(str(refusal))
        return held


def watch(
    hypervisor: Hypervisor, wishes: Wishes, params: Mapping[str, Any], clock: SystemClock
) -> Row:
    """A whole watch: claim its files, hold, and leave what was found in the status file."""
    for option, least in (("interval", 0.1), ("deadline", 0.0)):
        if params[option] < least:
            raise BadOption(option, params[option], "is too short", f"Give {least} or more seconds")
    files = files_of(params["status_path"], clock)
    if not files.claim():
        remedy = "End it with state: absent, or give this one a path of its own"
        raise BadOption("status_path", files.path, "is where another watch writes now", remedy)
    began = clock.now()

    def result(ended_by: str) -> Row:
        times = {"ended_by": ended_by, "interruptions": held.interruptions}
        return {**told(held.known()), **times, "seconds": round(clock.now() - began, 1)}

    held = Watch(hypervisor, wishes, clock, params["interval"], files.stands)
    held.keep = lambda: files.write(result("running"))
    try:
        # What an earlier watch left there is not this one's.
        held.keep()
        found = result(held.run(params["deadline"]))
        files.write(found)
    finally:
        files.release()
    return found


def files_of(path: str | None, clock: SystemClock) -> RunFiles:
    """A watch's files; the directory of the default path is made."""
    if path is None:
        path = os.path.expanduser(DEFAULT_PATH)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    return RunFiles(os.path.abspath(path), "status_path", clock)


def end_watch(files: RunFiles, timeout: float, check_mode: bool) -> Row:
    """End the watch that writes there, if one does, and return what it found."""
    running = files.runner() is not None
    if running and not check_mode and not files.end(timeout):
        raise Unreachable(
            f"timeout: the watch at {files.path!r} did not end within {timeout:g} s",
            "libvirt may not answer it: see `virsh list`, then end its process",
            pid=files.runner(),
        )
    found = files.read() or {**told(()), "ended_by": "", "interruptions": 0, "seconds": 0.0}
    return {**found, "changed": running}


# --- as data ---------------------------------------------------------------------------------


def told(helds: Sequence[Held]) -> Row:
    """The guests as RETURN documents them, and what was changed."""
    times = sum(sum(held.times_applied.values()) for held in helds)
    moved = sum(held.outcome == MOVED for held in helds)
    return {
        "changed": times > 0,
        "guests": [row(held) for held in helds],
        "diff": diff(helds),
        "msg": f"{len(helds)} guests, {moved} moved, values set {times} times",
    }


def row(held: Held) -> Row:
    """One guest as RETURN documents it."""
    return {
        "id": held.id,
        "name": held.name,
        "outcome": held.outcome,
        "ended": held.outcome in AWAY,
        "attempts": held.attempts,
        "wanted": held.wish.settings(),
        "before": dict(held.before),
        "applied": dict(held.applied),
        "times_applied": dict(held.times_applied),
        "times_overwritten": dict(held.times_overwritten),
        **encode(held.figures),
        "final": held.final,
        "samples": held.samples,
        "started_at": utc(held.started_at),
        "ended_at": utc(held.ended_at),
        "problems": list(held.problems),
    }


def diff(helds: Sequence[Held]) -> dict[str, dict[str, Any]]:
    """What was set, guest by guest: the values found first, and those that hold now."""
    changed = [held for held in helds if held.times_applied]
    return {
        "before": {held.name: dict(held.before) for held in changed},
        "after": {held.name: {**held.before, **held.applied} for held in changed},
    }
