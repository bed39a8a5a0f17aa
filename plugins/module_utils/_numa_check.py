# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Assert that guests fit hosts: read both, judge every pair, and say all that is wrong at once.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption, DoesNotFit
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.nova import Nova
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.topology_api import (
    TopologyApi,
    open_topology_api,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.wires import Wires
from ansible_collections.lowtide.compute.plugins.module_utils._module import Task
from ansible_collections.lowtide.compute.plugins.module_utils._numa_asked import (
    guests_asked,
    pinned_by_cell,
    rooms_asked,
)
from ansible_collections.lowtide.compute.plugins.module_utils._numa_topologies import (
    read_topologies,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import encode
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Guest, Room
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_check import (
    API,
    Asker,
    Pair,
    Terms,
    check,
    holds,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    FIT,
    NO_FIT,
    UNKNOWN,
    NumaPort,
    NumaVerdict,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_request import (
    NumaRequestError,
    request_of,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.render import table
from ansible_collections.lowtide.compute.plugins.module_utils._report.units import count

SPEC: dict[str, Any] = {
    "guests": {
        "type": "list",
        "elements": "dict",
        "options": {
            "id": {"type": "str"},
            "name": {"type": "str"},
            "flavor": {"type": "str"},
            "image": {"type": "str"},
        },
        "mutually_exclusive": [("id", "name", "flavor")],
        "required_one_of": [("id", "name", "flavor")],
        "required_by": {"image": ("flavor",)},
    },
    "source": {"type": "str"},
    "hosts": {"type": "list", "elements": "str"},
    "topologies": {"type": "dict", "default": {}},
    "affinity": {"type": "str", "choices": ["strict", "best_effort"], "default": "strict"},
    "require": {"type": "str", "choices": ["any", "all"], "default": "any"},
    "together": {"type": "bool", "default": False},
}
#: Hosts that a sentence names for one reason; the result has all of them.
NAMED_HOSTS = 5
RULES: dict[str, Any] = {
    "mutually_exclusive": [("guests", "source")],
    "required_one_of": [("guests", "source")],
}


def check_fit(task: Task) -> dict[str, Any]:
    """The result; raises DoesNotFit, with the result, when the assertion does not hold."""
    params = task.params
    topologies = read_topologies(params["topologies"])
    nova, api = Nova(task.session.api("compute")), open_topology_api(task.session)
    guests = guests_asked(params, nova, api)
    rooms = rooms_asked(params, topologies, nova, api)
    named = {room.host for room in rooms} if params["hosts"] is not None else set()
    wires = Wires(task.session.api("network")).of_guests(g.id for g in guests if g.id)
    askers = [_asker(guest, wires.get(guest.id, ()), api, named) for guest in guests]
    terms = Terms(params["affinity"], params["require"], params["together"], not named)
    pairs = check(askers, rooms, terms)
    _warn(task, rooms, pairs)
    seen = _hosts(rooms, pairs, nova, api if named else None)
    result = _result(askers, pairs, terms, seen)
    if not all(row["holds"] for row in result["guests"]):
        message = result.pop("msg")
        raise DoesNotFit(message, _remedy(pairs), **result)
    return result


def _asker(
    guest: Guest, ports: Iterable[NumaPort], api: TopologyApi, named: Collection[str]
) -> Asker:
    """``named``: hosts that are asked about; where its cells are matters only on one of them."""
    told = {"id": guest.id, "name": guest.name, "flavor": guest.flavor_name, "host": guest.host}
    specs, properties = guest.extra_specs, guest.image_properties
    try:
        request = request_of(guest.vcpus, guest.ram_mib, specs, properties, ports)
    except NumaRequestError as error:
        if not guest.id:
            option, remedy = f"guests.flavor: {guest.name}: {error.key}", "Correct it there"
            raise BadOption(option, error.value, error.reason, remedy) from error
        return Asker(**told, fault=f"{error.key}: {error.value!r} {error.reason}")
    # No size in numbers: what it got where it runs binds it.
    keeps = guest.vm_state != "stopped" and any(cell.page_size_kib < 0 for cell in request.cells)
    asked = guest.id and (keeps or guest.host in named)
    here = tuple(there for _cell, there in api.placed(guest.id)) if asked else ()
    size = here[0].page_size_kib if keeps and here else 0
    return Asker(**told, request=request, here=here, page_size_kib=size)


def _warn(task: Task, rooms: Iterable[Room], pairs: Iterable[Pair]) -> None:
    for room in rooms:
        if not room.usable:
            task.warn(f"{room.host} is disabled or down: Nova places no guest there now")
    for pair in pairs:
        if pair.accepted and pair.verdict.result == UNKNOWN:
            task.warn(f"{pair.asker.name} on {pair.host}: unknown: {pair.verdict.reason}")


# --- rows --------------------------------------------------------------------------------


def _result(
    askers: Sequence[Asker], pairs: Sequence[Pair], terms: Terms, hosts: list[dict[str, Any]]
) -> dict[str, Any]:
    of_guest = [[pair for pair in pairs if pair.asker is asker] for asker in askers]
    guests = [_guest_row(asker, own, terms) for asker, own in zip(askers, of_guest, strict=True)]
    counts = Counter(pair.verdict.result for pair in pairs)
    summary = {"guests": len(askers), "hosts": len(hosts)}
    summary |= {result: counts[result] for result in (FIT, NO_FIT, UNKNOWN)}
    return {
        "changed": False,
        "holds": all(row["holds"] for row in guests),
        "guests": guests,
        "hosts": hosts,
        "verdicts": [_pair_row(pair) for own in of_guest for pair in own],
        "summary": summary,
        "table": _table(askers, hosts, of_guest),
        "msg": _sentence(guests, of_guest, len(hosts)),
    }


def _guest_row(asker: Asker, pairs: Sequence[Pair], terms: Terms) -> dict[str, Any]:
    return {
        "id": asker.id,
        "name": asker.name,
        "flavor": asker.flavor,
        "host": asker.host,
        "asks": encode(asker.request),
        "holds": holds(pairs, terms),
        "fits": [pair.host for pair in pairs if pair.accepted],
        "takes": [pair.host for pair in pairs if pair.taken],
    }


def _pair_row(pair: Pair) -> dict[str, Any]:
    verdict = encode(pair.verdict)
    guest = {"guest_id": pair.asker.id, "guest": pair.asker.name, "host": pair.host}
    return {**guest, **verdict, "seen": pair.seen, "accepted": pair.accepted}


def _hosts(
    rooms: Sequence[Room], pairs: Sequence[Pair], nova: Nova, api: TopologyApi | None
) -> list[dict[str, Any]]:
    """``api``: to ask what guests have on those hosts whose cells would matter and are not seen."""
    unseen = {p.host for p in pairs if p.verdict.code == "unseen" and p.asker.request.cells}
    rows = []
    for room in rooms:
        occupied: dict[int, set[int]] = {}
        if api and room.host in unseen:
            occupied = pinned_by_cell(api.placed(guest.id) for guest in nova.guests_of(room.host))
        told = [{"cell": cell, "pinned_cpus": sorted(occupied[cell])} for cell in sorted(occupied)]
        row = {"host": room.host, "usable": room.usable, "free": dict(room.free)}
        rows.append({**row, "cells_seen": room.numa is not None, "occupied": told})
    return rows


# --- for people --------------------------------------------------------------------------


def _sentence(
    guests: Sequence[Mapping[str, Any]], of_guest: Sequence[Sequence[Pair]], hosts: int
) -> str:
    failing = [
        f"{row['name']} ({_reasons(pairs) or 'no other host'})"
        for row, pairs in zip(guests, of_guest, strict=True)
        if not row["holds"]
    ]
    if not failing:
        return f"{count(len(guests), 'guest')} fit, on {count(hosts, 'host')} asked about"
    return f"{len(failing)} of {count(len(guests), 'guest')} do not fit: {', '.join(failing)}"


def _reasons(pairs: Iterable[Pair]) -> str:
    """Why it is not accepted, each reason once with the first hosts that have it."""
    hosts: dict[str, list[str]] = {}
    for pair in _refused(pairs):
        hosts.setdefault(_because(pair.verdict), []).append(pair.host)
    return "; ".join(f"{_listed(names)}: {reason}" for reason, names in hosts.items())


def _because(verdict: NumaVerdict) -> str:
    if verdict.result == FIT:
        return "it would be spread"
    said = verdict.result if verdict.result == UNKNOWN else f"{verdict.result} {verdict.code}"
    return f"{said}: {verdict.reason}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_HOSTS} more" if len(names) > NAMED_HOSTS else ""
    return ", ".join(names[:NAMED_HOSTS]) + more


def _refused(pairs: Iterable[Pair]) -> list[Pair]:
    return [pair for pair in pairs if not pair.accepted]


def _remedy(pairs: Iterable[Pair]) -> str:
    refused = _refused(pairs)
    if any(pair.verdict.result == UNKNOWN and pair.seen == API for pair in refused):
        return "Run numa_info on those hosts and give `topologies`, or `affinity: best_effort`"
    if any(pair.verdict.result != NO_FIT for pair in refused):
        return "See `verdicts`; `affinity: best_effort` accepts what is spread or unknown"
    return "Make room on one of the hosts, or name others; `verdicts` has every reason"


def _table(
    askers: Sequence[Asker], hosts: Sequence[Mapping[str, Any]], of_guest: Sequence[Sequence[Pair]]
) -> list[str]:
    names = [row["host"] for row in hosts]
    lines = [("guest", *names)]
    for asker, pairs in zip(askers, of_guest, strict=True):
        cells = {pair.host: _cell(pair) for pair in pairs}
        lines.append((asker.name, *(cells.get(name, "-") for name in names)))
    return table(lines)


def _cell(pair: Pair) -> str:
    verdict = pair.verdict
    if verdict.result == FIT:
        where = ",".join(str(cell.host_cell) for cell in verdict.cells)
        text = "spread" if verdict.spread else f"cell {where}" if where else "fit"
    else:
        text = verdict.code or verdict.result
    return f"{text}{'?' if verdict.result == UNKNOWN else ''}{' *' if pair.taken else ''}"
