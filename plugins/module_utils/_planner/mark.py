# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Our mark in the reason of a disabled service: who disabled it, and since when.

This module util is **PRIVATE** to the collection: it may change without notice.
The mark is ``lowtide:<run id>: <text>``; a run id is ``20261120T031500Z-9f3a``: the run's
start in UTC, and four hex digits.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

RUN_ID = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-[0-9a-f]{4}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARK = re.compile(r"lowtide:([^:\s]+):\s*(.*)", re.DOTALL)


def new_run_id(now: float, chance: str) -> str:
    """The id of a run that starts ``now`` (epoch seconds); ``chance``: four hex digits."""
    began = _EPOCH + timedelta(seconds=int(now))
    return began.strftime("%Y%m%dT%H%M%SZ") + f"-{chance}"


def marked(run_id: str, text: str) -> str:
    """The reason to disable a service with."""
    return f"lowtide:{run_id}: {text}"


def run_id_of(reason: str) -> str:
    """The run that disabled a service for this reason; "" when it was somebody else."""
    match = _MARK.match(reason)
    return match[1] if match else ""


def text_of(reason: str) -> str:
    """The reason without the mark."""
    match = _MARK.match(reason)
    return match[2] if match else reason


def since_of(run_id: str) -> str:
    """When a run began, as Nova writes times; "" when the id was made up by a user."""
    match = RUN_ID.fullmatch(run_id)
    return "{}-{}-{}T{}:{}:{}".format(*match.groups()) if match else ""
