# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies written to, removed from and read off the real Glance and Nova.

The cloud is migration_policy.yml. Each test leaves it as it found it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

SCENARIO = Path(__file__).with_name("migration_policy.yml")
FIRST_PORT_BASE = 38000
STX = "hw:wrs:live_migration_"
EVERYWHERE = {
    "images": ["cirros"],
    "flavors": ["db"],
    "servers": ["db-1"],
    "policy": {"max_downtime_ms": 100, "post_copy": False, "wish": "notify"},
}
WRITTEN = {"lowtide:max_downtime_ms": "100", "lowtide:post_copy": "false", "lowtide:wish": "notify"}


@pytest.fixture(scope="module")
def lab(start_lab, free_port_base):
    with start_lab(SCENARIO, free_port_base(FIRST_PORT_BASE)) as started:
        yield started


@pytest.fixture(scope="module")
def api(lab, connect):
    return connect(lab)


@pytest.fixture
def cloud(api):
    """``cloud()``: what the APIs say of every image, flavor and instance, dates aside."""

    def look():
        images = api.image.get("/images", params={"visibility": "all"}).json()["images"]
        flavors = api.compute.get("/flavors/detail", params={"is_public": "None"}).json()["flavors"]
        servers = api.compute.get("/servers/detail", params={"all_tenants": "1"}).json()["servers"]
        found = {row["name"]: row for row in images}
        found |= {row["name"]: row for row in flavors}
        found |= {row["name"]: row for row in servers}
        return {
            name: {k: v for k, v in row.items() if k not in ("updated_at", "updated")}
            for name, row in found.items()
        }

    return look


@pytest.fixture
def restored(cloud, module):
    """Takes everything off again that a test wrote, and holds it to the byte."""
    before = cloud()
    entries = []
    yield entries.append
    module("migration_policy", policies=entries, state="absent", missing="ignore")
    assert cloud() == before


