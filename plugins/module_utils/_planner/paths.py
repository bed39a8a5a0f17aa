# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Which pairs of hosts to measure, in which rounds, for how long, and which packets to try next.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Pair = tuple[str, str]

AUTO, ALL, RING = "auto", "all", "ring"
COVERAGES = (AUTO, ALL, RING)
#: Bytes of IP and ICMP header around what ping calls the size of a packet, by version of IP.
HEADERS = {4: 28, 6: 48}
#: What IPv6 wants of every link (RFC 8200).
SMALLEST_MTU = 1280
LARGEST_MTU = 65535
#: Sizes of packets that are tried at a time. Three times finds one of 9000 to the byte.
TRIED_AT_ONCE = 16
#: Seconds that a round takes besides its measurements: two tasks, and the ends of iperf3.
ROUND_OVERHEAD = 2.0
#: Seconds that all other tasks take together.
OVERHEAD = 5.0
#: Tasks of each round, and beside the rounds; and Ansible's own seconds for a task on a host.
ROUND_TASKS, TASKS, TASK_SECONDS = 3, 16, 0.03
#: Seconds more for the far end of a pair, on a day when everything is slow.
SPARE = 30.0
#: Peers that a host pings at a time.
PINGED_AT_ONCE = 8
#: Seconds until a ping without an answer is given up.
PING_WAIT = 1.0


