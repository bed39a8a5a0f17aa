# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stable node identity per simulated host, where Nova keeps one per machine."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator

import nova.virt.node

_current = threading.local()


def node_uuid(host: str) -> str:
    """Return the identity of a host's hypervisor: the same in every lab, at every start."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{host}.lowtide-lab"))


def install() -> None:
    """Make Nova take the identity from the host that a thread acts for."""
    nova.virt.node.get_local_node_uuid = _identity
    nova.virt.node.read_local_node_uuid = _identity
    nova.virt.node.write_local_node_uuid = lambda _uuid: None


@contextlib.contextmanager
def acting_for(host: str) -> Iterator[None]:
    """Let this thread create or start the compute service of a host."""
    previous = getattr(_current, "host", None)
    _current.host = host
    try:
        yield
    finally:
        _current.host = previous


def _identity() -> str:
    host = getattr(_current, "host", None)
    if host is None:
        raise RuntimeError("Nova asked for its node identity outside of nodes.acting_for()")
    return node_uuid(host)
