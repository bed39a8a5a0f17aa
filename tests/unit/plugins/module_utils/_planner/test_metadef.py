# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a namespace should become, and the calls that lead there."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import metadef

HOURS = {"title": "Hours", "type": "integer", "minimum": 1, "default": "24"}
WHERE = {"title": "Where", "type": "string"}


def structure(**given):
    return {"namespace": "Ex::Backup", **given}


def ns(**given):
    return metadef.read(structure(**given))


THERE = ns(
    display_name="Backup",
    visibility="public",
    protected=False,
    owner="p1",
    properties={"hours": HOURS, "where": WHERE},
    objects=[{"name": "plan", "properties": {"hours": HOURS}}],
    tags=[{"name": "daily"}, {"name": "weekly"}],
    resource_type_associations=[{"name": "OS::Nova::Flavor", "prefix": "ex:"}],
)
PROTECTED = metadef.present(THERE, ns(protected=True), purge=False)


def steps(now, goal):
    return [(each.action, each.kind, each.name) for each in metadef.decide(now, goal).changes]


# --- reading -----------------------------------------------------------------------------


def test_what_only_glance_says_is_not_read():
    dates = {"created_at": "2026", "updated_at": "2026", "self": "/v2/x", "schema": "/v2/y"}
    answer = structure(
        **dates,
        properties={"hours": {"name": "hours", **HOURS}},
        objects=[{"name": "plan", "required": [], "properties": {}, **dates}],
        resource_type_associations=[{"name": "T", "prefix": "", **dates}],
        tags=[{"name": "daily", **dates}],
    )
    wanted = ns(
        display_name=None,
        properties={"hours": HOURS | {"description": None}},
        objects=[{"name": "plan"}],
        resource_type_associations=[{"name": "T"}],
        tags=[{"name": "daily"}],
    )
    assert metadef.read(answer) == wanted
    assert not metadef.decide(metadef.read(answer), wanted).changes


@pytest.mark.parametrize(
    ("default", "kept"), [(5, "5"), (True, "True"), (2.5, "2.5"), ("x", "x"), ("", "")]
)
def test_defaults_are_texts_as_glance_keeps_them(default, kept):
    read = ns(properties={"p": {"title": "P", "type": "string", "default": default}})
    assert read.members["property"]["p"]["default"] == kept


def test_the_structure_is_sorted_and_has_nothing_empty():
    assert list(metadef.structure_of(THERE)["properties"]) == ["hours", "where"]
    assert metadef.structure_of(ns(properties={}, tags=[])) == {"namespace": "Ex::Backup"}
    assert metadef.structure_of(None) == {}
    assert metadef.structure_of(ns(tags=[{"name": "b"}, {"name": "a"}]))["tags"] == [
        {"name": "a"},
        {"name": "b"},
    ]


# --- present -----------------------------------------------------------------------------


def test_a_new_namespace_is_one_call():
    wanted = ns(properties={"hours": HOURS})
    [step] = metadef.decide(None, metadef.present(None, wanted, purge=False)).changes
    assert (step.action, step.kind) == ("create", "namespace")
    assert step.body == {"namespace": "Ex::Backup", "properties": {"hours": HOURS}}


def test_what_others_added_stays():
    goal = metadef.present(THERE, ns(properties={"hours": HOURS}), purge=False)
    assert goal == THERE
    assert steps(THERE, goal) == []


def test_with_purge_only_what_is_named_stays():
    goal = metadef.present(THERE, ns(properties={"hours": HOURS}), purge=True)
    assert steps(THERE, goal) == [
        ("delete", "property", "where"),
        ("delete", "object", "plan"),
        ("delete", "tag", "daily"),
        ("delete", "tag", "weekly"),
        ("delete", "association", "OS::Nova::Flavor"),
    ]
    assert goal.attributes == THERE.attributes


