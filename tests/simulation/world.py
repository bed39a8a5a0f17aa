# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nova's migrations in virtual time, and the truth about every guest, which no API tells."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from ansible_collections.lowtide.compute.plugins.module_utils._errors import Refused
from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m

SOURCE = "cmp-1"
OTHERS = ("cmp-2", "cmp-3", "cmp-4", "cmp-5")
EPOCH = 1_800_000_000.0

#: How a guest's next live migration goes. The first is the ordinary one.
COURSES = (
    "completes",
    "fails",
    "fails_before_it_starts",
    "fails_and_dies",
    "never_converges",
    "leaves_no_record",
    "record_comes_late",
    "stuck_accepted",
    "stuck_migrating",
    "lands_in_error",
    "completes_but_on_source",
    "moves_but_says_error",
    "leftovers_for_a_while",
    "leftovers_for_good",
    "post_copy_hangs",
    "copy_stays",
    "directory_stays_for_a_while",
    "directory_stays",
    "runs_twice",
    "vanishes",
)
#: Courses after which a guest is on another host in every respect, sooner or later.
BENIGN = (
    "completes",
    "fails",
    "fails_before_it_starts",
    "leftovers_for_a_while",
    "directory_stays_for_a_while",
)


class VirtualClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self, now: float = EPOCH) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += max(0.0, seconds)


@dataclass
class Vm:
    """A guest: as Nova has it and, in ``really_on`` and ``runs``, as it is.

    ``ghosts``: other domains of it, host -> state; ``directories``: hosts with its directory and no
    domain. Only libvirt tells of them, and of a domain that has ``vanished``.
    ``courses``: how its next live migrations go; ``completes`` when there are no more.
    ``before``: its state when its newest migration was asked for, or its user changed it.
    """

    id: str
    host: str = SOURCE
    vm_state: str = "active"
    power_state: str = "running"
    task_state: str = ""
    ram_mib: int = 1024
    copy_seconds: float = 10.0
    group: str = ""
    tags: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    extra_specs: dict[str, str] = field(default_factory=dict)
    courses: list[str] = field(default_factory=list)
    cold_fails: int = 0
    really_on: str = ""
    runs: bool = True
    died: bool = False
    deleted: bool = False
    vanished: bool = False
    ghosts: dict[str, str] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    before: tuple[str, str] = ("", "")
    bindings: dict[str, str] = field(default_factory=dict)
    attachments: dict[str, int] = field(default_factory=dict)
    cause: str = ""

    def __post_init__(self) -> None:
        self.really_on = self.really_on or self.host
        self.runs = self.runs and self.power_state in ("running", "paused")
        self.bindings = {self.host: "active"}
        self.attachments = dict.fromkeys(self.volumes, 1)

    def domains(self) -> dict[str, str]:
        """Host -> state of each domain that libvirt has of it."""
        here = self.power_state if self.runs else "shutdown"
        return self.ghosts | ({self.really_on: here} if self.really_on else {})

    def is_single(self) -> bool:
        """Is it in one place only, with nothing left elsewhere?"""
        return set(self.domains()) == {self.really_on} and not self.directories


@dataclass
class Record:
    """A migration. ``ours``: the drain asked for it. ``over``: Nova has finished with it."""

    id: int
    vm: Vm
    kind: str
    source: str
    wanted: str = ""
    destination: str = ""
    status: str = "accepted"
    course: str = "completes"
    ours: bool = False
    over: bool = False
    created_at: float = 0.0
    began: float = 0.0

    @property
    def uuid(self) -> str:
        return f"migration-{self.id}"

    def seen(self) -> m.Migration:
        return m.Migration(
            self.id,
            self.uuid,
            self.vm.id,
            self.kind,
            self.status,
            self.source,
            self.destination,
            created_at=time.strftime("%Y-%m-%dT%H:%M:%S.000000", time.gmtime(self.created_at)),
        )


