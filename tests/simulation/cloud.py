# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The world as the engine's Cloud: its API answers late, wrongly or not at all, as real ones do.

Every rule that a write must keep is checked here, at the moment of the write, against the
truth and against what the engine had been shown before; breaches are collected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from ansible_collections.lowtide.compute.plugins.module_utils._errors import Refused, Unreachable
from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from tests.simulation.world import OTHERS, SOURCE, Record, VirtualClock, Vm, World


@dataclass
class Faults:
    """``error_rate``: share of the calls that go wrong. Outages: [from, to), seconds into it."""

    error_rate: float = 0.0
    outage: tuple[float, float] = (0.0, 0.0)
    evidence_outage: tuple[float, float] = (0.0, 0.0)
    libvirt_outage: tuple[float, float] = (0.0, 0.0)
    latency: float = 0.05


@dataclass
class Breaches:
    """What the engine was seen to do and never may."""

    found: list[str] = field(default_factory=list)

    def check(self, allowed: bool, what: str) -> None:
        if not allowed:
            self.found.append(what)


class SimulatedCloud:
    """A Cloud (see the Protocol in _gateways/cloud.py) over a World."""

    def __init__(
        self, world: World, clock: VirtualClock, options: m.Options, faults: Faults, seed: int
    ) -> None:
        self.world, self.clock, self.options, self.faults = world, clock, options, faults
        self.breaches = Breaches()
        self.calls: Counter[str] = Counter()
        self.writes: list[tuple[float, str, str]] = []
        self.proven: dict[str, bool] = {}
        self.single: dict[str, bool] = {}
        self._heard: dict[str, m.Domains] = {}
        self._random = Random(seed)
        self._began = clock.now()
        self._shown_enabled = True
        self._shown_status: dict[int, str] = {}

    # --- calls and their faults

    def _call(self, name: str) -> None:
        self.clock.sleep(self.faults.latency)
        self.world.catch_up()
        self.calls[name] += 1
        self._fail_in(self.faults.outage)

    def _fail_in(self, outage: tuple[float, float]) -> None:
        begins, ends = outage
        if begins <= self.clock.now() - self._began < ends:
            raise Unreachable("compute API: no connection", "wait")

    def _read(self, name: str) -> None:
        self._call(name)
        if self._random.random() < self.faults.error_rate:
            raise Unreachable(f"compute API: 503 for {name}", "wait")

    def _write(self, verb: str, guest_id: str, happens: Callable[[Vm], None]) -> None:
        """Refused, lost, or done; and if it is done the answer may get lost."""
        self._call(verb)
        self.writes.append((self.clock.now(), verb, guest_id))
        vm = self.world.vms[guest_id]
        self.breaches.check("stay" not in vm.tags, f"{guest_id} is excluded: {verb}")
        if self._random.random() < self.faults.error_rate:
            status = self._random.choice((0, 0, 409, 400, 404))
            if status:
                raise Refused(f"{verb}: something was wrong", status=status)
            raise Unreachable(f"{verb}: connection reset", "wait")
        if vm.deleted:
            raise Refused("no such server", status=404)
        happens(vm)
        if self._random.random() < self.faults.error_rate:
            raise Unreachable(f"{verb}: timed out, but it happened", "wait")

    # --- reads

    def service(self, host: str) -> m.Service:
        self._read("list services")
        world = self.world
        self._shown_enabled = world.enabled
        return m.Service("s1", host, world.enabled, world.up, disabled_reason=world.reason)

    def observe(self, scope: m.Scope) -> m.Observation:
        service = self.service(scope.host)
        self._read("list migrations")
        migrations = tuple(
            record.seen()
            for record in reversed(self.world.records.values())
            if scope.host in (record.source, record.destination)
        )
        self._shown_status = {each.id: each.status for each in migrations}
        self._read("list guests")
        return m.Observation(service=service, guests=self._listed(), migrations=migrations)

    def _listed(self) -> tuple[m.Guest, ...]:
        return tuple(
            self._show(vm)
            for vm in self.world.vms.values()
            if vm.host == SOURCE and not vm.deleted and vm.vm_state != "soft-delete"
        )

    def _show(self, vm: Vm) -> m.Guest:
        return m.Guest(
            vm.id,
            f"vm-{vm.id}",
            vm.host,
            vm.vm_state,
            task_state=vm.task_state,
            power_state=vm.power_state,
            ram_mib=vm.ram_mib,
            boots_from_volume=True,
            volumes=vm.volumes,
            extra_specs=vm.extra_specs,
            tags=vm.tags,
        )

    def survey(self, scope: m.Scope) -> m.Survey:
        self._read("survey")
        world = self.world
        finished = tuple(
            r.seen()
            for r in world.records.values()
            if r.status == "finished" and r.source == SOURCE
        )
        resized = {r.guest_id for r in finished}
        guests = [
            self._surround(vm)
            for vm in world.vms.values()
            if not vm.deleted and (vm.host == SOURCE or vm.id in resized)
        ]
        return m.Survey(
            scope,
            services=(m.Service("s1", SOURCE, world.enabled, world.up),),
            guests=tuple(guests),
            rooms=tuple(m.Room(host, {}) for host in (SOURCE, *OTHERS)),
            migrations=tuple(r.seen() for r in reversed(world.records.values())),
            finished=finished,
        )

    def _surround(self, vm: Vm) -> m.Guest:
        guest = self._show(vm)
        mates = {v.id: v.host for v in self.world.vms.values() if v.group == vm.group != ""}
        group = m.Group(vm.group, vm.group, "anti-affinity", members=mates) if vm.group else None
        alive = self._alive(vm) if vm.vm_state == "error" else None
        fields = {name: getattr(guest, name) for name in m.Guest.__slots__}
        return m.Guest(**(fields | {"group": group, "alive": alive}))

    def progress(self, guest_id: str, migration_id: int) -> m.Progress | None:
        self._read("progress")
        record = self.world.records[migration_id]
        if record.status != "running":
            return None
        total = record.vm.ram_mib * 2**20
        return m.Progress(total, total // 2, total // 2)

    def evidence(self, guest_id: str, migration_uuid: str) -> m.Evidence:
        self._read("evidence")
        self._fail_in(self.faults.evidence_outage)
        vm = self.world.vms[guest_id]
        self.proven[guest_id] = self._has_moved(vm)
        if vm.deleted:
            return m.Evidence(exists=False)
        return m.Evidence(
            exists=True,
            host=vm.host,
            vm_state=vm.vm_state,
            task_state=vm.task_state,
            power_state=vm.power_state,
            allocations=tuple(sorted(self.world.allocations.get(guest_id, ()))),
            leftover_allocations=migration_uuid in self.world.allocations,
            bindings=tuple(m.Binding("p", host, status) for host, status in vm.bindings.items()),
            attachments=dict(vm.attachments),
        )

    def ask_hypervisors(self, hosts: tuple[str, ...]) -> dict[str, m.Domains]:
        """As the action plugin does between two steps."""
        self._heard = {host: self._ask_hypervisor(host) for host in hosts}
        return self._heard

    def _ask_hypervisor(self, host: str) -> m.Domains:
        self.breaches.check(host in self.options.hypervisors, f"{host} was asked, and cannot be")
        self.clock.sleep(self.faults.latency)
        self.world.catch_up()
        self.calls["ask hypervisor"] += 1
        begins, ends = self.faults.libvirt_outage
        away = begins <= self.clock.now() - self._began < ends
        if away or self._random.random() < self.faults.error_rate:
            return m.Domains(error="ssh: no route to host")
        self.single = {vm.id: vm.is_single() for vm in self.world.vms.values()}
        return self.world.libvirt(host)

    def _seen_elsewhere(self, vm: Vm) -> list[str]:
        """Hosts, but Nova's, on which libvirt was just heard to have it."""
        said = self._heard.items()
        return [host for host, domains in said if host != vm.host and vm.id in domains.states]

    def _has_moved(self, vm: Vm) -> bool:
        """The truth: on another host, as it was before, with nothing left of the move.

        What only libvirt can tell is in ``single``.
        """
        state = (vm.vm_state, vm.power_state)
        ours = any(record.ours for record in self.world.of(vm))
        settled = () if ours else (("active", "running"), ("stopped", "shutdown"))
        ways_out = [record.id for record in self.world.of(vm) if record.source == SOURCE]
        return (
            (vm.really_on == vm.host or vm.vanished)
            and vm.host not in ("", SOURCE)
            and state in (vm.before, *settled)
            and vm.bindings == {vm.host: "active"}
            and self.world.allocations.get(vm.id) == {vm.host}
            and f"migration-{max(ways_out, default=0)}" not in self.world.allocations
            and all(count == 1 for count in vm.attachments.values())
        )

    def cause(self, guest_id: str) -> str:
        self._read("cause")
        return self.world.vms[guest_id].cause

    def alive(self, guest_id: str) -> bool | None:
        self._read("alive")
        return self._alive(self.world.vms[guest_id])

    def _alive(self, vm: Vm) -> bool | None:
        if vm.deleted or not self.world.really_up or vm.really_on != vm.host:
            return None
        return vm.runs

    def host_allocations(self, host: str) -> tuple[str, ...]:
        self._read("host allocations")
        held = self.world.allocations.items()
        return tuple(sorted(consumer for consumer, hosts in held if host in hosts))

    # --- writes

    def disable(self, host: str, reason: str) -> None:
        self._call("disable")
        if self._random.random() < self.faults.error_rate:
            raise Unreachable("disable: connection reset", "wait")
        self.world.enabled, self.world.reason = False, reason
        self.writes.append((self.clock.now(), "disable", ""))
        if self._random.random() < self.faults.error_rate:
            raise Unreachable("disable: timed out, but it happened", "wait")

    def enable(self, host: str) -> None:
        raise NotImplementedError

    def force_down(self, host: str, forced: bool) -> None:
        raise NotImplementedError

    def _may_start(self, vm: Vm) -> None:
        check = self.breaches.check
        check(not self._shown_enabled, f"{vm.id} started while the service was enabled")
        blocked = vm.extra_specs or vm.vm_state in ("suspended", "rescued")
        check(not blocked, f"{vm.id} is blocked and was started")
        flying = [other for other in self.world.ours_in_flight() if other is not vm]
        check(len(flying) < self.options.max_parallel, f"{vm.id} started beyond max_parallel")
        check(not self._seen_elsewhere(vm), f"{vm.id} started although it was seen elsewhere")
        mates = [v for v in flying if v.group == vm.group != ""]
        check(not mates, f"{vm.id} started while {len(mates)} of its group moved")

    def live_migrate(self, guest_id: str, host: str) -> None:
        self._may_start(self.world.vms[guest_id])
        self._write(
            "live_migrate", guest_id, lambda vm: self.world.live_migrate(vm, host, ours=True)
        )

    def cold_migrate(self, guest_id: str, host: str) -> None:
        vm = self.world.vms[guest_id]
        self._may_start(vm)
        allowed = vm.vm_state != "active" or self.options.allow_cold_migration
        self.breaches.check(allowed or vm.task_state != "", f"{guest_id} runs and was moved cold")
        self._write(
            "cold_migrate", guest_id, lambda vm: self.world.cold_migrate(vm, host, ours=True)
        )

    def confirm(self, guest_id: str) -> None:
        record = self.world.unconfirmed(self.world.vms[guest_id])
        foreign = record is not None and record.kind == "resize"
        allowed = not foreign or self.options.confirm_resizes
        self.breaches.check(allowed, f"{guest_id}: a user's resize was confirmed")
        self._write("confirm", guest_id, self.world.confirm)

    def abort(self, guest_id: str, migration_id: int) -> None:
        shown = self._shown_status.get(migration_id)
        self.breaches.check(shown != m.POST_COPY, f"{guest_id}: abort of a post-copy")
        self._on_migration("abort", guest_id, migration_id, self.world.abort)

    def force_complete(self, guest_id: str, migration_id: int) -> None:
        allowed = self.options.on_timeout == "force_complete"
        self.breaches.check(allowed, f"{guest_id}: forced without being asked for")
        self._on_migration("force_complete", guest_id, migration_id, self.world.force_complete)

    def _on_migration(
        self, verb: str, guest_id: str, migration_id: int, act: Callable[[Record], None]
    ) -> None:
        self._write(verb, guest_id, lambda _vm: act(self.world.records[migration_id]))

    def reset_state(self, guest_id: str) -> None:
        vm = self.world.vms[guest_id]
        here = vm.deleted or (vm.really_on == vm.host and vm.runs)
        self.breaches.check(here, f"{guest_id}: reset although it does not run on {vm.host}")
        elsewhere = self._seen_elsewhere(vm)
        self.breaches.check(not elsewhere, f"{guest_id}: reset although it is on {elsewhere}, too")
        self._write("reset_state", guest_id, self.world.reset_state)

    def pause(self, guest_id: str) -> None:
        paused = self.world.vms[guest_id].power_state == "paused"
        self.breaches.check(paused, f"{guest_id}: a guest that ran was paused")
        self._write("pause", guest_id, self.world.pause)
