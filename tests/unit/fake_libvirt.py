# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt-python as far as the collection uses it, over migrations that run in virtual time.

It behaves as libvirt 9.0 to 11.3 with QEMU were seen to: a destination has no statistics, calls
that fill a C variable raise nothing, plain reading of completed statistics forgets them, events
need the loop to be there before the connection, and the source's domain is gone with its end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

MIB = 1 << 20
PAGE = 4096
STEP = 0.01

NO_DOMAIN, OPERATION_DENIED, OPERATION_INVALID = 42, 29, 55
OPERATION_UNSUPPORTED, SYSTEM_ERROR, OPERATION_TIMEOUT = 84, 38, 68
NO_SUPPORT, NO_NODE_DEVICE, INTERNAL_ERROR = 3, 53, 1
RUNNING, PAUSED, SHUTOFF = 1, 3, 5


class libvirtError(Exception):
    """As the library's: without a code it takes that of the last call that failed."""

    last = 1

    def __init__(self, message, code=None):
        super().__init__(message)
        self.code = libvirtError.last if code is None else code
        libvirtError.last = self.code

    def get_error_code(self):
        return self.code


@dataclass
class Migration:
    """One outgoing migration. ``nova``: seconds into it -> ms that Nova then sets.

    ``dirty``: MiB/s over ``working_set`` MiB. ``fails_at``: seconds into it.
    """

    began: float
    memory: float = 256 * MIB
    disk: float = 0.0
    dirty: float = 0.0
    working_set: float = 128.0
    nova: dict[float, int] = field(default_factory=dict)
    fails_at: float = float("inf")
    undefines: bool = True
    remaining: float = 0.0
    sent: float = 0.0
    dirtied: float = 0.0
    iterations: int = 1
    throttle: int = 0
    operation: int = 5


@dataclass
class Guest:
    id: str
    name: str
    state: int = RUNNING
    downtime: int | None = 300
    speed: int = 100
    post_copy_speed: int = 0
    cache: int = 64 * MIB
    migration: Migration | None = None
    incoming: bool = False
    completed: dict | None = None
    rate: int | None = None
    measuring_until: float = 0.0
    deaf: dict[str, int] = field(default_factory=dict)
    xml: str = ""


@dataclass
class Hardware:
    """What the host is made of. ``devices``: XML, None where libvirt has no driver for them;
    ``free_pages``: cell -> size in KiB -> pages, ``free_mib``: cell -> MiB."""

    capabilities: str = ""
    hostname: str = "cmp-1.example.org"
    online: list[bool] = field(default_factory=list)
    devices: list[str | None] | None = field(default_factory=list)
    free_pages: dict[int, dict[int, int]] = field(default_factory=dict)
    free_mib: dict[int, int] = field(default_factory=dict)


