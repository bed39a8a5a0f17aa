# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Set and remove policies: who is meant, what forbids it, and the writes, all of it or nothing.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    BadOptions,
    LowtideError,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.carriers import (
    Carriers,
    open_carriers,
)
from ansible_collections.lowtide.compute.plugins.module_utils._module import Task
from ansible_collections.lowtide.compute.plugins.module_utils._options import MOVE_SPEC
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Carrier, Guest
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy_edit import (
    DIALECTS,
    NEUTRAL,
    PRESENT,
    STATES,
    Change,
    Entry,
    Fault,
    carrier_of,
    change_of,
    forbidden,
    shadowed,
    shown,
    text_of,
    texts_of,
    unchangeable,
    windows_notes,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy_keys import (
    FLAVOR,
    IMAGE,
    INSTANCE,
    WISHES,
)

FIELDS_SPEC: dict[str, Any] = {
    **MOVE_SPEC["policy"]["options"],
    "wish": {"type": "str", "choices": list(WISHES)},
}
ENTRY_SPEC: dict[str, Any] = {
    "images": {"type": "list", "elements": "str", "default": []},
    # No default for dictionaries: Ansible would let all entries share one.
    "image_filter": {
        "type": "dict",
        "options": {
            "tags": {"type": "list", "elements": "str", "default": []},
            "properties": {"type": "dict", "default": {}},
        },
    },
    "flavors": {"type": "list", "elements": "str", "default": []},
    "servers": {"type": "list", "elements": "str", "default": []},
    "project": {"type": "str"},
    "policy": {"type": "dict", "options": FIELDS_SPEC},
    "dialect": {"type": "str", "choices": list(DIALECTS), "default": NEUTRAL},
    "windows": {"type": "bool", "default": False},
}
SPEC: dict[str, Any] = {
    "policies": {"type": "list", "elements": "dict", "required": True, "options": ENTRY_SPEC},
    "state": {"type": "str", "choices": list(STATES), "default": PRESENT},
    "missing": {"type": "str", "choices": ["fail", "ignore"], "default": "fail"},
    "others": {"type": "bool", "default": False},
}
#: From when on a change counts, by what was changed.
EFFECTS = {
    IMAGE: "images are read as they are now: guests that run from them follow at the next plan",
    FLAVOR: "guests keep their flavor as it was when they got it: until they are resized or built"
    " anew, nothing changes for them",
}


@dataclass
class Chosen:
    """A carrier with the entries that chose it. ``option``: the first place that did."""

    carrier: Carrier
    option: str
    guest: Guest | None = None
    entries: list[Entry] = field(default_factory=list)


@dataclass
class Choice:
    """Who is meant by all entries, who was left out of a filter, and what is wrong."""

    by_id: dict[tuple[str, str], Chosen] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def add(self, entry: Entry, option: str, carrier: Carrier, guest: Guest | None = None) -> None:
        key = (carrier.place, carrier.id)
        chosen = self.by_id.setdefault(key, Chosen(carrier, option, guest))
        if entry not in chosen.entries:
            chosen.entries.append(entry)

    def fault(self, option: str, value: Any, why: str, remedy: str) -> None:
        self.faults.append(Fault(option, value, why, remedy))


def change_policies(task: Task) -> dict[str, Any]:
    """Decide every change, refuse all faults at once, and write what differs."""
    params = task.params
    pairs = [(entry_from(number, raw), raw) for number, raw in enumerate(params["policies"])]
    refuse([fault for entry, raw in pairs for fault in check(entry, raw, params["state"])])
    carriers = open_carriers(task.session)
    choice = Choice()
    for entry, raw in pairs:
        Chooser(carriers, choice, params).choose(entry, raw)
    changes = _decided(choice, params, carriers.project)
    refuse(choice.faults)
    if not task.check_mode:
        _apply(carriers, changes)
    notes = [note for change in changes for note in shadowed(change)] + windows_notes(changes)
    for note in notes:
        task.warn(note)
    return _result(changes, choice, done=len(changes))


def entry_from(number: int, raw: Mapping[str, Any]) -> Entry:
    """An entry of ``policies`` as the planner's; what was not given is not in its policy."""
    given = {name: value for name, value in (raw["policy"] or {}).items() if value is not None}
    return Entry(f"policies[{number}]", given, raw["dialect"], raw["windows"])


def check(entry: Entry, raw: Mapping[str, Any], state: str) -> list[Fault]:
    """What is wrong with an entry whatever the cloud looks like."""
    option, places = entry.option, _places(raw)
    faults: dict[tuple[str, str], Fault] = {}
    for place in places:
        for fault in texts_of(entry, place)[1]:
            faults.setdefault((fault.option, fault.remedy), fault)
    found = list(faults.values())
    if not places:
        why = "chooses nothing, nor does image_filter, flavors or servers"
        found.append(Fault(f"{option}.images", raw["images"], why, "Give one of them"))
    if state == PRESENT and not entry.policy and not entry.windows:
        remedy = "Give policy or windows, or state: exact to have no policy at all there"
        found.append(Fault(f"{option}.policy", entry.policy, "sets nothing", remedy))
    if entry.windows and places and IMAGE not in places:
        why = "is for images, and none is chosen"
        found.append(Fault(f"{option}.windows", True, why, "Give images or image_filter"))
    if raw["project"] is not None and not raw["servers"]:
        why = "is for servers, and none is chosen"
        found.append(Fault(f"{option}.project", raw["project"], why, "Give servers, or leave it"))
    return found


def refuse(faults: Sequence[Fault]) -> None:
    """Raise BadOptions with all faults, when there are any."""
    if faults:
        raise BadOptions([BadOption(f.option, f.value, f.why, f.remedy) for f in faults])


def _places(raw: Mapping[str, Any]) -> list[str]:
    asked = {
        IMAGE: raw["images"] or _filters(raw["image_filter"]),
        FLAVOR: raw["flavors"],
        INSTANCE: raw["servers"],
    }
    return [place for place, given in asked.items() if given]


def _filters(given: Mapping[str, Any] | None) -> bool:
    return bool(given and (given["tags"] or given["properties"]))


# --- who is meant ------------------------------------------------------------------------


class Chooser:
    """Finds what entries name in one cloud. ``params``: ``missing`` and ``others`` count."""

    def __init__(self, carriers: Carriers, choice: Choice, params: Mapping[str, Any]) -> None:
        self._carriers = carriers
        self._choice = choice
        self._fails = params["missing"] == "fail"
        self._others = params["others"]

    def choose(self, entry: Entry, raw: Mapping[str, Any]) -> None:
        """Add all that an entry means to the choice."""
        for name in raw["images"]:
            self._one(entry, "images", name, self._carriers.images)
        if _filters(raw["image_filter"]):
            self._filtered(entry, raw["image_filter"])
        for name in raw["flavors"]:
            self._one(entry, "flavors", name, self._carriers.flavors)
        if raw["servers"]:
            self._servers(entry, raw["servers"], raw["project"])

    def _one(self, entry: Entry, kind: str, wanted: str, carriers: Iterable[Carrier]) -> None:
        known = tuple(carriers)
        found = [each for each in known if each.id == wanted]
        found = found or [each for each in known if wanted and each.name == wanted]
        option = f"{entry.option}.{kind}"
        if self._exactly_one(option, wanted, kind[:-1], [each.id for each in found]):
            self._choice.add(entry, option, found[0])

    def _exactly_one(self, option: str, wanted: str, kind: str, ids: Sequence[str]) -> bool:
        if not ids and self._fails:
            why = f"is neither the ID nor the name of {_a(kind)} in this cloud"
            remedy = "Give an ID or the exact name, or missing: ignore"
            self._choice.fault(option, wanted, why, remedy)
        if len(ids) > 1:
            why = f"is the name of several {kind}s: {', '.join(sorted(ids))}"
            self._choice.fault(option, wanted, why, "Give IDs")
        return len(ids) == 1

    def _filtered(self, entry: Entry, given: Mapping[str, Any]) -> None:
        option, project = f"{entry.option}.image_filter", self._carriers.project
        fits = _fits(given)
        found = [image for image in self._carriers.images if fits(image)]
        allowed = [i for i in found if self._others or (i.owner == project and not i.protected)]
        for image in found:
            if image not in allowed:
                why = "protected" if image.owner == project else "of another project"
                self._choice.left_out[shown(image)] = why
        if not allowed and self._fails:
            more = f" but {len(found)} of others, or protected" if found else ""
            remedy = "Give tags and properties that images have, others: true, or missing: ignore"
            self._choice.fault(option, dict(given), f"fits no image{more}", remedy)
        for image in allowed:
            self._choice.add(entry, option, image)

    def _servers(self, entry: Entry, names: Iterable[str], project: str | None) -> None:
        projects = self._projects(entry, project)
        if projects is None:
            return
        for wanted in names:
            guests = self._carriers.guests_called(wanted) if wanted.strip() else ()
            found = [guest for guest in guests if not projects or guest.project_id in projects]
            option = f"{entry.option}.servers"
            if self._exactly_one(option, wanted, "server", [guest.id for guest in found]):
                self._choice.add(entry, option, carrier_of(found[0]), found[0])

    def _projects(self, entry: Entry, project: str | None) -> tuple[str, ...] | None:
        """IDs of the project that is meant, none for any; ``None`` where there is no such one."""
        if project is None:
            return ()
        ids = self._carriers.projects_called(project)
        one = self._exactly_one(f"{entry.option}.project", project, "project", ids)
        return ids if one else None


def _fits(given: Mapping[str, Any]) -> Callable[[Carrier], bool]:
    tags = frozenset(given["tags"])
    texts = {name: text_of(value) for name, value in given["properties"].items()}

    def fits(image: Carrier) -> bool:
        same = all(image.texts.get(name) == text for name, text in texts.items())
        return same and tags <= frozenset(image.tags)

    return fits


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "image" else f"a {kind}"


# --- what is done ------------------------------------------------------------------------


def _decided(choice: Choice, params: Mapping[str, Any], project: str) -> list[Change]:
    changes = []
    for chosen in choice.by_id.values():
        change, faults = change_of(chosen.carrier, chosen.entries, params["state"])
        choice.faults += faults
        choice.faults += forbidden(change, chosen.option, project=project, others=params["others"])
        if chosen.guest and change.changes:
            choice.faults += unchangeable(chosen.guest, chosen.option)
        changes.append(change)
    order = {IMAGE: 0, FLAVOR: 1, INSTANCE: 2}
    return sorted(changes, key=lambda c: (order[c.carrier.place], c.carrier.name, c.carrier.id))


def _apply(carriers: Carriers, changes: Sequence[Change]) -> None:
    """Write what differs; an error tells what was done before it."""
    for number, change in enumerate(changes):
        if not change.changes:
            continue
        try:
            carriers.change(change.carrier, change.put, change.removed)
        except LowtideError as error:
            done = _result(changes, Choice(), done=number)
            error.details = {**error.details, **done, "failed_at": _row(change, False)}
            raise


def _row(change: Change, written: bool) -> dict[str, Any]:
    before = change.before()
    return {
        "kind": change.carrier.place,
        "id": change.carrier.id,
        "name": change.carrier.name,
        "project_id": change.carrier.owner,
        "changed": change.changes and written,
        "before": before,
        "after": change.after() if written else before,
    }


def _result(changes: Sequence[Change], choice: Choice, done: int) -> dict[str, Any]:
    """The module's result once the first ``done`` changes are written, or would be."""
    rows = [_row(change, number < done) for number, change in enumerate(changes)]
    changed = [row for row in rows if row["changed"]]
    kinds = {row["kind"] for row in changed}
    names = {
        (c.carrier.place, c.carrier.id): f"{c.carrier.place} {shown(c.carrier)}" for c in changes
    }
    return {
        "changed": bool(changed),
        "msg": _sentence(rows, changed),
        "resources": rows,
        "left_out": [{"name": name, "why": why} for name, why in choice.left_out.items()],
        "notes": [note for kind, note in EFFECTS.items() if kind in kinds],
        "diff": {
            side: {names[row["kind"], row["id"]]: row[side] for row in changed}
            for side in ("before", "after")
        },
    }


def _sentence(rows: Sequence[Mapping[str, Any]], changed: Sequence[Mapping[str, Any]]) -> str:
    if not changed:
        return f"nothing to change on {len(rows)} chosen"
    counts = Counter(row["kind"] for row in changed)
    parts = [f"{number} {kind}{'s' if number > 1 else ''}" for kind, number in counts.items()]
    return f"{', '.join(parts)} changed of {len(rows)} chosen"
