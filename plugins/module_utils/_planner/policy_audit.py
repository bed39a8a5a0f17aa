# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Who carries which policy, what of it is wrong, and what holds for each guest in the end.

This module util is **PRIVATE** to the collection: it may change without notice.
What holds is decided by the same function as in a drain (policy.resolve).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Carrier,
    Guest,
    Options,
    Policy,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy import FIELDS, resolve
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy_edit import carrier_of
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy_keys import (
    FLAVOR,
    IMAGE,
    INSTANCE,
    KEYS,
    PLACES,
    Asked,
    Ignored,
    asked_of,
    is_policy,
    spelled,
)

#: invalid: a value that is not allowed. unknown: a key that does not exist there. conflict: two
#: that ask for different things. refused: what only the operator may grant. outdated: what a
#: guest has of its flavor, which says something else by now.
INVALID, UNKNOWN, CONFLICT, REFUSED, OUTDATED = KINDS = (
    "invalid",
    "unknown",
    "conflict",
    "refused",
    "outdated",
)
_TEXTS = {FLAVOR: "extra_specs", IMAGE: "image_properties", INSTANCE: "metadata"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and on whom. ``key``, ``value``, ``field``: "" where none is to blame."""

    kind: str
    place: str
    id: str
    name: str
    text: str
    key: str = ""
    value: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class Carried:
    """The policy's keys of one image, flavor or instance, and what they ask for."""

    carrier: Carrier
    keys: Mapping[str, str]
    asked: Mapping[str, Asked]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """What holds for one guest. ``asks``: whether flavor, image or instance ask for anything."""

    guest: Guest
    policy: Policy
    asks: bool
    findings: tuple[Finding, ...] = ()


def carried(carriers: Iterable[Carrier]) -> tuple[Carried, ...]:
    """Those of the carriers that have a policy's key, in their order."""
    found = (_carried(carrier) for carrier in carriers)
    return tuple(each for each in found if each.keys)


def held(guests: Iterable[Guest], flavors: Sequence[Carrier], options: Options) -> tuple[Held, ...]:
    """What holds for each guest. ``flavors``: as they are now. ``options``: the operator's word."""
    now = {flavor.name: flavor for flavor in flavors}
    return tuple(_held(guest, now.get(guest.flavor_name), options) for guest in guests)


# --- one carrier ---------------------------------------------------------------------------


def _carried(carrier: Carrier) -> Carried:
    keys = {n: carrier.texts[n] for n in sorted(carrier.texts) if is_policy(n, carrier.place)}
    alone = Guest(carrier.id, carrier.name, "", "", **{_TEXTS[carrier.place]: keys})
    asked, ignored = asked_of(alone)
    heard = {field: said[carrier.place] for field, said in asked.items() if said}
    wrong = [_wrong(each, carrier) for each in ignored]
    return Carried(carrier, keys, heard, (*wrong, *_double(carrier, heard)))


def _wrong(ignored: Ignored, carrier: Carrier) -> Finding:
    return Finding(
        INVALID if ignored.field else UNKNOWN,
        carrier.place,
        carrier.id,
        carrier.name,
        f"{ignored.text!r} is ignored: {ignored.why}",
        ignored.name,
        ignored.text,
        ignored.field,
    )


def _double(carrier: Carrier, heard: Mapping[str, Asked]) -> Iterable[Finding]:
    """Keys of the same place that ask for something else than the one that counts."""
    for key in KEYS:
        name = spelled(key.name, carrier.place)
        if carrier.place not in key.places or name not in carrier.texts:
            continue
        value = key.kind.read(carrier.texts[name])
        counts = heard.get(key.field)
        if value is None or counts is None or counts.value == value:
            continue
        text = f"{counts.source.partition(' ')[2]} asks for {_said(counts.value)} and counts"
        yield Finding(
            CONFLICT,
            carrier.place,
            carrier.id,
            carrier.name,
            f"{_said(value)!r} is not heard: {text}",
            name,
            carrier.texts[name],
            key.field,
        )


# --- one guest -----------------------------------------------------------------------------


def _held(guest: Guest, flavor: Carrier | None, options: Options) -> Held:
    policy = resolve(guest, options)
    asked, ignored = asked_of(guest)
    known = {str(each) for each in ignored}
    findings = [
        *_between(guest, asked, policy),
        *(_of(REFUSED, guest, text) for text in policy.findings if text not in known),
        *_outdated(guest, flavor),
    ]
    return Held(guest, policy, any(asked.values()), tuple(findings))


def _of(kind: str, guest: Guest, text: str, **more: str) -> Finding:
    return Finding(kind, INSTANCE, guest.id, guest.name, text, **more)


def _between(
    guest: Guest, asked: Mapping[str, Mapping[str, Asked]], policy: Policy
) -> Iterable[Finding]:
    """Fields for which flavor, image and instance want different things, and what holds."""
    for field in FIELDS:
        said = asked.get(field, {})
        if len({each.value for each in said.values()}) < 2:
            continue
        wants = ", ".join(
            f"{said[place].source} {_said(said[place].value)}" for place in PLACES if place in said
        )
        holds = f"{_said(getattr(policy, field))} holds ({policy.sources[field]})"
        yield _of(CONFLICT, guest, f"{field}: {wants}: {holds}", field=field)


def _outdated(guest: Guest, flavor: Carrier | None) -> Iterable[Finding]:
    """A guest has its flavor as it was when it got it, until it is resized."""
    if flavor is None:
        return
    for name in sorted({*flavor.texts, *guest.extra_specs}):
        now, has = flavor.texts.get(name), guest.extra_specs.get(name)
        if is_policy(name, FLAVOR) and now != has:
            text = (
                f"flavor {flavor.name} has {_shown(now)} by now, and the guest keeps"
                f" {_shown(has)} until it is resized or built anew"
            )
            yield _of(OUTDATED, guest, text, key=name, value=has or "")


def _said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(text: str | None) -> str:
    return "no such key" if text is None else repr(text)


def instances(guests: Iterable[Guest]) -> tuple[Carrier, ...]:
    """The guests as carriers of what is in their metadata."""
    return tuple(map(carrier_of, guests))