@dataclass(frozen=True, slots=True)
class Course:
    """What is measured when. In a round no host is in two pairs; rounds are not empty.

    ``seconds``: how long all of it will take, about. ``coverage``: ``all`` or ``ring``.
    ``listen_seconds``: for how long the far end of a pair must be there at most.
    """

    coverage: str
    rounds: tuple[tuple[Pair, ...], ...]
    seconds: float
    listen_seconds: int

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All of them, each once."""
        return tuple(pair for each in self.rounds for pair in each)


@dataclass(frozen=True, slots=True)
class Effort:
    """How long is measured. ``seconds``: of each direction of a pair, 0 for no throughput.

    ``count`` and ``interval_ms``: of pings. ``forks``: hosts that work at a time.
    """

    seconds: float = 5.0
    omit: float = 1.0
    count: int = 50
    interval_ms: int = 20
    forks: int = 5


#: What a variable of the role may be: from the least to the most, None for as much as one likes.
#: Those of network_path_info are the same.
RANGES: Mapping[str, tuple[float, float | None]] = {
    "mtu": (SMALLEST_MTU, LARGEST_MTU),
    "verify_all_up_to": (2, None),
    "verify_speed_mbit": (0, None),
    "verify_latency_avg_ms": (0, None),
    "verify_latency_max_ms": (0, None),
    "verify_loss_percent": (0, 100),
    "verify_throughput_mbit": (0, None),
    "verify_count": (1, 10000),
    "verify_interval_ms": (2, 10000),
    "verify_seconds": (1, 3600),
    "verify_streams": (1, 128),
    "verify_port": (1, 65535),
}


def faults(
    hosts: Sequence[str],
    here: str,
    play: Sequence[str],
    later: Sequence[str],
    variables: Mapping[str, Any],
) -> list[str]:
    """What is wrong with the wishes for a verification: variable, value and remedy in a sentence.

    ``here``: the host that asks. ``play``: all hosts of the play. ``later``: those of them that
    are in another batch of it. ``variables``: the role's, without its prefix.
    """
    found = [*_wrong_hosts(hosts, here, play, later)]
    if not str(variables["interface"]):
        found.append(_fault("interface", "", "names none", "Give the interface to measure"))
    if variables["verify_coverage"] not in COVERAGES:
        remedy = f"Give {', '.join(COVERAGES)}"
        found.append(_fault("verify_coverage", variables["verify_coverage"], "is unknown", remedy))
    for name, (least, most) in RANGES.items():
        value = number(variables[name])
        if value is None or value < least or (most is not None and value > most):
            remedy = f"Give {least} or more" if most is None else f"Give {least} to {most}"
            found.append(_fault(name, variables[name], "is out of range", remedy))
    return found


def number(value: object) -> float | None:
    """A number, also one that was given as text on the command line; None for anything else."""
    try:
        found = float(str(value))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _wrong_hosts(
    hosts: Sequence[str], here: str, play: Sequence[str], later: Sequence[str]
) -> Iterator[str]:
    name = "verify_hosts"
    if len(hosts) < 2:
        yield _fault(name, [*hosts], "makes no pair", "Give two hosts or more")
    if len(set(hosts)) < len(hosts):
        yield _fault(name, [*hosts], "has a host twice", "Give each once")
    if here not in hosts:
        yield _fault(name, [*hosts], f"lacks {here}, which is to measure", "Add it, or skip it")
    if strange := sorted(set(hosts) - set(play)):
        yield _fault(name, strange, "are not in this play", "Add them to its hosts")
    if waiting := sorted(set(hosts) & set(later)):
        remedy = "Take `serial` out of the play: hosts measure to each other"
        yield _fault(name, waiting, "are in another batch of the play", remedy)


def _fault(name: str, value: object, why: str, remedy: str) -> str:
    return f"management_network_{name}: {value!r} {why}. {remedy}."


def course(hosts: Sequence[str], wanted: str, all_up_to: int, effort: Effort) -> Course:
    """The rounds for these hosts. ``wanted``: one of COVERAGES.

    ``auto`` measures all pairs of up to ``all_up_to`` hosts, and of more only each host with
    the next one: a constant number of rounds, however many there are.
    """
    coverage = wanted
    if wanted == AUTO:
        coverage = ALL if len(hosts) <= all_up_to else RING
    rounds = tournament(hosts) if coverage == ALL else ring(hosts)
    longest = max((_round_seconds(each, effort) for each in rounds), default=0.0)
    listen = math.ceil(2 * longest + SPARE)
    return Course(coverage, rounds, predict(rounds, len(hosts), effort), listen)


def tournament(hosts: Sequence[str]) -> tuple[tuple[Pair, ...], ...]:
    """Every pair once, in as few rounds as there can be: n - 1, or n when n is odd.

    The circle method of round-robin tournaments: the first stays, the others go round.
    """
    circle: list[str | None] = [*hosts, None] if len(hosts) % 2 else [*hosts]
    rounds = []
    for _each in range(len(circle) - 1):
        opposite = zip(circle[: len(circle) // 2], reversed(circle), strict=False)
        rounds.append(tuple((one, two) for one, two in opposite if one and two))
        circle.insert(1, circle.pop())
    return tuple(each for each in rounds if each)


def ring(hosts: Sequence[str]) -> tuple[tuple[Pair, ...], ...]:
    """Each host with the next one, and the last with the first: two rounds, or three."""
    if len(hosts) < 3:
        return tournament(hosts)
    steps = list(zip(hosts, [*hosts[1:], hosts[0]], strict=True))
    # With an odd number the pair that closes the ring has a host in each of the other rounds.
    closing = [steps.pop()] if len(hosts) % 2 else []
    return tuple(tuple(each) for each in (steps[::2], steps[1::2], closing) if each)


def predict(rounds: Sequence[Sequence[Pair]], hosts: int, effort: Effort) -> float:
    """Seconds for the whole verification when all is well.

    Ansible works on ``forks`` hosts at a time, so that a round of more pairs takes several turns.
    """
    peers = max((len(each) for each in partners(rounds).values()), default=0)
    burst = 2 * effort.count * effort.interval_ms / 1000 + PING_WAIT
    forks = max(1, effort.forks)
    total = OVERHEAD + math.ceil(peers / PINGED_AT_ONCE) * burst * math.ceil(hosts / forks)
    tasks = TASKS
    if effort.seconds:
        total += sum(_round_seconds(each, effort) for each in rounds)
        tasks += ROUND_TASKS * len(rounds)
    return total + tasks * hosts * TASK_SECONDS


def _round_seconds(pairs: Sequence[Pair], effort: Effort) -> float:
    turn = 2 * (effort.seconds + effort.omit) + ROUND_OVERHEAD
    return math.ceil(len(pairs) / max(1, effort.forks)) * turn


def partners(rounds: Sequence[Sequence[Pair]]) -> Mapping[str, list[str]]:
    """Whom each host is measured with, in the order of the rounds."""
    found: dict[str, list[str]] = {}
    for one, two in (pair for each in rounds for pair in each):
        found.setdefault(one, []).append(two)
        found.setdefault(two, []).append(one)
    return found


def next_sizes(passes: int, fails: int) -> tuple[int, ...]:
    """Sizes of packets to try next, between one that passes and one that does not.

    Empty when ``passes`` is the largest. They divide what is left into equal parts.
    """
    parts = min(TRIED_AT_ONCE + 1, fails - passes)
    return tuple(passes + (fails - passes) * part // parts for part in range(1, parts))


def narrowed(passes: int, fails: int, answered: Mapping[int, bool]) -> tuple[int, int]:
    """The pair for ``next_sizes`` after these sizes were tried.

    A packet that was lost by chance must not hide larger ones that pass.
    """
    passing = max([passes, *(size for size, passed in answered.items() if passed)])
    failing = [size for size, passed in answered.items() if not passed and size > passing]
    return passing, min([fails, *failing])
