# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The namespaces that ship with the role offer what a policy's reader takes, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.lowtide.compute.plugins.module_utils._planner import (
    metadef,
    metadef_check,
    policy_keys,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Policy

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "roles/image_metadata"
PAGE = (ROOT / "docs/metadefs.md").read_text()
FILES = {
    path.stem: json.loads(path.read_text())
    for path in sorted((ROLE / "files/metadefs").glob("*.json"))
}
#: Where Horizon looks for the definitions of a place (resource type, target): getNamespaces in
#: its metadata.service.js and update-metadata.action.service.js.
TARGETS = {
    policy_keys.FLAVOR: ("OS::Nova::Flavor", None),
    policy_keys.IMAGE: ("OS::Glance::Image", None),
    policy_keys.INSTANCE: ("OS::Nova::Server", "metadata"),
}
#: What people write for numbers, flags and words, right and wrong.
TEXTS = (
    *("", " ", "0", "00", "010", "+10", "-0", "-1", "-500", "10.0", "10.5", "1e3", "0x10", "10 "),
    *("true", "false", "True", "False", "yes", "no", "none", "null", "undefined", "abort"),
    *("Abort", "leave", "force_complete", "force complete", "migrate", "notify", "LEAVE"),
    *("500", "500ms", "1,000", "1 000", "10\n", "\u0661\u0662\u0663", "9" * 12),
)
#: Every whole number up to here is tried, and of the ranges' ends those around them.
ALL_UP_TO = 8000


def offered():
    """(place, key as that place spells it) -> schemas that Horizon shows for it."""
    found = {}
    for place, (resource, target) in TARGETS.items():
        for definition in FILES.values():
            for association in definition["resource_type_associations"]:
                if (association["name"], association.get("properties_target")) == (
                    resource,
                    target,
                ):
                    prefix = association.get("prefix", "")
                    for name, schema in definition["properties"].items():
                        found.setdefault((place, prefix + name), []).append(schema)
    return found


def read():
    """(place, key as that place spells it) -> the key that a policy's reader has there."""
    return {
        (place, policy_keys.spelled(key.name, place)): key
        for key in policy_keys.KEYS
        for place in key.places
    }


def numbers_to_try():
    ends = (100_000, policy_keys.MAX_DOWNTIME_MS, 9_999_999_999)
    around = {end + step for end in ends for step in range(-3, 4)}
    spread = range(ALL_UP_TO, 2_100_000, 997)
    return sorted({*range(ALL_UP_TO), *spread, *around})


keys = pytest.mark.parametrize("where", sorted(read()), ids=" ".join)


def test_each_key_is_offered_once_where_it_is_read_and_nowhere_else():
    assert {where: len(schemas) for where, schemas in offered().items()} == dict.fromkeys(read(), 1)


@keys
def test_horizon_takes_a_number_exactly_if_the_reader_does(where):
    [schema], kind = offered()[where], read()[where].kind
    wrong = [
        number
        for number in numbers_to_try()
        if metadef_check.takes(schema, str(number)) != (kind.read(str(number)) is not None)
    ]
    # A reader takes 0 and 1 for false and true; Horizon writes the words.
    assert wrong == ([0, 1] if schema["type"] == "boolean" else [])


@keys
def test_what_horizon_takes_the_reader_takes(where):
    [schema], kind = offered()[where], read()[where].kind
    taken = [text for text in TEXTS if metadef_check.takes(schema, text)]
    assert taken, "none of the texts is right"
    assert [text for text in taken if kind.read(text) is None] == []


@keys
def test_every_word_that_the_reader_takes_is_a_choice(where):
    [schema], kind = offered()[where], read()[where].kind
    if kind.allowed.startswith("one of "):
        assert schema["enum"] == kind.allowed.removeprefix("one of ").split(", ")
    else:
        assert "enum" not in schema


@keys
def test_what_horizon_fills_in_is_taken(where):
    """It saves "null" for what has no default and was not touched: tree.service.js, getValue."""
    [schema] = offered()[where]
    assert read()[where].kind.read(str(schema["default"])) is not None


def test_neutral_defaults_are_what_holds_without():
    defaults = Policy()
    for name, schema in FILES["lowtide"]["properties"].items():
        value = getattr(defaults, name)
        if value is not None:
            assert policy_keys.KINDS[name].read(str(schema["default"])) == value, name


def test_starlingx_s_defaults_are_starlingx_s():
    """As stx-glance's etc/metadefs/{compute-tis-flavor,tis-*}.json have them."""
    found = {
        (definition["namespace"], name.replace(":", "_").removeprefix("hw_wrs_live_migration_")): (
            str(schema["default"])
        )
        for stem, definition in FILES.items()
        if stem.startswith("starlingx")
        for name, schema in definition["properties"].items()
    }
    assert found == {
        ("OS::Compute::TiSFlavor", "timeout"): "180",
        ("OS::Compute::TiSFlavor", "max_downtime"): "500",
        ("OS::Compute::TiSFlavor", "auto_converge"): "true",
        ("TiS::Compute::LiveMigrationImage", "timeout"): "180",
        ("TiS::Compute::LiveMigrationImage", "max_downtime"): "500",
        ("TiS::Compute::LiveMigrationInstance", "timeout"): "180",
        ("TiS::Compute::LiveMigrationInstance", "max_downtime"): "500",
        ("TiS::Compute::LiveMigrationInstance", "auto_converge"): "true",
        ("TiS::Compute::RecoveryInstance", "sw_wrs_recovery_priority"): "1",
    }


@pytest.mark.parametrize("stem", FILES)
def test_glance_keeps_each_file_as_it_is(stem):
    assert metadef_check.faults(FILES[stem]) == []
    assert metadef_check.doubts(FILES[stem]) == []
    assert FILES[stem]["visibility"] == "public"


@pytest.mark.parametrize("stem", FILES)
def test_a_pattern_is_read_alike_by_horizon_and_python(stem):
    """AngularJS puts ^ and $ around a pattern; alternatives must not fall out of them."""
    for name, schema in FILES[stem]["properties"].items():
        if "pattern" in schema:
            assert re.fullmatch(r"\^\([0-9|\[\]-]+\)\$", schema["pattern"]), name


@keys
def test_what_is_allowed_is_said_in_words_too(where):
    """Horizon's message for a pattern is only that the text does not fit it."""
    [schema] = offered()[where]
    for end in re.findall(r"[0-9]+", read()[where].kind.allowed):
        assert re.search(rf"\b{end}\b", schema["description"]), end


def test_what_is_read_back_is_what_was_sent():
    for definition in FILES.values():
        namespace = metadef.read(definition)
        assert metadef.read(metadef.structure_of(namespace)) == namespace


def test_the_page_lists_each_file_with_its_namespace():
    rows = re.findall(r"^\| `([\w-]+)\.json` \| `([\w:]+)` \| (\w+) \|", PAGE, re.MULTILINE)
    assert {stem: name for stem, name, _dialect in rows} == {
        stem: definition["namespace"] for stem, definition in FILES.items()
    }


def test_the_role_has_each_file_in_a_dialect_that_the_page_says():
    tasks = yaml.safe_load((ROLE / "tasks/metadefs.yml").read_text())
    dialects = tasks[0]["vars"]["__image_metadata_files"]
    said = dict(re.findall(r"^\| `([\w-]+)\.json` \| `[\w:]+` \| (\w+) \|", PAGE, re.MULTILINE))
    assert {stem: dialect for dialect, stems in dialects.items() for stem in stems} == said