def test_members_that_differ_become_exactly_what_they_are_here():
    wanted = ns(
        properties={"hours": WHERE, "new": WHERE},
        objects=[{"name": "plan", "description": "d"}],
        tags=[{"name": "hourly"}],
        resource_type_associations=[{"name": "OS::Nova::Flavor"}],
    )
    decision = metadef.decide(THERE, metadef.present(THERE, wanted, purge=False))
    assert [(step.action, step.name, dict(step.body)) for step in decision.changes] == [
        ("update", "hours", {"name": "hours", **WHERE}),
        ("create", "new", {"name": "new", **WHERE}),
        ("update", "plan", {"name": "plan", "description": "d", "required": [], "properties": {}}),
        ("create", "hourly", {"name": "hourly"}),
        ("delete", "OS::Nova::Flavor", {}),
        ("create", "OS::Nova::Flavor", {"name": "OS::Nova::Flavor"}),
    ]
    assert decision.lift is None
    assert decision.restore is None


def test_an_update_of_the_namespace_says_all_that_shall_stay():
    goal = metadef.present(THERE, ns(display_name="Backups"), purge=False)
    [step] = metadef.decide(THERE, goal).changes
    assert step.body == {
        "namespace": "Ex::Backup",
        "display_name": "Backups",
        "visibility": "public",
        "protected": False,
        "owner": "p1",
    }


# --- absent ------------------------------------------------------------------------------


def test_a_namespace_without_a_definition_goes_whole():
    assert metadef.absent(THERE, None) is None
    assert steps(THERE, None) == [("delete", "namespace", "Ex::Backup")]


def test_what_is_not_there_needs_nothing():
    assert metadef.absent(None, THERE) is None
    assert steps(None, None) == []


def test_only_what_the_definition_names_goes_while_others_have_something_there():
    goal = metadef.absent(THERE, ns(properties={"hours": HOURS}, tags=[{"name": "daily"}]))
    assert steps(THERE, goal) == [("delete", "property", "hours"), ("delete", "tag", "daily")]


def test_associations_stay_for_what_others_left():
    ours = ns(
        properties={"hours": HOURS, "where": WHERE},
        objects=[{"name": "plan"}],
        resource_type_associations=[{"name": "OS::Nova::Flavor"}],
    )
    goal = metadef.absent(THERE, ours)
    assert list(goal.members["association"]) == ["OS::Nova::Flavor"]
    assert list(goal.members["tag"]) == ["daily", "weekly"]


def test_a_namespace_that_defines_nothing_any_more_goes():
    assert metadef.absent(THERE, THERE) is None


# --- protection --------------------------------------------------------------------------


def test_protection_is_lifted_for_what_is_deleted_and_put_back():
    goal = metadef.absent(PROTECTED, ns(tags=[{"name": "daily"}]))
    decision = metadef.decide(PROTECTED, goal)
    assert [step.name for step in decision.changes] == ["daily"]
    assert decision.lift.body == {**decision.restore.body, "protected": False}
    assert decision.restore.body["protected"] is True
    assert decision.restore.body["display_name"] == "Backup"


def test_protection_hinders_no_change_and_is_not_lifted_for_one():
    goal = metadef.present(PROTECTED, ns(properties={"hours": WHERE}), purge=False)
    decision = metadef.decide(PROTECTED, goal)
    assert [step.action for step in decision.changes] == ["update"]
    assert decision.lift is None


def test_a_protected_namespace_that_goes_needs_no_protection_back():
    decision = metadef.decide(PROTECTED, None)
    assert decision.lift.body["protected"] is False
    assert decision.restore is None


def test_protection_that_is_to_go_does_not_come_back():
    wanted = ns(protected=False, tags=[{"name": "daily"}])
    decision = metadef.decide(PROTECTED, metadef.present(PROTECTED, wanted, purge=True))
    assert decision.changes[-1].body["protected"] is False
    assert decision.restore.body["protected"] is False
