# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an image's properties is read, and what happens when it cannot be."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    Refused,
    Unauthorized,
    Unreachable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.image import (
    POLICY_PREFIXES,
    Image,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy_keys import (
    IMAGE,
    PREFIXES,
    spelled,
)


class FakeApi:
    """Answers with a body, or with an error."""

    def __init__(self, answer):
        self.answer = answer

    def get(self, path):
        assert path == "/images/i1"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_only_policies_are_taken():
    body = {
        "id": "i1",
        "name": "lowtide",
        "hw_firmware_type": "uefi",
        "hw_wrs_live_migration_timeout": "180",
        "lowtide_wish": "notify",
    }
    assert Image(FakeApi(body)).policy_properties("i1") == {
        "hw_wrs_live_migration_timeout": "180",
        "lowtide_wish": "notify",
    }


@pytest.mark.parametrize(
    "error",
    [Refused("gone", status=404, reason="gone"), Unauthorized("hidden", "use another")],
)
def test_an_image_that_cannot_be_seen_asks_for_nothing(error):
    assert Image(FakeApi(error)).policy_properties("i1") == {}


def test_an_api_that_does_not_answer_is_no_image_without_wishes():
    with pytest.raises(Unreachable):
        Image(FakeApi(Unreachable("no answer"))).policy_properties("i1")


def test_whatever_the_planner_reads_of_an_image_is_fetched():
    assert tuple(spelled(prefix, IMAGE) for prefix in PREFIXES) == POLICY_PREFIXES
