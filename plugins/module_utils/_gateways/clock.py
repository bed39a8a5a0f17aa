# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The clock: the only place that reads the time or sleeps.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Epoch seconds and a way to let them pass."""

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def steady(self) -> float:
        """Seconds that nobody sets; only their differences mean anything."""
        return time.monotonic()

    def offset(self) -> float:
        """``now()`` less ``steady()``, as of one moment.

        Whoever has to wait for the processor between two readings has read two moments, so the
        quickest of a few attempts counts.
        """
        attempts = []
        for _each in range(5):
            before, now, after = self.steady(), self.now(), self.steady()
            attempts.append((after - before, now - (before + after) / 2))
            if after - before < 0.0002:
                break
        return min(attempts)[1]

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))
