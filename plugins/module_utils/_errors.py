# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Errors that an operator can act on: what, which option or host, and the remedy.

This module util is **PRIVATE** to the collection: it may change without notice.
Only :mod:`_module` turns them into ``fail_json``.
"""

from __future__ import annotations

from collections.abc import Mapping


class LowtideError(Exception):
    """``code``: one word for machines. ``str()``: one line, ending with the remedy."""

    code = "error"

    def __init__(self, message: str, remedy: str = "", **details: object) -> None:
        self.message = " ".join(str(message).split())
        self.remedy = " ".join(remedy.split())
        self.details: Mapping[str, object] = details
        super().__init__(
            f"{self.message.rstrip('.')}. {self.remedy}" if self.remedy else self.message
        )


class BadOption(LowtideError):
    """An option's value that cannot be used, found before anything was changed."""

    code = "bad_option"

    def __init__(self, option: str, value: object, why: str, remedy: str) -> None:
        super().__init__(f"{option}: {value!r} {why}", remedy, option=option, value=value)


class NotFound(LowtideError):
    """What the caller named does not exist in this cloud."""

    code = "not_found"


class Unauthorized(LowtideError):
    """No credentials, wrong or expired ones, or ones without the right."""

    code = "unauthorized"


class Unreachable(LowtideError):
    """An API that gave no usable answer: no connection, a time-out, 5xx after retries."""

    code = "unreachable"


class Refused(LowtideError):
    """A request that the API understood and did not take. ``status``: HTTP (4xx)."""

    code = "refused"

    def __init__(self, message: str, remedy: str = "", *, status: int, **details: object) -> None:
        super().__init__(message, remedy, status=status, **details)
        self.status = status


class HostNotReady(LowtideError):
    """A host in a state in which the request makes no sense (down, disabled by another)."""

    code = "host_not_ready"


class Blocked(LowtideError):
    """Guests that cannot move, found before the first one did."""

    code = "blocked"


class NotDrained(LowtideError):
    """A run that ended with something left that was not excluded."""

    code = "not_drained"
