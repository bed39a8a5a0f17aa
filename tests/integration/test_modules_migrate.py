# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nova_live_migrate and nova_cold_migrate, each guest verified where it ended."""

from __future__ import annotations

import threading
import time

import pytest

QUICK = {"poll_interval": 1.0}


def other_host(host):
    return "cmp-3" if host != "cmp-3" else "cmp-4"


# --- live --------------------------------------------------------------------------------


def test_check_mode_plans_and_writes_nothing(module, host_of):
    before = host_of("walker")
    outcome = module("nova_live_migrate", servers=["walker"], check=True, diff=True, **QUICK)
    assert outcome["changed"]
    assert outcome["guests"][0]["outcome"] == "planned"
    assert before in outcome["diff"]["before"]
    assert outcome["diff"]["before"] != outcome["diff"]["after"]
    assert outcome.writes == []
    assert outcome.calls
    assert host_of("walker") == before


def test_a_guest_goes_to_the_host_asked_for_and_stays_there(module, host_of):
    target = other_host(host_of("walker"))
    outcome = module("nova_live_migrate", servers=["walker"], host=target, diff=True, **QUICK)
    assert outcome["changed"]
    assert outcome["guests"][0]["to"] == host_of("walker") == target
    assert outcome["msg"] == f"walker: moved to {target}"
    assert target in outcome["diff"]["after"]
    assert [event["kind"] for event in outcome["events"]][-2:] == ["moved", "done"]
    # Asynchronous, and nothing that could force it.
    (post,) = [write for write in outcome.writes if "action" in write]
    assert post.startswith("POST compute")

    again = module("nova_live_migrate", servers=["walker"], host=target, **QUICK)
    assert not again["changed"]
    assert again.writes == []
    assert again["guests"][0]["outcome"] == "already_there"


def test_several_guests_by_name_and_id_wherever_nova_likes(module, server):
    guests = [server(name) for name in ("walker", "runner")]
    before = {guest.name: guest.compute_host for guest in guests}
    outcome = module(
        "nova_live_migrate",
        servers=["walker", guests[1].id, guests[0].id],
        max_parallel=2,
        **QUICK,
    )
    assert outcome["summary"] == {"total": 2, "moved": 2}
    for guest in guests:
        assert server(guest.name).compute_host != before[guest.name]


def test_a_running_migration_is_adopted(module, api, lab, server):
    guest = server("slow")
    lab.behave(guest.id, never_converges=True)
    answer = api.compute.post(
        f"/servers/{guest.id}/action",
        json={"os-migrateLive": {"host": None, "block_migration": "auto"}},
        microversion="2.68",
    )
    assert answer.status_code == 202, answer.text
    wait_for_migration(api, guest.id)
    later = threading.Timer(5, lab.behave, [guest.id], {"never_converges": False})
    later.start()
    outcome = module("nova_live_migrate", servers=["slow"], **QUICK)
    later.join()
    kinds = [event["kind"] for event in outcome["events"]]
    assert "adopted" in kinds
    assert "started" not in kinds
    assert outcome.writes == []
    assert server("slow").compute_host == outcome["guests"][0]["to"] != guest.compute_host


def test_without_wait_it_only_asks(module, api, lab, server):
    guest = server("slow")
    lab.behave(guest.id, never_converges=True)
    outcome = module("nova_live_migrate", servers=["slow"], wait=False, **QUICK)
    assert outcome["changed"]
    assert outcome["guests"][0]["outcome"] == "running"
    wait_for_migration(api, guest.id)
    (target,) = {
        m.dest_compute for m in api.compute.migrations(server_id=guest.id, status="running")
    }
    lab.behave(guest.id, never_converges=False)
    finished = module("nova_live_migrate", servers=["slow"], host=target, **QUICK)
    assert finished["guests"][0]["outcome"] in ("moved", "already_there")
    assert server("slow").compute_host == target


def test_a_budget_that_is_spent_aborts_and_leaves_the_guest_running(failing, lab, server):
    guest = server("slow")
    lab.behave(guest.id, never_converges=True)
    outcome = failing(
        "nova_live_migrate", servers=["slow"], timeout_per_gib=1, max_attempts=1, **QUICK
    )
    assert outcome["code"] == "not_drained"
    assert outcome["guests"][0]["outcome"] == "left"
    assert outcome["guests"][0]["code"] == "timeout"
    assert outcome["guests"][0]["remedy"]
    after = server("slow")
    assert (after.status, after.compute_host) == ("ACTIVE", guest.compute_host)
    lab.behave(guest.id, never_converges=False)


def test_a_stopped_guest_is_refused(failing):
    outcome = failing("nova_live_migrate", servers=["sleeper"])
    assert outcome["code"] == "blocked"
    assert "sleeper" in outcome["msg"]
    assert "nova_cold_migrate" in outcome["remedy"]
    assert outcome.writes == []


def test_a_name_of_several_guests_lists_their_ids(failing, api, server):
    guests = [server(name) for name in ("walker", "runner")]
    api.compute.update_server(guests[0], name="runner")
    try:
        outcome = failing("nova_live_migrate", servers=["runner"])
        assert outcome["code"] == "bad_option"
        assert all(guest.id in outcome["msg"] for guest in guests)
        assert outcome.writes == []
    finally:
        api.compute.update_server(guests[0], name="walker")


# --- cold --------------------------------------------------------------------------------


def test_a_stopped_guest_goes_cold_is_confirmed_and_stays_stopped(module, host_of, server):
    before = host_of("sleeper")
    plan = module("nova_cold_migrate", servers=["sleeper"], check=True, **QUICK)
    assert plan["changed"]
    assert plan.writes == []
    assert host_of("sleeper") == before

    outcome = module("nova_cold_migrate", servers=["sleeper"], **QUICK)
    after = server("sleeper")
    assert outcome["guests"][0]["outcome"] == "moved"
    assert outcome["guests"][0]["method"] == "cold"
    assert after.status == "SHUTOFF"
    assert after.compute_host == outcome["guests"][0]["to"] != before

    again = module("nova_cold_migrate", servers=["sleeper"], host=after.compute_host, **QUICK)
    assert not again["changed"]
    assert again.writes == []


def test_a_running_guest_goes_cold_only_when_that_is_allowed(module, failing, server):
    refused = failing("nova_cold_migrate", servers=["runner"], **QUICK)
    assert refused["code"] == "blocked"
    assert "allow_cold_migration" in refused["remedy"]
    assert refused.writes == []

    before = server("runner")
    outcome = module("nova_cold_migrate", servers=["runner"], allow_cold_migration=True, **QUICK)
    after = server("runner")
    assert outcome["guests"][0]["method"] == "cold"
    assert after.status == "ACTIVE"
    assert after.compute_host != before.compute_host


# --- the lab -----------------------------------------------------------------------------


def wait_for_migration(api, guest_id, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if any(m.status == "running" for m in api.compute.migrations(server_id=guest_id)):
            return
        time.sleep(0.2)
    pytest.fail("no migration is running")
