# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What setting and removing policies does to a carrier, and what forbids it."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import policy_edit as e
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Carrier
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy_keys import (
    FLAVOR,
    IMAGE,
    INSTANCE,
    KEYS,
    KINDS,
    PLACES,
)
from tests.unit.support import guest

MINE = "p1"
#: A value for each field that every dialect takes.
VALUES = {
    "completion_timeout": 180,
    "max_downtime_ms": 500,
    "bandwidth_mib_s": 100,
    "auto_converge": True,
    "post_copy": False,
    "on_timeout": "leave",
    "recovery_priority": 3,
    "wish": "notify",
}
#: Fields that StarlingX has a key for, by place.
STX = {
    FLAVOR: {"completion_timeout", "max_downtime_ms", "auto_converge"},
    IMAGE: {"completion_timeout", "max_downtime_ms"},
    INSTANCE: {"completion_timeout", "max_downtime_ms", "auto_converge", "recovery_priority"},
}


def carrier(place=FLAVOR, **texts):
    return Carrier(place, "id-1", "one", texts, MINE)


def entry(number=0, **fields):
    more = {name: fields.pop(name) for name in ("dialect", "windows") if name in fields}
    return e.Entry(f"policies[{number}]", fields, **more)


def changed(carrier_, *entries, state=e.PRESENT):
    change, faults = e.change_of(carrier_, entries, state)
    assert faults == []
    return change


# --- texts -------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_every_field_has_a_neutral_key_everywhere(place):
    texts, faults = e.texts_of(entry(**VALUES), place)
    assert faults == []
    separator = "_" if place == IMAGE else ":"
    assert set(texts) == {f"lowtide{separator}{name}" for name in KINDS}


@pytest.mark.parametrize("place", PLACES)
def test_starlingx_has_keys_for_some(place):
    texts, faults = e.texts_of(entry(dialect=e.STARLINGX, **VALUES), place)
    refused = {fault.option.rpartition(".")[2] for fault in faults}
    assert refused == set(VALUES) - STX[place]
    assert len(texts) == len(STX[place])
    assert all("lowtide" not in name for name in texts)


def test_what_is_written_is_what_a_drain_reads():
    for key in KEYS:
        value = VALUES[key.field]
        assert key.kind.read(e.text_of(value)) == value


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (180, "180"), (" leave ", "leave")]
)
def test_values_are_written_as_texts(value, text):
    assert e.text_of(value) == text


@pytest.mark.parametrize(
    ("dialect", "field", "value", "words"),
    [
        (e.NEUTRAL, "max_downtime_ms", 9, "10 to 2000000"),
        (e.NEUTRAL, "completion_timeout", 7201, "10 to 7200"),
        (e.NEUTRAL, "recovery_priority", 0, "1 to 10"),
        (e.NEUTRAL, "bandwidth_mib_s", -1, "no limit"),
        (e.STARLINGX, "completion_timeout", 119, "120 to 800"),
        (e.STARLINGX, "max_downtime_ms", 99, "100 to"),
    ],
)
def test_a_value_out_of_range_names_option_value_and_range(dialect, field, value, words):
    texts, [fault] = e.texts_of(entry(3, dialect=dialect, **{field: value}), FLAVOR)
    assert texts == {}
    assert (fault.option, fault.value) == (f"policies[3].policy.{field}", value)
    assert words in fault.remedy


# --- changes -----------------------------------------------------------------------------


def test_only_what_differs_is_put():
    found = changed(
        carrier(**{"lowtide:wish": "notify", "hw:cpu_policy": "shared"}),
        entry(wish="notify", max_downtime_ms=100),
    )
    assert found.put == {"lowtide:max_downtime_ms": "100"}
    assert found.removed == ()
    assert found.before() == {"lowtide:wish": "notify"}
    assert found.after() == {"lowtide:max_downtime_ms": "100", "lowtide:wish": "notify"}


def test_what_is_so_already_changes_nothing():
    found = changed(carrier(**{"lowtide:wish": "notify"}), entry(wish="notify"))
    assert not found.changes
    assert found.before() == found.after()


def test_exact_takes_off_every_other_policy_and_nothing_else():
    texts = {
        "lowtide:wish": "leave",
        "lowtide:mistyped": "1",
        "hw:wrs:live_migration_tunnel": "true",
        "hw:wrs:live_migration_timeout": "180",
        "hw:cpu_policy": "shared",
        "sw:wrs:guest:heartbeat": "true",
    }
    found = changed(carrier(**texts), entry(wish="notify"), state=e.EXACT)
    assert found.put == {"lowtide:wish": "notify"}
    assert set(found.removed) == {
        "lowtide:mistyped",
        "hw:wrs:live_migration_tunnel",
        "hw:wrs:live_migration_timeout",
    }


def test_absent_removes_what_present_would_set_whatever_its_value():
    texts = {"lowtide:wish": "leave", "lowtide:post_copy": "false", "role": "web"}
    found = changed(carrier(INSTANCE, **texts), entry(wish="notify"), state=e.ABSENT)
    assert (found.put, found.removed) == ({}, ("lowtide:wish",))


def test_absent_without_a_policy_removes_every_policy():
    texts = {"lowtide_wish": "leave", "hw_wrs_live_migration_timeout": "x", "os_type": "windows"}
    found = changed(carrier(IMAGE, **texts), entry(), state=e.ABSENT)
    assert found.removed == ("hw_wrs_live_migration_timeout", "lowtide_wish")


