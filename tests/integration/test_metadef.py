# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_metadef on the real Glance: what it keeps, what it is told, and what Horizon then sees."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

ROOT = Path(__file__).parents[2]
OURS = sorted((ROOT / "roles/image_metadata/files/metadefs").glob("*.json"))
#: Of Glance's own definitions those with all kinds of properties, objects, and associations.
GLANCES = ("compute-libvirt-image", "compute-quota", "operating-system", "software-databases")
HOURS = {"title": "Hours", "type": "integer", "minimum": 1, "maximum": 168, "default": 24}
PLACE = {"title": "Where", "type": "string", "enum": ["here", "there"], "default": "here"}
BACKUP = {
    "namespace": "Example::Backup",
    "display_name": "Backup",
    "description": "When, and where to.",
    "visibility": "public",
    "resource_type_associations": [
        {"name": "OS::Glance::Image", "prefix": "ex_"},
        {"name": "OS::Nova::Server", "prefix": "ex:", "properties_target": "metadata"},
    ],
    "properties": {"hours": HOURS, "ex: place": PLACE},
    "objects": [
        {
            "name": "a plan",
            "description": "d",
            "required": ["hours"],
            "properties": {"hours": HOURS},
        }
    ],
    "tags": [{"name": "Daily"}, {"name": "weekly"}],
}
PATH = "/metadefs/namespaces"
BACKUPS = f"{PATH}/Example%3A%3ABackup"


@pytest.fixture
def glance(api):
    """``glance(path)``: what a GET answers, or None for what is not there."""

    def get(path):
        answer = api.image.get(path)
        assert answer.status_code in (200, 404), answer.text
        return answer.json() if answer.status_code == 200 else None

    return get


@pytest.fixture(autouse=True)
def nothing_left(api, glance):
    """Each test begins and ends with an empty catalogue."""

    def clear():
        for each in glance(PATH)["namespaces"]:
            path = f"{PATH}/{quote(each['namespace'], safe='')}"
            if each["protected"]:
                open_to_all = {"namespace": each["namespace"], "protected": False}
                assert api.image.put(path, json=open_to_all).status_code == 200
            assert api.image.delete(path).status_code == 204

    clear()
    yield
    clear()


@pytest.fixture
def there(module):
    module("image_metadef", definition=BACKUP)


def definition(**changes):
    return BACKUP | changes


def made_by_people(answer):
    """Glance's answer without what it adds itself."""
    hidden = {"self", "schema", "created_at", "updated_at", "owner"}
    if isinstance(answer, dict):
        return {key: made_by_people(v) for key, v in answer.items() if key not in hidden}
    return [made_by_people(each) for each in answer] if isinstance(answer, list) else answer


# --- present -----------------------------------------------------------------------------


def test_a_namespace_is_made_in_one_call_and_then_left_alone(module, glance):
    made = module("image_metadef", definition=BACKUP)
    assert made["changed"] is True
    assert made.writes == [f"POST image /v2{PATH}"]
    kept = made_by_people(glance(BACKUPS))
    assert kept["properties"]["hours"] == HOURS | {"default": "24"}
    assert kept["objects"][0]["required"] == ["hours"]
    assert {tag["name"] for tag in kept["tags"]} == {"Daily", "weekly"}
    assert kept["resource_type_associations"] == BACKUP["resource_type_associations"]
    assert kept["protected"] is False
    again = module("image_metadef", definition=BACKUP, purge=True)
    assert (again["changed"], again["changes"], again.writes) == (False, [], [])
    assert again["msg"] == "Example::Backup: nothing to change"


def test_what_glance_answers_is_a_definition_too(module, glance, there):
    again = module("image_metadef", definition=glance(BACKUPS), purge=True)
    assert (again["changed"], again.writes) == (False, [])


def test_check_mode_tells_the_same_and_writes_nothing(module, glance):
    told = module("image_metadef", check=True, diff=True, definition=BACKUP)
    assert told.writes == []
    assert glance(BACKUPS) is None
    made = module("image_metadef", diff=True, definition=BACKUP)
    assert {key: made[key] for key in ("changed", "changes", "namespace", "diff", "msg")} == {
        key: told[key] for key in ("changed", "changes", "namespace", "diff", "msg")
    }
    assert told["diff"]["before"] == {}
    assert told["diff"]["after"] == told["namespace"]


