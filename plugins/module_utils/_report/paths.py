# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The verification of a network as data, as a table of pairs, and as the one line of its failure.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.path_limits import (
    Failure,
    Host,
    Judgement,
    Limits,
    Path,
    Suspicion,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.render import table
from ansible_collections.lowtide.compute.plugins.module_utils._report.units import count

Row = dict[str, Any]

SCHEMA = "lowtide.network_paths"
SCHEMA_VERSION = 1
HEADS = ("pair", "packet", "avg ms", "max ms", "lost", "-> Mbit/s", "<- Mbit/s", "verdict")


def document(
    course: Mapping[str, Any],
    hosts: Sequence[Host],
    paths: Sequence[Path],
    limits: Limits,
    judgement: Judgement,
) -> Row:
    """All that was measured and what is wrong with it. ``course``: as planned."""
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "ok": not judgement.failures,
        "msg": sentence(paths, judgement),
        "coverage": course["coverage"],
        "predicted_seconds": course["seconds"],
        "limits": asdict(limits),
        "hosts": [asdict(host) for host in hosts],
        "paths": [_path_row(path, judgement.failures) for path in paths],
        "failures": [_failure_row(failure) for failure in judgement.failures],
        "suspicions": [asdict(each) | {"hosts": list(each.hosts)} for each in judgement.suspicions],
        "notes": list(judgement.notes),
        "lines": lines(hosts, paths, judgement),
    }


def _path_row(path: Path, failures: Iterable[Failure]) -> Row:
    row = asdict(path) | {"found": list(path.found)}
    ends = {"from": row.pop("source"), "to": row.pop("target")}
    return ends | row | {"failures": [each.code for each in failures if _concerns(each, path)]}


def _failure_row(failure: Failure) -> Row:
    row = asdict(failure)
    return {"from": row.pop("source"), "to": row.pop("target"), "message": told(failure)} | row


def _concerns(failure: Failure, path: Path) -> bool:
    return (failure.source, failure.target) == (path.source, path.target)


# --- One line ----------------------------------------------------------------------------


def sentence(paths: Sequence[Path], judgement: Judgement) -> str:
    """How many pairs, and every one that is bad: what was seen, what is suspected, the remedy."""
    pairs = {frozenset((path.source, path.target)) for path in paths if measured(path)}
    if not judgement.failures:
        return f"{count(len(pairs), 'pair')} measured, all as they must be"
    bad = {frozenset((each.source, each.target)) for each in judgement.failures if each.target}
    head = f"{count(len(pairs), 'pair')} measured, {len(bad)} bad"
    suspected = {each.code: each for each in judgement.suspicions}
    parts = []
    for code in dict.fromkeys(failure.code for failure in judgement.failures):
        text = _alike([failure for failure in judgement.failures if failure.code == code])
        if code in suspected:
            text += f". {suspicion(suspected[code])}"
        parts.append(text)
    return f"{head}: " + ". ".join(parts)


def measured(path: Path) -> bool:
    """Whether anything is known of it."""
    return path.largest is not None


def _alike(failures: Sequence[Failure]) -> str:
    """All failures of one kind, those with the same remedy before it."""
    by_remedy: dict[str, list[str]] = {}
    for text, failure in _merged(failures):
        by_remedy.setdefault(failure.remedy, []).append(text)
    return ". ".join(f"{'; '.join(texts)}. {remedy}" for remedy, texts in by_remedy.items())


def _merged(failures: Sequence[Failure]) -> Iterator[tuple[str, Failure]]:
    """A text for each; one for both directions of a pair where they say the same.

    The size of packets is a pair's: the smaller one counts, for an answer is as large as what
    was asked.
    """
    known = {(each.source, each.target): each for each in failures}
    taken: set[tuple[str, str]] = set()
    for ends, failure in known.items():
        back = known.get(ends[::-1]) if failure.target else None
        both = back is not None and (failure.code == "mtu" or back.text == failure.text)
        if ends in taken:
            continue
        told_of = failure
        if both:
            taken.add(ends[::-1])
            told_of = min(failure, back, key=lambda each: each.figure or 0)
        yield f"{_ends(*ends, both)}: {told_of.text}", told_of


def _ends(source: str, target: str, both: bool = False) -> str:
    if not target:
        return source
    return f"{source} {'<->' if both else '->'} {target}"


def told(failure: Failure) -> str:
    """``cmp-1 -> cmp-2: what was seen. What to do``."""
    return f"{_ends(failure.source, failure.target)}: {failure.text}. {failure.remedy}"


def suspicion(found: Suspicion) -> str:
    """Where to look first: at the hosts that the bad pairs have in common."""
    if len(found.hosts) == 1:
        number = "both" if found.pairs == 2 else f"all {found.pairs}"
        return f"Look at {found.hosts[0]} first: it is an end of {number} of them"
    named = ", ".join(found.hosts)
    return f"Look at {named} first: each of the {found.pairs} has one of them as an end"


# --- Many lines --------------------------------------------------------------------------


def lines(hosts: Sequence[Host], paths: Sequence[Path], judgement: Judgement) -> list[str]:
    """Links, the table of pairs, then what is suspected and noted."""
    found = table([_link_row(host) for host in hosts])
    rows = [_pair_row(pair, judgement.failures) for pair in pairs_of(paths)]
    if rows:
        found += ["", *table([HEADS, *rows])]
    notes = [f"! {each.code}: {suspicion(each)}" for each in judgement.suspicions]
    notes += [f"note: {note}" for note in judgement.notes]
    return found + ([""] if notes else []) + notes


def _link_row(host: Host) -> tuple[str, ...]:
    if host.error:
        return (host.name, "-", "-", host.error)
    speed = "speed unknown" if host.speed_mbit is None else f"{host.speed_mbit} Mbit/s"
    state = "" if host.up else ", down"
    return (host.name, host.interface, host.address, f"MTU {host.mtu}, {speed}{state}")


def pairs_of(paths: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Both directions of each pair, as they were measured."""
    known = {(path.source, path.target): path for path in paths}
    found = []
    for ends, path in known.items():
        back = known.get(ends[::-1])
        if back is not None and (back, path) not in found:
            found.append((path, back))
    return found


def _pair_row(pair: tuple[Path, Path], failures: Sequence[Failure]) -> tuple[str, ...]:
    there, back = pair
    codes = [each.code for each in failures if _concerns(each, there) or _concerns(each, back)]
    good = "ok" if measured(there) and measured(back) else "not measured"
    return (
        f"{there.source} <-> {there.target}",
        _figure(min, (there.largest, back.largest), "d"),
        _figure(max, (there.latency_avg_ms, back.latency_avg_ms), ".3f"),
        _figure(max, (there.latency_max_ms, back.latency_max_ms), ".2f"),
        _figure(max, (there.loss_percent, back.loss_percent), "g", " %"),
        _figure(max, (there.throughput_mbit,), ".0f"),
        _figure(max, (back.throughput_mbit,), ".0f"),
        ", ".join(dict.fromkeys(codes)) or good,
    )


def _figure(worst: Any, figures: Iterable[float | None], form: str, unit: str = "") -> str:
    known = [figure for figure in figures if figure is not None]
    return f"{worst(known):{form}}{unit}" if known else "-"
