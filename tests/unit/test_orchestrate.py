# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make test` concludes from exit codes and reports: it must never say better than it is."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "orchestrate.py"
PASSED = '<testcase classname="a" name="good"/>'
FAILED = '<testcase classname="a" name="bad"><failure>no</failure></testcase>'
BROKEN = '<testcase classname="a" name="broken"><error>no</error></testcase>'
SKIPPED = '<testcase classname="a" name="lazy"><skipped message="why"/></testcase>'


@pytest.fixture
def orchestrate(tmp_path, monkeypatch):
    """Load the script anew, as if in CI, with its reports and logs below `tmp_path`."""
    monkeypatch.setenv("LOWTIDE_ROOT", str(tmp_path))
    monkeypatch.setenv("LOWTIDE_WORK", str(tmp_path))
    monkeypatch.setenv("CI", "true")
    spec = importlib.util.spec_from_file_location("orchestrate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "orchestrate", module)
    spec.loader.exec_module(module)
    module.REPORTS.mkdir()
    module.LOGS.mkdir()
    (tmp_path / ".ci").mkdir()
    return module


def report(orchestrate, name: str, *cases: str) -> None:
    text = f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"
    (orchestrate.REPORTS / f"{name}.xml").write_text(text)


def test_reports_of_one_part_are_summed(orchestrate):
    report(orchestrate, "molecule.one", PASSED, PASSED)
    report(orchestrate, "molecule.two", PASSED, FAILED, BROKEN)
    report(orchestrate, "unit", PASSED)
    outcome = orchestrate.judge("molecule", 1, 1.0)
    assert (outcome.verdict, outcome.tally.passed, outcome.tally.failed) == ("FAILED", 3, 2)


def test_a_part_without_reports_counts_as_one(orchestrate):
    assert orchestrate.judge("lint", 0, 1.0).tally.passed == 1
    failed = orchestrate.judge("lint", 1, 1.0)
    assert (failed.verdict, failed.tally.passed, failed.tally.failed) == ("FAILED", 0, 1)


def test_a_failure_outside_of_the_tests_is_counted(orchestrate):
    report(orchestrate, "unit", PASSED)
    outcome = orchestrate.judge("unit", 1, 1.0)
    assert (outcome.verdict, outcome.tally.passed, outcome.tally.failed) == ("FAILED", 1, 1)


def test_a_part_out_of_time_has_failed(orchestrate):
    report(orchestrate, "unit", PASSED)
    outcome = orchestrate.judge("unit", None, 1.0)
    assert outcome.verdict == "FAILED"
    assert "not done after 600 s" in outcome.reason


def test_a_skip_fails_unless_it_is_allowed_by_name(orchestrate):
    report(orchestrate, "unit", PASSED, SKIPPED)
    outcome = orchestrate.judge("unit", 0, 1.0)
    assert (outcome.verdict, outcome.reason) == ("FAILED", "skipped: a::lazy")
    orchestrate.ALLOWED_SKIPS.write_text("a::lazy  # there is no such device here\n")
    assert orchestrate.judge("unit", 0, 1.0).verdict == "ok"


def test_a_skip_is_only_counted_on_a_desk(orchestrate, monkeypatch):
    monkeypatch.setattr(orchestrate, "IN_CI", False)
    report(orchestrate, "unit", PASSED, SKIPPED)
    outcome = orchestrate.judge("unit", 0, 1.0)
    assert (outcome.verdict, outcome.tally.skipped) == ("ok", ["a::lazy"])


def run_parts(orchestrate, **scripts: str) -> list:
    parts = orchestrate.ROOT / ".ci" / "parts"
    parts.mkdir()
    for name, script in scripts.items():
        (parts / name).write_text(f"#!/bin/sh\n{script}\n")
        (parts / name).chmod(0o755)
    return orchestrate.Runner(list(scripts)).run()


def test_the_closing_line_sums_and_the_failed_log_is_shown(orchestrate, capsys):
    outcomes = run_parts(
        orchestrate,
        lint="echo fine",
        unit="echo '===== 2 failed, 3 passed in 0.1s ====='; echo the reason; exit 3",
    )
    orchestrate.print_summary(outcomes, 1.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 passed, 1 failed"
    assert lines[-2] == "failed parts: unit"
    assert "the reason" in lines
    assert any("2 failed, 3 passed in 0.1s" in line and "unit" in line for line in lines)


def test_a_part_that_hangs_is_ended_with_its_children(orchestrate, monkeypatch):
    monkeypatch.setitem(orchestrate.PARTS, "unit", 0.2)
    pid_file = orchestrate.ROOT / "pid"
    [outcome] = run_parts(orchestrate, unit=f"sleep 600 & echo $! >{pid_file}; wait")
    assert outcome.verdict == "FAILED"
    assert ended(int(pid_file.read_text()))


def ended(pid: int) -> bool:
    """Whether the process ends within seconds; a killed one takes a moment to go."""
    for _attempt in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False
