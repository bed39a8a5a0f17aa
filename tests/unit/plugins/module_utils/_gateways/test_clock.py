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


def test_steady_seconds_do_not_run_back():
    clock = SystemClock()
    assert clock.steady() <= clock.steady()


def test_the_offset_is_not_led_astray_by_a_wait_between_two_readings(monkeypatch):
    """The processor is taken away for a second in the first attempt, and not in the second."""
    steady = iter([10.0, 11.0, 11.0, 11.0001])
    monkeypatch.setattr(time, "monotonic", lambda: next(steady))
    now = iter([1010.0, 1011.0])
    monkeypatch.setattr(time, "time", lambda: next(now))
    assert SystemClock().offset() == pytest.approx(1000, abs=0.001)
