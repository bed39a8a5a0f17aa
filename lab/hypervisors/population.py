# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Creates a scenario's population on real hypervisors: what it can have, and how busy it is."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lab import seed, seed_catalog
from lab.backend import LabError
from lab.hypervisors import guest as guests
from lab.hypervisors import network
from lab.hypervisors.control.config import PHYSICAL_NETWORK
from lab.hypervisors.images import GuestImage
from lab.hypervisors.machine import Machine
from lab.hypervisors.settings import TENANT
from lab.scenario import Alteration, Guest, GuestFaults, Scenario, ScenarioError
from lab.seed_catalog import Catalog, SeedError

STATES = ("active", "paused", "shutoff", "error")
CIDR = TENANT.format("0/24")
# Nobody answers there, but OVN gives no leases in a network without a gateway.
GATEWAY = TENANT.format(1)
POOL = {"start": TENANT.format(50), "end": TENANT.format(250)}
KERNEL_IMAGE, INITRD_IMAGE = "lab-kernel", "lab-initrd"
IMAGE_PROPERTIES = {
    "os_command_line": "console=ttyS0 quiet",
    "hw_machine_type": "q35",
    "hw_vif_model": "virtio",
    "hw_disk_bus": "virtio",
    "hw_rng_model": "virtio",
}
OPEN_PROTOCOLS = ("icmp", "tcp", "udp")
# What a guest's kernel and its own programs take of its memory.
OVERHEAD_MIB = 96
AGENT_SECONDS = 300.0
CALL_SECONDS = 5.0
Armer = Callable[[str, str], None]


def create(
    scenario: Scenario,
    clouds_file: Path,
    control: Machine,
    observer: Machine,
    image: GuestImage,
    arm: Armer,
    say: seed.Say = print,
) -> seed.Summary:
    """Create what the scenario describes; every guest with an address then writes its memory.

    ``arm`` is called with a host and the moment of its next migration at which its nova-compute
    is to die. Raises ScenarioError for what this backend cannot do, SeedError for guests that do
    not reach their state or do not answer.
    """
    check(scenario)
    orders = _Orders(arm)

    def build(connection: Any, wanted: Scenario, pool: ThreadPoolExecutor) -> Catalog:
        return _build(connection, wanted, pool, image)

    def populate() -> tuple[seed.Summary, dict[str, str]]:
        connection = seed.connect(clouds_file)
        summary = seed.populate(scenario, connection, orders, build, say)
        return summary, addresses(connection)

    summary, known = network.call(control, populate)
    busy = {known[one.name]: one for one in scenario.guests if _is_busy(one) and one.name in known}
    with ThreadPoolExecutor(seed.WORKERS) as pool:
        jobs = [
            pool.submit(_set_load, observer, address, scenario.behaviour(one))
            for address, one in busy.items()
        ]
        problems = [str(error) for job in jobs if (error := job.exception()) is not None]
    if problems:
        raise SeedError(f"{len(problems)} guests do not answer:\n  " + "\n  ".join(problems))
    return summary


def addresses(connection: Any) -> dict[str, str]:
    """Return the first address of every server that has one, by the server's name."""
    found = {}
    for server in connection.compute.servers(all_projects=True):
        listed = [port["addr"] for ports in (server.addresses or {}).values() for port in ports]
        if listed:
            found[server.name] = listed[0]
    return found


# What this backend cannot do


def check(scenario: Scenario) -> None:
    """Raise ScenarioError for the first thing in a scenario that real hypervisors cannot have."""
    for number, host in enumerate(scenario.hosts):
        for key in ("huge_pages_2m", "pci_devices", "sriov_vfs", "vgpus", "sev"):
            _refuse(f"hosts[{number}].{key}", getattr(host, key), "the hosts have no such hardware")
    _refuse("volumes", scenario.volumes, "this backend runs no Cinder; leave volumes out")
    _refuse("api_faults", scenario.api_faults, "its APIs are the real ones and do not lie")
    _check_networks(scenario)
    for one in scenario.guests:
        _check_guest(scenario, one, f"guests[{one.name}]")


def _refuse(key: str, value: object, why: str) -> None:
    if value:
        remedy = f"not with real hypervisors: {why}; leave it out, or use the embedded backend"
        raise ScenarioError(key, value, remedy)


def _check_networks(scenario: Scenario) -> None:
    if len(scenario.networks) > 1:
        names = [one.name for one in scenario.networks]
        raise ScenarioError(
            "networks", names, "real hypervisors have one physical network: name one"
        )
    for number, one in enumerate(scenario.networks):
        _refuse(f"networks[{number}].sriov", one.sriov, "the hosts have no virtual functions")
        if one.cidr != CIDR:
            remedy = f"write {CIDR}, the lab's tenant network: the observer has {TENANT.format(2)}"
            raise ScenarioError(f"networks[{number}].cidr", one.cidr, remedy)


