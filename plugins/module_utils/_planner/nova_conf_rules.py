# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What Nova would refuse to start with, and what hurts: one function, one rule.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf import (
    ALL,
    COMPUTE,
    is_address,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_file import (
    Configuration,
    Line,
    Setting,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_options import (
    BY_KEY,
    find,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_profile import (
    OPTIONS,
    Settings,
)

#: From which on multifd and post-copy go together (nova/virt/libvirt/driver.py: init_host,
#: MIN_MULTIFD_WITH_POSTCOPY_QEMU_VERSION).
QEMU_OF_PARALLEL_POST_COPY = (10, 1, 0)
#: Faster than any link there is: somebody gave Mbit/s.
MOST_GBIT_S = 1000
#: Names of options that hold what nobody should see in a diff.
SECRET = re.compile(r"passw(or)?d$|transport_url$|secret$|connection$|(api|private|host)_key$")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found. ``fatal``: nothing is written. ``name``: the variable, or the option."""

    name: str
    value: Any
    why: str
    remedy: str
    source: str = ""
    fatal: bool = True

    def sentence(self) -> str:
        """One line: name, value, why, remedy, source."""
        source = f" ({self.source})" if self.source else ""
        return f"{self.name}: {self.value!r} {self.why}{source}. {self.remedy}"


@dataclass(frozen=True, slots=True)
class Host:
    """What is known of the hypervisor. Empty: not known.

    ``addresses``: its IP addresses. ``qemu``: the version of its QEMU, such as (7, 2, 0).
    """

    addresses: frozenset[str] = frozenset()
    qemu: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Names:
    """How the caller calls the inputs. ``prefix``: what precedes a setting's name."""

    prefix: str = "settings."

    def setting(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def option(self, key: str) -> str:
        return f"{self.prefix.removesuffix('settings.')}options.{key}"


@dataclass(frozen=True, slots=True)
class Case:
    """What the rules look at: wishes, and what would be in force.

    ``lines``: what would be written, by key. ``conf``: the configuration with it.
    """

    path: str
    settings: Settings | None
    options: Mapping[str, Any]
    lines: Mapping[str, Line]
    conf: Configuration
    host: Host
    names: Names
    _settings: Mapping[str, str] = field(
        default_factory=lambda: {key: name for name, key in OPTIONS.items()}
    )

    def in_force(self, key: str) -> Setting:
        """An option as it would be in force."""
        option = BY_KEY[key]
        if not option.exists(self.conf.release):
            return Setting(option.default_in(self.conf.release), "default")
        return self.conf.value(option)

    def value(self, key: str) -> Any:
        """Its value; Nova's default in the place of none, and of one that Nova does not take."""
        found = self.in_force(key)
        usable = not found.problem and found.value is not None
        return found.value if usable else BY_KEY[key].default_in(self.conf.release)

    def name(self, key: str) -> str:
        """What to call it: the variable that says it, or the option and the file that does."""
        if key in self.options:
            return self.names.option(key)
        if self.settings is not None and key in self._settings and self.ours(key):
            return self.names.setting(self._settings[key])
        return f"{key} in {self.in_force(key).source}"

    def ours(self, key: str) -> bool:
        """Whether the drop-in says it."""
        return key in self.lines

    def found(
        self, key: str, why: str, remedy: str, source: str = "", fatal: bool = True
    ) -> Finding:
        """A finding about an option in force."""
        return Finding(self.name(key), self.value(key), why, remedy, source, fatal)


Rule = Callable[[Case], Iterator[Finding]]


# --- what Nova would not start with -----------------------------------------------------------

DRIVER, COMPUTE_PY = "nova/virt/libvirt/driver.py", "nova/conf/compute.py"


def parallel_post_copy(case: Case) -> Iterator[Finding]:
    key = "libvirt.live_migration_parallel_connections"
    if not (case.value(key) > 1 and case.value("libvirt.live_migration_permit_post_copy")):
        return
    if case.host.qemu >= QEMU_OF_PARALLEL_POST_COPY:
        return
    has = ".".join(map(str, case.host.qemu))
    known = f"this host has {has}" if has else "this host's version is not known"
    why = f"does not go with post-copy before QEMU 10.1.0, and {known}"
    remedy = "Set it to 1, forbid post-copy, or upgrade QEMU (name its version in qemu_version)"
    yield case.found(key, why, remedy, f"{DRIVER}: init_host")


def tunnelled_tls(case: Case) -> Iterator[Finding]:
    key = "libvirt.live_migration_tunnelled"
    if case.value(key) and case.value("libvirt.live_migration_with_native_tls"):
        why = "does not go with native TLS: nova-compute does not start"
        yield case.found(key, why, "Switch tunnelling off", f"{DRIVER}: init_host")


# --- what hurts -------------------------------------------------------------------------------


def tunnelled(case: Case) -> Iterator[Finding]:
    key = "libvirt.live_migration_tunnelled"
    if case.value(key) and not case.value("libvirt.live_migration_with_native_tls"):
        why = "sends every byte through libvirt, at a fraction of the link, and copies no disks"
        remedy = "Switch it off; native TLS encrypts without it"
        yield case.found(key, why, remedy, "deprecated in nova 23.0.0", case.ours(key))


DOWNTIME = ("libvirt.live_migration_downtime_delay", "libvirt.live_migration_downtime_steps")


def timeout_before_downtime(case: Case) -> Iterator[Finding]:
    key = "libvirt.live_migration_completion_timeout"
    delay, steps = (case.value(name) for name in DOWNTIME)
    timeout = case.value(key)
    if timeout and timeout <= delay * steps:
        why = f"ends migrations before the downtime has grown, in {delay} s x {steps} steps per GiB"
        remedy = f"Give more than {delay * steps}, or 0 for no end; it counts per GiB of the guest"
        fatal = any(case.ours(k) for k in (key, *DOWNTIME))
        yield case.found(key, why, remedy, "nova/conf/libvirt.py", fatal)


def post_copy_devices(case: Case) -> Iterator[Finding]:
    key = "libvirt.live_migration_permit_post_copy"
    if not case.value(key):
        return
    if types := case.value("devices.enabled_mdev_types"):
        why = f"ends every live migration of a guest with a vGPU ({', '.join(types)}) here"
        yield case.found(key, why, "Forbid post-copy on hosts with vGPUs", "hw/vfio/migration.c")
    if case.value("pci.device_spec"):
        why = "ends live migrations of guests with a device that stays attached ([pci] device_spec)"
        remedy = "Forbid post-copy on hosts whose guests have VFIO devices"
        yield case.found(key, why, remedy, "hw/vfio/migration.c", fatal=False)


def inbound_address(case: Case) -> Iterator[Finding]:
    for key in ("libvirt.live_migration_inbound_addr", "libvirt.migration_inbound_addr"):
        if case.ours(key):
            yield from _address(case, key, wildcard=False)


def console_address(case: Case) -> Iterator[Finding]:
    for kind in ("vnc", "spice"):
        if case.value(f"{kind}.enabled"):
            yield from _address(case, f"{kind}.server_listen", wildcard=True)


def _address(case: Case, key: str, wildcard: bool) -> Iterator[Finding]:
    """An address that others connect to; or, with ``wildcard``, one on which QEMU listens."""
    value = case.value(key)
    if not isinstance(value, str) or not is_address(value):
        return
    address = ipaddress.ip_address(value)
    if address.is_unspecified or address.is_loopback:
        if not wildcard:
            why = "is no address at which another host reaches this one"
            yield case.found(key, why, "Give this host's address on the migration network")
    elif case.host.addresses and address not in _addresses(case.host):
        why = "is not an address of this host, so that no guest could move here"
        has = ", ".join(sorted(case.host.addresses))
        yield case.found(key, why, f"Give one that it has ({has}), or configure it first")


def _addresses(host: Host) -> set[Any]:
    texts = (text.partition("%")[0] for text in host.addresses)
    return {ipaddress.ip_address(text) for text in texts if is_address(text)}


def auto_converge_unused(case: Case) -> Iterator[Finding]:
    key = "libvirt.live_migration_permit_auto_converge"
    if case.value(key) and case.value("libvirt.live_migration_permit_post_copy"):
        why = "has no effect where post-copy is permitted"
        remedy = "Forbid one of them; auto-converge loses no guest when the link fails"
        yield case.found(key, why, remedy, f"{DRIVER}: _parse_migration_flags", fatal=False)


def clear_control(case: Case) -> Iterator[Finding]:
    key = "libvirt.live_migration_scheme"
    if case.value("libvirt.live_migration_with_native_tls") and not case.value(
        "libvirt.live_migration_uri"
    ):
        scheme = case.value(key) or "tcp"
        if scheme == "tcp":
            why = "leaves libvirt's control connection in the clear, while native TLS is on"
            remedy = "Use tls, or ssh"
            yield Finding(case.name(key), scheme, why, remedy, DRIVER, fatal=False)


def no_timeout(case: Case) -> Iterator[Finding]:
    key = "libvirt.live_migration_completion_timeout"
    if case.value(key) == 0:
        why = "lets a migration go on for ever, and the timeout action is never taken"
        yield case.found(key, why, "Give seconds per GiB", "nova/conf/libvirt.py", fatal=False)


def ports_not_awaited(case: Case) -> Iterator[Finding]:
    for key, bad in (
        ("DEFAULT.vif_plugging_timeout", 0),
        ("compute.live_migration_wait_for_vif_plug", False),
    ):
        if case.value(key) == bad:
            why = "starts the copy before the ports are there: the guest may be without network"
            yield case.found(key, why, "Leave Nova's default", COMPUTE_PY, fatal=False)


def threads(case: Case) -> Iterator[Finding]:
    key, at_a_time = "DEFAULT.default_thread_pool_size", "DEFAULT.max_concurrent_live_migrations"
    option = BY_KEY[key]
    if option.exists(case.conf.release) and case.value(key) <= case.value(at_a_time):
        why = f"threads are too few for {case.value(at_a_time)} live migrations at a time"
        remedy = f"Set {key} higher than {at_a_time}"
        yield case.found(key, why, remedy, f"{DRIVER}: _live_migration", fatal=False)


def share_of_link(case: Case) -> Iterator[Finding]:
    settings = case.settings
    if settings is None:
        return
    used = settings.bandwidth() * settings.concurrent
    name = case.names.setting("bandwidth_mib_s")
    if not settings.bandwidth():
        why = "sets no limit: migrations take the whole link from what else it carries"
        yield Finding(name, 0, why, "Leave it out to have it computed", fatal=False)
    elif used > settings.link_mib_s():
        link = f"{settings.link_mib_s():.0f} MiB/s of the link"
        why = f"MiB/s for {settings.concurrent} at a time is more than the {link}"
        yield Finding(name, settings.bandwidth(), why, "Leave it out to have it computed")


def old_uri(case: Case) -> Iterator[Finding]:
    key = "libvirt.live_migration_uri"
    if case.settings is not None and case.value(key):
        why = "says more than a scheme can, and is kept: it decides how hosts are reached"
        remedy = "Remove it, and set the scheme; then its user and parameters are lost"
        yield case.found(key, why, remedy, "deprecated in nova 15.0.0", fatal=False)


# --- what would not come true, or does not belong there ----------------------------------------


def overridden(case: Case) -> Iterator[Finding]:
    """Another file, read later, says something else."""
    for key, line in case.lines.items():
        option = find(line.group, line.name)
        setting = case.conf.value(option) if option else case.conf.text(line.group, line.name)
        texts = line.texts()
        wanted = line.value if option else texts[-1]
        if setting.source != case.path and setting.value != wanted and not setting.problem:
            why = f"would not come true: {setting.source} is read later, and says {setting.value!r}"
            remedy = "Remove it there, or have this file read last (--config-dir comes last)"
            yield Finding(case.name(key), wanted, why, remedy, "oslo_config/cfg.py")


def unread(case: Case) -> Iterator[Finding]:
    """What Nova cannot read in files that are not ours, but for what we put right."""
    for key in sorted(BY_KEY):
        option = BY_KEY[key]
        if not option.exists(case.conf.release):
            continue
        setting = case.conf.value(option)
        if setting.problem:
            remedy = f"Correct it: nova-compute wants {option.kind.allowed}"
            fatal = setting.source == case.path
            name = case.name(key) if fatal else f"{key} in {setting.source}"
            yield Finding(name, setting.value, setting.problem, remedy, option.source, fatal)


def secrets(case: Case) -> Iterator[Finding]:
    for key in case.options:
        if SECRET.search(key):
            why = "is a secret, and would be shown in diffs"
            yield Finding(case.names.option(key), "(hidden)", why, "Set it in a file of its own")


def strangers(case: Case) -> Iterator[Finding]:
    """Options that are not in the table, or that another service reads."""
    for key in case.options:
        group, _dot, name = key.partition(".")
        option, called = find(group, name), case.names.option(key)
        value = case.options[key]
        if option is None and not SECRET.search(key):
            why = "is not known here: it is written as it is, without a check"
            yield Finding(called, value, why, "See that Nova has it", fatal=False)
        elif option is not None and option.service not in (ALL, COMPUTE):
            why = f"is read by nova-{option.service}, and not by nova-compute on this host"
            yield Finding(called, value, why, "Set it there", option.source, fatal=False)


RULES: tuple[Rule, ...] = (
    parallel_post_copy,
    tunnelled_tls,
    tunnelled,
    timeout_before_downtime,
    post_copy_devices,
    inbound_address,
    console_address,
    auto_converge_unused,
    clear_control,
    no_timeout,
    ports_not_awaited,
    threads,
    share_of_link,
    old_uri,
    overridden,
    unread,
    secrets,
    strangers,
)


# --- the inputs themselves ---------------------------------------------------------------------


def bad_settings(settings: Settings, names: Names) -> dict[str, Finding]:
    """Settings that are wrong by themselves, by name: type and range, Nova's and ours."""
    found = {}

    def bad(name: str, why: str, remedy: str, source: str = "") -> None:
        value = getattr(settings, name)
        found[name] = Finding(names.setting(name), value, why, remedy, source)

    if not 0 < settings.link_gbit_s <= MOST_GBIT_S:
        bad("link_gbit_s", "is not the speed of a link", "Give its speed in Gbit/s")
    if not 0 < settings.link_share <= 1:
        bad("link_share", "is not a part of the link", "Give more than 0, and 1 at most")
    for name, key in OPTIONS.items():
        option, value = BY_KEY[key], getattr(settings, name)
        try:
            if value is not None:
                option.read(value)
        except ValueError as error:
            bad(name, str(error), f"Give {option.allowed()}", option.source)
    if not found and settings.bandwidth_mib_s is None and settings.bandwidth() < 1:
        remedy = "Give the link's speed in Gbit/s, or fewer migrations at a time"
        bad("link_gbit_s", "leaves less than 1 MiB/s for a migration", remedy)
    return found
