# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The two files by which a long run is read and ended from outside.

This module util is **PRIVATE** to the collection: it may change without notice.
The control file is locked while its run lives, so that one left by a killed run holds nobody up.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import SystemClock

#: A control file is the status file's name with this behind it.
SUFFIX = ".run"
POLL = 0.05
FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class RunFiles:
    """The status file at ``path``, which ``option`` named, and the control file beside it.

    A run goes on for as long as its control file is there. All methods raise BadOption when the
    files cannot be used.
    """

    def __init__(self, path: str, option: str, clock: SystemClock) -> None:
        self.path = path
        self.control = path + SUFFIX
        self._option = option
        self._clock = clock
        self._held = -1

    def claim(self) -> bool:
        """Create and lock the control file, or take over a dead run's; False when one lives."""
        with self._understood():
            while (descriptor := self._locked(create=True)) is not None:
                self._held = descriptor
                # Its last owner may have removed it before we had the lock.
                if self.stands():
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()}\n".encode())
                    return True
                os.close(descriptor)
        return False

    def stands(self) -> bool:
        """Whether our control file is still there: nobody has asked for the end."""
        try:
            there = os.stat(self.control, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._held))

    def release(self) -> None:
        """Remove the control file if it is still ours, and let go of it."""
        if self.stands():
            os.unlink(self.control)
        os.close(self._held)
        self._held = -1

    def runner(self) -> int | None:
        """The process of the run that lives, 0 while it is about to say so; None when none does."""
        with self._understood(), suppress(FileNotFoundError):
            descriptor = self._locked(shared=True)
            if descriptor is None:
                with open(self.control) as file:
                    return int(file.read() or 0)
            os.close(descriptor)
        return None

    def end(self, timeout: float) -> bool:
        """Remove the control file and wait for its run to let go; False when it did not."""
        deadline = self._clock.steady() + timeout
        with self._understood(), suppress(FileNotFoundError):
            descriptor = os.open(self.control, FLAGS)
            os.unlink(self.control)
            while not (free := _lock(descriptor, fcntl.LOCK_SH)):
                if self._clock.steady() >= deadline:
                    break
                self._clock.sleep(POLL)
            os.close(descriptor)
            return free
        return True

    def write(self, found: Mapping[str, Any]) -> None:
        """Replace the status file in one step: a reader sees the old or the new. Mode 0600."""
        beside = self.path + ".new"
        with self._understood():
            descriptor = os.open(beside, FLAGS | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(found, file)
            os.replace(beside, self.path)

    def read(self) -> dict[str, Any] | None:
        """What ``write`` left there; None when there is nothing yet."""
        with self._understood(), suppress(FileNotFoundError):
            with os.fdopen(os.open(self.path, FLAGS)) as file:
                if (owner := os.fstat(file.fileno()).st_uid) != os.geteuid():
                    raise self._unusable(f"belongs to the user with ID {owner}")
                try:
                    found = json.load(file)
                except ValueError:
                    found = None
            if not isinstance(found, dict):
                raise self._unusable("is not a status file")
            return found
        return None

    def _locked(self, create: bool = False, shared: bool = False) -> int | None:
        """A descriptor of the locked control file; None while a run holds it."""
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        descriptor = os.open(self.control, FLAGS | (os.O_CREAT if create else 0), 0o600)
        for pause in (POLL, POLL, 0):  # One who only looks holds it for a moment, too.
            if _lock(descriptor, kind):
                return descriptor
            self._clock.sleep(pause)
        os.close(descriptor)
        return None

    @contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if os.path.isdir(os.path.dirname(self.path)):
                raise
            raise self._unusable("lies in a directory that does not exist") from error
        except OSError as error:
            raise self._unusable(f"cannot be used ({error.strerror})") from error

    def _unusable(self, why: str) -> BadOption:
        remedy = "Give a path in a directory of the user as whom the module runs"
        return BadOption(self._option, self.path, why, remedy)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
