# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite for services that were written for a database server: many threads, one file."""

from __future__ import annotations

import collections
import contextlib
import threading
import types
from collections.abc import Iterator
from typing import Any

import sqlalchemy
from oslo_db.sqlalchemy import enginefacade, engines
from sqlalchemy import pool

PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA busy_timeout=60000",
    "PRAGMA synchronous=OFF",
    "PRAGMA temp_store=MEMORY",
)
IDLE_CONNECTIONS = 16

_guard = threading.Lock()
_writers: dict[str, threading.RLock] = collections.defaultdict(threading.RLock)
_thread = threading.local()


class _Pool(pool.QueuePool):
    """As many connections as there are transactions; the last used goes first."""

    def __init__(self, creator: Any, **options: Any) -> None:
        super().__init__(
            creator, pool_size=IDLE_CONNECTIONS, max_overflow=-1, use_lifo=True, **options
        )


def install() -> None:
    """Tune every connection of this process and let one writer at a time into a database."""
    # oslo.db opens a connection for each transaction on SQLite, which costs more than most
    # transactions do.
    known = {name: getattr(pool, name) for name in ("QueuePool", "SingletonThreadPool")}
    engines.pool = types.SimpleNamespace(**known, StaticPool=pool.StaticPool, NullPool=_Pool)
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", _tune)
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "begin", _begin)
    _serialize_writers()


def _tune(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Any) -> None:
    """Begin a writer's transaction with the right to write.

    One that begins as a reader and then writes fails at once with "database is locked" if
    another one has written meanwhile, however long the busy timeout is.
    """
    url = str(connection.engine.url)
    if getattr(_thread, "about_to_write", None) == url:
        _thread.about_to_write = None
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        # oslo.db, which listens too, begins what is not marked so.
        connection.info["in_transaction"] = True


@contextlib.contextmanager
def _about_to_write(url: str) -> Iterator[None]:
    """Mark the next transaction of this thread as a writer's, unless it is in one already.

    A second one on another connection would wait for the first, which waits for the thread.
    """
    inside = getattr(_thread, "writing", None)
    if inside == url:
        yield
        return
    _thread.writing = _thread.about_to_write = url
    try:
        yield
    finally:
        _thread.writing, _thread.about_to_write = inside, None


def _serialize_writers() -> None:
    """Take a lock per database around enginefacade's writer transactions.

    SQLite's own waiting is polling, and unfair.
    """
    original = enginefacade._TransactionContextManager._transaction_scope

    @contextlib.contextmanager
    def transaction_scope(self: Any, context: Any) -> Iterator[Any]:
        if self._mode is not enginefacade._WRITER:
            with original(self, context) as resource:
                yield resource
            return
        url = str(self.get_engine().url)
        with _guard:
            lock = _writers[url]
        with lock, _about_to_write(url), original(self, context) as resource:
            yield resource

    enginefacade._TransactionContextManager._transaction_scope = transaction_scope
