# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt_migrate_tune against migrations in virtual time, with Nova's own steps in between."""

from __future__ import annotations

import json
import os

import pytest
import yaml

from ansible_collections.lowtide.compute.plugins.module_utils import _tune
from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    HypervisorRefused,
    NotFound,
    Unreachable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import hypervisor
from ansible_collections.lowtide.compute.plugins.modules import libvirt_migrate_tune as module
from tests.unit import fake_libvirt
from tests.unit.fake_libvirt import MIB, FakeLibvirt, Guest

A, B, C = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abc")
#: Nova's default: ten steps from 50 to 500 ms, 150 s apart for a guest of 2 GiB; here 3 s apart.
NOVA = {3.0 * step: 50 + 45 * step for step in range(11)} | {0.1: 50}


@pytest.fixture
def library(monkeypatch):
    library = FakeLibvirt(Guest(A, "instance-1"), Guest(B, "instance-2"))
    monkeypatch.setattr(hypervisor, "libvirt", library)
    return library


class Clock:
    """The library's virtual time, as the modules' clock."""

    def __init__(self, library):
        self.now = self.steady = library.now
        self.sleep = library.sleep


@pytest.fixture
def tune(library, tmp_path):
    """``tune(**options)``: the module's result."""

    def run(check_mode=False, **given):
        options = {name: spec.get("default") for name, spec in module.SPEC.items()}
        options |= {"status_path": str(tmp_path / "tuning.json")} | given
        options["guests"] = [
            dict.fromkeys(module.SPEC["guests"]["options"]) | guest for guest in options["guests"]
        ]
        task = fake_libvirt.task(library, check_mode, **options)
        task.clock = Clock(library)
        return module.handle(task)

    return run


def by_id(found):
    return {row["id"]: row for row in found["guests"]}


def never_set(library):
    return not [call for call, _guest in library.calls if call.startswith("set")]


# --- once ------------------------------------------------------------------------------------


def test_present_sets_what_differs_and_only_once(library, tune):
    first = tune(max_downtime_ms=2000, bandwidth_mib_s=100)
    assert first["changed"]
    assert by_id(first)[A]["applied"] == {"max_downtime_ms": 2000}
    assert first["diff"]["before"] == {
        "instance-1": {"max_downtime_ms": 300},
        "instance-2": {"max_downtime_ms": 300},
    }
    assert first["diff"]["after"]["instance-1"] == {"max_downtime_ms": 2000}
    assert [guest.downtime for guest in library.guests.values()] == [2000, 2000]
    second = tune(max_downtime_ms=2000, bandwidth_mib_s=100)
    assert (second["changed"], second["diff"]) == (False, {"before": {}, "after": {}})


def test_present_in_check_mode_says_the_same_and_sets_nothing(library, tune):
    planned = tune(check_mode=True, max_downtime_ms=2000)
    assert never_set(library)
    assert planned == tune(max_downtime_ms=2000)


def test_each_setting_has_its_own_call_and_unit(library, tune):
    tune(bandwidth_mib_s=50, post_copy_bandwidth_mib_s=70, compression_cache_mib=256)
    guest = library.guests[A]
    assert (guest.speed, guest.post_copy_speed, guest.cache) == (50, 70, 256 * MIB)
    assert guest.downtime == 300


def test_a_guest_has_its_own_values_and_else_the_common_ones(library, tune):
    guests = [{"id": A.upper(), "max_downtime_ms": 100}, {"name": "instance-2"}]
    tune(max_downtime_ms=700, bandwidth_mib_s=40, guests=guests)
    assert [(g.downtime, g.speed) for g in library.guests.values()] == [(100, 40), (700, 40)]


def test_zero_takes_a_common_value_back_for_one_guest(library, tune):
    tune(max_downtime_ms=700, guests=[{"id": A, "max_downtime_ms": 0}, {"id": B}])
    assert [guest.downtime for guest in library.guests.values()] == [300, 700]


def test_who_is_not_named_is_left_alone(library, tune):
    found = tune(max_downtime_ms=700, guests=[{"id": A}])
    assert [row["id"] for row in found["guests"]] == [A]
    assert library.guests[B].downtime == 300


def test_a_domain_that_does_not_run_has_nothing_to_set(library, tune):
    library.guests[B].state = fake_libvirt.SHUTOFF
    assert [row["id"] for row in tune(max_downtime_ms=700)["guests"]] == [A]


def test_a_guest_that_is_not_here_is_told_before_anything_is_set(library, tune):
    with pytest.raises(NotFound, match=f"guests: {C} has no domain") as raised:
        tune(max_downtime_ms=700, guests=[{"id": A}, {"id": C}])
    assert raised.value.details["missing"] == [C]
    assert never_set(library)


