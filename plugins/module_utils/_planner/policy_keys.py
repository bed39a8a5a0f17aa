# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The keys that ask for a policy on flavor, image and instance: names, ranges, how to read them.

This module util is **PRIVATE** to the collection: it may change without notice.
StarlingX's keys have StarlingX's ranges; docs/policy.md shows the same tables to operators and
owners.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Guest

FLAVOR, IMAGE, INSTANCE = PLACES = ("flavor", "image", "instance")
#: QEMU refuses more (MAX_MIGRATE_DOWNTIME, 2000 s).
MAX_DOWNTIME_MS = 2_000_000
ON_TIMEOUT = ("abort", "leave", "force_complete")
WISHES = ("migrate", "notify", "leave")
YES, NO = frozenset("1 t true on y yes".split()), frozenset("0 f false off n no".split())


@dataclass(frozen=True, slots=True)
class Kind:
    """``allowed``: what may be written, in words. ``read``: the value of a text, or ``None``."""

    allowed: str
    read: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Key:
    """A key as flavors and instances spell it (images: ``_`` for ``:``), and what it asks for."""

    name: str
    field: str
    kind: Kind
    places: tuple[str, ...] = PLACES


@dataclass(frozen=True, slots=True)
class Asked:
    """A value, and whose word it is."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A text that asks for nothing, and why. ``field``: "" where the key itself is the matter."""

    place: str
    name: str
    text: str
    why: str
    field: str = ""

    def __str__(self) -> str:
        # Nobody has checked the name of an image's property: it may be of any length and letters.
        shown = _quoted(self.name, most=80)[1:-1]
        return f"{self.place} {shown}: {_quoted(self.text)} is ignored: {self.why}"


def number(least: int, most: int, unit: str = "", zero: str = "") -> Kind:
    """A whole number in this range, or 0 where ``zero`` says what that means."""

    def read(text: str) -> int | None:
        if not re.fullmatch("[0-9]{1,10}", text.strip()):
            return None
        value = int(text)
        return value if least <= value <= most or (zero and not value) else None

    words = f"{least} to {most} {unit}".strip()
    return Kind(f"0 ({zero}) or {words}" if zero else words, read)


def word(*words: str) -> Kind:
    """One of these words, in any case."""

    def read(text: str) -> str | None:
        found = text.strip().lower()
        return found if found in words else None

    return Kind(f"one of {', '.join(words)}", read)


def _read_flag(text: str) -> bool | None:
    found = text.strip().lower()
    return found in YES if found in YES | NO else None


FLAG = Kind("true or false", _read_flag)

#: What may be written for each field of a policy, by whoever has no range of his own.
KINDS: Mapping[str, Kind] = {
    "completion_timeout": number(10, 7200, "seconds", "none of its own"),
    "max_downtime_ms": number(10, MAX_DOWNTIME_MS, "milliseconds"),
    "bandwidth_mib_s": number(10, 100_000, "MiB per second", "no limit"),
    "auto_converge": FLAG,
    "post_copy": FLAG,
    "on_timeout": word(*ON_TIMEOUT),
    "recovery_priority": number(1, 10),
    "wish": word(*WISHES),
}
_STX = "hw:wrs:live_migration_"
#: Within one place the first key with a valid value counts.
KEYS = (
    *(Key(f"lowtide:{field}", field, kind) for field, kind in KINDS.items()),
    Key(f"{_STX}timeout", "completion_timeout", number(120, 800, "seconds", "none of its own")),
    Key(f"{_STX}max_downtime", "max_downtime_ms", number(100, MAX_DOWNTIME_MS, "milliseconds")),
    Key(f"{_STX}auto_converge", "auto_converge", FLAG, (FLAVOR, INSTANCE)),
    Key("sw:wrs:recovery_priority", "recovery_priority", number(1, 10), (INSTANCE,)),
)
WISH = next(key for key in KEYS if key.field == "wish")
#: Nothing else is expected to begin so: other keys there are taken for mistyped ones.
PREFIXES = ("lowtide:", _STX)
TUNNEL = f"{_STX}tunnel"


def spelled(name: str, place: str) -> str:
    """A key's name as that place spells it: image properties have no colons."""
    return name.replace(":", "_") if place == IMAGE else name


def asked_of(guest: Guest) -> tuple[dict[str, dict[str, Asked]], list[Ignored]]:
    """Field -> place -> what is asked for there; and what was written there in vain, and why.

    Never raises, whatever the texts are.
    """
    found: dict[str, dict[str, Asked]] = {}
    findings: list[Ignored] = []
    for key in KEYS:
        said, ignored = said_by(guest, key)
        found[key.field] = said | found.get(key.field, {})
        findings += ignored
    for place, texts in _texts_of(guest):
        findings += _strangers(place, texts)
    return found, findings


def said_by(guest: Guest, key: Key) -> tuple[dict[str, Asked], list[Ignored]]:
    """Place -> what this key asks for there, and findings on values that are not allowed."""
    said: dict[str, Asked] = {}
    findings: list[Ignored] = []
    for place, texts in _texts_of(guest):
        name = spelled(key.name, place)
        if place not in key.places or name not in texts:
            continue
        value = key.kind.read(texts[name])
        if value is None:
            why = f"allowed is {key.kind.allowed}"
            findings.append(Ignored(place, name, texts[name], why, key.field))
        else:
            said[place] = Asked(value, f"{place} {name}")
    return said, findings


def _texts_of(guest: Guest) -> tuple[tuple[str, Mapping[str, str]], ...]:
    return (
        (FLAVOR, guest.extra_specs),
        (IMAGE, guest.image_properties),
        (INSTANCE, guest.metadata),
    )


def is_policy(name: str, place: str) -> bool:
    """Is this name a policy's key there, or one that is mistyped?"""
    prefixes = tuple(spelled(prefix, place) for prefix in PREFIXES)
    return name.startswith(prefixes) or name in _known(place)


def _known(place: str) -> frozenset[str]:
    return frozenset(spelled(key.name, place) for key in KEYS if place in key.places)


def _strangers(place: str, texts: Mapping[str, str]) -> list[Ignored]:
    """Findings on keys that look like a policy's, but ask for nothing."""
    known = _known(place)
    findings = []
    for name in sorted(texts):
        if not is_policy(name, place) or name in known:
            continue
        if name == spelled(TUNNEL, place):
            why = "tunnelled migration is deprecated, Nova's native TLS has taken its place"
        else:
            why = "no such key there; docs/policy.md lists them"
        findings.append(Ignored(place, name, texts[name], why))
    return findings


def _quoted(text: str, most: int = 40) -> str:
    return repr(text if len(text) <= most else f"{text[: most - 3]}...")
