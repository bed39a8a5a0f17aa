# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""A running nova-compute: what it was started with, what it does not know yet, what it may be told.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DEFAULT_FILES = ("/etc/nova/nova.conf", "/etc/nova/nova-compute.conf")
DEFAULT_DIRS = ("/etc/nova/nova.conf.d", "/etc/nova/nova-compute.conf.d")
NAME = "nova-compute"
#: Whether a directory is read after all files, before one, or not at all.
LAST, OVERRULED, UNREAD = "last", "overruled", "unread"
#: The first Nova whose nova-compute uses threads unless it is told otherwise (nova/cmd/compute.py).
THREADS_SINCE = 34
YES = ("1", "true", "yes")
#: What oslo.config and oslo.log say of an option that they do not take, or will not for long.
COMPLAINT = re.compile(
    r"ConfigFileValueError|is not valid: |ConfigFileParseError|CRITICAL"
    r"|[Oo]ption .* is deprecated|Deprecated: Option|RequiredOptError",
)


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told from all others by ``identity``. ``started``: seconds of the epoch."""

    pid: int
    identity: str
    started: float
    argv: tuple[str, ...] = ()
    #: OS_NOVA_DISABLE_EVENTLET_PATCHING in its environment, empty when that is not set.
    no_patching: str = ""
    #: Whether it holds an epoll descriptor, as eventlet's loop does on Linux.
    polls: bool = False


@dataclass(frozen=True, slots=True)
class DropIn:
    """Our file. ``written``: seconds of the epoch. ``options``: ``group.option`` of each."""

    digest: str
    written: float
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What was noted of a process: the file it was last measured by, and what it does not know."""

    process: str
    digest: str
    restart: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """Options that the process has not taken: by a restart, or by SIGHUP."""

    restart: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sources:
    """What oslo.config is told to read; ``files``, ``dirs``: None where it is not, and has its own.

    ``steps``: all of it in the order in which it is read, with whether each is a file.
    """

    files: tuple[str, ...] | None
    dirs: tuple[str, ...] | None
    steps: tuple[tuple[str, bool], ...]

    def order(self, directory: str) -> str:
        """LAST, OVERRULED or UNREAD. Directories that follow say their own."""
        order = UNREAD
        for path, is_file in self.steps:
            if path == directory:
                order = LAST
            elif is_file and order == LAST:
                order = OVERRULED
        return order


def sources(argv: Sequence[str]) -> Sources:
    """What a nova-compute with these arguments reads.

    oslo.config reads its default files unless files are named, then its default directories
    unless directories are named, and last what is named, in that order; the last value wins
    (oslo_config/cfg.py, ConfigOpts._parse_config_files). So a nova.conf that is named overrules
    a nova.conf.d that is not.
    """
    named = tuple((path, option == "--config-file") for option, path in _named(argv))
    files = tuple(path for path, is_file in named if is_file)
    dirs = tuple(path for path, is_file in named if not is_file)
    own = [(path, True) for path in (() if files else DEFAULT_FILES)]
    own += [(path, False) for path in (() if dirs else DEFAULT_DIRS)]
    return Sources(files or None, dirs or None, (*own, *named))


def _named(argv: Sequence[str]) -> Iterable[tuple[str, str]]:
    for index, word in enumerate(argv):
        option, equals, path = word.partition("=")
        if option in ("--config-file", "--config-dir"):
            value = path if equals else "".join(argv[index + 1 : index + 2])
            yield option, value.rstrip("/")


def takes_sighup(process: Process, release: int | None, backend: str | None = None) -> bool:
    """Whether SIGHUP makes it read its mutable options. Everything else ends by it.

    ``release``: Nova's number (34 for 2026.2), None when unknown. ``backend``: its
    concurrency_backend. With eventlet, oslo.service reloads; with threads, in one process as
    nova-compute is, it only leaves (oslo_service/backend/_threading/service.py, ProcessLauncher).
    When in doubt, it does not.
    """
    asked = process.no_patching.lower()
    if asked in YES or not process.polls:
        return False
    if asked or backend == "eventlet":
        return True
    return release is not None and release < THREADS_SINCE and backend != "threading"


