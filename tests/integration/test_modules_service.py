# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nova_compute_service: opened, closed, forced down, and never against somebody else's will."""

from __future__ import annotations

import time

import pytest

HOST = "cmp-4"


@pytest.fixture(autouse=True)
def opened(api):
    """The host is enabled and up before and after each test."""

    def reset():
        service = nova_says(api)
        if service.is_forced_down:
            put(api, forced_down=False)
        if service.status != "enabled":
            put(api, status="enabled")

    reset()
    yield
    reset()


def nova_says(api):
    return next(api.compute.services(host=HOST, binary="nova-compute"))


def put(api, **change):
    answer = api.compute.put(f"/os-services/{nova_says(api).id}", json=change, microversion="2.53")
    assert answer.status_code == 200, answer.text


def test_disabling_leaves_a_mark_and_enabling_removes_it(module, api):
    closed = module("nova_compute_service", host=HOST, state="disabled", reason="new firmware")
    assert closed["changed"]
    assert closed["service"]["owner"] == "lowtide"
    assert nova_says(api).status == "disabled"
    assert nova_says(api).disabled_reason == closed["service"]["disabled_reason"]
    assert closed["service"]["disabled_reason"].startswith("lowtide:")
    assert closed["service"]["disabled_reason"].endswith(": new firmware")

    again = module("nova_compute_service", host=HOST, state="disabled")
    assert not again["changed"]
    assert again.writes == []
    assert again["service"] == closed["service"]

    opened = module("nova_compute_service", host=HOST, state="enabled")
    assert opened["changed"]
    assert nova_says(api).status == "enabled"
    assert opened["service"]["disabled_reason"] == ""

    twice = module("nova_compute_service", host=HOST, state="enabled")
    assert not twice["changed"]
    assert twice.writes == []


@pytest.mark.parametrize(
    "options",
    [
        {"state": "disabled", "reason": "x"},
        {"forced_down": True},
        {"state": "disabled", "forced_down": True},
    ],
)
def test_check_mode_says_what_would_change_and_writes_nothing(module, api, options):
    before = nova_says(api)
    outcome = module("nova_compute_service", host=HOST, check=True, diff=True, **options)
    assert outcome["changed"]
    assert outcome["diff"]["before"] != outcome["diff"]["after"]
    assert outcome["diff"]["after"] == outcome["service"]
    assert outcome.writes == []
    assert outcome.calls
    assert nova_says(api).to_dict() | {"updated_at": 0} == before.to_dict() | {"updated_at": 0}


def test_without_diff_mode_there_is_no_diff(module):
    assert "diff" not in module("nova_compute_service", host=HOST, state="enabled")


def test_a_reason_and_a_run_can_be_changed_where_the_mark_is_ours(module):
    module("nova_compute_service", host=HOST, state="disabled", run_id="mine", reason="one")
    outcome = module("nova_compute_service", host=HOST, state="disabled", reason="two")
    assert outcome["changed"]
    assert outcome["service"]["disabled_reason"] == "lowtide:mine: two"


@pytest.mark.parametrize("reason", ["RAM is broken, ask Eve", None])
def test_what_somebody_else_closed_stays_closed(module, failing, api, reason):
    put(api, status="disabled", **({"disabled_reason": reason} if reason else {}))

    left = module("nova_compute_service", host=HOST, state="disabled", reason="ours")
    assert not left["changed"]
    assert left["service"]["owner"] == "other"

    refused = failing("nova_compute_service", host=HOST, state="enabled")
    assert refused["code"] == "host_not_ready"
    assert HOST in refused["msg"]
    assert "take_over" in refused["remedy"]
    assert (reason or "without a reason") in refused["msg"]
    assert refused.writes == []
    assert nova_says(api).status == "disabled"

    taken = module("nova_compute_service", host=HOST, state="enabled", take_over=True)
    assert taken["changed"]
    assert nova_says(api).status == "enabled"


def test_another_run_s_mark_is_respected_by_a_run(module, failing):
    module("nova_compute_service", host=HOST, state="disabled", run_id="first")
    refused = failing("nova_compute_service", host=HOST, state="enabled", run_id="second")
    assert "run first" in refused["msg"]
    assert module("nova_compute_service", host=HOST, state="enabled", run_id="first")["changed"]


def test_forcing_down_and_back(module, api):
    down = module("nova_compute_service", host=HOST, forced_down=True)
    assert down["changed"]
    assert nova_says(api).is_forced_down
    assert down["service"]["state"] == "down"
    assert not module("nova_compute_service", host=HOST, forced_down=True)["changed"]
    assert module("nova_compute_service", host=HOST, forced_down=False)["changed"]
    assert not nova_says(api).is_forced_down


def test_the_mark_of_a_finished_evacuation_is_explained(failing, module, api, lab):
    """Nova keeps a host down until its nova-compute has cleaned up after an evacuation."""
    guest = api.compute.create_server(
        name="evacuee",
        flavor_id=api.compute.find_flavor("small").id,
        image_id=next(api.image.images(name="cirros")).id,
        networks="none",
        host=HOST,
    )
    try:
        api.compute.wait_for_server(guest, wait=120)
        module("nova_compute_service", host=HOST, state="disabled", forced_down=True)
        answer = api.compute.post(
            f"/servers/{guest.id}/action", json={"evacuate": {}}, microversion="2.94"
        )
        assert answer.status_code == 200, answer.text
        wait_until(lambda: evacuation(api, guest) == "done")
        refused = failing("nova_compute_service", host=HOST, forced_down=False)
        assert refused["code"] == "host_not_ready"
        assert f"Restart nova-compute on {HOST}" in refused["msg"]
    finally:
        lab.command("crash", HOST)
        lab.command("start", HOST)
        wait_until(lambda: evacuation(api, guest) not in ("accepted", "pre-migrating", "done"))
        api.compute.delete_server(guest, force=True)


def evacuation(api, guest):
    found = list(api.compute.migrations(server_id=guest.id))
    return found[0].status if found else ""


def wait_until(true, seconds=90):

    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(1)
