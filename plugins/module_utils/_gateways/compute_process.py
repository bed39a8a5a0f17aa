# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""nova-compute on this machine: its systemd unit, its process, its log, and our note of it.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    HostNotReady,
    NotFound,
    Unauthorized,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.compute_process import (
    DropIn,
    Process,
    Told,
)

#: Debian's and Ubuntu's name of the unit, which OpenStack-Ansible uses too, then RDO's.
UNITS = ("nova-compute.service", "openstack-nova-compute.service")
SHOWN = "LoadState,ActiveState,SubState,MainPID,Result,NRestarts"
PATCHING = "OS_NOVA_DISABLE_EVENTLET_PATCHING"
COMMAND_SECONDS = 60

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A command that ended, whatever its status; Unreachable tools are NotFound."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS
        )
    except FileNotFoundError:
        message = f"{command[0]} is not on this machine"
        raise NotFound(message, "Run this where nova-compute is a unit of systemd") from None


class Unit:
    """A unit of systemd. ``name``: empty means the one of ``UNITS`` that is there."""

    def __init__(self, name: str = "", run: Run = run) -> None:
        self._run = run
        self.name = name or self._found()

    def _found(self) -> str:
        for name in UNITS:
            if self._properties(name).get("LoadState") == "loaded":
                return name
        names = " nor ".join(UNITS)
        remedy = "Name the unit, or the layout if it runs in a container"
        raise NotFound(f"This machine has neither {names}", remedy)

    def _properties(self, name: str) -> dict[str, str]:
        told = self._run("systemctl", "show", name, f"--property={SHOWN}").stdout
        return dict(line.split("=", 1) for line in told.splitlines() if "=" in line)

    def state(self) -> dict[str, str]:
        """LoadState, ActiveState, SubState, MainPID, Result and NRestarts, as systemd says."""
        return self._properties(self.name)

    def command(self, without: str) -> str:
        """The last ExecStart= that is written for it, but for what the file ``without`` says."""
        found = ""
        here = ""
        text = re.sub(r"\s*\\\n\s*", " ", self._run("systemctl", "cat", self.name).stdout)
        for line in text.splitlines():
            if line.startswith("# /"):
                here = line[2:].strip()
            elif line.startswith("ExecStart=") and here != without:
                found = line.partition("=")[2].strip() or found
        return found

    def restart(self) -> None:
        """Read its files again, and restart it; HostNotReady when it does not come up."""
        self._run("systemctl", "daemon-reload")
        done = self._run("systemctl", "restart", self.name)
        if done.returncode:
            remedy = f"See journalctl -u {self.name}"
            raise HostNotReady(f"{self.name} does not start: {done.stderr.strip()}", remedy)

    def journal(self, pid: int) -> list[str]:
        """What this process wrote to the journal; nothing where there is no journal."""
        told = self._run("journalctl", f"_PID={pid}", "--output=cat", "--boot", "--quiet")
        return told.stdout.splitlines()


def process(pid: int, proc: str = "/proc") -> Process | None:
    """The process with this number; None when there is none."""
    place = Path(proc, str(pid))
    try:
        # The name may hold spaces and brackets; what follows the last bracket does not.
        fields = (place / "stat").read_text().rpartition(")")[2].split()
        argv = (place / "cmdline").read_text(errors="replace")
        environment = (place / "environ").read_bytes()
        open_files = [_target(link) for link in (place / "fd").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return None
    except PermissionError as error:
        raise Unauthorized(f"{error.filename} may not be read", "Become root") from None
    ticks = int(fields[19])
    return Process(
        pid=pid,
        identity=f"{_boot(proc)}:{pid}:{ticks}",
        started=time.time() - _now_of_boot() + ticks / os.sysconf("SC_CLK_TCK"),
        argv=_words(argv),
        no_patching=_variable(environment, PATCHING),
        polls="anon_inode:[eventpoll]" in open_files,
    )


def _now_of_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot(proc: str) -> str:
    return Path(proc, "sys/kernel/random/boot_id").read_text().strip()


def _target(link: Path) -> str:
    with suppress(FileNotFoundError):
        return os.readlink(link)
    return ""


def _words(cmdline: str) -> tuple[str, ...]:
    """Arguments; setproctitle, which some wrappers use, puts spaces between them."""
    words = cmdline.rstrip("\0").split("\0")
    return tuple(words if len(words) > 1 else words[0].split())


def _variable(environment: bytes, name: str) -> str:
    for entry in environment.decode(errors="replace").split("\0"):
        key, _equals, value = entry.partition("=")
        if key == name:
            return value
    return ""


def hang_up(found: Process) -> None:
    """Send SIGHUP to this very process."""
    descriptor = os.pidfd_open(found.pid)
    try:
        again = process(found.pid)
        if again is None or again.identity != found.identity:
            raise HostNotReady("nova-compute was restarted meanwhile", "Run this again")
        signal.pidfd_send_signal(descriptor, signal.SIGHUP)
    finally:
        os.close(descriptor)


def drop_in(path: str) -> DropIn | None:
    """The file at ``path``; None when there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
            written = os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    except PermissionError:
        raise Unauthorized(f"{path} may not be read", "Become root") from None
    parser = configparser.RawConfigParser(strict=False, default_section="", allow_no_value=True)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    with suppress(configparser.Error):
        parser.read_string(text)
    options = sorted(f"{group}.{name}" for group in parser.sections() for name in parser[group])
    return DropIn(hashlib.sha256(text.encode()).hexdigest(), written, tuple(options))


def script(program: str) -> str | None:
    """The text of a program that is a shell script; None when it is none, or not there."""
    with suppress(FileNotFoundError, PermissionError), open(program, "rb") as file:
        text = file.read(1 << 20).decode(errors="replace")
        if re.match(r"#! ?/\S*/(env )?(da|ba)?sh\b", text):
            return text
    return None


def recall(path: str) -> Told | None:
    """What was noted at ``path``; None when nothing that can be used was."""
    try:
        noted: Mapping[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        return Told(
            noted["process"],
            noted["drop_in"],
            tuple(noted["restart"]),
            tuple(noted["reload"]),
        )
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        return None


def remember(path: str, told: Told) -> None:
    """Note it at ``path``, at once or not at all."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    content = {
        "process": told.process,
        "drop_in": told.digest,
        "restart": list(told.restart),
        "reload": list(told.reload),
    }
    fresh = f"{path}.{os.getpid()}"
    with open(fresh, "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.replace(fresh, path)


def log_lines(path: str, most: int = 4 << 20) -> list[str]:
    """The end of a log file: its last ``most`` bytes, or nothing when it is not there."""
    with suppress(FileNotFoundError), open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - most))
        return file.read().decode(errors="replace").splitlines()
    return []
