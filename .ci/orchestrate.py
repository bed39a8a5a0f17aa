# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the parts of the test suite side by side, and says what passed, what failed and why."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from xml.etree import ElementTree

ROOT = pathlib.Path(os.environ["LOWTIDE_ROOT"])
WORK = pathlib.Path(os.environ["LOWTIDE_WORK"])
REPORTS = WORK / "reports"
LOGS = WORK / "logs"
ALLOWED_SKIPS = ROOT / ".ci" / "allowed-skips.txt"
IN_CI = os.environ.get("CI") == "true"
# One for each core of a small machine: a part keeps one busy, and a third starves the guests of the
# labs, which are emulated, beyond the patience of tests.
LANES = 2
TAIL_LINES = 60

# Longest first, so that the last lane to finish finishes early. Seconds are the budget of a part
# on a slow machine with empty caches; a part that exceeds it is ended and has failed.
PARTS = {
    "hypervisors": 4500,
    "roles-nova": 4000,
    "integration": 4000,
    "roles": 3000,
    "molecule": 2400,
    "hypervisors-lab": 1800,
    "simulation": 900,
    "sanity": 900,
    "definitions": 900,
    "build-check": 900,
    "lab-unit": 1200,
    "numa": 1200,
    "importer": 900,
    "compat": 900,
    "lint": 900,
    "docs-lint": 600,
    "unit": 600,
    "ruff": 60,
}
FAST = ("ruff", "unit")
ALL = tuple(part for part in PARTS if part != "ruff")  # lint runs it too


@dataclasses.dataclass
class Tally:
    """Tests of one part, from its JUnit reports: counts, skipped names, pytest's closing lines."""

    passed: int = 0
    failed: int = 0
    skipped: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Outcome:
    """How one part ended: `verdict` is ok or FAILED, `reason` says why it failed."""

    part: str
    verdict: str
    seconds: float
    tally: Tally
    reason: str = ""

    @property
    def log(self) -> pathlib.Path:
        return LOGS / f"{self.part}.log"


def read_reports(part: str) -> Tally | None:
    """Sum the part's JUnit files; None when it wrote none (it is no pytest part)."""
    files = sorted(REPORTS.glob(f"{part}.*xml"))
    if not files:
        return None
    tally = Tally()
    for file in files:
        for case in ElementTree.parse(file).iter("testcase"):
            children = {child.tag for child in case}
            if children & {"failure", "error"}:
                tally.failed += 1
            elif "skipped" in children:
                tally.skipped.append(f"{case.get('classname')}::{case.get('name')}")
            else:
                tally.passed += 1
    return tally


def allowed_skips() -> set[str]:
    """Names of the tests that may be skipped in continuous integration, each with its reason."""
    if not ALLOWED_SKIPS.exists():
        return set()
    lines = (line.partition("#")[0].strip() for line in ALLOWED_SKIPS.read_text().splitlines())
    return {line for line in lines if line}


def judge(part: str, code: int | None, seconds: float) -> Outcome:
    """Turn an exit code (None: out of time) and the reports into an outcome."""
    tally = read_reports(part)
    outcome = Outcome(part, "ok", seconds, tally or Tally())
    if code is None:
        outcome.reason = f"not done after {PARTS[part]} s"
    elif code:
        outcome.reason = f"exit code {code}"
    elif IN_CI and (unexpected := sorted(set(outcome.tally.skipped) - allowed_skips())):
        outcome.reason = "skipped: " + ", ".join(unexpected)
    elif outcome.tally.failed:
        outcome.reason = "failed tests"
    if outcome.reason:
        outcome.verdict = "FAILED"
        # The closing line must not say "0 failed" when a part failed outside of pytest.
        outcome.tally.failed = max(outcome.tally.failed, 1)
    elif tally is None:
        outcome.tally.passed = 1
    return outcome


