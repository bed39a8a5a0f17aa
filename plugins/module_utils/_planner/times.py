# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Moments as what runs on hosts tells them, to the millisecond.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def utc(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, with milliseconds; empty for 0, which means never."""
    if not seconds:
        return ""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