def test_only_what_differs_is_sent(module, glance, there):
    wanted = definition(
        display_name="Backups",
        properties={"ex: place": PLACE | {"enum": ["here"]}, "new": HOURS},
        objects=[{"name": "a plan"}],
        tags=[{"name": "a tag"}],
        resource_type_associations=[{"name": "OS::Glance::Image", "prefix": "exa_"}],
    )
    changed = module("image_metadef", definition=wanted, diff=True)
    assert changed.writes == [
        f"PUT image /v2{BACKUPS}/properties/ex%3A%20place",
        f"POST image /v2{BACKUPS}/properties",
        f"PUT image /v2{BACKUPS}/objects/a%20plan",
        f"POST image /v2{BACKUPS}/tags/a%20tag",
        f"DELETE image /v2{BACKUPS}/resource_types/OS%3A%3AGlance%3A%3AImage",
        f"POST image /v2{BACKUPS}/resource_types",
        f"PUT image /v2{BACKUPS}",
    ]
    kept = made_by_people(glance(BACKUPS))
    assert set(kept["properties"]) == {"hours", "ex: place", "new"}
    assert kept["properties"]["ex: place"]["enum"] == ["here"]
    assert kept["objects"] == [{"name": "a plan", "required": [], "properties": {}}]
    assert {tag["name"] for tag in kept["tags"]} == {"Daily", "weekly", "a tag"}
    assert (kept["display_name"], kept["visibility"]) == ("Backups", "public")
    assert changed["diff"]["before"]["display_name"] == "Backup"
    again = module("image_metadef", definition=wanted)
    assert (again["changed"], again.writes) == (False, [])


def test_owner_and_visibility_stay_when_the_title_changes(module, glance, api, there):
    owned = {"namespace": "Example::Backup", "owner": "p-1", "visibility": "public"}
    assert api.image.put(BACKUPS, json=owned).status_code == 200
    module("image_metadef", definition={"namespace": "Example::Backup", "display_name": "B"})
    kept = glance(BACKUPS)
    assert (kept["owner"], kept["visibility"], kept["display_name"]) == ("p-1", "public", "B")


def test_purge_removes_what_the_definition_does_not_name(module, glance, there):
    wanted = {"namespace": "Example::Backup", "properties": {"hours": HOURS}}
    purged = module("image_metadef", definition=wanted, purge=True)
    assert {(row["action"], row["kind"]) for row in purged["changes"]} == {
        ("delete", "property"),
        ("delete", "object"),
        ("delete", "tag"),
        ("delete", "association"),
    }
    kept = made_by_people(glance(BACKUPS))
    assert "objects" not in kept
    assert "tags" not in kept
    assert list(kept["properties"]) == ["hours"]


# --- absent ------------------------------------------------------------------------------


def test_a_definition_takes_back_its_own_and_leaves_what_others_added(module, glance, api, there):
    foreign = {"name": "theirs", **PLACE}
    assert api.image.post(f"{BACKUPS}/properties", json=foreign).status_code == 201
    gone = module("image_metadef", definition=BACKUP, state="absent")
    assert gone["changed"] is True
    kept = glance(BACKUPS)
    assert list(kept["properties"]) == ["theirs"]
    assert len(kept["resource_type_associations"]) == 2
    again = module("image_metadef", definition=BACKUP, state="absent")
    assert (again["changed"], again.writes) == (False, [])


def test_a_definition_takes_back_its_namespace_when_nothing_is_left(module, glance, there):
    told = module("image_metadef", check=True, definition=BACKUP, state="absent")
    assert told["changed"] is True
    assert told.writes == []
    gone = module("image_metadef", definition=BACKUP, state="absent")
    assert gone.writes == [f"DELETE image /v2{BACKUPS}"]
    assert glance(BACKUPS) is None
    again = module("image_metadef", definition=BACKUP, state="absent")
    assert (again["changed"], again["msg"]) == (False, "Example::Backup: not there")


def test_a_name_alone_removes_all(module, glance, api, there):
    assert api.image.post(f"{BACKUPS}/tags/theirs").status_code == 201
    gone = module("image_metadef", namespace="Example::Backup", state="absent")
    assert gone["changes"] == [{"action": "delete", "kind": "namespace", "name": "Example::Backup"}]
    assert glance(BACKUPS) is None


# --- protected ---------------------------------------------------------------------------


def test_what_is_protected_is_left_alone_until_told(module, failing, glance):
    module("image_metadef", definition=definition(protected=True))
    kept = glance(BACKUPS)
    idle = module("image_metadef", definition=BACKUP)
    assert (idle["changed"], idle["namespace"]["protected"]) == (False, True)
    for wanted in ({"definition": definition(tags=[{"name": "t"}])}, {"definition": BACKUP}):
        state = "absent" if wanted["definition"] is BACKUP else "present"
        refused = failing("image_metadef", state=state, **wanted)
        assert refused["msg"].startswith("change_protected: False keeps Example::Backup as it is")
        assert "set change_protected: true" in refused["msg"]
        assert refused["code"] == "bad_option"
        assert refused.writes == []
    assert glance(BACKUPS) == kept


def test_what_is_protected_is_changed_when_told_and_protected_again(module, glance):
    module("image_metadef", definition=definition(protected=True))
    few = definition(tags=[])
    module("image_metadef", definition=few, purge=True, change_protected=True)
    kept = glance(BACKUPS)
    assert "tags" not in kept
    assert kept["protected"] is True
    gone = module("image_metadef", definition=few, state="absent", change_protected=True)
    assert gone["changed"] is True
    assert glance(BACKUPS) is None


# --- refused -----------------------------------------------------------------------------


