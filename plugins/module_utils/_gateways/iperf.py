# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Both ends of a measurement with iperf3; the far one ends by itself, whatever happens.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import NotFound, ProbeFailed
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import SystemClock
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.links import (
    environment,
    program,
)

NAME = "iperf3"
MISSING = "Install the package iperf3 on this host"
#: By this variable of their environment the processes of a listener are known.
MARK = "LOWTIDE_PATH_LISTENER"
#: Seconds to wait for a listener: until it listens, and until it is gone.
BEGIN, END = 5.0, 3.0
#: Seconds for which a client tries again while nobody listens, or the listener is busy.
RETRY_FOR, RETRY_EVERY = 3.0, 0.2
CONNECT_MS = 3000
#: Seconds that a measurement may take longer than it should.
PATIENCE = 10.0
TCP_LISTEN = "0A"
#: The server of iperf3 takes one test and ends; one for each direction is wanted.
SERVE = 'for _ in $(seq "$TESTS"); do "$@" || exit; done'


@dataclass(frozen=True, slots=True)
class Throughput:
    """Mbit/s that arrived, and TCP segments that were sent again (None: not known)."""

    mbit: float
    resent: int | None


@dataclass(frozen=True, slots=True)
class Client:
    """Measures to a listener. ``seconds`` of each direction count, after ``omit`` that do not."""

    address: str
    source: str
    port: int
    seconds: float
    omit: float
    streams: int

    def measure(self, *, back: bool, clock: SystemClock) -> Throughput:
        """One direction: from here to there, or ``back``. Raises NotFound or ProbeFailed."""
        deadline = clock.steady() + RETRY_FOR
        while True:
            told = self._run(back)
            error = told.get("error", "")
            again = "refused" in error or "busy" in error
            if not again or clock.steady() > deadline:
                break
            clock.sleep(RETRY_EVERY)
        if error:
            raise ProbeFailed(error.removeprefix("error - "))
        return throughput(told)

    def _run(self, back: bool) -> dict[str, Any]:
        command = [NAME, "--client", self.address, "--bind", self.source, "--json"]
        command += ["--port", str(self.port), "--time", f"{self.seconds:g}"]
        command += ["--omit", f"{self.omit:g}", "--parallel", str(self.streams)]
        command += ["--connect-timeout", str(CONNECT_MS), *(["--reverse"] if back else [])]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=self.seconds + self.omit + CONNECT_MS / 1000 + PATIENCE,
                env=environment(),
                check=False,
            )
        except FileNotFoundError as error:
            raise NotFound("iperf3 is not there", MISSING) from error
        except subprocess.TimeoutExpired:
            return {"error": "the data stopped on the way"}
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {"error": done.stderr.strip() or "iperf3 says nothing"}


def throughput(told: dict[str, Any]) -> Throughput:
    """The figures in iperf3's own result; raises ProbeFailed when it has none."""
    try:
        end = told["end"]
        mbit = end["sum_received"]["bits_per_second"] / 1e6
        return Throughput(round(mbit, 1), end["sum_sent"].get("retransmits"))
    except KeyError as error:
        raise ProbeFailed(f"iperf3's result has no {error}", "Update iperf3, it is old") from error


class Listener:
    """An iperf3 that takes some tests at an address and port of this host, and ends."""

    def __init__(self, address: str, port: int, clock: SystemClock) -> None:
        self._address = address
        self._port = port
        self._clock = clock
        self._mark = f"{address} {port}"

    def start(self, seconds: float, tests: int) -> None:
        """Listen for that many tests, but no longer than ``seconds``; return when it listens.

        Raises NotFound when iperf3 is missing, ProbeFailed when it cannot listen there.
        """
        if program(NAME) is None:
            raise NotFound("iperf3 is not there", MISSING)
        self.stop()
        self._check_free()
        command = ["timeout", "--kill-after=2", f"{seconds:g}", "sh", "-c", SERVE, "sh", NAME]
        command += ["--server", "--one-off", "--bind", self._address, "--port", str(self._port)]
        marked = {**environment(), MARK: self._mark, "TESTS": str(tests)}
        # A file, for a pipe would break when this process ends.
        with tempfile.TemporaryFile("w+") as words:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=marked,
                start_new_session=True,
            )
            self._wait(process, words)

    def _wait(self, process: subprocess.Popen[bytes], words: IO[str]) -> None:
        deadline = self._clock.steady() + BEGIN
        while process.poll() is None and self._clock.steady() < deadline:
            if _somebody_listens(self._port):
                return
            self._clock.sleep(0.02)
        self.stop()
        words.seek(0)
        raise self._cannot_listen(" ".join(words.read().split()) or "it says nothing")

    def _check_free(self) -> None:
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind((self._address, self._port))
            except OSError as error:
                raise self._cannot_listen(str(error.strerror)) from error

    def _cannot_listen(self, why: str) -> ProbeFailed:
        return ProbeFailed(
            f"iperf3 cannot listen at {self._address} port {self._port}: {why}",
            "Give a port that is free, and an address that this host has",
        )

    def running(self) -> bool:
        """Whether there is one for this address and port, started by whomever."""
        return any(True for _each in self._processes())

    def stop(self) -> None:
        """End it, whoever started it; raises ProbeFailed when it stays."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = self._clock.steady() + END
            while self._clock.steady() < deadline:
                if not (found := list(self._processes())):
                    return
                for pid in found:
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)
                self._clock.sleep(0.05)
        raise ProbeFailed(f"iperf3 at port {self._port} does not end", "Look at its process")

    def _processes(self) -> Iterator[int]:
        wanted = f"{MARK}={self._mark}".encode()
        for path in Path("/proc").glob("[0-9]*/environ"):
            # Other users' processes, and those that end while one looks.
            with suppress(OSError):
                if wanted in path.read_bytes().split(b"\0"):
                    yield int(path.parent.name)


def _somebody_listens(port: int) -> bool:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with suppress(FileNotFoundError):
            for line in table.read_text().splitlines()[1:]:
                _number, local, _remote, state, *_rest = line.split()
                if state == TCP_LISTEN and int(local.rpartition(":")[2], 16) == port:
                    return True
    return False
