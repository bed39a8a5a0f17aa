# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files are read in which order, the drop-in's file, and who runs nova-compute."""

from __future__ import annotations

import os
import stat
import sys

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadConfiguration,
    BadOption,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import config


@pytest.fixture
def etc(tmp_path, monkeypatch):
    """An /etc with Nova's files, which oslo.config's defaults name."""
    home = tmp_path / "etc"
    (home / "nova/nova.conf.d").mkdir(parents=True)
    for name in ("nova/nova.conf", "nova-compute.conf", "nova/nova.conf.d/50.conf"):
        (home / name).write_text("[DEFAULT]\n")
    (home / "nova/nova.conf.d/.hidden.conf").touch()
    (home / "nova/nova.conf.d/60.conf.lowtide-before").touch()
    monkeypatch.setattr(config, "HOMES", (str(home / "nova"), str(home)))
    return home


def order(etc, files, directories, drop_in):
    found = config.reading_order(files, directories, str(etc / drop_in))
    return [os.path.relpath(path, etc) for path in found.paths], found.reads


DROP_IN = "nova/nova.conf.d/90.conf"


def test_by_default_the_directory_comes_last(etc):
    paths = ["nova/nova.conf", "nova-compute.conf", "nova/nova.conf.d/50.conf", DROP_IN]
    assert order(etc, None, None, DROP_IN) == (paths, True)


def test_an_explicit_file_comes_after_the_default_directory(etc):
    main = str(etc / "nova/nova.conf")
    paths = ["nova/nova.conf.d/50.conf", DROP_IN, "nova/nova.conf"]
    assert order(etc, [main], None, DROP_IN) == (paths, True)


def test_an_explicit_directory_comes_last(etc):
    main, directory = str(etc / "nova/nova.conf"), str(etc / "nova/nova.conf.d/")
    paths = ["nova/nova.conf", "nova/nova.conf.d/50.conf", DROP_IN]
    assert order(etc, [main], [directory], DROP_IN) == (paths, True)


def test_a_directory_that_will_be_made_is_read(etc):
    drop_in = "nova/nova-compute.conf.d/10.conf"
    assert order(etc, None, None, drop_in)[1] is True
    assert order(etc, [], [str(etc / "new")], "new/x.conf") == (["new/x.conf"], True)


@pytest.mark.parametrize("path", ["elsewhere/x.conf", f"{DROP_IN}.off", "nova/nova.conf.d/.x.conf"])
def test_a_path_may_not_be_read(etc, path):
    assert order(etc, None, None, path)[1] is False


def test_without_a_word_nobody_knows(etc):
    assert order(etc, [], [], DROP_IN) == ([], None)


def test_a_file_that_is_read_twice_counts_once(etc):
    inside, directory = str(etc / "nova/nova.conf.d/50.conf"), str(etc / "nova/nova.conf.d")
    assert order(etc, [inside], [directory], "nova/x.conf")[0] == ["nova/nova.conf.d/50.conf"]


def test_a_file_of_the_command_line_must_be_there(etc):
    with pytest.raises(BadOption, match=r"config_files.*is not a file"):
        order(etc, [str(etc / "none.conf")], None, DROP_IN)
    assert order(etc, [str(etc / "none.conf")], [], "none.conf") == (["none.conf"], True)


def test_a_file_is_read_as_it_is(tmp_path):
    path = tmp_path / "x.conf"
    path.write_bytes(b"a\r\nb\xff")
    assert config.read(str(path)) == "a\r\nb\udcff"
    assert config.read(str(tmp_path / "none")) is None
    with pytest.raises(BadConfiguration, match="Is a directory"):
        config.read(str(tmp_path))


# --- the drop-in ---------------------------------------------------------------------------------


@pytest.fixture
def drop_in(tmp_path):
    (tmp_path / "conf.d").mkdir()
    return config.DropIn(str(tmp_path / "conf.d/90.conf"))


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_new_file_is_like_nova_s(drop_in, tmp_path):
    like = tmp_path / "nova.conf"
    like.touch()
    like.chmod(0o604)
    assert drop_in.text() is None
    drop_in.write("a", [str(tmp_path / "none"), str(like)])
    assert (drop_in.text(), mode(drop_in.path)) == ("a", 0o604)
    os.chmod(drop_in.path, 0o600)
    drop_in.write("b", [str(like)])
    assert (drop_in.text(), mode(drop_in.path)) == ("b", 0o600)
    assert os.listdir(drop_in.directory) == ["90.conf"]


def test_a_file_like_none_is_for_its_group(drop_in):
    drop_in.write("a", [])
    assert mode(drop_in.path) == 0o640


