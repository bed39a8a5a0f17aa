# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What an option of nova.conf is: its type, since and until which release, and who reads it.

This module util is **PRIVATE** to the collection: it may change without notice.
The types are oslo.config's, so that a value is good here if and only if Nova takes it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

#: Major version of the nova package -> (name of the OpenStack release, its code name).
RELEASES = {
    27: ("2023.1", "antelope"),
    28: ("2023.2", "bobcat"),
    29: ("2024.1", "caracal"),
    30: ("2024.2", "dalmatian"),
    31: ("2025.1", "epoxy"),
    32: ("2025.2", "flamingo"),
    33: ("2026.1", "gazpacho"),
    34: ("2026.2", "hibiscus"),
}
OLDEST, NEWEST = min(RELEASES), max(RELEASES)

TRUE, FALSE = frozenset("true 1 on yes".split()), frozenset("false 0 off no".split())

#: Who reads an option.
COMPUTE, CONDUCTOR, SCHEDULER, API, ALL = "compute", "conductor", "scheduler", "api", "all"


def release_number(text: str) -> int | None:
    """The package's major version of ``2026.1``, ``gazpacho``, ``33`` or ``33.0.2``; else None.

    A release after the newest that is known here is taken by its number.
    """
    word = text.strip().lower()
    for number, names in RELEASES.items():
        if word in names:
            return number
    found = re.fullmatch(r"([0-9]{1,3})(\.[0-9a-z+~-]+)*", word)
    return int(found.group(1)) if found else None


def release_name(number: int) -> str:
    """``2026.1 (33)``; of a release that is not known here, the number."""
    return f"{RELEASES[number][0]} ({number})" if number in RELEASES else str(number)


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of oslo.config. ``name``: its class there. ``choices``: none for all."""

    name: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """What may be written, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.low is not None and self.high is not None:
            return f"{WORDS[self.name]} from {self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"{WORDS[self.name]}, {self.low:g} or more"
        return WORDS[self.name]

    def read(self, value: Any) -> Any:
        """The typed value of a text, or of a value that is typed already. Raises ValueError."""
        found = READERS[self.name](value)
        if self.choices and found not in self.choices:
            raise ValueError(f"is not {self.allowed}")
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            if self.low is not None and found < self.low:
                raise ValueError(f"is not {self.allowed}")
            if self.high is not None and found > self.high:
                raise ValueError(f"is not {self.allowed}")
        return found


WORDS = {
    "Boolean": "true or false",
    "Integer": "a whole number",
    "Float": "a number",
    "String": "a text",
    "List": "a list, or a text with commas",
    "MultiString": "a list of texts",
    "HostAddress": "an IP address or a host name",
    "HostDomain": "an IP address or a host name",
}


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in TRUE | FALSE:
        raise ValueError("is not true or false")
    return word in TRUE


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"\s*[+-]?[0-9]+(_[0-9]+)*\s*", value):
        raise ValueError("is not a whole number")
    return int(value)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("is not a number")
    try:
        return float(value)
    except ValueError:
        raise ValueError("is not a number") from None


def _string(value: Any) -> str:
    if isinstance(value, (list, dict)) or value is None:
        raise ValueError("is not a text")
    return str(value)


def _list(value: Any) -> list[str]:
    if isinstance(value, (list, tuple)):
        return [_string(item) for item in value]
    text = _string(value).strip().rstrip(",")
    return [item.strip() for item in text.split(",")] if text else []


def _multi(value: Any) -> list[str]:
    return [_string(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]


def is_address(text: str) -> bool:
    """Whether a text is an IP address in digits."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _host(value: Any, letters: str) -> str:
    text = _string(value)
    if is_address(text):
        return text
    name = text.removesuffix(".")
    labels = name.split(".")
    # oslo.config takes a name that ends in digits only for a mistyped IP address.
    if not 0 < len(name) <= 253 or not re.search("[A-Za-z-]", labels[-1]):
        raise ValueError("is not an IP address or a host name")
    if not all(re.fullmatch(rf"(?!-)[{letters}]{{1,63}}(?<!-)", label) for label in labels):
        raise ValueError("is not an IP address or a host name")
    return name


def _host_address(value: Any) -> str:
    return _host(value, "A-Za-z0-9-")


def _host_domain(value: Any) -> str:
    return _host(value, "A-Za-z0-9_-")


READERS = {
    "Boolean": _boolean,
    "Integer": _integer,
    "Float": _float,
    "String": _string,
    "List": _list,
    "MultiString": _multi,
    "HostAddress": _host_address,
    "HostDomain": _host_domain,
}


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the table.

    ``default``: Nova's; ``None`` for none, and for one that Nova takes from the host.
    ``least``, ``most``: a tighter range than Nova's own, for what Nova takes and then fails with.
    ``mutable``: SIGHUP is enough. ``since``, ``until``: the first release that has it, and the
    first that has not; None for all that we know. ``deprecated``: since which release.
    ``replaced_by``: ``group.name``. ``aliases``: (group, name) under which Nova reads it, too.
    ``later``: (release, default) where the default changed. ``why``: what it does to migrations,
    and ``source``: where that is to be read.
    """

    group: str
    name: str
    kind: Kind
    default: Any
    why: str
    source: str
    least: float | None = None
    most: float | None = None
    mutable: bool = False
    since: int | None = None
    until: int | None = None
    deprecated: int | None = None
    replaced_by: str = ""
    aliases: tuple[tuple[str, str], ...] = ()
    later: tuple[tuple[int, Any], ...] = ()
    service: str = COMPUTE

    @property
    def key(self) -> str:
        """``group.name``."""
        return f"{self.group}.{self.name}"

    def exists(self, release: int) -> bool:
        """Whether that release has it."""
        return (self.since is None or release >= self.since) and (
            self.until is None or release < self.until
        )

    def default_in(self, release: int) -> Any:
        """Nova's default in that release."""
        found = self.default
        for first, default in self.later:
            if release >= first:
                found = default
        return found

    def allowed(self) -> str:
        """What may be written, in words: Nova's range, and ours within it."""
        return self._kind().allowed

    def read(self, value: Any) -> Any:
        """The typed value, if both Nova and we take it. Raises ValueError with the reason."""
        return self._kind().read(value)

    def _kind(self) -> Kind:
        low = self.least if self.least is not None else self.kind.low
        high = self.most if self.most is not None else self.kind.high
        return Kind(self.kind.name, low, high, self.kind.choices)


def written(value: Any) -> list[str]:
    """A typed value as nova.conf says it: one text, or one for each of a list of texts' lines."""
    if isinstance(value, bool):
        return [str(value).lower()]
    if isinstance(value, (list, tuple)):
        return [",".join(str(item) for item in value)]
    if isinstance(value, float) and value.is_integer():
        return [f"{value:.1f}"]
    return ["" if value is None else str(value)]