def test_absent_removes_what_is_there_only():
    assert not changed(carrier(), entry(wish="notify"), state=e.ABSENT).changes
    assert not changed(carrier(), entry(), state=e.ABSENT).changes


def test_several_entries_add_up():
    found = changed(carrier(), entry(0, wish="leave"), entry(1, post_copy=False))
    assert found.put == {"lowtide:wish": "leave", "lowtide:post_copy": "false"}


def test_entries_that_agree_are_no_contradiction():
    assert changed(carrier(), entry(0, wish="leave"), entry(1, wish="leave")).changes


def test_entries_that_contradict_each_other_are_named():
    _change, [fault] = e.change_of(
        carrier(), (entry(0, wish="leave"), entry(1, wish="notify")), e.PRESENT
    )
    assert fault.option.startswith("policies[1].policy")
    assert "policies[0]" in fault.why
    assert "'leave'" in fault.why
    assert "one (id-1)" in fault.why


# --- Windows -----------------------------------------------------------------------------


def test_windows_is_said_of_images_only():
    wish = entry(windows=True, wish="notify")
    assert changed(carrier(IMAGE), wish).put["os_type"] == "windows"
    assert "os_type" not in changed(carrier(FLAVOR), wish).put


def test_windows_is_taken_back_where_it_was_said():
    wish = entry(windows=True)
    said, other = carrier(IMAGE, os_type="windows"), carrier(IMAGE, os_type="linux")
    assert changed(said, wish, state=e.ABSENT).removed == ("os_type",)
    assert not changed(other, wish, state=e.ABSENT).changes
    assert not changed(carrier(IMAGE, lowtide_wish="leave"), wish, state=e.ABSENT).changes


def test_an_image_of_another_system_is_refused():
    change = changed(carrier(IMAGE, os_type="linux"), entry(windows=True))
    [fault] = e.forbidden(change, "policies[0].images", project=MINE, others=True)
    assert "os_type=linux" in fault.why


@pytest.mark.parametrize(
    ("machine", "loose"),
    [("", True), ("q35", True), ("pc", True), ("pc-q35-7.2", False), ("pc-q35-jammy", False)],
)
def test_what_windows_needs_is_told_once(machine, loose):
    image = carrier(IMAGE, **({"hw_machine_type": machine} if machine else {}))
    notes = e.windows_notes([changed(image, entry(windows=True))])
    assert any("time zone" in note for note in notes)
    assert any("hw_machine_type" in note for note in notes) is loose
    said = changed(carrier(IMAGE, os_type="windows"), entry(windows=True))
    assert e.windows_notes([said]) == []


# --- what forbids it ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "protected", "others", "word"),
    [
        (MINE, False, False, None),
        ("p2", False, False, "another project (p2)"),
        ("", False, False, "another project (none)"),
        (MINE, True, False, "protected"),
        ("p2", True, True, None),
    ],
)
def test_images_of_others_are_protected(owner, protected, others, word):
    image = Carrier(IMAGE, "i", "n", {}, owner, protected)
    change = changed(image, entry(wish="leave"))
    faults = e.forbidden(change, "policies[0].images", project=MINE, others=others)
    assert [word in fault.why for fault in faults] == ([True] if word else [])


def test_what_does_not_change_is_not_forbidden():
    image = Carrier(IMAGE, "i", "n", {"lowtide_wish": "leave"}, "p2")
    change = changed(image, entry(wish="leave"))
    assert e.forbidden(change, "o", project=MINE, others=False) == []
    flavor = changed(carrier(FLAVOR), entry(wish="leave"))
    assert e.forbidden(flavor, "o", project="p2", others=False) == []


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({}, None),
        ({"vm_state": "stopped"}, None),
        ({"vm_state": "error"}, "is error"),
        ({"vm_state": "rescued"}, "is rescued"),
        ({"task_state": "migrating"}, "busy (migrating)"),
    ],
)
def test_nova_changes_metadata_in_some_states_only(fields, word):
    faults = e.unchangeable(guest(**fields), "policies[0].servers")
    assert [word in fault.why for fault in faults] == ([True] if word else [])


def test_a_guest_carries_its_metadata():
    found = e.carrier_of(guest(metadata={"a": "b"}, project_id="p"))
    assert (found.place, found.texts, found.owner) == (INSTANCE, {"a": "b"}, "p")


@pytest.mark.parametrize(("name", "text"), [("", "i"), ("i", "i"), ("n", "n (i)")])
def test_names_say_what_is_meant(name, text):
    assert e.shown(Carrier(IMAGE, "i", name)) == text


def test_a_key_that_does_not_count_is_told():
    texts = {"hw:wrs:live_migration_max_downtime": "300", "hw:wrs:live_migration_timeout": "180"}
    change = changed(carrier(**texts), entry(max_downtime_ms=100, completion_timeout=180))
    [note] = e.shadowed(change)
    assert "lowtide:max_downtime_ms=100 counts before" in note
    assert "hw:wrs:live_migration_max_downtime=300" in note


def test_a_key_that_means_nothing_there_is_not_told():
    change = changed(carrier(**{"sw:wrs:recovery_priority": "1"}), entry(recovery_priority=3))
    assert e.shadowed(change) == []
