# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ping says, and a ping that cannot ask."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils import _errors
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import echo
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.echo import (
    Burst,
    Pinger,
    parse,
)

ANSWERED = """\
PING 192.0.2.2 (192.0.2.2) from 192.0.2.1 : 56(84) bytes of data.

--- 192.0.2.2 ping statistics ---
50 packets transmitted, 48 received, 4% packet loss, time 1001ms
rtt min/avg/max/mdev = 0.018/0.032/0.177/0.022 ms
"""
SILENT = """\
--- 192.0.2.9 ping statistics ---
3 packets transmitted, 0 received, +3 errors, 100% packet loss, time 40ms
pipe 3
"""
TOO_LONG = "ping: local error: message too long, mtu=1500\n"


@pytest.fixture
def ping(tmp_path, monkeypatch):
    """A ping that writes its arguments down, and says and ends as told."""

    def make(output="", errors="", status=0):
        program = tmp_path / "ping"
        (tmp_path / "said").write_text(output)
        (tmp_path / "erred").write_text(errors)
        program.write_text(
            f'#!/bin/sh\necho "$@ $LC_ALL" > {tmp_path}/arguments\n'
            f"cat {tmp_path}/said; cat {tmp_path}/erred >&2; exit {status}\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return tmp_path / "arguments"

    return make


@pytest.mark.parametrize(
    ("output", "burst"),
    [
        (ANSWERED, Burst(50, 48, 0.032, 0.177)),
        (SILENT, Burst(3, 0)),
    ],
)
def test_the_end_of_ping_is_understood(output, burst):
    assert parse(output, TOO_LONG) == burst


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("ping: socktype: SOCK_RAW\nping: socket: Operation not permitted", _errors.Unauthorized),
        ("ping: cannot flood; minimal interval allowed for user is 200ms", _errors.Unauthorized),
        ("ping: connect: Network is unreachable", _errors.ProbeFailed),
        ("BusyBox v1.36: unrecognized option: M", _errors.ProbeFailed),
        ("", _errors.ProbeFailed),
    ],
)
def test_a_ping_that_does_not_ask_says_why(words, error):
    with pytest.raises(error) as raised:
        parse("", words)
    assert raised.value.remedy
    assert (words.splitlines() or ["not a word"])[-1] in str(raised.value)


def test_pings_are_whole_from_one_address_and_in_english(ping):
    arguments = ping(ANSWERED)
    assert Pinger("192.0.2.2", "192.0.2.1").burst(8972, 50, 20).received == 48
    assert arguments.read_text() == (
        "-4 -n -q -M do -I 192.0.2.1 -s 8972 -c 50 -i 0.02 -W 1 192.0.2.2 C\n"
    )
    Pinger("2001:db8::2", "2001:db8::1").burst(56, 3, 20)
    assert arguments.read_text().startswith("-6 ")


@pytest.mark.parametrize(("output", "passes"), [(ANSWERED, True), (SILENT, False)])
def test_a_size_passes_when_it_is_answered(ping, output, passes):
    ping(output, status=not passes)
    assert Pinger("192.0.2.2", "192.0.2.1").passes(1472) is passes


def test_a_host_without_ping_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(echo, "environment", lambda: {"PATH": "/nowhere"})
    with pytest.raises(_errors.NotFound, match="iputils-ping"):
        Pinger("192.0.2.2", "192.0.2.1").burst(56, 1, 20)


def test_a_ping_that_hangs_is_given_up(ping, monkeypatch):
    program = ping()
    program.with_name("ping").write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(echo, "PATIENCE", -0.9)
    with pytest.raises(_errors.ProbeFailed, match="does not end"):
        Pinger("192.0.2.2", "192.0.2.1").burst(56, 1, 20)


def test_sizes_are_tried_together():
    assert echo.which_pass(lambda size: size < 1500, (500, 1499, 1500)) == {
        500: True,
        1499: True,
        1500: False,
    }
    assert echo.which_pass(lambda _size: True, ()) == {}
