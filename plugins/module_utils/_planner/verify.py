# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Is it really there: one check per witness, and a verdict only when all agree.

This module util is **PRIVATE** to the collection: it may change without notice.
Witnesses: Nova; Placement, Neutron and Cinder with what belongs to the guest; and, where they
can be asked, libvirt on both hosts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Domains,
    Evidence,
    Migration,
    Move,
    Plan,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.witness import (
    NOT_ASKED,
    REPAIR,
    RUNNING,
    Sight,
    alarm,
    misplaced,
)

#: The power state that goes with a state of Nova once the hypervisor has been asked.
_SETTLED = {"active": "running", "stopped": "shutdown", "paused": "paused"}


@dataclass(frozen=True, slots=True)
class Check:
    """One witness's word. ``code`` names what is wrong when ``ok`` is false."""

    code: str
    ok: bool
    detail: str
    remedy: str = ""


def checks(evidence: Evidence, move: Move, sight: Sight = NOT_ASKED) -> tuple[Check, ...]:
    """All checks of one guest that left, the gravest first. ``sight``: what libvirt says of it."""
    return (
        _alarm(evidence, move, sight),
        _unnoticed(evidence, move, sight),
        _host(evidence, move),
        _domains(evidence, move, sight),
        _state(evidence, move),
        _domain_state(evidence, move, sight),
        _task(evidence),
        _allocations(evidence),
        _bindings(evidence),
        _attachments(evidence),
        _leftover(move, sight),
    )


def first_problem(evidence: Evidence, move: Move, sight: Sight = NOT_ASKED) -> Check | None:
    """The gravest check that fails; None when every witness says that the move is complete."""
    return next((check for check in checks(evidence, move, sight) if not check.ok), None)


def other_side(evidence: Evidence | None, move: Move) -> str:
    """The host besides its source on which a guest may be: Nova's, or its migration's."""
    host = evidence.host if evidence else ""
    return move.destination if host in ("", move.source) else host


def _alarm(evidence: Evidence, move: Move, sight: Sight) -> Check:
    """A task (a hard reboot, a deletion) may take its domain away for a moment."""
    found = alarm(sight, move.source, other_side(evidence, move))
    if found is None or (found.code == "lost" and evidence.task_state):
        return Check("domain", True, "it runs at most once")
    return Check(found.code, False, found.reason, found.remedy)


def _unnoticed(evidence: Evidence, move: Move, sight: Sight) -> Check:
    """Nova has it on its source although libvirt has it on the destination, and only there."""
    found = None
    if evidence.host == move.source:
        found = misplaced(sight, move.source, other_side(evidence, move))
    if found is None or found.code != "runs_on_destination":
        return Check("domain", True, "it moved no further than Nova says")
    return Check(found.code, False, found.reason, found.remedy)


def _host(evidence: Evidence, move: Move) -> Check:
    return Check(
        "completed_but_on_source",
        bool(evidence.host) and evidence.host != move.source,
        f"Nova says that it is on {evidence.host or 'no host'}",
        "look for the guest with virsh list on both hosts before anything else; if it runs on"
        " the destination, Nova's record must be repaired first: never start or evacuate it;"
        f" see {REPAIR}",
    )


def _domains(evidence: Evidence, move: Move, sight: Sight) -> Check:
    """On its destination and nowhere else, as far as libvirt was asked."""
    sides = ((move.source, sight.source), (evidence.host, sight.destination))
    where = ", ".join(f"{host} ({state})" for host, state in sides if state)
    return Check(
        "domain",
        not sight.source and sight.destination != "",
        f"libvirt has it on {where or 'no host'}, Nova on {evidence.host}",
        f"stop all work on this guest and compare both hosts with virsh list --all; see {REPAIR}",
    )


def _domain_state(evidence: Evidence, move: Move, sight: Sight) -> Check:
    wanted = {move.power_state or RUNNING, _SETTLED.get(evidence.vm_state, RUNNING)}
    return Check(
        "state_changed",
        not sight.destination or sight.destination in wanted,
        f"libvirt says {sight.destination} on {evidence.host}, it was"
        f" {' or '.join(sorted(wanted))}",
        "look at the guest on its new host (virsh domstate --reason); a paused one may wait for"
        " its memory",
    )


def _leftover(move: Move, sight: Sight) -> Check:
    return Check(
        "leftover_on_source",
        not sight.leftover,
        f"its instance directory is still on {move.source}",
        "compare it with the guest's disks on its new host, then remove it; see"
        f" {REPAIR}, 'Something is left on the source'",
    )


