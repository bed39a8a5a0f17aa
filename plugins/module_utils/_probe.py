# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""One reachability probe: its targets, its loop, and how it is started, read and stopped.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import math
import os
import resource
import selectors
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    NotFound,
    ProbeFailed,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import pinger
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import SystemClock
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.control import RunFiles
from ansible_collections.lowtide.compute.plugins.module_utils._planner.reachability import (
    Pace,
    Record,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.times import utc

Row = dict[str, Any]

#: Seconds between two writes of the status file.
WRITE_EVERY = 1.0
#: Seconds of replies taken at once: their times are fping's, so that waiting costs nothing.
BATCH = 0.02
#: Seconds without a word after which fping has failed.
SPEECHLESS = 5.0
#: File descriptors that are not connects.
SPARE_FILES = 64


@dataclass(frozen=True, slots=True)
class Target:
    """A guest to ask. ``place``: its address in digits. ``port``: for TCP; None for no TCP."""

    id: str
    name: str
    address: str
    place: str
    port: int | None


def targets(guests: Sequence[Mapping[str, Any]], interval_ms: int) -> list[Target]:
    """The option ``guests``, checked; raises BadOption before anything is sent."""
    if not guests:
        raise BadOption("guests", guests, "names nobody", "Give at least one guest")
    if not 10 <= interval_ms <= 10000:
        raise BadOption("interval_ms", interval_ms, "is out of range", "Give 10 to 10000")
    found = [_target(guest, f"guests[{at}]") for at, guest in enumerate(guests)]
    for option, values in (
        ("id", [target.id for target in found]),
        ("address", [target.place for target in found]),
    ):
        if twice := next((value for value in values if values.count(value) > 1), None):
            raise BadOption(f"guests.{option}", twice, "is there twice", "Give each guest once")
    most = pinger.MOST_PER_SECOND * interval_ms // 1000
    if len(found) >= most:
        slower = math.ceil(1000 * (len(found) + 1) / pinger.MOST_PER_SECOND)
        remedy = f"Set interval_ms to {slower} or more"
        raise BadOption("interval_ms", interval_ms, f"is too often for {len(found)} guests", remedy)
    _check_files(sum(target.port is not None for target in found), interval_ms)
    return found


def _target(guest: Mapping[str, Any], option: str) -> Target:
    port = guest["port"]
    if port is not None and not 1 <= port <= 65535:
        raise BadOption(f"{option}.port", port, "is no TCP port", "Give 1 to 65535")
    place = pinger.resolve(guest["address"], f"{option}.address")
    return Target(guest["id"], guest["name"] or guest["id"], guest["address"], place, port)


def _check_files(ports: int, interval_ms: int) -> None:
    """Raise BadOption when the connects under way would need more files than there may be."""
    needed = ports * (math.ceil(pinger.GIVEN_UP_MS / interval_ms) + 1) + SPARE_FILES
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if ports and allowed != resource.RLIM_INFINITY and needed > allowed:
        why = f"is too often for {ports} ports: {needed} open files, and {allowed} are allowed"
        raise BadOption("interval_ms", interval_ms, why, "Set it higher, or name fewer ports")


class Probe:
    """Asks all targets until it is told to stop. Use it as a context; ``run`` may be called once.

    Raises NotFound, Unauthorized or ProbeFailed when fping cannot be used.
    """

    def __init__(
        self, asked: Sequence[Target], interval_ms: int, fping: str, clock: SystemClock
    ) -> None:
        self._targets = asked
        self._interval_ms = interval_ms
        self._clock = clock
        interval = interval_ms / 1000
        ports = {target.id: (target.place, target.port) for target in asked if target.port}
        self._records = {target.place: Record() for target in asked}
        self._tcp_records = {target: Record() for target in ports}
        self._pace, self._tcp_pace = Pace(interval), Pace(interval)
        self._heard = self._tcp_heard = clock.steady()
        self._spoke = clock.steady()
        self._began = clock.now()
        self._fping = pinger.Fping(fping, [target.place for target in asked], interval_ms)
        self._connects = pinger.Connects(ports, interval) if ports else None

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_error: object) -> None:
        self._fping.stop()
        if self._connects:
            self._connects.stop()

    def run(self, goes_on: Callable[[], bool], write: Callable[[Row], None]) -> None:
        """Ask until ``goes_on`` says no; ``write`` gets the figures every second.

        Raises ProbeFailed when fping ends or falls silent.
        """
        next_write = self._clock.steady()
        with selectors.DefaultSelector() as selector:
            selector.register(self._fping, selectors.EVENT_READ)
            if self._connects:
                selector.register(self._connects, selectors.EVENT_READ)
            while goes_on():
                self._round(selector)
                if self._clock.steady() >= next_write:
                    write(self.figures(running=True))
                    next_write = self._clock.steady() + WRITE_EVERY

    def _round(self, selector: selectors.BaseSelector) -> None:
        """Wait for something to do, and do all there is."""
        if not self._connects:
            self._clock.sleep(BATCH)
            selector.select(WRITE_EVERY)
        else:
            selector.select(max(0.0, self._connects.due() - self._clock.steady()))
            self._connected(self._connects.read())
            if (now := self._clock.steady()) >= self._connects.due():
                self._tcp_pace.note(now)
                self._tcp_heard = now
                self._connected(self._connects.begin_round())
        self._pinged(self._fping.read())

    def _pinged(self, replies: Iterable[pinger.Reply]) -> None:
        now = self._clock.steady()
        for reply in replies:
            self._spoke = now
            self._heard = max(self._heard, reply.at)
            if reply.target == pinger.SELF:
                if reply.answered:
                    self._pace.note(reply.at)
            elif record := self._records.get(reply.target):
                _note(record, reply, self._pace)
        if now - self._spoke > SPEECHLESS:
            remedy = "Look at the load of this host, and whether its clock was set back"
            raise ProbeFailed(f"fping said nothing for {SPEECHLESS:.0f} s", remedy)

    def _connected(self, replies: Iterable[pinger.Reply]) -> None:
        for reply in replies:
            self._tcp_heard = max(self._tcp_heard, reply.at)
            _note(self._tcp_records[reply.target], reply, self._tcp_pace)

    def figures(self, running: bool = False, error: str = "") -> Row:
        """What is known now, as RETURN of the module describes it."""
        offset = self._clock.offset()
        now, tcp_now = self._pace.time(self._heard), self._tcp_pace.time(self._tcp_heard)
        delays = [pace.late_ms for pace in (self._pace, self._tcp_pace) if pace.late_ms is not None]
        rows = []
        for target in self._targets:
            ping, tcp = self._records[target.place].figures(now, offset), None
            if target.port:
                tcp = self._tcp_records[target.id].figures(tcp_now, offset)
            who = {"id": target.id, "name": target.name, "address": target.address}
            rows.append(who | _headline(ping, tcp) | {"port": target.port, "tcp": tcp})
        return {
            "running": running,
            "pid": os.getpid(),
            "started_at": utc(self._began),
            "written_at": utc(self._clock.now()),
            "interval_ms": self._interval_ms,
            "late_ms": max(delays, default=None),
            "error": error,
            "guests": rows,
        }


