# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab's state directory: whose it is, one command at a time, emptied before a new lab."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from lab.backend import LabError

MARKER = "lab.json"
LOCK = "lab.lock"


def backend_of(state: Path) -> str | None:
    """Return the name of the backend whose lab a directory holds; None for no lab."""
    try:
        return str(json.loads((state / MARKER).read_text())["backend"])
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def exclusive(state: Path, mark: Callable[[], None]) -> Iterator[None]:
    """Keep a second command from starting or stopping the same lab meanwhile.

    ``mark`` is called to mark a directory that no lab has used yet. Raises LabError when another
    command holds the lab, or the directory holds something else.
    """
    marked = (state / MARKER).exists()
    if state.exists() and not marked and any(state.iterdir()):
        raise LabError(
            f"--state {state}: not empty and not a lab's; give a new or an empty directory"
        )
    state.mkdir(parents=True, exist_ok=True)
    if not marked:
        mark()
    with (state / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(
                f"--state {state}: another command is starting or stopping "
                "this lab; wait for it to end"
            ) from None
        yield


def clean(state: Path) -> None:
    """Remove what an earlier lab left in its directory."""
    for path in state.iterdir():
        if path.name == LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
