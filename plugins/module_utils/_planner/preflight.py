# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Look at a plan before it is carried out: what blocks it, what to beware of, what is unseen.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight_model import (
    NEEDS,
    Blocker,
    Caution,
    Preflight,
    Situation,
    Unseen,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight_rules import (
    RULES,
    CautionRule,
    Entries,
    cap,
    conf,
    nova_version,
    others,
    unseen,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight_sources import (
    source_of,
)


def examine(seen: Situation) -> Preflight:
    """All blockers, cautions, and rules that lack what they need."""
    cautions: list[Caution] = []
    not_seen: list[Unseen] = []
    for rule in RULES:
        concerned = rule.about(seen)
        if not concerned:
            continue
        missing = [NEEDS[need] for need in rule.needs if unseen(seen, need)]
        if missing:
            not_seen.append(Unseen(rule.code, ", ".join(missing), rule.source))
            continue
        found = rule.holds(seen, concerned)
        if found:
            cautions.append(_caution(rule, seen, found))
    return Preflight(_blockers(seen), tuple(cautions), tuple(not_seen))


def _blockers(seen: Situation) -> tuple[Blocker, ...]:
    """The host's own, then those of its guests, in the plan's order."""
    guests = (
        Blocker(
            entry.verdict.code,
            entry.verdict.reason,
            entry.verdict.remedy,
            source_of(entry.verdict.code),
            entry.guest.id,
            entry.guest.name,
        )
        for entry in seen.plan.blockers
    )
    return (*_host_blockers(seen), *guests)


def _host_blockers(seen: Situation) -> tuple[Blocker, ...]:
    service = seen.service
    if service is None or not seen.plan.entries or (service.up and not service.forced_down):
        return ()
    code, how = (
        ("host_forced_down", "forced down") if service.forced_down else ("host_down", "down")
    )
    return (
        Blocker(
            code,
            f"nova-compute on {service.host} is {how}: it takes no part in a migration",
            "start nova-compute there; if the host is dead, fence it and evacuate its guests",
            source_of(code),
        ),
    )


def _caution(rule: CautionRule, seen: Situation, found: Entries) -> Caution:
    words = _words(seen)
    return Caution(
        rule.code,
        rule.text.format(**words),
        rule.remedy.format(**words),
        rule.source,
        {entry.guest.id: entry.guest.name for entry in found} if rule.each else {},
    )


def _words(seen: Situation) -> dict[str, object]:
    """What the rules' texts may name."""
    return {
        "host": seen.plan.scope.host,
        "segment": seen.watched.segment if seen.watched else "",
        "network": "not known to be reliable" if seen.network == "unknown" else seen.network,
        "version": ".".join(map(str, nova_version(seen))),
        "older": _hosts(others(seen, lambda there, here: there < here)),
        "newer": _hosts(others(seen, lambda there, here: there > here)),
        "token": _minutes(seen.token.seconds if seen.token else 0),
        "plan": _minutes(seen.plan.seconds),
        "deadline": _minutes(seen.options.deadline),
        "per_gib": conf(seen, "libvirt.live_migration_completion_timeout", 0),
        "action": conf(seen, "libvirt.live_migration_timeout_action", "abort"),
        "cap": cap(seen),
        "max_parallel": seen.options.max_parallel,
    }


def _hosts(names: tuple[str, ...], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
