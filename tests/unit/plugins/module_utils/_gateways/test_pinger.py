# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""fping's lines, what becomes of an fping that cannot work, and connects to this machine."""

from __future__ import annotations

import os
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils import _errors
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import pinger
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.pinger import (
    Connects,
    Fping,
    parse,
    resolve,
)

ANSWER = "[1795193644.71060] 10.1.0.2 : [7], 64 bytes, 0.241 ms (0.241 avg, 0% loss)"
LOSS = "[1795193644.71060] 10.1.0.2 : [8], timed out (0.070 avg, 5% loss)"


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (ANSWER, ("10.1.0.2", 7, True)),
        (ANSWER.replace("10.1.0.2", "10.1.0.2      "), ("10.1.0.2", 7, True)),
        (ANSWER.replace("10.1.0.2", "fd00::2"), ("fd00::2", 7, True)),
        (ANSWER.replace("0.241 ms", "1.02e+03 ms"), ("10.1.0.2", 7, True)),
        # fping writes this remark to its stderr, in front of the line that it belongs to.
        (" [<- 10.1.0.9]" + ANSWER, ("10.1.0.2", 7, True)),
        (LOSS, ("10.1.0.2", 8, False)),
        (LOSS.replace("0.070", "NaN").replace("[8]", "[0]"), ("10.1.0.2", 0, False)),
    ],
)
def test_a_line_tells_what_became_of_a_send(line, reply):
    found = parse(line, 1795193000.0)
    assert (found.target, found.index, found.answered) == reply
    assert found.at == pytest.approx(644.7106)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "10.1.0.2: error while sending ping: Network is unreachable",
        "ICMP Host Unreachable from 10.1.0.1 for ICMP Echo sent to 10.1.0.2",
        "10.1.0.2 : xmt/rcv/%loss = 10/10/0%, min/avg/max = 0.03/0.05/0.1",
        "10.1.0.2 : duplicate for [7], 64 bytes, 0.3 ms",
        ANSWER[: ANSWER.index("bytes")],
        ANSWER.replace("[1795193644.71060] ", ""),
    ],
)
def test_a_line_of_another_kind_tells_of_no_send(line):
    assert parse(line, 0.0) is None


@given(st.text(alphabet="[]0123456789. :,bytesmdou()%avgl-", max_size=80))
def test_no_line_is_too_strange(text):
    assert parse(text, 0.0) is None or parse(text, 0.0).index >= 0


@pytest.fixture
def fping(tmp_path):
    """``fping(script)``: path of a shell script that is taken for fping."""

    def write(script, mode=0o755):
        path = tmp_path / "fping"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(mode)
        return str(path)

    return write


@pytest.fixture
def begin():
    """``begin(path)``: an Fping, stopped in the end."""
    running = []

    def start(path, *addresses):
        running.append(Fping(path, addresses or ["10.1.0.2"], 50))
        return running[-1]

    yield start
    for each in running:
        each.stop()


def lines(*numbers):
    return "\n".join(f"echo '{ANSWER.replace('[7]', f'[{number}]')}'" for number in numbers)


def read(probe, count):
    """The next ``count`` replies."""
    found = []
    deadline = time.monotonic() + 10
    while len(found) < count and time.monotonic() < deadline:
        found += probe.read()
    return found


def test_replies_come_from_the_first_on(fping, begin):
    probe = begin(fping(lines(0) + "\nsleep 0.1\n" + lines(1, 2) + "\nexec sleep 9"))
    assert [reply.index for reply in read(probe, 3)] == [0, 1, 2]


def test_a_line_that_comes_in_pieces_is_one(fping, begin):
    half = len(ANSWER) // 2
    script = f"printf '%s' '{ANSWER[:half]}'; sleep 0.1; echo '{ANSWER[half:]}'; exec sleep 9"
    probe = begin(fping(lines(0) + "\n" + script))
    assert [reply.index for reply in read(probe, 2)] == [0, 7]


def test_it_is_told_to_ping_itself_first_and_how_often(fping, begin, tmp_path):
    begin(fping(f"echo $@ > {tmp_path}/told\n{lines(0)}\nexec sleep 9"), "10.1.0.2", "10.1.0.3")
    told = (tmp_path / "told").read_text().split()
    assert told == f"-l -D -i 1 -p 50 -t 1000 {pinger.SELF} 10.1.0.2 10.1.0.3".split()


def test_many_guests_leave_no_pause_between_two_sends(fping, begin, tmp_path):
    addresses = [f"10.1.0.{number}" for number in range(2, 40)]
    begin(fping(f"echo $@ > {tmp_path}/told\n{lines(0)}\nexec sleep 9"), *addresses)
    assert "-i 0 -p 50" in (tmp_path / "told").read_text()


