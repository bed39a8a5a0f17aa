# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Bursts of pings that may not be fragmented, and the largest that comes back.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    NotFound,
    ProbeFailed,
    Unauthorized,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.links import environment
from ansible_collections.lowtide.compute.plugins.module_utils._planner.paths import PING_WAIT

#: `50 packets transmitted, 48 received, +1 errors, 4% packet loss, time 980ms`.
COUNTS = re.compile(r"^(\d+) packets transmitted, (\d+) received", re.MULTILINE)
#: `rtt min/avg/max/mdev = 0.030/0.041/0.052/0.006 ms`.
TIMES = re.compile(r"^rtt min/avg/max/mdev = [\d.]+/([\d.]+)/([\d.]+)/", re.MULTILINE)
#: Seconds that ping may take longer than it should on a busy host.
PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Burst:
    """What became of some pings. Times in milliseconds; None when no answer came."""

    sent: int
    received: int
    avg_ms: float | None = None
    max_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Pinger:
    """Pings ``address`` from ``source``, both in digits."""

    address: str
    source: str

    def burst(self, payload: int, count: int, interval_ms: int) -> Burst:
        """Send ``count`` pings with ``payload`` bytes each, none of which may be fragmented.

        Raises NotFound, Unauthorized or ProbeFailed when ping cannot ask.
        """
        command = ["ping", "-6" if ":" in self.address else "-4", "-n", "-q", "-M", "do"]
        command += ["-I", self.source, "-s", str(payload), "-c", str(count)]
        command += ["-i", f"{interval_ms / 1000:g}", "-W", f"{PING_WAIT:g}", self.address]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=count * interval_ms / 1000 + PING_WAIT + PATIENCE,
                env=environment(),
                check=False,
            )
        except FileNotFoundError as error:
            remedy = "Install the package iputils-ping (RHEL: iputils) on this host"
            raise NotFound("ping is not there", remedy) from error
        except subprocess.TimeoutExpired as error:
            raise ProbeFailed("ping does not end", "Look at the load of this host") from error
        return parse(done.stdout, done.stderr)

    def passes(self, payload: int) -> bool:
        """Whether a single ping of that size is answered."""
        return self.burst(payload, 1, 1000).received > 0


def parse(output: str, errors: str = "") -> Burst:
    """What ping said at its end; raises Unauthorized or ProbeFailed when it did not ask."""
    counts, times = COUNTS.search(output), TIMES.search(output)
    if not counts:
        words = (errors.strip() or output.strip() or "not a word").splitlines()[-1]
        if re.search("permitted|permission|minimal interval|root", words, re.IGNORECASE):
            raise Unauthorized(f"ping: {words}", "Run the module with become: true")
        raise ProbeFailed(f"ping: {words}", "Is it iputils' ping, and has this host a route there?")
    avg, longest = (float(each) for each in times.groups()) if times else (None, None)
    return Burst(int(counts.group(1)), int(counts.group(2)), avg, longest)


def which_pass(passes: Callable[[int], bool], payloads: tuple[int, ...]) -> dict[int, bool]:
    """Which of these sizes pass, all tried at once: each that does not costs a second."""
    with ThreadPoolExecutor(max_workers=max(1, len(payloads))) as pool:
        return dict(zip(payloads, pool.map(passes, payloads), strict=True))
