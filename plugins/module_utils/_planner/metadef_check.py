# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What is wrong with a metadata definition, before Glance sees any of it.

This module util is **PRIVATE** to the collection: it may change without notice.
The rules are those of Glance's schema (glance/api/v2/metadef_namespaces.py) and of what it keeps:
it answers 500 to a choice that is no text, stores 1.5 as 1, and never finds a name with a slash
again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.metadef import SERVER_MADE

TYPES = ("array", "boolean", "integer", "number", "object", "string")
VISIBILITIES = ("public", "private")
MAX_NAME, MAX_DESCRIPTION, MAX_OWNER = 80, 500, 255

Rule = Callable[[Any], str]


def faults(definition: Any) -> list[str]:
    """One sentence for each fault, with the place of it; none, if Glance can keep it as it is."""
    if not isinstance(definition, Mapping):
        return ["it is no dictionary"]
    return [*_of(definition, "", NAMESPACE, ("namespace",)), *_of_members(definition)]


def _of_members(definition: Mapping[str, Any]) -> Iterator[str]:
    yield from _of_properties(definition.get("properties"), "properties")
    yield from _of_list(definition, "objects", OBJECT)
    yield from _of_list(definition, "tags", TAG)
    yield from _of_list(definition, "resource_type_associations", ASSOCIATION)


def _of(body: Any, where: str, rules: Mapping[str, Rule], needed: tuple[str, ...]) -> Iterator[str]:
    """Faults of one dictionary, by rules for each of its keys."""
    if not isinstance(body, Mapping):
        yield f"{where}: it is no dictionary"
        return
    at = f"{where}." if where else ""
    for key in needed:
        if body.get(key) is None:
            yield f"{at}{key}: it is missing"
    for key, value in body.items():
        if key in SERVER_MADE or value is None:
            continue
        fault = rules[key](value) if key in rules else f"there is no such key ({_listed(rules)})"
        if fault:
            yield f"{at}{key}: {fault}"


def _of_list(definition: Mapping[str, Any], key: str, rules: Mapping[str, Rule]) -> Iterator[str]:
    """Faults of a list of named members."""
    members = definition.get(key)
    if not isinstance(members, list):
        return
    seen: set[Any] = set()
    for index, member in enumerate(members):
        name = member.get("name") if isinstance(member, Mapping) else None
        where = f"{key}[{name if isinstance(name, str) else index}]"
        yield from _of(member, where, rules, ("name",))
        if not isinstance(name, str):
            continue
        if name in seen:
            yield f"{where}: it is there twice"
        seen.add(name)
        if key == "objects":
            yield from _of_properties(member.get("properties"), f"{where}.properties")


def _of_properties(properties: Any, where: str) -> Iterator[str]:
    if not isinstance(properties, Mapping):
        return
    for name, body in properties.items():
        at = f"{where}[{name}]"
        fault = _a_name(name)
        if fault:
            yield f"{at}: the name {fault.removeprefix('it ')}"
        wrong = list(_of(body, at, PROPERTY, ("title", "type")))
        yield from wrong or _empty_ranges(body, at)


def _empty_ranges(body: Mapping[str, Any], at: str) -> Iterator[str]:
    for least, most in (
        ("minimum", "maximum"),
        ("minLength", "maxLength"),
        ("minItems", "maxItems"),
    ):
        if body.get(least) is not None and body.get(most) is not None and body[least] > body[most]:
            yield f"{at}.{least}: {body[least]} is more than the {most} of {body[most]}"


def doubts(definition: Mapping[str, Any]) -> list[str]:
    """One sentence for each default that its own property refuses, in a definition without faults.

    Glance keeps it, and Horizon's form is then wrong until somebody touches it.
    """
    places = {"properties": definition.get("properties")}
    for each in definition.get("objects") or ():
        places[f"objects[{each['name']}].properties"] = each.get("properties")
    return [
        f"{place}[{name}].default: {body['default']!r} is nothing that the property takes"
        for place, properties in places.items()
        for name, body in (properties or {}).items()
        if body.get("default") not in (None, "") and not takes(body, str(body["default"]))
    ]


# --- values ----------------------------------------------------------------------------------


