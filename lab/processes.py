# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab's processes: recorded when started, recognised again later, stopped by their pid only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

PATIENCE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Process:
    """A started process; `started` (clock ticks since boot) tells it from a later one's pid."""

    service: str
    pid: int
    started: int

    @property
    def running(self) -> bool:
        """Tell whether just this process is alive."""
        return start_time(self.pid) == self.started


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name, in parentheses, may contain anything.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def record(path: Path, processes: Iterable[Process]) -> None:
    """Write the processes down, all or nothing."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps([asdict(process) for process in processes], indent=1) + "\n")
    fresh.rename(path)


def recorded(path: Path) -> list[Process]:
    """Read what `record` wrote; a missing file has none."""
    try:
        return [Process(**item) for item in json.loads(path.read_text())]
    except FileNotFoundError:
        return []


def stop(processes: Iterable[Process]) -> int:
    """Stop those that still run, and return how many did; first asked, then killed."""
    running = [process for process in processes if process.running]
    count = len(running)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while running and time.monotonic() < deadline:
            time.sleep(0.02)
            running = [process for process in running if process.running]
    return count


def memory_mib(pid: int) -> int | None:
    """Return a process's proportional share of memory in MiB; None when it is not readable."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("Pss:"):
            return int(line.split()[1]) // 1024
    return None


def cpu_seconds(pid: int) -> float | None:
    """Return the processor time a process has used; None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
