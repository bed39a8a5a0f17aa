# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""From a link's speed and a few wishes to the options of nova.conf, computed where they depend.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_file import Line

#: Bytes of a Gbit/s, in MiB/s.
MIB_S_PER_GBIT_S = 1e9 / 8 / 2**20
#: Nova's least delay between two steps of the downtime, in seconds for each GiB.
LEAST_DELAY_S = 3
#: The completion timeout, in times of the growth of the downtime: QEMU needs some ten passes over
#: the memory to throttle a guest as far as it can (20 %, then 10 % more each).
TIMEOUT_IN_GROWTHS = 3


@dataclass(frozen=True, slots=True)
class Settings:
    """The wishes, as the module's option ``settings`` has them. None: computed, or not written.

    ``link_gbit_s``: speed of the link that carries migrations; ``link_share``: the part of it
    that they may take, together.
    """

    link_gbit_s: float = 10.0
    link_share: float = 0.7
    concurrent: int = 2
    bandwidth_mib_s: int | None = None
    inbound_addr: str | None = None
    cold_inbound_addr: str | None = None
    scheme: str | None = None
    downtime_ms: int = 500
    downtime_steps: int = 5
    downtime_delay_s: int | None = None
    completion_timeout_s_per_gib: int | None = None
    timeout_action: str = "abort"
    permit_post_copy: bool = False
    permit_auto_converge: bool = True
    parallel_connections: int = 1
    native_tls: bool = False
    tunnelled: bool = False
    monitor_interval_s: int | None = None
    rpc_response_timeout_s: int = 120
    vif_plugging_timeout_s: int | None = None
    shutdown_timeout_s: int | None = None
    resume_guests_state_on_host_boot: bool | None = None
    enable_qemu_monitor_announce_self: bool | None = None
    skip_cpu_compare_on_dest: bool | None = None
    vnc_server_listen: str | None = None

    def link_mib_s(self) -> float:
        """What the link carries."""
        return self.link_gbit_s * MIB_S_PER_GBIT_S

    def bandwidth(self) -> int:
        """MiB/s for each migration: what was asked for, else its part of the link's share."""
        if self.bandwidth_mib_s is not None:
            return self.bandwidth_mib_s
        return math.floor(self.link_mib_s() * self.link_share / max(self.concurrent, 1))

    def pass_s_per_gib(self) -> float:
        """Seconds in which one GiB is copied, when as many migrations run as may."""
        most = self.link_mib_s() / max(self.concurrent, 1)
        return 1024 / min(self.bandwidth() or most, most)

    def delay_s(self) -> int:
        """Seconds for each GiB between two steps of the downtime: one pass over the memory."""
        if self.downtime_delay_s is not None:
            return self.downtime_delay_s
        return max(LEAST_DELAY_S, math.ceil(self.pass_s_per_gib()))

    def growth_s_per_gib(self) -> int:
        """Seconds for each GiB after which the downtime has its full value."""
        return self.delay_s() * self.downtime_steps

    def timeout_s_per_gib(self) -> int:
        """Seconds for each GiB after which the timeout action is taken; 0 for never."""
        if self.completion_timeout_s_per_gib is not None:
            return self.completion_timeout_s_per_gib
        return TIMEOUT_IN_GROWTHS * self.growth_s_per_gib()


NAMES = tuple(field.name for field in fields(Settings))

#: Setting -> the option that it is written to.
OPTIONS = {
    "concurrent": "DEFAULT.max_concurrent_live_migrations",
    "bandwidth_mib_s": "libvirt.live_migration_bandwidth",
    "inbound_addr": "libvirt.live_migration_inbound_addr",
    "cold_inbound_addr": "libvirt.migration_inbound_addr",
    "scheme": "libvirt.live_migration_scheme",
    "downtime_ms": "libvirt.live_migration_downtime",
    "downtime_steps": "libvirt.live_migration_downtime_steps",
    "downtime_delay_s": "libvirt.live_migration_downtime_delay",
    "completion_timeout_s_per_gib": "libvirt.live_migration_completion_timeout",
    "timeout_action": "libvirt.live_migration_timeout_action",
    "permit_post_copy": "libvirt.live_migration_permit_post_copy",
    "permit_auto_converge": "libvirt.live_migration_permit_auto_converge",
    "parallel_connections": "libvirt.live_migration_parallel_connections",
    "native_tls": "libvirt.live_migration_with_native_tls",
    "tunnelled": "libvirt.live_migration_tunnelled",
    "monitor_interval_s": "libvirt.live_migration_monitor_interval",
    "rpc_response_timeout_s": "DEFAULT.rpc_response_timeout",
    "vif_plugging_timeout_s": "DEFAULT.vif_plugging_timeout",
    "shutdown_timeout_s": "DEFAULT.shutdown_timeout",
    "resume_guests_state_on_host_boot": "DEFAULT.resume_guests_state_on_host_boot",
    "enable_qemu_monitor_announce_self": "workarounds.enable_qemu_monitor_announce_self",
    "skip_cpu_compare_on_dest": "workarounds.skip_cpu_compare_on_dest",
    "vnc_server_listen": "vnc.server_listen",
}


def lines(settings: Settings) -> list[Line]:
    """What the settings come to, in the order of OPTIONS. They must have passed the rules."""
    computed = _computed(settings)
    found = []
    for setting, key in OPTIONS.items():
        group, _dot, name = key.partition(".")
        value, because = computed.get(setting, (getattr(settings, setting), ""))
        if value is not None:
            found.append(Line(group, name, value, because))
    return found


def _computed(settings: Settings) -> dict[str, tuple[int, str]]:
    """Settings that were left open: the value, and in words how it came about."""
    found = {}
    share = f"{settings.link_share * 100:g} % of {settings.link_gbit_s:g} Gbit/s"
    if settings.bandwidth_mib_s is None:
        among = "" if settings.concurrent == 1 else f", for {settings.concurrent} at a time"
        found["bandwidth_mib_s"] = (settings.bandwidth(), f"MiB/s: {share}{among}")
    if settings.downtime_delay_s is None:
        took = f"{settings.pass_s_per_gib():.1f} s for a GiB"
        why = f"s per GiB: one pass over the memory ({took}), at least {LEAST_DELAY_S}"
        found["downtime_delay_s"] = (settings.delay_s(), why)
    if settings.completion_timeout_s_per_gib is None:
        grown = settings.growth_s_per_gib()
        why = f"s per GiB: {TIMEOUT_IN_GROWTHS} times the {grown} s in which the downtime grows"
        found["completion_timeout_s_per_gib"] = (settings.timeout_s_per_gib(), why)
    return found
