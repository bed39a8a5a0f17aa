# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe's options, its loop on an fping that is a script, and how it is started and ended."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
import yaml

from ansible_collections.lowtide.compute.plugins.module_utils import _probe
from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    NotFound,
    ProbeFailed,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import pinger
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import SystemClock
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.control import RunFiles
from ansible_collections.lowtide.compute.plugins.modules import reachability_probe as module

CLOCK = SystemClock()


def guest(number=1, **given):
    return {
        "id": f"id-{number}",
        "name": None,
        "address": f"127.0.0.{number}",
        "port": None,
    } | given


# --- options -----------------------------------------------------------------------------


def test_a_guest_without_a_name_is_called_by_its_id():
    (found,) = _probe.targets([guest(2)], 50)
    assert (found.name, found.place) == ("id-2", "127.0.0.2")


@pytest.mark.parametrize(
    ("guests", "interval", "words"),
    [
        ([], 50, r"guests: \[\] names nobody"),
        ([guest()], 9, "interval_ms: 9 is out of range"),
        ([guest()], 10001, "interval_ms: 10001 is out of range"),
        ([guest(), guest(1, address="127.0.0.2")], 50, "guests.id: 'id-1' is there twice"),
        ([guest(1), guest(2, address="127.0.0.1")], 50, "guests.address: '127.0.0.1' is there"),
        ([guest(), guest(2, port=0)], 50, r"guests\[1\]\.port: 0 is no TCP port"),
        ([guest(port=65536)], 50, r"guests\[0\]\.port: 65536 is no TCP port"),
        ([guest(), guest(2, address="no such host")], 50, r"guests\[1\]\.address: 'no such host'"),
        ([guest(number) for number in range(1, 61)], 10, "interval_ms to 11 or more"),
    ],
)
def test_options_that_cannot_be_used(guests, interval, words):
    with pytest.raises(BadOption, match=words):
        _probe.targets(guests, interval)


def test_the_interval_that_is_advised_is_taken():
    assert len(_probe.targets([guest(number) for number in range(1, 61)], 11)) == 60


def test_more_connects_than_files_are_refused(monkeypatch):
    monkeypatch.setattr(_probe.resource, "getrlimit", lambda _what: (100, 100))
    assert _probe.targets([guest(port=22)], 50)
    with pytest.raises(BadOption, match="is too often for 2 ports: 106 open files, and 100 are"):
        _probe.targets([guest(1, port=22), guest(2, port=22)], 50)


# --- the loop ----------------------------------------------------------------------------

#: Pings itself and one guest. A file `silent` beside it silences the guest in ten rounds of many.
SCRIPT = """#!/bin/sh
i=0
say() {{ echo "[$(date +%s.%N)] $1 : [$i], $2 (0.1 avg, 0% loss)"; }}
while :; do
    say {itself} "64 bytes, 0.1 ms"
    if [ ! -e {here}/silent ] || [ $i -lt 5 ] || [ $i -gt 14 ]; then
        say 127.0.0.1 "64 bytes, 0.1 ms"
    fi
    if [ -e {here}/mute ]; then exec sleep 99; fi
    if [ -e {here}/end ]; then echo "no more"; exit 1; fi
    i=$((i + 1))
    sleep 0.05
done
"""


@pytest.fixture
def here(tmp_path):
    """The directory of an fping that is a script; files in it change what it does."""
    path = tmp_path / "fping"
    path.write_text(SCRIPT.format(here=tmp_path, itself=pinger.SELF))
    path.chmod(0o755)
    return tmp_path


@pytest.fixture
def probe(here):
    asked = _probe.targets([guest()], 50)
    with _probe.Probe(asked, 50, str(here / "fping"), CLOCK) as made:
        yield made


@pytest.fixture
def files(tmp_path):
    return RunFiles(str(tmp_path / "found.json"), "status_path", CLOCK)


def later(seconds, work):
    timer = threading.Timer(seconds, work)
    timer.start()
    return timer


def only(found):
    (row,) = found["guests"]
    return row


def test_it_measures_for_a_while(probe):
    written = []
    began = time.monotonic()
    probe.run(_probe.until(0.6, CLOCK), written.append)
    assert 0.6 <= time.monotonic() - began < 3
    row = only(probe.figures())
    assert row["answered"]
    assert row["sent"] >= 3
    assert row["lost"] == 0
    assert written[0]["running"]
    assert not probe.figures()["running"]


