# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated hypervisors of a lab: Nova's real libvirt driver over guests that obey physics.

The functions are those that the nova process and the control API call; one lab per process.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from unittest import mock

import nova.conf
from nova import service
from nova.compute import rpcapi
from nova.virt.libvirt import event as libvirt_event

from lab.embedded import compute_life, driver_patches, hardware
from lab.embedded.behaviour import Behaviours
from lab.embedded.compute_life import Endpoint, Life
from lab.embedded.migrator import STAGES, Migrator
from lab.embedded.physics import Fabric
from lab.embedded.services import nodes
from lab.embedded.simulated_libvirt import Connection
from lab.scenario import Host, Scenario

BYTES_S_PER_GBIT = 125_000_000


class Hypervisors:
    """Every host's libvirt and the nova-compute above it."""

    def __init__(self, scenario: Scenario) -> None:
        self.behaviours = Behaviours()
        nics = {
            host.name: (host.nic_gbit_s or scenario.migration_link_gbit_s) * BYTES_S_PER_GBIT
            for host in scenario.hosts
        }
        self.migrator = Migrator(Fabric(nics, time_scale=scenario.time_scale), self._on_stage)
        self.connections: dict[str, Connection] = {}
        for host in scenario.hosts:
            self.connections[host.name] = Connection(
                host, self.connections, self.migrator, self.behaviours
            )
        self._services: dict[str, tuple[Life, service.Service]] = {}
        self._armed: dict[str, str] = {}
        self._lock = threading.RLock()

    def start(self, host: str) -> service.Service:
        """Start a host's nova-compute, or return the one that is running."""
        with self._lock:
            if host in self._services:
                return self._services[host][1]
            life = Life(host)
            compute = _start_compute(life, self.connections[host])
            self._services[host] = life, compute
            return compute

    def crash(self, host: str, when: str) -> None:
        """Stop a host's nova-compute dead, now or at a stage of the next migration from it."""
        with self._lock:
            if when != "now":
                self._armed[host] = when
                return
            self._armed.pop(host, None)
            running = self._services.pop(host, None)
        if running is not None:
            _kill(*running)

    def set_behaviour(self, uuid: str, changes: dict[str, Any]) -> None:
        """Change how a guest behaves, from now on."""
        self.behaviours.update(uuid, changes)
        for connection in self.connections.values():
            for domain in connection.domains():
                if domain.uuid == uuid:
                    domain.reconsider()

    def domains(self) -> list[dict[str, str]]:
        """Return every domain on every host."""
        return [
            {
                "uuid": domain.uuid,
                "name": domain.name(),
                "host": connection.host,
                "state": domain.state,
            }
            for connection in self.connections.values()
            for domain in connection.domains()
        ]

    def _on_stage(self, host: str, stage: str) -> None:
        with self._lock:
            due = self._armed.get(host) == stage
        if due:
            self.crash(host, "now")


def _start_compute(life: Life, connection: Connection) -> service.Service:
    """Create and start a service all of whose threads belong to a life."""
    host = life.host

    def get_rpc_server(target: Any, endpoints: list[Any], serializer: Any) -> Any:
        bound = [Endpoint(endpoint, life) for endpoint in endpoints]
        return get_server(target, bound, serializer)

    get_server = service.rpc.get_server
    with (
        life.acting(),
        nodes.acting_for(host),
        mock.patch("nova.virt.libvirt.host.Host.get_connection", return_value=connection),
        mock.patch("nova.service.rpc.get_server", get_rpc_server),
    ):
        compute = service.Service.create(
            host=host,
            binary="nova-compute",
            topic=rpcapi.RPC_TOPIC,
            topic_alt=rpcapi.RPC_TOPIC_ALT,
        )
        compute.periodic_tasks = life.bind(compute.periodic_tasks)
        driver = compute.manager.driver
        driver._host.get_connection = lambda: connection
        connection.on_device_removed = _device_removed_notice(driver)
        compute.start()
        # It is read once, and the thread that needs it later acts for no host.
        driver._host.get_node_uuid()
    return compute


def _device_removed_notice(driver: Any) -> Any:
    def notice(uuid: str, alias: str) -> None:
        driver._device_event_handler.notify_waiters(libvirt_event.DeviceRemovedEvent(uuid, alias))

    return notice


def _kill(life: Life, compute: service.Service) -> None:
    """End a life, then silence what would only go on to fail."""
    life.end()
    for server in (compute.rpcserver, compute.rpcserver_alt):
        server.stop()
    compute.tg.stop()


_lab: Hypervisors | None = None


def prepare(scenario: Scenario, state_dir: Path) -> None:
    """Build a scenario's hypervisors; `state_dir` holds nothing of theirs."""
    global _lab
    compute_life.install()
    driver_patches.install(scenario.time_scale)
    _configure(scenario.hosts)
    _lab = Hypervisors(scenario)
    for connection in _lab.connections.values():
        driver_patches.sriov_addresses(connection.pci_info)


def _configure(hosts: tuple[Host, ...]) -> None:
    """Set what nova.conf must say for these hosts."""
    conf = nova.conf.CONF
    conf.set_override("snapshot_image_format", "raw", "libvirt")
    if hosts[0].shared_cpus:
        conf.set_override("cpu_shared_set", hosts[0].shared_cpus, "compute")
    if hosts[0].dedicated_cpus:
        conf.set_override("cpu_dedicated_set", hosts[0].dedicated_cpus, "compute")
    if any(host.vgpus for host in hosts):
        conf.set_override("enabled_mdev_types", [hardware.VGPU_TYPE], "devices")
        nova.conf.devices.register_dynamic_opts(conf)


def start(host: str) -> service.Service:
    """Start a host's nova-compute over the guests that are there; KeyError for an unknown host."""
    return _the_lab().start(host)


def crash(host: str, when: str = "now") -> None:
    """Stop a host's nova-compute dead: `now`, or at a stage of the next migration from it.

    Raises KeyError for an unknown host, ValueError for an unknown moment.
    """
    lab = _the_lab()
    if host not in lab.connections:
        raise KeyError(host)
    if when not in ("now", *STAGES):
        raise ValueError(f"when={when!r}: one of now, {', '.join(STAGES)}")
    lab.crash(host, when)


def domains() -> list[dict[str, str]]:
    """Return the truth: each domain's `uuid`, `name`, `host` and `state`."""
    return _the_lab().domains()


def jobs() -> list[dict[str, Any]]:
    """Return each running migration: `uuid`, `source`, `destination`, `phase`, figures."""
    return _the_lab().migrator.as_data()


def guests() -> dict[str, dict[str, Any]]:
    """Return the behaviour of each guest that was ever given one, by UUID."""
    return _the_lab().behaviours.as_data()


def set_behaviour(uuid: str, behaviour: dict[str, Any]) -> None:
    """Change a guest's figures; ValueError for one that is unknown or makes no sense."""
    _the_lab().set_behaviour(uuid, behaviour)


def _the_lab() -> Hypervisors:
    if _lab is None:
        raise RuntimeError("hypervisor.prepare() was not called")
    return _lab
