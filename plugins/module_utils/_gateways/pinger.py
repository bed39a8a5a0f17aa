# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""One fping for all addresses, and TCP connects: questions to guests, and when answers came.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import errno
import os
import re
import select
import selectors
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    NotFound,
    ProbeFailed,
    Unauthorized,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import SystemClock

#: The probe pings itself with every round: when that is late, so is everything.
SELF = "127.255.255.254"
#: Milliseconds after which an answer does not count any more.
GIVEN_UP_MS = 1000
#: The same for a connect. After a second Linux repeats one that was lost.
CONNECT_GIVEN_UP_MS = 900
#: fping numbers what is under way for ten seconds with sixteen bits.
MOST_PER_SECOND = 6000
#: An fping whose pipe is full stops asking: room for some ten thousand lines.
PIPE_BYTES = 1 << 20
#: Seconds until fping must have said something.
FIRST_WORD = 10.0
#: Where fping is on some systems, and Ansible does not look when it is not root.
MORE_PATH = "/usr/sbin:/usr/local/sbin:/sbin"
#: `[1795193644.71060] 10.1.0.2 : [0], 64 bytes, 0.241 ms (...)`, or `..., timed out (...)`.
LINE = re.compile(
    r"\[(\d+\.\d+)\] (\S+)\s+: \[(\d+)\], (?:(timed out)|\d+ bytes, [\d.e+]+ ms)(?= |$)"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of one send. ``at``: steady seconds when the answer came or was given up."""

    target: str
    index: int
    at: float
    answered: bool


def parse(line: str, wall_offset: float) -> Reply | None:
    """A line of ``fping -l -D``; None when it tells of no send (warnings, errors of sending).

    ``wall_offset``: what to take from fping's time of day for a steady time.
    """
    if not (match := LINE.search(line)):
        return None
    at, target, index, lost = match.groups()
    return Reply(target, int(index), float(at) - wall_offset, lost is None)


class Fping:
    """A running fping. Sends that fail at once have no reply: their numbers are left out."""

    def __init__(self, command: str, addresses: Sequence[str], interval_ms: int) -> None:
        # Two sends are a millisecond apart where there is room for that.
        apart = "1" if 2 * (len(addresses) + 1) <= interval_ms else "0"
        self._clock = SystemClock()
        self._rest = b""
        self._words = ""
        path = f"{os.environ.get('PATH', os.defpath)}:{MORE_PATH}"
        arguments = ["-l", "-D", "-i", apart, "-p", str(interval_ms), "-t", str(GIVEN_UP_MS)]
        try:
            self._process = subprocess.Popen(
                [command, *arguments, SELF, *addresses],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pipesize=PIPE_BYTES,
                env={**os.environ, "LC_ALL": "C", "PATH": path},
            )
        except FileNotFoundError as error:
            remedy = "Install the package fping on this host, or give the path in `fping`"
            raise NotFound(f"fping: {command!r} is not there", remedy) from error
        except PermissionError as error:
            raise self._not_permitted(command, str(error.strerror)) from error
        hasten(self._process.pid)
        self._first = self._begin(command)

    def fileno(self) -> int:
        return self._process.stdout.fileno()

    def read(self) -> list[Reply]:
        """All that came since, at once. Raises ProbeFailed when fping has ended."""
        found, self._first = self._first, []
        return found + self._take()

    def stop(self) -> None:
        """End it, if it has not ended, and leave nothing behind."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def _take(self) -> list[Reply]:
        found: list[Reply] = []
        while select.select([self], [], [], 0)[0]:
            if not (chunk := os.read(self.fileno(), 65536)):
                remedy = "Look for who ended it, and start the probe again"
                raise ProbeFailed(f"fping ended: {self._words or 'without a word'}", remedy)
            found += self._replies(chunk)
        return found

    def _replies(self, chunk: bytes) -> list[Reply]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        offset = self._clock.offset()
        found = []
        for line in lines:
            text = line.decode(errors="replace")
            if reply := parse(text, offset):
                found.append(reply)
            elif text.strip():
                self._words = text.strip()
        return found

    def _begin(self, command: str) -> list[Reply]:
        """Its first replies, or the error because of which there are none."""
        found: list[Reply] = []
        deadline = self._clock.steady() + FIRST_WORD
        try:
            while not found and (left := deadline - self._clock.steady()) > 0:
                select.select([self], [], [], left)
                found = self._take()
        except ProbeFailed as error:
            self.stop()
            if re.search("root|permi|privilege|mortals", self._words):
                raise self._not_permitted(command, self._words) from error
            raise
        if not found:
            self.stop()
            raise ProbeFailed(
                f"fping sends nothing: {self._words or 'it says nothing'}",
                "Bring up the loopback and the tenants' interface of this host",
            )
        return found

    def _not_permitted(self, command: str, words: str) -> Unauthorized:
        remedy = f"Run the module with become: true, or setcap cap_net_raw+ep {command}"
        return Unauthorized(f"fping: {command!r} may not send pings ({words})", remedy)


class Connects:
    """TCP connects to targets, a round at a time. An answer is a connection that was accepted."""

    def __init__(self, targets: Mapping[str, tuple[str, int]], interval: float) -> None:
        self._targets = targets
        self._interval = interval
        self._clock = SystemClock()
        self._selector = selectors.DefaultSelector()
        self._round = 0
        hasten(os.getpid())
        self._next = self._clock.steady()

    def fileno(self) -> int:
        return self._selector.fileno()

    def due(self) -> float:
        """When the next round is to begin."""
        return self._next

    def begin_round(self) -> list[Reply]:
        """One connect to each target; what was given up or is answered at once is returned."""
        now = self._clock.steady()
        found = list(self._give_up(now))
        for target, (address, port) in self._targets.items():
            found += self._connect(target, address, port, now)
        self._round += 1
        # What was missed while the probe was held up is not made up for.
        self._next = max(self._next + self._interval, now)
        return found

    def read(self) -> list[Reply]:
        """The connects that were accepted or refused since."""
        found = []
        for key, _events in self._selector.select(0):
            target, index, began = key.data
            now = self._clock.steady()
            failed = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            found.append(Reply(target, index, now, not failed and not _too_late(began, now)))
            self._close(key.fileobj)
        return found

    def stop(self) -> None:
        for key in list(self._selector.get_map().values()):
            self._close(key.fileobj)
        self._selector.close()

    def _connect(self, target: str, address: str, port: int, now: float) -> Iterator[Reply]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        attempt = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # Closed with a reset: twenty a second would else leave thousands in TIME_WAIT.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        code = attempt.connect_ex((address, port))
        if code == errno.EINPROGRESS:
            data = (target, self._round, now)
            self._selector.register(attempt, selectors.EVENT_WRITE, data)
            return
        attempt.close()
        yield Reply(target, self._round, now, code == 0)

    def _give_up(self, now: float) -> Iterator[Reply]:
        for key in list(self._selector.get_map().values()):
            target, index, began = key.data
            if _too_late(began, now):
                self._close(key.fileobj)
                yield Reply(target, index, now, False)

    def _close(self, attempt: Any) -> None:
        self._selector.unregister(attempt)
        attempt.close()


def hasten(process: int) -> None:
    """Let a process that wakes often for a moment go first, where that is permitted.

    A nice value would not do: it counts only among the processes of a session.
    """
    with suppress(PermissionError, ProcessLookupError):
        os.sched_setscheduler(process, os.SCHED_RR, os.sched_param(1))


def _too_late(began: float, now: float) -> bool:
    return 1000 * (now - began) > CONNECT_GIVEN_UP_MS


def resolve(address: str, option: str) -> str:
    """The address in digits, to which this host knows a way; raises BadOption without asking it."""
    try:
        family, *_kind, place = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        words = getattr(error, "strerror", None) or "no host's name"
        remedy = "Give the guest's IP address in the tenants' network"
        raise BadOption(option, address, f"is unknown here ({words})", remedy) from error
    with socket.socket(family, socket.SOCK_DGRAM) as way:
        try:
            way.connect(place)  # Sends nothing; the kernel looks for a route.
        except OSError as error:
            remedy = "Run the probe on a host in the tenants' network, or leave the guest out"
            words = f"cannot be reached from this host ({error.strerror})"
            raise BadOption(option, address, words, remedy) from error
    return place[0]