def test_one_that_ends_says_why(fping, begin):
    probe = begin(fping(lines(0) + "\nsleep 0.1; echo 'out of luck'"))
    with pytest.raises(_errors.ProbeFailed, match="fping ended: out of luck"):
        read(probe, 2)


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("echo 'fping: must run as root?' >&2; exit 4", _errors.Unauthorized, "become: true"),
        ("echo 'too risky for mere mortals' >&2; exit 1", _errors.Unauthorized, "mortals"),
        ("echo 'unrecognized option' >&2; exit 1", _errors.ProbeFailed, "unrecognized option"),
        ("exit 1", _errors.ProbeFailed, "without a word"),
    ],
)
def test_one_that_cannot_begin_is_an_error(fping, script, error, words):
    with pytest.raises(error, match=words):
        Fping(fping(script), ["10.1.0.2"], 50)


def test_one_that_sends_nothing_is_an_error_and_does_not_stay(fping, monkeypatch, tmp_path):
    monkeypatch.setattr(pinger, "FIRST_WORD", 0.3)
    script = f"echo $$ > {tmp_path}/pid; echo 'x: error while sending ping: bad'; exec sleep 99"
    with pytest.raises(_errors.ProbeFailed, match=r"sends nothing: x: error while sending"):
        Fping(fping(script), ["10.1.0.2"], 50)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_one_that_is_not_there():
    with pytest.raises(_errors.NotFound, match=r"'/nowhere/fping' is not there\. Install"):
        Fping("/nowhere/fping", ["10.1.0.2"], 50)


def test_one_that_may_not_be_run(fping):
    with pytest.raises(_errors.Unauthorized, match="Permission denied"):
        Fping(fping("", mode=0o644), ["10.1.0.2"], 50)


# --- TCP ---------------------------------------------------------------------------------


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def connects():
    made = []

    def make(**targets):
        made.append(Connects(targets, 0.05))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_a_connection_that_is_accepted_is_an_answer(listener, connects):
    probe = connects(web=("127.0.0.1", listener.getsockname()[1]))
    found = probe.begin_round() + probe.read() + probe.begin_round() + probe.read()
    assert [(reply.target, reply.index, reply.answered) for reply in found] == [
        ("web", 0, True),
        ("web", 1, True),
    ]


def test_a_connection_that_is_refused_is_none(listener, connects):
    port = listener.getsockname()[1]
    listener.close()
    probe = connects(web=("127.0.0.1", port))
    found = probe.begin_round() + probe.read()
    assert [reply.answered for reply in found] == [False]


def test_what_nobody_accepts_is_given_up(connects, monkeypatch):
    monkeypatch.setattr(pinger, "CONNECT_GIVEN_UP_MS", 50)
    # A listener whose queue is full drops what comes after.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        place = full.getsockname()
        filling = [socket.socket() for _each in range(4)]
        for each in filling:
            each.setblocking(False)
            each.connect_ex(place)
        probe = connects(web=place)
        assert probe.begin_round() + probe.read() == []
        time.sleep(0.1)
        found = probe.begin_round()
        for each in filling:
            each.close()
    assert [(reply.index, reply.answered) for reply in found] == [(0, False)]


def test_a_connection_that_is_accepted_too_late_is_none(listener, connects, monkeypatch):
    monkeypatch.setattr(pinger, "CONNECT_GIVEN_UP_MS", -1)
    probe = connects(web=("127.0.0.1", listener.getsockname()[1]))
    found = probe.begin_round() + probe.read()
    assert [reply.answered for reply in found] == [False]


def test_rounds_that_were_missed_are_not_made_up_for(connects):
    probe = connects()
    first = probe.due()
    probe.begin_round()
    assert probe.due() == pytest.approx(first + 0.05, abs=0.04)
    time.sleep(0.3)
    probe.begin_round()
    assert probe.due() == pytest.approx(time.monotonic(), abs=0.1)


# --- addresses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "place"), [("127.0.0.9", "127.0.0.9"), ("localhost", "127.0.0.1")]
)
def test_an_address_becomes_digits(address, place):
    assert resolve(address, "guests[0].address") in (place, "::1")


@pytest.mark.parametrize("address", ["no such host", "a" * 70 + ".invalid", "10.0.0.300", ""])
def test_an_address_that_is_none(address):
    with pytest.raises(_errors.BadOption, match=r"guests\[0\]\.address: .* is unknown here"):
        resolve(address, "guests[0].address")


def test_an_address_to_which_there_is_no_way():
    with pytest.raises(_errors.BadOption, match="cannot be reached from this host"):
        resolve("255.255.255.255", "guests[0].address")
