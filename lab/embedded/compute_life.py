# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One life of a host's nova-compute inside a process that holds many: its threads, and their end.

On a real cloud a nova-compute is a process: it has its own `[DEFAULT] host`, its own thread pools,
and it can be killed. Here every thread that works for a host belongs to a Life, which its RPC
endpoints, timers and thread pools hand on. When the life ends, whatever such a thread tries next
(a statement, an API call, a message, a call to libvirt) raises ServiceKilled, so that nothing of
what it had begun is ever written down; that is what a `kill -9` looks like from outside.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import futurist
import keystoneauth1.session
import oslo_messaging.transport
import sqlalchemy
from nova import thread_pool_factory
from oslo_config import cfg

_current = threading.local()


class ServiceKilled(BaseException):
    """Unwinds a thread of a dead service; no handler of ordinary errors must stop it."""


class Life:
    """The threads of one nova-compute, from its start to its end."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.alive = True
        self.pools = _Pools(self)

    def end(self) -> None:
        """Let every thread of this life stop at its next step."""
        self.alive = False

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """Let the calling thread work for this life; raises ServiceKilled when it is over."""
        previous = current()
        _current.life = self
        try:
            check()
            yield
        finally:
            _current.life = previous

    def bind(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, to be run as a part of this life by any thread."""

        @functools.wraps(function)
        def bound(*args: Any, **kwargs: Any) -> Any:
            with self.acting():
                return function(*args, **kwargs)

        return bound


class Endpoint:
    """An RPC endpoint whose methods run as a part of a life."""

    def __init__(self, endpoint: Any, life: Life) -> None:
        self._endpoint = endpoint
        self._life = life

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._endpoint, name)
        return self._life.bind(value) if inspect.isroutine(value) else value


def current() -> Life | None:
    """Return the life that the calling thread belongs to, None outside of all."""
    return getattr(_current, "life", None)


def check() -> None:
    """Raise ServiceKilled if the calling thread belongs to a life that is over."""
    life = current()
    if life is not None and not life.alive:
        raise ServiceKilled(f"nova-compute of {life.host} is dead")


def install() -> None:
    """Give each life its configuration and pools, and stop the dead at every way out."""
    cfg.CONF.__class__ = _Config
    thread_pool_factory.FACTORY = _PoolsByLife()
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", _on_statement)
    _guard(keystoneauth1.session.Session, "request")
    _guard(oslo_messaging.transport.Transport, "_send")


class _Config(cfg.ConfigOpts):
    """Nova's configuration, in which `host` is that of the life that asks."""

    def __getattr__(self, name: str) -> Any:
        if name == "host" and (life := current()) is not None:
            return life.host
        return super().__getattr__(name)


class _Executor(futurist.ThreadPoolExecutor):
    """A thread pool whose tasks are a part of one life, whoever submits them."""

    life: Life

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return super().submit(self.life.bind(function), *args, **kwargs)


class _Pools(thread_pool_factory.ThreadPoolFactory):
    """The thread pools of one life."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self._life = life

    def _new_executor(self, max_workers: int, name: str) -> _Executor:
        executor = _Executor(max_workers)
        executor.life = self._life
        executor.name = f"{self._life.host}.{name}"
        return executor


class _PoolsByLife(thread_pool_factory.ThreadPoolFactory):
    """Nova keeps its pools per process; here a host's limits must be its own."""

    def get_executor(self, executor_type: thread_pool_factory.ExecutorType) -> Any:
        life = current()
        if life is None:
            return super().get_executor(executor_type)
        return life.pools.get_executor(executor_type)


def _on_statement(*_args: Any) -> None:
    check()


def _guard(owner: type, name: str) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        check()
        return original(*args, **kwargs)

    setattr(owner, name, guarded)
