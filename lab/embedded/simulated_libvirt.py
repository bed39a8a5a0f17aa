# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The libvirt of each simulated host: Nova's own fake one, with domains that live and migrate.

Connections and domains outlast the nova-compute that uses them, as libvirtd and QEMU do.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from lxml import etree
from nova.tests.fixtures import libvirt as fakelibvirt

from lab.embedded import compute_life, hardware
from lab.embedded.behaviour import MIB, Behaviours
from lab.embedded.migrator import Migration, Migrator
from lab.embedded.physics import NotPossibleError, Phase, Terms
from lab.scenario import Host

# What a current distribution has: libvirt 11.3.0 and QEMU 10.0.2.
LIBVIRT_VERSION, QEMU_VERSION = 11_003_000, 10_000_002
# libvirt's own numbers; the fake's are placeholders, or absent.
VIR_ERR_OPERATION_FAILED = 9
VIR_ERR_OPERATION_ABORTED = 78

ACTIVE = frozenset({fakelibvirt.VIR_DOMAIN_RUNNING, fakelibvirt.VIR_DOMAIN_PAUSED})
STATE_NAMES = {
    fakelibvirt.VIR_DOMAIN_RUNNING: "running",
    fakelibvirt.VIR_DOMAIN_PAUSED: "paused",
    fakelibvirt.VIR_DOMAIN_SHUTOFF: "shutoff",
}