@pytest.fixture
def patch(api):
    """``patch(image, op, name, value)``: change one property as Glance's API says it."""

    def send(image, op, name, value=None):
        body = [{"op": op, "path": f"/{name}", **({"value": value} if value else {})}]
        kind = "application/openstack-images-v2.1-json-patch"
        answer = api.image.patch(f"/images/{image.id}", json=body, headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text

    return send


def read(outcome):
    """The paths that a module read, without queries."""
    return [call["path"].partition("?")[0] for call in outcome.calls if call["method"] == "GET"]


# --- writing -----------------------------------------------------------------------------


def test_policies_are_written_once_and_removed_without_a_trace(module, cloud, restored):
    restored(EVERYWHERE)
    first = module("migration_policy", policies=[EVERYWHERE], diff=True)
    assert first["changed"]
    assert [row["kind"] for row in first["resources"]] == ["image", "flavor", "instance"]
    now = cloud()
    assert {k: v for k, v in now["db"]["extra_specs"].items() if "lowtide" in k} == WRITTEN
    assert now["db"]["extra_specs"]["hw:cpu_policy"] == "shared"
    assert now["db-1"]["metadata"] == {f"{STX}timeout": "soon", **WRITTEN}
    for name, text in WRITTEN.items():
        assert now["cirros"][name.replace(":", "_")] == text
    second = module("migration_policy", policies=[EVERYWHERE], diff=True)
    assert not second["changed"]
    assert second.writes == []
    assert second["diff"] == {"before": {}, "after": {}}
    assert "warnings" not in second


def test_check_mode_says_the_same_and_writes_nothing(module, restored):
    restored(EVERYWHERE)
    told = module("migration_policy", policies=[EVERYWHERE], check=True, diff=True)
    assert told.writes == []
    done = module("migration_policy", policies=[EVERYWHERE], diff=True)
    assert len(done.writes) == 3
    for field in ("changed", "resources", "diff", "msg", "notes"):
        assert told[field] == done[field], field


def test_images_cost_two_calls_and_flavors_one_whatever_is_chosen(module):
    names = ["cirros", "golden", "win"]
    entries = [{"images": names, "flavors": ["db", "plain"], "policy": {"wish": "leave"}}]
    told = module("migration_policy", policies=entries, check=True)
    paths = read(told)
    assert sum(path.endswith("/images") for path in paths) == 2
    assert sum(path.endswith("/flavors/detail") for path in paths) == 1


def test_a_filter_finds_images_by_tag_and_property(module, api, restored):
    image = api.image.find_image("golden")
    api.image.add_tag(image, "tier-1")
    try:
        entry = {
            "image_filter": {"tags": ["tier-1"], "properties": {"os_distro": "debian"}},
            "policy": {"wish": "notify"},
        }
        restored(entry)
        found = module("migration_policy", policies=[entry])
        assert [row["name"] for row in found["resources"]] == ["golden"]
        module("migration_policy", policies=[entry], state="absent")
    finally:
        api.image.remove_tag(image, "tier-1")


def test_ids_are_taken_like_names(module, cloud, restored):
    known = cloud()
    entry = {
        "images": [known["cirros"]["id"]],
        "flavors": [known["db"]["id"]],
        "servers": [known["db-1"]["id"]],
        "policy": {"wish": "leave"},
    }
    restored(entry)
    found = module("migration_policy", policies=[entry])
    assert [row["name"] for row in found["resources"]] == ["cirros", "db", "db-1"]


def test_starlingx_s_keys_are_taken_by_nova_and_glance(module, cloud, restored):
    entries = [
        {
            "images": ["cirros"],
            "flavors": ["db"],
            "dialect": "starlingx",
            "policy": {"completion_timeout": 180, "max_downtime_ms": 500},
        },
        {
            "servers": ["app"],
            "project": "admin",
            "dialect": "starlingx",
            "policy": {"recovery_priority": 1, "auto_converge": True},
        },
    ]
    for entry in entries:
        restored(entry)
    module("migration_policy", policies=entries)
    now = cloud()
    assert now["db"]["extra_specs"][f"{STX}timeout"] == "180"
    assert now["cirros"]["hw_wrs_live_migration_max_downtime"] == "500"
    assert now["app"]["metadata"]["sw:wrs:recovery_priority"] == "1"
    assert now["app"]["metadata"][f"{STX}auto_converge"] == "true"


def test_a_neutral_key_that_counts_first_is_told(module, restored):
    entry = {"flavors": ["promised"], "dialect": "starlingx", "policy": {"max_downtime_ms": 500}}
    restored(entry)
    told = module("migration_policy", policies=[entry])
    [warning] = told["warnings"]
    assert "lowtide:max_downtime_ms=300 counts before" in str(warning)


def test_exact_leaves_nothing_but_what_was_said(module, api, cloud, patch):
    image, before = api.image.find_image("golden"), cloud()
    entry = {"images": ["golden"], "policy": {"wish": "notify"}}
    try:
        module("migration_policy", policies=[entry], state="exact")
        now = cloud()["golden"]
        assert now["lowtide_wish"] == "notify"
        assert "lowtide_max_downtime_ms" not in now
        assert now["os_distro"] == "debian"
        again = module("migration_policy", policies=[entry], state="exact")
        assert again.writes == []
    finally:
        module("migration_policy", policies=[entry], state="absent")
        patch(image, "add", "lowtide_max_downtime_ms", "soon")
    assert cloud() == before


def test_windows_is_said_once_with_what_else_it_needs(module, cloud, restored):
    entry = {"image_filter": {"properties": {"os_distro": "windows"}}, "windows": True}
    restored(entry)
    told = module("migration_policy", policies=[entry])
    assert cloud()["win"]["os_type"] == "windows"
    warned = str(told["warnings"])
    for word in ("time zone", "sysinfo_serial", "cpu_mode", "hw_machine_type"):
        assert word in warned
    assert "warnings" not in module("migration_policy", policies=[entry])


# --- refusing ----------------------------------------------------------------------------


def refused(outcome, *words):
    assert outcome["code"] == "bad_option", outcome["msg"]
    assert "\n" not in outcome["msg"]
    for word in words:
        assert word in outcome["msg"]
    assert outcome.writes == []
    assert not outcome.get("changed")


#: Every option of an entry with a bad value; what is said of it.
BAD = [
    ({"images": ["nope"]}, "images: 'nope' is neither"),
    ({"images": [""]}, "images: '' is neither"),
    ({"image_filter": {"tags": ["nope"]}}, "image_filter: {'tags': ['nope']"),
    ({"image_filter": {"properties": {"os_distro": "plan9"}}}, "image_filter: {'properties'"),
    ({"flavors": ["nope"]}, "flavors: 'nope' is neither"),
    ({"servers": ["nope"]}, "servers: 'nope' is neither"),
    ({"servers": ["twin"], "project": "nope"}, "project: 'nope' is neither"),
    ({"servers": ["twin"], "project": "service"}, "servers: 'twin' is neither"),
]
BAD_VALUES = [
    ("completion_timeout", 9, "10 to 7200"),
    ("max_downtime_ms", 2_000_001, "10 to 2000000"),
    ("bandwidth_mib_s", 5, "10 to 100000"),
    ("recovery_priority", 11, "1 to 10"),
]


@pytest.mark.parametrize(("entry", "words"), BAD)
def test_who_cannot_be_found_is_named_before_anything_is_written(failing, entry, words):
    good = {"flavors": ["db"], "policy": {"wish": "leave"}}
    bad = {**entry, "policy": {"wish": "leave"}}
    refused(failing("migration_policy", policies=[good, bad]), f"policies[1].{words}")


@pytest.mark.parametrize(("field", "value", "words"), BAD_VALUES)
def test_a_bad_value_is_named_before_anything_is_asked(failing, field, value, words):
    good = {"flavors": ["db"], "policy": {"wish": "leave"}}
    bad = {"images": ["cirros"], "policy": {field: value}}
    outcome = failing("migration_policy", policies=[good, bad])
    refused(outcome, f"policies[1].policy.{field}: {value}", words)
    assert outcome.calls == []


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"max_downtime_ms": "soon"}, "max_downtime_ms"),
        ({"auto_converge": "maybe"}, "auto_converge"),
        ({"post_copy": "maybe"}, "post_copy"),
        ({"on_timeout": "explode"}, "on_timeout"),
        ({"wish": "stay"}, "wish"),
        ({"max_downtime": 100}, "max_downtime"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(failing, policy, words):
    outcome = failing("migration_policy", policies=[{"flavors": ["db"], "policy": policy}])
    assert words in outcome["msg"]
    assert outcome.calls == []


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"policy": {"wish": "leave"}}, "chooses nothing"),
        ({"flavors": ["db"]}, "sets nothing"),
        ({"flavors": ["db"], "windows": True}, "windows: True is for images"),
        ({"flavors": ["db"], "project": "p", "policy": {"wish": "leave"}}, "project: 'p'"),
        (
            {"images": ["cirros"], "dialect": "starlingx", "policy": {"auto_converge": True}},
            "no key of StarlingX's on an image",
        ),
        (
            {"flavors": ["db"], "dialect": "starlingx", "policy": {"completion_timeout": 119}},
            "0 (none of its own) or 120 to 800",
        ),
    ],
)
def test_an_entry_that_makes_no_sense_is_named(failing, entry, words):
    outcome = failing("migration_policy", policies=[entry])
    refused(outcome, "policies[0]", words)
    assert outcome.calls == []


