# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The house's arrows: which room of `plugins/` may import from which, and what stays pure."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = "ansible_collections.lowtide.compute."
UTILS = "plugins.module_utils."

# What a pure room may take from the standard library: nothing that reads a clock, the machine or
# chance. Add a module here only if it is as pure as these.
PURE_STDLIB = frozenset(
    "__future__ abc bisect collections copy dataclasses datetime enum fnmatch fractions functools"
    " graphlib hashlib heapq ipaddress itertools json math operator re statistics string textwrap"
    " types typing xml".split()
)
IMPURE_CALLS = frozenset("open print input exec eval compile __import__ globals".split())
CLOCK_READS = frozenset("now utcnow today fromtimestamp".split())


@dataclass(frozen=True)
class Room:
    """One row of the plan: who lives here, whom they may call, what they may take from outside."""

    prefix: str
    internal: tuple[str, ...] = ()
    external: frozenset[str] = frozenset()
    pure: bool = False


ANSIBLE = frozenset({"ansible"})
SDK = frozenset({"openstack", "keystoneauth1"})
VIRT = frozenset({"libvirt"})


def utils(names: str) -> tuple[str, ...]:
    return tuple(UTILS + name for name in names.split())


# The first row whose prefix fits is the room.
ROOMS = (
    Room(
        "plugins.modules",
        utils(
            "_module _host_module _options _service _drain _guests _test_guest _probe _tune"
            " _compute_process _domains _compat _kept _paths _nova_conf _numa _numa_check"
            " _errors _engine _planner"
            " _gateways _report _policy_change _policy_audit _preflight _fleet"
        ),
        ANSIBLE,
    ),
    Room(
        "plugins.action",
        (*utils("_report _gateways.clock _errors"), "plugins.plugin_utils"),
        ANSIBLE,
    ),
    Room(
        "plugins.plugin_utils",
        (*utils("_gateways.clock"), "plugins.plugin_utils"),
        ANSIBLE,
    ),
    Room(
        "plugins.filter",
        utils("_report _errors _planner.paths _planner.path_limits _planner.network_plan"),
        ANSIBLE,
    ),
    Room("plugins.doc_fragments"),
    # What several modules share, from the outside in.
    Room(
        UTILS + "_guests",
        utils("_drain _module _options _errors _engine _planner _gateways _report"),
    ),
    Room(UTILS + "_test_guest", utils("_guests _module _options _errors _gateways")),
    Room(UTILS + "_drain", utils("_errors _engine _planner _gateways _report")),
    Room(UTILS + "_preflight", utils("_errors _options _planner _gateways")),
    Room(UTILS + "_compute_process", utils("_host_module _errors _planner _gateways")),
    Room(UTILS + "_paths", utils("_errors _planner _gateways")),
    Room(UTILS + "_probe", utils("_errors _planner _gateways")),
    Room(UTILS + "_domains", utils("_errors _planner _gateways")),
    Room(UTILS + "_tune", utils("_errors _planner _gateways")),
    Room(UTILS + "_compat", utils("_errors _planner _gateways")),
    Room(UTILS + "_fleet", utils("_module _options _errors _planner _gateways _report")),
    Room(UTILS + "_nova_conf", utils("_errors _planner _gateways")),
    Room(UTILS + "_numa", utils("_numa_conf _errors _planner _gateways")),
    Room(UTILS + "_numa_conf", utils("_errors _planner _gateways")),
    Room(
        UTILS + "_numa_check",
        utils("_numa_asked _numa_topologies _module _errors _planner _gateways _report"),
    ),
    Room(UTILS + "_numa_asked", utils("_options _errors _planner _gateways")),
    Room(UTILS + "_numa_topologies", utils("_errors _planner")),
    Room(UTILS + "_kept", utils("_errors _planner _gateways")),
    Room(UTILS + "_policy_change", utils("_module _options _errors _planner _gateways")),
    Room(UTILS + "_policy_audit", utils("_module _options _errors _planner _gateways _report")),
    Room(UTILS + "_module", utils("_host_module _errors _gateways"), ANSIBLE),
    Room(UTILS + "_host_module", utils("_errors _gateways.clock"), ANSIBLE),
    Room(UTILS + "_options", utils("_errors _numa_topologies _planner.model _planner.policy")),
    Room(UTILS + "_service", utils("_errors _planner.mark _planner.model")),
    # The house proper.
    Room(UTILS + "_engine", utils("_planner _gateways _errors")),
    Room(
        UTILS + "_gateways.compute_process",
        utils("_errors _planner.compute_process"),
    ),
    Room(
        UTILS + "_gateways.compat",
        utils("_gateways.hypervisor _planner.compat _errors"),
    ),
    Room(
        UTILS + "_gateways.cloud",
        utils("_gateways _planner.model _planner.numa_model _planner.numa_request _errors")
        + utils("_planner.destinations _planner.eligibility"),
    ),
    Room(UTILS + "_gateways.config", utils("_gateways.files _errors")),
    Room(UTILS + "_gateways.files", utils("_planner.kept _errors")),
    Room(UTILS + "_gateways.echo", utils("_gateways.links _planner.paths _errors")),
    Room(UTILS + "_gateways.tls", utils("_planner.certificates")),
    Room(
        UTILS + "_gateways",
        utils("_gateways _planner.model _planner.numa_model _errors"),
        ANSIBLE | SDK | VIRT,
    ),
    Room(UTILS + "_report.paths", utils("_report _planner.path_limits")),
    Room(
        UTILS + "_report.preflight",
        utils("_report _planner.model _planner.preflight_model _planner.preflight_turns"),
    ),
    Room(UTILS + "_report", utils("_report _planner.model")),
    Room(UTILS + "_planner", utils("_planner"), pure=True),
    Room(UTILS + "_errors"),
)


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def room_of(name: str) -> Room | None:
    return next((room for room in ROOMS if within(name, room.prefix)), None)