def test_present_tells_of_a_migration_that_runs(library, tune):
    library.migrate(A, memory=1000 * MIB)
    library.advance(2)
    rows = by_id(tune(max_downtime_ms=700))
    assert (rows[A]["outcome"], rows[A]["total_ms"], rows[A]["samples"]) == ("running", 2000, 1)
    assert rows[B]["outcome"] == "waiting"


def test_present_knows_when_that_migration_began_and_sets_the_whole_at_once(library, tune):
    library.migrate(A, memory=1000 * MIB)
    library.advance(2)
    row = by_id(tune(max_downtime_ms=700, ramp_seconds=60))[A]
    assert row["started_at"] == _tune.utc(library.time - 2)
    assert row["applied"] == {"max_downtime_ms": 700}


def test_libvirts_refusal_is_the_error(library, tune):
    library.guests[A].deaf["setCompressionCache"] = fake_libvirt.OPERATION_UNSUPPORTED
    with pytest.raises(HypervisorRefused, match="set compression_cache_mib to 128") as raised:
        tune(compression_cache_mib=128)
    assert raised.value.details["libvirt_code"] == fake_libvirt.OPERATION_UNSUPPORTED


@pytest.mark.parametrize("call", ["getMaxDowntime", "getCompressionCache"])
def test_a_reading_that_fails_silently_is_noticed(library, tune, call):
    library.guests[A].deaf[call] = fake_libvirt.OPERATION_TIMEOUT
    with pytest.raises(HypervisorRefused, match="could not be read"):
        tune(max_downtime_ms=1, compression_cache_mib=128)


def test_a_guest_that_leaves_meanwhile_is_no_error(library, tune):
    library.guests[A].deaf["jobStats"] = fake_libvirt.NO_DOMAIN
    assert [row["id"] for row in tune(max_downtime_ms=700)["guests"]] == [B]


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("max_downtime_ms", -1, "within 0 and 2000000"),
        ("max_downtime_ms", 2_000_001, "within"),
        ("bandwidth_mib_s", -5, "within"),
        ("compression_cache_mib", 100, "power of two"),
        ("ramp_seconds", -1.0, "within"),
    ],
)
@pytest.mark.parametrize("in_guests", [True, False])
def test_bad_values_name_the_option(tune, option, value, why, in_guests):
    given = {"guests": [{"id": A, option: value}]} if in_guests else {option: value}
    with pytest.raises(BadOption, match=f"{option}: {value}.*{why}"):
        tune(**given)


# --- watching --------------------------------------------------------------------------------


def test_nova_cannot_take_the_downtime_back(library, tune):
    library.guests.pop(B)
    library.migrate(A, memory=500 * MIB, dirty=120, working_set=120, nova=NOVA)
    found = tune(state="watch", max_downtime_ms=1300)
    row = by_id(found)[A]
    assert (found["ended_by"], row["outcome"], row["final"]) == ("away", "moved", "completed")
    assert row["ended"]
    # The working set needs 1200 ms, which Nova never allows: only our value lets it go.
    assert row["downtime_ms"] == pytest.approx(1200, abs=20)
    assert row["times_applied"]["max_downtime_ms"] >= 2
    assert (
        row["times_overwritten"]["max_downtime_ms"] == row["times_applied"]["max_downtime_ms"] - 1
    )
    assert row["total_ms"] < 30_000
    assert found["changed"]


def test_without_the_tuner_that_guest_never_arrives(library):
    library.migrate(A, memory=500 * MIB, dirty=120, working_set=120, nova=NOVA)
    library.advance(120)
    assert library.guests[A].migration is not None


def test_a_lower_limit_than_novas_is_kept_too(library, tune):
    library.guests.pop(B)
    # Between Nova's step and the next look its value holds: here for 10 ms.
    library.migrate(A, memory=500 * MIB, dirty=120, working_set=40, nova={0.49: 50, 11.99: 500})
    row = by_id(tune(state="watch", max_downtime_ms=100, deadline=30))[A]
    assert row["outcome"] == "running"
    assert row["times_overwritten"] == {"max_downtime_ms": 2}


def test_nothing_is_set_before_the_migration_begins(library, tune):
    found = tune(state="watch", max_downtime_ms=1300, deadline=5)
    assert (found["ended_by"], found["changed"], found["seconds"]) == ("deadline", False, 5.0)
    assert [row["outcome"] for row in found["guests"]] == ["waiting", "waiting"]
    assert never_set(library)


