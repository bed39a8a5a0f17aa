# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Files of nova.conf as oslo.config reads them: which line wins, and what it says.

This module util is **PRIVATE** to the collection: it may change without notice.
The rules are oslo.config's (iniparser.py, cfg.py: _Namespace, ConfigOpts._substitute); the tests
compare with oslo.config itself.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf import (
    Option,
    written,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_options import (
    TABLE,
    find,
)

#: group -> option -> the texts given for it, in the order of the lines.
Sections = Mapping[str, Mapping[str, Sequence[str]]]
#: The source of a value that no file gives.
DEFAULT = "default"
MARK = "# Written by lowtide.compute.nova_config, which overwrites changes made here."
MADE = "# The directory was made for this file."


class BadLine(ValueError):
    """A line that oslo.config does not read; nova-compute does not start with it."""

    def __init__(self, path: str, number: int, why: str) -> None:
        super().__init__(f"{path}, line {number}: {why}")
        self.path, self.number, self.why = path, number, why


@dataclass(frozen=True, slots=True)
class File:
    """One file: what it says, with groups' names in lower case (but DEFAULT)."""

    path: str
    sections: Sections


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of an option in force. ``source``: the file, or ``default``.

    ``problem``: why Nova does not take the value; ``value`` is the text then.
    """

    value: Any
    source: str
    problem: str = ""


@dataclass(slots=True)
class _Reader:
    """Lines become sections."""

    path: str
    sections: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    section: str = ""
    key: str = ""
    lines: list[str] = field(default_factory=list)
    number: int = 0

    def read(self, text: str) -> Sections:
        # Like a file's lines: splitlines() would also split at form feeds and the like.
        for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
            self.number += 1
            self._line(line.rstrip())
        self._flush()
        return self.sections

    def _line(self, line: str) -> None:
        if line.startswith((" ", "\t")):
            if not self.key:
                raise self._bad("continues nothing")
            self.lines.append(line.lstrip())
            return
        self._flush()
        if line.startswith("["):
            self._begin(line)
        elif line and not line.startswith(("#", ";")):
            self._assign(line)

    def _begin(self, line: str) -> None:
        if not line.endswith("]"):
            raise self._bad("a group's name must end with ]")
        if len(line) <= 2:
            raise self._bad("a group without a name")
        name = line[1:-1]
        self.section = name if name == "DEFAULT" else name.lower()
        self.sections.setdefault(self.section, {})

    def _assign(self, line: str) -> None:
        at = min((found for found in (line.find("="), line.find(":")) if found >= 0), default=-1)
        if at < 0:
            raise self._bad("neither = nor :")
        key, value = line[:at].strip(), line[at + 1 :].strip()
        if not key:
            raise self._bad("no name before the value")
        if value and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        self.key, self.lines = key, [value]

    def _flush(self) -> None:
        if not self.key:
            return
        if not self.section:
            raise self._bad("a value before the first group")
        self.sections[self.section].setdefault(self.key, []).append("\n".join(self.lines))
        self.key = ""

    def _bad(self, why: str) -> BadLine:
        return BadLine(self.path, self.number, why)


def parse(path: str, text: str) -> File:
    """A file's text. Raises BadLine where oslo.config would."""
    return File(path, _Reader(path).read(text))


# --- what is in force ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Configuration:
    """The files of a service, in the order in which it reads them, and its release."""

    files: tuple[File, ...]
    release: int

    def file(self, path: str) -> File | None:
        """What that file says; None when it is not read."""
        return next((file for file in self.files if file.path == path), None)

    def with_file(self, path: str, sections: Sections | None) -> Configuration:
        """The same with another content of that file, at its place; None for without it."""
        here = [at for at, file in enumerate(self.files) if file.path == path]
        rest = tuple(file for file in self.files if file.path != path)
        if sections is None:
            return Configuration(rest, self.release)
        at = here[0] if here else len(rest)
        return Configuration((*rest[:at], File(path, sections), *rest[at:]), self.release)

    def raw(self, option: Option) -> tuple[list[str], str] | None:
        """An option's texts, and the file that wins; None when no file has it."""
        names = ((option.group, option.name), *option.aliases)
        multi: list[str] = []
        winner = ""
        for file in reversed(self.files):
            for group, name in names:
                texts = file.sections.get(group, {}).get(name)
                if not texts:
                    continue
                if option.kind.name != "MultiString":
                    return list(texts), file.path
                multi, winner = [*texts, *multi], winner or file.path
        return (multi, winner) if multi else None

    def value(self, option: Option, around: frozenset[str] = frozenset()) -> Setting:
        """An option's value in force. ``around``: options that refer to it."""
        texts, source = self.raw(option) or (option.default_in(self.release), DEFAULT)
        given = texts
        if source != DEFAULT and option.kind.name != "MultiString":
            given = texts[-1]
        try:
            filled = self._filled(given, option, around)
            # What Nova itself would have as a default need not be a text.
            return Setting(filled if source == DEFAULT else _typed(option, filled), source)
        except ValueError as error:
            return Setting(given, source, str(error))

    def text(self, group: str, name: str) -> Setting:
        """The text in force for an option that is not in the table, as it is written."""
        return self.value(unknown(group, name))

    def _filled(self, given: Any, option: Option, around: frozenset[str]) -> Any:
        if isinstance(given, list):
            return [self._filled(item, option, around) for item in given]
        if not isinstance(given, str) or "$" not in given:
            return given
        values = _Values(self, option, around | {option.key})
        return _Template(given.replace("\\$", "$$")).safe_substitute(values)


def _typed(option: Option, filled: Any) -> Any:
    # oslo.config takes an empty number for none.
    if option.kind.name in ("Integer", "Float") and not filled.strip():
        return None
    return option.kind.read(filled)


class _Template(string.Template):
    idpattern = r"[_a-z][\._a-z0-9]*"


class _Values(Mapping[str, Any]):
    """What ``$name`` and ``$group.name`` stand for, seen from an option."""

    def __init__(self, conf: Configuration, option: Option, around: frozenset[str]) -> None:
        self._conf, self._group, self._around = conf, option.group, around

    def __getitem__(self, key: str) -> Any:
        group, dot, name = key.partition(".")
        places = [(group, name)] if dot else [(self._group, key), ("DEFAULT", key)]
        for place in places:
            option = find(*place)
            setting = self._value(option or unknown(*place), known=option is not None)
            if setting is not None:
                return setting
        # The table does not know it, and no file has it: left as it is written.
        raise KeyError(key)

    def _value(self, option: Option, known: bool) -> Any:
        if option.key in self._around:
            raise ValueError("refers to itself")
        if self._conf.raw(option) is None and not (known and option.default is not None):
            return None
        setting = self._conf.value(option, self._around)
        if setting.problem:
            raise ValueError(f"refers to {option.key}, which {setting.problem}")
        return "" if setting.value is None else setting.value

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def unknown(group: str, name: str) -> Option:
    """A row for an option that is not in the table: a text, of which nothing is known."""
    return Option(group, name, KIND_TEXT, None, "", "")


KIND_TEXT = find("libvirt", "live_migration_scheme").kind


def in_force(conf: Configuration, more: Iterable[tuple[str, str]] = ()) -> dict[str, Setting]:
    """``group.name`` -> setting, of the table's options in that release, and of ``more``."""
    found = {option.key: conf.value(option) for option in TABLE if option.exists(conf.release)}
    for group, name in more:
        option = find(group, name) or unknown(group, name)
        if option.key not in found:
            found[option.key] = conf.value(option)
    return found


# --- writing ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One option of the drop-in. ``because``: how its value was computed; empty when it was
    given."""

    group: str
    name: str
    value: Any
    because: str = ""

    @property
    def key(self) -> str:
        """``group.name``."""
        return f"{self.group}.{self.name}"

    def texts(self) -> list[str]:
        """What stands behind the equals sign, once for each line."""
        option = find(self.group, self.name)
        if option is not None and option.kind.name == "MultiString":
            return [str(item) for item in self.value]
        return written(self.value)


def render(lines: Sequence[Line], directory_made: bool) -> str:
    """The drop-in's text. Groups come in the order of their names, DEFAULT first."""
    out = [MARK, *([MADE] if directory_made else [])]
    groups = sorted({line.group for line in lines}, key=lambda name: (name != "DEFAULT", name))
    for group in groups:
        out += ["", f"[{group}]"]
        for line in sorted((x for x in lines if x.group == group), key=lambda x: x.name):
            if line.because:
                out.append(f"# {line.because}")
            out += [f"{line.name} = {_quoted(text)}".rstrip() for text in line.texts()]
    return "\n".join(out) + "\n"


def _quoted(text: str) -> str:
    """Quotes where oslo.config would take something away."""
    stripped = text.strip() != text or (text and text[0] == text[-1] and text[0] in "\"'")
    return f'"{text}"' if stripped else text


def is_ours(text: str) -> bool:
    """Whether this module wrote a file."""
    return text.startswith(MARK)


def directory_was_made(text: str) -> bool:
    """Whether the directory was made for the file."""
    return is_ours(text) and text.splitlines()[1:2] == [MADE]