def imported_names(node: ast.Import | ast.ImportFrom, root: Path) -> list[str]:
    """Absolute names that an import statement reaches, down to the file that it names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    names = []
    for alias in node.names:
        child = f"{node.module}.{alias.name}"
        path = root / child.removeprefix(HERE).replace(".", "/")
        is_file = child.startswith(HERE) and (path.with_suffix(".py").exists() or path.is_dir())
        names.append(child if is_file else str(node.module))
    return names


def wrong_import(name: str, room: Room) -> str | None:
    """Say what is wrong with importing `name` in `room`; None when it is allowed."""
    if name.startswith(HERE):
        target = name.removeprefix(HERE)
        allowed = any(within(target, prefix) for prefix in room.internal)
        return None if allowed else f"may not import {target}"
    top = name.partition(".")[0]
    if top in room.external:
        return None
    if top not in sys.stdlib_module_names:
        return f"may not import {name}"
    if room.pure and top not in PURE_STDLIB:
        return f"is pure and may not import {name}"
    return None


def wrong_call(node: ast.Call) -> str | None:
    """Say what is impure about a call; None when nothing is."""
    if isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
        return f"is pure and may not call {node.func.id}()"
    if isinstance(node.func, ast.Attribute) and node.func.attr in CLOCK_READS:
        return f"is pure and may not read a clock with .{node.func.attr}()"
    return None


def wrong_node(node: ast.AST, room: Room, root: Path) -> list[str]:
    """Everything wrong with one node of a file's syntax tree."""
    if isinstance(node, ast.ImportFrom) and node.level:
        return ["imports by a relative name; AnsiballZ and readers want the absolute one"]
    if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
        return [f"imports * from {node.module}"]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        wrongs = [wrong_import(name, room) for name in imported_names(node, root)]
        return [wrong for wrong in wrongs if wrong]
    if room.pure and isinstance(node, ast.Call):
        wrong = wrong_call(node)
        return [wrong] if wrong else []
    return []


def violations(root: Path) -> list[str]:
    """One sentence for each broken arrow below `root/plugins`: file:line, and what is wrong."""
    found = []
    for path in sorted((root / "plugins").rglob("*.py")):
        relative = path.relative_to(root)
        room = room_of(".".join(relative.with_suffix("").parts))
        if room is None:
            found.append(f"{relative}: belongs to no room; give it one in ROOMS, or move it")
            continue
        for node in ast.walk(ast.parse(path.read_text(), str(relative))):
            line = getattr(node, "lineno", 0)
            found += [f"{relative}:{line}: {wrong}" for wrong in wrong_node(node, room, root)]
    return found


