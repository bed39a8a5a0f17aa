# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Judge what was measured between hosts: which link or path is not as it must be, and why.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.lowtide.compute.plugins.module_utils._planner.paths import HEADERS

#: Of so many segments that TCP sent again in a second, the path loses packets.
RESENT_PER_SECOND = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """What must be. A limit of 0 holds nobody up, but for losses, of which 0 allows none.

    ``mtu``: bytes of a packet that must pass whole. ``require_speed``: whether a link whose speed
    nobody knows is bad. ``names``: whether names must lead to addresses, and back.
    """

    speed_mbit: int = 10000
    require_speed: bool = False
    mtu: int = 9000
    latency_avg_ms: float = 1.0
    latency_max_ms: float = 10.0
    loss_percent: float = 0.0
    throughput_mbit: float = 8000.0
    names: bool = True


@dataclass(frozen=True, slots=True)
class Host:
    """An end of paths. ``speed_mbit``: or None. ``error``: why nothing can be measured there, or
    "", and the ``remedy``.
    """

    name: str
    interface: str = ""
    address: str = ""
    up: bool = False
    mtu: int = 0
    speed_mbit: int | None = None
    error: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Path:
    """One direction between two hosts, as measured; None for what was not.

    ``largest``: bytes of the largest packet that passes whole, 0 for none. ``error``: why the
    throughput is not known, or "". ``hostname``: the name of the far end that was looked up, to
    ``found`` addresses, and ``reverse`` the name of its address. ``seconds``: of the throughput.
    """

    source: str
    target: str
    largest: int | None = None
    sent: int = 0
    latency_avg_ms: float | None = None
    latency_max_ms: float | None = None
    loss_percent: float | None = None
    throughput_mbit: float | None = None
    resent: int | None = None
    seconds: float = 0.0
    error: str = ""
    hostname: str = ""
    found: tuple[str, ...] = ()
    reverse: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """What is not as it must be. ``target`` is "" when it is a host's own.

    ``figure`` and ``limit``: numbers where there are any. ``text``: what was seen. ``remedy``.
    """

    code: str
    source: str
    target: str
    text: str
    remedy: str
    figure: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Hosts at which to look first: all bad paths of that code have one of them as an end."""

    code: str
    hosts: tuple[str, ...]
    pairs: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that is wrong, and who is suspected of it."""

    failures: tuple[Failure, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()
    notes: tuple[str, ...] = field(default=())


def judge(hosts: Sequence[Host], paths: Sequence[Path], limits: Limits) -> Judgement:
    """Hold what was measured against the limits.

    A path of which nothing could be measured, since one of its ends is not there, is told of as
    that end's failure only.
    """
    ends = {host.name: host for host in hosts}
    failures = [failure for host in hosts for failure in _of_host(host, limits)]
    fit = loadable(hosts, paths, limits)
    for path in paths:
        if not ends[path.source].error and not ends[path.target].error:
            failures += _of_path(path, ends, limits)
            if (path.source, path.target) in fit:
                failures += _throughput(path, ends, limits)
    return Judgement(
        tuple(failures), tuple(_suspicions(failures, paths)), tuple(_notes(hosts, limits))
    )


def loadable(
    hosts: Sequence[Host], paths: Sequence[Path], limits: Limits
) -> frozenset[tuple[str, str]]:
    """The pairs, in both orders, whose throughput can be measured.

    Where full packets do not pass, TCP waits for ever, and nothing new would be learnt.
    """
    there = {host.name for host in hosts if host.up and not host.error}
    passing = {
        (path.source, path.target) for path in paths if path.largest and path.largest >= limits.mtu
    }
    return frozenset(pair for pair in passing if pair[::-1] in passing and there.issuperset(pair))


# --- Of one host -------------------------------------------------------------------------


def _of_host(host: Host, limits: Limits) -> Iterator[Failure]:
    if host.error:
        remedy = "Mend that, or leave the host out of management_network_verify_hosts"
        yield Failure("no_host", host.name, "", host.error, host.remedy or remedy)
        return
    if not host.up:
        text = f"{host.interface} is down"
        yield Failure("down", host.name, "", text, "Look at its cable, switch port and manager")
        return
    if 0 < host.mtu < limits.mtu:
        text = f"{host.interface} has MTU {host.mtu}, {limits.mtu} is wanted"
        remedy = f"Set the MTU of {host.interface} to {limits.mtu}"
        yield Failure("interface_mtu", host.name, "", text, remedy, host.mtu, limits.mtu)
    if host.speed_mbit is None:
        if limits.speed_mbit and limits.require_speed:
            text = f"nobody knows the speed of {host.interface}"
            remedy = "Ask its driver with ethtool, or set management_network_verify_require_speed"
            remedy += " to false"
            yield Failure("speed_unknown", host.name, "", text, remedy)
    elif host.speed_mbit < limits.speed_mbit:
        text = f"{host.interface} runs at {host.speed_mbit} Mbit/s, {limits.speed_mbit} is wanted"
        remedy = "Look at its cable, its transceiver and what the switch port offers"
        yield Failure("speed", host.name, "", text, remedy, host.speed_mbit, limits.speed_mbit)


def _notes(hosts: Sequence[Host], limits: Limits) -> Iterator[str]:
    unknown = [
        host.name for host in hosts if not host.error and host.up and host.speed_mbit is None
    ]
    if unknown and limits.speed_mbit and not limits.require_speed:
        yield f"the speed of the link is unknown on {', '.join(unknown)}"


# --- Of one path -------------------------------------------------------------------------


def _of_path(path: Path, ends: Mapping[str, Host], limits: Limits) -> list[Failure]:
    if path.largest is None:
        # Nothing was asked: its host went away between two tasks, which is told of elsewhere.
        return [_bad(path, "not_measured", "was not measured", "Run it again")]
    if not path.largest:
        text = f"none of {path.sent} packets is answered"
        remedy = "Look at the link, the VLAN, the addresses, and whether a firewall drops ICMP"
        return [_bad(path, "unreachable", text, remedy), *_names(path, ends, limits)]
    checks: tuple[Callable[..., list[Failure]], ...] = (_size, _loss, _latency, _names)
    return [failure for check in checks for failure in check(path, ends, limits)]


def _size(path: Path, ends: Mapping[str, Host], limits: Limits) -> list[Failure]:
    if path.largest >= limits.mtu:
        return []
    text = f"packets of {path.largest} bytes pass, of {limits.mtu} they do not"
    address = ends[path.target].address
    small = [end for end in (path.source, path.target) if ends[end].mtu < limits.mtu]
    if small:
        named = " and ".join(f"{ends[end].interface} of {end}" for end in small)
        remedy = f"Set the MTU of {named} to {limits.mtu}"
    else:
        remedy = f"A switch port or NIC on the way has MTU {path.largest}: see it with"
        remedy += f" ping -M do -s {limits.mtu - header(address)} from host to host"
    return [_bad(path, "mtu", text, remedy, path.largest, limits.mtu)]


def _loss(path: Path, _ends: Mapping[str, Host], limits: Limits) -> list[Failure]:
    if path.loss_percent is None or path.loss_percent <= limits.loss_percent:
        return []
    text = f"{path.loss_percent:g} % of {path.sent} packets were lost, {limits.loss_percent:g} %"
    remedy = "Look at the errors of both links (ip -s link, ethtool -S) and of the switch ports"
    return [_bad(path, "loss", f"{text} may be", remedy, path.loss_percent, limits.loss_percent)]


def _latency(path: Path, _ends: Mapping[str, Host], limits: Limits) -> list[Failure]:
    found = []
    remedy = "Look for a detour, a loaded link, or power saving of the hosts' CPUs"
    for code, what, figure, limit in (
        ("latency_avg", "on average", path.latency_avg_ms, limits.latency_avg_ms),
        ("latency_max", "at most", path.latency_max_ms, limits.latency_max_ms),
    ):
        if figure is not None and limit and figure > limit:
            text = f"answers took {figure:g} ms {what}, {limit:g} ms may be"
            found.append(_bad(path, code, text, remedy, figure, limit))
    return found


def _throughput(path: Path, ends: Mapping[str, Host], limits: Limits) -> list[Failure]:
    if not limits.throughput_mbit:
        return []
    if path.throughput_mbit is None:
        why = path.error or "a host went away before its turn"
        text = f"the throughput could not be measured: {why}"
        remedy = "Look whether a firewall drops TCP port management_network_verify_port, or another"
        remedy += " program uses it"
        return [_bad(path, "not_measured", text, remedy)]
    if path.throughput_mbit >= limits.throughput_mbit:
        return []
    text = f"{path.throughput_mbit:.0f} Mbit/s, {limits.throughput_mbit:.0f} wanted"
    remedy = _slow(path, ends, limits)
    return [_bad(path, "throughput", text, remedy, path.throughput_mbit, limits.throughput_mbit)]


def _slow(path: Path, ends: Mapping[str, Host], limits: Limits) -> str:
    """Why a path is slow, as far as what was measured can tell."""
    for end in (path.source, path.target):
        speed = ends[end].speed_mbit
        if speed is not None and speed < limits.throughput_mbit:
            return f"{ends[end].interface} of {end} runs at {speed} Mbit/s"
    if path.resent and path.resent > RESENT_PER_SECOND * path.seconds:
        return f"{path.resent} segments were sent again: the path loses packets, or drops bursts"
    return (
        "Look at what the switch ports negotiated, at rate limits, at the NICs' offloads and"
        " rings, and at the CPUs of both hosts"
    )


def _names(path: Path, ends: Mapping[str, Host], limits: Limits) -> list[Failure]:
    if not limits.names or not path.hostname:
        return []
    address = ends[path.target].address
    if address not in path.found:
        leads = ", ".join(path.found) or "nowhere"
        text = f"the name {path.hostname} leads to {leads}, not to {address}"
        remedy = f"Correct the name on {path.source}, in /etc/hosts or DNS"
        return [_bad(path, "name", text, remedy)]
    if not same_host(path.reverse, path.hostname):
        text = f"{address} has the name {path.reverse or '(none)'}, not {path.hostname}"
        remedy = f"Correct the address's name on {path.source}, in /etc/hosts or DNS"
        return [_bad(path, "reverse_name", text, remedy)]
    return []


def _bad(
    path: Path,
    code: str,
    text: str,
    remedy: str,
    figure: float | None = None,
    limit: float | None = None,
) -> Failure:
    return Failure(code, path.source, path.target, text, remedy, figure, limit)


def same_host(one: str, two: str) -> bool:
    """Whether two names mean one host: equal, or one of them without its domain."""
    one, two = one.rstrip(".").lower(), two.rstrip(".").lower()
    short = "." not in one or "." not in two
    return bool(one) and (one == two or (short and one.split(".")[0] == two.split(".")[0]))


def header(address: str) -> int:
    """Bytes of a packet to ``address`` that ping does not count."""
    return HEADERS[6 if ":" in address else 4]


# --- Of all paths ------------------------------------------------------------------------


def _suspicions(failures: Sequence[Failure], paths: Sequence[Path]) -> Iterator[Suspicion]:
    """For each kind of failure, the hosts that explain all bad paths, where that says anything."""
    measured = {frozenset((path.source, path.target)) for path in paths}
    for code in dict.fromkeys(failure.code for failure in failures if failure.target):
        bad = {frozenset((each.source, each.target)) for each in failures if each.code == code}
        if len(bad) > 1 and (hosts := _common(bad, measured)):
            yield Suspicion(code, hosts, len(bad))


def _common(bad: set[frozenset[str]], measured: set[frozenset[str]]) -> tuple[str, ...]:
    """The one host that all bad pairs share; else those of whom every pair is bad.

    The latter only while other hosts have good pairs, and when no bad pair is left unexplained.
    """
    shared = frozenset.intersection(*bad)
    if len(shared) == 1:
        return tuple(shared)
    good = measured - bad
    fine = frozenset().union(*good)
    wholly = {host for pair in bad for host in pair} - fine
    explained = all(pair & wholly for pair in bad)
    return tuple(sorted(wholly)) if good and explained else ()
