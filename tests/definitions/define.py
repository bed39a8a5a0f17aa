# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print Nova's definitions of its options. Runs in a release's environment."""

import json

from nova.conf import opts as nova
from oslo_messaging import opts as messaging

found = {}
for group, options in (*nova.list_opts(), *messaging.list_opts()):
    name = getattr(group, "name", group) or "DEFAULT"
    for option in options:
        kind = option.type
        choices = getattr(kind, "choices", None)
        found[f"{name}.{option.dest}"] = {
            "type": type(kind).__name__,
            "low": getattr(kind, "min", None),
            "high": getattr(kind, "max", None),
            "choices": list(choices or ()),
            "default": option.default,
            "of_host": option.sample_default is not None
            and option.sample_default != option.default,
            "mutable": option.mutable,
            "deprecated": option.deprecated_since if option.deprecated_for_removal else None,
            "aliases": [
                [old.group or name, old.name] for old in option.deprecated_opts if old.name
            ],
        }
print(json.dumps(found, default=str))
