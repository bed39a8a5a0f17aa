# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Which PCI devices Nova offers to guests: by which alias, and on which physical network.

This module util is **PRIVATE** to the collection: it may change without notice.
The rules are Nova's (nova/pci/devspec.py, nova/pci/request.py, nova/pci/stats.py).
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_devices import Node
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_sets import BadSetting

DEVICE_SPEC, ALIAS = "pci.device_spec", "pci.alias"
#: Hex digits of an address's parts: domain, bus, slot, function.
DIGITS = {"domain": 4, "bus": 2, "slot": 2, "function": 1}
ANY = "*"

Given = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Offer:
    """A device_spec. ``address``: a regular expression for each part of an address; ``exact``: the
    address, when it names one. ``tags``: what else it says.
    """

    vendor_id: str
    product_id: str
    devname: str
    address: tuple[str, ...]
    exact: str
    tags: Given

    def means(self, node: Node, devnames: Mapping[str, str]) -> bool:
        """Whether it means that device. A PF stands for its VFs, too.

        ``devnames``: name of a network interface -> address of its device.
        """
        if self.vendor_id not in (ANY, node.vendor_id):
            return False
        if self.product_id not in (ANY, node.product_id):
            return False
        named = devnames.get(self.devname, "") if self.devname else self.exact
        if named and named in (node.address, node.parent):
            return True
        return not self.devname and self._fits(node.address)

    def _fits(self, address: str) -> bool:
        parts = re.split("[:.]", address)
        return all(re.match(one, part) for one, part in zip(self.address, parts, strict=True))


def offers(values: Sequence[Any]) -> tuple[Offer, ...]:
    """The values of device_spec, in their order: the first that means a device counts.

    Raises BadSetting.
    """
    return tuple(_offer(given) for given in _dicts(DEVICE_SPEC, values))


def _offer(given: Given) -> Offer:
    address, devname = given.get("address"), given.get("devname", "")
    if address and devname:
        why = "has both an address and a devname"
        raise BadSetting(DEVICE_SPEC, dict(given), why, "Give one of them")
    patterns, parts = _regexes(given) if isinstance(address, dict) else _globs(given)
    exact = "{}:{}:{}.{}".format(*parts) if all(map(_is_hex, parts)) else ""
    ids = (_hex(given, given.get(key, ANY), 4) for key in ("vendor_id", "product_id"))
    tags = {key: value for key, value in given.items() if key not in ("address", "devname")}
    return Offer(*ids, devname, patterns, exact, tags)


def _is_hex(text: str) -> bool:
    return bool(text) and set(text) <= set(string.hexdigits)


def _regexes(given: Given) -> tuple[tuple[str, ...], tuple[str, ...]]:
    patterns = tuple(str(given["address"].get(name, ".*")) for name in DIGITS)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            why = f"has {pattern!r} in its address, which is no regular expression: {error}"
            raise BadSetting(DEVICE_SPEC, dict(given), why, "Correct it") from None
    return patterns, patterns


def _globs(given: Given) -> tuple[tuple[str, ...], tuple[str, ...]]:
    text = given.get("address") or "*:*:*.*"
    front, _dot, function = str(text).partition(".")
    fields = front.split(":")
    if len(fields) > 3:
        why = "has an address that is none"
        remedy = "Write it as 0000:0a:00.1, with * for what may be anything"
        raise BadSetting(DEVICE_SPEC, dict(given), why, remedy)
    # Parts may be left off at the front.
    parts = [*[ANY] * (3 - len(fields)), *fields, function]
    read = tuple(
        _hex(given, part.strip() or ANY, digits)
        for part, digits in zip(parts, DIGITS.values(), strict=True)
    )
    return tuple("" if part == ANY else rf"{part}\Z" for part in read), read


def _hex(given: Given, text: Any, digits: int) -> str:
    word = str(text).strip()
    if word == ANY:
        return word
    if not _is_hex(word.removeprefix("0x")) or int(word, 16) >= 16**digits:
        why = f"has {text!r}, which is no number of {digits} hex digits"
        raise BadSetting(DEVICE_SPEC, dict(given), why, "Write it as in lspci -nn")
    return f"{int(word, 16):0{digits}x}"


def _dicts(name: str, values: Sequence[Any]) -> list[Given]:
    found: list[Given] = []
    for text in values:
        try:
            value = json.loads(text) if isinstance(text, str) else text
        except ValueError as error:
            remedy = "Write it as a JSON dictionary"
            raise BadSetting(name, text, f"is no JSON: {error}", remedy) from None
        # Of device_spec Nova takes a list, too.
        several = value if isinstance(value, list) and name == DEVICE_SPEC else [value]
        if not all(isinstance(one, dict) for one in several):
            raise BadSetting(name, text, "is no dictionary", "Write it as a JSON dictionary")
        found += several
    return found


# --- aliases -------------------------------------------------------------------------------------

ALIAS_KEYS = frozenset(
    "name capability_type product_id vendor_id device_type numa_policy resource_class traits"
    " live_migratable".split()
)


def aliases(values: Sequence[Any]) -> tuple[Given, ...]:
    """The values of alias. Raises BadSetting."""
    found = tuple(_dicts(ALIAS, values))
    for given in found:
        strange = sorted(set(given) - ALIAS_KEYS)
        if not str(given.get("name", "")).strip():
            raise BadSetting(ALIAS, dict(given), "has no name", "Give it a name")
        if strange:
            why = f"has {', '.join(strange)}, which no alias has"
            raise BadSetting(ALIAS, dict(given), why, f"Give only {', '.join(sorted(ALIAS_KEYS))}")
        if not {"vendor_id", "product_id"} <= set(given) and "resource_class" not in given:
            remedy = "Give vendor_id and product_id, or a resource_class"
            raise BadSetting(ALIAS, dict(given), "does not say which devices", remedy)
    return found


def answers_to(node: Node, tags: Given, alias: Given) -> bool:
    """Whether a device that Nova offers with these tags can be had by an alias."""
    if alias.get("device_type", node.kind) != node.kind:
        return False
    for key, own in (("vendor_id", node.vendor_id), ("product_id", node.product_id)):
        if str(alias.get(key, own)).lower() != own:
            return False
    if "live_migratable" in alias and _true(alias["live_migratable"]) != _true(
        tags.get("live_migratable", "")
    ):
        return False
    wanted = _names(alias.get("traits", ""))
    if not wanted <= _names(tags.get("traits", "")):
        return False
    by_id = f"PCI_{node.vendor_id}_{node.product_id}"
    own_class = _custom(str(tags.get("resource_class", by_id)))
    return "resource_class" not in alias or _custom(str(alias["resource_class"])) == own_class


def _true(value: Any) -> bool:
    return str(value).strip().lower() in ("1", "t", "true", "on", "y", "yes")


def _names(text: Any) -> set[str]:
    return {_custom(name) for name in str(text).split(",") if name.strip()}


def _custom(name: str) -> str:
    """A resource class or trait, as Placement would name it if it is none of the standard ones."""
    word = re.sub("[^A-Z0-9_]+", "_", name.strip().upper())
    return word.removeprefix("CUSTOM_")
