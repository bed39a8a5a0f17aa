# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""reversible_files on real files: written, shown, noted, and taken back to the byte."""

from __future__ import annotations

import os
import stat

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import files
from ansible_collections.lowtide.compute.plugins.module_utils._kept import keep

PEM = "-----BEGIN PRIVATE KEY-----\nabc\n"


class Host:
    """A directory in the place of a host's root."""

    def __init__(self, root):
        self.root = root
        self.record = root / "var" / "record"
        self.warnings = []

    def row(self, path, **fields):
        empty = dict.fromkeys(("content", "secret", "block", "mode", "owner", "group"))
        return empty | {"path": str(self.root / path)} | fields

    def run(self, *rows, directories=(), state="present", check=False):
        params = {
            "state": state,
            "record": str(self.record),
            "marker": "lowtide.compute",
            "directories": list(directories),
            "files": list(rows),
        }
        return keep(params, check, self.warnings.append)

    def tree(self):
        """Everything below etc: text or link, and mode."""
        found = {}
        for path in sorted((self.root / "etc").rglob("*")):
            status = path.lstat()
            body = os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
            found[str(path)] = (body, stat.S_IMODE(status.st_mode))
        return found


@pytest.fixture
def host(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "qemu.conf").write_bytes(b"user = 'r\xe9mi'\n# no end of line")
    (tmp_path / "etc" / "qemu.conf").chmod(0o600)
    (tmp_path / "etc" / "old.pem").symlink_to("elsewhere")
    return Host(tmp_path)


def everything(host):
    return [
        host.row("etc/pki/qemu/key.pem", secret=PEM, mode="0640"),
        host.row("etc/old.pem", content="new\n"),
        host.row("etc/qemu.conf", block="x = 1"),
    ]


def test_everything_is_written_once_and_taken_back_to_the_byte(host):
    before = host.tree()
    told = host.run(*everything(host))
    assert told["changed"]
    assert [row["action"] for row in told["files"]] == ["create", "replace", "replace"]
    key = host.root / "etc/pki/qemu/key.pem"
    assert (key.read_text(), stat.S_IMODE(key.stat().st_mode)) == (PEM, 0o640)
    assert (host.root / "etc/qemu.conf").read_bytes().startswith(b"# BEGIN lowtide.compute\nx = 1")
    assert stat.S_IMODE((host.root / "etc/qemu.conf").stat().st_mode) == 0o600
    assert not host.run(*everything(host))["changed"]
    assert host.run(state="absent")["changed"]
    assert host.tree() == before
    assert not host.run(state="absent")["changed"]


def test_check_mode_tells_the_same_and_writes_nothing(host):
    before = host.tree()
    planned = host.run(*everything(host), check=True)
    assert host.tree() == before
    assert not host.record.exists()
    done = host.run(*everything(host))
    assert [row["action"] for row in planned["files"]] == [row["action"] for row in done["files"]]
    assert planned["diff"] == done["diff"]
    there = host.tree()
    assert host.run(state="absent", check=True)["changed"]
    assert host.tree() == there


def test_no_secret_is_shown(host):
    told = host.run(*everything(host))
    assert "PRIVATE" not in str(told)
    assert "PRIVATE" not in host.record.joinpath("record.json").read_text()
    other = [host.row("etc/pki/qemu/key.pem", secret="other"), *everything(host)[1:]]
    told = host.run(*other)
    (diff,) = told["diff"]
    assert diff["before"] != diff["after"]
    assert "other" not in str(diff)
    assert stat.S_IMODE(host.record.stat().st_mode) == 0o700


def test_what_is_no_longer_asked_for_goes_back(host):
    before = host.tree()
    host.run(*everything(host))
    told = host.run(everything(host)[2])
    assert {row["path"].rpartition("/")[2]: row["action"] for row in told["files"]} == {
        "qemu.conf": "none",
        "old.pem": "replace",
        "key.pem": "remove",
    }
    host.run(state="absent")
    assert host.tree() == before


