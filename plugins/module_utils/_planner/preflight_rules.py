# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What does not block a drain, but should be known before: one table, one row per rule.

This module util is **PRIVATE** to the collection: it may change without notice.
docs/preflight.md shows the same table to operators. Every row that applies is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.lowtide.compute.plugins.module_utils._planner.convergence import size_gib
from ansible_collections.lowtide.compute.plugins.module_utils._planner.eligibility import (
    has_numa_topology,
    loses_link,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    COLD,
    LIVE,
    Guest,
    PlanEntry,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight_model import (
    RELIABLE,
    Situation,
)

Entries = tuple[PlanEntry, ...]

#: The newest microversion of the compute API -> major version of Nova. 2.100 is that of two.
RELEASE_BY_MINOR = {95: 28, 96: 30, 103: 33, 104: 34}
#: How many migrations 0 stands for in max_concurrent_live_migrations from Nova 33 on.
UNLIMITED = 5


@dataclass(frozen=True, slots=True)
class CautionRule:
    """``about``: the guests that it could concern; without any, nothing is said at all.

    ``needs``: what must have been seen (preflight_model.NEEDS). ``holds``: whom of them it does
    concern; only asked when all that it needs was seen. ``each``: the guests are to be named,
    because it is about them and not about the host.
    """

    code: str
    about: Callable[[Situation], Entries]
    holds: Callable[[Situation, Entries], Entries]
    text: str
    remedy: str
    source: str
    needs: tuple[str, ...] = ()
    each: bool = False


# --- what is known -----------------------------------------------------------------------


def conf(seen: Situation, option: str, default: object = None) -> object:
    """A value of the host's nova.conf; the default where it was not told."""
    value = seen.conf.options.get(option) if seen.conf else None
    return default if value is None else value


def number(seen: Situation, option: str, default: float) -> float:
    """A number of the host's nova.conf; the default where there is none."""
    value = conf(seen, option, default)
    return value if isinstance(value, (int, float)) else default


def nova_version(seen: Situation) -> tuple[int, ...]:
    """Of the host's nova package, else the oldest that offers the API's newest microversion."""
    if seen.conf and seen.conf.version:
        return seen.conf.version
    major, minor = seen.microversion
    known = max((m for m in RELEASE_BY_MINOR if m <= minor), default=0)
    if major != 2 or not known or known < minor < max(RELEASE_BY_MINOR):
        return ()
    return (RELEASE_BY_MINOR[known],)


def cap(seen: Situation) -> int:
    """How many live migrations the host runs at a time; 0 for as many as there are."""
    value = int(number(seen, "DEFAULT.max_concurrent_live_migrations", 1))
    if value:
        return value
    return UNLIMITED if nova_version(seen) >= (33,) else 0


def source_version(seen: Situation) -> int:
    """The hypervisor's on the host itself, 0 when it is not known."""
    host = seen.plan.scope.host
    return next((r.hypervisor_version for r in seen.rooms if r.host == host), 0)


def others(seen: Situation, differs: Callable[[int, int], bool]) -> tuple[str, ...]:
    """Hosts that take guests, and whose hypervisor's version differs so from the source's."""
    here = source_version(seen)
    return tuple(
        room.host
        for room in seen.rooms
        if room.usable
        and room.host != seen.plan.scope.host
        and room.hypervisor_version
        and differs(room.hypervisor_version, here)
    )


def unseen(seen: Situation, need: str) -> bool:
    """Was this, one of NEEDS, not seen?"""
    return {
        "nova_conf": seen.conf is None,
        "nova_version": not nova_version(seen),
        "token": seen.token is None,
        "segments": seen.watched is None,
        "hypervisor_version": not source_version(seen),
    }[need]


# --- about whom --------------------------------------------------------------------------


def moving(seen: Situation) -> Entries:
    return tuple(e for e in seen.plan.entries if e.verdict.method in (LIVE, COLD))


def live(seen: Situation) -> Entries:
    return tuple(e for e in seen.plan.entries if e.verdict.method == LIVE)


def several_live(seen: Situation) -> Entries:
    return live(seen) if len(live(seen)) > 1 else ()


def live_if(test: Callable[[Guest], bool]) -> Callable[[Situation], Entries]:
    return lambda seen: tuple(e for e in live(seen) if test(e.guest))


def forced(seen: Situation) -> Entries:
    """Live guests whose migration may be forced to its end."""
    return tuple(e for e in live(seen) if e.policy.on_timeout == "force_complete")


def all_of(_seen: Situation, entries: Entries) -> Entries:
    return entries


def when(test: Callable[[Situation], bool]) -> Callable[[Situation, Entries], Entries]:
    return lambda seen, entries: entries if test(seen) else ()


def _pins(guest: Guest) -> bool:
    specs, image = guest.extra_specs, guest.image_properties
    policy = specs.get("hw:cpu_policy") or image.get("hw_cpu_policy")
    return policy in ("dedicated", "mixed") or bool(guest.resources.get("PCPU"))


def _runs_post_copy(seen: Situation) -> bool:
    return bool(conf(seen, "libvirt.live_migration_permit_post_copy")) and seen.network != RELIABLE


def _nova_ends_first(seen: Situation, entries: Entries) -> Entries:
    per_gib = number(seen, "libvirt.live_migration_completion_timeout", 0)
    slow = (e for e in entries if e.estimate.seconds > per_gib * size_gib(e.guest))
    return tuple(slow) if per_gib else ()


def _token_is_short(seen: Situation, entries: Entries) -> Entries:
    """Nova works with the user's token until a guest's migration has ended."""
    if conf(seen, "service_user.send_service_user_token") or seen.token is None:
        return ()
    return tuple(e for e in entries if e.estimate.seconds > seen.token.seconds)


def _token_ends_first(seen: Situation) -> bool:
    token = seen.token
    return token is not None and not token.renewable and token.seconds < seen.plan.seconds


def _is_watched(seen: Situation) -> bool:
    return bool(seen.watched and seen.watched.segment and not seen.watched.on_maintenance)


#: One row per rule: first what may lose a guest or its network, last what costs only time.
RULES: tuple[CautionRule, ...] = (
    CautionRule(
        "masakari_not_in_maintenance",
        lambda seen: seen.plan.entries,
        when(_is_watched),
        "Masakari watches this host (segment {segment}), and it is not in maintenance: when it"
        " reboots, Masakari evacuates what is left on it",
        "openstack segment host update --on_maintenance True {segment} {host}; take that back"
        " when the host is back",
        "Masakari: masakari/ha/api.py: create_notification refuses a host on_maintenance",
        ("segments",),
    ),
    CautionRule(
        "sriov_link_loss",
        live_if(loses_link),
        all_of,
        "an SR-IOV port is unplugged before the move and plugged again after it: no link"
        " meanwhile, unless the guest bonds it",
        "move them when that does no harm (exclude), or leave them with sriov: leave",
        "Nova: nova/virt/libvirt/driver.py: _detach_direct_passthrough_vifs",
        each=True,
    ),
    CautionRule(
        "post_copy_network",
        forced,
        when(_runs_post_copy),
        "post-copy is permitted and the migration network is {network}: if it fails while a guest"
        " runs on the destination, the guest is lost",
        "forbid it (policy: {{post_copy: false}}), or say migration_network: reliable if it is"
        " redundant",
        "Nova: nova/conf/libvirt.py: live_migration_permit_post_copy",
        ("nova_conf",),
        each=True,
    ),
    CautionRule(
        "pinned_before_33",
        live_if(_pins),
        when(lambda seen: nova_version(seen)[:1] == (33,)),
        "Nova {version} does not live-migrate a pinned guest that has not been stopped since"
        " before the upgrade to 33: its domain has no I/O threads",
        "stop and start, or hard-reboot, those that were started before the upgrade",
        "Nova: Launchpad 2152697, nova/virt/libvirt/migration.py: _update_numa_xml",
        ("nova_version",),
        each=True,
    ),
    CautionRule(
        "failure_leaves_error",
        live,
        when(lambda seen: nova_version(seen) >= (32, 2)),
        "with Nova {version} a migration that fails or is aborted leaves its guest in ERROR,"
        " although it runs here; the drain looks, and resets that",
        "evacuate, rebuild or delete no guest because it is in ERROR before you have looked at it"
        " on the hypervisor",
        "Nova: commit 20a9f9d740 (32.2.0, 33.0.0), nova/virt/libvirt/driver.py: _live_migration",
        ("nova_version",),
    ),
    CautionRule(
        "ratios_not_heeded",
        live_if(lambda guest: has_numa_topology(guest) and not _pins(guest)),
        when(lambda seen: nova_version(seen)[:1] < (34,)),
        "the destination's claim does not heed the allocation ratios for guests with NUMA cells:"
        " its cells may end up fuller than they are allowed to be",
        "see with numa_check where they fit, and name that host",
        "Nova: Launchpad 2153425, nova/compute/claims.py",
        ("nova_version",),
        each=True,
    ),
    CautionRule(
        "older_hypervisor",
        live,
        when(lambda seen: bool(others(seen, lambda there, here: there < here))),
        "an older hypervisor than here is on {older}: Nova sends no guest there",
        "drain the hosts with the oldest hypervisor first, and upgrade them",
        "Nova: nova/conductor/tasks/live_migrate.py: _check_compatible_with_source_hypervisor",
        ("hypervisor_version",),
    ),
    CautionRule(
        "newer_hypervisor",
        live,
        when(lambda seen: bool(others(seen, lambda there, here: there > here))),
        "a newer hypervisor than here is on {newer}: what goes there comes back only when this"
        " host is as new",
        "upgrade this host before you return it, if guests are to come back",
        "Nova: nova/conductor/tasks/live_migrate.py: _check_compatible_with_source_hypervisor",
        ("hypervisor_version",),
    ),
    CautionRule(
        "disk_not_checked",
        live_if(lambda guest: guest.disk_gib > 0 and not guest.resources.get("DISK_GB")),
        all_of,
        "Placement counts no disk for it: if its disk is copied, nothing checks that the"
        " destination has the space",
        "see that the destinations have the space, or that the hosts share storage",
        "Nova: nova/virt/libvirt/driver.py: check_can_live_migrate_destination (API 2.25)",
        each=True,
    ),
    CautionRule(
        "config_drive",
        live_if(lambda guest: guest.config_drive and guest.disk_gib > 0),
        all_of,
        "has a config drive and a local disk: where disks are copied, the config drive is not",
        "try one such guest first, or use shared storage",
        "Nova: doc/source/admin/configuring-migrations.rst (block migration, config drive)",
        each=True,
    ),
    CautionRule(
        "lvm_disks",
        live_if(lambda guest: guest.disk_gib > 0),
        when(lambda seen: conf(seen, "libvirt.images_type") == "lvm"),
        "local disks are logical volumes, which a live migration does not make on the destination",
        "move these guests by snapshot and rebuild, or exclude them",
        "Nova: nova/virt/libvirt/driver.py: _create_images_and_backing",
        ("nova_conf",),
        each=True,
    ),
    CautionRule(
        "monitor_interval",
        live,
        when(lambda seen: conf(seen, "libvirt.live_migration_monitor_interval") == 0),
        "live_migration_monitor_interval is 0, which ends every migration with an error",
        "set [libvirt] live_migration_monitor_interval to 5",
        "Nova: nova/virt/libvirt/driver.py: _live_migration_monitor",
        ("nova_conf",),
    ),
    CautionRule(
        "tunnelled",
        live,
        when(lambda seen: bool(conf(seen, "libvirt.live_migration_tunnelled"))),
        "migrations are tunnelled through libvirt: slow, and no disk is copied of a guest with"
        " volumes",
        "unset [libvirt] live_migration_tunnelled; use live_migration_with_native_tls",
        "Nova: nova/conf/libvirt.py: live_migration_tunnelled (deprecated since 23)",
        ("nova_conf",),
    ),
    CautionRule(
        "token_ends_first",
        moving,
        when(_token_ends_first),
        "the token that was given is valid for {token} more, the plan takes {plan}: the drain"
        " would end in the middle",
        "use credentials that can sign in anew (a password or an application credential)",
        "Keystone: [token] expiration",
        ("token",),
    ),
    CautionRule(
        "token_ends_while_it_moves",
        live,
        _token_is_short,
        "takes longer than a token is valid ({token}): Nova may fail to clean up after its move",
        "set [service_user] send_service_user_token in nova.conf of the hosts",
        "Nova: doc/source/admin/live-migration-usage.rst; nova/conf/service_token.py",
        ("token",),
        each=True,
    ),
    CautionRule(
        "does_not_converge",
        live,
        lambda seen, entries: tuple(e for e in entries if not e.estimate.converges),
        "writes its memory faster than it is copied: it spends all its time, and then on_timeout"
        " decides",
        "move it when it is quiet, allow it more downtime or post_copy, or exclude it",
        "Lowtide: prediction from dirty_rates and the link (docs/tuning.md)",
        each=True,
    ),
    CautionRule(
        "nova_ends_it_first",
        live,
        _nova_ends_first,
        "is expected to take longer than Nova allows it ({per_gib} s per GiB): Nova ends the"
        " migration with {action}",
        "raise [libvirt] live_migration_completion_timeout (role nova_migration, which restarts"
        " nova-compute when nothing moves)",
        "Nova: nova/virt/libvirt/driver.py: _live_migration_monitor",
        ("nova_conf",),
        each=True,
    ),
    CautionRule(
        "past_the_deadline",
        moving,
        when(lambda seen: 0 < seen.options.deadline < seen.plan.seconds),
        "the plan takes {plan}, and after {deadline} nothing more is started",
        "raise deadline or max_parallel, or drain in several windows",
        "Lowtide: option deadline",
    ),
    CautionRule(
        "cap_below_max_parallel",
        several_live,
        when(lambda seen: 0 < cap(seen) < seen.options.max_parallel),
        "max_parallel is {max_parallel}, but nova-compute runs {cap} at a time: the others wait in"
        " its queue, and hold their place on the destination",
        "lower max_parallel to {cap}, or raise [DEFAULT] max_concurrent_live_migrations and"
        " restart nova-compute",
        "Nova: nova/conf/compute.py: max_concurrent_live_migrations",
        ("nova_conf",),
    ),
    CautionRule(
        "cap_of_one",
        several_live,
        when(lambda seen: cap(seen) == 1 == seen.options.max_parallel),
        "nova-compute runs one live migration at a time: the guests go one after the other",
        "if that takes too long, raise [DEFAULT] max_concurrent_live_migrations to 2, restart"
        " nova-compute, and set max_parallel: 2",
        "Nova: nova/conf/compute.py: max_concurrent_live_migrations",
        ("nova_conf",),
    ),
)
