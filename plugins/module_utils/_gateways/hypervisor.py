# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""A hypervisor, as libvirt on it tells and takes it: domains, migration jobs, their settings.

This module util is **PRIVATE** to the collection: it may change without notice.
Statistics are passed on as libvirt names and counts them; ``_planner.tuning`` reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    HypervisorRefused,
    LowtideError,
    MissingLibrary,
    NotFound,
    Unreachable,
)

try:
    import libvirt
except ImportError:
    libvirt = None

MIB = 1024 * 1024

NO_JOB = "none"
INCOMING = "incoming"
OUTGOING = "outgoing"

#: libvirt's virDomainState in Nova's power states (nova/virt/libvirt/guest.py), by number.
STATES = (
    "nostate",
    "running",
    "running",
    "paused",
    "shutdown",
    "shutdown",
    "crashed",
    "suspended",
)

Stats = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain that is defined or runs here. ``state``: as Nova words power states."""

    id: str
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class Job:
    """A domain's migration. ``kind``: none, incoming or outgoing; ``stats``: when outgoing."""

    kind: str = NO_JOB
    stats: Stats | None = None


class Hypervisor(Protocol):
    """What the modules need of a hypervisor. Domains are named by their UUIDs.

    Every call raises NotFound when the domain is gone, Unreachable when libvirt is, and
    HypervisorRefused when it does not do what it was asked.
    """

    def domains(self) -> tuple[Domain, ...]: ...

    def job(self, domain_id: str) -> Job: ...

    def completed(self, domain_id: str) -> Stats | None: ...

    def setting(self, domain_id: str, name: str) -> int: ...

    def apply(self, domain_id: str, name: str, value: int) -> None: ...

    def start_dirty_rate(self, domain_id: str, seconds: int) -> None: ...

    def dirty_rate(self, domain_id: str) -> int | None: ...

    def wait(self, seconds: float) -> tuple[tuple[str, Stats], ...]: ...


