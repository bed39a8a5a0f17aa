# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where libvirt has a guest, and what that means when Nova has it on its source."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.witness import (
    ALARMS,
    Sight,
    alarm,
    look,
    misplaced,
)

STATES = (None, "", "running", "paused", "shutdown", "crashed", "suspended", "nostate")


@pytest.mark.parametrize(
    ("said", "sight"),
    [
        ({}, Sight(None, None)),
        ({"cmp-1": m.Domains()}, Sight("", None)),
        ({"cmp-1": m.Domains(error="ssh: no route")}, Sight(None, None)),
        ({"cmp-1": m.Domains({"g2": "running"}, ("g1",))}, Sight("", None, leftover=True)),
        ({"cmp-1": m.Domains({"g1": "running"}, ("g2",))}, Sight("running", None)),
        ({"cmp-1": m.Domains(), "cmp-2": m.Domains({"g1": "paused"})}, Sight("", "paused")),
        ({"cmp-2": m.Domains({"g1": "running"}), "cmp-9": m.Domains()}, Sight(None, "running")),
    ],
)
def test_what_is_seen_of_a_guest(said, sight):
    assert look("g1", "cmp-1", "cmp-2", said) == sight


def test_a_guest_without_a_destination_is_looked_for_on_its_source_only():
    assert look("g1", "cmp-1", "", {"cmp-1": m.Domains({"g1": "running"})}).destination is None


def code(sight):
    found = misplaced(sight, "cmp-1", "cmp-2")
    return found.code if found else ""


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        ("running", "", ""),
        ("paused", "", ""),
        ("shutdown", "", ""),
        ("running", None, ""),
        (None, None, ""),
        (None, "", ""),
        ("running", "running", "split_brain"),
        ("", "", "lost"),
        ("", "running", "runs_on_destination"),
        ("", "paused", "runs_on_destination"),
        ("paused", "running", "runs_on_destination"),
        (None, "running", "runs_on_destination"),
        ("running", "paused", "domain"),
        ("paused", "paused", "domain"),
        (None, "paused", "domain"),
        ("", None, "domain"),
    ],
)
def test_what_is_wrong_with_a_guest_that_nova_has_on_its_source(source, destination, expected):
    assert code(Sight(source, destination)) == expected


def test_only_what_a_migration_clears_away_by_itself_may_pass():
    assert misplaced(Sight("running", "paused"), "cmp-1", "cmp-2").passes
    assert not misplaced(Sight("", None), "cmp-1", "cmp-2").passes


@pytest.mark.parametrize("source", STATES)
@pytest.mark.parametrize("destination", STATES)
def test_a_guest_is_in_its_place_only_if_no_domain_of_it_is_elsewhere(source, destination):
    found = misplaced(Sight(source, destination), "cmp-1", "cmp-2")
    if found is None:
        assert not destination
        assert source != ""
    else:
        assert found.reason
        assert found.remedy


@pytest.mark.parametrize("source", STATES)
@pytest.mark.parametrize("destination", STATES)
def test_the_alarm_is_raised_for_two_that_run_and_for_none_at_all(source, destination):
    found = alarm(Sight(source, destination), "cmp-1", "cmp-2")
    grave = (source, destination) in (("running", "running"), ("", ""))
    assert (found is not None) is grave
    assert found is None or found.code in ALARMS
