# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The cloud, as the engine needs it: a few reads, a few writes, the planner's values.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Protocol

from ansible_collections.lowtide.compute.plugins.module_utils._errors import NotFound, Unreachable
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import (
    Json,
    Session,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.image import Image
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.network import Network
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.nova import Nova
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.placement import Placement
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.rooms import rooms_from
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.volume import Volume
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.wires import Wires
from ansible_collections.lowtide.compute.plugins.module_utils._planner.destinations import (
    traits_asked,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.eligibility import (
    has_numa_topology,
    loses_link,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    COLD_UNCONFIRMED,
    Evidence,
    Group,
    Guest,
    Migration,
    Observation,
    Progress,
    Room,
    Scope,
    Service,
    Survey,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    GuestNuma,
    NumaPort,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_request import (
    NumaRequestError,
    request_of,
)

#: Policies for which it matters where the other members are.
HARD_POLICIES = frozenset({"affinity", "anti-affinity"})


class Cloud(Protocol):
    """Reads return the planner's model; a read that fails raises Unreachable or Unauthorized.

    Writes return nothing. They raise Refused (4xx: nothing happened), Unreachable (no
    answer: it may have happened) or Unauthorized. None of them waits for its outcome.
    """

    def service(self, host: str) -> Service:
        """The nova-compute of ``host`` (exact name). NotFound names near misses."""

    def survey(self, scope: Scope) -> Survey:
        """All that a plan needs. Groups, images and flavors bound the calls, not guests."""

    def observe(self, scope: Scope) -> Observation:
        """Service, guests and migrations of the scope: a constant number of list calls."""

    def progress(self, guest_id: str, migration_id: int) -> Progress | None:
        """Figures of one running live migration; None when Nova does not show it now."""

    def evidence(self, guest_id: str, migration_uuid: str) -> Evidence:
        """What server, Placement, port bindings and volume attachments say of one guest."""

    def cause(self, guest_id: str) -> str:
        """Why the newest migration of a guest failed, in Nova's words; "" when it does not say."""

    def alive(self, guest_id: str) -> bool | None:
        """Does the hypervisor of the guest's host run it (diagnostics)? None: cannot be known."""

    def host_allocations(self, host: str) -> tuple[str, ...]:
        """Consumers that hold allocations on the host's resource providers."""

    def disable(self, host: str, reason: str) -> None: ...

    def enable(self, host: str) -> None: ...

    def force_down(self, host: str, forced: bool) -> None: ...

    def live_migrate(self, guest_id: str, host: str) -> None:
        """Ask for a live migration, asynchronous, never forced; ``host`` "" lets Nova choose."""

    def cold_migrate(self, guest_id: str, host: str) -> None: ...

    def confirm(self, guest_id: str) -> None: ...

    def abort(self, guest_id: str, migration_id: int) -> None: ...

    def force_complete(self, guest_id: str, migration_id: int) -> None: ...

    def reset_state(self, guest_id: str) -> None: ...

    def pause(self, guest_id: str) -> None: ...


class OpenStackCloud:
    """The real Cloud: Nova, Placement, Neutron; Cinder, Glance and Manila where there are any."""

    def __init__(
        self,
        nova: Nova,
        placement: Placement,
        network: Network,
        volume: Volume | None = None,
        image: Image | None = None,
        *,
        has_shares: bool = False,
        wires: Wires | None = None,
    ) -> None:
        self._nova = nova
        self._placement = placement
        self._network = network
        self._volume = volume
        self._image = image
        self._has_shares = has_shares
        self._wires = wires
        self._last_host: dict[str, str] = {}

    # --- reads

    def service(self, host: str) -> Service:
        return self._nova.service(host)

    def survey(self, scope: Scope) -> Survey:
        survey = self._survey_of_host(scope) if scope.host else self._survey_of_guests(scope)
        services = self._nova.services()
        aggregates = self._nova.aggregates()
        guests = self._with_cells(self._with_surroundings(survey.guests, scope))
        return replace(
            survey,
            services=services,
            guests=self._with_candidates(guests, aggregates),
            rooms=self._rooms(services, aggregates),
        )

    def observe(self, scope: Scope) -> Observation:
        # Migrations first: one that is over by then has its guest's host right in the newer list.
        if scope.host:
            return Observation(
                service=self._nova.service(scope.host),
                migrations=self._nova.migrations_of(scope.host),
                guests=self._nova.guests_of(scope.host),
            )
        migrations = self._migrations_of_guests(scope.guest_ids)
        return Observation(migrations=migrations, guests=self._guests(scope.guest_ids))

    def progress(self, guest_id: str, migration_id: int) -> Progress | None:
        return self._nova.progress(guest_id, migration_id)

    def evidence(self, guest_id: str, migration_uuid: str) -> Evidence:
        guest = self._nova.guest(guest_id)
        if guest is None:
            return Evidence(exists=False)
        left = bool(migration_uuid and self._placement.allocations_of(migration_uuid))
        roots = self._placement.allocations_of(guest_id)
        counts = self._volume.attachments_of(guest_id) if self._volume and guest.volumes else None
        return Evidence(
            exists=True,
            host=guest.host,
            vm_state=guest.vm_state,
            task_state=guest.task_state,
            power_state=guest.power_state,
            allocations=tuple(sorted(self._host_by_root.get(root, root) for root in roots)),
            leftover_allocations=left,
            bindings=self._network.bindings_of(guest_id),
            attachments={} if counts is None else {v: counts.get(v, 0) for v in guest.volumes},
        )

    def cause(self, guest_id: str) -> str:
        return self._nova.cause(guest_id)

    def alive(self, guest_id: str) -> bool | None:
        return self._nova.alive(guest_id)

    def host_allocations(self, host: str) -> tuple[str, ...]:
        return tuple(sorted(self._placement.consumers_of(self._root_of(host))))

    def find_guests(self, name_or_id: str) -> tuple[Guest, ...]:
        """The guest with this id, or every guest with exactly this name."""
        by_id = self._nova.guest(name_or_id) if looks_like_uuid(name_or_id) else None
        return (by_id,) if by_id else self._nova.guests_named(name_or_id)

    # --- writes

    def disable(self, host: str, reason: str) -> None:
        service = self._nova.service(host)
        if service.enabled or service.disabled_reason != reason:
            change = {"status": "disabled", "disabled_reason": reason}
            self._nova.set_service(service, change)

    def enable(self, host: str) -> None:
        service = self._nova.service(host)
        if not service.enabled:
            self._nova.set_service(service, {"status": "enabled"})

    def force_down(self, host: str, forced: bool) -> None:
        service = self._nova.service(host)
        if service.forced_down != forced:
            self._nova.set_service(service, {"forced_down": forced})

    def live_migrate(self, guest_id: str, host: str) -> None:
        self._nova.live_migrate(guest_id, host)

    def cold_migrate(self, guest_id: str, host: str) -> None:
        self._nova.cold_migrate(guest_id, host)

    def confirm(self, guest_id: str) -> None:
        self._nova.confirm(guest_id)

    def abort(self, guest_id: str, migration_id: int) -> None:
        self._nova.abort(guest_id, migration_id)

    def force_complete(self, guest_id: str, migration_id: int) -> None:
        self._nova.force_complete(guest_id, migration_id)

    def reset_state(self, guest_id: str) -> None:
        self._nova.reset_state(guest_id)

    def pause(self, guest_id: str) -> None:
        self._nova.pause(guest_id)

    # --- the survey's parts

    def _survey_of_host(self, scope: Scope) -> Survey:
        host = scope.host
        migrations = self._nova.migrations_of(host)
        listed = {guest.id: guest for guest in self._nova.guests_of(host)}
        finished, resized = self._unconfirmed_from(host, migrations)
        consumers = self._placement.consumers_of(self._root_of(host))
        accounted = listed.keys() | {m.uuid for m in migrations}
        hidden = self._hidden_guests(host, consumers.keys() - accounted)
        guests = {**resized, **listed, **hidden}
        return Survey(
            scope=scope,
            guests=tuple(
                replace(guest, resources=consumers.get(guest.id, {})) for guest in guests.values()
            ),
            migrations=migrations,
            finished=finished,
            unknown_consumers=tuple(sorted(consumers.keys() - accounted - hidden.keys())),
        )

    def _survey_of_guests(self, scope: Scope) -> Survey:
        guests = []
        for guest in self._guests(scope.guest_ids):
            by_node = self._placement.allocations_of(guest.id)
            mine = (r for root, r in by_node.items() if self._host_by_root.get(root) == guest.host)
            guests.append(replace(guest, resources=next(mine, {})))
        migrations = self._migrations_of_guests(scope.guest_ids)
        return Survey(scope=scope, guests=tuple(guests), migrations=migrations)

    def _unconfirmed_from(
        self, host: str, migrations: Iterable[Migration]
    ) -> tuple[tuple[Migration, ...], dict[str, Guest]]:
        """Cold migrations that left ``host`` and wait for confirmation, and their guests."""
        finished, guests = [], {}
        for migration in migrations:
            if migration.status != COLD_UNCONFIRMED or migration.source != host:
                continue
            guest = self._nova.guest(migration.guest_id)
            if guest and guest.vm_state == "resized":
                finished.append(migration)
                guests[guest.id] = guest
        return tuple(finished), guests

    def _hidden_guests(self, host: str, consumers: Iterable[str]) -> dict[str, Guest]:
        """Guests on ``host`` that lists leave out (soft-deleted), found by their allocations."""
        candidates = map(self._nova.guest, sorted(consumers))
        return {guest.id: guest for guest in candidates if guest and guest.host == host}

    def _with_surroundings(self, guests: tuple[Guest, ...], scope: Scope) -> tuple[Guest, ...]:
        """The guests with ports, groups, shares, policies; and whether those in ERROR are alive."""
        ports = self._network.ports_on(scope.host) if scope.host else {}
        elsewhere = [guest.id for guest in guests if not scope.host or guest.host != scope.host]
        if elsewhere:
            ports |= self._network.ports_of(elsewhere)
        group_of = self._groups_of(guests)
        policies = self._policies_of({guest.image_id for guest in guests if guest.image_id})
        return tuple(
            replace(
                guest,
                image_properties=policies.get(guest.image_id, {}) | dict(guest.image_properties),
                ports=ports.get(guest.id, ()),
                group=group_of.get(guest.id),
                shares=self._nova.shares(guest.id) if self._has_shares else (),
                alive=self._nova.alive(guest.id) if guest.vm_state == "error" else None,
            )
            for guest in guests
        )

    def _with_cells(self, guests: tuple[Guest, ...]) -> tuple[Guest, ...]:
        """The guests with what they ask of cells; networks are looked up where that matters."""
        wired = [guest.id for guest in guests if has_numa_topology(guest) or loses_link(guest)]
        wires = self._wires.of_guests(wired) if self._wires and wired else {}
        return tuple(replace(g, numa=_asked_of_cells(g, wires.get(g.id, ()))) for g in guests)

    def _policies_of(self, image_ids: Iterable[str]) -> dict[str, dict[str, str]]:
        if self._image is None:
            return {}
        return {each: self._image.policy_properties(each) for each in sorted(image_ids)}

    def _groups_of(self, guests: tuple[Guest, ...]) -> dict[str, Group]:
        """Guest id -> group. Where members of a hard group are is looked up once per project."""
        by_id = {guest.id: guest for guest in guests}
        hosts = {guest.id: guest.host for guest in guests}
        relevant = [group for group in self._nova.groups() if group.members.keys() & by_id.keys()]
        hard = [group for group in relevant if group.policy in HARD_POLICIES]
        for project in {
            by_id[member].project_id
            for group in hard
            if group.members.keys() - hosts.keys()
            for member in group.members.keys() & by_id.keys()
        }:
            hosts |= {guest.id: guest.host for guest in self._nova.guests_of_project(project)}
        return {
            member: replace(group, members={m: hosts.get(m, "") for m in group.members})
            for group in relevant
            for member in group.members.keys() & by_id.keys()
        }

    def _rooms(self, services: Iterable[Service], aggregates: Iterable[Json]) -> tuple[Room, ...]:
        return rooms_from(services, self._nodes, aggregates, self._placement.summaries())

    def _with_candidates(
        self, guests: tuple[Guest, ...], aggregates: Iterable[Json]
    ) -> tuple[Guest, ...]:
        """The guests with the hosts that Placement offers: one call for each distinct request."""
        asked: dict[object, tuple[str, ...] | None] = {}
        found = []
        for guest in guests:
            zone = guest.pinned_availability_zone
            # As Nova's prefilter has it; a zone without aggregates is the default one.
            within = [a["uuid"] for a in aggregates if zone and a["availability_zone"] == zone]
            traits = traits_asked(guest)
            request = (tuple(sorted(guest.resources.items())), traits, tuple(within))
            if request not in asked:
                roots = self._placement.candidates(guest.resources, traits, within)
                asked[request] = None if roots is None else self._hosts_of(roots)
            found.append(replace(guest, candidates=asked[request]))
        return tuple(found)

    def _hosts_of(self, roots: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(self._host_by_root[r] for r in roots if r in self._host_by_root))

    # --- named guests

    def _guests(self, guest_ids: tuple[str, ...]) -> tuple[Guest, ...]:
        """The named guests that exist: by lists of the hosts they were last on, if that is less."""
        wanted = set(guest_ids)
        hosts = {self._last_host.get(guest_id, "") for guest_id in wanted} - {""}
        found: dict[str, Guest] = {}
        if len(hosts) < len(wanted):
            for host in hosts:
                found |= {g.id: g for g in self._nova.guests_of(host) if g.id in wanted}
        for guest_id in wanted - found.keys():
            guest = self._nova.guest(guest_id)
            if guest:
                found[guest_id] = guest
        self._last_host |= {guest.id: guest.host for guest in found.values()}
        return tuple(found[guest_id] for guest_id in guest_ids if guest_id in found)

    def _migrations_of_guests(self, guest_ids: tuple[str, ...]) -> tuple[Migration, ...]:
        found = (m for guest_id in guest_ids for m in self._nova.migrations_of_guest(guest_id))
        return tuple(sorted(found, key=lambda migration: migration.id, reverse=True))

    # --- compute nodes

    @cached_property
    def _host_by_root(self) -> Mapping[str, str]:
        return {node["id"]: node["service"]["host"] for node in self._nodes}

    @cached_property
    def _nodes(self) -> tuple[Json, ...]:
        return self._nova.nodes()

    def _root_of(self, host: str) -> str:
        roots = [root for root, name in self._host_by_root.items() if name == host]
        if not roots:
            raise NotFound(
                f"host: {host!r} has no compute node in Nova",
                "Start its nova-compute once, so that it registers its compute node",
            )
        if len(roots) > 1:
            raise Unreachable(
                f"host: {host!r} has {len(roots)} compute nodes in Nova",
                "Only hosts with one compute node each (libvirt) can be drained",
            )
        return roots[0]


def _asked_of_cells(guest: Guest, ports: Iterable[NumaPort]) -> GuestNuma | None:
    """``None`` for a guest whose flavor and image Nova would refuse by now."""
    specs, properties = guest.extra_specs, guest.image_properties
    try:
        return request_of(guest.vcpus, guest.ram_mib, specs, properties, ports)
    except NumaRequestError:
        return None


def looks_like_uuid(text: str) -> bool:
    """32 hexadecimal digits, with or without dashes."""
    digits = text.replace("-", "")
    return len(digits) == 32 and all(digit in "0123456789abcdefABCDEF" for digit in digits)


def connect(session: Session) -> OpenStackCloud:
    """The cloud that the session is signed in to."""
    has_volumes, has_images, has_shares = map(
        session.offers, ("block-storage", "image", "shared-file-system")
    )
    return OpenStackCloud(
        Nova(session.api("compute")),
        Placement(session.api("placement")),
        Network(session.api("network")),
        Volume(session.api("block_storage")) if has_volumes else None,
        Image(session.api("image")) if has_images else None,
        has_shares=has_shares,
        wires=Wires(session.api("network")),
    )
