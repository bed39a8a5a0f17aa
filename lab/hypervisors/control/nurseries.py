# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts OpenStack's services as forks of a few processes that have imported what they share."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from types import TracebackType

from lab.backend import LabError
from lab.hypervisors.control.config import PROGRAMS, PYTHON
from lab.hypervisors.control.services import FAMILIES, Service
from lab.hypervisors.machine import ENVIRONMENT, Machine

START_SECONDS = 300.0


class Nurseries:
    """The families' processes, for as long as the block lasts; services outlive them.

    ``home`` is the machine whose files they see: the one with the control plane's layers.
    """

    def __init__(self, home: Machine) -> None:
        self._home = home
        self._sockets: dict[str, socket.socket] = {}
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Nurseries:
        for family in FAMILIES:
            self._open(family)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for end in self._sockets.values():
            end.close()
        for process in self._processes:
            process.wait()

    def _open(self, family: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(START_SECONDS)
        # Their files are the machine's, but they belong to no machine's processes: only from
        # outside can one start something in all of them.
        command = ["nsenter", f"--target={self._home.pid}", "--mount", "--root", "--wd", "--"]
        command += [PYTHON, f"{PROGRAMS}/nursery.py", str(theirs.fileno()), *FAMILIES[family]]
        with theirs, self._log(family).open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
                pass_fds=[theirs.fileno()],
            )
        self._processes.append(process)
        self._sockets[family] = ours

    def _log(self, family: str) -> Path:
        return self._home.log_path(f"nursery-{family}")

    def spawn(self, machine: Machine, service: Service) -> int:
        """Start a service in a machine: do as `Machine.spawn`, whatever its family."""
        if service.family is None:
            return machine.spawn(service.name, *service.command, env=service.environment)
        script = service.command[1:] if service.command[0] == PYTHON else service.command
        request = {
            "command": script,
            "environment": ENVIRONMENT | dict(service.environment),
        }
        nursery = self._sockets[service.family]
        pidfd = os.pidfd_open(machine.pid)
        try:
            with machine.log_path(service.name).open("ab") as log:
                descriptors = [pidfd, log.fileno()]
                socket.send_fds(nursery, [json.dumps(request).encode()], descriptors)
            pid = int(nursery.recv(32) or 0)
        except OSError as error:
            raise LabError(f"{service.name}: {error}; see {self._log(service.family)}") from error
        finally:
            os.close(pidfd)
        if not pid:
            raise LabError(f"{service.name}: was not started; see {self._log(service.family)}")
        return machine.adopt(service.name, pid)
