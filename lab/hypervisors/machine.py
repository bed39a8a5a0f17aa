# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine of the lab: namespaces with a root directory, processes and addresses of its own."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab import processes
from lab.backend import LabError
from lab.hypervisors import cgroups
from lab.processes import Process

BOOT_SCRIPT = Path(__file__).with_name("boot.sh")
INIT = "init"
UNIT_SUFFIX = ".unit"
# Where a machine with systemd sees its directory of logs.
LOG_DIR = "/var/log/lab"
BOOT_SECONDS = 180.0
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}
NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid")
WHOLE = (*NAMESPACES, "--root", "--wd")
NET_ONLY = ("--net",)
TAIL_LINES = 5
MAX_LINKS = 40


class Machine:
    """One namespace machine of a lab; its state is below ``<state>/machines/<name>/``.

    ``address`` is the one on the management network ("" without one). ``layers`` are the
    directories of its root, the top one first, all read-only. ``plug`` is called with the
    machine at each power-on, before anything runs there, to give it its network. ``binds``:
    directories of the real machine that it sees, writable, by the path where it sees them.
    ``systemd``: its process 1 is systemd, and its daemons may be units; else a shell that
    starts nothing.
    """

    def __init__(
        self,
        directory: Path,
        address: str,
        layers: Sequence[Path],
        plug: Callable[[Machine], None] | None = None,
        binds: Mapping[str, Path] | None = None,
        systemd: bool = False,
    ) -> None:
        self.name = directory.name
        self.directory = directory
        self.address = address
        self.layers = tuple(layers)
        self._plug = plug
        self._binds = dict(binds or {}) | ({LOG_DIR: self.log_dir} if systemd else {})
        self.systemd = systemd

    # Power

    def start(self) -> None:
        """Power the machine on and plug in its network; do nothing when it runs."""
        if self.running():
            return
        own = [path for path in self._binds.values() if path.is_relative_to(self.directory)]
        for directory in (self.log_dir, self._run_dir, *own):
            directory.mkdir(parents=True, exist_ok=True)
        for record in (*self._run_dir.glob("*.json"), *self._run_dir.glob(f"*{UNIT_SUFFIX}")):
            record.unlink()
        with (
            self.log_path("boot").open("wb") as log,
            subprocess.Popen(
                self._boot_command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=ENVIRONMENT,
                start_new_session=True,
            ) as process,
        ):
            self._boot(process)
            # Not waited for on leaving the block: it lives as long as the machine.
            process.returncode = 0
        if self.systemd:
            self._await_systemd()

    def _boot_command(self) -> list[str]:
        for layer in self.layers:
            if not layer.is_dir():
                raise LabError(
                    f"{self.name}: its root {layer} is gone; build it anew with `lab up --restart`"
                )
        command = ["unshare", *NAMESPACES, "--fork", "--kill-child"]
        command += ["--cgroup"] if self.systemd else []
        command += ["--", "/bin/bash", str(BOOT_SCRIPT), self.name]
        command += ["systemd" if self.systemd else "shell"]
        command += [str(self.directory), ":".join(map(str, self.layers))]
        for inside, outside in self._binds.items():
            command += [str(outside), inside]
        return cgroups.entering(self.directory, command) if self.systemd else command

    def _boot(self, process: subprocess.Popen[bytes]) -> None:
        """See the machine through from its first process to the start of its process 1."""
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise LabError(
                f"{self.name}: does not start: {self._tail('boot')}; the lab needs root and "
                "the right to make namespaces and overlay mounts"
            )
        inner = _children(process.pid)[0]
        started = [Process("unshare", process.pid, _start_time(process.pid))]
        started.append(Process(INIT, inner, _start_time(inner)))
        processes.record(self._record(INIT), started)
        if self._plug is not None:
            self._plug(self)
        process.stdin.write(b"go\n")

    def _await_systemd(self) -> None:
        """Return when systemd has started what is enabled, be it with failures."""
        socket = "/run/systemd/private"
        deadline = time.monotonic() + BOOT_SECONDS
        while not self.path(socket).exists():
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: its systemd does not start; see {self.log_dir}")
            time.sleep(0.01)
        self.systemctl("is-system-running", "--wait", check=False, timeout=BOOT_SECONDS)

    def stop(self) -> None:
        """Cut the power: every process of the machine is gone when this returns."""
        recorded = processes.recorded(self._record(INIT))
        for process in reversed(recorded):
            if process.running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
        processes.stop(recorded)
        if self.systemd:
            cgroups.remove(self.directory)
        self._record(INIT).unlink(missing_ok=True)

    def wipe(self) -> None:
        """Forget what the machine ever wrote; it must not run."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def running(self) -> bool:
        """Tell whether the power is on."""
        return self.pid is not None

    @property
    def pid(self) -> int | None:
        """Its process 1, as seen from outside; None when the power is off."""
        for process in processes.recorded(self._record(INIT)):
            if process.service == INIT and process.running:
                return process.pid
        return None

    # Files

    @property
    def root(self) -> Path:
        """Where its files are for processes outside. Mind absolute symbolic links: see `path`."""
        return Path(f"/proc/{self._pid()}/root")

    def path(self, path: str) -> Path:
        """Return the outside path of one of its files, with its symbolic links followed."""
        found, pending, links = self.root, _parts(path), 0
        while pending:
            part = pending.pop(0)
            following = found / part
            if not following.is_symlink():
                found = following
                continue
            links += 1
            if links > MAX_LINKS:
                raise LabError(f"{self.name}: {path}: too many symbolic links")
            target = os.readlink(following)
            if target.startswith("/"):
                found = self.root
            pending = _parts(target) + pending
        return found

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the machine, making the directories above it."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def mkdir(self, path: str) -> None:
        """Make a directory of the machine, with those above it."""
        self.path(path).mkdir(parents=True, exist_ok=True)

    # Processes

    def argv(self, *command: str, net_only: bool = False) -> list[str]:
        """Return the command line that runs a command in the machine.

        ``net_only``: a command of the real machine, with only the network of this one.
        """
        namespaces = NET_ONLY if net_only else WHOLE
        return ["nsenter", f"--target={self._pid()}", *namespaces, "--", *command]

    def run(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
        check: bool = True,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in the machine and return it with its output as text.

        ``timeout`` in seconds. Raises LabError when it takes longer, and, with ``check``, when it
        ends with another status than 0.
        """
        shown = f"{self.name}: {shlex.join(command)}"
        with subprocess.Popen(
            self.argv(*command),
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT | dict(env or {}),
        ) as process:
            try:
                output, errors = process.communicate(input, timeout)
            except subprocess.TimeoutExpired:
                for child in (*_children(process.pid), process.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
                raise LabError(f"{shown}: not done after {timeout:g} s") from None
        if check and process.returncode:
            text = (errors.strip() or output.strip())[-800:]
            raise LabError(f"{shown}: ended with status {process.returncode}: {text}")
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def spawn(self, service: str, *command: str, env: Mapping[str, str] | None = None) -> int:
        """Start a daemon in the machine and return its pid, as seen from outside.

        It must stay in the foreground. Its output goes to the service's log, see `log_path`.
        Raises LabError when it ends at once.
        """
        script = 'setsid "$@" </dev/null >&2 & echo $!'
        with self.log_path(service).open("ab") as log:
            shell = subprocess.run(
                self.argv("/bin/bash", "-c", script, "spawn", *command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=ENVIRONMENT | dict(env or {}),
                check=False,
            )
        return self.adopt(service, int(shell.stdout or 0))

    def adopt(self, service: str, inner: int) -> int:
        """Take a child of process 1, by its pid inside, for a daemon; return its pid outside.

        Raises LabError when there is none, which is to say that it ended at once.
        """
        pid = self._outer_pid(inner)
        if pid is None:
            raise LabError(f"{self.name}: {service}: ended at once: {self._tail(service)}")
        processes.record(self._record(service), [Process(service, pid, _start_time(pid))])
        return pid

    def _outer_pid(self, inner: int) -> int | None:
        """Return the outside pid of a child of process 1; None when it is gone."""
        for pid in _children(self._pid()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("NSpid:") and int(line.split()[-1]) == inner:
                        return pid
        return None

    def service_pid(self, service: str) -> int | None:
        """Return the outside pid of a daemon that `spawn` or `start_unit` started.

        None when it has ended. A unit's is the one that it has now, whoever started that.
        """
        for process in processes.recorded(self._record(service)):
            if process.running:
                return process.pid
        unit = self._unit(service)
        if unit is None or not self.running():
            return None
        shown = self.systemctl("show", "--property=MainPID", "--value", unit, check=False).stdout
        return self._outer_pid(int(shown)) if int(shown or 0) else None

    def services(self) -> list[str]:
        """Return the names of the daemons started since power-on, running or not."""
        records = (*self._run_dir.glob("*.json"), *self._run_dir.glob(f"*{UNIT_SUFFIX}"))
        return sorted({path.stem for path in records} - {INIT})

    def stop_service(self, service: str, number: int = signal.SIGTERM, wait: float = 10.0) -> bool:
        """Send a daemon a signal and wait until it has ended; tell whether it ran.

        What else would start a unit again, its sockets, is stopped before it. Raises LabError
        when it has not ended after ``wait`` seconds.
        """
        pid = self.service_pid(service)
        unit = self._unit(service)
        if unit is not None and number == signal.SIGTERM:
            self.systemctl("stop", *self._triggers(unit), unit, timeout=wait)
            return pid is not None
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + wait
        while self.service_pid(service) is not None:
            if time.monotonic() > deadline:
                raise LabError(
                    f"{self.name}: {service}: still runs {wait:g} s after signal {number}"
                )
            time.sleep(0.02)
        return True

    # Units

    def start_unit(self, service: str, unit: str, *sockets: str) -> int:
        """Start a unit of systemd, after its sockets, and return the pid outside of its process.

        From now on the daemon is known by the name ``service``, whoever starts it again. Raises
        LabError, with what it said last, when it does not start.
        """
        self._unit_record(service).write_text(unit)
        started = self.systemctl("start", *sockets, unit, check=False)
        pid = None if started.returncode else self.service_pid(service)
        if pid is None:
            told = self.run("journalctl", "--unit", unit, "--lines=5", "--output=cat").stdout
            raise LabError(
                f"{self.name}: {unit} does not start: {' / '.join(told.splitlines())} / "
                f"{self._tail(service)}"
            )
        return pid

    def systemctl(
        self, *words: str, check: bool = True, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run systemctl; see `run`."""
        return self.run("systemctl", *words, check=check, timeout=timeout)

    def _triggers(self, unit: str) -> list[str]:
        """Return the units that start another one when they are asked for it."""
        shown = self.systemctl("show", "--property=TriggeredBy", "--value", unit)
        return shown.stdout.split()

    def _unit(self, service: str) -> str | None:
        try:
            return self._unit_record(service).read_text()
        except FileNotFoundError:
            return None

    def _unit_record(self, service: str) -> Path:
        return self._run_dir / f"{service}{UNIT_SUFFIX}"

    # Logs

    def log_path(self, service: str) -> Path:
        """Return the file that gets the output of a daemon."""
        return self.log_dir / f"{service}.log"

    def inside_log_path(self, service: str) -> str:
        """Return where a machine with systemd sees the log of a daemon."""
        return f"{LOG_DIR}/{service}.log"

    @property
    def log_dir(self) -> Path:
        """Directory of the logs, outside the machine."""
        return self.directory / "log"

    def wait_port(self, port: int, address: str | None = None, timeout: float = 30.0) -> None:
        """Wait until a TCP port (default: of its own address) accepts connections.

        Raises LabError after ``timeout`` seconds.
        """
        host = address or self.address or "127.0.0.1"
        loop = 'until (exec 3<>"/dev/tcp/$0/$1") 2>/dev/null; do sleep 0.05; done'
        try:
            self.run("/bin/bash", "-c", loop, host, str(port), timeout=timeout)
        except LabError:
            remedy = f"see the logs in {self.log_dir}"
            raise LabError(
                f"{self.name}: nothing answers at {host}:{port} after {timeout:g} s; {remedy}"
            ) from None

    # Records

    @property
    def _run_dir(self) -> Path:
        return self.directory / "run"

    def _record(self, service: str) -> Path:
        return self._run_dir / f"{service}.json"

    def _pid(self) -> int:
        pid = self.pid
        if pid is None:
            raise LabError(f"{self.name}: is not running; start the lab, or this host of it")
        return pid

    def _tail(self, service: str) -> str:
        try:
            lines = self.log_path(service).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        return " / ".join(lines[-TAIL_LINES:]) or "without a word"


def _parts(path: str) -> list[str]:
    # Paths are written by the lab itself; a way up would lead out of the root.
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise LabError(f"{path}: write the path without '..'")
    return parts


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _start_time(pid: int) -> int:
    started = processes.start_time(pid)
    return -1 if started is None else started