def test_what_somebody_else_wrote_meanwhile_is_left_and_told(host):
    host.run(*everything(host))
    (host.root / "etc/old.pem").write_text("theirs")
    told = host.run(state="absent")
    assert (host.root / "etc/old.pem").read_text() == "theirs"
    assert "left" in told["msg"]
    assert "old.pem" in host.warnings[0]


def test_a_directory_in_which_others_put_something_stays(host):
    host.run(*everything(host))
    (host.root / "etc/pki/qemu/theirs").touch()
    host.run(state="absent")
    assert [path.name for path in (host.root / "etc/pki/qemu").iterdir()] == ["theirs"]
    (host.root / "etc/pki/qemu/theirs").unlink()
    host.run(state="absent")
    assert not (host.root / "etc/pki").exists()


def test_directories_get_the_mode_that_is_asked_for(host):
    row = {"path": str(host.root / "etc/pki/qemu"), "mode": "0750", "owner": None, "group": None}
    host.run(everything(host)[0], directories=[row])
    assert stat.S_IMODE((host.root / "etc/pki/qemu").stat().st_mode) == 0o750
    assert stat.S_IMODE((host.root / "etc/pki").stat().st_mode) == 0o755


def test_lines_go_into_the_file_that_a_link_points_to(host):
    real = host.root / "etc/real.conf"
    real.write_text("y = 2\n")
    (host.root / "etc/link.conf").symlink_to(real)
    before = host.tree()
    host.run(host.row("etc/link.conf", block="x = 1"))
    assert (host.root / "etc/link.conf").is_symlink()
    assert "x = 1" in real.read_text()
    host.run(state="absent")
    assert host.tree() == before


def test_when_a_file_was_changed_is_told_until_the_host_boots(host, monkeypatch):
    began = files.now_us()
    (row,) = host.run(everything(host)[2])["files"]
    assert began <= row["changed_us"] <= files.now_us()
    (again,) = host.run(everything(host)[2])["files"]
    assert again["changed_us"] == row["changed_us"]
    monkeypatch.setattr(files, "this_boot", lambda: "another")
    (later,) = host.run(everything(host)[2])["files"]
    assert later["changed_us"] == 0


def test_a_run_that_was_killed_before_it_wrote_is_taken_back(host, monkeypatch):
    before = host.tree()

    def killed(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "write", _only_the_record(files.write, killed))
    with pytest.raises(KeyboardInterrupt):
        host.run(host.row("etc/old.pem", content="new\n"))
    monkeypatch.undo()
    assert not host.run(state="absent")["changed"]
    assert host.tree() == before


def _only_the_record(write, otherwise):
    return lambda path, file: (write if path.endswith(files.RECORD) else otherwise)(path, file)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"path": "relative", "content": ""}, "is not absolute"),
        ({"content": "", "mode": "rw"}, "no octal mode"),
        ({"content": "", "owner": "nobody-like-this"}, "is no user of this host"),
        ({"content": "", "group": "nobody-like-this"}, "is no group of this host"),
    ],
)
def test_what_no_host_can_have_is_refused_before_anything_is_written(host, fields, said):
    before = host.tree()
    bad = host.row("etc/bad") | fields
    with pytest.raises(BadOption, match=said):
        host.run(everything(host)[0], bad)
    assert host.tree() == before


def test_a_file_that_is_given_twice_is_refused(host):
    with pytest.raises(BadOption, match="is there twice"):
        host.run(everything(host)[0], everything(host)[0])


def test_owners_may_be_numbers(host):
    row = host.row("etc/new", content="x", owner=str(os.getuid()), group=str(os.getgid()))
    assert host.run(row)["files"][0]["action"] == "create"


def test_a_record_that_is_none_is_refused(host):
    host.record.mkdir(parents=True)
    (host.record / "record.json").write_text("[]")
    with pytest.raises(BadOption, match="is no record"):
        host.run(everything(host)[0])


def test_what_the_system_refuses_names_the_file(host):
    (host.root / "etc/pki").write_text("no directory")
    with pytest.raises(BadOption, match="etc/pki"):
        host.run(everything(host)[0])


def test_a_directory_is_no_file(host):
    (host.root / "etc/dir").mkdir()
    with pytest.raises(BadOption, match="cannot be read"):
        host.run(host.row("etc/dir", content="x"))
