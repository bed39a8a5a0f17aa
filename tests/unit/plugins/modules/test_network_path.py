# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both ends of a path, as modules: what they return, and what check mode leaves alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import yaml

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.links import Link
from ansible_collections.lowtide.compute.plugins.modules import (
    network_path_info,
    network_path_listener,
)


def task(module, check_mode=False, **given):
    defaults = {name: option.get("default") for name, option in module.SPEC.items()}
    return SimpleNamespace(params=defaults | given, check_mode=check_mode, clock=None)


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (Link("mig", True, 9000, 10000, ("192.0.2.1",)), "up, MTU 9000, 10000 Mbit/s, 192.0.2.1"),
        (Link("mig", False, 1500, None), "down, MTU 1500, speed unknown, no address"),
    ],
)
def test_a_link_is_told_in_one_sentence(monkeypatch, link, words):
    monkeypatch.setattr(network_path_info.links, "link", lambda _name: link)
    found = network_path_info.handle(task(network_path_info, interface="mig"))
    assert found["msg"] == f"mig: {words}"
    assert found["changed"] is False
    assert found["paths"] == []
    documented = yaml.safe_load(network_path_info.RETURN)
    assert set(found) - {"changed"} <= set(documented)


def test_a_bad_option_is_found_before_anything_is_looked_at(monkeypatch):
    monkeypatch.setattr(network_path_info.links, "link", lambda _name: pytest.fail("looked"))
    with pytest.raises(BadOption, match="seconds: 0 is out of range"):
        network_path_info.handle(task(network_path_info, interface="mig", seconds=0))


class FakeListener:
    """Notes what becomes of it."""

    done: list[object] = []
    runs = False

    def __init__(self, address, port, _clock):
        self.place = (address, port)

    def start(self, seconds, tests):
        self.done.append((*self.place, seconds, tests))

    def stop(self):
        self.done.append("stopped")

    def running(self):
        return self.runs


@pytest.fixture
def listener(monkeypatch):
    monkeypatch.setattr(FakeListener, "done", [])
    monkeypatch.setattr(network_path_listener, "Listener", FakeListener)
    return FakeListener


def handle(**given):
    return network_path_listener.handle(task(network_path_listener, address="192.0.2.1", **given))


def test_it_listens_for_two_tests(listener):
    found = handle()
    assert found["changed"] is True
    assert found["msg"] == "listens at 192.0.2.1 port 49215 for 2 tests, at most 60 s"
    assert listener.done == [("192.0.2.1", 49215, 60, 2)]


@pytest.mark.parametrize("runs", [False, True])
def test_it_ends_what_listens(listener, monkeypatch, runs):
    monkeypatch.setattr(listener, "runs", runs)
    assert handle(state="stopped")["changed"] is runs
    assert listener.done == ["stopped"] * runs


@pytest.mark.parametrize("state", ["started", "stopped"])
def test_check_mode_starts_and_ends_nothing(listener, monkeypatch, state):
    monkeypatch.setattr(listener, "runs", True)
    assert handle(state=state, check_mode=True)["changed"] is True
    assert listener.done == []


@pytest.mark.parametrize("given", [{"port": 0}, {"tests": 0}, {"seconds": 4000}])
def test_a_bad_option_is_found_before_anything_listens(listener, given):
    with pytest.raises(BadOption, match="is out of range"):
        handle(**given)
    assert listener.done == []
