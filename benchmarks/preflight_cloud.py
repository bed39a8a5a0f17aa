# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded cloud of the pre-flight's benchmark: guests come, are tried to be moved, and go."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import openstack
from openstack import exceptions
from preflight_populations import Wish

from ansible_collections.lowtide.compute.plugins.module_utils._errors import Refused
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.cloud import OpenStackCloud
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.nova import Nova

#: The first with `host` for new servers; later ones return nothing more that is needed here.
MICROVERSION = "2.74"
PATIENCE_SECONDS = 180.0
ENDED = ("completed", "error", "failed", "cancelled")
Row = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What Nova did with a guest: where it is now, and Nova's words if it did not move it."""

    host: str
    moved: bool
    words: str = ""


def topologies(hosts: Iterable[str]) -> dict[str, Row]:
    """Host -> its cells and devices, as Nova counts them now."""
    control = f"http://127.0.0.1:{int(os.environ['LAB_PORT_BASE']) + 999}"
    found = {}
    for host in hosts:
        with urllib.request.urlopen(f"{control}/hosts/{host}/topology", timeout=30) as answer:
            found[host] = json.load(answer)
    return found


def until(condition: Callable[[], Any], what: str) -> Any:
    """The condition's first true value; TimeoutError when there is none in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.3)
    return value


class Guests:
    """Makes guests and unmakes them."""

    def __init__(self) -> None:
        self._cloud = openstack.connect(cloud=os.environ["OS_CLOUD"])
        compute = self._cloud.compute
        (self._image,) = (image.id for image in self._cloud.image.images())
        (self._network,) = (network.id for network in self._cloud.network.networks())
        self._flavors = {flavor.name: flavor.id for flavor in compute.flavors()}
        self._group = ""

    def create(self, wishes: Iterable[Wish]) -> tuple[dict[str, str], list[str]]:
        """Create them; name -> id of those that Nova took, and the names of the others."""
        self._group = self._cloud.compute.create_server_group(
            name="apart", policy="anti-affinity"
        ).id
        for wish in wishes:
            self._post(wish)
        made = until(self._settled, "creating guests")
        for row in made:
            if row["status"] != "ACTIVE":
                self._cloud.compute.delete(f"/servers/{row['id']}")
        taken = {row["name"]: row["id"] for row in made if row["status"] == "ACTIVE"}
        until(lambda: len(self._list()) == len(taken), "deleting what could not be created")
        return taken, [wish.name for wish in wishes if wish.name not in taken]

    def clear(self) -> None:
        """Delete every guest, and their group."""
        for row in self._list():
            self._cloud.compute.delete(f"/servers/{row['id']}")
        until(lambda: not self._list(), "deleting guests")
        for group in self._cloud.compute.server_groups(all_projects=True):
            self._cloud.compute.delete_server_group(group)
        for port in self._cloud.network.ports():
            self._cloud.network.delete_port(port)

    def _post(self, wish: Wish) -> None:
        nics: Any = "none"
        if wish.direct_port:
            port = self._cloud.network.create_port(
                network_id=self._network, binding_vnic_type="direct"
            )
            nics = [{"port": port.id}]
        server = {
            "name": wish.name,
            "flavorRef": self._flavor(wish),
            "imageRef": self._image,
            "networks": nics,
        }
        if wish.host:
            server["host"] = wish.host
        body: Row = {"server": server}
        if wish.grouped:
            body["os:scheduler_hints"] = {"group": self._group}
        answer = self._cloud.compute.post("/servers", json=body, microversion=MICROVERSION)
        exceptions.raise_from_response(answer)

    def _flavor(self, wish: Wish) -> str:
        specs = sorted(wish.extra_specs.items())
        name = " ".join([f"{wish.vcpus} {wish.ram_mib}", *(f"{k}={v}" for k, v in specs)])
        if name not in self._flavors:
            compute = self._cloud.compute
            made = compute.create_flavor(name=name, vcpus=wish.vcpus, ram=wish.ram_mib, disk=0)
            if specs:
                compute.create_flavor_extra_specs(made, dict(specs))
            self._flavors[name] = made.id
        return self._flavors[name]

    def _list(self) -> list[Row]:
        answer = self._cloud.compute.get("/servers/detail?all_tenants=1", microversion="2.1")
        exceptions.raise_from_response(answer)
        return answer.json()["servers"]

    def _settled(self) -> list[Row]:
        rows = self._list()
        busy = any(row["status"] == "BUILD" for row in rows)
        return [] if busy else rows


def migrate(cloud: OpenStackCloud, nova: Nova, guest_id: str, host: str) -> Outcome:
    """Live migrate, and return once Nova is done with it, whatever came of it."""
    before = nova.guest(guest_id)
    known = {migration.id for migration in nova.migrations_of_guest(guest_id)}
    try:
        cloud.live_migrate(guest_id, host)
    except Refused as refusal:
        return Outcome(before.host, False, str(refusal))
    until(lambda: _ended(nova, guest_id, known), f"migrating {before.name}")
    after = until(lambda: _idle(nova, guest_id), f"{before.name} after its migration")
    moved = after.host != before.host
    return Outcome(after.host, moved, "" if moved else cloud.cause(guest_id))


def _ended(nova: Nova, guest_id: str, known: set[int]) -> bool:
    return any(
        migration.id not in known and migration.status in ENDED
        for migration in nova.migrations_of_guest(guest_id)
    )


def _idle(nova: Nova, guest_id: str) -> Any:
    guest = nova.guest(guest_id)
    return None if guest.task_state else guest
