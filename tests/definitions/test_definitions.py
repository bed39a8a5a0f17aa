# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of options says what each release of Nova says, and each takes what we write."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._gateways import config
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf import (
    RELEASES,
    Kind,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_file import (
    Configuration,
    render,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_options import (
    BY_KEY,
    TABLE,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_plan import (
    Wish,
    plan,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_profile import (
    OPTIONS,
    Settings,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_rules import (
    Host,
    Names,
)
from tests.definitions.conftest import RELEASES as VERSIONS
from tests.definitions.conftest import kept

#: Every setting that can be written, with a value that is not Nova's default.
ALL = Settings(
    link_gbit_s=25,
    inbound_addr="198.51.100.11",
    cold_inbound_addr="%s.migration.example",
    scheme="tls",
    downtime_ms=800,
    timeout_action="force_complete",
    parallel_connections=4,
    native_tls=True,
    monitor_interval_s=10,
    vif_plugging_timeout_s=200,
    shutdown_timeout_s=90,
    resume_guests_state_on_host_boot=True,
    enable_qemu_monitor_announce_self=True,
    skip_cpu_compare_on_dest=True,
    vnc_server_listen="198.51.100.11",
)
HOST = Host(frozenset({"198.51.100.11"}), (10, 1, 0))


@pytest.fixture(scope="session")
def defined(run):
    return lambda version: run(version, "define.py")


def number(version):
    return int(version.partition(".")[0])


def test_there_is_an_environment_for_each_release_that_is_known():
    assert [number(version) for version in VERSIONS] == sorted(RELEASES)


def test_the_release_is_known_from_the_program(environments, version):
    program = environments / version / "bin" / "nova-compute"
    found = config.installed(str(program))
    assert found.version == version
    assert found.python == str(environments / version / "bin" / "python")


def differences(option, said, release):
    """What Nova's definition of an option says that the table does not."""
    if said is None or not option.exists(release):
        return [] if said is None and not option.exists(release) else ["exists"]
    since = said["deprecated"]
    # The address and the name of the host on which this runs are nobody's default.
    of_host = said["of_host"] and option.default is None
    pairs = {
        "type": (said["type"], option.kind.name),
        "range": ((said["low"], said["high"]), (option.kind.low, option.kind.high)),
        "choices": (tuple(said["choices"]), option.kind.choices),
        "default": (None if of_host else said["default"], option.default_in(release)),
        "mutable": (said["mutable"], option.mutable),
        "deprecated": (since and number(since), option.deprecated),
        "aliases": ({tuple(old) for old in said["aliases"]}, set(option.aliases)),
    }
    return [
        f"{name}: {nova!r}, not {ours!r}" for name, (nova, ours) in pairs.items() if nova != ours
    ]


def test_the_table_says_what_nova_says(defined, version):
    release, said = number(version), defined(version)
    found = {option.key: differences(option, said.get(option.key), release) for option in TABLE}
    assert {key: wrong for key, wrong in found.items() if wrong} == {}
    assert len(found) > 80


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": Kind("Integer", 100)}, "range"),
        ({"kind": Kind("Float", 0)}, "type"),
        ({"default": 1}, "default"),
        ({"mutable": False}, "mutable"),
        ({"deprecated": 30}, "deprecated"),
        ({"since": 33}, "exists"),
        ({"aliases": (("libvirt", "x"),)}, "aliases"),
    ],
)
def test_a_table_that_says_otherwise_would_be_found(defined, change, told):
    option = BY_KEY["libvirt.live_migration_completion_timeout"]
    said = defined(VERSIONS[0])[option.key]
    (wrong,) = differences(replace(option, **change), said, number(VERSIONS[0]))
    assert wrong.startswith(told)


def test_no_option_about_live_migration_is_missing(defined, version):
    told = {key for key in defined(version) if "live_migration" in key}
    assert told <= set(BY_KEY)
    assert len(told) > 10


def test_every_mutable_option_that_we_write_is_known_as_such(defined, version):
    mutable = {key for key, row in defined(version).items() if row["mutable"]}
    ours = {key for key in OPTIONS.values() if BY_KEY[key].mutable}
    assert ours == mutable & set(OPTIONS.values())
    assert ours


def made_for(version, settings, options=None):
    wish = Wish("/etc/nova/nova.conf.d/x.conf", settings, options or {}, Names())
    return plan(wish, Configuration((), number(version)), HOST)


def problems(environments, version, tmp_path, text):
    path = tmp_path / "drop-in.conf"
    python = environments / version / "bin" / "python"

    def ask():
        path.write_text(text)
        return config.problems(str(python), str(path))

    return kept(environments, "\0".join((version, config.ASK, text)), ask)


def test_nova_takes_the_profile(environments, version, tmp_path):
    for settings in (Settings(), ALL):
        made = made_for(version, settings)
        assert made.faults == []
        text = render(made.lines, directory_made=False)
        assert problems(environments, version, tmp_path, text) == []


def test_what_a_release_has_not_is_not_written_and_told(defined, version):
    made = made_for(version, ALL)
    written = {line.key for line in made.lines}
    skipped = {row["option"] for row in made.unsupported}
    wanted = set(OPTIONS.values()) - {"libvirt.live_migration_tunnelled"}
    assert written | skipped == wanted
    assert not written & skipped
    assert written == wanted & set(defined(version))


def test_nova_takes_every_option_of_the_table(environments, version, tmp_path):
    """At its default, where it has one; what is deprecated would be complained of."""
    release = number(version)
    options: dict[str, dict[str, object]] = {}
    for option in TABLE:
        default = option.default_in(release)
        if default is not None and option.exists(release) and not option.deprecated:
            options.setdefault(option.group, {})[option.name] = default
    made = made_for(version, None, options)
    assert made.faults == []
    text = render(made.lines, directory_made=False)
    assert problems(environments, version, tmp_path, text) == []


def test_nova_complains_of_what_is_wrong(environments, version, tmp_path):
    """Its word would be worth nothing if it took everything."""
    text = (
        "[libvirt]\nlive_migration_downtime = 5\nlive_migration_downtimes = 500\n"
        "live_migration_bandwidth = much\ncpu_model = core2duo\n"
    )
    told = {
        (row["severity"], row["option"]) for row in problems(environments, version, tmp_path, text)
    }
    assert told == {
        ("error", "libvirt.live_migration_downtime"),
        ("error", "libvirt.live_migration_downtimes"),
        ("error", "libvirt.live_migration_bandwidth"),
        ("warning", "libvirt.cpu_model"),
    }
