# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files by which a long run is read and ended: one run at a time, no half-written words."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import SystemClock
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.control import RunFiles


@pytest.fixture
def files(tmp_path):
    """``files()``: another pair of eyes on the same two files."""
    return lambda: RunFiles(str(tmp_path / "found.json"), "status_path", SystemClock())


@pytest.fixture
def run(files):
    """A run that lives; whoever removed its control file has ended it."""
    mine = files()
    assert mine.claim()
    yield mine
    if mine._held >= 0:
        mine.release()


def test_a_run_is_seen_for_as_long_as_it_lives(files):
    mine = files()
    assert files().runner() is None
    assert mine.claim()
    assert files().runner() == os.getpid()
    assert mine.stands()
    mine.release()
    assert files().runner() is None
    assert not os.path.exists(mine.control)


def test_there_is_one_run_at_a_time(files, run):
    assert not files().claim()
    assert run.stands()
    assert files().runner() == os.getpid()


def test_a_killed_run_holds_nobody_up(files):
    script = (
        "import os, sys, signal\n"
        "from ansible_collections.lowtide.compute.plugins.module_utils._gateways import clock\n"
        "from ansible_collections.lowtide.compute.plugins.module_utils._gateways import control\n"
        "run = control.RunFiles(sys.argv[1], 'status_path', clock.SystemClock())\n"
        "assert run.claim()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, files().path], check=False)
    assert os.path.exists(files().control)
    assert files().runner() is None
    assert files().end(0)
    mine = files()
    assert mine.claim()
    mine.release()


def test_whoever_removes_the_control_file_asks_for_the_end(run):
    os.unlink(run.control)
    assert not run.stands()


def test_a_control_file_that_was_replaced_is_not_ours(run, files):
    os.unlink(run.control)
    another = files()
    assert another.claim()
    assert not run.stands()
    run.release()
    assert another.stands()
    another.release()


def test_the_end_is_waited_for(run, files):
    def let_go():
        while run.stands():
            pass
        run.write({"last": "words"})
        run.release()

    thread = threading.Thread(target=let_go)
    thread.start()
    assert files().end(10)
    assert files().read() == {"last": "words"}
    thread.join()


def test_a_run_that_does_not_end_is_told_of(run, files):
    assert not files().end(0.1)


def test_what_is_written_is_read_and_nobody_elses(files):
    files().write({"guests": []})
    assert files().read() == {"guests": []}
    assert stat.S_IMODE(os.stat(files().path).st_mode) == 0o600
    assert os.listdir(os.path.dirname(files().path)) == ["found.json"]


def test_a_reader_never_sees_half_a_file(files):
    big = {"guests": ["x" * 100] * 2000}
    files().write(big)
    stop = threading.Event()

    def rewrite():
        while not stop.is_set():
            files().write(big)

    thread = threading.Thread(target=rewrite)
    thread.start()
    for _each in range(100):
        assert files().read() == big
    stop.set()
    thread.join()


def test_nothing_is_there_yet(files):
    assert files().read() is None
    assert files().end(0)


@pytest.mark.parametrize("text", ["", "no json", "[1]"])
def test_a_file_of_another_kind_is_refused(files, text):
    with open(files().path, "w") as file:
        file.write(text)
    with pytest.raises(BadOption, match=r"status_path: .* is not a status file"):
        files().read()


def test_a_directory_that_does_not_exist_is_named(tmp_path):
    mine = RunFiles(str(tmp_path / "not" / "there.json"), "status_path", SystemClock())
    for use in (mine.claim, lambda: mine.write({})):
        with pytest.raises(BadOption, match="lies in a directory that does not exist"):
            use()


@pytest.mark.parametrize("suffix", ["", ".run"])
def test_a_link_is_not_followed(files, tmp_path, suffix):
    victim = tmp_path / "victim"
    victim.write_text(json.dumps({"guests": []}))
    os.symlink(victim, files().path + suffix)
    use = files().claim if suffix else files().read
    with pytest.raises(BadOption, match="symbolic links"):
        use()
    assert victim.read_text() == '{"guests": []}'


def test_another_users_file_is_refused(files, monkeypatch):
    files().write({"guests": []})
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(BadOption, match="belongs to the user with ID"):
        files().read()
