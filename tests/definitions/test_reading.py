# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are read as oslo.config reads them: compared with it, on generated files."""

from __future__ import annotations

import json
import random
import subprocess
from dataclasses import dataclass, field, replace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._gateways import config
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_file import (
    BadLine,
    Configuration,
    parse,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_options import (
    BY_KEY,
)
from tests.definitions.conftest import RELEASES, ROOT

#: One option of each kind, some with aliases, some that others refer to.
OPTIONS = [
    BY_KEY[key]
    for key in (
        "DEFAULT.my_ip DEFAULT.max_concurrent_live_migrations"
        " DEFAULT.resume_guests_state_on_host_boot libvirt.live_migration_bandwidth"
        " libvirt.live_migration_downtime libvirt.live_migration_timeout_action"
        " libvirt.live_migration_inbound_addr libvirt.live_migration_uri libvirt.cpu_models"
        " libvirt.migration_inbound_addr vnc.enabled vnc.server_listen pci.device_spec"
        " filter_scheduler.hypervisor_version_weight_multiplier"
    ).split()
]
#: As on a host: Nova finds this address out by itself.
MY_IP = replace(OPTIONS[0], default="192.0.2.1")
OPTIONS[0] = MY_IP
RELEASE = 34
CASES = 400
VALUES = (
    "5 0 -1 +7 1_000 012 3.5 1e3 100 99 true False YES off on 1 maybe abort force_complete ABORT"
    " 192.0.2.7 2001:db8::7 192.0.2.300 host-1 host_1 -host a.b. 10 $my_ip ${my_ip}"
    " $vnc.server_listen ${libvirt.live_migration_downtime}x $$my_ip \\$my_ip a,b, a,,b"
    " 'x' \"x\" \"'x' '' \" x# ;x a=b a:b = : qemu+ssh://%s/system"
).split()
NOISE = ("", "   ", "# a comment", "; another", "\t", "#", "[other]", "[DEFAULT]")
SPOILT = ("no assignment", "[open", "[]", "= value", "  continues")


@dataclass
class Tree:
    """A host's configuration: texts by path, and how nova-compute is started."""

    files: list[str] | None
    directories: list[str] | None
    default_files: list[str]
    default_directories: list[str]
    texts: dict[str, str] = field(default_factory=dict)

    def arguments(self):
        return [
            *(word for path in self.files or () for word in ("--config-file", path)),
            *(word for path in self.directories or () for word in ("--config-dir", path)),
        ]


def value(chance, option):
    if chance.random() < 0.3:
        return chance.choice(option.kind.choices or ("7", "yes", "192.0.2.9"))
    texts = [chance.choice(VALUES) for _each in range(chance.choice((1, 1, 1, 2)))]
    text = chance.choice((",", " ", "  ")).join(texts)
    return chance.choice((text, f" {text} ", f"{text}\n  {chance.choice(VALUES)}", "", text))


def assignment(chance, option):
    group, name = chance.choice(((option.group, option.name), *option.aliases))
    if group != "DEFAULT":
        group = chance.choice((group, group, group.upper()))
    sign = chance.choice((" = ", "=", ": ", " : "))
    return f"[{group}]\n{name}{sign}{value(chance, option)}"


def file_text(chance):
    lines = [
        assignment(chance, chance.choice(OPTIONS)) for _each in range(chance.randint(0, 6))
    ] + [chance.choice(NOISE) for _each in range(chance.randint(0, 3))]
    if chance.random() < 0.04:
        lines.append(chance.choice(SPOILT))
    chance.shuffle(lines)
    return chance.choice(("\n", "\n", "\r\n")).join(lines) + chance.choice(("", "\n"))


def tree(chance, home):
    names = {
        "nova": home / "etc/nova/nova.conf",
        "compute": home / "etc/nova/nova-compute.conf",
        "first": home / "etc/nova/nova.conf.d/10.conf",
        "last": home / "etc/nova/nova.conf.d/90-x.conf",
        "other": home / "site/a.conf",
        "not": home / "etc/nova/nova.conf.d/20.conf.lowtide-before",
    }
    kept = {key: path for key, path in names.items() if chance.random() < 0.8}
    found = {str(path): file_text(chance) for path in kept.values()}
    files = [str(kept[key]) for key in ("nova", "compute") if key in kept]
    directories = [str(home / "etc/nova/nova.conf.d")]
    explicit = chance.choice((None, None, files))
    extra = chance.choice((None, None, directories, [str(home / "site"), *directories]))
    return Tree(explicit or None, extra, files, directories, found)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    chance = random.Random(20261120)
    made = []
    for at in range(CASES):
        home = tmp_path_factory.mktemp(f"case{at}")
        for name in ("etc/nova/nova.conf.d", "site"):
            (home / name).mkdir(parents=True)
        case = tree(chance, home)
        for path, text in case.texts.items():
            with open(path, "w", newline="") as file:
                file.write(text)
        made.append(case)
    return made


@pytest.fixture(scope="module")
def told(environments, cases):
    """What oslo.config reads in each of them."""
    rows = [
        {
            "group": option.group,
            "name": option.name,
            "kind": option.kind.name,
            "low": option.kind.low,
            "choices": option.kind.choices,
            "default": option.default,
            "aliases": option.aliases,
        }
        for option in OPTIONS
    ]
    given = [[c.arguments(), c.default_files, c.default_directories] for c in cases]
    ran = subprocess.run(
        [environments / RELEASES[-1] / "bin/python", "-I", ROOT / "tests/definitions/read.py"],
        input=json.dumps([rows, given]),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return json.loads(ran.stdout)


def ours(case, monkeypatch):
    """What we read; None when there is a line that cannot be read."""
    monkeypatch.setitem(BY_KEY, MY_IP.key, MY_IP)
    monkeypatch.setattr(
        config, "HOMES", (case.default_directories[0].removesuffix("/nova.conf.d"),)
    )
    order = config.reading_order(case.files, case.directories, "/nowhere/x.conf")
    try:
        files = tuple(parse(path, config.read(path)) for path in order.paths)
    except BadLine:
        return "unreadable"
    conf = Configuration(files, RELEASE)
    found = {}
    for option in OPTIONS:
        setting = conf.value(option)
        found[option.key] = {"error": True} if setting.problem else setting.value
    return found


def test_all_is_read_as_oslo_config_reads_it(cases, told, monkeypatch):
    wrong = {}
    for case, theirs in zip(cases, told, strict=True):
        found = ours(case, monkeypatch)
        if found != theirs:
            differs = (
                {key: (found[key], theirs[key]) for key in found if found[key] != theirs[key]}
                if isinstance(found, dict) and isinstance(theirs, dict)
                else (found, theirs)
            )
            wrong[case.default_directories[0]] = differs
    assert wrong == {}


def test_the_cases_are_worth_it(told):
    """Most can be read, some cannot; values of files, defaults and errors all occur."""
    readable = [found for found in told if found != "unreadable"]
    assert CASES * 0.6 < len(readable) < CASES
    values = [value for found in readable for value in found.values()]
    assert sum(value == {"error": True} for value in values) > 100
    assert sum(isinstance(value, bool) for value in values) > 100
    for option in OPTIONS:
        assert len({json.dumps(found[option.key]) for found in readable}) > 2, option.key