class FakeLibvirt:
    """The module ``libvirt``. ``down``: seconds at which its daemon goes and comes back."""

    libvirtError = libvirtError
    VIR_ERR_NO_DOMAIN = NO_DOMAIN
    VIR_ERR_OPERATION_INVALID = OPERATION_INVALID
    VIR_ERR_OPERATION_UNSUPPORTED = OPERATION_UNSUPPORTED
    VIR_ERR_NO_SUPPORT = NO_SUPPORT
    VIR_ERR_NO_NODE_DEVICE = NO_NODE_DEVICE
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV = 2
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET = 16
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_VDPA = 1 << 17
    VIR_DOMAIN_JOB_OPERATION = "operation"
    VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN = 4
    VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT = 5
    VIR_DOMAIN_JOB_BOUNDED = 1
    VIR_DOMAIN_JOB_UNBOUNDED = 2
    VIR_DOMAIN_JOB_STATS_COMPLETED = 1
    VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED = 2
    VIR_DOMAIN_EVENT_ID_JOB_COMPLETED = 20
    VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY = 1
    VIR_DOMAIN_STATS_DIRTYRATE = 512
    VIR_DOMAIN_DIRTYRATE_MEASURED = 2

    def __init__(self, *guests: Guest) -> None:
        self.guests = {guest.id: guest for guest in guests}
        self.hardware = Hardware()
        self.time = 1_000_000.0
        self.down: tuple[float, float] = (0.0, 0.0)
        self.loop = False
        self.timers: dict[int, tuple] = {}
        self.connections: list[Connection] = []
        self.calls: list[tuple] = []

    # --- what a test does

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.advance(seconds)

    def migrate(self, guest_id, **how):
        migration = Migration(self.time, **how)
        migration.remaining = migration.memory + migration.disk
        self.guests[guest_id].migration = migration

    def advance(self, seconds):
        for _tick in range(round(seconds / STEP)):
            self.time += STEP
            for guest in list(self.guests.values()):
                if guest.migration:
                    self._copy(guest, guest.migration)

    def is_down(self):
        return self.down[0] <= self.time < self.down[1]

    # --- physics

    def _copy(self, guest, job):
        elapsed = self.time - job.began
        for at, ms in job.nova.items():
            if elapsed - STEP < at <= elapsed:
                guest.downtime = ms
        if elapsed >= job.fails_at:
            guest.migration = None
            return
        speed = guest.speed * MIB
        sent = min(job.remaining, speed * STEP)
        job.sent, job.remaining = job.sent + sent, job.remaining - sent
        job.dirtied = min(job.dirtied + job.dirty * MIB * STEP, job.working_set * MIB)
        if job.remaining > 0:
            return
        if 1000 * job.dirtied / speed <= guest.downtime:
            self._finish(guest, job, 1000 * job.dirtied / speed)
            return
        job.remaining, job.dirtied = job.dirtied, 0.0
        job.iterations += 1

    def _finish(self, guest, job, pause_ms):
        job.sent += job.dirtied
        stats = self.stats(guest, job) | {"downtime": round(pause_ms), "memory_dirty_rate": 0}
        guest.migration = None
        guest.state, guest.completed = SHUTOFF, stats
        if job.undefines:
            del self.guests[guest.id]
        for connection in self.connections:
            connection.queue.append((guest, stats))

    def stats(self, guest, job):
        elapsed = round(1000 * (self.time - job.began))
        found = {
            "type": self.VIR_DOMAIN_JOB_UNBOUNDED,
            "operation": job.operation,
            "time_elapsed": elapsed,
            "setup_time": 3,
            "downtime": round(1000 * job.dirtied / (guest.speed * MIB)),
            "data_total": int(job.memory + job.disk),
            "data_processed": int(job.sent),
            "data_remaining": int(job.remaining),
            "memory_total": int(job.memory),
            "memory_processed": int(job.sent - min(job.sent, job.disk)),
            "memory_bps": guest.speed * MIB,
            "memory_dirty_rate": int(job.dirty * MIB / PAGE) if job.iterations > 1 else 0,
            "memory_page_size": PAGE,
            "memory_iteration": job.iterations,
            "memory_postcopy_requests": 0,
            "disk_total": int(job.disk),
            "disk_processed": int(min(job.sent, job.disk)),
            "disk_remaining": 0,
        }
        return found | ({"auto_converge_throttle": job.throttle} if job.throttle else {})

    # --- the module's functions

    def registerErrorHandler(self, handler, context):
        handler(context, ("", 0))

    def virEventRegisterDefaultImpl(self):
        self.loop = True

    def virEventAddTimeout(self, ms, callback, opaque):
        number = len(self.timers) + 1
        self.timers[number] = (self.time + ms / 1000, callback, opaque)
        return number

    def virEventRemoveTimeout(self, number):
        del self.timers[number]

    def virEventRunDefaultImpl(self):
        assert self.timers, "it would block for ever"
        number, (due, callback, opaque) = min(self.timers.items(), key=lambda item: item[1][0])
        self.advance(due - self.time)
        for connection in self.connections:
            connection.deliver()
        callback(number, opaque)

    def open(self, uri):
        return self._opened(uri, False)

    def openReadOnly(self, uri):
        return self._opened(uri, True)

    def _opened(self, uri, read_only):
        if self.is_down() or "nowhere" in uri:
            raise libvirtError("Failed to connect socket", SYSTEM_ERROR)
        connection = Connection(self, read_only, self.loop)
        self.connections.append(connection)
        return connection


