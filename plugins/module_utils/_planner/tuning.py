# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Holding a running migration to its guest's policy: what to set, and what it showed.

This module util is **PRIVATE** to the collection: it may change without notice.
Nova raises the maximum downtime step by step (50, 95, ... 500 ms) and never reads it: a value
from outside survives only until its next step, and must then be set again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

MIB = 1024 * 1024
#: A ramp rises to the maximum downtime in this many steps, as Nova's own does by default.
RAMP_STEPS = 10

WAITING = "waiting"
RUNNING = "running"
STAYED = "stayed"
MOVED = "moved"
GONE = "gone"
#: How a guest is after which it is not looked for any more.
AWAY = frozenset({MOVED, GONE})


@dataclass(frozen=True, slots=True)
class Wish:
    """What a guest's migrations are to be held to. 0: left as it is.

    ``ramp_seconds``: after the first pass over the memory, after which the downtime may be its
    maximum; 0: at once. QEMU stops a guest as soon as what remains fits into the limit, so that a
    large one costs also those guests their time that could do with less.
    """

    max_downtime_ms: int = 0
    bandwidth_mib_s: int = 0
    post_copy_bandwidth_mib_s: int = 0
    compression_cache_mib: int = 0
    ramp_seconds: float = 0.0

    def settings(self, elapsed_ms: int | None = None) -> dict[str, int]:
        """Setting -> value wanted so long after the first pass; ``None``: in no migration."""
        downtime = self.max_downtime_ms
        if self.ramp_seconds and downtime and elapsed_ms is not None:
            step = int(RAMP_STEPS * elapsed_ms / (1000 * self.ramp_seconds)) + 1
            downtime = max(1, downtime * min(step, RAMP_STEPS) // RAMP_STEPS)
        wanted = {
            "max_downtime_ms": downtime,
            "bandwidth_mib_s": self.bandwidth_mib_s,
            "post_copy_bandwidth_mib_s": self.post_copy_bandwidth_mib_s,
            "compression_cache_mib": self.compression_cache_mib,
        }
        return {name: value for name, value in wanted.items() if value}


@dataclass(frozen=True, slots=True)
class Figures:
    """A migration in numbers; ``None``: not known.

    ``bytes``: sent in all, memory and disks. ``downtime_ms``: only of a migration that has ended
    without post-copy. ``expected_downtime_ms``: QEMU's last guess while it ran.
    ``dirty_rate_mib_s``: as QEMU measured it, from the second pass on; of several looks, the most.
    ``throttle_percent``: the most that auto-converge took of the guest's CPU time, 0 when it took
    none. ``block``: disks were copied.
    """

    total_ms: int | None = None
    setup_ms: int | None = None
    downtime_ms: int | None = None
    expected_downtime_ms: int | None = None
    bytes: int | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    remaining_bytes: int | None = None
    dirty_rate_mib_s: float | None = None
    iterations: int | None = None
    throughput_mib_s: float | None = None
    throttle_percent: int | None = None
    post_copy_requests: int | None = None
    block: bool | None = None


def figures(stats: Mapping[str, Any], ended: bool = False) -> Figures:
    """Read libvirt's job statistics (VIR_DOMAIN_JOB_*), of a migration that runs or has ended."""
    downtime = stats.get("downtime")
    # With post-copy it is the pause on the source alone: 3 ms where clients missed the guest 193.
    whole = not stats.get("memory_postcopy_requests")
    speed = stats.get("memory_bps")
    total = stats.get("time_elapsed")
    disk_total = stats.get("disk_total")
    return Figures(
        total_ms=total,
        setup_ms=stats.get("setup_time"),
        downtime_ms=downtime if ended and whole else None,
        expected_downtime_ms=None if ended else downtime,
        bytes=stats.get("data_processed"),
        memory_bytes=stats.get("memory_processed"),
        disk_bytes=stats.get("disk_processed"),
        remaining_bytes=stats.get("data_remaining"),
        dirty_rate_mib_s=_dirty_rate(stats, ended),
        iterations=stats.get("memory_iteration"),
        throughput_mib_s=round(speed / MIB, 1) if speed else _average(stats),
        throttle_percent=stats.get("auto_converge_throttle", 0),
        post_copy_requests=stats.get("memory_postcopy_requests"),
        block=None if disk_total is None else disk_total > 0,
    )


def _dirty_rate(stats: Mapping[str, Any], ended: bool) -> float | None:
    """MiB/s; QEMU says 0 also during the first pass, and when it is over."""
    pages = stats.get("memory_dirty_rate", 0)
    if not pages and (ended or stats.get("memory_iteration", 0) < 2):
        return None
    return round(pages * stats.get("memory_page_size", 4096) / MIB, 1)


def _average(stats: Mapping[str, Any]) -> float | None:
    """MiB/s over the time in which something was sent."""
    sent = stats.get("data_processed")
    ms = stats.get("time_elapsed", 0) - stats.get("setup_time", 0)
    return None if sent is None or ms <= 0 else round(sent / MIB / (ms / 1000), 1)


#: Figures that fall again while a migration goes on: what counts is the most that was seen.
_PEAKS = ("dirty_rate_mib_s", "throttle_percent", "block")


def joined(before: Figures, now: Figures) -> Figures:
    """Both in one: the newer of what is known, but the peaks of what rises and falls."""
    known = {
        name: getattr(now, name) for name in Figures.__slots__ if getattr(now, name) is not None
    }
    for name in _PEAKS:
        values = [getattr(each, name) for each in (before, now)]
        known[name] = max((value for value in values if value is not None), default=None)
    return replace(before, **known)


@dataclass(frozen=True, slots=True)
class Held:
    """What a watch knows of one guest.

    ``before``: each setting's value when it was first seen in a migration. ``applied``: setting ->
    the value last set. ``times_applied``: how often; ``times_overwritten``: how often of these
    somebody else had changed our value. ``attempts``: migrations seen. ``outcome``: waiting (none
    seen), running, stayed (the last one ended, the guest is still here), moved, or gone (no word
    how). ``final``: where the figures come from: completed, last_sample or none. Times are epoch
    seconds, of the last migration. ``first_pass_ms``: into it, when its first pass was seen to be
    over; ``None``: not yet.
    """

    id: str
    name: str
    wish: Wish = Wish()
    outcome: str = WAITING
    attempts: int = 0
    before: Mapping[str, int] = field(default_factory=dict)
    applied: Mapping[str, int] = field(default_factory=dict)
    times_applied: Mapping[str, int] = field(default_factory=dict)
    times_overwritten: Mapping[str, int] = field(default_factory=dict)
    figures: Figures = Figures()
    final: str = "none"
    first_pass_ms: int | None = None
    samples: int = 0
    started_at: float = 0.0
    ended_at: float = 0.0
    problems: tuple[str, ...] = ()

    # --- what was seen

    def seen_running(self, now: Figures, at: float) -> Held:
        """One look at its migration while it runs."""
        if self.outcome != RUNNING:
            began = at - (now.total_ms or 0) / 1000
            fresh = replace(
                self,
                outcome=RUNNING,
                attempts=self.attempts + 1,
                applied={},
                started_at=began,
                ended_at=0.0,
            )
            seen = replace(fresh, figures=now, final="last_sample", first_pass_ms=None)
        else:
            seen = replace(self, figures=joined(self.figures, now))
        if seen.first_pass_ms is None and (now.iterations or 0) > 1:
            seen = replace(seen, first_pass_ms=now.total_ms)
        return replace(seen, samples=self.samples + 1)

    def settings(self) -> dict[str, int]:
        """Setting -> value wanted now."""
        total = self.figures.total_ms
        if total is None:
            return self.wish.settings()
        return self.wish.settings(0 if self.first_pass_ms is None else total - self.first_pass_ms)

    def seen_idle(self, at: float) -> Held:
        """It is here, and no migration runs."""
        if self.outcome == RUNNING:
            return replace(self, outcome=STAYED, ended_at=at)
        return replace(self, outcome=WAITING) if self.outcome in AWAY else self

    def completed(self, now: Figures, at: float) -> Held:
        """Libvirt said that its migration succeeded, and its figures."""
        seen = self.outcome == RUNNING
        return replace(
            self,
            outcome=MOVED,
            attempts=self.attempts if seen else self.attempts + 1,
            figures=joined(self.figures, now) if seen else now,
            final="completed",
            started_at=self.started_at if seen else at - (now.total_ms or 0) / 1000,
            ended_at=at,
        )

    def absent(self, at: float) -> Held:
        """It is not here (any more)."""
        return self if self.outcome in AWAY else replace(self, outcome=GONE, ended_at=at)

    # --- what was done

    def was_set(self, name: str, found: int, value: int) -> Held:
        """One setting was set; ``found``: its value before."""
        overwritten = self.times_overwritten
        if self.applied.get(name, found) != found:
            overwritten = _counted(overwritten, name)
        return replace(
            self,
            before={name: found, **self.before},
            applied={**self.applied, name: value},
            times_applied=_counted(self.times_applied, name),
            times_overwritten=overwritten,
        )

    def failed(self, problem: str) -> Held:
        """Something could not be read or set. The same words are kept once."""
        known = problem in self.problems
        return self if known else replace(self, problems=(*self.problems, problem))


def _counted(times: Mapping[str, int], name: str) -> dict[str, int]:
    return {**times, name: times.get(name, 0) + 1}