def test_all_faults_of_a_definition_are_told_before_any_call(failing, glance):
    wrong = definition(
        visibility="all",
        properties={"a": HOURS | {"minimum": 1.5}, "b": PLACE | {"enum": [1]}, "c/d": PLACE},
    )
    refused = failing("image_metadef", definition=wrong)
    for fault in (
        "definition: 'Example::Backup'",
        "visibility: 'all' is none of public, private",
        "properties[a].minimum: 1.5 is no whole number",
        "properties[b].enum: [1] is no list of texts",
        "properties[c/d]: the name has a slash",
    ):
        assert fault in refused["msg"]
    assert refused.calls == []
    assert glance(BACKUPS) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "one of the following is required: definition, namespace"),
        ({"definition": BACKUP, "namespace": "X"}, "mutually exclusive: definition|namespace"),
        ({"namespace": "X"}, "namespace: 'X' is only for state: absent"),
        ({"definition": BACKUP, "purge": True, "state": "absent"}, "purge: True is only for"),
        ({"definition": "{"}, "definition"),
    ],
)
def test_options_that_make_no_sense_are_named(failing, options, words):
    refused = failing("image_metadef", **options)
    assert words in refused["msg"]
    assert refused.calls == []


def test_who_may_not_define_is_told_so(failing, glance):
    refused = failing("image_metadef", cloud="lab-member", definition=BACKUP)
    assert refused["code"] == "unauthorized"
    assert "cloud: 'lab-member'" in refused["msg"]
    assert "admin role" in refused["msg"]
    assert "<" not in refused["msg"]
    assert glance(BACKUPS) is None


# --- files -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def glances_files():
    """Where the lab's Glance keeps the definitions that it ships."""
    done = subprocess.run(
        [ROOT / ".ci/venv", "lab"], capture_output=True, text=True, check=True, timeout=600
    )
    return Path(done.stdout.strip().splitlines()[-1]) / "etc/glance/metadefs"


@pytest.mark.parametrize("name", GLANCES)
def test_glance_s_own_definitions_come_back_as_they_are(module, glances_files, name):
    wanted = json.loads((glances_files / f"{name}.json").read_text())
    made = module("image_metadef", definition=wanted)
    assert made["changed"] is True
    again = module("image_metadef", definition=wanted, purge=True)
    assert (again["changed"], again["changes"]) == (False, [])


def seen_in_horizon(glance, resource, target=None):
    """Names that Horizon offers: metadefs_namespace_full_list of its api/glance.py."""
    found = set()
    for each in glance(f"{PATH}?resource_types={quote(resource, safe='')}")["namespaces"]:
        associated = [
            kept.get("properties_target")
            for kept in each["resource_type_associations"]
            if kept["name"] == resource
        ]
        if target is None or target in associated:
            name = quote(each["namespace"], safe="")
            whole = glance(f"{PATH}/{name}?resource_type={quote(resource, safe='')}")
            found |= set(whole["properties"])
    return found


def test_the_role_s_definitions_show_each_key_as_its_place_spells_it(module, glance):
    fields = {"completion_timeout", "max_downtime_ms", "bandwidth_mib_s", "auto_converge"}
    fields |= {"post_copy", "on_timeout", "recovery_priority", "wish"}
    for path in OURS:
        wanted = json.loads(path.read_text())
        assert module("image_metadef", definition=wanted)["changed"] is True
        again = module("image_metadef", check=True, definition=wanted, purge=True)
        assert again["changed"] is False, path.stem
    stx = {f"hw:wrs:live_migration_{name}" for name in ("timeout", "max_downtime", "auto_converge")}
    with_colons = {f"lowtide:{field}" for field in fields} | stx
    assert seen_in_horizon(glance, "OS::Nova::Flavor") == with_colons
    assert seen_in_horizon(glance, "OS::Nova::Server", "metadata") == with_colons | {
        "sw:wrs:recovery_priority"
    }
    assert seen_in_horizon(glance, "OS::Glance::Image") == {
        *(f"lowtide_{field}" for field in fields),
        "hw_wrs_live_migration_timeout",
        "hw_wrs_live_migration_max_downtime",
    }


def test_starlingx_s_own_namespace_keeps_what_else_it_has(module, glance, failing):
    """Its flavors' namespace is protected, and has a dozen keys that no drain reads."""
    theirs = {
        "namespace": "OS::Compute::TiSFlavor",
        "protected": True,
        "visibility": "public",
        "resource_type_associations": [{"name": "OS::Nova::Flavor"}],
        "properties": {"hw:wrs:min_vcpus": {"title": "CPUs", "type": "integer", "minimum": 1}},
    }
    ours = json.loads((OURS[0].parent / "starlingx-flavor.json").read_text())
    module("image_metadef", definition=theirs)
    assert "OS::Compute::TiSFlavor" in failing("image_metadef", definition=ours)["msg"]
    module("image_metadef", definition=ours, change_protected=True)
    kept = glance(f"{PATH}/OS%3A%3ACompute%3A%3ATiSFlavor")
    assert set(kept["properties"]) == {*theirs["properties"], *ours["properties"]}
    assert kept["protected"] is True
    module("image_metadef", definition=ours, state="absent", change_protected=True)
    kept = glance(f"{PATH}/OS%3A%3ACompute%3A%3ATiSFlavor")
    assert set(kept["properties"]) == set(theirs["properties"])
    assert kept["protected"] is True