def test_it_ends_when_the_named_guests_are_away(library, tune):
    library.migrate(A, memory=100 * MIB)
    found = tune(state="watch", max_downtime_ms=300, guests=[{"id": A}])
    assert found["ended_by"] == "away"
    assert found["seconds"] < 3
    assert B in library.guests


def test_it_ends_at_once_when_nobody_is_there(library, tune):
    found = tune(state="watch", max_downtime_ms=300, guests=[{"id": C}])
    assert (found["ended_by"], found["guests"]) == ("away", [])


def test_two_guests_are_held_each_to_its_own(library, tune):
    for guest_id in (A, B):
        library.migrate(guest_id, memory=300 * MIB, dirty=120, working_set=120, nova=NOVA)
    guests = [{"id": A, "max_downtime_ms": 1300}, {"id": B, "max_downtime_ms": 400}]
    rows = by_id(tune(state="watch", guests=guests, deadline=60))
    assert (rows[A]["outcome"], rows[B]["outcome"]) == ("moved", "running")
    assert rows[B]["applied"] == {"max_downtime_ms": 400}


def test_a_ramp_lets_it_go_with_less(library, tune):
    library.guests.pop(B)
    library.migrate(A, memory=500 * MIB, dirty=90, working_set=120)
    row = by_id(tune(state="watch", max_downtime_ms=2000, ramp_seconds=60))[A]
    assert row["outcome"] == "moved"
    assert row["downtime_ms"] < 1100
    assert row["times_overwritten"] == {}


def test_figures_are_those_of_the_whole_migration(library, tune):
    library.guests.pop(B)
    library.migrate(A, memory=500 * MIB, disk=300 * MIB, dirty=50, working_set=100, throttle=20)
    row = by_id(tune(state="watch"))[A]
    assert (row["block"], row["throttle_percent"], row["dirty_rate_mib_s"]) == (True, 20, 50.0)
    assert row["disk_bytes"] == 300 * MIB
    assert row["bytes"] > 800 * MIB
    assert row["iterations"] > 1
    assert row["throughput_mib_s"] == 100.0
    assert row["samples"] > 10
    assert row["started_at"] < row["ended_at"]
    assert row["wanted"] == row["applied"] == {}


def test_a_failed_migration_and_its_second_try(library, tune):
    library.guests.pop(B)
    library.migrate(A, memory=5000 * MIB, fails_at=3.0, nova=NOVA)

    def again(seconds, advance=library.advance):
        guest = library.guests.get(A)
        if guest and guest.migration is None and library.time > began + 10:
            guest.downtime = 300
            library.migrate(A, memory=200 * MIB)
        advance(seconds)

    began, library.advance = library.time, again
    row = by_id(tune(state="watch", max_downtime_ms=800))[A]
    assert (row["outcome"], row["attempts"]) == ("moved", 2)
    assert row["total_ms"] < 3000
    assert row["bytes"] < 300 * MIB


def test_a_migration_that_failed_leaves_its_guest_here(library, tune):
    library.migrate(A, memory=5000 * MIB, fails_at=3.0)
    row = by_id(tune(state="watch", deadline=10))[A]
    assert (row["outcome"], row["ended"], row["final"]) == ("stayed", False, "last_sample")
    assert row["downtime_ms"] is None


def test_a_source_that_keeps_the_definition_is_left_all_the_same(library, tune):
    library.guests.pop(B)
    library.migrate(A, memory=200 * MIB, undefines=False)
    found = tune(state="watch")
    assert (found["ended_by"], by_id(found)[A]["outcome"]) == ("away", "moved")


def test_a_restart_of_libvirt_is_survived(library, tune):
    library.guests.pop(B)
    library.migrate(A, memory=1000 * MIB, dirty=120, working_set=120, nova=NOVA)
    library.down = (library.time + 3, library.time + 6)
    found = tune(state="watch", max_downtime_ms=1300)
    assert by_id(found)[A]["final"] == "completed"
    assert found["interruptions"] >= 5
    assert len(library.connections) == 2


def test_a_guest_that_goes_while_libvirt_is_away_is_gone(library, tune):
    library.guests.pop(B)
    library.migrate(A, memory=400 * MIB)
    library.down = (library.time + 3, library.time + 6)
    row = by_id(tune(state="watch"))[A]
    assert (row["outcome"], row["final"], row["ended"]) == ("gone", "last_sample", True)
    assert row["downtime_ms"] is None


def test_libvirt_must_answer_once(library, tune, tmp_path):
    library.down = (library.time, library.time + 60)
    with pytest.raises(Unreachable, match="uri: 'qemu:///system'"):
        tune(state="watch")
    assert os.listdir(tmp_path) == ["tuning.json"]


