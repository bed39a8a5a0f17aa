# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What this host knows of its own network interfaces, and of the names of others.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.interfaces import (
    Network,
    bare,
)

#: Where programs are that Ansible does not find when it is not root.
MORE_PATH = "/usr/sbin:/usr/local/sbin:/sbin"
#: Seconds for a program that only looks.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as it is now. ``speed_mbit``: None when nobody knows it.

    ``addresses``: in digits, without those of the link itself, in the kernel's order.
    """

    name: str
    up: bool
    mtu: int
    speed_mbit: int | None
    addresses: tuple[str, ...] = field(default=())


def environment() -> dict[str, str]:
    """For programs: their words in English, and a PATH that has the administrator's too."""
    path = f"{os.environ.get('PATH', os.defpath)}:{MORE_PATH}"
    return {**os.environ, "LC_ALL": "C", "PATH": path}


def program(name: str) -> str | None:
    """The path of a program; None when this host lacks it."""
    return shutil.which(name, path=environment()["PATH"])


def run(command: Sequence[str]) -> tuple[int, str]:
    """Exit status and output of a program that only looks; 127 when this host lacks it."""
    if program(command[0]) is None:
        return 127, ""
    done = subprocess.run(
        [*command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=PATIENCE,
        env=environment(),
        check=False,
    )
    return done.returncode, done.stdout


def link(name: str) -> Link:
    """The interface of that name; raises BadOption without one, NotFound without iproute2."""
    network = Network(run)
    known = network.links()
    if name not in known:
        remedy = f"Give the name of an interface of this host: {', '.join(sorted(known))}"
        raise BadOption("interface", name, "is no interface here", remedy)
    told = known[name]
    addresses = tuple(bare(address) for address in told["addresses"])
    up = told["up"] and told["carrier"]
    return Link(name, up, told["mtu"], network.speed(name), addresses)


def addresses_of(name: str) -> tuple[str, ...]:
    """Where a name leads on this host, in digits; none when it is unknown."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(place[0]) for *_kind, place in found))


def name_of(address: str) -> str:
    """The name of an address on this host; empty when it has none."""
    try:
        return socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
    except (socket.gaierror, UnicodeError):
        return ""
