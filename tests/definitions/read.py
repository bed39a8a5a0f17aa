# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read configurations with oslo.config, and print what is in force. Runs in a release's
environment: rows of options, and cases of files, directories and what to look at come in."""

import json
import sys

from oslo_config import cfg, types


def kind(name, low, choices):
    """A type of oslo.config."""
    if name in ("Integer", "Float"):
        return getattr(types, name)(min=low)
    if name == "String":
        return types.String(choices=choices or None)
    return getattr(types, name)()


def option(row):
    """An option as Nova would define it."""
    old = [cfg.DeprecatedOpt(name, group=group) for group, name in row["aliases"]]
    given = {"default": row["default"], "deprecated_opts": old}
    if row["kind"] == "MultiString":
        return cfg.MultiStrOpt(row["name"], **given)
    return cfg.Opt(row["name"], type=kind(row["kind"], row["low"], row["choices"]), **given)


def read(rows, arguments, files, directories):
    """group.name -> value, or ["error"] for one that Nova would not take; "unreadable" for all."""
    conf = cfg.ConfigOpts()
    try:
        conf(
            arguments,
            project="nova",
            default_config_files=files,
            default_config_dirs=directories,
        )
    except cfg.ConfigFileParseError:
        return "unreadable"
    for row in rows:
        conf.register_opt(option(row), group=None if row["group"] == "DEFAULT" else row["group"])
    found = {}
    for row in rows:
        of = conf if row["group"] == "DEFAULT" else getattr(conf, row["group"])
        try:
            found[f"{row['group']}.{row['name']}"] = getattr(of, row["name"])
        except (cfg.Error, ValueError, RecursionError):
            found[f"{row['group']}.{row['name']}"] = {"error": True}
    return found


rows, cases = json.load(sys.stdin)
print(json.dumps([read(rows, *case) for case in cases]))
