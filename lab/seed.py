# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Creates a scenario's population in a running cloud, through its public APIs.

Seeding is idempotent: what exists by name is left, and every guest is led from the state it is
found in to the one it should have. One list call per round tells how all guests are.
"""

from __future__ import annotations

import collections
import dataclasses
import time
import urllib.error
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openstack
from keystoneauth1.exceptions import ClientException
from openstack import exceptions

from lab import seed_catalog, seed_plan
from lab.control_client import send
from lab.scenario import Guest, Host, Nic, Scenario
from lab.seed_catalog import Catalog, SeedError
from lab.seed_plan import ALTER, CREATE, DONE, LOCK, WAIT, Unreachable, View

COMPUTE_MICROVERSION = "2.100"
# The first that says whether a server is locked.
LIST_MICROVERSION = "2.9"
PAGE = 1000
WORKERS = 4
# Two attempts per action: the first may meet a guest that Nova has just started to work on.
ATTEMPTS = 2
STALL_SECONDS = 120.0
CALL_SECONDS = 300.0
# keystoneauth's own are no SDK exceptions: a connection refused, a token that expired.
FAILURES = (exceptions.SDKException, ClientException)
SHORTEST_PAUSE = 0.5
Say = Callable[[str], None]
Builder = Callable[[Any, Scenario, ThreadPoolExecutor], Catalog]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Summary:
    """What seeding did: guests by state, how many of them were created, and seconds."""

    scenario: str
    states: dict[str, int]
    created: int
    seconds: float

    def __str__(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        return (
            f"seeded {self.scenario}: {sum(self.states.values())} guests ({states or 'none'}), "
            f"{self.created} created, in {self.seconds:.1f} s"
        )


def seed(
    scenario: Scenario, clouds_file: Path, control_url: str, say: Say = print, cloud: str = "lab"
) -> Summary:
    """Create what the scenario describes and return a Summary, also given to ``say``.

    ``clouds_file`` is the lab's clouds.yaml, ``control_url`` the root of its control API.
    Raises SeedError naming each guest that did not reach its state, and why.
    """
    connection = connect(clouds_file, cloud)
    return populate(scenario, connection, Control(control_url), seed_catalog.build, say)


def populate(
    scenario: Scenario, connection: Any, control: Control, build: Builder, say: Say = print
) -> Summary:
    """Do as `seed`, in a cloud whose catalogue ``build`` creates.

    ``control`` does what no OpenStack API does: it gets a PUT of each guest's behaviour once it
    is created, and a POST of each host's crash.
    """
    started = time.monotonic()
    try:
        created = _seed(scenario, connection, control, build)
    except FAILURES as error:
        raise SeedError(f"seeding {scenario.name}: {error}") from error
    summary = Summary(
        scenario=scenario.name,
        states=dict(collections.Counter(guest.state for guest in scenario.guests)),
        created=created,
        seconds=time.monotonic() - started,
    )
    say(str(summary))
    return summary


def _seed(scenario: Scenario, connection: Any, control: Control, build: Builder) -> int:
    """Do it all, and return how many guests were created."""
    services = {s.host: s for s in connection.compute.services(binary="nova-compute")}
    missing = [host.name for host in scenario.hosts if host.name not in services]
    if missing:
        raise SeedError(
            f"the running cloud has no {', '.join(missing)}; "
            "start it with this scenario (`lab up --scenario FILE --restart`)"
        )
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="seed") as pool:
        catalog = build(connection, scenario, pool)
        population = _Population(connection, control, scenario, catalog, pool)
        population.run()
    _arm_hosts(connection, control, scenario.hosts, services)
    return population.created


def connect(clouds_file: Path, cloud: str = "lab") -> Any:
    """Return an SDK connection that calls itself lab-seed."""
    # Only the configuration takes the client's name; a Connection of a given one ignores it.
    config = openstack.config.OpenStackConfig(
        config_files=[str(clouds_file)], app_name="lab-seed", app_version="1"
    )
    region = config.get_one(cloud=cloud, api_timeout=CALL_SECONDS)
    region.config["compute_default_microversion"] = COMPUTE_MICROVERSION
    return openstack.connection.Connection(config=region)


class Control:
    """A client of the lab's control API, for what no OpenStack API does."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def put(self, path: str, body: dict[str, Any]) -> Any:
        """Send a PUT and return the decoded answer; raises SeedError."""
        return self._send("PUT", path, body)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send a POST and return the decoded answer; raises SeedError."""
        return self._send("POST", path, body)

    def _send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        try:
            return send(self._url, method, path, body)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace").strip()
            raise SeedError(f"control API: {method} {path}: {error.code}: {text}") from error
        except OSError as error:
            raise SeedError(f"control API: {method} {self._url}{path}: {error}") from error


def _arm_hosts(
    connection: Any, control: Control, hosts: Iterable[Host], services: dict[str, Any]
) -> None:
    """Disable services and set crashes to come; last, since the population needs its hosts."""
    for host in hosts:
        if not host.enabled and services[host.name].status == "enabled":
            connection.compute.disable_service(
                services[host.name], disabled_reason="disabled by the scenario"
            )
        if host.crash is not None:
            control.post(f"/hosts/{host.name}/crash", {"when": host.crash})


# --- guests --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Progress:
    """How far one guest is in this run."""

    guest: Guest
    server_id: str | None = None
    job: Future | None = None
    attempts: collections.Counter = field(default_factory=collections.Counter)
    step: str | Unreachable | None = None
    view: View | None = None
    altered: bool = False
    problem: str | None = None

    def describe(self) -> str:
        """Say what this guest is waiting for, in words."""
        if self.job is not None:
            return f"{self.step} does not return"
        if self.view is None:
            return "there is no such server"
        return f"status {self.view.status}, task {self.view.task_state}, on {self.view.host}"


class _Population:
    """Leads every guest to its state: list, decide, act, until nothing is left to do."""

    def __init__(
        self,
        connection: Any,
        control: Control,
        scenario: Scenario,
        catalog: Catalog,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._connection, self._compute = connection, connection.compute
        self._control, self._scenario = control, scenario
        self._catalog, self._pool = catalog, pool
        self.created = 0

    def run(self) -> None:
        """Return when every guest is in its state; raise SeedError naming those that are not."""
        everyone = [_Progress(guest) for guest in self._scenario.guests]
        self._register_existing(everyone)
        open_ = everyone
        moved = time.monotonic()
        while open_:
            began = time.monotonic()
            servers = self._list()
            changed = [self._advance(one, servers.get(one.guest.name)) for one in open_]
            open_ = [one for one in open_ if one.problem is None and one.step != DONE]
            now = time.monotonic()
            moved = now if any(changed) else moved
            if now - moved > STALL_SECONDS:
                for one in open_:
                    one.problem = f"no progress for {STALL_SECONDS:.0f} s; {one.describe()}"
                break
            if open_:
                # A list costs Nova more with every guest: leave it time to do the work, too.
                time.sleep(max(SHORTEST_PAUSE, 3 * (now - began)))
        problems = [f"{one.guest.name}: {one.problem}" for one in everyone if one.problem]
        if problems:
            raise SeedError(
                f"{len(problems)} guests not in their state:\n  " + "\n  ".join(problems)
            )

    def _register_existing(self, everyone: Iterable[_Progress]) -> None:
        servers = self._list()
        for one in everyone:
            server = servers.get(one.guest.name)
            if server is not None:
                self._register(one.guest, server["id"])

    def _list(self) -> dict[str, Row]:
        """Return every server by name; an old microversion leaves out what costs Nova most."""
        rows: list[Row] = []
        while True:
            query = {"all_tenants": "1", "soft_deleted": "1", "limit": PAGE}
            if rows:
                query["marker"] = rows[-1]["id"]
            answer = self._compute.get(
                "/servers/detail", params=query, microversion=LIST_MICROVERSION
            )
            exceptions.raise_from_response(answer)
            page = answer.json()["servers"]
            rows += page
            if len(page) < PAGE:
                return {row["name"]: row for row in rows}

    def _advance(self, one: _Progress, server: Row | None) -> bool:
        """Take a guest's next step, if it is free for one; return whether anything changed."""
        if one.job is not None:
            if not one.job.done():
                return False
            job, one.job = one.job, None
            one.problem = self._outcome(one, job)
            # The list is older than the action's end: decide on the next one.
            return True
        one.server_id = server["id"] if server else None
        view = _view(server) if server else None
        step = seed_plan.next_step(one.guest, view, one.altered)
        changed = (step, view) != (one.step, one.view)
        one.step, one.view = step, view
        if isinstance(step, Unreachable):
            one.problem = step.reason
        elif step not in (DONE, WAIT):
            one.attempts[step] += 1
            one.job = self._pool.submit(self._act, step, one)
        return changed

    def _outcome(self, one: _Progress, job: Future) -> str | None:
        """Return why an action makes its guest hopeless, or None."""
        error, tries = job.exception(), one.attempts[one.step]
        if error is None:
            self.created += one.step == CREATE
            return f"{one.step} done {tries} times without effect" if tries > ATTEMPTS else None
        if not isinstance(error, (*FAILURES, SeedError)):
            raise error
        again = isinstance(error, exceptions.ConflictException) and tries < ATTEMPTS
        return None if again else f"{one.step}: {error}"

    def _act(self, step: str, one: _Progress) -> None:
        guest, server = one.guest, one.server_id
        if step == CREATE:
            self._create(guest)
        elif step == ALTER:
            altered = seed_plan.alteration(guest)
            self._control.post(f"/servers/{server}/alter", _given(dataclasses.asdict(altered)))
            one.altered = True
        else:
            self._operate(step, guest, server)

    def _operate(self, step: str, guest: Guest, server: str | None) -> None:
        compute = self._compute
        operations: dict[str, Callable[[], Any]] = {
            "pause": lambda: compute.pause_server(server),
            "stop": lambda: compute.stop_server(server),
            "suspend": lambda: compute.suspend_server(server),
            "rescue": lambda: compute.rescue_server(server),
            "shelve": lambda: compute.shelve_server(server),
            "migrate": lambda: compute.migrate_server(server, host=guest.host),
            "live_migrate": lambda: self._live_migrate(guest, server),
            "reset_to_error": lambda: compute.reset_server_state(server, "error"),
            "soft_delete": lambda: compute.delete_server(server),
            LOCK: lambda: compute.lock_server(server),
        }
        operations[step]()

    def _live_migrate(self, guest: Guest, server: str | None) -> None:
        # The SDK's own call waits for the scheduler, and may force.
        answer = self._compute.post(
            f"/servers/{server}/action",
            json={"os-migrateLive": {"host": guest.destination, "block_migration": "auto"}},
            microversion=COMPUTE_MICROVERSION,
        )
        exceptions.raise_from_response(answer)

    def _create(self, guest: Guest) -> None:
        body: dict[str, Any] = {
            "name": guest.name,
            "flavor_id": self._catalog.flavors[guest.flavor],
            "networks": [self._port(guest, n, nic) for n, nic in enumerate(guest.networks)]
            or "none",
            "host": seed_plan.creation_host(guest),
            "availability_zone": guest.availability_zone,
            "config_drive": guest.config_drive or None,
            "metadata": dict(guest.metadata),
            "tags": list(guest.tags),
            "image_id": self._catalog.images[guest.image] if guest.image else None,
            "block_device_mapping": self._disks(guest),
        }
        if guest.group:
            body["scheduler_hints"] = {"group": self._catalog.groups[guest.group]}
        server = self._compute.create_server(**_given(body))
        self._register(guest, server.id)

    def _register(self, guest: Guest, server: str) -> None:
        self._control.put(f"/guests/{server}", self._scenario.behaviour(guest))

    def _port(self, guest: Guest, number: int, nic: Nic) -> dict[str, str]:
        network = self._catalog.networks[nic.network]
        if not nic.direct:
            return {"uuid": network}
        name = f"{guest.name}-{number}"
        found = next(iter(self._connection.network.ports(name=name)), None)
        port = found or self._connection.network.create_port(
            name=name, network_id=network, binding_vnic_type="direct"
        )
        return {"port": port.id}

    def _disks(self, guest: Guest) -> list[dict[str, Any]]:
        if guest.volume is None and not guest.volumes:
            return []
        disks: list[dict[str, Any]] = []
        if guest.image is not None:
            disks.append({
                "boot_index": 0, "uuid": self._catalog.images[guest.image],
                "source_type": "image", "destination_type": "local",
            })  # fmt: skip
        boot = [guest.volume] if guest.volume else []
        for name in (*boot, *guest.volumes):
            disks.append({
                "boot_index": 0 if name == guest.volume else -1,
                "uuid": self._catalog.volumes[name],
                "source_type": "volume", "destination_type": "volume",
            })  # fmt: skip
        return disks


def _view(row: Row) -> View:
    return View(
        status=row["status"],
        task_state=row["OS-EXT-STS:task_state"],
        host=row["OS-EXT-SRV-ATTR:host"],
        locked=row["locked"],
        launched=row["OS-SRV-USG:launched_at"] is not None,
        fault=row.get("fault", {}).get("message"),
    )


def _given(mapping: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is None or empty, so that the service's own default holds."""
    return {key: value for key, value in mapping.items() if value not in (None, [], {})}