def test_every_arrow_points_the_right_way():
    assert list((ROOT / "plugins").rglob("*.py")), "there is nothing to look at"
    assert violations(ROOT) == []


PLANNER = "plugins/module_utils/_planner/drain.py"
GATEWAY = "plugins/module_utils/_gateways/nova.py"
REPORT = "plugins/module_utils/_report/events.py"
MODULE = "plugins/modules/nova_drain.py"
ENGINE = "plugins/module_utils/_engine.py"
FILTER = "plugins/filter/drain_report.py"
ACTION = "plugins/action/nova_drain.py"
INTERNAL = f"from {HERE}{UTILS}"


@pytest.fixture
def house(tmp_path):
    """Write a house of one file beside the rooms' own; return its violations."""
    for name in ("_planner/model", "_planner/drain", "_gateways/clock", "_gateways/nova"):
        path = tmp_path / "plugins/module_utils" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def build(path: str, source: str) -> list[str]:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
        return violations(tmp_path)

    return build


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        (PLANNER, "import time", "pure and may not import time"),
        (PLANNER, "import os.path", "pure and may not import os.path"),
        (PLANNER, "from random import choice", "pure and may not import random"),
        (PLANNER, "def f():\n    import socket", "pure and may not import socket"),
        (PLANNER, "import openstack", "may not import openstack"),
        (PLANNER, "from ansible.module_utils import basic", "may not import ansible"),
        (PLANNER, f"{INTERNAL}_gateways import nova", "may not import plugins"),
        (PLANNER, f"{INTERNAL}_errors import DrainError", "may not import plugins"),
        (PLANNER, "open('x')", "may not call open()"),
        (PLANNER, "import datetime\ndatetime.datetime.now()", "clock with .now()"),
        (PLANNER, "from .model import Guest", "relative"),
        (PLANNER, f"{INTERNAL}_planner.model import *", "imports *"),
        (GATEWAY, f"{INTERNAL}_planner import drain", "may not import plugins"),
        (GATEWAY, f"{INTERNAL}_report import events", "may not import plugins"),
        (GATEWAY, "import requests", "may not import requests"),
        (REPORT, f"{INTERNAL}_gateways.clock import Clock", "may not import plugins"),
        (REPORT, f"{INTERNAL}_planner.drain import step", "may not import plugins"),
        (ENGINE, "import openstack", "may not import openstack"),
        (ENGINE, f"{INTERNAL}_report import events", "may not import plugins"),
        (FILTER, f"{INTERNAL}_planner.model import Guest", "may not import plugins"),
        (MODULE, "import openstack", "may not import openstack"),
        (MODULE, f"from {HERE}plugins.modules import nova_drain_info", "may not import plugins"),
        (ACTION, f"{INTERNAL}_gateways import nova", "may not import plugins"),
        (ACTION, f"{INTERNAL}_planner.model import Guest", "may not import plugins"),
        ("plugins/module_utils/_errors.py", f"{INTERNAL}_planner import model", "may not import"),
        ("plugins/module_utils/_attic.py", "", "belongs to no room"),
    ],
)
def test_a_violation_is_found(house, path, source, complaint):
    found = house(path, source)
    assert len(found) == 1, found
    assert found[0].startswith(path)
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (PLANNER, f"import dataclasses\n{INTERNAL}_planner.model import Guest"),
        (PLANNER, f"{INTERNAL}_planner import model"),
        (GATEWAY, f"import time\nimport openstack\n{INTERNAL}_planner.model import Guest"),
        (REPORT, f"import json\n{INTERNAL}_planner import model"),
        (
            MODULE,
            f"from ansible.module_utils import basic\n{INTERNAL}_planner import drain",
        ),
        (ACTION, f"{INTERNAL}_gateways.clock import Clock"),
    ],
)
def test_an_allowed_arrow_is_not_a_violation(house, path, source):
    assert house(path, source) == []