def test_the_directory_is_made_and_removed(tmp_path):
    drop_in = config.DropIn(str(tmp_path / "nova.conf.d/90.conf"))
    assert drop_in.directory_missing()
    tmp_path.chmod(0o750)
    drop_in.write("a", [])
    assert mode(drop_in.directory) == 0o750
    assert not drop_in.directory_missing()
    drop_in.restore(directory_made=True)
    assert os.listdir(tmp_path) == []


def test_a_directory_that_others_use_stays(drop_in):
    drop_in.write("a", [])
    other = os.path.join(drop_in.directory, "other.conf")
    open(other, "w").close()
    drop_in.restore(directory_made=True)
    assert os.listdir(drop_in.directory) == ["other.conf"]
    os.unlink(other)
    drop_in.write("a", [])
    drop_in.restore(directory_made=False)
    assert os.listdir(drop_in.directory) == []


def test_what_was_there_comes_back_as_it_was(drop_in):
    with open(drop_in.path, "wb") as file:
        file.write(b"[a]\r\nb = \xff\n")
    os.chmod(drop_in.path, 0o604)
    before = os.stat(drop_in.path)
    assert drop_in.text_before() is None
    assert drop_in.keep() == drop_in.keep() == f"{drop_in.path}.lowtide-before"
    drop_in.write("mine", [])
    assert drop_in.text_before() == "[a]\r\nb = \udcff\n"
    drop_in.restore(directory_made=False)
    after = os.stat(drop_in.path)
    assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_mode,
    )
    assert os.listdir(drop_in.directory) == ["90.conf"]


def test_two_foreign_files_are_one_too_many(drop_in):
    for path in (drop_in.path, drop_in.before):
        open(path, "w").close()
    with pytest.raises(BadOption, match="was not written by this module"):
        drop_in.keep()


def test_only_a_plain_file_can_be_a_drop_in(drop_in, tmp_path):
    os.symlink("/etc/hostname", drop_in.path)
    with pytest.raises(BadOption, match="not a plain file"):
        drop_in.text()
    os.unlink(drop_in.path)
    os.mkdir(drop_in.path)
    with pytest.raises(BadOption, match="not a plain file"):
        drop_in.text()
    with pytest.raises(BadOption, match="below a directory that does not exist"):
        config.DropIn(str(tmp_path / "a/b/c.conf")).directory_missing()


# --- who runs nova-compute -----------------------------------------------------------------------


def program(tmp_path, text):
    path = tmp_path / "nova-compute"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("head", "python"),
    [
        ("#!/usr/bin/python3\n", "/usr/bin/python3"),
        ("#! /opt/nova/bin/python3.11 -I\n", "/opt/nova/bin/python3.11"),
        ("#!/bin/sh\n'''exec' \"/a b/python\" \"$0\" \"$@\"\n' '''\n", "/a b/python"),
        ("#!/bin/sh\n'''exec' /a/python3 \"$0\" \"$@\"\n' '''\n", "/a/python3"),
        ("#!/bin/sh\nexec docker run nova\n", None),
        ("#!/bin/bash\n", None),
        ("#!/bin/sh", None),
        ("#!/usr/bin/env\n", None),
        ("\x7fELF", None),
        ("", None),
    ],
)
def test_the_python_is_in_the_first_lines(tmp_path, head, python):
    assert config._interpreter(program(tmp_path, head)) == python


def test_the_python_may_be_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable), prepend=os.pathsep)
    name = os.path.basename(sys.executable)
    found = config._interpreter(program(tmp_path, f"#!/usr/bin/env -S {name}\n"))
    assert os.path.samefile(found, sys.executable)


def test_without_nova_there_is_no_version(tmp_path):
    assert config.installed(str(tmp_path / "none")) is None
    assert config.installed(program(tmp_path, "#!/bin/sh\n")) is None
    # This Python has no nova.
    assert config.installed(program(tmp_path, f"#!{sys.executable}\n")) is None
    assert config.installed(program(tmp_path, "#!/nowhere/python3\n")) is None


def test_without_oslo_config_nothing_is_validated(tmp_path):
    (tmp_path / "x.conf").touch()
    assert config.problems(sys.executable, str(tmp_path / "x.conf")) is None
    with pytest.raises(BadConfiguration, match="no answer"):
        config.problems("/nowhere/python3", str(tmp_path / "x.conf"))


def test_qemu_is_asked_for_its_version(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "QEMUS", (str(tmp_path / "none"), str(tmp_path / "nova-compute")))
    assert config.qemu_version() == ""
    program(tmp_path, "#!/bin/sh\necho QEMU emulator version 7.2.22 '(Debian 1:7.2+dfsg-7)'\n")
    assert config.qemu_version() == "7.2.22"
    program(tmp_path, "#!/bin/sh\necho something else\n")
    assert config.qemu_version() == ""
