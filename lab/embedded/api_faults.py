# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""API faults: the k-th request that matches a pattern gets an error, no answer, or a cut."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.embedded.httpd import ConnectionCut

ACTIONS = ("500", "503", "hang", "reset")
REASONS = {"500": "Internal Server Error", "503": "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Rule:
    """Which requests fail, and how.

    The `nth` request (1: the first) to `service` whose method (None: any) and path with query
    (regular expression, searched) match, from a client whose User-Agent starts with `client`
    (None: any), and the `times` - 1 after it, get `action`: `500`, `503`, `hang` (no answer for
    `seconds`, then a cut) or `reset` (the connection is cut at once).
    """

    service: str
    path: str
    action: str
    method: str | None = None
    nth: int = 1
    times: int = 1
    seconds: float = 60.0
    client: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def matches(self, environ: dict[str, Any]) -> bool:
        """Tell whether a request counts."""
        return (
            self.method in (None, environ["REQUEST_METHOD"])
            and re.search(self.path, environ["REQUEST_URI"]) is not None
            and environ.get("HTTP_USER_AGENT", "").startswith(self.client or "")
        )

    def strikes(self, count: int) -> bool:
        """Tell whether the matching request of that number, from 1, fails."""
        return self.nth <= count < self.nth + self.times


def load(path: Path) -> list[Rule]:
    """Read the rules of a faults file; a missing file has none."""
    try:
        return [Rule(**item) for item in json.loads(path.read_text())]
    except FileNotFoundError:
        return []


def add(path: Path, rule: Rule) -> None:
    """Add a rule to a faults file."""
    with _locked(path):
        _save(path, [*load(path), rule])


def clear(path: Path) -> None:
    """Remove every rule from a faults file."""
    with _locked(path):
        _save(path, [])


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _save(path: Path, rules: list[Rule]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps([dataclasses.asdict(rule) for rule in rules], indent=1) + "\n")
    fresh.rename(path)


class ApiFaults:
    """WSGI middleware that obeys the rules for one service, as the faults file has them now."""

    def __init__(self, application: Callable[..., Any], service: str, path: Path) -> None:
        self._application = application
        self._service = service
        self._path = path
        self._lock = threading.Lock()
        self._version: tuple[int, int] | None = None
        self._rules: list[Rule] = []
        self._counts: dict[str, int] = {}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """Answer through the wrapped application unless a rule strikes."""
        rule = self._striking(environ)
        if rule is None:
            return self._application(environ, start_response)
        environ["lab.fault"] = rule.action
        if rule.action in REASONS:
            return _error(rule.action, start_response)
        if rule.action == "hang":
            time.sleep(rule.seconds)
        raise ConnectionCut(rule.action)

    def _striking(self, environ: dict[str, Any]) -> Rule | None:
        with self._lock:
            self._refresh()
            struck = None
            for rule in self._rules:
                if rule.matches(environ):
                    count = self._counts[rule.id] = self._counts.get(rule.id, 0) + 1
                    if rule.strikes(count):
                        struck = struck or rule
            return struck

    def _refresh(self) -> None:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            self._version, self._rules = None, []
            return
        version = (status.st_mtime_ns, status.st_ino)
        if version != self._version:
            rules = load(self._path)
            self._rules = [rule for rule in rules if rule.service == self._service]
            self._version = version


def _error(action: str, start_response: Callable[..., Any]) -> list[bytes]:
    message = "an API fault of the lab"
    body = json.dumps({"error": {"code": int(action), "message": message}}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(f"{action} {REASONS[action]}", headers)
    return [body]