class LibvirtHypervisor:
    """A Hypervisor over libvirt-python; connects on first use, and again after a loss.

    ``writable``: some calls refuse a read-only connection (everything that sets something, the
    bandwidth even when it is read, and measuring a dirty rate). ``events``: learn how migrations
    ended, which ``wait`` returns; the source has no other way to tell once a domain is gone.
    """

    def __init__(self, uri: str, *, writable: bool = False, events: bool = False) -> None:
        if libvirt is None:
            raise MissingLibrary(
                "libvirt-python cannot be imported by the Python that runs this module",
                "Install the package python3-libvirt on the hypervisor, and see that"
                " ansible_python_interpreter is the Python that it is for",
            )
        self._uri = uri
        self._open = libvirt.open if writable else libvirt.openReadOnly
        self._events = events
        self._conn: Any = None
        self._found: dict[str, Any] = {}
        self._completions: list[tuple[str, Stats]] = []
        # Without a handler, libvirt prints each error to stderr as well.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        if events:
            # Before any connection is opened, else that one gets no events.
            libvirt.virEventRegisterDefaultImpl()

    # --- what is there

    def domains(self) -> tuple[Domain, ...]:
        """Every domain, running or only defined, by name."""
        with self._asking("list the domains"):
            found = {domain.UUIDString(): domain for domain in self._ready().listAllDomains()}
        # Not the one that is gone through below: a domain that vanishes meanwhile leaves it.
        self._found = dict(found)
        rows = (self._row(domain_id, domain) for domain_id, domain in found.items())
        return tuple(sorted((row for row in rows if row), key=lambda row: (row.name, row.id)))

    def _row(self, domain_id: str, domain: Any) -> Domain | None:
        try:
            with self._asking("tell its state", domain_id):
                return Domain(domain_id, domain.name(), STATES[domain.state()[0]])
        except NotFound:
            return None

    def job(self, domain_id: str) -> Job:
        """The domain's migration now."""
        try:
            stats = self._call("tell its job", domain_id, lambda d: d.jobStats())
        except HypervisorRefused as refusal:
            # A destination has no statistics (VIR_ERR_OPERATION_UNSUPPORTED), a domain that is
            # not running no job.
            told = refusal.details["libvirt_code"]
            if told == libvirt.VIR_ERR_OPERATION_UNSUPPORTED:
                return Job(INCOMING)
            if told == libvirt.VIR_ERR_OPERATION_INVALID:
                return Job()
            raise
        leaves = stats.get(libvirt.VIR_DOMAIN_JOB_OPERATION) == (
            libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
        )
        under_way = stats["type"] in (
            libvirt.VIR_DOMAIN_JOB_BOUNDED,
            libvirt.VIR_DOMAIN_JOB_UNBOUNDED,
        )
        return Job(OUTGOING, stats) if leaves and under_way else Job()

    def completed(self, domain_id: str) -> Stats | None:
        """Statistics of the domain's last migration that succeeded; None: libvirt has none.

        They are kept, because Nova reads them too, and libvirt forgets them when read plainly.
        """
        flags = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
        stats = self._call("tell its last job", domain_id, lambda d: d.jobStats(flags))
        migrations = (
            libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
            libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN,
        )
        return stats if stats.get(libvirt.VIR_DOMAIN_JOB_OPERATION) in migrations else None

    # --- settings of a migration

    def setting(self, domain_id: str, name: str) -> int:
        """The value of one of SETTINGS, in the unit of its name."""
        read = SETTINGS[name].read
        value = self._call(f"tell {name}", domain_id, read)
        # libvirt-python raises nothing for the calls that fill a C variable.
        if value is None or value < 0:
            with self._asking(f"tell {name}", domain_id):
                raise libvirt.libvirtError(f"{name} could not be read")
        return SETTINGS[name].shown(value)

    def apply(self, domain_id: str, name: str, value: int) -> None:
        """Set one of SETTINGS."""
        self._call(f"set {name} to {value}", domain_id, lambda d: SETTINGS[name].write(d, value))

    # --- dirty rate

    def start_dirty_rate(self, domain_id: str, seconds: int) -> None:
        """Let QEMU measure how fast the guest writes memory, for 1 to 60 s."""
        self._call("measure its dirty rate", domain_id, lambda d: d.startDirtyRateCalc(seconds))

    def dirty_rate(self, domain_id: str) -> int | None:
        """MiB/s as QEMU measured it last; None when it has not, or not yet."""
        domain = self._known(domain_id)
        with self._asking("tell its dirty rate", domain_id):
            rows = self._ready().domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_DIRTYRATE)
        stats = rows[0][1] if rows else {}
        measured = stats.get("dirtyrate.calc_status") == libvirt.VIR_DOMAIN_DIRTYRATE_MEASURED
        return stats.get("dirtyrate.megabytes_per_second") if measured else None

    # --- time and events

    def wait(self, seconds: float) -> tuple[tuple[str, Stats], ...]:
        """Let time pass; domain id and statistics of each migration that succeeded meanwhile.

        It also returns those that succeeded since the last call.
        """
        rung: list[bool] = []
        timer = libvirt.virEventAddTimeout(
            max(1, round(seconds * 1000)), lambda *_context: rung.append(True), None
        )
        while not rung:
            libvirt.virEventRunDefaultImpl()
        libvirt.virEventRemoveTimeout(timer)
        came, self._completions = tuple(self._completions), []
        return came

    def _completion(self, _conn: Any, domain: Any, stats: Stats, _context: object) -> None:
        self._completions.append((domain.UUIDString(), dict(stats)))

    # --- calls and their errors

    def _ready(self) -> Any:
        if self._conn is None:
            self._conn = self._connected()
        return self._conn

    def _connected(self) -> Any:
        try:
            conn = self._open(self._uri)
            if self._events:
                conn.domainEventRegisterAny(
                    None, libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, self._completion, None
                )
        except libvirt.libvirtError as error:
            raise Unreachable(
                f"uri: {self._uri!r} cannot be connected to: {error}",
                "See that libvirtd or virtqemud runs there, and that this user may use it"
                " (`become: true`)",
                uri=self._uri,
            ) from error
        return conn

    def _known(self, domain_id: str) -> Any:
        if domain_id not in self._found:
            with self._asking("find it", domain_id):
                self._found[domain_id] = self._ready().lookupByUUIDString(domain_id)
        return self._found[domain_id]

    def _call(self, what: str, domain_id: str, call: Callable[[Any], Any]) -> Any:
        domain = self._known(domain_id)
        with self._asking(what, domain_id):
            return call(domain)

    @contextmanager
    def _asking(self, what: str, domain_id: str = "") -> Iterator[None]:
        try:
            yield
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                self._found.pop(domain_id, None)
            raise self._translated(error, what, domain_id) from error

    def _translated(self, error: Any, what: str, domain_id: str) -> LowtideError:
        about = f"domain {domain_id}: " if domain_id else ""
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return NotFound(f"{about}it is not on this hypervisor (any more)")
        if self._lost():
            return Unreachable(
                f"{about}libvirt at {self._uri!r} was lost when it was to {what}: {error}",
                "See whether libvirtd or virtqemud was restarted, and run it again",
            )
        return HypervisorRefused(
            f"{about}libvirt did not {what}: {error}", libvirt_code=error.get_error_code()
        )

    def _lost(self) -> bool:
        """Whether the connection is dead; the next call then makes a new one."""
        try:
            alive = self._conn is not None and self._conn.isAlive() == 1
        except libvirt.libvirtError:
            alive = False
        if not alive:
            self._conn, self._found = None, {}
        return not alive


@dataclass(frozen=True, slots=True)
class Setting:
    """One parameter of a migration. ``unit``: how many of libvirt's make one of the option's."""

    read: Callable[[Any], int | None]
    write: Callable[[Any, int], None]
    unit: int = 1

    def shown(self, value: int) -> int:
        return value // self.unit


def _post_copy() -> int:
    return libvirt.VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY


#: Option name -> how libvirt reads and sets it.
SETTINGS: Mapping[str, Setting] = {
    "max_downtime_ms": Setting(
        lambda domain: domain.migrateGetMaxDowntime(),
        lambda domain, value: domain.migrateSetMaxDowntime(value, 0),
    ),
    "bandwidth_mib_s": Setting(
        lambda domain: domain.migrateGetMaxSpeed(0),
        lambda domain, value: domain.migrateSetMaxSpeed(value, 0),
    ),
    "post_copy_bandwidth_mib_s": Setting(
        lambda domain: domain.migrateGetMaxSpeed(_post_copy()),
        lambda domain, value: domain.migrateSetMaxSpeed(value, _post_copy()),
    ),
    "compression_cache_mib": Setting(
        lambda domain: domain.migrateGetCompressionCache(),
        lambda domain, value: domain.migrateSetCompressionCache(value * MIB, 0),
        unit=MIB,
    ),
}


def arrived(stats: Stats) -> bool:
    """Whether these statistics are of a migration to this hypervisor."""
    operation = stats.get(libvirt.VIR_DOMAIN_JOB_OPERATION)
    return operation == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN
