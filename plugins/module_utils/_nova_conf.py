# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""One look at a host's nova.conf, and one change of it: what its modules share.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadConfiguration,
    BadOption,
    BadOptions,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import config
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf import (
    RELEASES,
    release_number,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_file import (
    BadLine,
    Configuration,
    File,
    Setting,
    directory_was_made,
    in_force,
    is_ours,
    parse,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_plan import (
    Plan,
    Wish,
    plan,
    removal,
    shown,
    text,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_profile import (
    Settings,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_rules import (
    Finding,
    Host,
    Names,
)

Row = dict[str, Any]
Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Site:
    """Nova's configuration on this host. ``python``: what runs nova-compute; empty when unknown."""

    drop_in: config.DropIn
    present: str | None
    order: config.Order
    conf: Configuration
    version: str
    python: str


def look(params: Mapping[str, Any]) -> Site:
    """Read what the options name. Raises BadOption and BadConfiguration."""
    path = os.path.normpath(params["path"])
    found = config.installed(params["nova_compute"])
    release = _release(params["release"], found)
    drop_in = config.DropIn(path)
    present = drop_in.text()
    order = config.reading_order(params["config_files"], params["config_dirs"], path)
    paths = order.paths if order.reads else (*order.paths, path)
    files = []
    for name in paths:
        said = present if name == path else config.read(name)
        # The drop-in has its place among the others, whether it is there yet or not.
        files.append(_parsed(name, said or ""))
    conf = Configuration(tuple(files), release)
    version, python = (found.version, found.python) if found else ("", "")
    return Site(drop_in, present, order, conf, version, python)


def _release(asked: str, found: config.Installed | None) -> int:
    if asked == "auto":
        if found is None:
            remedy = "Name the release, or the program in nova_compute"
            raise BadOption("release", asked, "cannot be found out: there is no Nova here", remedy)
        asked = found.version
    number = release_number(asked)
    if number is None:
        names = ", ".join(name for name, _code in RELEASES.values())
        raise BadOption("release", asked, "is no release of Nova", f"Give auto, or one of {names}")
    return number


def _parsed(path: str, said: str) -> File:
    try:
        return parse(path, said)
    except BadLine as error:
        remedy = "Correct it: nova-compute cannot read it either"
        raise BadConfiguration(str(error), remedy) from error


def effective_rows(effective: Mapping[str, Setting]) -> dict[str, dict[str, Row]]:
    """group -> option -> value and source, as RETURN documents it."""
    rows: dict[str, dict[str, Row]] = {}
    for key in sorted(effective):
        group, _dot, name = key.partition(".")
        setting = effective[key]
        rows.setdefault(group, {})[name] = {"value": setting.value, "source": setting.source}
    return rows


def info(params: Mapping[str, Any]) -> Row:
    """What is in force, and what Nova says of the drop-in."""
    site = look(params)
    effective = in_force(site.conf)
    found = None
    if site.present is not None and site.python:
        found = config.problems(site.python, site.drop_in.path)
    problems = list(found or [])
    told = {problem["option"] for problem in problems}
    for key, setting in effective.items():
        if setting.problem and key not in told:
            said = f"{setting.source}: {setting.value!r} {setting.problem}"
            problems.append({"severity": "error", "option": key, "text": said})
    read = [path for path in site.order.paths if path != site.drop_in.path or site.present]
    version = site.version or site.conf.release
    return {
        "release": site.conf.release,
        "version": site.version,
        "python": site.python,
        "files": read,
        "written": site.present is not None,
        "effective": effective_rows(effective),
        "validated": found is not None,
        "problems": problems,
        "msg": f"nova {version}, {len(read)} files, {len(problems)} problems",
    }


# --- the drop-in there ---------------------------------------------------------------------------


def present(params: Mapping[str, Any], check_mode: bool, warn: Warn) -> Row:
    """Have the drop-in say what was asked. Raises BadOptions before anything is written."""
    site = look(params)
    made = plan(_wish(params, site), site.conf, _host(params))
    if made.faults:
        raise BadOptions([_fault(finding) for finding in made.faults])
    wanted = text(made.lines, site.present, site.drop_in.directory_missing())
    changed, backup = wanted != site.present, ""
    foreign = site.present is not None and not is_ours(site.present)
    if changed and not check_mode:
        if foreign:
            backup = site.drop_in.keep()
        site.drop_in.write(wanted, site.order.paths)
    for finding in made.warnings:
        warn(finding.sentence())
    return _result(site, made, changed, wanted) | {"backup": backup}


def _wish(params: Mapping[str, Any], site: Site) -> Wish:
    given = params["settings"]
    settings = None
    if given is not None:
        # What is null is as if it had not been said.
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    for group, named in params["options"].items():
        if not isinstance(named, Mapping):
            name = Names(params["prefix"]).option(group)
            raise BadOption(name, named, "is no dictionary", "Give group -> option -> value")
    names = Names(params["prefix"])
    return Wish(site.drop_in.path, settings, params["options"], names, site.order.reads)


def _host(params: Mapping[str, Any]) -> Host:
    version = params["qemu_version"] or config.qemu_version()
    found = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+))?.*", version)
    if version and not found:
        remedy = "Give it as QEMU says it, such as 10.1.0"
        raise BadOption("qemu_version", version, "is no version", remedy)
    qemu = tuple(int(number or 0) for number in found.groups()) if found else ()
    return Host(frozenset(params["host_addresses"]), qemu)


def _fault(finding: Finding) -> BadOption:
    why = f"{finding.why} ({finding.source})" if finding.source else finding.why
    return BadOption(finding.name, finding.value, why, finding.remedy)


# --- the drop-in away ----------------------------------------------------------------------------


def absent(params: Mapping[str, Any], check_mode: bool, warn: Warn) -> Row:
    """Take the drop-in away, and put back what was there before it."""
    site = look(params)
    before = site.drop_in.text_before()
    ours = site.present is None or is_ours(site.present)
    if not ours:
        warn(f"{site.drop_in.path} was not written by this module, and is left as it is")
    changed = ours and (site.present is not None or before is not None)
    if not changed:
        made = removal(site.drop_in.path, site.conf, site.conf.file(site.drop_in.path))
        return _result(site, made, False, site.present) | {"backup": ""}
    made = removal(site.drop_in.path, site.conf, _restored(site.drop_in.path, before))
    if not check_mode:
        site.drop_in.restore(directory_was_made(site.present or ""))
    return _result(site, made, True, before) | {"backup": ""}


def _restored(path: str, before: str | None) -> File | None:
    """What was there before. It comes back whether it can be read or not."""
    if before is None:
        return None
    try:
        return parse(path, before)
    except BadLine:
        return File(path, {})


def _result(site: Site, made: Plan, changed: bool, after: str | None) -> Row:
    path = site.drop_in.path
    return {
        "changed": changed,
        "path": path,
        "release": site.conf.release,
        "version": site.version,
        "sections": made.sections(),
        "effective": effective_rows(made.effective),
        "restart": made.restart,
        "reload": made.reload,
        "unsupported": made.unsupported,
        "replaced": made.replaced,
        "diff": {
            "before": shown(site.present),
            "after": shown(after),
            "before_header": path,
            "after_header": path,
        },
        "msg": _sentence(path, made, changed, after),
    }


def _sentence(path: str, made: Plan, changed: bool, after: str | None) -> str:
    if not changed:
        return f"{path} is as it should be"
    done = f"{path} is {'written' if after is not None else 'removed'}"
    needs = []
    if made.restart:
        needs.append(f"a restart for {len(made.restart)} options")
    if made.reload:
        needs.append(f"SIGHUP for {len(made.reload)}")
    return f"{done}; nova-compute needs {' and '.join(needs) or 'nothing'}"
