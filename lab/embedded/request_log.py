# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A record of every API call, as lines of JSON: who asked what, and what the answer was."""

from __future__ import annotations

import heapq
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

REQUEST_ID_HEADERS = ("x-openstack-request-id", "x-compute-request-id")


class RequestLog:
    """WSGI middleware that appends a line per finished request to `<directory>/<service>.jsonl`.

    A line has `time` (seconds since the epoch, of the arrival), `service`, `client` (first word
    of the User-Agent), `user_agent`, `method`, `path` (with the query), `status` (0: the
    connection was cut), `ms` until the answer was complete, `request_id`, and `fault` when an
    API fault made the answer.
    """

    def __init__(self, application: Callable[..., Any], service: str, directory: Path) -> None:
        self._application = application
        self._service = service
        # Unbuffered appends of a whole line each: threads cannot mix theirs.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(directory / f"{service}.jsonl", flags, 0o644)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """Answer through the wrapped application and log the outcome."""
        entry = self._entry(environ)
        started = time.monotonic()

        def noting(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            entry["status"] = int(status.split(" ", 1)[0])
            for name, value in headers:
                if name.lower() in REQUEST_ID_HEADERS:
                    entry["request_id"] = value
            return start_response(status, headers, *rest)

        def finish() -> None:
            entry["ms"] = round((time.monotonic() - started) * 1000, 2)
            if "lab.fault" in environ:
                entry["fault"] = environ["lab.fault"]
            os.write(self._file, json.dumps(entry).encode() + b"\n")

        try:
            chunks = self._application(environ, noting)
        except BaseException:
            finish()
            raise
        return _Finishing(chunks, finish)

    def _entry(self, environ: dict[str, Any]) -> dict[str, Any]:
        agent = environ.get("HTTP_USER_AGENT", "")
        return {
            "time": round(time.time(), 4),
            "service": self._service,
            "client": agent.split(" ", 1)[0],
            "user_agent": agent,
            "method": environ["REQUEST_METHOD"],
            "path": environ["REQUEST_URI"],
            "status": 0,
            "ms": 0.0,
            "request_id": None,
        }


class _Finishing:
    """An application's answer that tells when the server is done with it."""

    def __init__(self, chunks: Iterable[bytes], finish: Callable[[], None]) -> None:
        self._chunks, self._finish = chunks, finish

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    def close(self) -> None:
        try:
            if hasattr(self._chunks, "close"):
                self._chunks.close()
        finally:
            self._finish()


def read(
    directory: Path, since: float | None = None, client: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the logged requests of all services in order of arrival.

    `since` leaves out what arrived before so many seconds ago, `client` what a client whose
    User-Agent does not start so has sent. A line that is being written is left out.
    """
    oldest = time.time() - since if since is not None else 0.0
    logs = [_entries(path) for path in sorted(directory.glob("*.jsonl"))]
    for entry in heapq.merge(*logs, key=lambda entry: entry["time"]):
        if entry["time"] >= oldest and (not client or entry["user_agent"].startswith(client)):
            yield entry


def _entries(path: Path) -> list[dict[str, Any]]:
    """Read a log: its lines are in order of completion, the result in order of arrival."""
    with path.open() as file:
        entries = [json.loads(line) for line in file if line.endswith("\n")]
    return sorted(entries, key=lambda entry: entry["time"])
