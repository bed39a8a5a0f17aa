# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules, each in a process of its own, as Ansible does, but with the SDK loaded already.

To load it takes as long as most modules run. Usage: module_server.py SOCKET
A client sends one line of JSON, ``{"module": ..., "environment": {...}, "directory": ...}``, then
what the module reads from its standard input, and ends its side; it gets what the module prints.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import sys
import tempfile

import ansible.module_utils.basic
import openstack

LOADED = (ansible.module_utils.basic, openstack)


def serve(path: str) -> socket.socket:
    """Wait for clients; returns the connection of each in a process of its own."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        while True:
            connection, _address = listener.accept()
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return connection
            connection.close()


def become(connection: socket.socket) -> None:
    """Be the module that the client asks for."""
    with connection, connection.makefile("rb") as asked, tempfile.TemporaryFile() as given:
        request = json.loads(asked.readline())
        given.write(asked.read())
        given.seek(0)
        for source, target in ((given, 0), (connection, 1), (connection, 2)):
            os.dup2(source.fileno(), target)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[1:] = []
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    become(serve(sys.argv[1]))