class Connection(fakelibvirt.Connection):
    """A scenario's host's libvirt. `peers`: every host's, by name, this one included.

    on_device_removed: called with a domain's UUID and the alias of a device that it lost; libvirt
    sends an event then, which the driver waits for.
    """

    def __init__(
        self,
        host: Host,
        peers: dict[str, Connection],
        migrator: Migrator,
        behaviours: Behaviours,
    ) -> None:
        super().__init__(
            "qemu:///system",
            hostname=host.name,
            version=LIBVIRT_VERSION,
            hv_version=QEMU_VERSION,
            **hardware.of(host),
        )
        self.scenario = host
        self.host = host.name
        self.on_device_removed: Callable[[str, str], None] = lambda uuid, alias: None
        if host.sev:
            self._domain_capability_features = self._domain_capability_features_with_SEV
        self.peers = peers
        self.migrator = migrator
        self.behaviours = behaviours
        self._lock = threading.RLock()

    def domains(self) -> list[Domain]:
        """Return every domain that is defined here."""
        with self._lock:
            return list(self._vms.values())

    def add(self, xml: str) -> Domain:
        """Define a domain; one of the same name gets the new definition and lives on."""
        with self._lock:
            domain = Domain(self, xml)
            existing = self._vms.setdefault(domain.name(), domain)
            existing.redefine(domain)
            return existing

    def forget(self, domain: Domain) -> None:
        """Undefine a domain."""
        with self._lock:
            self._vms.pop(domain.name(), None)

    def next_id(self) -> int:
        """Return a number for a domain that starts."""
        with self._lock:
            self._id_counter += 1
            return self._id_counter

    def defineXML(self, xml: str) -> Domain:
        compute_life.check()
        return self.add(xml)

    def createXML(self, xml: str, flags: int) -> Domain:
        domain = self.defineXML(xml)
        domain.createWithFlags(flags)
        return domain

    def lookupByUUIDString(self, uuid: str) -> Domain:
        compute_life.check()
        for domain in self.domains():
            if domain.uuid == uuid:
                return domain
        raise error(
            f"Domain not found: no domain with matching uuid '{uuid}'",
            fakelibvirt.VIR_ERR_NO_DOMAIN,
        )

    def listAllDomains(self, flags: int | None = None) -> list[Domain]:
        compute_life.check()
        active = fakelibvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
        inactive = fakelibvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE
        wanted = flags or active | inactive
        return [d for d in self.domains() if wanted & (active if d.isActive() else inactive)]

    def nodeDeviceCreateXML(self, xml: str, flags: int) -> hardware.MediatedDevice:
        compute_life.check()
        return self.mdev_info.add(xml)

    nodeDeviceDefineXML = nodeDeviceCreateXML

    def getInfo(self) -> list[Any]:
        # Libvirt gives MiB, and so Nova takes it; the fake gives KiB.
        info = super().getInfo()
        return [info[0], info[1] // 1024, *info[2:]]


class Domain(fakelibvirt.Domain):
    """A guest, and the passenger of its own migration."""

    def __init__(self, connection: Connection, xml: str) -> None:
        super().__init__(connection, xml)
        self._id = -1
        self._migration: Migration | None = None
        self._destination: Connection | None = None
        self._destination_xml = ""
        self._paused_before = False

    @property
    def uuid(self) -> str:
        """The guest's UUID, which is its server's."""
        return self.UUIDString()

    @property
    def state(self) -> str:
        """`running`, `paused` or `shutoff`."""
        return STATE_NAMES[self._state]

    @property
    def memory_bytes(self) -> int:
        """The guest's RAM."""
        return int(self._def["memory"]) * 1024

    def redefine(self, other: Domain) -> None:
        """Take over another domain's definition."""
        self._def = other._def

    # --- life ------------------------------------------------------------------------------

    def createWithFlags(self, flags: int) -> None:
        compute_life.check()
        self.verify_hostdevs_interface_are_vfs()
        self._has_saved_state = False
        self._start(paused=bool(flags & fakelibvirt.VIR_DOMAIN_START_PAUSED))

    def isActive(self) -> int:
        return int(self._state in ACTIVE)

    def shutdown(self) -> None:
        compute_life.check()
        self._stop()

    def destroy(self) -> None:
        compute_life.check()
        if (migration := self._running_migration()) is not None:
            with_libvirt_errors(self._connection.migrator.abort, migration)
        self._stop()

    def reset(self, flags: int) -> None:
        compute_life.check()
        self._state = fakelibvirt.VIR_DOMAIN_RUNNING

    def managedSave(self, flags: int) -> None:
        compute_life.check()
        self._has_saved_state = True
        self._stop()

    def undefine(self) -> None:
        compute_life.check()
        self._connection.forget(self)

    def undefineFlags(self, flags: int) -> None:
        self._has_saved_state = False
        self.undefine()

    def suspend(self) -> None:
        compute_life.check()
        self._set_paused(True)

    def resume(self) -> None:
        compute_life.check()
        self._set_paused(False)

    def detachDeviceFlags(self, xml: str, flags: int) -> None:
        compute_life.check()
        self.detachDevice(xml)
        alias = etree.fromstring(xml).find("alias")
        if flags & fakelibvirt.VIR_DOMAIN_AFFECT_LIVE and alias is not None:
            self._connection.on_device_removed(self.uuid, alias.get("name"))

    def _start(self, *, paused: bool) -> None:
        self._state = fakelibvirt.VIR_DOMAIN_PAUSED if paused else fakelibvirt.VIR_DOMAIN_RUNNING
        self._id = self._connection.next_id()

    def _stop(self) -> None:
        self._state = fakelibvirt.VIR_DOMAIN_SHUTOFF
        self._id = -1

    def _set_paused(self, paused: bool) -> None:
        migration = self._running_migration()
        if migration is None or self._connection.migrator.set_paused(migration, paused):
            self._state = (
                fakelibvirt.VIR_DOMAIN_PAUSED if paused else fakelibvirt.VIR_DOMAIN_RUNNING
            )

    # --- migration -------------------------------------------------------------------------

    def migrateToURI3(self, uri: str, params: dict[str, Any], flags: int) -> None:
        """Carry the guest over; return when it is there, raise when it stays.

        Like libvirt's, this call ends with its caller's life, the migration does not.
        """
        compute_life.check()
        migration = self._begin(urlsplit(uri).netloc, params, flags)
        while not migration.ended.wait(0.2):
            compute_life.check()
        compute_life.check()
        if migration.job.phase is Phase.CANCELLED:
            raise error(
                "operation aborted: migration out job: canceled by client",
                VIR_ERR_OPERATION_ABORTED,
            )
        if migration.job.phase is Phase.FAILED:
            raise error(
                "operation failed: job 'migration out' failed: Unable to write to socket: "
                "Broken pipe",
                VIR_ERR_OPERATION_FAILED,
            )

    def jobStats(self, flags: int = 0) -> dict[str, int]:
        compute_life.check()
        if self not in self._connection.domains():
            raise error("Domain not found", fakelibvirt.VIR_ERR_NO_DOMAIN)
        migration = self._running_migration()
        if migration is None:
            return {"type": fakelibvirt.VIR_DOMAIN_JOB_NONE}
        figures = self._connection.migrator.stats(migration)
        return {"type": fakelibvirt.VIR_DOMAIN_JOB_UNBOUNDED, **figures}

    def jobInfo(self) -> list[int]:
        stats = self.jobStats()
        names = ("type", "time_elapsed", "time_remaining", *_INFO_FIGURES)
        return [stats.get(name, 0) for name in names]

    def abortJob(self) -> None:
        compute_life.check()
        with_libvirt_errors(self._connection.migrator.abort, self._need_migration())

    def migrateStartPostCopy(self, flags: int = 0) -> None:
        compute_life.check()
        with_libvirt_errors(self._connection.migrator.start_post_copy, self._need_migration())

    def migrateSetMaxDowntime(self, downtime: int, flags: int = 0) -> None:
        """Set the maximum downtime, in milliseconds."""
        compute_life.check()
        self._connection.migrator.set_max_downtime(self._need_migration(), downtime / 1000)

    def migrateGetMaxDowntime(self, flags: int = 0) -> int:
        return round(self._need_migration().job.terms.max_downtime_s * 1000)

    def migrateSetMaxSpeed(self, bandwidth: int, flags: int = 0) -> None:
        """Set the maximum speed, in MiB/s; 0 is no limit."""
        compute_life.check()
        self._connection.migrator.set_max_speed(self._need_migration(), _speed(bandwidth))

    def migrateGetMaxSpeed(self, flags: int = 0) -> int:
        speed = self._need_migration().job.terms.max_speed_bytes_s
        return 0 if math.isinf(speed) else round(speed / MIB)

    def reconsider(self) -> None:
        """Let a running migration know how the guest behaves by now."""
        if (migration := self._running_migration()) is not None:
            behaviour = self._connection.behaviours.of(self.uuid)
            self._connection.migrator.set_guest(migration, behaviour.memory(self.memory_bytes))

    def _begin(self, destination: str, params: dict[str, Any], flags: int) -> Migration:
        peer = self._connection.peers.get(destination)
        if peer is None:
            raise error(f"unable to connect to server at '{destination}'", 38)
        if not self.isActive():
            raise error("domain is not running", fakelibvirt.VIR_ERR_OPERATION_INVALID)
        if self._running_migration() is not None:
            raise error("another migration job is running", fakelibvirt.VIR_ERR_OPERATION_INVALID)
        behaviours = self._connection.behaviours
        self._destination, self._destination_xml = peer, params["destination_xml"]
        self._paused_before = self._state == fakelibvirt.VIR_DOMAIN_PAUSED
        self._migration = self._connection.migrator.begin(
            self,
            self._connection.host,
            destination,
            behaviours.of(self.uuid).memory(self.memory_bytes),
            Terms(
                max_speed_bytes_s=_speed(params.get("bandwidth", 0)),
                auto_converge=bool(flags & fakelibvirt.VIR_MIGRATE_AUTO_CONVERGE),
                post_copy=bool(flags & fakelibvirt.VIR_MIGRATE_POSTCOPY),
                fail_at_percent=behaviours.take_failure(self.uuid),
            ),
            paused=self._paused_before,
        )
        return self._migration

    def _running_migration(self) -> Migration | None:
        migration = self._migration
        return None if migration is None or migration.ended.is_set() else migration

    def _need_migration(self) -> Migration:
        if (migration := self._running_migration()) is None:
            raise error("no job is active on the domain", fakelibvirt.VIR_ERR_OPERATION_INVALID)
        return migration

    # --- what the daemons do to it ----------------------------------------------------------

    def stopped_for_switchover(self) -> None:
        """Stop the guest on its source."""
        self._state = fakelibvirt.VIR_DOMAIN_PAUSED

    def handed_over(self) -> None:
        """Start it on its destination; paused there only if it was paused to begin with."""
        self._state = fakelibvirt.VIR_DOMAIN_PAUSED
        arrived = self._destination.add(self._destination_xml)
        arrived._start(paused=self._paused_before)

    def left(self) -> None:
        """Forget it on its source."""
        self._connection.forget(self)
        self._stop()

    def stays(self) -> None:
        """Let it go on, on its source, unless it was paused by someone else."""
        if self.isActive():
            paused = self._migration.job.paused
            self._state = (
                fakelibvirt.VIR_DOMAIN_PAUSED if paused else fakelibvirt.VIR_DOMAIN_RUNNING
            )


_INFO_FIGURES = (
    "data_total",
    "data_processed",
    "data_remaining",
    "memory_total",
    "memory_processed",
    "memory_remaining",
    "disk_total",
    "disk_processed",
    "disk_remaining",
)


def error(message: str, code: int) -> Exception:
    """Return a libvirtError of QEMU's driver."""
    return fakelibvirt.make_libvirtError(
        fakelibvirt.libvirtError,
        message,
        error_code=code,
        error_domain=fakelibvirt.VIR_FROM_QEMU,
        error_message=message,
    )


def with_libvirt_errors(command: Callable[[Migration], None], migration: Migration) -> None:
    """Run a command on a migration and say in libvirt's way that it is not possible."""
    try:
        command(migration)
    except NotPossibleError as refusal:
        raise error(str(refusal), fakelibvirt.VIR_ERR_OPERATION_INVALID) from refusal


def _speed(mib_s: int) -> float:
    return mib_s * MIB if mib_s else math.inf
