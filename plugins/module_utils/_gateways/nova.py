# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Nova's API as the planner's values: each call at a microversion whose behaviour is known.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain
from urllib.parse import quote

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    HostNotReady,
    NotFound,
    Refused,
    Unreachable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import Api, Json
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Carrier,
    Group,
    Guest,
    Migration,
    Progress,
    Service,
)

#: What is asked of servers/detail: embedded flavors 2.47, locked 2.73, pinned zone 2.96, image
#: properties 2.98. Older clouds answer at what they have, and the fields are then empty.
SERVERS = (2, 100)
SERVICES = "2.53"
HYPERVISORS = "2.53"
#: From 2.41 on aggregates have the UUID that Placement knows them by.
AGGREGATES = "2.53"
DIAGNOSTICS = "2.48"
MIGRATIONS = (2, 80)
ACTIONS = (2, 84)
SHARES = (2, 97)
GROUPS = "2.64"
#: From 2.61 on flavors are listed with their extra specs.
FLAVORS = "2.61"
#: From 2.86 on Nova refuses keys of the group `hw` that it does not know, StarlingX's among them.
EXTRA_SPECS = "2.68"
COLD_MIGRATE = "2.56"
#: From 2.34 on the call does not wait for the pre-checks; from 2.68 on nobody can force it.
LIVE_MIGRATE = "2.68"
FLOOR = (2, 68)

#: Newest migrations of a host that are read in one tick, after the first look at all of them;
#: older ones only while one of them had not ended when it was last seen.
RECENT_MIGRATIONS = 100

POWER_STATES = {
    0: "nostate",
    1: "running",
    3: "paused",
    4: "shutdown",
    6: "crashed",
    7: "suspended",
}
ENDED = frozenset({"completed", "confirmed", "done", "failed", "error", "cancelled", "reverted"})
MOVE_ACTIONS = frozenset({"live-migration", "migrate", "resize", "confirmResize"})


