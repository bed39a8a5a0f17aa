# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers as an operator reads them."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._report import units


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (640 << 20, "640 MiB"),
        (int(1.2 * (1 << 30)), "1.2 GiB"),
        ((1 << 30) - 1, "1.0 GiB"),
        (99.97 * (1 << 30), "100 GiB"),
        (5 << 60, "5120 PiB"),
    ],
)
def test_size(count, text):
    assert units.size(count) == text


def test_rate():
    assert units.rate(1.2 * (1 << 30)) == "1.2 GiB/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.44, "0.4s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (3599.7, "1h00m"),
        (3720, "1h02m"),
        (-3, "0s"),
    ],
)
def test_duration(seconds, text):
    assert units.duration(seconds) == text


def test_moment():
    assert units.moment(1795144500) == "2026-11-20T03:15:00Z"
    assert units.moment(0) == ""


def test_count():
    assert [units.count(n, "guest") for n in (0, 1, 2)] == ["0 guests", "1 guest", "2 guests"]
