# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What a probe's answers say of its targets: sent, lost, and for how long nothing came.

This module util is **PRIVATE** to the collection: it may change without notice.
All times are seconds of one steady clock, unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.times import utc

#: A round that comes later than this many intervals after the one before it was held up.
HELD_UP = 1.5
#: How many sends back an answer may be repeated (a duplicate on the wire) and still be known.
REMEMBERED = 256


class Pace:
    """The probe's own regularity: how late its rounds came, and a clock that stops meanwhile.

    ``note`` wants the time of each round, before the answers of that round are noted elsewhere.
    Time for which the probe itself was held up passes for no target: what it did not ask, nobody
    failed to answer.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._last: float | None = None
        self._lost = 0.0
        self._latest = 0.0

    def note(self, at: float) -> None:
        """A round began (or its own answer came) at that time."""
        if self._last is not None and at - self._last > HELD_UP * self._interval:
            late = at - self._last - self._interval
            self._lost += late
            self._latest = max(self._latest, late)
        self._last = at if self._last is None else max(at, self._last)

    def time(self, at: float) -> float:
        """``at`` without all the time for which the probe was held up until now."""
        return at - self._lost

    @property
    def late_ms(self) -> float | None:
        """The longest delay of a round; None when there was none to measure it by."""
        return None if self._last is None else milliseconds(self._latest)


@dataclass(slots=True)
class Record:
    """What one target answered. A target is measured from its first answer on."""

    first: int | None = None
    tried: int = 0
    answers: int = 0
    last: float | None = None
    last_at: float = 0.0
    gap: float = 0.0
    gap_at: float | None = None
    answered: set[int] = field(default_factory=set)

    def lose(self, index: int) -> None:
        """The send of that number was given up."""
        self.tried = max(self.tried, index + 1)

    def answer(self, index: int, at: float, time: float) -> None:
        """The answer to the send of that number came ``at``; ``time``: the same by the pace."""
        self.tried = max(self.tried, index + 1)
        if self.first is None:
            self.first = index
        if index < self.first or index in self.answered:
            return
        self._remember(index)
        if self.last is not None and time - self.last > self.gap:
            self.gap, self.gap_at = time - self.last, self.last_at
        if self.last is None or time > self.last:
            self.last, self.last_at = time, at

    def _remember(self, index: int) -> None:
        self.answers += 1
        self.answered.add(index)
        if len(self.answered) > 2 * REMEMBERED:
            self.answered = {each for each in self.answered if each >= self.tried - REMEMBERED}

    def figures(self, now: float, wall_offset: float) -> dict[str, Any]:
        """The record as data, at ``now`` (by the pace).

        ``wall_offset``: what to add to a steady time for seconds since 1970. A silence that still
        lasts counts as a gap. A target that never answered has nothing but ``sent``.
        """
        if self.first is None or self.last is None:
            return dict.fromkeys(("lost", "longest_gap_ms", "gap_at", "silent_ms")) | {
                "sent": self.tried,
                "answered": False,
            }
        silent = max(0.0, now - self.last)
        gap, began = (silent, self.last_at) if silent > self.gap else (self.gap, self.gap_at)
        sent = self.tried - self.first
        return {
            "sent": sent,
            "lost": sent - self.answers,
            "longest_gap_ms": milliseconds(gap),
            "gap_at": None if began is None else utc(began + wall_offset),
            "silent_ms": milliseconds(silent),
            "answered": True,
        }


def milliseconds(seconds: float) -> float:
    """With one decimal: finer than that no probe is."""
    return round(1000 * seconds, 1)
