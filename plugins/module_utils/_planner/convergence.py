# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""How long a pre-copy live migration takes: rounds, seconds, bytes, the downtime it needs.

This module util is **PRIVATE** to the collection: it may change without notice.
The model is the classic one of pre-copy: round 0 sends the memory, each further round
what was dirtied during the one before, until the rest fits into the allowed downtime:
``T = M/B * (1 - (D/B)^(n+1)) / (1 - D/B)`` for memory M, bandwidth B, dirty rate D.
"""

from __future__ import annotations

import math

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    COLD,
    LIVE,
    Estimate,
    Guest,
    Options,
)

MIB = 1024 * 1024
#: QEMU gives up no round by itself; beyond this many a guest is called non-converging here.
MAX_ROUNDS = 60


def precopy(
    memory_bytes: float,
    bandwidth: float,
    dirty_rate: float = 0.0,
    working_set: float = math.inf,
    max_downtime_s: float = 0.5,
) -> Estimate:
    """Predict one migration. Bytes, bytes/s and seconds; ``converges`` tells if it ends.

    ``rounds`` counts those during which the guest runs, so not the last one of a migration
    that converges.
    ``downtime_ms`` is the pause of the last round when it converges, else the pause that
    would be needed to make it end.
    """
    if bandwidth <= 0:
        raise ValueError("bandwidth must be positive")
    seconds, sent, rest = 0.0, 0.0, float(memory_bytes)
    for rounds in range(1, MAX_ROUNDS + 1):
        took = rest / bandwidth
        seconds, sent = seconds + took, sent + rest
        dirtied = min(working_set, dirty_rate * took, memory_bytes)
        pause = dirtied / bandwidth
        if pause <= max_downtime_s:
            return Estimate(seconds + pause, round(sent + dirtied), rounds, 1000 * pause)
        if dirtied >= rest:
            break
        rest = dirtied
    return Estimate(seconds, round(sent), rounds, 1000 * pause, False)


def estimate(guest: Guest, method: str, options: Options) -> Estimate:
    """What moving this guest costs, from what the API alone tells.

    That is neither a dirty rate nor whether, and how much of, a local disk is copied.
    """
    if method not in (LIVE, COLD):
        return Estimate(0.0, 0)
    data = guest.ram_mib * MIB if method == LIVE else 0
    copied = precopy(data, options.bandwidth_mib_s * MIB)
    return Estimate(
        round(copied.seconds + options.overhead_seconds, 1),
        copied.bytes,
        copied.rounds,
        round(copied.downtime_ms, 1),
    )


def budget(guest: Guest, options: Options) -> float:
    """Seconds that a migration of this guest may take: ``timeout_per_gib`` times its size.

    Its size is memory and local disks; memory counts as 2 GiB at least, as in Nova's own timeout
    (nova/virt/libvirt/driver.py, _live_migration_data_gb).
    """
    return options.timeout_per_gib * (max(2.0, guest.ram_mib / 1024) + guest.disk_gib)
