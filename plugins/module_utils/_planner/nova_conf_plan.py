# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What a drop-in of nova.conf should say on this host, what that changes, and what forbids it.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf import (
    ALL,
    COMPUTE,
    NEWEST,
    OLDEST,
    Option,
    release_name,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_file import (
    Configuration,
    File,
    Line,
    Setting,
    directory_was_made,
    in_force,
    is_ours,
    parse,
    render,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_options import (
    find,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_profile import (
    Settings,
    lines,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_rules import (
    RULES,
    SECRET,
    Case,
    Finding,
    Host,
    Names,
    bad_settings,
)

#: A live_migration_uri that says no more than a scheme does.
PLAIN_URI = re.compile(r"qemu\+([a-z0-9]+)://%s/system")
#: What a group or an option may be called.
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_:-]*")
URI, SCHEME = "libvirt.live_migration_uri", "libvirt.live_migration_scheme"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller wants. ``options``: group -> option -> value, beside the settings.

    ``settings`` None: only the options. ``path``: the drop-in. ``reads``: whether the service
    reads that path; None when it is not known how it reads.
    """

    path: str
    settings: Settings | None
    options: Mapping[str, Mapping[str, Any]]
    names: Names
    reads: bool | None = True


@dataclass(slots=True)
class Plan:
    """What to write, and what it does. Nothing may be written while there are ``faults``.

    ``unsupported``: options that the release has not; ``replaced``: those written under another
    name. ``restart``, ``reload``: options whose value in force changes, by what makes nova-compute
    heed them.
    """

    faults: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    unsupported: list[dict[str, Any]] = field(default_factory=list)
    replaced: list[dict[str, Any]] = field(default_factory=list)
    effective: dict[str, Setting] = field(default_factory=dict)
    restart: list[str] = field(default_factory=list)
    reload: list[str] = field(default_factory=list)

    def sections(self) -> dict[str, dict[str, str | list[str]]]:
        """What the drop-in says: group -> option -> text, a list where there are several."""
        found: dict[str, dict[str, str | list[str]]] = {}
        for line in sorted(self.lines, key=lambda line: line.key):
            texts = line.texts()
            found.setdefault(line.group, {})[line.name] = texts if len(texts) > 1 else texts[0]
        return found


def plan(wish: Wish, conf: Configuration, host: Host) -> Plan:
    """Decide. ``conf``: the files as they are, with the drop-in if there is one."""
    made = Plan()
    options = {f"{g}.{name}": value for g, of in wish.options.items() for name, value in of.items()}
    settings = _sane(made, wish)
    wanted = [*(lines(settings) if settings else ()), *_given(made, wish.names, options)]
    called = {key: wish.names.option(key) for key in options}
    kept = [fit for line in wanted if (fit := _fitted(made, line, conf.release, called))]
    kept += _neutral(made, settings, kept, conf.with_file(wish.path, None))
    made.lines = _unique(made, kept, wish.names, options)
    after = conf.with_file(wish.path, _texts(made.lines))
    made.effective = in_force(after, [(line.group, line.name) for line in made.lines])
    case = Case(
        wish.path,
        settings,
        options,
        {line.key: line for line in made.lines},
        after,
        host,
        wish.names,
    )
    for rule in RULES:
        _note(made, rule(case))
    _note(made, _surroundings(wish, conf.release))
    _changes(made, conf, after)
    return made


def removal(path: str, conf: Configuration, restored: File | None) -> Plan:
    """The plan for taking the drop-in away; ``restored``: what was there before it."""
    made = Plan()
    after = conf.with_file(path, restored.sections if restored else None)
    made.effective = in_force(after)
    _changes(made, conf, after)
    return made


def _texts(found: Sequence[Line]) -> dict[str, dict[str, list[str]]]:
    """Lines as sections, read from the very text that would be written."""
    return parse("", render(found, directory_made=False)).sections


def _note(made: Plan, findings: Iterable[Finding]) -> None:
    for finding in findings:
        (made.faults if finding.fatal else made.warnings).append(finding)


# --- what is wanted ----------------------------------------------------------------------------


def _sane(made: Plan, wish: Wish) -> Settings | None:
    """The settings, with defaults in the place of bad ones, so that all faults are found."""
    if wish.settings is None:
        return None
    bad = bad_settings(wish.settings, wish.names)
    made.faults += bad.values()
    defaults = Settings()
    return replace(wish.settings, **{name: getattr(defaults, name) for name in bad})


def _given(made: Plan, names: Names, options: Mapping[str, Any]) -> Iterator[Line]:
    """The options beside the settings, typed."""
    for key, value in options.items():
        group, _dot, name = key.partition(".")
        option = find(group, name)
        try:
            line = Line(group, name, option.read(value) if option else value)
            if not (PLAIN_NAME.fullmatch(group) and PLAIN_NAME.fullmatch(name)):
                raise ValueError("is not for a name that nova.conf can have")
            if any("\n" in text or "\r" in text for text in line.texts()):
                raise ValueError("has more than one line")
        except ValueError as error:
            allowed = option.allowed() if option else "a group, an option and a value of one line"
            source = option.source if option else ""
            shown = "(hidden)" if SECRET.search(key) else value
            fault = Finding(names.option(key), shown, str(error), f"Give {allowed}", source)
            made.faults.append(fault)
        else:
            yield line


def _fitted(made: Plan, line: Line, release: int, called: Mapping[str, str]) -> Line | None:
    """The line as that release wants it; None when it has nothing of the kind.

    ``called``: how the caller calls the options that it gave by key.
    """
    option = find(line.group, line.name)
    if option is None:
        return line
    if option.key == URI and line.value:
        return _scheme(made, line, called[line.key])
    if not option.exists(release):
        gone = option.until is not None and release >= option.until
        # What Nova does anyway is not lost.
        if gone or line.value != option.default:
            made.unsupported.append(_lacking(line, option, release))
        return None
    if option.key == "workarounds.enable_numa_live_migration":
        why = "every release since 2023.1 moves guests with a NUMA topology by itself"
        made.unsupported.append({"option": line.key, "value": line.value, "why": why})
        return None
    if option.key == "libvirt.live_migration_tunnelled" and not line.value:
        # Nova's default; written only where another file says otherwise: see _neutral.
        return None
    if option.key != line.key:
        why = f"{line.key} is an old name of {option.key}"
        made.replaced.append({"option": line.key, "by": option.key, "why": why})
        return Line(option.group, option.name, line.value, line.because)
    if option.deprecated:
        instead = f": use {option.replaced_by}" if option.replaced_by else ""
        why = f"is deprecated since nova {option.deprecated}.0.0{instead}"
        name = called.get(line.key, line.key)
        made.warnings.append(Finding(name, line.value, why, option.why, fatal=False))
    return line


def _lacking(line: Line, option: Option, release: int) -> dict[str, Any]:
    if option.since is not None and release < option.since:
        why = f"new in nova {release_name(option.since)}; this is {release_name(release)}"
    else:
        why = f"gone since nova {option.until}.0.0"
        why += f"; see {option.replaced_by}" if option.replaced_by else ""
    return {"option": line.key, "value": line.value, "why": why}


def _scheme(made: Plan, line: Line, name: str) -> Line | None:
    """The scheme of a live_migration_uri, which is deprecated."""
    plain = PLAIN_URI.fullmatch(str(line.value))
    if plain is None:
        why = "says more than a scheme: qemu+SCHEME://%s/system is all that can be replaced"
        remedy = "Give the scheme, and say the rest in libvirt's and ssh's configuration"
        made.faults.append(Finding(name, line.value, why, remedy, "deprecated in nova 15.0.0"))
        return None
    made.replaced.append({"option": URI, "by": SCHEME, "why": "deprecated since nova 15.0.0"})
    return Line("libvirt", "live_migration_scheme", plain.group(1))


def _neutral(
    made: Plan, settings: Settings | None, kept: Sequence[Line], others: Configuration
) -> Iterator[Line]:
    """Lines that take back what other files say with deprecated options.

    ``others``: the configuration without the drop-in.
    """
    if settings is None:
        return
    tunnelled = others.value(find("libvirt", "live_migration_tunnelled")).value
    if tunnelled is True and not settings.tunnelled:
        yield Line("libvirt", "live_migration_tunnelled", False, "another file says true")
    uri = others.value(find("libvirt", "live_migration_uri"))
    if not uri.value:
        return
    plain = PLAIN_URI.fullmatch(str(uri.value))
    named = any(line.key == SCHEME for line in kept)
    if not (plain or named):
        return
    why = f"{uri.source} says {uri.value!r}; deprecated since nova 15.0.0"
    made.replaced.append({"option": URI, "by": SCHEME, "why": why})
    yield Line("libvirt", "live_migration_uri", "", "another file says it; the scheme counts")
    if not named:
        yield Line("libvirt", "live_migration_scheme", plain.group(1), f"as in {uri.source}")


def _unique(
    made: Plan, found: Sequence[Line], names: Names, options: Mapping[str, Any]
) -> list[Line]:
    """Each option once; what is asked for twice must be the same."""
    by_key: dict[str, Line] = {}
    for line in found:
        first = by_key.setdefault(line.key, line)
        if first.value != line.value:
            name = names.option(line.key) if line.key in options else line.key
            why = f"is set twice: {first.value!r} elsewhere"
            made.faults.append(Finding(name, line.value, why, "Say it in one place"))
    return list(by_key.values())


def _surroundings(wish: Wish, release: int) -> Iterator[Finding]:
    if release > NEWEST:
        why = f"is newer than what is known here, up to {release_name(NEWEST)}"
        yield Finding("release", release, why, "See that Nova takes all options", fatal=False)
    if release < OLDEST:
        why = f"is older than what is known here, from {release_name(OLDEST)} on"
        yield Finding("release", release, why, "Upgrade Nova first")
    if wish.reads is False:
        why = "is not read by nova-compute: it is in none of its files and directories"
        remedy = "Give config_dirs (its --config-dir), or a path in one of them that ends in .conf"
        yield Finding("path", wish.path, why, remedy, "oslo_config/cfg.py")


# --- what changes ------------------------------------------------------------------------------


def _changes(made: Plan, before: Configuration, after: Configuration) -> None:
    """Which options in force change, of those that nova-compute reads."""
    names = {
        (group, name)
        for file in (*before.files, *after.files)
        for group, of in file.sections.items()
        for name in of
    }
    was, then = in_force(before, names), in_force(after, names)
    for key in sorted(was):
        group, _dot, name = key.partition(".")
        option = find(group, name)
        if was[key].value == then[key].value:
            continue
        if option is not None and option.service not in (ALL, COMPUTE):
            continue
        (made.reload if option is not None and option.mutable else made.restart).append(key)


# --- the file ----------------------------------------------------------------------------------


def text(found: Sequence[Line], present: str | None, directory_missing: bool) -> str:
    """The drop-in's text. ``present``: what is there now; None for nothing."""
    made = directory_missing or (present is not None and directory_was_made(present))
    return render(found, made)


def shown(present: str | None) -> str:
    """A file's text for a diff: what it holds of secrets is hidden, where we did not write it."""
    if present is None or is_ours(present):
        return present or ""
    out = []
    for line in present.splitlines(keepends=True):
        key, sign, _value = line.partition("=")
        hidden = sign and SECRET.search(key.strip())
        out.append(f"{key}= (hidden)\n" if hidden else line)
    return "".join(out)
