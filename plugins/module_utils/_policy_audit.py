# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The audit of policies: what is read, in which rows it is returned, how people see it.

This module util is **PRIVATE** to the collection: it may change without notice.
Images, flavors and guests are read as lists: the number of calls grows with their pages only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption, NotFound
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.carriers import (
    Carriers,
    open_carriers,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.image import POLICY_PREFIXES
from ansible_collections.lowtide.compute.plugins.module_utils._module import Task
from ansible_collections.lowtide.compute.plugins.module_utils._options import (
    DEFAULTS_SPEC,
    exact_host,
    read_defaults,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Carrier, Guest
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy_audit import (
    KINDS,
    Carried,
    Finding,
    Held,
    carried,
    held,
    instances,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.render import table
from ansible_collections.lowtide.compute.plugins.module_utils._report.result import policy_row
from ansible_collections.lowtide.compute.plugins.module_utils._report.units import count

SPEC: dict[str, Any] = {
    "host": {"type": "str"},
    "projects": {"type": "list", "elements": "str", "default": []},
    "guests": {"type": "str", "choices": ["all", "asking", "none"], "default": "all"},
    **DEFAULTS_SPEC,
}
#: Columns of the guests' table: what is said, and the field.
COLUMNS = (
    ("time", "completion_timeout"),
    ("downtime", "max_downtime_ms"),
    ("MiB/s", "bandwidth_mib_s"),
    ("on timeout", "on_timeout"),
    ("post-copy", "post_copy"),
    ("auto-converge", "auto_converge"),
    ("priority", "recovery_priority"),
    ("wish", "wish"),
)


def audit_policies(task: Task) -> dict[str, Any]:
    """Read what the options choose, and say who carries what and what holds for whom."""
    params = task.params
    options = read_defaults(params)
    host = exact_host(params["host"]) if params["host"] is not None else ""
    carriers = open_carriers(task.session)
    guests = carriers.guests(host, _project_ids(carriers, params["projects"]))
    images, flavors = carriers.images, carriers.flavors
    holding = held(_with_images(guests, images), flavors, options)
    if host or params["projects"]:
        images = _used(images, {guest.image_id for guest in guests}, "id")
        flavors = _used(flavors, {guest.flavor_name for guest in guests}, "name")
    asked = {
        "images": carried(images),
        "flavors": carried(flavors),
        "instances": carried(instances(guests)),
    }
    return _result(asked, _chosen(holding, params["guests"]), len(guests))


def _project_ids(carriers: Carriers, names: Iterable[str]) -> list[str]:
    ids = []
    for name in names:
        found = carriers.projects_called(name) if name.strip() else ()
        if not found:
            raise NotFound(
                f"projects: {name!r} is neither the ID nor the name of a project",
                "Give an ID, or the exact name",
                option="projects",
            )
        if len(found) > 1:
            why = f"is the name of several projects: {', '.join(found)}"
            raise BadOption("projects", name, why, "Give IDs")
        ids += [each for each in found if each not in ids]
    return ids


def _with_images(guests: Iterable[Guest], images: Iterable[Carrier]) -> tuple[Guest, ...]:
    """The guests with the policies of their images as these are now, as a drain reads them."""
    policies = {
        image.id: {k: v for k, v in image.texts.items() if k.startswith(POLICY_PREFIXES)}
        for image in images
    }
    return tuple(
        replace(
            guest,
            image_properties=policies.get(guest.image_id, {}) | dict(guest.image_properties),
        )
        for guest in guests
    )


def _used(carriers: Iterable[Carrier], used: set[str], by: str) -> tuple[Carrier, ...]:
    return tuple(carrier for carrier in carriers if getattr(carrier, by) in used)


def _chosen(holding: Sequence[Held], which: str) -> list[Held]:
    wanted = {"all": lambda one: True, "asking": lambda one: one.asks, "none": lambda one: False}
    return sorted(filter(wanted[which], holding), key=lambda one: (one.guest.name, one.guest.id))


# --- rows ----------------------------------------------------------------------------------


def _result(
    asked: Mapping[str, Sequence[Carried]], holding: Sequence[Held], guests: int
) -> dict[str, Any]:
    lists = {kind: [_carrier_row(each) for each in found] for kind, found in asked.items()}
    findings = [_finding_row(f) for found in asked.values() for one in found for f in one.findings]
    findings += [_finding_row(f) for one in holding for f in one.findings]
    rows = [_guest_row(one) for one in holding]
    counts = Counter(row["kind"] for row in findings)
    summary = {kind: len(found) for kind, found in lists.items()}
    summary |= {"guests": guests, **{kind: counts[kind] for kind in KINDS}}
    return {
        "changed": False,
        "msg": _sentence(summary),
        **lists,
        "guests": rows,
        "findings": findings,
        "summary": summary,
        "table": _lines(lists, rows, findings),
    }


def _carrier_row(one: Carried) -> dict[str, Any]:
    carrier = one.carrier
    return {
        "id": carrier.id,
        "name": carrier.name,
        "project_id": carrier.owner,
        "keys": dict(one.keys),
        "asks": {
            field: {"value": asked.value, "key": asked.source.partition(" ")[2]}
            for field, asked in one.asked.items()
        },
    }


def _guest_row(one: Held) -> dict[str, Any]:
    guest = one.guest
    return {
        "id": guest.id,
        "name": guest.name,
        "project_id": guest.project_id,
        "host": guest.host,
        "flavor": guest.flavor_name,
        "image_id": guest.image_id,
        "policy": policy_row(one.policy),
        "policy_findings": list(one.policy.findings),
    }


def _finding_row(finding: Finding) -> dict[str, str]:
    return asdict(finding)


def _sentence(summary: Mapping[str, int]) -> str:
    wrong = ", ".join(f"{summary[kind]} {kind}" for kind in KINDS if summary[kind])
    images, flavors = count(summary["images"], "image"), count(summary["flavors"], "flavor")
    guests = f"{summary['instances']} of {count(summary['guests'], 'instance')}"
    told = wrong or "nothing is wrong with them"
    return f"policies are on {images}, {flavors} and {guests}; {told}"


# --- for people ----------------------------------------------------------------------------


def _lines(
    lists: Mapping[str, Sequence[Mapping[str, Any]]],
    guests: Sequence[Mapping[str, Any]],
    findings: Sequence[Mapping[str, str]],
) -> list[str]:
    """Who carries what, what holds for each guest, what is wrong."""
    lines = []
    rows = [
        (kind.removesuffix("s"), row["name"], " ".join(f"{k}={v}" for k, v in row["keys"].items()))
        for kind, found in lists.items()
        for row in found
    ]
    if rows:
        lines += table([("on", "name", "carries"), *rows])
    if guests:
        heads = ("guest", "host", *(head for head, _field in COLUMNS))
        cells = ((g["name"], g["host"], *_cells(g["policy"])) for g in guests)
        lines += ["", *table([heads, *cells])]
    if findings:
        told = (
            (f["kind"], f["place"], f["name"], f"{f['key']} {f['text']}".strip()) for f in findings
        )
        lines += ["", *table([("finding", "on", "name", "what"), *told])]
    return lines


def _cells(policy: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Each value with whose word it is, unless it is nobody's."""
    cells = []
    for _head, field in COLUMNS:
        value, source = policy[field]["value"], policy[field]["source"].partition(" ")[0]
        said = "-" if value is None else str(value).lower().removesuffix(".0")
        cells.append(said if source == "default" else f"{said} ({source})")
    return cells
