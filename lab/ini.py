# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services' configuration files as data: section -> option -> value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Ini = dict[str, dict[str, Any]]


def render(sections: Ini) -> str:
    """Return the text of an ini file; a list is an option given several times."""
    lines = []
    for section, options in sections.items():
        lines.append(f"[{section}]")
        for option, value in options.items():
            for item in value if isinstance(value, list) else [value]:
                text = str(item).lower() if isinstance(item, bool) else str(item)
                lines.append(f"{option} = {text}")
    return "\n".join(lines) + "\n"


def merged(sections: Ini, overrides: Mapping[str, Mapping[str, Any]]) -> Ini:
    """Return `sections` with the options of `overrides` in place of their own."""
    result = {name: dict(options) for name, options in sections.items()}
    for name, options in overrides.items():
        result.setdefault(name, {}).update(options)
    return result
