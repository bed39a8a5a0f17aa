# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded backend: starts and stops the services of one state directory."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lab import processes, state
from lab import scenario as scenarios
from lab.backend import LabError
from lab.control_client import send
from lab.embedded import api_faults, config, databases, request_log
from lab.embedded.settings import PROJECT, SERVICES, Settings
from lab.processes import Process

START_SECONDS = 180.0
TAIL_LINES = 20
DEFAULT_SCENARIO = """\
# The lab's own scenario: four equal hosts and nobody on them.
name: default
hosts: [{name: cmp-1}, {name: cmp-2}, {name: cmp-3}, {name: cmp-4}]
"""


class EmbeddedBackend:
    """The cloud of one state directory; `tell` gets a line of progress now and then."""

    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        self.settings = settings
        self._tell = tell

    # Starting

    def up(self, scenario: Path | None, restart: bool) -> None:
        """Start the cloud of a scenario (default: four hosts), with empty databases.

        A running lab is left alone if it is the one asked for. Raises LabError.
        """
        text = DEFAULT_SCENARIO if scenario is None else _read(scenario)
        if not scenarios.parse(text, source=str(scenario or "default scenario")).cloud:
            raise LabError("cloud: false: this backend is a cloud; use --backend hypervisors")
        with self._exclusive():
            if not restart and self._already_runs(text):
                return
            self._stop()
            state.clean(self.settings.state)
            self._start(text)

    def _exclusive(self) -> contextlib.AbstractContextManager[None]:
        return state.exclusive(self.settings.state, self.settings.save)

    def _already_runs(self, text: str) -> bool:
        """Tell whether the lab asked for runs; raise LabError for another or a broken one."""
        known = self._processes()
        alive = [process.service for process in known if process.running]
        if not alive:
            return False
        dead = sorted(set(SERVICES) - set(alive))
        directory, base = self.settings.state, Settings.load(self.settings.state).port_base
        if dead:
            raise LabError(
                f"--state {directory}: the lab there has lost {', '.join(dead)}; "
                "start it afresh with --restart"
            )
        if base != self.settings.port_base or self.settings.scenario_file.read_text() != text:
            raise LabError(
                f"--state {directory}: another lab runs there, of another scenario or on port base "
                f"{base}; replace it with --restart, or choose another --state and --port-base"
            )
        self._tell(f"the lab in {directory} already runs, on port base {base}")
        return True

    def _start(self, text: str) -> None:
        settings = self.settings
        # First, so that the directory stays recognised as a lab's whatever happens next.
        settings.save()
        self._check_ports()
        began = time.monotonic()
        settings.scenario_file.write_text(text)
        scenario = scenarios.load(settings.scenario_file)
        config.write(settings, scenario)
        databases.install(settings, self._tell)
        for fault in scenario.api_faults:
            api_faults.add(settings.faults_file, api_faults.Rule(**dataclasses.asdict(fault)))
        try:
            self._launch()
            self._wait_until_ready()
        except BaseException:
            # Whatever ended it, an interrupt included: leave no half of a lab behind.
            self._stop()
            raise
        self._tell(f"ready in {time.monotonic() - began:.1f} s")

    def _check_ports(self) -> None:
        for name, port in self.settings.all_ports().items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise LabError(
                        f"--port-base {self.settings.port_base}: port {port} ({name}) cannot be "
                        f"used ({error.strerror}); choose another port base"
                    ) from None

    def _launch(self) -> None:
        """Have the services forked; they are recorded when this returns."""
        output = self.settings.log_dir / "launch.out"
        with output.open("ab") as file:
            child = subprocess.Popen(
                [sys.executable, "-m", "lab.embedded.services", str(self.settings.state)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "ignore"},
                cwd=self.settings.state,
                start_new_session=True,
            )
        # So that `down` finds it, should this process be killed now.
        launch = Process("launch", child.pid, processes.start_time(child.pid) or 0)
        processes.record(self.settings.process_file, [launch])
        if child.wait():
            raise LabError(
                f"the services could not be launched; the log: {output}\n{_tail(output)}"
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        waiting = self._processes()
        while waiting:
            for process in waiting:
                if not process.running:
                    raise LabError(self._obituary(process.service, "died while it started"))
            if time.monotonic() > deadline:
                problem = f"was not ready after {START_SECONDS:.0f} s"
                raise LabError(self._obituary(waiting[0].service, problem))
            waiting = [process for process in waiting if not self._ready(process)]
            time.sleep(0.05)

    def _ready(self, process: Process) -> bool:
        return (self.settings.run_dir / f"{process.service}.ready").exists()

    def _obituary(self, service: str, problem: str) -> str:
        """Say what happened to a service, where its log is, and how that ends."""
        files = [path for path in self.log_files(service) if path.exists()]
        logs = " and ".join(str(path) for path in files)
        lines = [f"{service} {problem}; its log: {logs}"]
        return "\n".join([*lines, *map(_tail, files)])

    # Stopping

    def down(self) -> int:
        """Stop the lab's processes and return how many ran; its files stay."""
        if state.backend_of(self.settings.state) is None:
            return 0
        with self._exclusive():
            return self._stop()

    def _stop(self) -> int:
        count = 0
        # Again, because a launch that is under way may have gone on meanwhile.
        while stopped := processes.stop(self._processes()):
            count += stopped
        self.settings.process_file.unlink(missing_ok=True)
        for mark in self.settings.run_dir.glob("*.ready"):
            mark.unlink()
        return count

    def _processes(self) -> list[Process]:
        return processes.recorded(self.settings.process_file)

    # Looking

    def status(self) -> dict[str, Any]:
        """Return what runs: the services with their memory and processor time, the hosts."""
        known = {process.service: process for process in self._processes()}
        services = []
        for service in SERVICES:
            process = known.get(service)
            alive = process is not None and process.running
            services.append(
                {
                    "service": service,
                    "pid": process.pid if alive else None,
                    "running": alive,
                    "ready": alive and self._ready(process),
                    "memory_mib": processes.memory_mib(process.pid) if alive else None,
                    "cpu_seconds": processes.cpu_seconds(process.pid) if alive else None,
                }
            )
        running = all(entry["ready"] for entry in services)
        return {
            "running": running,
            "state": str(self.settings.state),
            "port_base": self.settings.port_base,
            "clouds_file": str(self.settings.clouds_file),
            "services": services,
            "domains": self.control("GET", "/domains") if running else [],
        }

    def log_files(self, service: str) -> list[Path]:
        """Return a service's own log and what it printed."""
        names = (f"{service}.log", f"{service}.out")
        return [self.settings.log_dir / name for name in names]

    def requests(self, since: float | None, client: str | None) -> Iterator[dict[str, Any]]:
        """Yield the logged API requests in order of time."""
        return request_log.read(self.settings.request_dir, since, client)

    def topology(self, host: str | None) -> dict[str, dict[str, Any]]:
        """Return host -> its HostNuma as plain data, of one host or of all."""
        self._need_running()
        known = scenarios.load(self.settings.scenario_file).hosts
        names = [host] if host else [one.name for one in known]
        return {name: self.control("GET", f"/hosts/{name}/topology") for name in names}

    # Changing

    def seed(self, scenario: Path) -> None:
        """Create a scenario's population in the running cloud."""
        self._need_running()
        from lab import seed

        population = scenarios.load(scenario)
        try:
            seed.seed(population, self.settings.clouds_file, self.settings.control_url)
        except seed.SeedError as error:
            raise LabError(str(error)) from error

    def crash(self, host: str, when: str, what: str) -> None:
        """Stop a host's compute service dead, at once or at its next migration."""
        if what != "compute":
            raise LabError(
                f"crash --what {what}: the hosts of the embedded lab are simulated and have no "
                "power to lose; start a lab with --backend hypervisors"
            )
        self.control("POST", f"/hosts/{host}/crash", {"when": when})

    def start(self, host: str) -> None:
        """Start a crashed host's compute service again."""
        self.control("POST", f"/hosts/{host}/start", {})

    def guest_fault(self, guest: str, behaviour: dict[str, Any]) -> None:
        """Change how a guest, by name or UUID, behaves from now on."""
        self.control("PUT", f"/guests/{guest}", behaviour)

    def api_fault(self, rule: dict[str, Any]) -> None:
        """Add a rule of api_faults.Rule; the services obey it from their next request on."""
        self._need_running()
        api_faults.add(self.settings.faults_file, api_faults.Rule(**rule))

    def clear_faults(self) -> None:
        """Forget every API fault and every fault of a guest."""
        self._need_running()
        api_faults.clear(self.settings.faults_file)
        healthy = {"fail_at_percent": None, "fail_times": 0, "never_converges": False}
        for guest in self.control("GET", "/guests"):
            self.control("PUT", f"/guests/{guest}", healthy)

    def _need_running(self) -> None:
        if not any(process.running for process in self._processes()):
            raise LabError(f"--state {self.settings.state}: the lab is not running; `lab up` it")

    def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the control API; raise LabError with its reason when it refuses."""
        self._need_running()
        try:
            return send(self.settings.control_url, method, path, body)
        except urllib.error.HTTPError as error:
            raise LabError(json.load(error)["error"]) from None
        except OSError as error:
            raise LabError(f"the lab's control API does not answer: {error}") from error


def _tail(path: Path) -> str:
    with path.open(errors="replace") as file:
        return "\n".join(f"  {line.rstrip()}" for line in deque(file, TAIL_LINES))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise LabError(f"--scenario {path}: {error.strerror}") from None