class Runner:
    """Runs parts in LANES threads; `stop` ends the ones that run."""

    def __init__(self, parts: list[str]) -> None:
        self.waiting = list(parts)
        self.outcomes: list[Outcome] = []
        self.running: dict[str, subprocess.Popen] = {}
        self.lock = threading.Lock()
        self.stopped = False

    def run(self) -> list[Outcome]:
        lanes = [threading.Thread(target=self._lane, daemon=True) for _ in range(LANES)]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        return self.outcomes

    def stop(self, signum: int, _frame: object) -> None:
        self.stopped = True
        for process in list(self.running.values()):
            _end(process)
        sys.exit(128 + signum)

    def _lane(self) -> None:
        while True:
            with self.lock:
                if not self.waiting or self.stopped:
                    return
                part = self.waiting.pop(0)
            outcome = self._run_part(part)
            with self.lock:
                self.outcomes.append(outcome)
            print(f"  {part:<12} {outcome.verdict:<7} {outcome.seconds:6.1f} s", flush=True)

    def _run_part(self, part: str) -> Outcome:
        for stale in REPORTS.glob(f"{part}.*xml"):
            stale.unlink()
        started = time.monotonic()
        with (LOGS / f"{part}.log").open("wb") as log:
            process = subprocess.Popen(
                [ROOT / ".ci" / "parts" / part],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.running[part] = process
            try:
                code = process.wait(PARTS[part])
            except subprocess.TimeoutExpired:
                code = None
                _end(process)
            del self.running[part]
        return judge(part, code, time.monotonic() - started)


def _end(process: subprocess.Popen) -> None:
    """End a part and its children: first as Ctrl-C does, on which pytest stops its labs."""
    for signum, patience in ((signal.SIGINT, 60), (signal.SIGTERM, 10)):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signum)
            process.wait(patience)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def closing_lines(outcome: Outcome) -> list[str]:
    """Pytest's own last lines from a part's log (`=== 12 passed in 0.3s ===`)."""
    text = outcome.log.read_text(errors="replace")
    return re.findall(r"^=+ .*\b(?:passed|failed|errors?|skipped)\b.* in .*=+$", text, re.MULTILINE)


def print_summary(outcomes: list[Outcome], seconds: float) -> None:
    """Tails of failed logs, pytest's closing lines, the table, and the one closing line."""
    for outcome in outcomes:
        if outcome.verdict == "FAILED":
            tail = outcome.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
            print(f"\n----- {outcome.part}: {outcome.reason} ({outcome.log})", *tail, sep="\n")
    print("\npytest said")
    for outcome in outcomes:
        for line in closing_lines(outcome):
            print(f"  {outcome.part:<12} {line}")
    print(f"\n{'part':<14}{'verdict':<9}{'seconds':>8}{'passed':>8}{'failed':>8}{'skipped':>9}")
    for outcome in sorted(outcomes, key=lambda item: -item.seconds):
        tally = outcome.tally
        print(
            f"{outcome.part:<14}{outcome.verdict:<9}{outcome.seconds:>8.1f}"
            f"{tally.passed:>8}{tally.failed:>8}{len(tally.skipped):>9}  {outcome.reason[:80]}"
        )
    print(f"{'in all':<14}{'':<9}{seconds:>8.1f}   logs: {LOGS}")
    if failed := sorted(outcome.part for outcome in outcomes if outcome.verdict == "FAILED"):
        print("failed parts: " + " ".join(failed))
    passed = sum(outcome.tally.passed for outcome in outcomes)
    print(
        f"{passed} passed, {sum(outcome.tally.failed for outcome in outcomes)} failed", flush=True
    )


def chosen_parts() -> list[str]:
    """The parts named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="test", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="only " + " and ".join(FAST))
    parser.add_argument("part", nargs="*", choices=[[], *PARTS], help="default: all")
    arguments = parser.parse_args()
    return list(FAST) if arguments.fast else list(arguments.part or ALL)


def main() -> int:
    parts = chosen_parts()
    for directory in (REPORTS, LOGS):
        directory.mkdir(parents=True, exist_ok=True)
    print(f"running {', '.join(parts)}; logs: {LOGS}", flush=True)
    runner = Runner(parts)
    signal.signal(signal.SIGINT, runner.stop)
    signal.signal(signal.SIGTERM, runner.stop)
    started = time.monotonic()
    outcomes = runner.run()
    print_summary(outcomes, time.monotonic() - started)
    return int(any(outcome.verdict == "FAILED" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