class Connection:
    def __init__(self, library, read_only, has_events):
        self.library, self.read_only, self.has_events = library, read_only, has_events
        self.queue, self.callbacks, self.dead = [], [], False

    def check(self, writes=False):
        if self.library.is_down():
            self.dead = True
        if self.dead:
            raise libvirtError("client socket is closed", 1)
        if writes and self.read_only:
            raise libvirtError("operation forbidden for read only access", OPERATION_DENIED)

    def isAlive(self):
        return 0 if self.dead else 1

    def listAllDomains(self):
        self.check()
        return [Domain(self, guest) for guest in self.library.guests.values()]

    def lookupByUUIDString(self, guest_id):
        self.check()
        if guest_id not in self.library.guests:
            raise libvirtError(f"no domain with matching uuid '{guest_id}'", NO_DOMAIN)
        return Domain(self, self.library.guests[guest_id])

    def getHostname(self):
        self.check()
        return self.library.hardware.hostname

    def getCapabilities(self):
        self.check()
        return self.library.hardware.capabilities

    def getCPUMap(self):
        self.check()
        online = self.library.hardware.online
        return len(online), online, sum(online)

    def getCellsFreeMemory(self, start, count):
        self.check()
        free = self.library.hardware.free_mib
        if start not in free:
            raise libvirtError(f"internal error: no memory in cell {start}", INTERNAL_ERROR)
        return [free[cell] * MIB for cell in range(start, start + count)]

    def getFreePages(self, sizes, start, count):
        self.check()
        free = self.library.hardware.free_pages
        if start not in free:
            raise libvirtError(f"no pages in cell {start}", INTERNAL_ERROR)
        cells = range(start, start + count)
        return {cell: {size: free[cell][size] for size in sizes} for cell in cells}

    def listAllDevices(self, kinds):
        self.check()
        assert kinds == 2 | 16 | 1 << 17
        if self.library.hardware.devices is None:
            raise libvirtError("this function is not supported", NO_SUPPORT)
        return [NodeDevice(self, xml) for xml in self.library.hardware.devices]

    def domainEventRegisterAny(self, domain, event, callback, opaque):
        assert self.has_events, "no event loop when it was opened"
        assert (domain, event) == (None, self.library.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED)
        self.callbacks.append((callback, opaque))

    def deliver(self):
        for guest, stats in self.queue:
            for callback, opaque in self.callbacks:
                if not self.dead:
                    callback(self, Domain(self, guest), stats, opaque)
        self.queue = []

    def domainListGetStats(self, domains, _kind):
        self.check()
        rows = []
        for domain in domains:
            guest = domain.mine()
            over = self.library.time >= guest.measuring_until > 0
            stats = {"dirtyrate.calc_status": 2 if over else 1}
            if over and guest.rate is not None:
                stats["dirtyrate.megabytes_per_second"] = guest.rate
            rows.append((domain, stats))
        return rows


class NodeDevice:
    def __init__(self, connection, xml):
        self.connection, self.xml = connection, xml

    def XMLDesc(self, _flags=0):
        self.connection.check()
        if self.xml is None:
            raise libvirtError("Node device not found", NO_NODE_DEVICE)
        return self.xml


class Domain:
    def __init__(self, connection, guest):
        self.connection, self.guest = connection, guest

    def mine(self, call="", writes=False):
        self.connection.check(writes)
        library = self.connection.library
        library.calls.append((call, self.guest.id))
        if library.guests.get(self.guest.id) is not self.guest:
            raise libvirtError("Domain not found", NO_DOMAIN)
        if call in self.guest.deaf:
            raise libvirtError(f"{call} is refused", self.guest.deaf[call])
        return self.guest

    def UUIDString(self):
        return self.guest.id

    def name(self):
        return self.guest.name

    def state(self):
        return [self.mine("state").state, 0]

    def XMLDesc(self, _flags=0):
        return self.mine("XMLDesc").xml

    def jobStats(self, flags=0):
        guest, library = self.mine("jobStats"), self.connection.library
        if flags & library.VIR_DOMAIN_JOB_STATS_COMPLETED:
            stats = guest.completed or {"type": 0}
            if not flags & library.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED:
                guest.completed = None
            return stats
        if guest.incoming:
            raise libvirtError(
                "migration statistics are available only on the source host", OPERATION_UNSUPPORTED
            )
        if guest.state == SHUTOFF:
            raise libvirtError("domain is not running", OPERATION_INVALID)
        return library.stats(guest, guest.migration) if guest.migration else {"type": 0}

    def migrateGetMaxDowntime(self, _flags=0):
        try:
            return self.mine("getMaxDowntime").downtime
        except libvirtError:
            return None

    def migrateSetMaxDowntime(self, value, _flags):
        self.mine("setMaxDowntime", writes=True).downtime = value

    def migrateGetMaxSpeed(self, flags=0):
        guest = self.mine("getMaxSpeed", writes=True)
        return guest.post_copy_speed if flags else guest.speed

    def migrateSetMaxSpeed(self, value, flags):
        guest = self.mine("setMaxSpeed", writes=True)
        if flags:
            guest.post_copy_speed = value
        else:
            guest.speed = value

    def migrateGetCompressionCache(self, _flags=0):
        try:
            return self.mine("getCompressionCache").cache
        except libvirtError:
            return None

    def migrateSetCompressionCache(self, value, _flags):
        self.mine("setCompressionCache", writes=True).cache = value

    def startDirtyRateCalc(self, seconds):
        guest = self.mine("startDirtyRateCalc", writes=True)
        assert guest.migration is None, "libvirt would wait for the migration's end"
        guest.measuring_until = self.connection.library.time + seconds


def task(library, check_mode=False, **params):
    """A HostTask whose clock is the library's; its warnings are in ``warned``."""
    warned: list[str] = []
    return SimpleNamespace(
        params=params, check_mode=check_mode, warn=warned.append, warned=warned, clock=library
    )
