# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one clock that really lets time pass."""

from __future__ import annotations

import time

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import SystemClock


@pytest.mark.parametrize(("asked", "slept"), [(2.5, 2.5), (0, 0), (-3, 0)])
def test_sleep_never_asks_for_less_than_nothing(monkeypatch, asked, slept):
    naps = []
    monkeypatch.setattr(time, "sleep", naps.append)
    SystemClock().sleep(asked)
    assert naps == [slept]


def test_now_is_in_epoch_seconds():
    assert SystemClock().now() == pytest.approx(time.time(), abs=60)
