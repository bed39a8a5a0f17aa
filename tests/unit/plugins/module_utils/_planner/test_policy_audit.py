# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who carries what, what of it is wrong, and what holds for each guest."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import policy_audit as a
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Carrier,
    Options,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy import resolve
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy_keys import (
    FLAVOR,
    IMAGE,
    INSTANCE,
    PLACES,
)
from tests.unit.support import guest

STX = "hw:wrs:live_migration_"


def carrier(place=FLAVOR, **texts):
    return Carrier(place, "id-1", "one", texts)


def findings_of(place=FLAVOR, **texts):
    [found] = a.carried([carrier(place, **texts)])
    return found.findings


def held(*guests, flavors=(), **options):
    return a.held(guests, flavors, Options(**options))


# --- carriers ----------------------------------------------------------------------------


def test_only_who_carries_a_policy_is_told():
    bare, asking = carrier(**{"hw:cpu_policy": "shared"}), carrier(**{"lowtide:wish": "leave"})
    [found] = a.carried([bare, asking])
    assert found.carrier is asking
    assert found.keys == {"lowtide:wish": "leave"}
    assert found.asked["wish"].value == "leave"
    assert found.findings == ()


@pytest.mark.parametrize("place", PLACES)
def test_an_invalid_value_is_named_with_its_source(place):
    name = "lowtide_max_downtime_ms" if place == IMAGE else "lowtide:max_downtime_ms"
    [found] = findings_of(place, **{name: "soon"})
    assert (found.kind, found.place, found.id) == (a.INVALID, place, "id-1")
    assert (found.key, found.value, found.field) == (name, "soon", "max_downtime_ms")
    assert "10 to 2000000" in found.text


@pytest.mark.parametrize("name", ["lowtide:max_downtime", f"{STX}tunnel"])
def test_a_key_that_asks_for_nothing_is_unknown(name):
    [found] = findings_of(**{name: "1"})
    assert (found.kind, found.key, found.field) == (a.UNKNOWN, name, "")


def test_two_dialects_that_disagree_are_a_conflict():
    [found] = findings_of(**{"lowtide:max_downtime_ms": "100", f"{STX}max_downtime": "300"})
    assert (found.kind, found.key, found.value) == (a.CONFLICT, f"{STX}max_downtime", "300")
    assert found.field == "max_downtime_ms"
    assert "lowtide:max_downtime_ms asks for 100 and counts" in found.text


@pytest.mark.parametrize("other", ["100", "soon"])
def test_two_dialects_that_agree_or_of_which_one_is_invalid_are_none(other):
    kinds = {
        found.kind
        for found in findings_of(**{"lowtide:max_downtime_ms": "100", f"{STX}max_downtime": other})
    }
    assert a.CONFLICT not in kinds


def test_a_flag_is_said_as_it_is_written():
    texts = {"lowtide:auto_converge": "yes", f"{STX}auto_converge": "false"}
    [found] = findings_of(INSTANCE, **texts)
    assert "'false' is not heard" in found.text
    assert "asks for true" in found.text


# --- guests ------------------------------------------------------------------------------


def test_what_holds_is_what_a_drain_says():
    one = guest(extra_specs={"lowtide:max_downtime_ms": "300"})
    options = Options(profile="minimize_downtime", policy={"recovery_priority": "2"})
    [found] = a.held([one], (), options)
    assert found.policy == resolve(one, options)
    assert found.asks is True


def test_who_asks_for_nothing_does_not_ask():
    [found] = held(guest(metadata={"role": "web", "lowtide:wish": "nonsense"}))
    assert found.asks is False
    assert found.findings == ()


def test_places_that_disagree_are_a_conflict_that_says_what_holds():
    one = guest(
        extra_specs={"lowtide:max_downtime_ms": "300"},
        metadata={"lowtide:max_downtime_ms": "100", "lowtide:post_copy": "false"},
    )
    [held_] = held(one)
    [found] = held_.findings
    assert (found.kind, found.place, found.field) == (a.CONFLICT, INSTANCE, "max_downtime_ms")
    assert found.text == (
        "max_downtime_ms: flavor lowtide:max_downtime_ms 300, instance lowtide:max_downtime_ms 100:"
        " 300 holds (flavor lowtide:max_downtime_ms)"
    )


def test_places_that_agree_are_none():
    same = {"lowtide:max_downtime_ms": "300"}
    [found] = held(guest(extra_specs=same, metadata=same))
    assert found.findings == ()


def test_what_only_the_operator_may_grant_is_refused():
    [found] = held(guest(metadata={"lowtide:post_copy": "true"}))
    [finding] = found.findings
    assert finding.kind == a.REFUSED
    assert "only the operator allows post-copy" in finding.text
    [allowed] = held(guest(metadata={"lowtide:post_copy": "true"}), policy={"post_copy": "true"})
    assert allowed.findings == ()


def flavor(**texts):
    return Carrier(FLAVOR, "f1", "m1", texts)


@pytest.mark.parametrize(
    ("has", "now", "words"),
    [
        ({}, {"lowtide:wish": "leave"}, "has 'leave' by now, and the guest keeps no such key"),
        ({"lowtide:wish": "leave"}, {}, "has no such key by now, and the guest keeps 'leave'"),
        ({"lowtide:wish": "leave"}, {"lowtide:wish": "notify"}, "keeps 'leave' until"),
    ],
)
def test_a_guest_that_keeps_an_old_flavor_is_outdated(has, now, words):
    one = guest(extra_specs={**has, "hw:cpu_policy": "shared"}, flavor_name="m1")
    [found] = held(one, flavors=[flavor(**now)])
    [finding] = found.findings
    assert (finding.kind, finding.key) == (a.OUTDATED, "lowtide:wish")
    assert words in finding.text


@pytest.mark.parametrize("name", ["m1", "gone"])
def test_a_flavor_that_is_the_same_or_gone_is_not_outdated(name):
    one = guest(extra_specs={"lowtide:wish": "notify"}, flavor_name=name)
    now = flavor(**{"lowtide:wish": "notify" if name == "m1" else "leave"})
    [found] = held(one, flavors=[now])
    assert found.findings == ()


def test_guests_are_carriers_too():
    [found] = a.carried(a.instances([guest(metadata={"lowtide:wish": "leave"})]))
    assert (found.carrier.place, found.carrier.id) == (INSTANCE, "g1")
