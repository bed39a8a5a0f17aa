# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Batches of hosts: what is asked, from which reads they are planned, how they are told.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption, NotFound
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.fleet import (
    Fleet,
    open_fleet,
)
from ansible_collections.lowtide.compute.plugins.module_utils._module import Task
from ansible_collections.lowtide.compute.plugins.module_utils._options import (
    MOVE_SPEC,
    check_numbers,
    exact_host,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.batches import plan_batches
from ansible_collections.lowtide.compute.plugins.module_utils._planner.convergence import estimate
from ansible_collections.lowtide.compute.plugins.module_utils._planner.fleet_model import (
    FAULT_DOMAIN,
    NO_DOMAIN,
    SPREADING,
    ZONE,
    Batch,
    FleetGroup,
    FleetGuest,
    FleetHost,
    FleetPlan,
    Kind,
    Rules,
    Undrainable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.footprint import (
    needs,
    traits,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    LIVE,
    Group,
    Guest,
    Options,
    Room,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.render import table
from ansible_collections.lowtide.compute.plugins.module_utils._report.units import count, duration

SPEC: dict[str, Any] = {
    "hosts": {"type": "list", "elements": "str"},
    "aggregate": {"type": "str"},
    "availability_zone": {"type": "str"},
    "max_hosts": {"type": "int", "default": Rules().max_hosts},
    "aggregate_limit": {"type": "str"},
    "within": {"type": "str", "default": NO_DOMAIN, "choices": [NO_DOMAIN, ZONE, FAULT_DOMAIN]},
    "fault_domains": {"type": "dict", "default": {}},
    "canary": {"type": "bool", "default": False},
    **{name: MOVE_SPEC[name] for name in ("max_parallel", "bandwidth_mib_s", "overhead_seconds")},
}
#: Options of which one at most says which hosts are meant.
CHOOSERS = ("hosts", "aggregate", "availability_zone")
#: A host that Placement lists without disks keeps them elsewhere, where they stay (shared storage).
ELSEWHERE = 1 << 62


def plan_fleet(task: Task) -> dict[str, Any]:
    """Read the cloud once, and say in which batches the chosen hosts can be drained."""
    params = task.params
    rules = read_rules(params)
    fleet = open_fleet(task.session)
    rooms = fleet.rooms()
    chosen = chosen_hosts(params, fleet, rooms)
    domains = read_domains(params, chosen)
    groups = [group for group in fleet.groups() if group.policy in SPREADING | {"affinity"}]
    guests = tuple(fleet_guests(fleet.guests(), groups, params))
    plan = plan_batches(
        (fleet_host(room, domains) for room in rooms),
        guests,
        map(fleet_group, groups),
        chosen,
        rules,
    )
    return fleet_result(plan, guests, chosen)


# --- what is asked -------------------------------------------------------------------------


def read_rules(params: Mapping[str, Any]) -> Rules:
    """The planner's rules from the module's options; BadOption for what makes no sense."""
    check_numbers(params)
    if params["max_hosts"] < 1:
        raise BadOption("max_hosts", params["max_hosts"], "is less than 1", "Give 1 or more")
    limit = (params["aggregate_limit"] or "").strip()
    number = re.fullmatch(r"([1-9]\d{0,5})(%?)", limit, re.ASCII)
    if limit and not (number and (not number[2] or int(number[1]) <= 100)):
        raise BadOption(
            "aggregate_limit",
            limit,
            "is neither a number of hosts nor a percentage",
            "Give a number from 1 on, or 1% to 100%",
        )
    return Rules(
        max_hosts=params["max_hosts"],
        aggregate_limit=limit,
        within=params["within"],
        canary=params["canary"],
        max_parallel=params["max_parallel"],
    )


def chosen_hosts(params: Mapping[str, Any], fleet: Fleet, rooms: Sequence[Room]) -> tuple[str, ...]:
    """The hosts to drain; NotFound for a name that this cloud does not know."""
    known = [room.host for room in rooms]
    zone, aggregate = params["availability_zone"], params["aggregate"]
    if params["hosts"] is not None:
        if not params["hosts"]:
            raise BadOption("hosts", [], "names no host", "Name some, or leave it out for all")
        names = [exact_host(name, "hosts") for name in params["hosts"]]
        for name in names:
            _must_know("hosts", name, known, "compute host")
        return tuple(sorted(set(names)))
    if aggregate is not None:
        _must_know("aggregate", aggregate, fleet.aggregates, "host aggregate")
        return tuple(sorted(set(known) & set(fleet.aggregates[aggregate])))
    if zone is not None:
        zones = {room.availability_zone for room in rooms}
        _must_know("availability_zone", zone, zones, "availability zone of a compute host")
        return tuple(room.host for room in rooms if room.availability_zone == zone)
    return tuple(known)


def _must_know(option: str, name: str, known: Collection[str], noun: str) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=3) or sorted(known)[:3]
    raise NotFound(
        f"{option}: {name!r} is no {noun} of this cloud",
        f"Give an exact name, such as {', '.join(near)}" if near else "This cloud has none at all",
        option=option,
    )


def read_domains(params: Mapping[str, Any], chosen: Iterable[str]) -> dict[str, str]:
    """Host -> fault domain; BadOption when the rule needs one that is not given."""
    domains = {str(host): str(name) for host, name in params["fault_domains"].items()}
    missing = [host for host in chosen if not domains.get(host)]
    if params["within"] == FAULT_DOMAIN and missing:
        raise BadOption(
            "fault_domains",
            sorted(set(domains.values())),
            f"lack {count(len(missing), 'host')} that `within` needs: {', '.join(missing[:5])}",
            "Give the fault domain of each host that is to be drained",
        )
    return domains


# --- from the survey's nouns to the fleet's -------------------------------------------------


def fleet_host(room: Room, domains: Mapping[str, str]) -> FleetHost:
    """A host as the planner of fleets wants it."""
    free = dict(room.free)
    if free:
        free.setdefault("DISK_GB", ELSEWHERE)
    return FleetHost(
        name=room.host,
        free=free,
        zone=room.availability_zone,
        domain=domains.get(room.host, ""),
        unusable=room.unusable,
        down=room.unusable in ("down", "forced_down"),
        aggregates=room.aggregates,
        traits=frozenset(room.traits),
        hypervisor_type=room.hypervisor_type,
        hypervisor_version=room.hypervisor_version,
    )


def fleet_group(group: Group) -> FleetGroup:
    """A group without its members; how many a host may have counts for anti-affinity only."""
    most = group.max_server_per_host if group.policy == "anti-affinity" else 0
    return FleetGroup(group.id, group.name, group.policy, most)


def fleet_guests(
    guests: Iterable[Guest], groups: Iterable[Group], params: Mapping[str, Any]
) -> Iterator[FleetGuest]:
    """The guests that are on a host (a shelved one may be on none), by what they need."""
    options = Options(
        bandwidth_mib_s=params["bandwidth_mib_s"], overhead_seconds=params["overhead_seconds"]
    )
    group_of = {member: group.id for group in groups for member in group.members}
    kinds: dict[Kind, Kind] = {}

    @cache
    def seconds(ram_mib: int) -> float:
        return estimate(Guest("", "", "", "active", ram_mib=ram_mib), LIVE, options).seconds

    for guest in guests:
        if guest.host:
            kind = Kind(
                tuple(needs(guest).items()),
                guest.pinned_availability_zone,
                traits(guest, "required"),
                traits(guest, "forbidden"),
                seconds(guest.ram_mib),
            )
            # One object for each kind, so that a big cloud's fit into memory.
            kind = kinds.setdefault(kind, kind)
            yield FleetGuest(guest.id, guest.name, guest.host, kind, group_of.get(guest.id, ""))


# --- rows ----------------------------------------------------------------------------------


def fleet_result(
    plan: FleetPlan, guests: Iterable[FleetGuest], chosen: Collection[str]
) -> dict[str, Any]:
    """The plan as the module returns it."""
    there = sum(guest.host in set(chosen) for guest in guests)
    summary = {
        "hosts": len(chosen),
        "guests": there,
        "batches": len(plan.batches),
        "undrainable": len(plan.undrainable),
        "moves": sum(batch.guests for batch in plan.batches),
    }
    seconds = round(sum(batch.seconds for batch in plan.batches), 1)
    batches = [batch_row(number, batch) for number, batch in enumerate(plan.batches, 1)]
    undrainable = [undrainable_row(each) for each in plan.undrainable]
    return {
        "changed": False,
        "msg": _sentence(summary, seconds, plan.undrainable),
        "batches": batches,
        "undrainable": undrainable,
        "summary": summary,
        "predicted_seconds": seconds,
        "table": fleet_lines(batches, undrainable),
    }


def batch_row(number: int, batch: Batch) -> dict[str, Any]:
    """One batch as RETURN documents it."""
    to: Counter[str] = Counter()
    for move in batch.moves:
        to[move.destination] += move.count
    return {
        "number": number,
        "hosts": list(batch.hosts),
        "guests": batch.guests,
        "canary": batch.canary,
        "predicted_seconds": batch.seconds,
        "destinations": dict(sorted(to.items())),
        "kept_out": dict(batch.kept_out),
    }


def undrainable_row(each: Undrainable) -> dict[str, Any]:
    """One host that is in no batch, as RETURN documents it."""
    return {
        "host": each.host,
        "code": each.code,
        "reason": each.reason,
        "remedy": each.remedy,
        "guests": list(each.guests),
        "short": dict(each.short),
    }


def fleet_lines(batches: Sequence[dict], undrainable: Sequence[dict]) -> list[str]:
    """The batches as a table, and below it each host that is in none."""
    rows = [("batch", "hosts", "guests", "estimate", "")]
    for row in batches:
        numbers = (str(row["number"]), " ".join(row["hosts"]), str(row["guests"]))
        mark = "canary" if row["canary"] else ""
        rows.append((*numbers, duration(row["predicted_seconds"]), mark))
    lines = table(rows) if batches else []
    for row in undrainable:
        lines += [f"{row['host']}: {row['reason']} ({row['code']})", f"  -> {row['remedy']}"]
    return lines


def _sentence(summary: dict[str, int], seconds: float, left: Sequence[Undrainable]) -> str:
    told = (
        f"{count(summary['hosts'], 'host')}, {count(summary['guests'], 'guest')}: "
        f"{summary['batches']} {'batch' if summary['batches'] == 1 else 'batches'}, "
        f"about {duration(seconds)}"
    )
    if not left:
        return told
    names = ", ".join(each.host for each in left[:5]) + (", ..." if len(left) > 5 else "")
    return f"{told}; {len(left)} cannot be drained: {names}"