class Nova:
    """The compute API. One instance lives as long as one module call."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._seen_migrations: dict[str, dict[int, Migration]] = {}

    # --- services and hypervisors

    def services(self) -> tuple[Service, ...]:
        """Every nova-compute of the cloud."""
        found = self._api.get("/os-services", {"binary": "nova-compute"}, microversion=SERVICES)
        return tuple(map(service_from, found["services"]))

    def service(self, host: str) -> Service:
        """The nova-compute of ``host``; NotFound names the hosts that look like it."""
        query = {"binary": "nova-compute", "host": host}
        found = self._api.get("/os-services", query, microversion=SERVICES)["services"]
        exact = [service for service in found if service["host"] == host]
        if not exact:
            raise self._unknown(host)
        return service_from(exact[0])

    def _unknown(self, host: str) -> NotFound:
        hosts = sorted(service.host for service in self.services())
        near = difflib.get_close_matches(host, hosts, n=3) or hosts[:3]
        return NotFound(
            f"host: {host!r} has no nova-compute service in this cloud",
            f"Give the exact name of one of the {len(hosts)} hosts, such as {', '.join(near)}"
            if hosts
            else "This cloud has no nova-compute at all: check `cloud` and `region_name`",
            host=host,
        )

    def set_service(self, service: Service, change: Json) -> None:
        """PUT a change of a service. One that changes nothing would be refused with 400."""
        try:
            self._api.send("PUT", f"/os-services/{service.id}", change, microversion=SERVICES)
        except Refused as refusal:
            if "evacuation" in str(refusal):
                raise HostNotReady(
                    f"host: {service.host!r} still has guests' leftovers of an evacuation, which "
                    "only its own nova-compute may clean up",
                    f"Restart nova-compute on {service.host}, wait until it is up, and try again",
                    host=service.host,
                ) from refusal
            raise

    def hypervisors(self) -> dict[str, str]:
        """Root resource provider (a compute node's uuid) -> compute host."""
        return {node["id"]: node["service"]["host"] for node in self.nodes()}

    def nodes(self) -> tuple[Json, ...]:
        """Compute nodes as the API shows them: id, service, type and version of the hypervisor."""
        return tuple(
            self._api.list("/os-hypervisors/detail", "hypervisors", microversion=HYPERVISORS)
        )

    def aggregates(self) -> tuple[Json, ...]:
        """Host aggregates as the API shows them: name, uuid, hosts, availability_zone."""
        return tuple(self._api.get("/os-aggregates", microversion=AGGREGATES)["aggregates"])

    # --- guests

    def guests_of(self, host: str) -> tuple[Guest, ...]:
        """Every guest that Nova lists on ``host``, of all projects (soft-deleted ones it hides)."""
        return self._guests({"host": host})

    def guests_of_project(self, project_id: str) -> tuple[Guest, ...]:
        """Every guest of a project, wherever it is."""
        return self._guests({"project_id": project_id})

    def guests(self) -> tuple[Guest, ...]:
        """Every guest of the cloud."""
        return self._guests({})

    def guests_named(self, name: str) -> tuple[Guest, ...]:
        """Guests of exactly this name, of all projects."""
        found = self._guests({"name": exactly(name)})
        return tuple(guest for guest in found if guest.name == name)

    def guest(self, guest_id: str) -> Guest | None:
        """One guest, soft-deleted ones too; None when Nova has none of that id."""
        try:
            body = self._api.get(f"/servers/{guest_id}", microversion=self._at(SERVERS))
        except Refused as refusal:
            if refusal.status in (400, 404):
                return None
            raise
        return guest_from(body["server"])

    def guest_pages(self, query: Mapping[str, str] | None = None) -> Iterator[tuple[Guest, ...]]:
        """Guests of all projects, a page at a time: memory need not hold all of a cloud's."""
        pages = self._api.pages(
            "/servers/detail",
            "servers",
            {"all_tenants": "1", **(query or {})},
            microversion=self._at(SERVERS),
        )
        for page in pages:
            # From 2.69 on a cell that does not answer yields stubs; a host would look empty.
            if any(server.get("status") == "UNKNOWN" for server in page):
                raise Unreachable(
                    "compute API: a cell of Nova does not answer, so its guests are unknown",
                    "Bring the cell's database and message queue back",
                )
            yield tuple(map(guest_from, page))

    def _guests(self, query: Mapping[str, str]) -> tuple[Guest, ...]:
        return tuple(chain.from_iterable(self.guest_pages(query)))

    def flavors(self) -> tuple[Carrier, ...]:
        """Every flavor of the cloud, also those that are not public, with their extra specs."""
        found = self._api.list(
            "/flavors/detail", "flavors", {"is_public": "None"}, microversion=FLAVORS
        )
        return tuple(
            Carrier("flavor", raw["id"], raw["name"], dict(raw["extra_specs"])) for raw in found
        )

    def groups(self) -> tuple[Group, ...]:
        """Every server group; all its members, their hosts not filled in."""
        groups: list[Group] = []
        while True:
            query = {"all_projects": "true", "limit": "1000", "offset": str(len(groups))}
            page = self._api.get("/os-server-groups", query, microversion=GROUPS)["server_groups"]
            groups += map(group_from, page)
            if not page:
                return tuple(groups)

    def shares(self, guest_id: str) -> tuple[str, ...]:
        """Manila shares mapped into a guest; none where Nova cannot map any."""
        if self._newest < SHARES:
            return ()
        body = self._api.get(f"/servers/{guest_id}/shares", microversion=dotted(SHARES))
        return tuple(share["share_id"] for share in body["shares"])

    def alive(self, guest_id: str) -> bool | None:
        """Does the hypervisor run this guest? None when it could not be asked."""
        try:
            body = self._api.get(f"/servers/{guest_id}/diagnostics", microversion=DIAGNOSTICS)
        except Refused as refusal:
            # 409: the hypervisor answered, and the guest is not running there.
            return False if refusal.status == 409 else None
        except Unreachable:
            return None
        return body.get("state") in ("running", "paused")

    # --- migrations

    def migrations_of(self, host: str) -> tuple[Migration, ...]:
        """Migrations from or to ``host``, newest first; see RECENT_MIGRATIONS.

        `changes-since` would be no help: it leaves out a record that was never updated, which
        is what a migration looks like that has just been accepted.
        """
        seen = self._seen_migrations.setdefault(host, {})
        first_look = not seen
        pending = {m.id for m in seen.values() if m.status not in ENDED}
        query = {"host": host} | ({} if first_look else {"limit": str(RECENT_MIGRATIONS)})
        for page in self._migration_pages(query):
            known = {m.id for m in page} & seen.keys()
            seen.update((m.id, m) for m in page)
            pending -= {m.id for m in page}
            if not first_look and known and not pending:
                break
        else:
            # All pages were read: what is missing was purged.
            for gone in pending:
                del seen[gone]
        return newest_first(seen.values())

    def migrations_of_guest(self, guest_id: str) -> tuple[Migration, ...]:
        """Migrations of one guest, newest first."""
        pages = self._migration_pages({"instance_uuid": guest_id})
        return newest_first(migration for page in pages for migration in page)

    def _migration_pages(self, query: Mapping[str, str]) -> Iterable[tuple[Migration, ...]]:
        pages = self._api.pages(
            "/os-migrations",
            "migrations",
            query,
            microversion=self._at(MIGRATIONS),
            marker="uuid",
        )
        return (tuple(map(migration_from, page)) for page in pages)

    def progress(self, guest_id: str, migration_id: int) -> Progress | None:
        """Memory figures of a running live migration; None when Nova shows none."""
        path = f"/servers/{guest_id}/migrations/{migration_id}"
        try:
            body = self._api.get(path, microversion=self._at(MIGRATIONS))["migration"]
        except Refused:
            # Not in a state in which Nova shows it (post-copy, for one), or just ended.
            return None
        if not body.get("memory_total_bytes"):
            return None
        return Progress(
            total_bytes=body["memory_total_bytes"],
            processed_bytes=body.get("memory_processed_bytes") or 0,
            remaining_bytes=body.get("memory_remaining_bytes") or 0,
        )

    def cause(self, guest_id: str) -> str:
        """Why the newest move of a guest failed, in Nova's words; "" when it does not say."""
        path = f"/servers/{guest_id}/os-instance-actions"
        version = self._at(ACTIONS)
        try:
            actions = self._api.get(path, microversion=version)["instanceActions"]
            moves = [action for action in actions if action["action"] in MOVE_ACTIONS]
            if not moves:
                return ""
            newest = max(moves, key=lambda action: action["start_time"])
            one = self._api.get(f"{path}/{newest['request_id']}", microversion=version)
        except Refused:
            return ""
        return cause_from(one["instanceAction"])

    # --- what changes something

    def live_migrate(self, guest_id: str, host: str) -> None:
        body = {"host": host or None, "block_migration": "auto"}
        self._act(guest_id, {"os-migrateLive": body}, LIVE_MIGRATE)

    def cold_migrate(self, guest_id: str, host: str) -> None:
        self._act(guest_id, {"migrate": {"host": host} if host else None}, COLD_MIGRATE)

    def confirm(self, guest_id: str) -> None:
        self._act(guest_id, {"confirmResize": None})

    def reset_state(self, guest_id: str) -> None:
        self._act(guest_id, {"os-resetState": {"state": "active"}})

    def pause(self, guest_id: str) -> None:
        self._act(guest_id, {"pause": None})

    def abort(self, guest_id: str, migration_id: int) -> None:
        path = f"/servers/{guest_id}/migrations/{migration_id}"
        self._api.send("DELETE", path, microversion=LIVE_MIGRATE)

    def force_complete(self, guest_id: str, migration_id: int) -> None:
        path = f"/servers/{guest_id}/migrations/{migration_id}/action"
        self._api.send("POST", path, {"force_complete": None}, microversion=LIVE_MIGRATE)

    def change_flavor(self, flavor_id: str, put: Mapping[str, str], removed: Iterable[str]) -> None:
        """Set extra specs, all in one request, and remove others, one by one."""
        path = f"/flavors/{quote(flavor_id, safe='')}/os-extra_specs"
        if put:
            self._api.send("POST", path, {"extra_specs": dict(put)}, microversion=EXTRA_SPECS)
        for name in removed:
            self._api.send("DELETE", f"{path}/{quote(name)}", microversion=EXTRA_SPECS)

    def change_metadata(
        self, guest_id: str, put: Mapping[str, str], removed: Iterable[str]
    ) -> None:
        """Set metadata of a guest, all in one request, and remove some, one by one."""
        path = f"/servers/{guest_id}/metadata"
        if put:
            self._api.send("POST", path, {"metadata": dict(put)}, microversion=LIVE_MIGRATE)
        for name in removed:
            self._api.send("DELETE", f"{path}/{quote(name)}", microversion=LIVE_MIGRATE)

    def _act(self, guest_id: str, body: Json, microversion: str = LIVE_MIGRATE) -> None:
        self._api.send("POST", f"/servers/{guest_id}/action", body, microversion=microversion)

    # --- microversions

    @cached_property
    def _newest(self) -> tuple[int, int]:
        newest = self._api.max_microversion()
        if newest < FLOOR:
            raise Unreachable(
                f"compute API: Nova offers microversion {dotted(newest)} at most, "
                f"and {dotted(FLOOR)} is needed",
                "Use a cloud of the Train release or later",
            )
        return newest

    def _at(self, wanted: tuple[int, int]) -> str:
        return dotted(min(wanted, self._newest))


# --- from JSON to the model --------------------------------------------------------------


def dotted(version: tuple[int, int]) -> str:
    """A microversion as headers write it."""
    return f"{version[0]}.{version[1]}"


def exactly(name: str) -> str:
    """A filter of servers that lets this name through, and few others."""
    # The API takes a regular expression in the database's dialect; "." is in all of them.
    return "^" + re.sub(r"[^A-Za-z0-9_-]", ".", name) + "$"


def newest_first(migrations: Iterable[Migration]) -> tuple[Migration, ...]:
    """Sorted by id, the highest first."""
    return tuple(sorted(migrations, key=lambda migration: migration.id, reverse=True))


def service_from(raw: Json) -> Service:
    """A service of /os-services (2.53)."""
    return Service(
        id=raw["id"],
        host=raw["host"],
        enabled=raw["status"] == "enabled",
        up=raw["state"] == "up",
        forced_down=bool(raw.get("forced_down")),
        disabled_reason=raw.get("disabled_reason") or "",
        availability_zone=raw.get("zone") or "",
    )


def guest_from(raw: Json) -> Guest:
    """A server of servers/detail: what Nova itself knows, without ports, group or Placement."""
    flavor = raw["flavor"]
    image = raw.get("image") or {}
    root_gib = flavor["disk"] if image else 0
    return Guest(
        id=raw["id"],
        name=raw["name"],
        host=raw.get("OS-EXT-SRV-ATTR:host") or "",
        vm_state=raw.get("OS-EXT-STS:vm_state") or "",
        task_state=raw.get("OS-EXT-STS:task_state") or "",
        power_state=POWER_STATES.get(raw.get("OS-EXT-STS:power_state") or 0, "nostate"),
        project_id=raw.get("tenant_id") or "",
        vcpus=flavor["vcpus"],
        ram_mib=flavor["ram"],
        disk_gib=root_gib + (flavor.get("ephemeral") or 0) + -(-(flavor.get("swap") or 0) // 1024),
        extra_specs=dict(flavor.get("extra_specs") or {}),
        image_id=image.get("id") or "",
        image_properties={k: str(v) for k, v in (image.get("properties") or {}).items()},
        metadata=dict(raw.get("metadata") or {}),
        tags=tuple(raw.get("tags") or ()),
        boots_from_volume=not image,
        volumes=tuple(v["id"] for v in raw.get("os-extended-volumes:volumes_attached") or ()),
        config_drive=str(raw.get("config_drive") or "").lower() == "true",
        locked=bool(raw.get("locked")),
        availability_zone=raw.get("OS-EXT-AZ:availability_zone") or "",
        pinned_availability_zone=raw.get("pinned_availability_zone") or "",
        addresses=tuple(
            address["addr"]
            for _network, addresses in sorted((raw.get("addresses") or {}).items())
            for address in addresses
        ),
        flavor_name=flavor.get("original_name") or "",
    )


def migration_from(raw: Json) -> Migration:
    """A record of /os-migrations."""
    return Migration(
        id=raw["id"],
        uuid=raw["uuid"],
        guest_id=raw["instance_uuid"],
        kind=raw["migration_type"],
        status=raw["status"] or "",
        source=raw["source_compute"] or "",
        destination=raw["dest_compute"] or "",
        created_at=raw["created_at"] or "",
        updated_at=raw.get("updated_at") or "",
    )


def group_from(raw: Json) -> Group:
    """A server group (2.64)."""
    return Group(
        id=raw["id"],
        name=raw["name"],
        policy=raw["policy"],
        max_server_per_host=int((raw.get("rules") or {}).get("max_server_per_host", 1)),
        members=dict.fromkeys(raw["members"], ""),
    )


def cause_from(action: Json) -> str:
    """What the failed events of an instance action say, the last one that says anything."""
    failed = [e for e in action.get("events") or () if (e.get("result") or "").lower() == "error"]
    for event in sorted(failed, key=lambda e: e.get("finish_time") or "", reverse=True):
        if event.get("details"):
            return " ".join(event["details"].split())
        lines = (event.get("traceback") or "").strip().splitlines()
        if lines:
            return " ".join(lines[-1].split())
    return ""