def pending(process: Process | None, drop_in: DropIn | None, told: Told | None) -> Pending:
    """What the process does not know of the drop-in.

    What was noted of this very process counts. A file that is not the one noted, or that is
    newer than a process of which nothing was noted, was changed by others: all of it.
    """
    if process is None:
        return Pending()
    options = drop_in.options if drop_in else ()
    if told is not None and told.process == process.identity:
        same = told.digest == (drop_in.digest if drop_in else "")
        return Pending(told.restart if same else merged(told.restart, options), told.reload)
    newer = drop_in is not None and drop_in.written > process.started
    return Pending(options if newer else ())


def noted(
    process: Process,
    drop_in: DropIn | None,
    before: Pending,
    restart: Iterable[str] = (),
    reload: Iterable[str] = (),
) -> Told:
    """The record of the process after ``restart`` and ``reload`` came to what it did not know."""
    return Told(
        process.identity,
        drop_in.digest if drop_in else "",
        merged(before.restart, restart),
        merged(before.reload, reload),
    )


def merged(*lists: Iterable[str]) -> tuple[str, ...]:
    """Everything in them, sorted, once."""
    return tuple(sorted({name for names in lists for name in names}))


def complaints(lines: Iterable[str], pid: int, options: Iterable[str]) -> list[str]:
    """Lines that this process logged against these options (``group.option``), or before it died.

    A line of oslo.log is ``DATE TIME PID LEVEL LOGGER ...``.
    """
    names = {option.rpartition(".")[2] for option in options}
    own = (line for line in lines if line.split()[2:3] == [str(pid)])
    return [
        line
        for line in own
        if COMPLAINT.search(line)
        and (" CRITICAL " in line or any(re.search(rf"\b{name}\b", line) for name in names))
    ]


@dataclass(frozen=True, slots=True)
class Start:
    """How nova-compute is to be started so that a directory has the last word.

    ``order``: what it is without our doing. ``command``: the ExecStart= that mends it; empty when
    nothing is to be mended, None when nobody can tell how. ``reads``: what is read then.
    """

    order: str
    command: str | None
    reads: Sources


def start(argv: Sequence[str], command: str, directory: str, script: str | None) -> Start:
    """Decide. ``argv``: of the running process, empty when there is none; ``command``: the unit's
    own ExecStart=; ``script``: see ``with_directory``."""
    ours = ("--config-dir", directory)
    own = tuple(argv) or tuple(command.split())
    while own[-2:] == ours and not command.endswith(" ".join(ours)):
        own = own[:-2]
    order = sources(own).order(directory)
    mended = "" if order == LAST else with_directory(command, directory, script)
    return Start(order, mended, sources(own if order == LAST else (*own, *ours)))


def script_of(argv: Sequence[str]) -> str:
    """The path of nova-compute among the arguments of its process; its name when it is not."""
    paths = [word for word in argv[:2] if word.rpartition("/")[2] == NAME]
    return paths[0] if paths else NAME


def program(command: str) -> str:
    """The program of an ExecStart=, without systemd's prefixes."""
    return command.split()[0].lstrip("@-:+!") if command.split() else ""


def with_directory(command: str, directory: str, script: str | None = None) -> str | None:
    """An ``ExecStart=`` that reads ``directory`` after all else; None when nobody can tell how.

    ``command``: the unit's own, as it is written there. ``script``: the text of the program that
    it starts, when that is a shell script: Debian's prints its own arguments (``show-args``).
    """
    words = [word.rpartition("/")[2] for word in command.split()]
    name = program(command).rpartition("/")[2]
    if script is not None:
        if words[1:] != ["systemd-start"] or "show-args)" not in script:
            return None
        return f"/bin/sh -c 'exec $$({program(command)} show-args) --config-dir {directory}'"
    if name == NAME or (name.startswith("python") and words[1:2] == [NAME]):
        return f"{command} --config-dir {directory}"
    return None
