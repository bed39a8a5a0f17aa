# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The option ``topologies``: what numa_info returned of each host, checked before it is believed.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import decode
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import HostNuma

REMEDY = "Give what lowtide.compute.numa_info returns as `numa`, unchanged"


def read_topologies(given: Mapping[str, Any]) -> dict[str, HostNuma]:
    """Nova's name of a host -> its cells; raises BadOption for anything else."""
    return {host: _read(host, value) for host, value in given.items()}


def _read(host: str, value: Any) -> HostNuma:
    option = f"topologies.{host}"
    if not isinstance(value, Mapping):
        raise BadOption(option, value, "is no topology", REMEDY)
    try:
        numa = decode(HostNuma, value)
    except (TypeError, ValueError) as error:
        raise BadOption(option, _short(value), f"is no topology: {error}", REMEDY) from error
    wrong = next(_mistyped(HostNuma, numa, "numa"), "") or _senseless(numa, host)
    if wrong:
        raise BadOption(option, _short(value), f"is no topology of it: {wrong}", REMEDY)
    return numa


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _senseless(numa: HostNuma, host: str) -> str:
    if numa.host and numa.host != host:
        return f"it is that of {numa.host}"
    ids = [cell.id for cell in numa.cells]
    if len(set(ids)) < len(ids):
        return f"two cells have one number: {ids}"
    for cell in numa.cells:
        stray = set(cell.pinned_cpus) - set(cell.dedicated_cpus)
        if stray:
            return f"cell {cell.id}: CPUs are pinned that are not dedicated: {sorted(stray)}"
    return ""


def _mistyped(hint: Any, value: Any, path: str) -> Iterator[str]:
    """What the decoding lets through: texts where numbers belong, and the like."""
    if is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        for each in fields(hint):
            yield from _mistyped(hints[each.name], getattr(value, each.name), each.name)
        return
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is not None:
            yield from _mistyped(args[0], value, path)
    elif origin is tuple:
        for item in value:
            yield from _mistyped(args[0], item, path)
    elif origin is Mapping:
        for item in value.values():
            yield from _mistyped(args[1], item, path)
    # A truth value is a number to isinstance().
    elif not isinstance(value, hint) or isinstance(value, bool) is not (hint is bool):
        yield f"{path} is {value!r}, not of the type {hint.__name__}"