@dataclass
class Settings:
    """What differs from cloud to cloud. ``error_after_failure``: Nova 32.2 and later.

    ``refusing``: hosts on which the scheduler places nobody, for reasons that no survey tells.
    """

    cap: int = 1
    error_after_failure: bool = True
    post_copy: bool = False
    slowness: float = 1.0
    refusing: tuple[str, ...] = ()


class World:
    """One source host, a few others, and what goes on between them."""

    def __init__(self, clock: VirtualClock, seed: int, settings: Settings) -> None:
        self.clock, self.settings = clock, settings
        self.vms: dict[str, Vm] = {}
        self.records: dict[int, Record] = {}
        self.allocations: dict[str, set[str]] = {}
        self.enabled, self.reason, self.up, self.really_up = True, "", True, True
        self.requests: list[tuple[Vm, bool]] = []
        self._random = Random(seed)
        self._numbers = itertools.count(1)
        self._queue: list[Record] = []
        self._working: list[Record] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._time = clock.now()

    # --- time

    def at(self, delay: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self._time + delay, next(self._order), happens))

    def catch_up(self) -> None:
        """Let everything happen that was due by now."""
        while self._events and self._events[0][0] <= self.clock.now():
            self._time, _order, happens = heapq.heappop(self._events)
            happens()
        self._time = self.clock.now()

    def soon(self, longest: float = 2.0) -> float:
        return self._random.uniform(0.05, longest) * self.settings.slowness

    # --- what there is

    def add(self, vm: Vm) -> Vm:
        self.vms[vm.id] = vm
        self.allocations[vm.id] = {vm.host}
        return vm

    def remember(self, vm: Vm, kind: str, status: str, destination: str) -> None:
        """A migration from before the drain."""
        record = self._record(vm, kind, "", False)
        record.status, record.destination, record.over = status, destination, True
        record.created_at -= 3600
        if status == "finished":
            vm.before = (vm.vm_state, vm.power_state)
            vm.host = vm.really_on = destination
            vm.vm_state, vm.bindings = "resized", {destination: "active"}
            self.allocations[record.uuid] = {record.source}
            self.allocations[vm.id] = {destination}

    def of(self, vm: Vm) -> Iterator[Record]:
        return (record for record in self.records.values() if record.vm is vm)

    def in_flight(self, vm: Vm) -> bool:
        """Is a migration of it under way, or asked for and not yet begun?"""
        asked = any(waiting is vm for waiting, _ours in self.requests)
        return asked or any(not record.over for record in self.of(vm))

    def ours_in_flight(self) -> list[Vm]:
        """Guests that a request of ours is moving now; not those whose conductor died with it."""
        asked = [vm for vm, ours in self.requests if ours]
        working = (r for r in self.records.values() if r.ours and not r.over)
        return asked + [r.vm for r in working if r.course != "stuck_accepted"]

    def place_for(self, vm: Vm) -> str:
        """The scheduler's choice; it keeps anti-affinity as it sees it at that moment."""
        mates = {v.host for v in self.vms.values() if v.group == vm.group != "" and v is not vm}
        closed = {*mates, *self.settings.refusing, vm.host}
        free = [host for host in OTHERS if host not in closed]
        return self._random.choice(free) if free else ""

    def libvirt(self, host: str) -> m.Domains:
        """What libvirt on a host has to say."""
        found = {vm.id: vm.domains() for vm in self.vms.values() if not vm.deleted}
        left = [vm.id for vm in self.vms.values() if host in vm.directories]
        states = {guest: domains[host] for guest, domains in found.items() if host in domains}
        return m.Domains(states, tuple(guest for guest in left if guest not in states))

    # --- live migration

    def live_migrate(self, vm: Vm, wanted: str, *, ours: bool) -> None:
        self._check(vm, ("active", "paused"))
        vm.task_state, vm.before = "migrating", (vm.vm_state, vm.power_state)
        course = vm.courses.pop(0) if vm.courses else "completes"
        asked = (vm, ours)
        self.requests.append(asked)
        delay = self.soon()
        if course == "record_comes_late":
            delay += self._random.uniform(30, 150)
        if course == "leaves_no_record":
            # The conductor died with it: the task ends only if somebody notices.
            self.requests.remove(asked)
            if self._random.random() < 0.7:
                self.at(delay, lambda: self._forget(vm))
            return
        self.at(delay, lambda: self._conduct(asked, course, wanted))

    def _check(self, vm: Vm, states: tuple[str, ...]) -> None:
        if vm.vm_state not in states or vm.task_state:
            raise Refused(
                f"Cannot do this while it is in vm_state {vm.vm_state}, task {vm.task_state}",
                status=409,
            )

    def _forget(self, vm: Vm) -> None:
        vm.task_state = ""

    def _conduct(self, asked: tuple[Vm, bool], course: str, wanted: str) -> None:
        vm, ours = asked
        self.requests.remove(asked)
        if vm.deleted:
            return
        record = self._record(vm, "live-migration", wanted, ours)
        record.course = course
        if course == "stuck_accepted":
            return
        self.at(self.soon(), lambda: self._schedule(record))

    def _record(self, vm: Vm, kind: str, wanted: str, ours: bool) -> Record:
        number = next(self._numbers)
        record = Record(number, vm, kind, vm.host, wanted, wanted, ours=ours)
        record.created_at = self._time
        self.records[number] = record
        return record

    def _schedule(self, record: Record) -> None:
        if record.over:
            return
        vm = record.vm
        destination = record.wanted or self.place_for(vm)
        if record.wanted in self.settings.refusing or record.course == "fails_before_it_starts":
            destination = ""
        if not destination or not self.really_up:
            vm.task_state, vm.cause = "", "No valid host was found"
            self._end(record, "error")
            return
        record.destination, record.status = destination, "queued"
        self.allocations[record.uuid] = self.allocations[vm.id]
        self.allocations[vm.id] = {destination}
        vm.bindings[destination] = "inactive"
        if record.source == SOURCE:
            self._queue.append(record)
            self._pump()
        else:
            self.at(self.soon(), lambda: self._prepare(record))

    def _pump(self) -> None:
        while self.really_up and self._queue and len(self._working) < self.settings.cap:
            record = self._queue.pop(0)
            if not record.over:
                self._working.append(record)
                self._prepare(record)

    def _prepare(self, record: Record) -> None:
        record.status = "preparing"
        for volume in record.vm.attachments:
            record.vm.attachments[volume] = 2
        self.at(self.soon(), lambda: self._run(record))

    def _unattended(self, record: Record) -> bool:
        """Is it over, or is there nobody on the source to go on with it?"""
        return record.over or (record.source == SOURCE and not self.really_up)

    def _run(self, record: Record) -> None:
        if self._unattended(record):
            return
        record.status, record.began = "running", self._time
        length = record.vm.copy_seconds
        if record.vm.really_on == record.source:
            record.vm.ghosts[record.destination] = "paused"
        if record.vm.really_on != record.source:
            # There is no such domain: Nova's record of where it is was wrong.
            record.vm.task_state = ""
            self._end(record, "error")
            self._say_error(record)
        elif record.course in ("fails", "fails_and_dies", "copy_stays"):
            self.at(length * self._random.random(), lambda: self._fail(record, "failed"))
        elif record.course not in ("never_converges", "stuck_migrating"):
            self.at(length, lambda: self._switch_over(record))

    def _switch_over(self, record: Record) -> None:
        """From here on it runs on the destination, whatever Nova says."""
        if self._unattended(record):
            return
        vm = record.vm
        self._arrives_in_libvirt(record)
        if record.course == "moves_but_says_error":
            vm.task_state = ""
            self._end(record, "error")
        elif record.course == "completes_but_on_source":
            vm.task_state = ""
            self.at(self.soon(), lambda: self._complete(record))
        else:
            self.at(self.soon(1.0), lambda: self._arrive(record))

    def _arrives_in_libvirt(self, record: Record) -> None:
        vm = record.vm
        vm.really_on = record.destination
        vm.ghosts.pop(record.destination, None)
        if record.course == "runs_twice":
            vm.ghosts[record.source] = "running"
        if record.course.startswith("directory_stays"):
            vm.directories.add(record.source)
        if record.course == "directory_stays_for_a_while":
            self.at(self._random.uniform(10, 60), lambda: vm.directories.discard(record.source))

    def _arrive(self, record: Record) -> None:
        if self._unattended(record):
            return
        vm = record.vm
        vm.host, vm.task_state = record.destination, ""
        if record.status == m.POST_COPY:
            vm.ghosts.pop(record.source, None)
        if record.course == "vanishes":
            vm.really_on, vm.runs, vm.vanished = "", False, True
        vm.bindings[record.destination] = "active"
        vm.bindings.pop(record.source, None)
        if record.course == "lands_in_error":
            vm.vm_state = "error"
            self._end(record, "error")
        else:
            # The source cleans up before its record completes.
            self.at(self.soon(4.0), lambda: self._complete(record))

    def _complete(self, record: Record) -> None:
        if self._unattended(record):
            return
        self._end(record, "completed")
        if record.course == "leftovers_for_good":
            record.vm.bindings[record.source] = "inactive"
            return
        later = self._random.uniform(10, 90) if record.course == "leftovers_for_a_while" else 0.0
        self.at(later + self.soon(), lambda: self._clean(record))

    def _clean(self, record: Record) -> None:
        self.allocations.pop(record.uuid, None)
        record.vm.attachments = dict.fromkeys(record.vm.attachments, 1)

    def _fail(self, record: Record, status: str) -> None:
        """Roll back; on recent Nova the server ends in ERROR although it runs on its source."""
        if self._unattended(record):
            return
        vm = record.vm
        queued = record.status == "queued"
        vm.task_state, vm.cause = "", f"the operation {status}"
        self._roll_back(record)
        self._end(record, status)
        if record.course != "copy_stays":
            self.at(self.soon(), lambda: vm.ghosts.pop(record.destination, None))
        if record.course == "fails_and_dies":
            vm.runs, vm.died = False, True
        if vm.deleted or queued:
            return
        if self.settings.error_after_failure or record.course == "fails_and_dies":
            self.at(self.soon(2.0) / self.settings.slowness, lambda: self._say_error(record))

    def _roll_back(self, record: Record) -> None:
        vm = record.vm
        held = self.allocations.pop(record.uuid, None)
        if held and not vm.deleted:
            self.allocations[vm.id] = held
        vm.bindings = {vm.host: "active"}
        vm.attachments = dict.fromkeys(vm.attachments, 1)

    def _say_error(self, record: Record) -> None:
        record.status, vm = "error", record.vm
        if not vm.task_state and not vm.deleted and vm.vm_state in ("active", "paused"):
            vm.vm_state = "error"

    def _end(self, record: Record, status: str) -> None:
        record.status, record.over = status, True
        if record in self._working:
            self._working.remove(record)
        self._pump()

    def abort(self, record: Record) -> None:
        if record.status not in ("queued", "preparing", "running"):
            raise Refused(f"Migration {record.id} is {record.status}", status=400)
        if record.vm.task_state != "migrating":
            raise Refused("task_state is not migrating", status=409)
        if self.really_up and record.course != "stuck_migrating":
            self.at(self.soon(), lambda: self._abort_now(record))

    def _abort_now(self, record: Record) -> None:
        if record.status in ("queued", "preparing", "running") and not self._switched(record):
            self._fail(record, "cancelled")

    def _switched(self, record: Record) -> bool:
        return record.vm.really_on == record.destination

    def force_complete(self, record: Record) -> None:
        if record.status != "running":
            raise Refused(f"Migration {record.id} is {record.status}", status=400)
        if record.vm.vm_state != "active":
            raise Refused("the guest is not active", status=409)
        if self.really_up and record.course != "stuck_migrating":
            self.at(self.soon(), lambda: self._force_now(record))

    def _force_now(self, record: Record) -> None:
        if record.over or self._switched(record):
            return
        if self.settings.post_copy:
            record.status = m.POST_COPY
            self._arrives_in_libvirt(record)
            record.vm.ghosts[record.source] = "paused"
            if record.course != "post_copy_hangs":
                self.at(self.soon(20.0), lambda: self._arrive(record))
        else:
            self.at(self.soon(), lambda: self._switch_over(record))

    # --- cold migration and resize

    def cold_migrate(self, vm: Vm, wanted: str, *, kind: str = "migration", ours: bool) -> None:
        self._check(vm, ("active", "stopped"))
        if vm.host == SOURCE and not self.really_up:
            raise Refused("the source's nova-compute is down", status=409)
        vm.task_state, vm.before = "resize_prep", (vm.vm_state, vm.power_state)
        asked = (vm, ours)
        self.requests.append(asked)
        self.at(self.soon(), lambda: self._cold_record(asked, kind, wanted))

    def _cold_record(self, asked: tuple[Vm, bool], kind: str, wanted: str) -> None:
        vm, ours = asked
        self.requests.remove(asked)
        if vm.deleted:
            return
        record = self._record(vm, kind, wanted, ours)
        record.destination = wanted or self.place_for(vm)
        record.status, vm.task_state = "migrating", "resize_migrating"
        refused = wanted in self.settings.refusing
        if refused or vm.cold_fails or not record.destination or not self.really_up:
            vm.cold_fails = max(0, vm.cold_fails - 1)
            self.at(self.soon(), lambda: self._cold_failed(record))
            return
        self.allocations[record.uuid] = self.allocations[vm.id]
        self.allocations[vm.id] = {record.destination}
        self.at(vm.copy_seconds, lambda: self._cold_there(record))

    def _cold_failed(self, record: Record) -> None:
        if not record.over:
            record.vm.task_state, record.vm.cause = "", "it did not fit"
            self._end(record, "error")

    def _cold_there(self, record: Record) -> None:
        if record.over:
            return
        vm = record.vm
        vm.host, vm.really_on = record.destination, record.destination
        vm.bindings = {vm.host: "active"}
        record.status, vm.task_state = "post-migrating", "resize_finish"
        self.at(self.soon(), lambda: self._cold_finished(record))

    def _cold_finished(self, record: Record) -> None:
        if not record.over:
            record.status, record.over = "finished", True
            record.vm.vm_state, record.vm.task_state = "resized", ""

    def unconfirmed(self, vm: Vm) -> Record | None:
        return next((r for r in self.of(vm) if r.status == "finished"), None)

    def confirm(self, vm: Vm) -> None:
        self._check(vm, ("resized",))
        record = self.unconfirmed(vm)
        if record is None or (record.source == SOURCE and not self.really_up):
            raise Refused("cannot be confirmed", status=409)
        record.status, vm.task_state = "confirming", ""
        self.at(self.soon(), lambda: self._confirmed(record))

    def _confirmed(self, record: Record) -> None:
        if record.status == "confirming":
            record.status = "confirmed"
            self.allocations.pop(record.uuid, None)
            self._back_to(record.vm)

    def revert(self, vm: Vm) -> None:
        record = self.unconfirmed(vm)
        if record is None or vm.vm_state != "resized" or vm.task_state:
            return
        record.status, vm.task_state = "reverting", "resize_reverting"
        self.at(self.soon(), lambda: self._reverted(record))

    def _reverted(self, record: Record) -> None:
        vm = record.vm
        if vm.deleted:
            return
        vm.host, vm.really_on, vm.task_state = record.source, record.source, ""
        vm.bindings = {vm.host: "active"}
        self.allocations[vm.id] = self.allocations.pop(record.uuid, {vm.host})
        record.status = "reverted"
        self._back_to(vm)

    def _back_to(self, vm: Vm) -> None:
        stopped = vm.power_state == "shutdown"
        vm.vm_state = "stopped" if stopped else "active"

    # --- what an administrator does to a server

    def reset_state(self, vm: Vm) -> None:
        vm.vm_state, vm.task_state = "active", ""

    def pause(self, vm: Vm) -> None:
        self._check(vm, ("active",))
        vm.task_state = "pausing"
        self.at(self.soon(), lambda: self._change(vm, "paused", "paused"))

    # --- what users and builds do

    def _change(self, vm: Vm, vm_state: str, power_state: str) -> None:
        if not vm.deleted:
            vm.vm_state, vm.power_state, vm.task_state = vm_state, power_state, ""
            vm.before = (vm_state, power_state)
            vm.runs = power_state in ("running", "paused")

    def user(self, what: str, vm: Vm) -> None:
        """One thing that a user does, if Nova lets them; nothing if not."""
        if vm.deleted:
            return
        if what == "delete":
            self.delete(vm)
        elif what == "confirm" and self.unconfirmed(vm) and vm.vm_state == "resized":
            self.confirm_if_possible(vm)
        elif what == "revert":
            self.revert(vm)
        elif not vm.task_state and vm.vm_state == "active" and vm.host == vm.really_on:
            self._user_of_running(what, vm)
        elif what == "start" and not vm.task_state and vm.vm_state == "stopped":
            self._change(vm, "active", "running")

    def confirm_if_possible(self, vm: Vm) -> None:
        if vm.task_state == "" and self.really_up:
            self.confirm(vm)

    def _user_of_running(self, what: str, vm: Vm) -> None:
        if what == "reboot":
            vm.task_state = "rebooting"
            self.at(self.soon(20), lambda: self._change(vm, "active", "running"))
        elif what == "stop":
            vm.task_state = "powering-off"
            self.at(self.soon(20), lambda: self._change(vm, "stopped", "shutdown"))
        elif what == "live_migrate":
            self.live_migrate(vm, "", ours=False)
        elif what == "resize" and (vm.host != SOURCE or self.really_up):
            self.cold_migrate(vm, "", kind="resize", ours=False)
        elif what == "soft_delete":
            self._change(vm, "soft-delete", "shutdown")
        elif what == "shelve_offload":
            self._change(vm, "shelved_offloaded", "shutdown")
            vm.host, vm.really_on, vm.bindings = "", "", {}
            self.allocations[vm.id] = set()

    def delete(self, vm: Vm) -> None:
        vm.deleted, vm.runs, vm.really_on = True, False, ""
        vm.ghosts.clear()
        vm.directories.clear()
        self.allocations.pop(vm.id, None)
        for record in list(self.of(vm)):
            if not record.over:
                self._end(record, "error")
                self.allocations.pop(record.uuid, None)

    def land(self, vm: Vm) -> None:
        """A build that was scheduled before the service was disabled."""
        vm.vm_state, vm.task_state = "building", "spawning"
        self.add(vm)
        self.at(self.soon(20), lambda: self._change(vm, "active", "running"))

    def come_in(self, vm: Vm, seconds: float) -> None:
        """A migration towards the source that began before the drain."""
        self.add(vm)
        vm.task_state, vm.before = "migrating", (vm.vm_state, vm.power_state)
        record = self._record(vm, "live-migration", SOURCE, False)
        record.status = "running"
        self.at(seconds, lambda: self._switch_over(record))

    # --- what befalls the source's nova-compute

    def crash(self, seconds: float) -> None:
        self.really_up = False
        self.at(min(60.0, seconds), self._seen_down)
        self.at(seconds, self._restart)

    def _seen_down(self) -> None:
        self.up = self.really_up

    def _restart(self) -> None:
        """Nova resets what it finds: running becomes error, the rest keeps a dead record."""
        self.really_up = self.up = True
        for record in self.records.values():
            on_its_way = record.source == SOURCE and not record.over
            if record.kind != "live-migration" or not on_its_way:
                continue
            vm = record.vm
            if vm.host == SOURCE:
                vm.task_state = ""
            if record.status == "running":
                # libvirt went on alone: half of them have moved, and Nova does not know.
                if vm.host == SOURCE and self._random.random() < 0.5:
                    self._arrives_in_libvirt(record)
                elif vm.host == SOURCE:
                    self._roll_back(record)
                    vm.ghosts.pop(record.destination, None)
                record.status = "error"
            record.over = True
        self._queue.clear()
        self._working.clear()
