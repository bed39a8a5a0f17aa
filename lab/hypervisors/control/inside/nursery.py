# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fork services out of a process that has imported what they share: ``nursery.py FD MODULE...``.

Importing is most of the work of starting OpenStack, and each process keeps its own copy of what
it imported. Requests come on a socket (FD), one per message: a JSON object with ``command`` and
``environment``, and two descriptors, a pidfd of the machine to run in and the log. The answer
is the service's pid, as seen in the machine. A command must be a Python script with its
arguments.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import socket
import sys
import threading
import traceback
import warnings
from typing import Any

from setproctitle import setproctitle

MESSAGE_BYTES = 65536
# No descriptor here gets so far: the sockets, the log and the few that imports leave open.
FIRST_FREE = 64
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MACHINE = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET


def main() -> None:
    """Import the modules, then serve until the other end of the socket closes."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    modules = sys.argv[2:]
    # What is imported looks for options of its own on the command line.
    del sys.argv[1:]
    preload(modules)
    while True:
        data, descriptors, _flags, _address = socket.recv_fds(requests, MESSAGE_BYTES, 2)
        if not data:
            return
        machine, log = descriptors
        requests.send(str(start(json.loads(data), machine, log, requests)).encode())
        os.close(machine)
        os.close(log)


def preload(modules: list[str]) -> None:
    """Import modules so that forks share their memory."""
    warnings.simplefilter("ignore")
    # Nova's modules choose between threads and eventlet when they are imported.
    os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "1"
    gc.disable()
    for name in modules:
        importlib.import_module(name)
    gc.freeze()
    gc.enable()
    if threading.active_count() > 1:
        sys.exit(f"nursery: {modules}: started threads, which no fork would have")


def start(request: dict[str, Any], machine: int, log: int, requests: socket.socket) -> int:
    """Return the pid, as seen in the machine, of a service started there; 0 for a failure."""
    reader, writer = os.pipe()
    usher = os.fork()
    if usher == 0:
        # A process cannot change its own pid namespace, only that of its children.
        enter(machine)
        inside = os.fork()
        if inside:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(inside, 0)[1]))
        pid = os.fork()
        if pid:
            # Its end makes the machine's process 1 the parent of the service.
            os.write(writer, str(pid).encode())
            os._exit(0)
        os.close(reader)
        os.close(writer)
        requests.close()
        become(request, log)
    os.close(writer)
    os.waitpid(usher, 0)
    pid = int(os.read(reader, 32) or 0)
    os.close(reader)
    return pid


def enter(machine: int) -> None:
    """Enter all namespaces of the process that a pidfd stands for."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(machine, MACHINE):
        print(f"nursery: setns: {os.strerror(ctypes.get_errno())}", file=sys.stderr, flush=True)
        os._exit(1)


def become(request: dict[str, Any], log: int) -> None:
    """Turn this process into a service; never returns."""
    status = 1
    try:
        os.setsid()
        os.chdir("/")
        null = os.open("/dev/null", os.O_RDONLY)
        for descriptor, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(descriptor, target)
        os.closerange(3, FIRST_FREE)
        # Who looks for a service by its command line shall find it. Now, because the environment
        # is where it finds room.
        setproctitle(" ".join([sys.executable, *request["command"]]))
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv[:] = request["command"]
        sys.path[0] = os.path.dirname(sys.argv[0])
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
