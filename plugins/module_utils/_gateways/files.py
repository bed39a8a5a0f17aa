# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Files of this machine, and the record of what they were before we wrote them.

This module util is **PRIVATE** to the collection: it may change without notice.
The record is one file, replaced at once, so that whoever is killed leaves the old or the new one.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption
from ansible_collections.lowtide.compute.plugins.module_utils._planner.kept import File, Known

RECORD = "record.json"
VERSION = 1
BOOT_ID = "/proc/sys/kernel/random/boot_id"
PRIVATE_DIRECTORY, DIRECTORY = 0o700, 0o755


@dataclass(slots=True)
class Record:
    """What is remembered: files by path, directories made, and when each path was last changed.

    ``touched``: boot and microseconds of its monotonic clock, by path.
    """

    files: dict[str, Known] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    touched: dict[str, tuple[str, int]] = field(default_factory=dict)

    def touched_us(self, path: str) -> int:
        """Microseconds of this boot's monotonic clock; 0 when it was another boot, or never."""
        boot, moment = self.touched.get(path, ("", 0))
        return moment if boot == this_boot() else 0


def this_boot() -> str:
    """What tells this boot of the machine from others."""
    with open(BOOT_ID) as file:
        return file.read().strip()


def now_us() -> int:
    """Microseconds on the clock on which systemd notes when services start."""
    return time.monotonic_ns() // 1000


@contextlib.contextmanager
def naming(path: str, doing: str) -> Iterator[None]:
    """Turn what the system refuses into an error that names the path."""
    try:
        yield
    except OSError as error:
        raise BadOption(
            "files",
            path,
            f"cannot be {doing}: {error.strerror}",
            "Run as root (become: true), on a file system that is writable and not full",
        ) from error


def read(path: str, follow: bool = False) -> File | None:
    """A file with its text, mode and owner; None when there is none.

    ``follow``: look at what a symbolic link points to, not at the link.
    """
    with naming(path, "read"):
        try:
            status = os.stat(path) if follow else os.lstat(path)
        except FileNotFoundError:
            return None
        owner = {"uid": status.st_uid, "gid": status.st_gid}
        if stat.S_ISLNK(status.st_mode):
            return File("", 0o777, **owner, link=os.readlink(path))
        with open(path, "rb") as file:
            text = file.read().decode("utf-8", "surrogateescape")
        return File(text, stat.S_IMODE(status.st_mode), **owner)


def write(path: str, file: File) -> None:
    """Replace a file, or make it, at once: nobody ever reads half of it."""
    with naming(path, "written"):
        directory = os.path.dirname(path)
        number, temporary = tempfile.mkstemp(prefix=".lowtide-", dir=directory)
        try:
            with os.fdopen(number, "wb") as target:
                target.write(file.text.encode("utf-8", "surrogateescape"))
                target.flush()
                os.fsync(target.fileno())
            if file.link:
                os.unlink(temporary)
                os.symlink(file.link, temporary)
            else:
                _dress(path, temporary, file)
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _dress(path: str, temporary: str, file: File) -> None:
    if os.path.isfile(path) and not os.path.islink(path):
        # For its label of SELinux; the times, which it copies too, are set right again.
        shutil.copystat(path, temporary)
        os.utime(temporary)
    os.chown(temporary, file.uid, file.gid)
    os.chmod(temporary, file.mode)


def remove(path: str) -> None:
    """Remove a file; it need not exist."""
    with naming(path, "removed"), contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def missing_directories(path: str) -> list[str]:
    """The directories on the way to ``path``, and itself, that do not exist; the topmost first."""
    found = []
    while not os.path.isdir(path):
        found.append(path)
        path = os.path.dirname(path)
    return found[::-1]


def make_directory(path: str, mode: int = DIRECTORY, uid: int = -1, gid: int = -1) -> None:
    """Make one directory; -1: it is of who makes it."""
    with naming(path, "made"):
        os.mkdir(path)
        os.chown(path, uid, gid)
        os.chmod(path, mode)


def remove_directory(path: str) -> bool:
    """Remove a directory unless something is in it; tell whether it was removed."""
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True


def user_id(name: str | None, option: str) -> int | None:
    """The number of a user, by name or number; BadOption naming ``option`` when there is none."""
    return _number(name, option, "user", lambda text: pwd.getpwnam(text).pw_uid)


def group_id(name: str | None, option: str) -> int | None:
    """The number of a group, by name or number; BadOption naming ``option`` when there is none."""
    return _number(name, option, "group", lambda text: grp.getgrnam(text).gr_gid)


def _number(name: str | None, option: str, kind: str, look_up: Callable[[str], int]) -> int | None:
    if name is None or name.isdecimal():
        return None if name is None else int(name)
    try:
        return look_up(name)
    except KeyError:
        raise BadOption(
            option, name, f"is no {kind} of this host", f"Name a {kind} that exists here"
        ) from None


def load(directory: str) -> Record:
    """The record below a directory; an empty one when there is none."""
    path = os.path.join(directory, RECORD)
    file = read(path)
    if file is None:
        return Record()
    try:
        said = json.loads(file.text)
        files = {path: _known(row) for path, row in said["files"].items()}
        touched = {path: (boot, moment) for path, (boot, moment) in said["touched"].items()}
        return Record(files, list(said["directories"]), touched)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadOption(
            "record",
            path,
            f"is no record of files: {error}",
            "Restore it from a backup; without it nobody knows what was there before",
        ) from error


def _known(row: dict) -> Known:
    before = File(**row["before"]) if row["before"] else None
    return Known(before, tuple(row["wrote"]), row["block"], row["secret"])


def save(directory: str, record: Record) -> None:
    """Write the record, readable for its owner only: it may hold keys that were there before."""
    for missing in missing_directories(directory):
        make_directory(missing, PRIVATE_DIRECTORY if missing == directory else DIRECTORY)
    said = {
        "version": VERSION,
        "files": {path: asdict(known) for path, known in record.files.items()},
        "directories": record.directories,
        "touched": record.touched,
    }
    write(os.path.join(directory, RECORD), File(json.dumps(said, indent=1) + "\n", 0o600))
