# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Errors that an operator can act on: what, which option or host, and the remedy.

This module util is **PRIVATE** to the collection: it may change without notice.
Only :mod:`_module` turns them into ``fail_json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


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


class BadOptions(LowtideError):
    """Such values, told all at once. ``faults``: a row for each."""

    code = "bad_option"

    def __init__(self, faults: Sequence[BadOption]) -> None:
        different = {str(fault): fault for fault in faults}
        first = next(iter(different.values()))
        message, remedy = first.message, first.remedy
        if len(different) > 1:
            told = (f"{f.message.rstrip('.')} ({f.remedy})" for f in different.values())
            message, remedy = "; ".join(told), f"Correct all {len(different)}, and try again"
        rows = [{**f.details, "msg": str(f), "remedy": f.remedy} for f in different.values()]
        super().__init__(message, remedy, faults=rows)


class BadConfiguration(LowtideError):
    """A service's configuration that the service itself could not read."""

    code = "bad_configuration"


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


class HostBusy(LowtideError):
    """A host on which a migration runs, which what was asked would break."""

    code = "host_busy"


class Blocked(LowtideError):
    """Guests that cannot move, found before the first one did."""

    code = "blocked"


class DoesNotFit(LowtideError):
    """Guests that do not fit hosts as was asserted."""

    code = "does_not_fit"


class NotDrained(LowtideError):
    """A run that ended with something left that was not excluded."""

    code = "not_drained"


class ProbeFailed(LowtideError):
    """A probe that cannot ask its targets, or that stopped asking."""

    code = "probe_failed"


class MissingLibrary(LowtideError):
    """A Python library that this machine lacks."""

    code = "missing_library"


class HypervisorRefused(LowtideError):
    """Libvirt understood a request and did not do it. ``libvirt_code``: its number for why."""

    code = "hypervisor_refused"

    def __init__(self, message: str, remedy: str = "", *, libvirt_code: int) -> None:
        super().__init__(message, remedy, libvirt_code=libvirt_code)
        self.libvirt_code = libvirt_code