def _state(evidence: Evidence, move: Move) -> Check:
    """As before the move; where that is not known any more, any state that a guest rests in."""
    settled = _SETTLED.get(evidence.vm_state)
    if move.vm_state:
        same = evidence.vm_state == move.vm_state
        same = same and evidence.power_state in (move.power_state, settled)
        before = f"{move.vm_state}/{move.power_state}"
    else:
        same = evidence.power_state == settled
        before = "active, paused or stopped"
    return Check(
        "state_changed",
        same,
        f"it is {evidence.vm_state}/{evidence.power_state}, it was {before}",
        "check the guest on its new host; if it runs and Nova says ERROR, reset its state",
    )


def _task(evidence: Evidence) -> Check:
    return Check(
        "still_busy",
        not evidence.task_state,
        f"task_state is {evidence.task_state or 'none'}",
        "wait for the task, or reset the state if nothing works on it any more",
    )


def _allocations(evidence: Evidence) -> Check:
    ok = set(evidence.allocations) == {evidence.host} and not evidence.leftover_allocations
    held = "the migration still holds some, " if evidence.leftover_allocations else ""
    return Check(
        "allocations",
        ok,
        f"Placement: {held}the guest's are on {', '.join(evidence.allocations) or 'no host'}",
        "nova-manage placement audit --verbose, then nova-manage placement heal_allocations",
    )


def _bindings(evidence: Evidence) -> Check:
    wrong = [b for b in evidence.bindings if b.host != evidence.host or b.status != "active"]
    return Check(
        "port_bindings",
        not wrong,
        ", ".join(f"port {b.port_id} is {b.status} on {b.host}" for b in wrong) or "all active",
        "remove the stale binding (DELETE /v2.0/ports/PORT/bindings/HOST)",
    )


def _attachments(evidence: Evidence) -> Check:
    wrong = [volume for volume, count in evidence.attachments.items() if count != 1]
    return Check(
        "volume_attachments",
        not wrong,
        ", ".join(f"volume {v} has {evidence.attachments[v]} attachments" for v in wrong)
        or "each volume is attached once",
        "delete the attachment that names the old host (openstack volume attachment list)",
    )


@dataclass(frozen=True, slots=True)
class HostVerdict:
    """Is the host empty. ``excluded`` guests may be there; everything else is a problem.

    ``may_pass``: all that is wrong are allocations, which Nova deletes a moment after a move.
    """

    empty: bool
    problems: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    may_pass: bool = False


def judge_host(
    plan: Plan,
    present: Iterable[str],
    consumers: Iterable[str],
    migrations: Iterable[Migration],
    excluded: Iterable[str],
    domains: Domains | None = None,
) -> HostVerdict:
    """``present``: ids of the guests Nova lists on the host; ``consumers``: of its allocations.

    A consumer may be a guest, a migration (by uuid) or a stranger; excluded guests and
    nothing else may remain. ``domains``: what libvirt has there; None when it was not asked.
    """
    host, allowed = plan.scope.host, set(excluded)
    left = [guest for guest in present if guest not in allowed]
    by_uuid = {m.uuid: m for m in migrations}
    problems = [f"guest {guest} is still on {host}" for guest in left]
    held: list[str] = []
    for consumer in consumers:
        if consumer in allowed or consumer in left:
            continue
        migration = by_uuid.get(consumer)
        if migration and migration.guest_id in allowed:
            continue
        owner = f"migration of guest {migration.guest_id}" if migration else f"consumer {consumer}"
        held.append(f"Placement: {owner} still holds an allocation on {host}")
    problems += [
        f"guest {m.guest_id} waits for confirmation, its disks are still on {host}"
        for m in by_uuid.values()
        if m.status == "finished" and m.source == host and m.guest_id not in allowed
    ]
    problems += [
        f"guest {m.guest_id} is on its way to {host}"
        for m in by_uuid.values()
        if m.in_flight and m.destination == host and m.guest_id not in allowed
    ]
    problems += _strays(host, allowed | set(left), domains or Domains())
    may_pass = bool(held) and not problems
    return HostVerdict(
        not problems and not held, (*problems, *held), tuple(sorted(allowed)), may_pass
    )


def _strays(host: str, known: set[str], domains: Domains) -> list[str]:
    return [
        f"libvirt has domain {guest} ({state}) on {host}, where Nova has no such guest;"
        f" see {REPAIR}"
        for guest, state in sorted(domains.states.items())
        if guest not in known
    ]
