# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One embedded cloud for all tests here, and a way to run a module on it as Ansible does.

The cloud is started and populated once (scenario.yml) and always stopped. LOWTIDE_TEST_PORT_BASE
chooses its ports; LOWTIDE_TEST_LAB names the state directory of a lab that is up and populated
already, which is then used and left as it is. A file of tests that needs a population of its own
has fixtures ``lab`` and ``api`` of its own, made by ``start_lab`` and ``connect``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openstack
import pytest

ROOT = Path(__file__).parents[2]
SCENARIO = Path(__file__).with_name("scenario.yml")
SERVER = Path(__file__).with_name("module_server.py")
MODULES = "ansible_collections.lowtide.compute.plugins.modules"
CLIENT = "lowtide.compute"
START_SECONDS, SEED_SECONDS, MODULE_SECONDS = 300, 900, 600


def pytest_configure(config: pytest.Config) -> None:
    """The tests' own use of the SDK warns of what its next release removes, hundreds of times."""
    config.addinivalue_line("filterwarnings", r"ignore:::openstack\..*")


@dataclass(frozen=True)
class Lab:
    """A running lab: its state directory, and what tests ask of it."""

    state: Path

    def command(self, *arguments: str, seconds: float = 60) -> str:
        """Run the lab's command line; its output, or the failure with the output."""
        done = subprocess.run(
            [ROOT / "lab" / "lab", *arguments, "--state", str(self.state)],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"lab {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def clouds_file(self) -> Path:
        return self.state / "clouds.yaml"

    def behave(self, guest_id: str, **behaviour: Any) -> None:
        """Change how a guest behaves."""
        self._control("PUT", f"/guests/{guest_id}", behaviour)

    def domains(self) -> dict[str, dict[str, str]]:
        """Guest's id -> host -> state of its domain there, as the hypervisors know it."""
        found: dict[str, dict[str, str]] = {}
        for domain in self._control("GET", "/domains"):
            found.setdefault(domain["uuid"], {})[domain["host"]] = domain["state"]
        return found

    def _control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the lab's control API answers; raises for any failure."""
        status = json.loads(self.command("status", "--json"))
        request = urllib.request.Request(
            f"http://127.0.0.1:{status['port_base'] + 999}{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def requests(self, since: float) -> list[dict[str, Any]]:
        """The collection's API calls since then (epoch seconds), oldest first."""
        # A call is noted just after it was answered.
        time.sleep(0.3)
        found = []
        for file in (self.state / "requests").glob("*.jsonl"):
            with file.open() as lines:
                calls = [json.loads(line) for line in lines if CLIENT in line]
            found += [c for c in calls if c["client"].startswith(CLIENT) and c["time"] >= since]
        return sorted(found, key=lambda call: call["time"])


StartLab = Callable[[Path, str], AbstractContextManager[Lab]]


@pytest.fixture(scope="session")
def start_lab(tmp_path_factory: pytest.TempPathFactory) -> StartLab:
    """``with start_lab(scenario, port_base) as lab``: up and populated within, then stopped."""

    @contextmanager
    def running(scenario: Path, port_base: str) -> Iterator[Lab]:
        started = Lab(tmp_path_factory.mktemp("lab"))
        try:
            started.command(
                *("up", "--scenario", str(scenario), "--port-base", port_base),
                seconds=START_SECONDS,
            )
            started.command("seed", str(scenario), seconds=SEED_SECONDS)
            yield started
        finally:
            started.command("down")

    return running


@pytest.fixture(scope="session")
def free_port_base() -> Callable[[int], str]:
    """``free_port_base(first)``: the first port base from there on that nobody uses."""

    def find(first: int) -> str:
        command = [ROOT / ".ci" / "port-base", str(first)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    return find


@pytest.fixture(scope="session")
def lab(start_lab: StartLab, free_port_base: Callable[[int], str]) -> Iterator[Lab]:
    """The cloud, populated."""
    ready = os.environ.get("LOWTIDE_TEST_LAB")
    if ready:
        yield Lab(Path(ready))
        return
    port_base = os.environ.get("LOWTIDE_TEST_PORT_BASE") or free_port_base(26000)
    with start_lab(SCENARIO, port_base) as started:
        yield started


@pytest.fixture(scope="session")
def connect() -> Callable[[Lab], Any]:
    """``connect(lab)``: the tests' own connection, which the request log tells from the rest."""

    def connection(lab: Lab) -> Any:
        config = openstack.config.OpenStackConfig(config_files=[str(lab.clouds_file)])
        region = config.get_one(cloud="lab")
        region.config["compute_default_microversion"] = "2.100"
        return openstack.connection.Connection(config=region, app_name="tests", app_version="1")

    return connection


@pytest.fixture(scope="session")
def api(lab: Lab, connect: Callable[[Lab], Any]) -> Any:
    """The tests' own connection to the cloud."""
    return connect(lab)


class Outcome(dict):
    """A module's result, with what the request log and the process say of it."""

    calls: list[dict[str, Any]]
    output: str

    @property
    def writes(self) -> list[str]:
        """The collection's calls that could change something, signing in aside."""
        return [
            f"{call['method']} {call['service']} {call['path']}"
            for call in self.calls
            if call["method"] not in ("GET", "HEAD") and call["path"] != "/v3/auth/tokens"
        ]


Runner = Callable[..., Outcome]
RunProcess = Callable[[dict[str, Any], str], str]


@pytest.fixture(scope="session")
def run_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunProcess]:
    """``run_process(request, arguments)``: what the module prints (module_server.py)."""
    path = tmp_path_factory.mktemp("modules") / "socket"
    command = [sys.executable, SERVER, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as server:

        def run(request: dict[str, Any], arguments: str) -> str:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(MODULE_SECONDS)
                connection.connect(str(path))
                connection.sendall(f"{json.dumps(request)}\n{arguments}".encode())
                connection.shutdown(socket.SHUT_WR)
                with connection.makefile("r") as printed:
                    return printed.read()

        try:
            assert server.stdout.readline(), "the modules' server did not start"
            yield run
        finally:
            os.killpg(server.pid, signal.SIGKILL)


@pytest.fixture
def run_module(lab: Lab, tmp_path: Path, run_process: RunProcess) -> Runner:
    """``run_module(name, check=False, diff=False, environment={}, **options)`` -> Outcome.

    The module runs in a process of its own with its arguments on stdin, as Ansible runs it.
    """

    def run(
        name: str,
        /,
        *,
        check: bool = False,
        diff: bool = False,
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> Outcome:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
        inherited["OS_CLIENT_CONFIG_FILE"] = str(lab.clouds_file)
        arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": diff}
        since = time.time()
        request = {
            "module": f"{MODULES}.{name}",
            "environment": {**inherited, **(environment or {})},
            # No clouds.yaml lies about here.
            "directory": str(tmp_path),
        }
        output = run_process(request, json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        lines = [line for line in output.splitlines() if line.startswith("{")]
        assert lines, f"{name} returned nothing: {output}"
        outcome = Outcome(json.loads(lines[-1]))
        outcome.calls = lab.requests(since)
        outcome.output = output
        return outcome

    return run


@pytest.fixture
def module(run_module: Runner) -> Runner:
    """``run_module`` as the lab's administrator; the test fails when the module does."""

    def run(name: str, /, **options: Any) -> Outcome:
        outcome = run_module(name, cloud="lab", **options)
        assert not outcome.get("failed"), outcome["msg"]
        return outcome

    return run


@pytest.fixture
def failing(run_module: Runner) -> Runner:
    """``run_module`` as the lab's administrator; the test fails when the module does not."""

    def run(name: str, /, **options: Any) -> Outcome:
        outcome = run_module(name, **({"cloud": "lab"} | options))
        assert outcome.get("failed"), outcome
        return outcome

    return run


@pytest.fixture
def server(api: Any) -> Callable[[str], Any]:
    """``server(name)``: a guest as Nova shows it now."""

    def find(name: str) -> Any:
        servers = api.compute.servers(details=True, all_projects=True, name=f"^{name}$")
        return next(found for found in servers if found.name == name)

    return find


@pytest.fixture
def host_of(server: Callable[[str], Any]) -> Callable[[str], str]:
    """``host_of(name)``: where Nova says that a guest is."""
    return lambda name: server(name).compute_host