def _check_guest(scenario: Scenario, one: Guest, key: str) -> None:
    if one.state not in STATES:
        raise ScenarioError(f"{key}.state", one.state, f"choose one of: {', '.join(STATES)}")
    if one.alter not in (None, Alteration()):
        _refuse(f"{key}.alter", dataclasses.asdict(one.alter), "Nova's records are its own")
    if one.faults != GuestFaults():
        _refuse(f"{key}.faults", dataclasses.asdict(one.faults), "raise dirty_rate_mib_s instead")
    _refuse(f"{key}.resident_mib", one.resident_mib, "a guest has the pages that it touched")
    _refuse(f"{key}.alive", not one.alive, "write state: shutoff")
    behaviour, ram = scenario.behaviour(one), scenario.flavor(one.flavor).ram_mib
    most = ram - OVERHEAD_MIB
    if one.dirty_rate_mib_s and behaviour["working_set_mib"] > most:
        remedy = f"write at most {most}: the guest has {ram} MiB, and its system takes a part"
        raise ScenarioError(f"{key}.working_set_mib", behaviour["working_set_mib"], remedy)


# What guests are made of


def _build(
    connection: Any, scenario: Scenario, pool: ThreadPoolExecutor, image: GuestImage
) -> Catalog:
    """Create whatever is missing, the independent kinds side by side."""
    seed_catalog.ensure_aggregates(connection, scenario.hosts)
    images = pool.submit(_ensure_images, connection, scenario, image)
    flavors = pool.submit(seed_catalog.ensure_flavors, connection, scenario)
    groups = pool.submit(seed_catalog.ensure_groups, connection, scenario)
    networks = pool.submit(_ensure_networks, connection, scenario)
    return Catalog(flavors.result(), images.result(), networks.result(), {}, groups.result())


def _ensure_images(connection: Any, scenario: Scenario, image: GuestImage) -> dict[str, str]:
    """Every image of the scenario is an empty disk; all boot the lab's kernel and ramdisk."""
    known = {one.name: one.id for one in connection.image.images()}

    def ensure(name: str, disk_format: str, container: str, data: bytes, **more: str) -> str:
        if name not in known:
            made = connection.image.create_image(
                name=name, disk_format=disk_format, container_format=container,
                visibility="public", data=data, **more,
            )  # fmt: skip
            known[name] = made.id
        return known[name]

    boot = {
        "kernel_id": ensure(KERNEL_IMAGE, "aki", "aki", image.kernel.read_bytes()),
        "ramdisk_id": ensure(INITRD_IMAGE, "ari", "ari", image.initrd.read_bytes()),
    }
    for one in scenario.images:
        properties = {**IMAGE_PROPERTIES, **boot, **one.properties}
        ensure(one.name, "raw", "bare", bytes(one.size_mib * 1024 * 1024), **properties)
    return known


def _ensure_networks(connection: Any, scenario: Scenario) -> dict[str, str]:
    known = {one.name: one.id for one in connection.network.networks()}
    for one in scenario.networks:
        if one.name in known:
            continue
        made = connection.network.create_network(
            name=one.name, shared=True, provider_network_type="flat",
            provider_physical_network=PHYSICAL_NETWORK,
        )  # fmt: skip
        connection.network.create_subnet(
            network_id=made.id, name=one.name, ip_version=4, cidr=one.cidr,
            gateway_ip=GATEWAY, allocation_pools=[POOL],
        )  # fmt: skip
        known[one.name] = made.id
    _open_security_group(connection)
    return known


def _open_security_group(connection: Any) -> None:
    """Let the observer reach every guest: servers get the project's default group."""
    project = connection.current_project_id
    group = next(iter(connection.network.security_groups(name="default", project_id=project)))
    open_ = {
        rule["protocol"]
        for rule in group.security_group_rules
        if rule["direction"] == "ingress" and rule["remote_group_id"] is None
    }
    for protocol in OPEN_PROTOCOLS:
        if protocol not in open_:
            connection.network.create_security_group_rule(
                security_group_id=group.id, direction="ingress", ethertype="IPv4",
                protocol=protocol,
            )  # fmt: skip


# What guests do


class _Orders:
    """What the embedded backend's control API is asked for while it is populated."""

    def __init__(self, arm: Armer) -> None:
        self._arm = arm

    def put(self, path: str, body: dict[str, Any]) -> None:
        """Take note of a guest's behaviour: nothing to do before the guest runs."""

    def post(self, path: str, body: dict[str, Any]) -> None:
        """Arm a host's crash; nothing else gets past `check`."""
        _empty, _hosts, host, _crash = path.split("/")
        self._arm(host, body["when"])


def _is_busy(one: Guest) -> bool:
    return one.state == "active" and one.dirty_rate_mib_s > 0


def _set_load(observer: Machine, address: str, behaviour: dict[str, Any]) -> None:
    """Have a guest write memory as soon as its agent answers."""
    line = f"dirty {behaviour['dirty_rate_mib_s']:g} {behaviour['working_set_mib']}"
    deadline = time.monotonic() + AGENT_SECONDS
    while True:
        try:
            guests.order(observer, address, line, timeout=CALL_SECONDS)
            return
        except LabError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
