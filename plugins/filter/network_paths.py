# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that plan the verification of a network, and judge what it measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.lowtide.compute.plugins.module_utils._planner import path_limits, paths
from ansible_collections.lowtide.compute.plugins.module_utils._report.paths import document

Row = dict[str, Any]
Results = Sequence[Mapping[str, Any]]


def network_path_course(
    hosts: Sequence[str], coverage: str = "auto", all_up_to: int = 16, **effort: Any
) -> Row:
    """Which pairs of hosts to measure, in which rounds, and how many seconds it takes."""
    if coverage not in paths.COVERAGES:
        known = ", ".join(paths.COVERAGES)
        raise AnsibleFilterError(f"network_path_course: coverage {coverage!r}: give {known}")
    found = paths.course([str(host) for host in hosts], coverage, int(all_up_to), _effort(effort))
    partners = paths.partners(found.rounds)
    return {
        "coverage": found.coverage,
        "rounds": [[list(pair) for pair in each] for each in found.rounds],
        "pairs": len(found.pairs),
        "seconds": round(found.seconds),
        "listen_seconds": found.listen_seconds,
        "partners": {str(host): list(partners.get(str(host), ())) for host in hosts},
    }


def network_path_faults(
    hosts: Sequence[str],
    here: str,
    play: Sequence[str],
    later: Sequence[str] = (),
    **variables: Any,
) -> list[str]:
    """What is wrong with the wishes for a verification, a sentence each that names the variable."""
    return paths.faults(hosts, here, play, later, variables)


def network_path_peers(
    partners: Mapping[str, Sequence[str]],
    links: Mapping[str, Row],
    hostnames: Mapping[str, str],
) -> dict[str, list[Row]]:
    """``peers`` for network_path_info of each host: those of its partners that have an address."""
    known = {name: link["address"] for name, link in links.items() if link.get("address")}
    return {
        str(host): [
            {"name": str(peer), "address": known[peer], "hostname": hostnames.get(peer) or None}
            for peer in own
            if peer in known
        ]
        for host, own in partners.items()
    }


def network_path_rounds(
    hosts: Sequence[str], links: Results, quiet: Results, course: Row, limits: Mapping[str, Any]
) -> list[list[list[str]]]:
    """The rounds of a course, without pairs whose throughput could not be measured anyway."""
    ends = _hosts(hosts, links, quiet)
    known = list(_paths(ends, quiet, [[] for _host in hosts], course))
    fit = path_limits.loadable(ends, known, _limits(limits))
    rounds = [[pair for pair in each if tuple(pair) in fit] for each in course["rounds"]]
    return [each for each in rounds if each]


def network_path_verdict(
    hosts: Sequence[str],
    links: Results,
    quiet: Results,
    loud: Sequence[Results],
    course: Row,
    limits: Mapping[str, Any],
) -> Row:
    """What was measured, held against the limits: the report, as data."""
    ends, held = _hosts(hosts, links, quiet), _limits(limits)
    measured = list(_paths(ends, quiet, loud, course))
    return document(course, ends, measured, held, path_limits.judge(ends, measured, held))


def _effort(given: Mapping[str, Any]) -> paths.Effort:
    return paths.Effort(**_known(given, paths.Effort, "network_path_course"))


def _limits(given: Mapping[str, Any]) -> path_limits.Limits:
    return path_limits.Limits(**_known(given, path_limits.Limits, "network_path_verdict"))


def _known(given: Mapping[str, Any], kind: Any, name: str) -> Row:
    """What was given, in the types of the fields that it is for."""
    defaults = asdict(kind())
    if unknown := sorted(set(given) - {field.name for field in fields(kind)}):
        raise AnsibleFilterError(
            f"{name}: {', '.join(unknown)}: unknown; give {', '.join(defaults)}"
        )
    return {key: _typed(type(defaults[key]), value) for key, value in given.items()}


def _typed(kind: Any, value: Any) -> Any:
    """The value as a field wants it; what was given on a command line is text."""
    return boolean(value) if kind is bool else kind(value)


def _hosts(hosts: Sequence[str], links: Results, quiet: Results) -> list[path_limits.Host]:
    return [
        _host(str(name), link, first) for name, link, first in zip(hosts, links, quiet, strict=True)
    ]


def _host(name: str, link: Mapping[str, Any], first: Mapping[str, Any]) -> path_limits.Host:
    """What a host said of its link; an error where it said nothing, or could not measure."""
    if "mtu" not in link:
        return path_limits.Host(name, error=_words(link), remedy=str(link.get("remedy", "")))
    if not link["address"]:
        return path_limits.Host(name, error=f"{link['interface']} has no address")
    told = {key: link[key] for key in ("interface", "address", "up", "mtu", "speed_mbit")}
    if first and "paths" not in first:
        told |= {"error": _words(first), "remedy": str(first.get("remedy", ""))}
    return path_limits.Host(name, **told)


def _words(result: Mapping[str, Any]) -> str:
    """What a module said, without its remedy: the verdict has its own."""
    words = str(result.get("msg") or "it took no part in this play")
    return words.removesuffix(str(result.get("remedy", ""))).strip().rstrip(".")


def _paths(
    ends: Sequence[path_limits.Host],
    quiet: Results,
    loud: Sequence[Results],
    course: Mapping[str, Any],
) -> Iterator[path_limits.Path]:
    """Both directions of each pair of the course."""
    first = {end.name: _by_name(result) for end, result in zip(ends, quiet, strict=True)}
    loads = {
        (end.name, str(load["peer"])): load["result"]
        for end, own in zip(ends, loud, strict=True)
        for load in own
    }
    for one, two in (pair for each in course["rounds"] for pair in each):
        there, back = _throughput(loads.get((one, two)))
        yield path_limits.Path(one, two, **_quiet(first[one].get(two)), **there)
        yield path_limits.Path(two, one, **_quiet(first[two].get(one)), **back)


def _by_name(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(row["name"]): row for row in result.get("paths", ())}


def _quiet(row: Mapping[str, Any] | None) -> Row:
    """A path's figures from a row of network_path_info; none when there is no row."""
    if row is None:
        return {}
    names = ("sent", "latency_avg_ms", "latency_max_ms", "loss_percent", "hostname", "reverse")
    told = {name: row[name] for name in names if name in row}
    return told | {"largest": row["largest_packet"], "found": tuple(row.get("found", ()))}


def _throughput(result: Mapping[str, Any] | None) -> tuple[Row, Row]:
    """Figures of the way there and back, from what the near end of a pair measured."""
    if result is None:
        return {}, {}
    rows = result.get("paths") or [{"error": _words(result)}]
    row = rows[0]
    found = []
    for prefix in ("", "back_"):
        if f"{prefix}throughput_mbit" in row:
            figures = {name: row[f"{prefix}{name}"] for name in ("throughput_mbit", "resent")}
            found.append(figures | {"seconds": float(row["seconds"])})
        else:
            found.append({"error": str(row.get("error") or "nothing was measured")})
    return found[0], found[1]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "network_path_course": network_path_course,
            "network_path_faults": network_path_faults,
            "network_path_peers": network_path_peers,
            "network_path_rounds": network_path_rounds,
            "network_path_verdict": network_path_verdict,
        }