def test_a_guest_that_falls_silent_has_a_gap(probe, here):
    (here / "silent").touch()
    probe.run(lambda: only(probe.figures())["sent"] < 18, lambda _found: None)
    row = only(probe.figures())
    assert row["lost"] == 10
    # A script's rounds take as long as they take; what is above 1.5 intervals is its own fault.
    assert 11 * 50 <= row["longest_gap_ms"] <= 11 * 75


def test_an_fping_that_ends_ends_the_probe(probe, here):
    later(0.2, (here / "end").touch)
    with pytest.raises(ProbeFailed, match="fping ended: no more"):
        probe.run(_probe.until(20, CLOCK), lambda _found: None)


def test_an_fping_that_falls_silent_ends_the_probe(probe, here, monkeypatch):
    monkeypatch.setattr(_probe, "SPEECHLESS", 0.5)
    monkeypatch.setattr(_probe, "WRITE_EVERY", 0.2)
    (here / "mute").touch()
    with pytest.raises(ProbeFailed, match="fping said nothing"):
        probe.run(_probe.until(20, CLOCK), lambda _found: None)


# --- started, read and stopped -----------------------------------------------------------


@pytest.fixture
def signals():
    """What this process does on the signals that a started probe takes, put back afterwards."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, action in kept.items():
        signal.signal(number, action)


@pytest.fixture
def claimed(files, signals):
    assert files.claim()
    yield files
    files.release()


def removes(files):
    return lambda: os.unlink(files.control)


def terminates(_files):
    return lambda: os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("asks", [removes, terminates], ids=["file", "signal"])
def test_it_ends_when_it_is_asked_to(probe, claimed, asks):
    later(0.3, asks(claimed))
    found = _probe.run_to_end(probe, claimed, lambda: True)
    assert found["guests"] == claimed.read()["guests"]
    assert not claimed.read()["running"]


def test_a_failure_leaves_the_figures_and_the_reason(probe, claimed, here):
    later(0.3, (here / "end").touch)
    with pytest.raises(ProbeFailed):
        _probe.run_to_end(probe, claimed, lambda: True)
    found = claimed.read()
    assert "fping ended: no more" in found["error"]
    assert only(found)["answered"]


def test_its_status_is_read_while_it_runs(probe, claimed):
    seen = []
    later(0.3, lambda: seen.append(_probe.status(claimed, 5, CLOCK)))
    _probe.run_to_end(probe, claimed, _probe.until(0.8, CLOCK))
    assert seen[0]["running"]
    assert seen[0]["age_ms"] < 5000
    assert only(seen[0])["id"] == "id-1"


def test_what_an_earlier_probe_left_is_not_the_status_of_this_one(claimed):
    claimed.write({"pid": 1, "guests": []})
    with pytest.raises(NotFound, match="no probe has written there"):
        _probe.status(claimed, 0.2, CLOCK)


def test_the_status_of_an_ended_probe_is_its_last(files):
    files.write({"pid": 1, "guests": [], "running": True})
    assert not _probe.status(files, 0, CLOCK)["running"]


def test_the_first_figures_are_waited_for(files):
    later(0.3, lambda: files.write({"pid": 1, "guests": []}))
    assert _probe.status(files, 10, CLOCK)["guests"] == []


# --- words -------------------------------------------------------------------------------


def test_the_sentence_names_the_worst():
    rows = [
        {"name": "a", "answered": True, "longest_gap_ms": 50.0},
        {"name": "b", "answered": True, "longest_gap_ms": 312.4},
        {"name": "c", "answered": False, "longest_gap_ms": None},
    ]
    told = "2 of 3 guests answered; the longest gap is 312 ms (b)"
    assert _probe.sentence({"guests": rows}) == told
    assert _probe.sentence({"guests": rows[2:]}) == "0 of 1 guests answered"


def test_return_describes_what_is_found(probe):
    described = yaml.safe_load(module.RETURN)
    found = probe.figures()
    assert set(found) <= set(described)
    assert set(only(found)) == set(described["guests"]["contains"])
    figures = _probe.Record().figures(0.0, 0.0)
    assert set(figures) == set(described["guests"]["contains"]["tcp"]["contains"])
