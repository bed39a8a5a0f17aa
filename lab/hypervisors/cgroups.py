# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control group for each machine with systemd, which keeps its services apart by them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from lab.backend import LabError

MOUNTS = Path("/proc/mounts")
REMEDY = "mount the hierarchy of version 2: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified"
# The kernel counts a process to its group until it is buried.
REMOVE_SECONDS = 5.0
ENTER = 'echo $$ >"$0/cgroup.procs" && exec "$@"'


def hierarchy() -> Path | None:
    """Return where the control groups of version 2 are mounted; None when nowhere."""
    for line in MOUNTS.read_text().splitlines():
        _source, where, kind = line.split()[:3]
        if kind == "cgroup2":
            return Path(where)
    return None


def group(directory: Path) -> Path | None:
    """Return the group of the machine with a state directory, which need not exist."""
    root = hierarchy()
    digest = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    return None if root is None else root / f"lab-{directory.name}-{digest}"


def entering(directory: Path, command: Sequence[str]) -> list[str]:
    """Make a machine's group and return the command line that runs a command in it.

    Raises LabError, with the remedy, where there are no groups or none may be made.
    """
    path = group(directory)
    if path is None:
        raise LabError(f"systemd, which the hosts boot, needs control groups: {REMEDY}")
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise LabError(
            f"{path}: {error.strerror}: systemd, which the hosts boot, needs a control group of "
            "its own; run the lab where root may make one (in a container: a privileged one)"
        ) from None
    return ["/bin/bash", "-c", ENTER, str(path), *command]


def remove(directory: Path) -> None:
    """Remove a machine's group, with those below, once all of its processes have ended."""
    path = group(directory)
    deadline = time.monotonic() + REMOVE_SECONDS
    while path is not None and path.exists():
        try:
            for parent, _children, _files in os.walk(path, topdown=False):
                os.rmdir(parent)
        except OSError as error:
            if time.monotonic() > deadline:
                raise LabError(f"{path}: cannot be removed: {error.strerror}") from None
            time.sleep(0.02)