def test_all_faults_are_told_at_once(failing):
    entries = [{"flavors": ["nope"], "images": ["neither"], "policy": {"wish": "leave"}}]
    outcome = failing("migration_policy", policies=entries)
    refused(outcome, "'nope'", "'neither'", "Correct all 2")
    assert [row["value"] for row in outcome["faults"]] == ["neither", "nope"]


def test_entries_that_contradict_each_other_are_refused(failing):
    entries = [
        {"flavors": ["db"], "policy": {"max_downtime_ms": 100}},
        {"flavors": ["db", "plain"], "policy": {"max_downtime_ms": 200}},
    ]
    refused(failing("migration_policy", policies=entries), "contradicts policies[0]", "db (")


def test_what_is_missing_may_be_ignored(module, restored):
    entry = {"flavors": ["db", "nope"], "policy": {"wish": "leave"}}
    restored({"flavors": ["db"], "policy": {"wish": "leave"}})
    found = module("migration_policy", policies=[entry], missing="ignore")
    assert [row["name"] for row in found["resources"]] == ["db"]


def test_a_name_of_several_images_is_refused(failing, api):
    twin = api.image.create_image(
        name="cirros", disk_format="raw", container_format="bare", allow_duplicates=True
    )
    try:
        outcome = failing("migration_policy", policies=[{"images": ["cirros"], "windows": True}])
        refused(outcome, "several images", twin.id)
    finally:
        api.image.delete_image(twin)


def test_images_of_others_and_protected_ones_are_left_alone_unless_told(module, failing, api):
    service = api.identity.find_project("service")
    image = api.image.create_image(
        name="foreign", disk_format="raw", container_format="bare", owner=service.id, os_x="y"
    )
    entry = {"images": ["foreign"], "policy": {"wish": "leave"}}
    chosen = {"image_filter": {"properties": {"os_x": "y"}}, "policy": {"wish": "leave"}}
    try:
        refused(failing("migration_policy", policies=[entry]), "another project", "others: true")
        refused(failing("migration_policy", policies=[chosen]), "but 1 of others")
        api.image.update_image(image, owner=api.session.get_project_id(), is_protected=True)
        refused(failing("migration_policy", policies=[entry]), "protected")
        left = module("migration_policy", policies=[chosen], missing="ignore")["left_out"]
        assert [(row["name"].split()[0], row["why"]) for row in left] == [("foreign", "protected")]
        assert module("migration_policy", policies=[entry], others=True)["changed"]
    finally:
        api.image.update_image(image, is_protected=False)
        api.image.delete_image(image)


def test_an_image_of_another_system_is_not_said_to_hold_windows(failing, api, patch):
    image = api.image.find_image("golden")
    patch(image, "add", "os_type", "linux")
    try:
        entry = {"images": ["golden"], "windows": True}
        refused(failing("migration_policy", policies=[entry]), "os_type=linux")
    finally:
        patch(image, "remove", "os_type")


