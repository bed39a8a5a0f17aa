# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The APIs' answers before the role, after check mode, when it had written, when it was undone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

PLACES = ("images", "flavors", "servers", "namespaces")


@pytest.fixture(scope="module")
def kept(host):
    """``kept(moment)``: what look.py kept then."""

    def read(name):
        return json.loads(host.file(f"{os.environ['SNAPSHOTS']}/{name}.json").content_string)

    return read


def cloud(snapshot):
    """What a snapshot says of the cloud alone."""
    return {place: snapshot[place] for place in PLACES}


def test_check_mode_writes_nothing(kept):
    checked = kept("checked")
    assert checked["writes"] == []
    assert cloud(checked) == cloud(kept("before"))


def test_policies_are_where_they_were_meant_to_be(kept):
    written = kept("written")
    assert written["images"]["cirros"]["lowtide_max_downtime_ms"] == "100"
    assert written["images"]["cirros"]["lowtide_post_copy"] == "false"
    assert written["images"]["win-2025"]["os_type"] == "windows"
    assert written["images"]["win-2025"]["lowtide_wish"] == "notify"
    assert written["flavors"]["db"]["extra_specs"] == {
        "hw:cpu_policy": "shared",
        "lowtide:max_downtime_ms": "100",
        "lowtide:post_copy": "false",
    }
    assert written["servers"]["ledger"]["metadata"] == {
        "hw:wrs:live_migration_timeout": "180",
        "sw:wrs:recovery_priority": "1",
    }


def test_who_was_not_chosen_is_as_before(kept):
    before, written = kept("before"), kept("written")
    for place, name in (("flavors", "plain"), ("flavors", "promised"), ("servers", "app")):
        assert written[place][name] == before[place][name]


def test_namespaces_are_defined_for_horizon(kept):
    new = kept("written")["namespaces"].keys() - kept("before")["namespaces"].keys()
    assert len(new) == 5
    assert "TiS::Compute::LiveMigrationImage" in new


def test_converging_twice_writes_once(kept):
    """``written`` was kept after both: two runs have written as much as one."""
    calls = [call.split("/v2")[0] for call in kept("written")["writes"]]
    images, others, namespaces = 2 * ["PATCH image "], 2 * ["POST compute "], 5 * ["POST image "]
    assert calls == images + others + namespaces


def test_the_audit_finds_what_was_planted_and_names_it(kept, host):
    audit = kept("audit")
    [invalid] = [row for row in audit["findings"] if row["kind"] == "invalid"]
    assert (invalid["place"], invalid["name"]) == ("flavor", "promised")
    assert (invalid["key"], invalid["value"]) == ("lowtide:on_timeout", "explode")
    said = host.file(f"{os.environ['SNAPSHOTS']}/failed.txt").content_string
    assert "flavor promised" in said
    assert "lowtide:on_timeout 'explode'" in said


def test_the_audit_says_what_holds_and_whose_word_it_is(kept):
    guests = {row["name"]: row["policy"] for row in kept("audit")["guests"]}
    said = {"value": 300, "source": "flavor lowtide:max_downtime_ms"}
    assert guests["app"]["max_downtime_ms"] == said
    said = {"value": 180, "source": "instance hw:wrs:live_migration_timeout"}
    assert guests["ledger"]["completion_timeout"] == said
    assert guests["desktop"]["wish"] == {"value": "notify", "source": "image lowtide_wish"}


def test_the_audit_tells_who_keeps_an_old_flavor(kept):
    old = {(r["name"], r["key"]) for r in kept("audit")["findings"] if r["kind"] == "outdated"}
    assert old == {("ledger", "lowtide:max_downtime_ms"), ("ledger", "lowtide:post_copy")}


BAD = yaml.safe_load(Path(os.environ["SCENARIO"], "values", "bad.yml").read_text())["bad_values"]


@pytest.mark.parametrize("number", range(len(BAD)), ids=[row["words"][0] for row in BAD])
def test_a_bad_value_is_refused_by_name(kept, number):
    told = kept("refusals")[number]
    assert told["said"], "it was taken"
    for words in BAD[number]["words"]:
        assert str(words) in " ".join(told["said"])


def test_every_variable_was_tried(kept, host):
    defaults = f"{os.environ['SCENARIO']}/../../roles/image_metadata/defaults/main.yml"
    names = yaml.safe_load(host.file(defaults).content_string)
    tried = {f"image_metadata_{name}" for row in BAD for name in row}
    assert names.keys() - tried == {"image_metadata_api_host"}


def test_nothing_is_written_for_a_bad_value(kept):
    assert kept("refused")["writes"] == kept("written")["writes"]
    assert cloud(kept("refused")) == cloud(kept("written"))


def test_removing_leaves_everything_as_it_was(kept):
    assert cloud(kept("removed")) == cloud(kept("before"))


def test_removing_twice_removes_once(kept):
    assert kept("removed_again")["writes"] == kept("removed")["writes"]
    assert cloud(kept("removed_again")) == cloud(kept("before"))