@pytest.mark.parametrize("call", ["jobStats", "getMaxDowntime", "setMaxDowntime"])
def test_a_watch_goes_on_when_libvirt_declines(library, tune, call):
    library.guests[A].deaf[call] = fake_libvirt.OPERATION_TIMEOUT
    for guest_id in (A, B):
        library.migrate(guest_id, memory=300 * MIB)
    rows = by_id(tune(state="watch", max_downtime_ms=800))
    assert rows[B]["times_applied"] == {"max_downtime_ms": 1}
    assert len(rows[A]["problems"]) == 1
    assert rows[A]["outcome"] == "moved"


def test_check_mode_of_a_watch_is_one_look(library, tune, tmp_path):
    library.migrate(A, memory=300 * MIB)
    found = tune(check_mode=True, state="watch", max_downtime_ms=800, guests=[{"id": A}, {"id": C}])
    assert found["changed"]
    assert by_id(found)[A]["applied"] == {"max_downtime_ms": 800}
    assert never_set(library)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("option", "value"), [("interval", 0.01), ("deadline", -1.0)])
def test_times_must_be_times(tune, option, value):
    with pytest.raises(BadOption, match=option):
        tune(state="watch", **{option: value})


# --- ending a watch --------------------------------------------------------------------------


def test_a_watch_ends_when_its_control_file_goes(library, tune, tmp_path):
    def stop(seconds, advance=library.advance):
        advance(seconds)
        if library.time > began + 4 and (tmp_path / "tuning.json.run").exists():
            (tmp_path / "tuning.json.run").unlink()

    began, library.advance = library.time, stop
    found = tune(state="watch", deadline=600)
    assert found["ended_by"] == "stopped"
    assert 4 <= found["seconds"] < 6
    assert json.loads((tmp_path / "tuning.json").read_text()) == found


def test_what_it_found_is_kept_while_it_runs(library, tune, tmp_path):
    kept = []

    def read(seconds, advance=library.advance):
        advance(seconds)
        kept.append(json.loads((tmp_path / "tuning.json").read_text()))

    library.migrate(A, memory=900 * MIB)
    library.advance = read
    tune(state="watch", deadline=11)
    assert (kept[0]["ended_by"], kept[0]["guests"]) == ("running", [])
    assert by_id(kept[-1])[A]["samples"] >= 10


def test_absent_returns_what_the_last_watch_found(library, tune):
    library.migrate(A, memory=100 * MIB)
    watched = tune(state="watch", max_downtime_ms=800, guests=[{"id": A}])
    found = tune(state="absent")
    assert found == watched | {"changed": False}


def test_absent_without_a_watch_has_nothing_to_say(tune):
    found = tune(state="absent")
    assert (found["changed"], found["guests"], found["ended_by"]) == (False, [], "")


@pytest.fixture
def held_by_another(library, tmp_path):
    """A watch that holds the files and does not end."""
    files = _tune.files_of(str(tmp_path / "tuning.json"), Clock(library))
    assert files.claim()
    yield files
    files.release()


def test_two_watches_do_not_write_to_one_file(tune, held_by_another):
    with pytest.raises(BadOption, match=r"status_path: .*another watch"):
        tune(state="watch")


def test_absent_in_check_mode_leaves_the_watch(tune, held_by_another):
    assert tune(check_mode=True, state="absent")["changed"]
    assert held_by_another.stands()


def test_a_watch_that_does_not_end_is_an_error(tune, held_by_another):
    with pytest.raises(Unreachable, match=r"timeout: the watch at .* did not end within 2 s"):
        tune(state="absent", timeout=2.0)


def test_the_default_directory_is_made(library, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    files = _tune.files_of(None, Clock(library))
    assert files.path == str(tmp_path / ".ansible/lowtide/tuning.json")
    assert os.stat(os.path.dirname(files.path)).st_mode & 0o777 == 0o700


# --- documentation ---------------------------------------------------------------------------


def test_return_describes_the_result(library, tune):
    library.migrate(A, memory=100 * MIB)
    found, told = tune(state="watch", guests=[{"id": A}]), yaml.safe_load(module.RETURN)
    assert set(found) - {"changed", "diff"} == set(told) - {"code", "remedy"}
    assert set(found["guests"][0]) == set(told["guests"]["contains"])


def test_a_time_is_utc_to_the_millisecond():
    assert _tune.utc(1_700_000_000.1234) == "2023-11-14T22:13:20.123Z"
    assert _tune.utc(0.0) == ""
