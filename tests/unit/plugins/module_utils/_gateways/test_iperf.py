# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both ends of a measurement, with an iperf3 that says and does what a test wants."""

from __future__ import annotations

import json
import socket
import sys
import time

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils import _errors
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import iperf
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import SystemClock
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.iperf import (
    Client,
    Listener,
    Throughput,
)

CLOCK = SystemClock()
TOLD = {"end": {"sum_sent": {"retransmits": 7}, "sum_received": {"bits_per_second": 9.4123e9}}}
REFUSED = {"error": "error - unable to connect to server: Connection refused"}
#: Takes one connection and ends, as `iperf3 --server --one-off` does.
SERVER = """\
import socket, sys
place = sys.argv[sys.argv.index("--bind") + 1], int(sys.argv[sys.argv.index("--port") + 1])
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(place)
server.listen()
server.accept()
"""


@pytest.fixture
def iperf3(tmp_path, monkeypatch):
    """Put a program of that name first on PATH; the file with its arguments is returned."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def make(body):
        program = tmp_path / "iperf3"
        program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/arguments\n{body}\n')
        program.chmod(0o755)
        return tmp_path / "arguments"

    return make


def client(**changes):
    given = {"seconds": 5, "omit": 1, "streams": 4} | changes
    return Client("192.0.2.2", "192.0.2.1", 49215, **given)


def says(*results):
    """A program's body that says one result after the other, the last one again and again."""
    cases = "".join(f"{at}) echo '{json.dumps(told)}';;\n" for at, told in enumerate(results, 1))
    return f'case $(wc -l < "$(dirname "$0")/arguments") in\n{cases}*) echo {{}};;\nesac'


# --- The near end ------------------------------------------------------------------------


@pytest.mark.parametrize("back", [False, True])
def test_a_direction_is_measured_as_told(iperf3, back):
    arguments = iperf3(says(TOLD))
    assert client().measure(back=back, clock=CLOCK) == Throughput(9412.3, 7)
    assert arguments.read_text() == (
        "--client 192.0.2.2 --bind 192.0.2.1 --json --port 49215 --time 5 --omit 1 --parallel 4"
        f" --connect-timeout 3000{' --reverse' if back else ''}\n"
    )


def test_a_listener_that_is_late_is_waited_for(iperf3):
    busy = {"error": "the server is busy running a test. try again later"}
    arguments = iperf3(says(REFUSED, busy, TOLD))
    assert client().measure(back=False, clock=CLOCK).mbit == 9412.3
    assert len(arguments.read_text().splitlines()) == 3


def test_a_listener_that_does_not_come_is_told_of(iperf3, monkeypatch):
    monkeypatch.setattr(iperf, "RETRY_FOR", 0.3)
    iperf3(f"echo '{json.dumps(REFUSED)}'")
    with pytest.raises(_errors.ProbeFailed, match=r"^unable to connect to server: .* refused"):
        client().measure(back=False, clock=CLOCK)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo it broke >&2; exit 1", "it broke"),
        ("exit 1", "iperf3 says nothing"),
        ("echo '{\"end\": {}}'", "iperf3's result has no 'sum_received'"),
    ],
)
def test_a_client_that_fails_says_why(iperf3, body, words):
    iperf3(body)
    with pytest.raises(_errors.ProbeFailed, match=words):
        client().measure(back=False, clock=CLOCK)


def test_data_that_stop_on_the_way_are_not_waited_for_for_ever(iperf3, monkeypatch):
    iperf3("exec sleep 30")
    monkeypatch.setattr(iperf, "PATIENCE", -8.5)
    with pytest.raises(_errors.ProbeFailed, match="the data stopped on the way"):
        client().measure(back=False, clock=CLOCK)


def test_a_host_without_iperf3_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(iperf, "environment", lambda: {"PATH": "/nowhere"})
    with pytest.raises(_errors.NotFound, match="Install the package iperf3"):
        client().measure(back=False, clock=CLOCK)


# --- The far end -------------------------------------------------------------------------


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def listener(iperf3, port, tmp_path):
    server = tmp_path / "server.py"
    server.write_text(SERVER)
    iperf3(f'exec {sys.executable} {server} "$@"')
    found = Listener("127.0.0.1", port, CLOCK)
    yield found
    found.stop()


def connect(port):
    """One test: its server ends after it."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port)) as test:
                # The end, when the server took it; a reset, when it ended with it in its queue.
                if not test.recv(1):
                    return
        except (ConnectionRefusedError, ConnectionResetError):
            time.sleep(0.05)
    raise AssertionError("nobody listens")


def gone(listener, seconds=5.0):
    deadline = time.monotonic() + seconds
    while listener.running() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not listener.running()


def test_it_listens_at_its_address_for_so_many_tests_and_is_gone(listener, port, tmp_path):
    listener.start(30, 2)
    assert listener.running()
    first = (tmp_path / "arguments").read_text().splitlines()[0]
    assert first == f"--server --one-off --bind 127.0.0.1 --port {port}"
    connect(port)
    connect(port)
    assert gone(listener)


def test_it_is_gone_after_its_time_whatever_happens(listener):
    listener.start(0.5, 2)
    assert gone(listener)


def test_it_is_gone_when_it_is_stopped_by_anyone(listener, port):
    listener.start(30, 2)
    Listener("127.0.0.1", port, CLOCK).stop()
    assert not listener.running()
    listener.stop()


def test_one_that_was_left_behind_makes_room(listener, port):
    listener.start(30, 2)
    listener.start(30, 1)
    connect(port)
    assert gone(listener)


def test_others_are_left_alone(listener, port):
    listener.start(30, 2)
    Listener("127.0.0.1", port + 1, CLOCK).stop()
    assert listener.running()


def test_a_port_that_is_taken_is_told_of(listener, port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(_errors.ProbeFailed, match=f"port {port}: Address already in use"):
            listener.start(30, 2)
    assert not listener.running()


def test_an_address_that_the_host_lacks_is_told_of(listener, port):
    with pytest.raises(_errors.ProbeFailed, match=r"cannot listen at 192\.0\.2\.1"):
        Listener("192.0.2.1", port, CLOCK).start(30, 2)


def test_an_iperf3_that_ends_at_once_is_quoted(iperf3, port):
    iperf3("echo unknown option; exit 1")
    with pytest.raises(_errors.ProbeFailed, match=f"port {port}: unknown option"):
        Listener("127.0.0.1", port, CLOCK).start(30, 2)


def test_an_iperf3_that_does_not_listen_is_given_up(iperf3, port, monkeypatch):
    monkeypatch.setattr(iperf, "BEGIN", 0.3)
    iperf3("exec sleep 30")
    with pytest.raises(_errors.ProbeFailed, match="it says nothing"):
        Listener("127.0.0.1", port, CLOCK).start(30, 2)
    assert not Listener("127.0.0.1", port, CLOCK).running()


def test_a_process_that_does_not_end_is_told_of(listener, monkeypatch):
    monkeypatch.setattr(iperf, "END", 0.1)
    monkeypatch.setattr(Listener, "_processes", lambda _self: iter([2**22 + 1]))
    with pytest.raises(_errors.ProbeFailed, match="does not end"):
        listener.stop()
    monkeypatch.undo()


def test_a_host_without_iperf3_cannot_listen(monkeypatch, port):
    monkeypatch.setattr(iperf, "program", lambda _name: None)
    with pytest.raises(_errors.NotFound, match="Install the package iperf3"):
        Listener("127.0.0.1", port, CLOCK).start(30, 2)
