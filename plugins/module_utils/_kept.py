# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Write files, remember what was there, and take it all back.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import files
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.files import Record
from ansible_collections.lowtide.compute.plugins.module_utils._planner import kept
from ansible_collections.lowtide.compute.plugins.module_utils._planner.kept import Step, Wanted

SECRET = "(a secret, not shown)\n"
#: The whole text of a file, one that is never shown, or lines at its beginning.
TEXTS = ("content", "secret", "block")


def wanted_of(rows: Sequence[Mapping[str, Any]]) -> list[Wanted]:
    """The files that the option ``files`` asks for; BadOption for what no host can have."""
    found = [_wanted(row) for row in rows]
    paths = [wish.path for wish in found]
    for path in paths:
        if not os.path.isabs(path) or paths.count(path) > 1:
            raise BadOption(
                "files.path",
                path,
                "is there twice" if os.path.isabs(path) else "is not absolute",
                "Give each file once, with its whole path",
            )
    return found


def _wanted(row: Mapping[str, Any]) -> Wanted:
    path, block = _path(row), row["block"] is not None
    text = next(row[kind] for kind in TEXTS if row[kind] is not None)
    uid = files.user_id(row["owner"], "files.owner")
    gid = files.group_id(row["group"], "files.group")
    new = not os.path.lexists(path)
    return Wanted(
        path,
        text,
        block=block,
        secret=row["secret"] is not None,
        mode=mode_of(row["mode"], path),
        uid=os.geteuid() if new and uid is None else uid,
        gid=os.getegid() if new and gid is None else gid,
    )


def _path(row: Mapping[str, Any]) -> str:
    """What a link points to is what has lines; the link itself is what is replaced."""
    return os.path.realpath(row["path"]) if row["block"] is not None else row["path"]


def mode_of(text: str | None, path: str) -> int | None:
    """An octal mode as a number."""
    try:
        return None if text is None else int(text, 8)
    except ValueError:
        raise BadOption(
            "mode", text, f"of {path} is no octal mode", "Give one such as '0640', quoted"
        ) from None


def steps_of(params: Mapping[str, Any], record: Record) -> list[Step]:
    """What there is to do to the files."""
    wanted = wanted_of(params["files"]) if params["state"] == "present" else []
    paths = {wish.path for wish in wanted} | set(record.files)
    here = {path: files.read(path) for path in paths}
    marker = params["marker"]
    if params["state"] == "absent":
        return kept.absent(here, record.files, marker)
    return kept.present(wanted, here, record.files, marker)


def directories_of(params: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Mode and owner of each directory that is missing, the topmost first."""
    if params["state"] == "absent":
        return {}
    rows = params["directories"] + [
        {"path": os.path.dirname(row["path"]), "mode": None, "owner": None, "group": None}
        for row in params["files"]
    ]
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        for missing in files.missing_directories(row["path"]):
            found.setdefault(missing, {})
            if missing == row["path"] and not found[missing]:
                found[missing] = _looks(row)
    return found


def _looks(row: Mapping[str, Any]) -> dict[str, int]:
    looks = {
        "mode": mode_of(row["mode"], row["path"]),
        "uid": files.user_id(row["owner"], "directories.owner"),
        "gid": files.group_id(row["group"], "directories.group"),
    }
    return {name: value for name, value in looks.items() if value is not None}


def apply(
    steps: Sequence[Step], directories: Mapping, state: str, place: str, record: Record
) -> None:
    """Do it: first the note of what was there, then the deeds, then what need not be noted."""
    changed = [step for step in steps if step.changed]
    moment = (files.this_boot(), files.now_us())
    record.touched |= {step.path: moment for step in changed}
    record.touched = {p: at for p, at in record.touched.items() if at[0] == moment[0]}
    forward = {step.path for step in steps} if state == "present" else set()
    record.files |= {step.path: step.known for step in changed if step.path in forward}
    record.directories += directories
    if changed or directories:
        files.save(place, record)
    for path, looks in directories.items():
        files.make_directory(path, **looks)
    for step in changed:
        if step.after is None:
            files.remove(step.path)
        else:
            files.write(step.path, step.after)


def forget(gone: Sequence[str], state: str, place: str, record: Record) -> None:
    """Drop from the record what went back; directories of ours that are empty go, too."""
    before = len(record.files), len(record.directories)
    record.files = {path: known for path, known in record.files.items() if path not in gone}
    if state == "absent":
        record.directories = [
            path
            for path in reversed(record.directories)
            if os.path.isdir(path) and not files.remove_directory(path)
        ][::-1]
    if (len(record.files), len(record.directories)) != before:
        files.save(place, record)


def keep(
    params: Mapping[str, Any], check_mode: bool, warn: Callable[[str], None]
) -> dict[str, Any]:
    """What the module does and returns."""
    state, place = params["state"], params["record"]
    record = files.load(place)
    steps = steps_of(params, record)
    directories = directories_of(params)
    asked = {_path(row) for row in params["files"]} if state == "present" else set()
    gone = [step.path for step in steps if step.path not in asked]
    for step in steps:
        if step.left:
            warn(f"{step.path}: somebody replaced what was written there; it is left alone")
    if not check_mode:
        apply(steps, directories, state, place, record)
        forget(gone, state, place, record)
    return {
        "changed": bool(directories) or any(step.changed for step in steps),
        "files": [_row(step, record) for step in steps],
        "diff": [_diff(step) for step in steps if step.changed],
        "msg": _told(steps),
    }


def _row(step: Step, record: Record) -> dict[str, Any]:
    return {
        "path": step.path,
        "action": step.action,
        "changed_us": record.touched_us(step.path),
    }


def _diff(step: Step) -> dict[str, str]:
    return {
        "before_header": step.path,
        "after_header": step.path,
        "before": _shown(step.here, step.known.secret),
        "after": _shown(step.after, step.known.secret),
    }


def _shown(file: kept.File | None, secret: bool) -> str:
    if file is None:
        return ""
    looks = f"mode {file.mode:04o}, user {file.uid}, group {file.gid}\n"
    if file.link:
        return f"{looks}link to {file.link}\n"
    # A secret that changes would else look unchanged.
    return looks + (f"{SECRET}{kept.digest(file.text)[:12]}\n" if secret else file.text)


def _told(steps: Sequence[Step]) -> str:
    found = [f"{step.action} {step.path}" for step in steps if step.action != "none"]
    return "; ".join(found) or "everything is as it should be"
