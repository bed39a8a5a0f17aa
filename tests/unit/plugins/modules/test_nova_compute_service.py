# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service should become, and in which order it is told so."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils import _service
from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    HostNotReady,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Service
from ansible_collections.lowtide.compute.plugins.modules import nova_compute_service as module

OPEN = Service(id="s", host="cmp-1", enabled=True, up=True)
OURS = replace(OPEN, enabled=False, disabled_reason="lowtide:r1: firmware")
THEIRS = replace(OPEN, enabled=False, disabled_reason="ask Eve")


def params(**given):
    nothing = dict.fromkeys(module.SPEC) | {"host": "cmp-1", "take_over": False}
    return nothing | given


def wanted(now, **given):
    return _service.desired(now, params(**given), "new")


@pytest.mark.parametrize(
    ("now", "given", "reason"),
    [
        (OPEN, {}, "lowtide:new: maintenance"),
        (OPEN, {"reason": "x", "run_id": "r9"}, "lowtide:r9: x"),
        (OURS, {}, "lowtide:r1: firmware"),
        (OURS, {"reason": "x"}, "lowtide:r1: x"),
        (OURS, {"run_id": "r2"}, "lowtide:r2: firmware"),
        (THEIRS, {"reason": "x"}, "ask Eve"),
        (THEIRS, {"reason": "x", "take_over": True}, "lowtide:new: x"),
        (THEIRS, {"take_over": True}, "lowtide:new: ask Eve"),
    ],
)
def test_disabling(now, given, reason):
    after = wanted(now, state="disabled", **given)
    assert (after.enabled, after.disabled_reason) == (False, reason)


@pytest.mark.parametrize(
    ("now", "given"),
    [
        (OPEN, {}),
        (OURS, {}),
        (OURS, {"run_id": "r1"}),
        (OURS, {"run_id": "r2", "take_over": True}),
        (THEIRS, {"take_over": True}),
    ],
)
def test_enabling(now, given):
    assert wanted(now, state="enabled", **given) == OPEN


@pytest.mark.parametrize(("now", "given"), [(THEIRS, {}), (OURS, {"run_id": "r2"})])
def test_enabling_what_is_not_ours(now, given):
    with pytest.raises(HostNotReady, match=r"host: 'cmp-1' was disabled by .* take_over: true"):
        wanted(now, state="enabled", **given)


@pytest.mark.parametrize(
    "given",
    [
        {"state": "enabled", "forced_down": True},
        {"state": "enabled", "reason": "x"},
        {"forced_down": True, "reason": "x"},
        {"state": "disabled", "run_id": ""},
        {"state": "disabled", "run_id": "a b"},
        {"state": "disabled", "run_id": "a:b"},
    ],
)
def test_contradictions(given):
    with pytest.raises(BadOption):
        module.check_options(params(**given))


class Cloud:
    """Notes what is asked of it."""

    def __init__(self):
        self.asked = []

    def __getattr__(self, name):
        return lambda *arguments: self.asked.append((name, *arguments))


@pytest.mark.parametrize(
    ("now", "after", "asked"),
    [
        (OPEN, OPEN, []),
        (OPEN, OURS, [("disable", "cmp-1", "lowtide:r1: firmware")]),
        (OURS, OPEN, [("enable", "cmp-1")]),
        (
            OPEN,
            replace(OURS, forced_down=True),
            [("disable", "cmp-1", "lowtide:r1: firmware"), ("force_down", "cmp-1", True)],
        ),
        (
            replace(OURS, forced_down=True),
            OPEN,
            [("force_down", "cmp-1", False), ("enable", "cmp-1")],
        ),
    ],
)
def test_only_what_differs_is_sent_and_in_the_safe_order(now, after, asked):
    cloud = Cloud()
    module.apply(SimpleNamespace(cloud=cloud), now, after)
    assert cloud.asked == asked


@pytest.mark.parametrize(
    ("service", "owner", "text"),
    [
        (OPEN, "", "cmp-1 is enabled"),
        (OURS, "lowtide", "cmp-1 is disabled (firmware)"),
        (THEIRS, "other", "cmp-1 is disabled (ask Eve) by somebody else"),
        (replace(OPEN, forced_down=True), "", "cmp-1 is enabled and forced down"),
    ],
)
def test_words(service, owner, text):
    assert _service.service_row(service)["owner"] == owner
    assert _service.service_sentence(service) == text
