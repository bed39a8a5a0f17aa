# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nova_config and nova_config_info on a host's files: what they write, return and refuse."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadConfiguration,
    BadOption,
    BadOptions,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import config
from ansible_collections.lowtide.compute.plugins.module_utils._host_module import HostTask
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_options import (
    TABLE,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_profile import (
    Settings,
)
from ansible_collections.lowtide.compute.plugins.modules import nova_config, nova_config_info

MAIN = "[DEFAULT]\nmy_ip = 192.0.2.7\n[libvirt]\ncpu_mode = custom\n"


def with_defaults(spec, given):
    """Options as Ansible hands them over."""
    found = {name: given.get(name, row.get("default")) for name, row in spec.items()}
    if found.get("settings") is not None:
        found["settings"] = with_defaults(nova_config.SETTINGS, found["settings"])
    return found


class Hypervisor:
    """A host with Nova's files below a directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.main = home / "nova.conf"
        self.main.write_text(MAIN)
        self.main.chmod(0o640)
        self.drop_in = home / "nova.conf.d/90-lowtide-migration.conf"
        self.warnings: list[str] = []

    def params(self, spec, **given):
        here = {
            "path": str(self.drop_in),
            "release": "33",
            "config_files": [str(self.main)],
            "config_dirs": [str(self.drop_in.parent)],
            "nova_compute": "/nowhere/nova-compute",
            "qemu_version": "7.2.0",
        }
        return with_defaults(spec, here | given)

    def run(self, check_mode=False, **given):
        self.warnings.clear()
        params = self.params(nova_config.SPEC, **given)
        return nova_config.handle(HostTask(params, check_mode, self.warnings.append))

    def info(self, **given):
        params = self.params(nova_config_info.SPEC, **given)
        return nova_config_info.handle(HostTask(params, False, self.warnings.append))

    def digest(self):
        """Everything below the directory: names, modes and contents."""
        found = hashlib.sha256()
        for path in sorted(self.home.rglob("*")):
            text = path.read_bytes() if path.is_file() else b""
            found.update(f"{path} {path.stat().st_mode} ".encode() + text)
        return found.hexdigest()


@pytest.fixture
def host(tmp_path):
    return Hypervisor(tmp_path)


def test_the_settings_are_the_planner_s():
    defaults = {field.name: field.default for field in fields(Settings)}
    assert {name: row.get("default") for name, row in nova_config.SETTINGS.items()} == defaults


def documented(module):
    return set(yaml.safe_load(module.RETURN)) - {"code", "remedy", "faults"}


def test_return_says_what_is_returned(host):
    assert set(host.run(settings={})) - {"changed", "diff"} == documented(nova_config)
    assert set(host.run(state="absent")) - {"changed", "diff"} == documented(nova_config)
    assert set(host.info()) - {"changed"} == documented(nova_config_info)


def test_ansible_takes_no_result_for_its_own(host):
    """A task is shown as skipped for a field of that name."""
    ours = {"skipped", "failed", "unreachable", "rc", "results", "ansible_facts"}
    assert not ours & (set(host.run(settings={})) | set(host.info()))


def test_the_profile_is_written_once(host):
    first = host.run(settings={}, options={"libvirt": {"cpu_models": ["EPYC"]}})
    assert first["changed"]
    assert first["restart"][0] == "DEFAULT.max_concurrent_live_migrations"
    assert first["reload"] == ["libvirt.live_migration_completion_timeout"]
    assert "a restart for" in first["msg"]
    assert first["sections"]["libvirt"]["live_migration_bandwidth"] == "417"
    effective = first["effective"]["libvirt"]
    assert effective["live_migration_bandwidth"] == {"value": 417, "source": str(host.drop_in)}
    assert effective["cpu_mode"] == {"value": "custom", "source": str(host.main)}
    assert host.drop_in.stat().st_mode & 0o777 == 0o640
    again = host.run(settings={}, options={"libvirt": {"cpu_models": "EPYC"}})
    assert (again["changed"], again["restart"], again["reload"]) == (False, [], [])
    assert again["msg"].endswith("as it should be")
    assert again["effective"] == first["effective"]


def test_check_mode_says_the_same_and_writes_nothing(host):
    before = host.digest()
    told = host.run(check_mode=True, settings={})
    assert host.digest() == before
    done = host.run(settings={})
    assert told == done
    assert done["diff"]["after"] == host.drop_in.read_text()
    assert done["diff"]["before"] == ""
    written = host.digest()
    assert host.run(check_mode=True, state="absent")["changed"]
    assert host.digest() == written


def test_absent_leaves_nothing_behind(host):
    before = host.digest()
    host.run(settings={})
    gone = host.run(state="absent")
    assert gone["changed"]
    assert "removed" in gone["msg"]
    assert "libvirt.live_migration_bandwidth" in gone["restart"]
    assert host.digest() == before
    again = host.run(state="absent")
    assert (again["changed"], again["restart"], again["diff"]["before"]) == (False, [], "")


def test_what_another_wrote_there_comes_back(host):
    host.drop_in.parent.mkdir()
    theirs = "[libvirt]\nlive_migration_downtime = 900\n[DEFAULT]\ntransport_url = rabbit://u:p@h\n"
    host.drop_in.write_text(theirs)
    host.drop_in.chmod(0o600)
    before = host.digest()
    done = host.run(settings={})
    assert done["backup"] == f"{host.drop_in}.lowtide-before"
    assert "u:p" not in str(done["diff"])
    assert host.drop_in.stat().st_mode & 0o777 == 0o600
    assert host.run(settings={"downtime_ms": 700})["backup"] == ""
    back = host.run(state="absent")
    assert "written" in back["msg"]
    assert host.digest() == before
    # What was there before is not ours to remove.
    assert not host.run(state="absent")["changed"]
    assert len(host.warnings) == 1


def test_even_what_cannot_be_read_comes_back(host):
    host.drop_in.parent.mkdir()
    host.run(settings={})
    before = host.drop_in.with_name(f"{host.drop_in.name}.lowtide-before")
    before.write_bytes(b"nonsense \xff\n")
    host.run(state="absent")
    assert host.drop_in.read_bytes() == b"nonsense \xff\n"


def test_a_directory_that_was_there_stays(host):
    host.drop_in.parent.mkdir()
    before = host.digest()
    host.run(settings={})
    host.run(state="absent")
    assert host.digest() == before


def test_nothing_is_written_when_something_is_wrong(host):
    before = host.digest()
    with pytest.raises(BadOptions) as raised:
        host.run(
            settings={"concurrent": 0, "downtime_ms": 7, "inbound_addr": "192.0.2.9"},
            host_addresses=["192.0.2.7"],
            prefix="nova_migration_",
        )
    assert host.digest() == before
    faults = raised.value.details["faults"]
    assert sorted(fault["option"] for fault in faults) == [
        "nova_migration_concurrent",
        "nova_migration_downtime_ms",
        "nova_migration_inbound_addr",
    ]
    assert all(fault["remedy"] for fault in faults)
    assert "(nova/compute/manager.py)" in str(raised.value)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"options": {"libvirt": 5}}, "options.libvirt.*is no dictionary"),
        ({"qemu_version": "new"}, "qemu_version.*is no version"),
        ({"release": "latest"}, r"release.*is no release.*2026\.1"),
        ({"release": "auto"}, "release.*there is no Nova here"),
        ({"config_files": ["/nowhere/nova.conf"]}, "config_files.*is not a file"),
        (
            {"path": "/nowhere/at/all/x.conf", "config_dirs": ["/nowhere/at/all"]},
            "below a directory that does not exist",
        ),
    ],
)
def test_what_cannot_be_used_is_named(host, given, why):
    with pytest.raises(BadOption, match=why):
        host.run(**{"settings": {}} | given)


def test_a_path_that_nova_does_not_read_is_named(host):
    with pytest.raises(BadOptions, match=r"path.*is not read by nova-compute"):
        host.run(settings={}, path=str(host.home / "x.conf"))
    done = host.run(settings={}, path=str(host.home / "x.conf"), config_files=[], config_dirs=[])
    assert done["changed"]


def test_a_file_that_nova_could_not_read_is_named(host):
    host.main.write_text("[DEFAULT]\nnonsense\n")
    with pytest.raises(BadConfiguration, match=r"nova\.conf, line 2: neither"):
        host.run(settings={})


def test_what_hurts_less_is_a_warning(host):
    host.run(settings={"bandwidth_mib_s": 0})
    (warning,) = host.warnings
    assert warning.startswith("settings.bandwidth_mib_s: 0 sets no limit")


def test_null_is_as_if_it_was_not_said(host):
    done = host.run(settings={"downtime_ms": None, "concurrent": None})
    assert done["sections"]["libvirt"]["live_migration_downtime"] == "500"


def test_the_release_is_that_of_the_package(host, monkeypatch):
    found = config.Installed("/usr/bin/python3", "31.0.1")
    monkeypatch.setattr(config, "installed", lambda program: found)
    done = host.run(settings={}, release="auto")
    assert (done["release"], done["version"]) == (31, "31.0.1")


# --- nova_config_info ----------------------------------------------------------------------------


def test_info_tells_what_is_in_force(host):
    told = host.info()
    assert (told["written"], told["validated"], told["problems"]) == (False, False, [])
    assert told["files"] == [str(host.main)]
    assert told["msg"] == "nova 33, 1 files, 0 problems"
    host.run(settings={})
    told = host.info()
    assert told["written"]
    assert told["files"] == [str(host.main), str(host.drop_in)]
    assert told["effective"]["libvirt"]["live_migration_bandwidth"]["value"] == 417


def test_info_asks_nova_and_looks_for_itself(host, monkeypatch):
    host.run(settings={})
    host.main.write_text(MAIN + "[vnc]\nenabled = perhaps\n")
    monkeypatch.setattr(config, "installed", lambda program: config.Installed("python", "33.0.2"))
    found = {"severity": "warning", "option": "libvirt.x", "text": "deprecated"}
    monkeypatch.setattr(config, "problems", lambda python, path: [found])
    told = host.info(release="auto")
    assert told["validated"]
    assert [row["option"] for row in told["problems"]] == ["libvirt.x", "vnc.enabled"]
    assert told["problems"][1]["text"] == f"{host.main}: 'perhaps' is not true or false"
    monkeypatch.setattr(config, "problems", lambda python, path: None)
    assert not host.info()["validated"]


def test_a_program_of_this_python_has_no_nova(host, tmp_path):
    program = tmp_path / "nova-compute"
    program.write_text(f"#!{sys.executable}\n")
    program.chmod(0o755)
    with pytest.raises(BadOption, match="there is no Nova here"):
        host.info(release="auto", nova_compute=os.fspath(program))


# --- docs/nova_conf.md ---------------------------------------------------------------------------

PAGE = (Path(__file__).parents[4] / "docs/nova_conf.md").read_text()


def rows(heading):
    section = re.split(r"\n## ", PAGE.partition(heading)[2])[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_has_the_table():
    found = {row[0].strip("`"): row[1:] for row in rows("\n## The options")[1:]}
    assert list(found) == [option.key for option in TABLE]
    for option in TABLE:
        allowed, _default, releases, service, needs, why = found[option.key]
        assert (allowed, service, why) == (option.allowed(), option.service, option.why)
        assert needs == ("SIGHUP" if option.mutable else "restart")
        for number, words in ((option.until, "gone"), (option.deprecated, "deprecated")):
            assert (f"{words} since {number}.0.0" in releases) == (number is not None)
        assert (option.since is None) == ("from" not in releases)


def test_the_page_computes_as_the_planner_does():
    found = {row[0]: row[2:] for row in rows("## How the profile")}
    links = [Settings(link_gbit_s=speed) for speed in (1, 10, 25)]
    by_name = {
        "MiB/s of the link": [round(link.link_mib_s()) for link in links],
        "`bandwidth_mib_s`, of each migration": [link.bandwidth() for link in links],
        "`downtime_delay_s`, per GiB": [link.delay_s() for link in links],
        "full downtime after, per GiB": [f"{link.growth_s_per_gib()} s" for link in links],
        "`completion_timeout_s_per_gib`": [link.timeout_s_per_gib() for link in links],
    }
    for name, values in by_name.items():
        assert found[name] == [str(value) for value in values], name
