# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Turn the model's dataclasses into plain JSON values and back, losing nothing.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def encode(value: Any) -> Any:
    """A dataclass (or a container of them) as dicts, lists and scalars."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(v) for v in value]
    return value


def decode(kind: type[T], value: Any) -> T:
    """The inverse of :func:`encode` for the dataclass ``kind``.

    Anything else raises ``TypeError``: a state of another version must not be half read.
    """
    return _decode(kind, value)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _decode(hint: Any, value: Any) -> Any:
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise TypeError(f"{hint.__name__} cannot be read from {type(value).__name__}")
        hints = _hints(hint)
        unknown = set(value) - set(hints)
        if unknown:
            raise TypeError(f"{hint.__name__} has no field {', '.join(sorted(unknown))}")
        return hint(**{k: _decode(hints[k], v) for k, v in value.items()})
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _decode(next(a for a in args if a is not types.NoneType), value)
    if origin is tuple:
        return tuple(_decode(args[0], v) for v in value)
    if origin is Mapping:
        return {k: _decode(args[1], v) for k, v in value.items()}
    if hint is float:
        return float(value)
    return value
