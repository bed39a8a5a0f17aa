# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the control plane's services on their machine, each as soon as it may."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from lab.backend import LabError
from lab.hypervisors import network
from lab.hypervisors.control import config
from lab.hypervisors.control.nurseries import Nurseries
from lab.hypervisors.control.services import SERVICES, Service
from lab.hypervisors.machine import Machine
from lab.ini import render
from lab.scenario import Scenario

START_SECONDS = 400.0
POLL_SECONDS = 0.05
TAIL_LINES = 20


class ControlPlane:
    """The services of one lab, on a machine whose layers are `layers.build().control`."""

    def __init__(self, machine: Machine, nurseries: Nurseries) -> None:
        self._machine = machine
        self._nurseries = nurseries

    def start(self, scenario: Scenario) -> None:
        """Start every service of a machine just powered on and return when all are ready.

        Raises LabError, with the end of its log, for a service that dies or takes too long.
        """
        machine = self._machine
        machine.write(config.NOVA_CONF, render(config.nova_control(scenario.nova)))
        machine.write(
            "/etc/keystone/keystone.conf", render(config.keystone(scenario.token_seconds))
        )
        machine.run("install", "--directory", "--owner=mysql", "/run/mysqld")
        waiting = {service.name: service for service in SERVICES}
        ready: set[str] = set()
        deadline = time.monotonic() + START_SECONDS
        while len(ready) < len(SERVICES):
            self._launch([one for one in waiting.values() if ready.issuperset(one.needs)])
            started = [one for one in SERVICES if machine.service_pid(one.name) is not None]
            waiting = {one.name: one for one in SERVICES if one not in started}
            self._check_for_deaths(waiting.values(), deadline)
            ready = {one.name for one in started if one.name in ready or self.ready(one)}
            time.sleep(POLL_SECONDS)

    def _launch(self, services: Iterable[Service]) -> None:
        for service in services:
            self._nurseries.spawn(self._machine, service)

    def _check_for_deaths(self, waiting: Iterable[Service], deadline: float) -> None:
        started = self._machine.services()
        for service in waiting:
            if service.name in started:
                raise LabError(self._obituary(service.name, "died while it started"))
        if time.monotonic() > deadline:
            late = ", ".join(one.name for one in SERVICES if not self.ready(one))
            raise LabError(self._obituary(late, f"not ready after {START_SECONDS:.0f} s"))

    def _obituary(self, service: str, problem: str) -> str:
        path = self._machine.log_path(service.partition(",")[0])
        with path.open(errors="replace") as file:
            tail = "".join(f"\n  {line.rstrip()}" for line in deque(file, TAIL_LINES))
        return f"{service}: {problem}; its log: {path}{tail}"

    def ready(self, service: Service) -> bool:
        """Tell whether a service answers where it should."""
        if self._machine.service_pid(service.name) is None:
            return False
        if service.port is not None:
            return network.answers(self._machine, service.port)
        if service.queue is not None:
            return network.consumers(self._machine, service.queue) > 0
        return service.socket is None or _connects(self._machine.path(service.socket))


def _connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True
