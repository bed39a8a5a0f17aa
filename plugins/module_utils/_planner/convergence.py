# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""How long a pre-copy live migration takes: rounds, seconds, bytes, the downtime it takes.

This module util is **PRIVATE** to the collection: it may change without notice.
The model is QEMU's (migration_iteration_run): it sends memory and, each ``LOOK_S``, looks whether
what remains could be sent within the allowed downtime. If so it asks what was dirtied meanwhile,
which joins what remains; if all of that still fits, the guest is stopped for it, else another
round begins. So even a guest that writes nothing is stopped for about the downtime it allows.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    COLD,
    LIVE,
    Estimate,
    Guest,
    Options,
    Policy,
)

MIB = 1024 * 1024
PAGE_BYTES = 4096
#: QEMU gives up no round by itself; beyond this many a guest is called non-converging here.
MAX_ROUNDS = 200
#: How long QEMU sends before it looks; the first time, so that it knows the bandwidth.
LOOK_S = 0.05
FIRST_LOOK_S = 0.1
#: Relative: figures as close as this are equal.
_ROUNDING = 1e-9
_DEFAULT = Policy()


def precopy(
    memory_bytes: float,
    bandwidth: float,
    dirty_rate: float = 0.0,
    working_set: float = math.inf,
    max_downtime_s: float = 0.5,
) -> Estimate:
    """Predict one migration. Bytes, bytes/s and seconds; ``converges`` tells if it ends.

    ``memory_bytes``: what is to be sent, so without zero pages, where that is known.
    ``rounds``: how often the dirty pages are asked for while the guest runs; QEMU's own count is
    2 more. ``downtime_ms``: how long the guest is stopped for what is sent then, to which QEMU adds
    its activation (30 to 60 ms). Of what does not converge ``seconds`` and ``bytes`` are those
    until that is clear, and ``downtime_ms`` is what it would have to allow.
    """
    if bandwidth <= 0:
        raise ValueError("bandwidth must be positive")
    working_set = min(working_set, memory_bytes)
    written = working_set / memory_bytes if memory_bytes else 0.0
    fits = bandwidth * max_downtime_s
    seconds, sent, left, unsent = 0.0, 0.0, float(memory_bytes), float(memory_bytes)
    for rounds in range(1, MAX_ROUNDS + 1):
        took = _seconds_to_look(left, fits, bandwidth, FIRST_LOOK_S if rounds == 1 else LOOK_S)
        before, went = left, min(left, took * bandwidth)
        seconds, sent, unsent = seconds + took, sent + went, max(0.0, unsent - went)
        # A page that is dirtied before it was sent is sent once.
        most = working_set + unsent * (1 - written)
        left = max(left - went, min(left - went + dirty_rate * took, most))
        pause = left / bandwidth
        if left <= max(fits * (1 - _ROUNDING), PAGE_BYTES):
            return Estimate(seconds + pause, round(sent + left), rounds, 1000 * pause)
        if left >= before * (1 - _ROUNDING):
            break
    return Estimate(seconds, round(sent), rounds, 1000 * pause, False)


def _seconds_to_look(left: float, fits: float, bandwidth: float, first: float) -> float:
    """Until QEMU looks and less is left than fits, or all has been sent."""
    looks = math.ceil((left - fits) / bandwidth / LOOK_S + _ROUNDING)
    return min(left / bandwidth, max(first, looks * LOOK_S))


def estimate(guest: Guest, method: str, options: Options, policy: Policy = _DEFAULT) -> Estimate:
    """What moving this guest costs, from what the API tells and its dirty rate, where measured.

    Whether, and how much of, a local disk is copied nobody tells. What does not converge takes
    all the time that it has. The downtime is that of a guest which is allowed its policy's maximum
    from the start; Nova alone begins with a tenth of its own.
    """
    if method not in (LIVE, COLD):
        return Estimate(0.0, 0)
    data = guest.ram_mib * MIB if method == LIVE else 0
    mib_s = min(options.bandwidth_mib_s, policy.bandwidth_mib_s or math.inf)
    rate = options.dirty_rates.get(guest.id, 0.0)
    copied = precopy(data, mib_s * MIB, rate * MIB, max_downtime_s=policy.max_downtime_ms / 1000)
    if not copied.converges:
        seconds = budget(guest, options, policy)
        copied = replace(copied, seconds=seconds, bytes=round(seconds * mib_s * MIB))
    return replace(
        copied,
        seconds=round(copied.seconds + options.overhead_seconds, 1),
        downtime_ms=round(copied.downtime_ms, 1),
    )


def size_gib(guest: Guest) -> float:
    """Memory, 2 GiB at least, and local disks, as Nova's own timeout counts them.

    (nova/virt/libvirt/driver.py, _live_migration_data_gb)
    """
    return max(2.0, guest.ram_mib / 1024) + guest.disk_gib


def budget(guest: Guest, options: Options, policy: Policy = _DEFAULT) -> float:
    """Seconds that a migration of this guest may take: its policy's, or by its size."""
    return policy.completion_timeout or options.timeout_per_gib * size_gib(guest)
