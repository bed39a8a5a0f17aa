# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the pre-flight about thousands of moves, then Nova, and compare the answers.

Usage: make bench-preflight ARGS="[--populations 200] [--first 0] [--seed 1] [--json FILE]"
Each population is a few guests on an embedded cloud of four small hosts. For each trial the
module numa_check and the planner say of every host whether the guest could go there; then Nova is
asked to move it there, or to choose. What they disagree on is listed, with both sides' reasons.
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from preflight_cloud import Guests, Outcome, migrate
from preflight_populations import Population, Trial, populations
from preflight_verdicts import FIT, NO_FIT, UNKNOWN, Oracle, Verdict


@dataclass(frozen=True)
class Result:
    """A trial: what was expected of each host, and what Nova did."""

    population: int
    guest: str
    asked_for: str
    source: str
    verdicts: dict[str, Verdict]
    outcome: Outcome

    @property
    def expected(self) -> str:
        """The verdict on the host that was asked for, or on all if Nova could choose."""
        if self.asked_for:
            return self.verdicts[self.asked_for].result
        found = {verdict.result for verdict in self.verdicts.values()}
        return next(each for each in (FIT, UNKNOWN, NO_FIT) if each in found)

    @property
    def agrees(self) -> bool:
        """Nova did what was expected; a guest that it moved went where it was expected to fit."""
        if self.outcome.moved:
            return self.verdicts[self.outcome.host].result != NO_FIT
        return self.expected != FIT


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--populations", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=pathlib.Path)
    return parser.parse_args()


def try_population(
    population: Population, guests: Guests, oracle: Oracle
) -> tuple[list[Result], int]:
    """Make the guests, try the migrations, unmake them; and how many could not be created."""
    try:
        made, refused = guests.create(population.guests)
        results = [
            attempt(population, trial, made[trial.guest], oracle)
            for trial in population.trials
            if trial.guest in made
        ]
    finally:
        guests.clear()
    return results, len(refused)


def attempt(population: Population, trial: Trial, guest_id: str, oracle: Oracle) -> Result:
    """Ask the pre-flight, then Nova."""
    source, verdicts = oracle.verdicts(guest_id)
    host = "" if trial.turn is None else sorted(verdicts)[trial.turn]
    outcome = migrate(oracle.cloud, oracle.nova, guest_id, host)
    return Result(population.number, trial.guest, host, source, verdicts, outcome)


# --- what is printed -----------------------------------------------------------------------


def matrix(results: Iterable[Result]) -> list[str]:
    """What was expected, by what Nova did."""
    counts = collections.Counter((each.expected, each.outcome.moved) for each in results)
    lines = [f"{'pre-flight':12}{'Nova accepted':>15}{'Nova refused':>15}"]
    for expected in (FIT, NO_FIT, UNKNOWN):
        accepted, refused = counts[expected, True], counts[expected, False]
        lines.append(f"{expected:12}{accepted:15d}{refused:15d}")
    return lines


def reasons(results: Iterable[Result]) -> list[str]:
    """The refusals that were foreseen, by their code."""
    codes = collections.Counter(
        result.verdicts[result.asked_for].code
        for result in results
        if result.asked_for and result.expected == NO_FIT and not result.outcome.moved
    )
    return [f"  {code:20}{number:5d}" for code, number in codes.most_common()]


def disagreement(result: Result) -> list[str]:
    """Both sides of it."""
    asked_for = result.asked_for or "the scheduler's choice"
    lines = [
        f"population {result.population}: {result.guest}, {result.source} to {asked_for}: "
        f"expected {result.expected}; Nova "
        + (f"moved it to {result.outcome.host}" if result.outcome.moved else "refused")
    ]
    lines += [
        f"    {host}: {verdict.result} {verdict.code} {verdict.reason} (by {verdict.by})"
        for host, verdict in sorted(result.verdicts.items())
        if host in (result.asked_for, result.outcome.host) or not result.asked_for
    ]
    return [*lines, *([f"    Nova: {result.outcome.words}"] if result.outcome.words else [])]


def report(results: Sequence[Result], uncreated: int, seconds: float, count: int) -> list[str]:
    """All that there is to say."""
    agreed = sum(result.agrees for result in results)
    share = 100 * agreed / len(results) if results else 0.0
    chosen = sum(not result.asked_for for result in results)
    lines = [
        f"{count} populations, {len(results)} moves tried ({chosen} where Nova chose), "
        f"{uncreated} guests that could not be created, {seconds:.0f} s",
        "scheduler: with NUMATopologyFilter and PciPassthroughFilter (not Nova's defaults)",
        "",
        *matrix(results),
        "",
        f"agreement: {agreed} of {len(results)} ({share:.1f} %)",
    ]
    if told := reasons(results):
        lines += ["refusals foreseen, by reason:", *told]
    apart = [result for result in results if not result.agrees]
    lines += [line for result in apart for line in disagreement(result)]
    return lines


def main() -> int:
    """Population by population; then the tables. Ends 1 if there was any disagreement."""
    given = arguments()
    guests, oracle = Guests(), Oracle()
    results: list[Result] = []
    uncreated, began = 0, time.monotonic()
    wanted = list(populations(given.first + given.populations, given.seed))[given.first :]
    for population in wanted:
        found, refused = try_population(population, guests, oracle)
        results += found
        uncreated += refused
        agreed = sum(result.agrees for result in results)
        print(
            f"population {population.number}: {agreed} of {len(results)} agreed so far, "
            f"{time.monotonic() - began:.0f} s",
            file=sys.stderr,
        )
        if given.json:
            given.json.write_text(json.dumps([asdict(each) for each in results], indent=2))
    seconds = time.monotonic() - began
    print("\n".join(report(results, uncreated, seconds, len(wanted))))
    return 0 if all(result.agrees for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
