# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Numbers as an operator reads them: sizes, rates, durations and points in time.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float) -> str:
    """Bytes in the largest unit that keeps a figure before the point: ``1.2 GiB``, ``640 MiB``."""
    value, unit = float(count), 0
    while value >= 1023.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    digits = 1 if unit and value < 99.95 else 0
    return f"{value:.{digits}f} {_UNITS[unit]}"


def rate(bytes_per_second: float) -> str:
    """Bytes per second: ``1.2 GiB/s``."""
    return f"{size(bytes_per_second)}/s"


def duration(seconds: float) -> str:
    """Seconds in at most two units: ``40s``, ``3m05s``, ``1h02m``; below ten, one decimal."""
    if 0 < seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def milliseconds(value: float) -> str:
    """Milliseconds, in seconds from ten on: ``80 ms``, ``12.3 s``."""
    return f"{value:.0f} ms" if value < 9999.5 else f"{value / 1000:.1f} s"


def moment(epoch: float) -> str:
    """Epoch seconds as UTC: ``2026-11-20T03:15:00Z``; ``""`` for 0, which means never."""
    if not epoch:
        return ""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def count(number: int, noun: str) -> str:
    """``1 guest``, ``2 guests``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
