# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite for services that were written for a database server: many threads, one file."""

from __future__ import annotations

import collections
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import sqlalchemy
from oslo_db.sqlalchemy import enginefacade

PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA busy_timeout=60000",
    "PRAGMA synchronous=OFF",
    "PRAGMA temp_store=MEMORY",
)

_guard = threading.Lock()
_writers: dict[str, threading.RLock] = collections.defaultdict(threading.RLock)


def install() -> None:
    """Tune every connection of this process and let one writer at a time into a database."""
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", _tune)
    _serialize_writers()


def _tune(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _serialize_writers() -> None:
    """Take a lock per database around enginefacade's writer transactions.

    A transaction that begins as a reader and then writes fails at once with "database is
    locked" if another one wrote meanwhile, however long the busy timeout is.
    """
    original = enginefacade._TransactionContextManager._transaction_scope

    @contextlib.contextmanager
    def transaction_scope(self: Any, context: Any) -> Iterator[Any]:
        if self._mode is not enginefacade._WRITER:
            with original(self, context) as resource:
                yield resource
            return
        with _guard:
            lock = _writers[str(self.reader.get_engine().url)]
        with lock, original(self, context) as resource:
            yield resource

    enginefacade._TransactionContextManager._transaction_scope = transaction_scope
