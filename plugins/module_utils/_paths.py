# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""One host's part in the verification of a network: what it measures to each of its peers.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    ProbeFailed,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import links
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import SystemClock
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.echo import (
    Burst,
    Pinger,
    which_pass,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.iperf import Client
from ansible_collections.lowtide.compute.plugins.module_utils._planner import paths

Row = dict[str, Any]

#: Bytes that a ping carries when nobody says otherwise.
SMALL = 56
#: Pings of which one must pass for a size to count as passing.
ATTEMPTS = 3
#: What each option may be, from the least to the most.
RANGES = {
    "mtu": (0, paths.LARGEST_MTU),
    "omit": (0, 60),
    "tests": (1, 100),
    **{name: paths.RANGES[f"verify_{name}"] for name in ("count", "interval_ms", "port")},
    **{name: paths.RANGES[f"verify_{name}"] for name in ("seconds", "streams")},
}


def check(params: Mapping[str, Any]) -> None:
    """Raise BadOption for what cannot be measured, before anything is sent."""
    for option, (least, most) in RANGES.items():
        value = params.get(option)
        if value is not None and not least <= value <= most:
            raise BadOption(option, value, "is out of range", f"Give {least} to {most}")
    for at, peer in enumerate(params.get("peers") or ()):
        digits(peer["address"], f"peers[{at}].address")


def digits(address: str, option: str) -> str:
    """The address as the kernel writes it; raises BadOption when it is none."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError as error:
        remedy = "Give an IP address, for names are part of what is measured"
        raise BadOption(option, address, "is no IP address", remedy) from error


def own(link: links.Link, address: str | None, peers: Sequence[Mapping[str, Any]]) -> str:
    """This host's address on the interface: the one given, or the first; "" when it has none."""
    if address:
        wanted = digits(address, "address")
        if wanted not in link.addresses:
            there = ", ".join(link.addresses) or "none"
            remedy = f"Give one that it has ({there}), or configure it"
            raise BadOption("address", address, f"is no address of {link.name}", remedy)
        return wanted
    versions = {ipaddress.ip_address(peer["address"]).version for peer in peers}
    fitting = [each for each in link.addresses if _fits(each, versions)]
    if peers and not fitting:
        why = "has no address from which to measure"
        raise BadOption("interface", link.name, why, "Give it an address first")
    return fitting[0] if fitting else ""


def _fits(address: str, versions: set[int]) -> bool:
    return not versions or ipaddress.ip_address(address).version in versions


def measure(params: Mapping[str, Any], source: str, clock: SystemClock) -> list[Row]:
    """A row for each peer, in their order. Pings go to several at a time, data to one by one."""
    peers = params["peers"]
    with ThreadPoolExecutor(max_workers=paths.PINGED_AT_ONCE) as pool:
        rows = list(pool.map(lambda peer: _quiet(params, source, peer), peers))
    if "throughput" in params["measure"]:
        for row, peer in zip(rows, peers, strict=True):
            row |= throughput(params, source, peer["address"], clock)
    return rows


def _quiet(params: Mapping[str, Any], source: str, peer: Mapping[str, Any]) -> Row:
    """What can be measured without filling the link."""
    row = {"name": peer["name"] or peer["address"], "address": peer["address"]}
    wanted = params["measure"]
    if "names" in wanted and peer["hostname"]:
        row["hostname"] = peer["hostname"]
        row["found"] = list(links.addresses_of(peer["hostname"]))
        row["reverse"] = links.name_of(peer["address"])
    pinger = Pinger(peer["address"], source)
    if "latency" in wanted:
        burst = pinger.burst(SMALL, params["count"], params["interval_ms"])
        row |= latency(burst)
    if "mtu" in wanted and params["mtu"]:
        row |= size(pinger, params, row)
    return row


def latency(burst: Burst) -> Row:
    """Figures of small packets."""
    lost = 100 * (burst.sent - burst.received) / burst.sent
    return {
        "sent": burst.sent,
        "latency_avg_ms": burst.avg_ms,
        "latency_max_ms": burst.max_ms,
        "loss_percent": round(lost, 2),
    }


def size(pinger: Pinger, params: Mapping[str, Any], row: Mapping[str, Any]) -> Row:
    """The largest packet that passes, up to the one wanted; and what is lost of those.

    A size passes when one of a few packets does: loss is told of as loss.
    """
    over = paths.HEADERS[6 if ":" in pinger.address else 4]
    wanted = max(params["mtu"] - over, 0)
    burst = pinger.burst(wanted, ATTEMPTS, params["interval_ms"])
    if burst.received:
        again = pinger.burst(wanted, params["count"], params["interval_ms"])
        lost = round(100 * (again.sent - again.received) / again.sent, 2)
        sent = row.get("sent", 0) + again.sent
        worst = max(row.get("loss_percent") or 0.0, lost)
        return {"largest_packet": params["mtu"], "sent": sent, "loss_percent": worst}
    if not pinger.burst(SMALL, ATTEMPTS, params["interval_ms"]).received:
        return {"largest_packet": 0, "sent": row.get("sent", 0) + 2 * ATTEMPTS}
    passing, failing = min(SMALL, wanted), wanted
    while tries := paths.next_sizes(passing, failing):
        passing, failing = paths.narrowed(passing, failing, which_pass(pinger.passes, tries))
    return {"largest_packet": passing + over}


def throughput(params: Mapping[str, Any], source: str, address: str, clock: SystemClock) -> Row:
    """Mbit/s there and back; ``error`` says why, where there is none."""
    client = Client(
        address, source, params["port"], params["seconds"], params["omit"], params["streams"]
    )
    row: Row = {"seconds": params["seconds"]}
    for prefix, back in (("", False), ("back_", True)):
        try:
            found = client.measure(back=back, clock=clock)
        except ProbeFailed as error:
            return row | {"error": error.message}
        row |= {f"{prefix}throughput_mbit": found.mbit, f"{prefix}resent": found.resent}
    return row
