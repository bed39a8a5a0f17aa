# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nova_test_guest: made where it was asked for, replaced, deleted, and nobody else's."""

from __future__ import annotations

import pytest

NAME = "trial"
WANTED = {"name": NAME, "host": "cmp-2", "image": "cirros", "flavor": "small", "network": "tenant"}


def servers(api, name=NAME):
    return [one for one in api.compute.servers(all_projects=True) if one.name == name]


@pytest.fixture(autouse=True)
def gone(api):
    """None of these guests before and after each test."""

    def delete():
        for server in servers(api):
            api.compute.delete_server(server, force=True)
            api.compute.wait_for_delete(server)

    delete()
    yield
    delete()


def test_it_is_made_kept_replaced_and_deleted(module, api):
    planned = module("nova_test_guest", check=True, **WANTED)
    assert (planned["changed"], planned["guest"]["host"]) == (True, "cmp-2")
    assert planned.writes == []

    made = module("nova_test_guest", **WANTED)
    assert made["changed"]
    assert made["guest"]["status"] == "ACTIVE"
    (server,) = servers(api)
    assert (server.id, server.compute_host) == (made["guest"]["id"], "cmp-2")

    again = module("nova_test_guest", **WANTED)
    assert not again["changed"]
    assert again["guest"] == made["guest"]
    assert again.writes == []

    moved = module("nova_test_guest", **WANTED | {"host": "cmp-3"})
    assert moved["changed"]
    (server,) = servers(api)
    assert server.compute_host == "cmp-3"
    assert server.id != made["guest"]["id"]

    planned = module("nova_test_guest", check=True, name=NAME, state="absent")
    assert planned["changed"]
    assert planned.writes == []
    assert module("nova_test_guest", name=NAME, state="absent")["changed"]
    assert servers(api) == []
    assert not module("nova_test_guest", name=NAME, state="absent")["changed"]


def test_nobody_elses_guest_is_touched(failing, api):
    image = next(api.image.images(name="cirros"))
    flavor = api.compute.find_flavor("small")
    other = api.compute.create_server(
        name=NAME, image_id=image.id, flavor_id=flavor.id, networks="none"
    )
    api.compute.wait_for_server(other)
    for state in ("present", "absent"):
        refused = failing("nova_test_guest", **WANTED | {"state": state})
        assert refused["code"] == "bad_option"
        assert "not made here" in refused["msg"]
        assert refused.writes == []
    assert [server.id for server in servers(api)] == [other.id]


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("host", "cmp-99", "not_found"),
        ("host", "cmp-*", "bad_option"),
        ("image", "no-such", "not_found"),
        ("flavor", "no-such", "not_found"),
        ("network", "no-such", "not_found"),
        ("timeout", 0, "bad_option"),
    ],
)
def test_what_is_not_there_is_refused_by_name(failing, option, value, code):
    refused = failing("nova_test_guest", **WANTED | {option: value})
    assert refused["code"] == code
    assert option in refused["msg"]
    assert str(value) in refused["msg"]
    assert refused.writes == []


def test_a_host_that_takes_no_guests_is_refused(failing, api):
    service = next(api.compute.services(host="cmp-4", binary="nova-compute"))
    answer = api.compute.put(
        f"/os-services/{service.id}", json={"status": "disabled"}, microversion="2.53"
    )
    assert answer.status_code == 200
    try:
        refused = failing("nova_test_guest", **WANTED | {"host": "cmp-4"})
        assert refused["code"] == "host_not_ready"
        assert refused.writes == []
    finally:
        api.compute.put(
            f"/os-services/{service.id}", json={"status": "enabled"}, microversion="2.53"
        )
