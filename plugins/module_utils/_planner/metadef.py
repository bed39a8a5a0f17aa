# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Metadata definitions: what a namespace of Glance should become, and the steps that lead there.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

#: Kind of member -> its key in Glance's structure. In this order they are made.
KINDS: Mapping[str, str] = {
    "property": "properties",
    "object": "objects",
    "tag": "tags",
    "association": "resource_type_associations",
}
#: What a namespace defines; without any of it, the resource types it is associated with mean
#: nothing.
DEFINITIONS = ("property", "object", "tag")
ATTRIBUTES = ("display_name", "description", "visibility", "protected", "owner")
#: What only Glance writes; a definition that was read from it has that, too.
SERVER_MADE = frozenset({"self", "schema", "created_at", "updated_at"})
NAMESPACE = "namespace"
CREATE, UPDATE, DELETE = "create", "update", "delete"

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace as Glance keeps it, without what only Glance says (dates, links).

    ``members``: kind -> name -> the rest of it.
    """

    name: str
    attributes: Body = field(default_factory=dict)
    members: Mapping[str, Mapping[str, Body]] = field(
        default_factory=lambda: {kind: {} for kind in KINDS}
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the API. ``body``: all of it as it shall be, its name too."""

    action: str
    kind: str
    name: str
    body: Body = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """``changes``: what will differ. ``lift`` and ``restore``: what Glance wants besides.

    ``lift`` goes first, ``restore`` last, even where a change has failed.
    """

    changes: tuple[Step, ...] = ()
    lift: Step | None = None
    restore: Step | None = None


# --- reading -------------------------------------------------------------------------------


def read(structure: Body) -> Namespace:
    """Glance's structure, of a file or of its API, as it would be kept.

    Glance keeps a default as a text, whatever it was: ``5`` becomes ``"5"``, ``true`` ``"True"``.
    """
    return Namespace(
        structure[NAMESPACE],
        {key: structure[key] for key in ATTRIBUTES if structure.get(key) is not None},
        {
            "property": _properties(structure),
            "object": {each["name"]: _object(each) for each in structure.get("objects") or ()},
            "tag": {each["name"]: {} for each in structure.get("tags") or ()},
            "association": {
                each["name"]: {
                    key: each[key] for key in ("prefix", "properties_target") if each.get(key)
                }
                for each in structure.get("resource_type_associations") or ()
            },
        },
    )


def _properties(structure: Body) -> dict[str, Body]:
    return {name: _property(body) for name, body in (structure.get("properties") or {}).items()}


def _property(body: Body) -> Body:
    # Glance repeats the name inside of those that were made or changed by themselves.
    dropped = SERVER_MADE | {"name"}
    given = {k: value for k, value in body.items() if value is not None and k not in dropped}
    return given | {"default": str(given["default"])} if "default" in given else given


def _object(body: Body) -> Body:
    said = {"description": body["description"]} if body.get("description") is not None else {}
    required = list(body.get("required") or ())
    return {**said, "required": required, "properties": _properties(body)}


def structure_of(namespace: Namespace | None) -> dict[str, Any]:
    """Glance's structure, sorted by name and without what is empty; ``{}`` for none."""
    if namespace is None:
        return {}
    lists = {key: _listed(namespace.members[kind]) for kind, key in KINDS.items()}
    members = {**lists, "properties": dict(sorted(namespace.members["property"].items()))}
    filled = {key: value for key, value in members.items() if value}
    return {NAMESPACE: namespace.name, **namespace.attributes, **filled}


def _listed(members: Mapping[str, Body]) -> list[dict[str, Any]]:
    return [_named(name, members[name]) for name in sorted(members)]


def _named(name: str, body: Body) -> dict[str, Any]:
    return {"name": name, **body}


# --- deciding ------------------------------------------------------------------------------


def present(now: Namespace | None, wanted: Namespace, *, purge: bool) -> Namespace:
    """The namespace as it shall be: all that is wanted, and unless ``purge`` all that is there."""
    if now is None:
        return wanted
    kept: Mapping[str, Mapping[str, Body]] = {} if purge else now.members
    return replace(
        now,
        attributes={**now.attributes, **wanted.attributes},
        members={kind: {**kept.get(kind, {}), **wanted.members[kind]} for kind in KINDS},
    )


def absent(now: Namespace | None, named: Namespace | None) -> Namespace | None:
    """What stays without what ``named`` defines; without ``named``, nothing.

    A namespace that defines nothing any more goes too. One that does keeps its associations:
    what others have put there needs them.
    """
    if now is None or named is None:
        return None
    left = {}
    for kind in DEFINITIONS:
        ours = named.members[kind]
        left[kind] = {name: body for name, body in now.members[kind].items() if name not in ours}
    if not any(left.values()):
        return None
    return replace(now, members={**now.members, **left})


def decide(now: Namespace | None, goal: Namespace | None) -> Decision:
    """How to get from one to the other.

    Nothing can be deleted from a protected namespace, so its protection is lifted for that.
    """
    if goal is None:
        gone = (Step(DELETE, NAMESPACE, now.name),) if now else ()
        return Decision(gone, _lifted(now, gone))
    if now is None:
        return Decision((Step(CREATE, NAMESPACE, goal.name, structure_of(goal)),))
    changes = [step for kind in KINDS for step in _member_steps(kind, now, goal)]
    lift = _lifted(now, changes)
    if now.attributes != goal.attributes:
        changes.append(_attributes_of(goal))
    return Decision(tuple(changes), lift, _attributes_of(goal) if lift else None)


def _lifted(now: Namespace | None, steps: Sequence[Step]) -> Step | None:
    deletes = any(step.action == DELETE for step in steps)
    if now is None or not deletes or not now.attributes.get("protected"):
        return None
    return _attributes_of(replace(now, attributes={**now.attributes, "protected": False}))


def _attributes_of(namespace: Namespace) -> Step:
    # All of them: what an update leaves out, Glance sets back.
    body = {NAMESPACE: namespace.name, **namespace.attributes}
    return Step(UPDATE, NAMESPACE, namespace.name, body)


def _member_steps(kind: str, now: Namespace, goal: Namespace) -> list[Step]:
    before, after = now.members[kind], goal.members[kind]
    steps = []
    for name in sorted(after):
        body = _named(name, after[name])
        if name not in before:
            steps.append(Step(CREATE, kind, name, body))
        elif before[name] != after[name] and kind == "association":
            # Glance has no call that changes one.
            steps += [Step(DELETE, kind, name), Step(CREATE, kind, name, body)]
        elif before[name] != after[name]:
            steps.append(Step(UPDATE, kind, name, body))
    return [*steps, *(Step(DELETE, kind, name) for name in sorted(before.keys() - after.keys()))]