def takes(body: Mapping[str, Any], text: str) -> bool:
    """Would Horizon let somebody enter this text for the property?

    Horizon's form (metadata-tree-item.html) asks a whole number for an ``integer``, holds it to
    ``minimum`` and ``maximum``, and a ``string`` to ``enum``, ``pattern`` and lengths. A
    ``boolean`` is a box to tick: true or false.
    """
    kind = body.get("type")
    if kind == "boolean":
        return text.lower() in ("true", "false")
    if kind in ("integer", "number"):
        number = _number(text, whole=kind == "integer")
        return number is not None and _within(number, body.get("minimum"), body.get("maximum"))
    if kind != "string":
        return True
    if body.get("enum"):
        return text in body["enum"]
    # AngularJS puts the anchors there, and no brackets around what has alternatives.
    fits = body.get("pattern") is None or re.search(f"^{body['pattern']}$", text)
    return bool(fits) and _within(len(text), body.get("minLength"), body.get("maxLength"))


def _number(text: str, *, whole: bool) -> float | None:
    pattern = r"-?[0-9]+" if whole else r"-?[0-9]+(\.[0-9]+)?"
    return float(text) if re.fullmatch(pattern, text) else None


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


# --- rules -----------------------------------------------------------------------------------


def _a_name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        return "it is no text, or empty"
    if "/" in value:
        return "it has a slash: Glance keeps it, but can never change or remove it"
    return "" if len(value) <= MAX_NAME else f"it is longer than {MAX_NAME} letters"


def _text(most: int | None = None) -> Rule:
    def rule(value: Any) -> str:
        if not isinstance(value, str):
            return f"{value!r} is no text"
        return f"it is longer than {most} letters" if most and len(value) > most else ""

    return rule


def _one_of(*choices: str) -> Rule:
    return lambda value: "" if value in choices else f"{value!r} is none of {', '.join(choices)}"


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else f"{value!r} is neither true nor false"


def _whole(value: Any) -> str:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return "" if is_whole else f"{value!r} is no whole number, and Glance keeps no other"


def _count(value: Any) -> str:
    return _whole(value) or ("" if value >= 0 else f"{value!r} is less than 0")


def _texts(value: Any) -> str:
    texts = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return "" if texts else f"{value!r} is no list of texts (put numbers and yes/no in quotes)"


def _different_texts(value: Any) -> str:
    return _texts(value) or ("" if len(set(value)) == len(value) else f"{value!r} repeats a name")


def _pattern(value: Any) -> str:
    fault = _text()(value)
    if fault:
        return fault
    try:
        re.compile(value)
    except re.error as error:
        return f"{value!r} is no regular expression: {error}"
    return ""


def _default(value: Any) -> str:
    if isinstance(value, (str, int, float)):
        return ""
    return f"{value!r} is neither text, number nor true or false, and Glance keeps nothing else"


def _a_list(value: Any) -> str:
    return "" if isinstance(value, list) else f"{value!r} is no list"


def _a_dictionary(value: Any) -> str:
    return "" if isinstance(value, Mapping) else f"{value!r} is no dictionary"


def _items(value: Any) -> str:
    return "; ".join(_of(value, "", {"type": _one_of(*TYPES), "enum": _texts}, ("type",)))


def _listed(rules: Mapping[str, Rule]) -> str:
    return f"there are {', '.join(rules)}"


NAMESPACE: Mapping[str, Rule] = {
    "namespace": _a_name,
    "display_name": _text(MAX_NAME),
    "description": _text(MAX_DESCRIPTION),
    "visibility": _one_of(*VISIBILITIES),
    "protected": _flag,
    "owner": _text(MAX_OWNER),
    "resource_type_associations": _a_list,
    "properties": _a_dictionary,
    "objects": _a_list,
    "tags": _a_list,
}
PROPERTY: Mapping[str, Rule] = {
    "name": _a_name,
    "title": _text(),
    "type": _one_of(*TYPES),
    "description": _text(),
    "default": _default,
    "enum": _texts,
    "pattern": _pattern,
    "minimum": _whole,
    "maximum": _whole,
    "minLength": _count,
    "maxLength": _count,
    "items": _items,
    "minItems": _count,
    "maxItems": _count,
    "uniqueItems": _flag,
    "additionalItems": _flag,
    "operators": _texts,
    "readonly": _flag,
}
OBJECT: Mapping[str, Rule] = {
    "name": _a_name,
    "description": _text(),
    "required": _different_texts,
    "properties": _a_dictionary,
}
TAG: Mapping[str, Rule] = {"name": _a_name}
ASSOCIATION: Mapping[str, Rule] = {
    "name": _a_name,
    "prefix": _text(MAX_NAME),
    "properties_target": _text(MAX_NAME),
}