def test_a_guest_whose_metadata_nova_would_not_change_is_refused(failing, api, server):
    guest = server("twin")
    api.compute.reset_server_state(guest, "error")
    try:
        entry = {"servers": ["twin"], "flavors": ["db"], "policy": {"wish": "leave"}}
        refused(failing("migration_policy", policies=[entry]), "'twin' is error")
    finally:
        api.compute.reset_server_state(guest, "active")


def test_a_member_is_refused_with_the_right_it_lacks(run_module):
    entry = {"flavors": ["db"], "policy": {"wish": "leave"}}
    outcome = run_module("migration_policy", cloud="lab-member", policies=[entry])
    assert outcome["failed"]
    assert outcome["code"] in ("unauthorized", "bad_option")
    assert outcome.writes == [] or outcome["code"] == "unauthorized"


# --- the audit ---------------------------------------------------------------------------


def test_the_audit_says_who_carries_what_and_what_is_wrong(module):
    found = module("migration_policy_info")
    assert {row["name"]: row["keys"] for row in found["images"]} == {
        "golden": {"lowtide_max_downtime_ms": "soon"}
    }
    assert {row["name"]: row["asks"] for row in found["flavors"]} == {
        "promised": {"max_downtime_ms": {"value": 300, "key": "lowtide:max_downtime_ms"}}
    }
    assert {row["name"] for row in found["instances"]} == {"app", "db-1"}
    wrong = {(row["kind"], row["place"], row["name"]) for row in found["findings"]}
    assert wrong == {
        ("invalid", "image", "golden"),
        ("invalid", "instance", "db-1"),
        ("conflict", "instance", "app"),
    }
    assert found["summary"]["invalid"] == 2
    assert any("golden" in line and "'soon'" in line for line in found["table"])


def test_the_audit_says_what_a_drain_would(module):
    defaults = {
        "profile": "minimize_downtime",
        "policy": {"recovery_priority": 4},
        "on_timeout": "leave",
    }
    audit = {row["name"]: row for row in module("migration_policy_info", **defaults)["guests"]}
    for host in ("cmp-1", "cmp-2"):
        for row in module("nova_drain_info", host=host, **defaults)["guests"]:
            assert audit[row["name"]]["policy"] == row["policy"]
            assert audit[row["name"]]["policy_findings"] == row["policy_findings"]
            assert audit[row["name"]]["host"] == host


def test_the_audit_reads_lists_only(module):
    found = module("migration_policy_info")
    paths = read(found)
    lists = [path for path in paths if path.endswith(("/images", "/detail"))]
    assert len(lists) == 4
    assert not any(guest["id"] in path for path in paths for guest in found["guests"])
    assert found.writes == []


def test_a_flavor_that_changed_is_told_of_the_guests_that_keep_the_old_one(module, restored):
    entry = {"flavors": ["db"], "policy": {"max_downtime_ms": 100}}
    restored(entry)
    module("migration_policy", policies=[entry])
    found = module("migration_policy_info")
    [old] = [row for row in found["findings"] if row["kind"] == "outdated"]
    assert (old["name"], old["key"]) == ("db-1", "lowtide:max_downtime_ms")
    held = {row["name"]: row["policy"]["max_downtime_ms"]["value"] for row in found["guests"]}
    assert held["db-1"] == 500


@pytest.mark.parametrize(
    ("scope", "guests", "images"),
    [
        ({"host": "cmp-2"}, {"batch"}, {"golden"}),
        ({"projects": ["admin"]}, {"app", "batch", "db-1", "twin"}, {"golden"}),
        ({"projects": ["service"]}, set(), set()),
        ({"guests": "asking"}, {"app"}, {"golden"}),
        ({"guests": "none"}, set(), {"golden"}),
    ],
)
def test_the_audit_can_be_narrowed(module, scope, guests, images):
    found = module("migration_policy_info", **scope)
    assert {row["name"] for row in found["guests"]} == guests
    assert {row["name"] for row in found["images"]} == images


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"host": "cmp-11"}, "not_found", "host: 'cmp-11'"),
        ({"host": "cmp-*"}, "bad_option", "host: 'cmp-*'"),
        ({"host": ""}, "bad_option", "host: ''"),
        ({"projects": ["nope"]}, "not_found", "projects: 'nope'"),
        ({"policy": {"max_downtime_ms": 1}}, "bad_option", "policy.max_downtime_ms: 1"),
    ],
)
def test_bad_options_of_the_audit_are_named(failing, options, code, words):
    outcome = failing("migration_policy_info", **options)
    assert outcome["code"] == code
    assert words in outcome["msg"]
    assert outcome.writes == []
