# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a definition, all of it, with its place; and what Horizon's form takes."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import metadef_check as check

WHOLE = {
    "namespace": "Ex::Backup",
    "display_name": "Backup",
    "description": "d" * 500,
    "visibility": "public",
    "protected": True,
    "owner": "p1",
    "created_at": "2026-11-20T20:00:00Z",
    "self": "/v2/metadefs/namespaces/Ex::Backup",
    "resource_type_associations": [
        {"name": "OS::Nova::Server", "prefix": "ex:", "properties_target": "metadata"}
    ],
    "properties": {
        "hours": {
            "title": "Hours",
            "type": "integer",
            "minimum": 1,
            "maximum": 9,
            "default": 5,
            "description": "",
            "readonly": False,
        },
        "a:b c": {"title": "", "type": "string", "pattern": "^a$", "enum": ["a"], "default": "a"},
        "many": {
            "title": "Many",
            "type": "array",
            "items": {"type": "string", "enum": ["x"]},
            "operators": ["<in>"],
            "minItems": 0,
            "maxItems": 0,
            "uniqueItems": True,
            "additionalItems": False,
        },
    },
    "objects": [{"name": "plan", "required": ["hours"], "properties": {}}, {"name": "other"}],
    "tags": [{"name": "daily"}, {"name": "Daily"}],
}


def prop(**given):
    return {"namespace": "X", "properties": {"p": {"title": "P", "type": "string", **given}}}


def test_a_whole_definition_has_no_faults():
    assert check.faults(WHOLE) == []
    assert check.doubts(WHOLE) == []


def test_what_is_null_is_not_given():
    assert check.faults(prop(minimum=None, default=None) | {"description": None}) == []


@pytest.mark.parametrize(
    ("definition", "fault"),
    [
        ([], "it is no dictionary"),
        ({}, "namespace: it is missing"),
        ({"namespace": " "}, "namespace: it is no text, or empty"),
        ({"namespace": 5}, "namespace: it is no text, or empty"),
        ({"namespace": "a/b"}, "namespace: it has a slash"),
        ({"namespace": "x" * 81}, "namespace: it is longer than 80 letters"),
        ({"namespace": "X", "description": "x" * 501}, "description: it is longer than 500"),
        ({"namespace": "X", "display_name": 5}, "display_name: 5 is no text"),
        ({"namespace": "X", "visibility": "all"}, "visibility: 'all' is none of public, private"),
        ({"namespace": "X", "protected": "yes"}, "protected: 'yes' is neither true nor false"),
        (
            {"namespace": "X", "propertys": {}},
            "propertys: there is no such key (there are namespace, ",
        ),
        ({"namespace": "X", "properties": []}, "properties: [] is no dictionary"),
        ({"namespace": "X", "tags": {}}, "tags: {} is no list"),
        ({"namespace": "X", "tags": ["daily"]}, "tags[0]: it is no dictionary"),
        ({"namespace": "X", "tags": [{}]}, "tags[0].name: it is missing"),
        ({"namespace": "X", "tags": [{"name": 5}]}, "tags[0].name: it is no text"),
        ({"namespace": "X", "tags": [{"name": "a"}] * 2}, "tags[a]: it is there twice"),
        ({"namespace": "X", "objects": [{"name": "a/b"}]}, "objects[a/b].name: it has a slash"),
        (
            {"namespace": "X", "objects": [{"name": "o", "required": ["a", "a"]}]},
            "objects[o].required: ['a', 'a'] repeats a name",
        ),
        (
            {"namespace": "X", "objects": [{"name": "o", "required": "a"}]},
            "objects[o].required: 'a' is no list of texts",
        ),
        (
            {"namespace": "X", "objects": [{"name": "o", "properties": {"p": {"title": "P"}}}]},
            "objects[o].properties[p].type: it is missing",
        ),
        (
            {"namespace": "X", "resource_type_associations": [{"name": "T", "prefx": "a"}]},
            "resource_type_associations[T].prefx: there is no such key",
        ),
        ({"namespace": "X", "properties": {"a/b": {}}}, "properties[a/b]: the name has a slash"),
        ({"namespace": "X", "properties": {"p": 5}}, "properties[p]: it is no dictionary"),
        ({"namespace": "X", "properties": {"p": {"type": "string"}}}, "title: it is missing"),
        (prop(type="text"), "properties[p].type: 'text' is none of array, boolean"),
        (prop(minimum=1.5), "properties[p].minimum: 1.5 is no whole number"),
        (prop(maximum="5"), "properties[p].maximum: '5' is no whole number"),
        (prop(maximum=True), "properties[p].maximum: True is no whole number"),
        (prop(minLength=-1), "properties[p].minLength: -1 is less than 0"),
        (prop(enum=["a", 1]), "properties[p].enum: ['a', 1] is no list of texts"),
        (prop(pattern="("), "properties[p].pattern: '(' is no regular expression"),
        (prop(pattern=5), "properties[p].pattern: 5 is no text"),
        (prop(default=["a"]), "properties[p].default: ['a'] is neither text, number"),
        (prop(items={"enum": [1]}), "properties[p].items: type: it is missing; enum: [1] is no"),
        (prop(readonly="no"), "properties[p].readonly: 'no' is neither"),
        (prop(required=["q"]), "properties[p].required: there is no such key"),
        (prop(minimum=2, maximum=1), "properties[p].minimum: 2 is more than the maximum of 1"),
        (prop(minLength=2, maxLength=1), "minLength: 2 is more than the maxLength of 1"),
        (prop(minItems=2, maxItems=1), "minItems: 2 is more than the maxItems of 1"),
    ],
)
def test_a_fault_is_named_with_its_place(definition, fault):
    found = check.faults(definition)
    assert any(fault in each for each in found), found


def test_all_faults_are_told_at_once():
    definition = prop(minimum="a", enum=[1]) | {"visibility": "x", "tags": [{}]}
    assert len(check.faults(definition)) == 4


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "boolean"}, ["true", "False"], ["yes", "1", ""]),
        ({"type": "integer", "minimum": 0, "maximum": 9}, ["0", "9"], ["-1", "10", "5.0", "a"]),
        ({"type": "number", "maximum": 9}, ["-1", "8.5"], ["9.1", "1e3", ""]),
        ({"type": "string", "enum": ["a", "b"]}, ["a", "b"], ["A", "c", ""]),
        ({"type": "string", "pattern": "(a|b)"}, ["a", "b"], ["ab", "ba", ""]),
        ({"type": "string", "pattern": "a|b"}, ["a", "b", "ab", "xb"], ["ba", ""]),
        ({"type": "string", "minLength": 1, "maxLength": 2}, ["a", "ab"], ["", "abc"]),
        ({"type": "string", "enum": []}, ["anything"], []),
        ({"type": "array"}, ["<in> a,b"], []),
    ],
)
def test_what_horizon_s_form_takes(schema, right, wrong):
    assert [text for text in right if not check.takes(schema, text)] == []
    assert [text for text in wrong if check.takes(schema, text)] == []


def test_a_default_that_the_property_refuses_is_a_doubt_wherever_it_is():
    wrong = {"p": {"title": "P", "type": "string", "enum": ["a"], "default": "b"}}
    definition = {
        "namespace": "X",
        "properties": wrong,
        "objects": [{"name": "o", "properties": wrong}, {"name": "empty"}],
    }
    assert check.faults(definition) == []
    assert check.doubts(definition) == [
        "properties[p].default: 'b' is nothing that the property takes",
        "objects[o].properties[p].default: 'b' is nothing that the property takes",
    ]
