# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nova_drain_info as a pre-flight: blockers, cautions, what was not seen, several hosts in turn."""

from __future__ import annotations

from collections import Counter

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._report.preflight import WIDTH

NOVA_CONF = """\
[DEFAULT]
max_concurrent_live_migrations = 2
[libvirt]
live_migration_tunnelled = true
live_migration_permit_post_copy = true
"""


def codes(rows):
    return [row["code"] for row in rows]


@pytest.fixture
def nova_conf(run_module, tmp_path):
    """What nova_config_info returns of a host with NOVA_CONF and Nova 33."""
    path = tmp_path / "nova.conf"
    path.write_text(NOVA_CONF)
    found = run_module("nova_config_info", release="33", config_files=[str(path)], config_dirs=[])
    assert not found.get("failed"), found["msg"]
    return dict(found)


def test_what_blocks_has_a_source(module):
    found = module("nova_drain_info", host="cmp-2")
    assert found.writes == []
    assert {(row["name"], row["code"]) for row in found["blockers"]} == {
        ("broken", "error_guest_alive"),
        ("resized", "resize_source_here"),
        ("sleepy", "suspended"),
        ("trashed", "soft_deleted"),
    }
    assert all(row["source"].startswith("Nova: ") for row in found["blockers"])
    assert max(map(len, found["table"])) <= WIDTH


def test_without_nova_conf_its_rules_are_not_seen(module):
    found = module("nova_drain_info", host="cmp-3")
    unseen = {row["code"]: row["what"] for row in found["not_seen"]}
    assert unseen["tunnelled"] == unseen["cap_of_one"] == "nova.conf of the host"
    assert not set(unseen) & set(codes(found["cautions"]))
    # The token, the API's release and the catalogue without Masakari are seen.
    assert not unseen.keys() & {"token_ends_first", "failure_leaves_error"}
    assert "masakari_not_in_maintenance" not in unseen


def test_with_nova_conf_they_are_checked(module, nova_conf):
    found = module(
        "nova_drain_info",
        host="cmp-3",
        max_parallel=3,
        on_timeout="force_complete",
        nova_conf={"cmp-3": nova_conf},
    )
    told = {row["code"]: row for row in found["cautions"]}
    assert {"tunnelled", "cap_below_max_parallel", "post_copy_network"} <= told.keys()
    assert "runs 2 at a time" in told["cap_below_max_parallel"]["text"]
    assert "walker" in told["post_copy_network"]["guests"]
    assert "nova.conf of the host" not in {row["what"] for row in found["not_seen"]}
    quiet = module(
        "nova_drain_info",
        host="cmp-3",
        max_parallel=2,
        nova_conf={"cmp-3": nova_conf},
        migration_network="reliable",
    )
    assert not {"cap_below_max_parallel", "post_copy_network"} & set(codes(quiet["cautions"]))


def test_a_token_that_ends_before_the_plan(run_module, api):
    """With a token of its own the drain cannot sign in anew, so its end matters."""
    auth = api.config.config["auth"]
    found = run_module(
        "nova_drain_info",
        host="cmp-3",
        auth_type="token",
        overhead_seconds=1e6,
        auth={
            "auth_url": auth["auth_url"],
            "token": api.session.get_token(),
            "project_name": auth["project_name"],
            "project_domain_name": auth.get("project_domain_name") or "Default",
        },
    )
    assert not found.get("failed"), found["msg"]
    assert "token_ends_first" in codes(found["cautions"])


def test_several_hosts_at_once(module):
    found = module("nova_drain_info", hosts=["cmp-1", "cmp-3"], order="name")
    assert found.writes == []
    assert [plan["host"] for plan in found["plans"]] == ["cmp-1", "cmp-3"]
    assert [turn["host"] for turn in found["together"]] == ["cmp-1", "cmp-3"]
    assert found["fits"] is True
    assert found["summary"]["total"] == sum(plan["summary"]["total"] for plan in found["plans"])
    first, second = found["together"]
    assert first["arrivals"] == []
    assert second["guests"] == found["plans"][1]["summary"]["total"] + len(second["arrivals"])
    assert max(map(len, found["table"])) <= WIDTH


def test_an_exclusion_may_be_on_any_of_them(module, failing):
    found = module("nova_drain_info", hosts=["cmp-1", "cmp-3"], exclude={"names": ["walker"]})
    assert found["summary"]["excluded"] == 1
    refused = failing("nova_drain_info", hosts=["cmp-1", "cmp-3"], exclude={"names": ["nobody"]})
    assert "'nobody' is no guest on cmp-1, cmp-3" in refused["msg"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hosts": []}, "hosts: [] names no host"),
        ({"hosts": ["cmp-1", "cmp-1"]}, "'cmp-1' is named twice"),
        ({"hosts": ["cmp-*"]}, "is a pattern or a list"),
        ({"hosts": ["cmp-1"], "host": "cmp-1"}, "mutually exclusive"),
        ({}, "one of the following is required: host, hosts"),
        ({"hosts": ["cmp-1", "cmp-9"]}, "'cmp-9' has no nova-compute"),
        ({"host": "cmp-1", "nova_conf": {"cmp-1": "no"}}, "nova_conf.cmp-1"),
    ],
)
def test_bad_input_is_refused(failing, options, said):
    refused = failing("nova_drain_info", **options)
    assert said in refused["msg"]
    assert "Traceback" not in refused.output


def test_the_drain_s_check_mode_says_what_to_beware_of(run_module, nova_conf, api):
    # Other tests move guests about; some host has two that go live, as the caution wants it.
    servers = api.compute.servers(details=True, all_projects=True, status="ACTIVE")
    [(host, _guests)] = Counter(server.compute_host for server in servers).most_common(1)
    options = {"host": host, "max_parallel": 3, "nova_conf": {host: nova_conf}}
    # Who cannot go is none of its business.
    options["on_blocker"] = "drain_the_rest"
    found = run_module("nova_drain", cloud="lab", check=True, **options)
    assert found.writes == []
    assert "cap_below_max_parallel" in codes(found["cautions"])
    assert any(line.startswith("  CAUTION ") for line in found["table"])
