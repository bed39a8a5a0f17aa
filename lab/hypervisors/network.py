# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python calls inside the network of one of the lab's machines, without leaving the process."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import amqp

from lab.backend import LabError
from lab.hypervisors.machine import Machine

CLONE_NEWNET = 0x40000000
ANSWER_SECONDS = 1.0
Result = TypeVar("Result")


def call(machine: Machine, function: Callable[[], Result]) -> Result:
    """Return what a function returns when its sockets are made in a machine's network.

    It runs in a thread of its own: a network namespace belongs to a thread, and to the threads
    which that one starts.
    """

    def run() -> Result:
        _enter(machine)
        return function()

    with ThreadPoolExecutor(1, thread_name_prefix=f"in-{machine.name}") as pool:
        return pool.submit(run).result()


def answers(machine: Machine, port: int) -> bool:
    """Tell whether a TCP port of a machine's own address accepts connections."""

    def connect() -> bool:
        try:
            socket.create_connection((machine.address, port), ANSWER_SECONDS).close()
        except OSError:
            return False
        return True

    return call(machine, connect)


def consumers(machine: Machine, queue: str) -> int:
    """Return how many read a queue of the message broker on a machine; 0 without such a queue."""

    def count() -> int:
        try:
            with amqp.Connection(machine.address, connect_timeout=ANSWER_SECONDS) as broker:
                return broker.channel().queue_declare(queue, passive=True).consumer_count
        except (amqp.AMQPError, OSError):
            return 0

    return call(machine, count)


def _enter(machine: Machine) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(machine.root.parent / "ns" / "net", os.O_RDONLY)
    try:
        if libc.setns(descriptor, CLONE_NEWNET):
            reason = os.strerror(ctypes.get_errno())
            raise LabError(f"{machine.name}: cannot enter its network: {reason}; are you root?")
    finally:
        os.close(descriptor)
