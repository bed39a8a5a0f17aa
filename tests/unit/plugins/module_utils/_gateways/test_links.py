# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An interface as ip tells of it, programs, and names as this machine knows them."""

from __future__ import annotations

import json
import socket

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils import _errors
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import links

ETHERNET = {
    "ifname": "mig",
    "flags": ["BROADCAST", "UP", "LOWER_UP"],
    "mtu": 9000,
    "addr_info": [
        {"local": "192.0.2.1", "prefixlen": 24, "scope": "global"},
        {"local": "2001:db8::1", "prefixlen": 64, "scope": "global"},
        {"local": "fe80::1", "prefixlen": 64, "scope": "link"},
    ],
}


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put a program where only the administrator's PATH finds it."""
    monkeypatch.setattr(links, "MORE_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", "/bin")

    def make(name, output, status=0):
        (tmp_path / f"{name}.out").write_text(output)
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\ncat {tmp_path}/{name}.out; echo bad >&2; exit {status}\n")
        path.chmod(0o755)

    return make


@pytest.fixture
def ip(monkeypatch):
    """An ip that tells of these interfaces."""

    def tell(*rows):
        answers = {"ip -json -details address": (0, json.dumps(rows))}
        monkeypatch.setattr(links, "run", lambda line: answers.get(" ".join(line), (127, "")))

    return tell


def test_a_program_of_the_administrator_s_is_run_and_its_output_taken(program):
    program("lowtide-look", "what it says", status=3)
    assert links.run(["lowtide-look"]) == (3, "what it says")


def test_a_program_that_is_not_there_has_a_status_of_its_own():
    assert links.run(["lowtide-nothing"]) == (127, "")


def test_an_interface_is_told_without_its_link_local_addresses(ip):
    ip(ETHERNET)
    assert links.link("mig") == links.Link("mig", True, 9000, None, ("192.0.2.1", "2001:db8::1"))


@pytest.mark.parametrize("flags", [["UP"], ["LOWER_UP"], []])
def test_a_link_is_up_when_it_is_set_up_and_carries(ip, flags):
    ip(ETHERNET | {"flags": flags})
    assert links.link("mig").up is False


def test_an_interface_that_is_not_there_is_named_with_those_that_are(ip):
    ip(ETHERNET, ETHERNET | {"ifname": "lo"})
    words = r"interface: 'nic' is no interface here\. .*: lo, mig"
    with pytest.raises(_errors.BadOption, match=words):
        links.link("nic")


def test_a_host_without_ip_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(links, "run", lambda _command: (127, ""))
    with pytest.raises(_errors.NotFound, match="iproute2"):
        links.link("mig")


def test_this_machine_s_own_names_are_known():
    assert "127.0.0.1" in links.addresses_of("localhost")
    assert links.name_of("127.0.0.1") == "localhost"


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), UnicodeError("label too long")])
def test_what_has_no_name_or_address_has_none(monkeypatch, error):
    def fail(*_arguments, **_more):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(socket, "getnameinfo", fail)
    assert links.addresses_of("nobody.invalid") == ()
    assert links.name_of("192.0.2.77") == ""
