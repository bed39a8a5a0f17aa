# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateways, in this process: how many calls, what is asked again, and what is not."""

from __future__ import annotations

import time

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils import _errors as errors
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import api
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import cloud as gateway
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Scope


@pytest.fixture
def cloud(lab, monkeypatch):
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(lab.clouds_file))
    return gateway.connect(api.sign_in({"cloud": "lab", "api_timeout": 5}))


@pytest.fixture
def fault(lab):
    """``fault("compute", "GET", "servers/detail", action)``: an API that fails, until the end."""

    def arm(service, method, path, action, times=1):
        lab.command(
            *("fault", "api", "--service", service, "--method", method, "--path", path),
            *("--nth", "1", "--times", str(times), "--action", action),
        )

    yield arm
    lab.command("fault", "clear")


def test_a_look_is_three_calls(cloud, lab):
    for host in ("cmp-3", "cmp-4"):
        cloud.observe(Scope(host=host))
        since = time.time()
        cloud.observe(Scope(host=host))
        assert len(lab.requests(since)) == 3


def test_a_look_at_named_guests_is_not_one_call_each(cloud, lab, server):
    ids = tuple(server(name).id for name in ("sleepy", "broken", "apart-1"))
    cloud.observe(Scope(guest_ids=ids))
    since = time.time()
    seen = cloud.observe(Scope(guest_ids=ids))
    assert [guest.name for guest in seen.guests] == ["sleepy", "broken", "apart-1"]
    servers = [call for call in lab.requests(since) if "/servers" in call["path"]]
    assert len(servers) == 1


@pytest.mark.parametrize("action", ["500", "503", "reset"])
def test_a_read_is_asked_again(cloud, fault, action):
    expected = cloud.observe(Scope(host="cmp-2")).guests
    fault("compute", "GET", "servers/detail", action, times=2)
    assert cloud.observe(Scope(host="cmp-2")).guests == expected


def test_a_read_that_hangs_is_given_up_and_asked_again(cloud, fault):
    cloud.service("cmp-2")
    fault("compute", "GET", "os-services", "hang")
    started = time.monotonic()
    assert cloud.service("cmp-2").host == "cmp-2"
    assert time.monotonic() - started < 20


def test_a_read_ends_in_an_error_after_three_times(cloud, fault, lab):
    cloud.service("cmp-2")
    fault("compute", "GET", "os-services", "503", times=9)
    since = time.time()
    with pytest.raises(errors.Unreachable, match="compute API"):
        cloud.service("cmp-2")
    assert len(lab.requests(since)) == 3


@pytest.mark.parametrize("action", ["500", "503", "reset"])
def test_a_write_is_sent_once(cloud, fault, lab, server, action):
    """Nobody knows whether it happened: asking again could move a guest twice."""
    guest = server("walker")
    fault("compute", "POST", "action", action, times=9)
    since = time.time()
    with pytest.raises(errors.Unreachable):
        cloud.live_migrate(guest.id, "")
    sent = [call for call in lab.requests(since) if call["method"] == "POST"]
    assert len(sent) <= 1
    assert server("walker").compute_host == guest.compute_host


def test_signing_in_is_tried_again(lab, fault, monkeypatch):
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(lab.clouds_file))
    fault("identity", "POST", "auth/tokens", "503", times=2)
    assert gateway.connect(api.sign_in({"cloud": "lab"})).service("cmp-2").host == "cmp-2"


def test_a_token_that_ends_is_renewed(lab, monkeypatch):
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(lab.clouds_file))
    kept = []
    real = api.open_connection
    monkeypatch.setattr(api, "open_connection", lambda p: kept.append(real(p)) or kept[0])
    cloud = gateway.connect(api.sign_in({"cloud": "lab"}))
    session = kept[0].session
    token = session.get_token()
    # Before a service has seen it: services remember good tokens for some minutes.
    answer = kept[0].identity.delete("/auth/tokens", headers={"X-Subject-Token": token})
    assert answer.status_code == 204
    since = time.time()
    assert cloud.observe(Scope(host="cmp-2")).guests
    assert session.get_token() != token
    assert 401 in [call["status"] for call in lab.requests(since)]


def test_refusals_keep_nova_s_words(cloud, server):
    with pytest.raises(errors.Refused) as refused:
        cloud.live_migrate(server("sleepy").id, "")
    assert refused.value.status == 409
    assert "suspended" in str(refused.value)


def test_evidence_agrees_with_the_cloud(cloud, server):
    guest = server("archive")
    evidence = cloud.evidence(guest.id, "")
    assert evidence.exists
    assert evidence.host == guest.compute_host
    assert evidence.allocations == (guest.compute_host,)
    assert [(b.host, b.status) for b in evidence.bindings] == [(guest.compute_host, "active")]
    assert list(evidence.attachments.values()) == [1]


def test_a_guest_that_does_not_exist_is_no_evidence(cloud):
    assert not cloud.evidence("0" * 8 + "-0000-0000-0000-" + "0" * 12, "").exists


def test_life_is_asked_from_the_hypervisor(cloud, server):
    assert cloud.alive(server("walker").id) is True
    assert cloud.alive(server("sleepy").id) is False
