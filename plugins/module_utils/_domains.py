# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What a hypervisor has: domains, migrations that run or have ended, and files left behind.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    HypervisorRefused,
    NotFound,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import Clock
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.hypervisor import (
    INCOMING,
    NO_JOB,
    OUTGOING,
    Domain,
    Hypervisor,
    Job,
    arrived,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.instances import (
    guests_with_files,
    is_shared,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import encode
from ansible_collections.lowtide.compute.plugins.module_utils._planner.tuning import figures

#: QEMU's own limit.
MOST_SECONDS = 60
#: Looks at a measurement that should be over, this far apart.
RATE_LOOKS, RATE_PAUSE = 20, 0.1

Warn = Callable[[str], None]


def survey(
    hypervisor: Hypervisor, params: Mapping[str, Any], clock: Clock, warn: Warn
) -> dict[str, Any]:
    """``domains``, ``jobs``, ``completed``, ``leftovers`` and ``instances_shared``, as RETURN says.

    Raises BadOption for a value that cannot be used, Unreachable when libvirt does not answer.
    """
    seconds = params["dirty_rate_seconds"]
    if not 0 <= seconds <= MOST_SECONDS:
        remedy = f"Give 1 to {MOST_SECONDS}, or 0 not to measure"
        raise BadOption("dirty_rate_seconds", seconds, "is out of QEMU's range", remedy)
    ids = {guest_id.lower() for guest_id in params["ids"]}
    everyone = hypervisor.domains()
    asked = [domain for domain in everyone if not ids or domain.id in ids]
    jobs = {domain.id: _job(hypervisor, domain) for domain in asked}
    idle = [d for d in asked if d.state == "running" and jobs[d.id].kind == NO_JOB]
    rates = _rates(hypervisor, idle, seconds, clock, warn) if seconds else {}
    left, shared = _leftovers(params, {domain.id for domain in everyone}, clock.now(), warn)
    return {
        "domains": [
            {**_row(d), "job": jobs[d.id].kind, "dirty_rate_mib_s": rates.get(d.id)} for d in asked
        ],
        "jobs": [_running(hypervisor, d, jobs[d.id]) for d in asked if jobs[d.id].kind == OUTGOING],
        "completed": [row for d in asked if (row := _ended(hypervisor, d)) is not None],
        "leftovers": [guest_id for guest_id in left if not ids or guest_id in ids],
        "instances_shared": shared,
    }


def _row(domain: Domain) -> dict[str, Any]:
    return {"id": domain.id, "name": domain.name, "state": domain.state}


def _job(hypervisor: Hypervisor, domain: Domain) -> Job:
    try:
        return hypervisor.job(domain.id)
    except NotFound:
        return Job()


def _running(hypervisor: Hypervisor, domain: Domain, job: Job) -> dict[str, Any]:
    try:
        downtime = hypervisor.setting(domain.id, "max_downtime_ms")
    except (NotFound, HypervisorRefused):
        # It ended, or libvirt is at work on its end.
        downtime = None
    found = encode(figures(job.stats or {}))
    who = {"id": domain.id, "name": domain.name, "direction": OUTGOING}
    return {**who, **found, "max_downtime_ms": downtime}


def _ended(hypervisor: Hypervisor, domain: Domain) -> dict[str, Any] | None:
    try:
        stats = hypervisor.completed(domain.id)
    except NotFound:
        return None
    if stats is None:
        return None
    found, direction = figures(stats, ended=True), OUTGOING
    if arrived(stats):
        # The source does not tell the destination what it copied of disks.
        found, direction = replace(found, disk_bytes=None, block=None), INCOMING
    who = {"id": domain.id, "name": domain.name, "direction": direction}
    return {**who, **encode(found), "max_downtime_ms": None}


# --- dirty rates -----------------------------------------------------------------------------


def _rates(
    hypervisor: Hypervisor, domains: Sequence[Domain], seconds: int, clock: Clock, warn: Warn
) -> dict[str, int]:
    """Domain id -> MiB/s, of those that could be measured."""
    waiting = []
    for domain in domains:
        try:
            hypervisor.start_dirty_rate(domain.id, seconds)
            waiting.append(domain.id)
        except NotFound:
            continue
        except HypervisorRefused as refusal:
            warn(f"dirty_rate_seconds: {domain.name}: {refusal}")
    if waiting:
        clock.sleep(seconds)
    found: dict[str, int] = {}
    for _look in range(RATE_LOOKS):
        found |= _measured(hypervisor, [each for each in waiting if each not in found])
        if len(found) == len(waiting):
            break
        clock.sleep(RATE_PAUSE)
    return found


def _measured(hypervisor: Hypervisor, ids: Collection[str]) -> dict[str, int]:
    found = {}
    for domain_id in ids:
        try:
            rate = hypervisor.dirty_rate(domain_id)
        except (NotFound, HypervisorRefused):
            continue
        if rate is not None:
            found[domain_id] = rate
    return found


# --- files -----------------------------------------------------------------------------------


def _leftovers(
    params: Mapping[str, Any], known: Collection[str], now: float, warn: Warn
) -> tuple[list[str], bool]:
    """IDs of guests with files and no domain here, and whether the directory is shared."""
    path, shared = params["instances_path"], params["instances_shared"]
    files = guests_with_files(path)
    if files is None:
        warn(f"instances_path: {path!r} does not exist, so nothing is known of leftovers")
        return [], bool(shared)
    shared = is_shared(path, now) if shared is None else shared
    return ([] if shared else [guest_id for guest_id in files if guest_id not in known]), shared
