# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Whose word counts: one guest's policy from its flavor, its image, itself and the operator.

This module util is **PRIVATE** to the collection: it may change without notice.
Stock Nova has one migration policy for all guests; StarlingX's patched Nova had one per guest.
Its precedence holds here, and docs/policy.md says of each field why it has the one it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.convergence import (
    size_gib,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Estimate,
    Guest,
    Options,
    Policy,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy_keys import (
    FLAVOR,
    IMAGE,
    INSTANCE,
    KINDS,
    ON_TIMEOUT,
    PLACES,
    WISH,
    Asked,
    asked_of,
    said_by,
)

#: Fields of a policy; the operator has defaults for all but the wish, which is the owner's.
FIELDS = tuple(f.name for f in fields(Policy) if f.name not in ("sources", "findings"))
OPERATORS = tuple(name for name in FIELDS if name != "wish")
_DEFAULT = Policy()

ByPlace = Mapping[str, Asked]


@dataclass(frozen=True, slots=True)
class Profile:
    """``seconds_per_gib``: the completion timeout by size (see convergence.size_gib)."""

    values: Mapping[str, Any] = field(default_factory=dict)
    seconds_per_gib: float = 0.0


PROFILES: Mapping[str, Profile] = {
    # TCP sends again after 200 ms at the earliest: a shorter pause costs a connection one packet.
    "minimize_downtime": Profile({"max_downtime_ms": 200, "on_timeout": "abort"}, 180.0),
    # A guest that writes 200 MB/s over 128 MB needs 1 s at 1 Gbit/s. 20 s are two passes there.
    "complete_quickly": Profile({"max_downtime_ms": 2000, "on_timeout": "force_complete"}, 20.0),
    # What StarlingX sets in its nova.conf and metadata definitions.
    "starlingx": Profile(
        {
            "completion_timeout": 180,
            "max_downtime_ms": 500,
            "auto_converge": True,
            "post_copy": False,
            "on_timeout": "abort",
        }
    ),
}


def resolve(guest: Guest, options: Options) -> Policy:
    """The policy of one guest. Never raises: what makes no sense is ignored, and a finding."""
    asked, ignored = asked_of(guest)
    findings = [str(each) for each in ignored]
    by_field = {name: asked.get(name, {}) for name in FIELDS}
    operator = {name: _operators_word(name, guest, options) for name in FIELDS}
    chosen = {name: choose(by_field[name], operator[name]) for name, choose in PRECEDENCE.items()}
    chosen["post_copy"] = _post_copy(by_field["post_copy"], operator["post_copy"], findings)
    chosen["on_timeout"] = _on_timeout(
        by_field["on_timeout"], operator["on_timeout"], chosen["post_copy"], findings
    )
    return Policy(
        **{name: found.value for name, found in chosen.items()},
        sources={name: chosen[name].source for name in FIELDS},
        findings=tuple(findings),
    )


def wish_of(guest: Guest) -> Asked:
    """What the owner wishes: the value and where it was said."""
    said, _findings = said_by(guest, WISH)
    return _most_specific(said, Asked(_DEFAULT.wish, "default"))


def refused_default(name: str, text: str) -> str:
    """What is allowed, where ``text`` is nothing that an operator may set a field to; else ""."""
    if name not in OPERATORS:
        return f"one of {', '.join(OPERATORS)}"
    return KINDS[name].allowed if KINDS[name].read(text) is None else ""


def policy_notes(policy: Policy, estimate: Estimate) -> tuple[str, ...]:
    """What the operator should know of a guest that moves, by its policy."""
    notes = []
    if policy.auto_converge is not None and policy.sources.get("auto_converge") != "default":
        wanted = "on" if policy.auto_converge else "off"
        notes.append(
            f"wants auto-converge {wanted}: Nova starts all migrations as its nova.conf says"
            " (live_migration_permit_auto_converge)"
        )
    if not estimate.converges:
        notes.append(
            f"will not converge within its {policy.max_downtime_ms} ms of downtime at the dirty"
            f" rate that was measured: it needs about {estimate.downtime_ms:.0f} ms"
        )
    return tuple(notes)


def _operators_word(name: str, guest: Guest, options: Options) -> Asked:
    """What holds where the guest asks for nothing: the option, the profile, the default."""
    given = options.policy.get(name) if name in OPERATORS else None
    value = None if given is None else KINDS[name].read(given)
    if value is not None:
        return Asked(value, f"option policy.{name}")
    profile = PROFILES.get(options.profile, Profile())
    if name == "completion_timeout" and profile.seconds_per_gib:
        return Asked(profile.seconds_per_gib * size_gib(guest), f"profile {options.profile}")
    if name in profile.values:
        return Asked(profile.values[name], f"profile {options.profile}")
    if name == "on_timeout":
        return Asked(options.on_timeout, "option on_timeout")
    return Asked(getattr(_DEFAULT, name), "default")


# --- precedence ----------------------------------------------------------------------------


def _first_of(*places: str) -> Callable[[ByPlace, Asked], Asked]:
    """The first of these places that asks for anything, else the operator."""

    def choose(asked: ByPlace, operator: Asked) -> Asked:
        return next((asked[place] for place in places if place in asked), operator)

    return choose


_most_specific = _first_of(INSTANCE, FLAVOR, IMAGE)


def _shortest(asked: ByPlace, operator: Asked) -> Asked:
    """The lowest that is not 0; 0 only where all that are set are 0 (StarlingX's rule)."""
    values = [asked[place] for place in PLACES if place in asked]
    limits = [each for each in values if each.value]
    return min(limits or values or [operator], key=lambda each: each.value)


def _lowest_limit(asked: ByPlace, operator: Asked) -> Asked:
    """The lowest limit, the operator's too: nobody lifts what another has set."""
    limits = [each for each in (operator, *asked.values()) if each.value]
    return min(limits, key=lambda each: each.value, default=operator)


def _post_copy(asked: ByPlace, operator: Asked, findings: list[str]) -> Asked:
    """Whoever forbids it is heard; only the operator allows it."""
    if operator.value is not True:
        findings += [
            f"{each.source}: 'true' is ignored: only the operator allows post-copy"
            " (policy.post_copy)"
            for each in asked.values()
            if each.value
        ]
    if operator.value is False:
        return operator
    return next((each for each in asked.values() if not each.value), operator)


def _on_timeout(asked: ByPlace, operator: Asked, post_copy: Asked, findings: list[str]) -> Asked:
    """The mildest that is asked for. Nova may turn a forced completion into post-copy.

    So who forbids post-copy forbids that as well, and a guest gets it only where the operator
    has it for all, or allows post-copy.
    """
    forced = [each for each in asked.values() if each.value == "force_complete"]
    milder = [each for each in asked.values() if each.value != "force_complete"]
    if operator.value != "force_complete" and post_copy.value is not True:
        findings += [
            f"{each.source}: 'force_complete' is ignored: only the operator allows it"
            " (on_timeout, policy.post_copy)"
            for each in forced
        ]
        forced = []
    heard = [*milder, *(forced or [operator])]
    mildest = min(heard, key=lambda each: ON_TIMEOUT.index(each.value))
    if mildest.value == "force_complete" and post_copy.value is False:
        return Asked("abort", post_copy.source)
    return mildest


PRECEDENCE: Mapping[str, Callable[[ByPlace, Asked], Asked]] = {
    "completion_timeout": _shortest,
    "max_downtime_ms": _first_of(FLAVOR, INSTANCE, IMAGE),
    "bandwidth_mib_s": _lowest_limit,
    "auto_converge": _most_specific,
    "recovery_priority": _most_specific,
    "wish": _most_specific,
}