def _headline(ping: Row, tcp: Row | None) -> Row:
    """The figures that count: of the pings, unless only connects were ever answered."""
    if not ping["answered"] and tcp and tcp["answered"]:
        return tcp | {"measured_by": "tcp"}
    return ping | {"measured_by": "ping" if ping["answered"] else ""}


def _note(record: Record, reply: pinger.Reply, pace: Pace) -> None:
    if reply.answered:
        record.answer(reply.index, reply.at, pace.time(reply.at))
    else:
        record.lose(reply.index)


def until(seconds: float | None, clock: SystemClock) -> Callable[[], bool]:
    """Says yes for that many seconds; for ever when it is None."""
    end = math.inf if seconds is None else clock.steady() + seconds
    return lambda: clock.steady() < end


def run_to_end(probe: Probe, files: RunFiles, lasts: Callable[[], bool]) -> Row:
    """Run a probe whose control file is claimed. Whatever ends it, its last figures are written.

    It ends when ``lasts`` says no, when the control file is removed, and on SIGTERM and SIGINT.
    """
    told = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: told.append(got))
    error = ""
    try:
        probe.run(lambda: lasts() and not told and files.stands(), files.write)
    except ProbeFailed as failed:
        error = str(failed)
        raise
    finally:
        files.write(probe.figures(error=error))
    return probe.figures()


def status(files: RunFiles, timeout: float, clock: SystemClock) -> Row:
    """The figures of a probe that runs or ran, and how old they are; disturbs nothing.

    Waits up to ``timeout`` seconds for a probe to write its first; then raises NotFound.
    """
    waits = until(timeout, clock)
    while True:
        runner, found = files.runner(), files.read()
        # What another process wrote is left over from before the one that runs.
        if found is not None and runner in (None, found.get("pid")):
            age = max(0.0, clock.now() - os.stat(files.path).st_mtime)
            return found | {"running": runner is not None, "age_ms": round(1000 * age)}
        if not waits():
            remedy = "Start a probe there (state: started, async), or correct the path"
            raise NotFound(f"status_path: {files.path!r}: no probe has written there", remedy)
        clock.sleep(0.1)


def sentence(found: Mapping[str, Any]) -> str:
    """The figures in one line."""
    answered = [guest for guest in found["guests"] if guest["answered"]]
    text = f"{len(answered)} of {len(found['guests'])} guests answered"
    if answered:
        worst = max(answered, key=lambda guest: guest["longest_gap_ms"])
        text += f"; the longest gap is {worst['longest_gap_ms']:.0f} ms ({worst['name']})"
    return text
