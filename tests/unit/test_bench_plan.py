# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark of plans runs, on the same cloud each time, and plans of fleets stay fast."""

from __future__ import annotations

import sys
from importlib import util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "plan.py"


@pytest.fixture(scope="module")
def bench():
    spec = util.spec_from_file_location("bench_plan", PATH)
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_a_seed_makes_the_same_cloud_each_time(bench):
    assert bench.make_fleet(5, 0.75, 1) == bench.make_fleet(5, 0.75, 1)
    assert bench.make_fleet(5, 0.75, 1) != bench.make_fleet(5, 0.75, 2)


def test_it_prints_a_line_for_each_size(bench, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["plan.py", "--sizes", "3,6"])
    assert bench.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[2:4]] == [["3", "120"], ["6", "240"]]


@pytest.mark.parametrize("fill", [0.75, 0.97])
def test_a_fleet_is_planned_fast_also_when_it_is_nearly_full(bench, fill):
    """A tenth of the fleet that takes under ten seconds: so much processor time is plenty."""
    fleet = bench.make_fleet(100, fill, 1)
    plan, _seconds, cpu = bench.timed(lambda: bench.batches_of(fleet, bench.Rules(max_hosts=5)))
    assert len(plan.batches) + len(plan.undrainable) >= 20
    assert cpu < 3
