# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines and the network of one lab."""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from lab.backend import LabError
from lab.hypervisors.control.config import NOVA_LOG_DIR
from lab.hypervisors.fabric import (
    MANAGEMENT_BRIDGE,
    MIGRATION_BRIDGE,
    TENANT_BRIDGE,
    Cable,
    Fabric,
)
from lab.hypervisors.machine import Machine
from lab.hypervisors.settings import (
    CONTROL,
    CONTROL_ADDRESS,
    MAX_HOSTS,
    OBSERVER,
    OBSERVER_ADDRESS,
    OBSERVER_MANAGEMENT_ADDRESS,
    Settings,
    management_address,
    migration_address,
)


class Site:
    """Every machine of a lab, powered on or not.

    ``names``: the hosts, in the order of their numbers (from 1). ``layers``: the directories of
    a machine's root, the top one first, and ``control_layers`` (default: the same) those of the
    control machine's. ``binds``: directories of the real machine that every machine sees, by the
    path where it sees them; ``host_binds``: more of them for single hosts, by name. ``bare``:
    the hosts' interfaces on the migration network are left for them to set up.
    Attributes: ``control``, ``observer``, ``hosts`` (by name), ``fabric``, ``settings``.
    """

    def __init__(
        self,
        settings: Settings,
        names: Sequence[str],
        layers: Sequence[Path],
        binds: Mapping[str, Path] | None = None,
        control_layers: Sequence[Path] | None = None,
        host_binds: Mapping[str, Mapping[str, Path]] | None = None,
        bare: bool = False,
    ) -> None:
        if len(names) > MAX_HOSTS:
            raise LabError(f"hosts: {len(names)}; this backend numbers at most {MAX_HOSTS}")
        self.settings = settings
        self.fabric = Fabric(settings.run_dir)
        self._layers = tuple(layers)
        self._control_layers = tuple(control_layers or layers)
        self._binds = dict(binds or {})
        self._host_binds = {name: dict(own) for name, own in (host_binds or {}).items()}
        self._bare = bare
        self._numbers = {name: number for number, name in enumerate(names, 1)}
        self.control = self._machine(CONTROL, [Cable(MANAGEMENT_BRIDGE, CONTROL_ADDRESS)])
        self.observer = self._machine(
            OBSERVER,
            [
                Cable(MANAGEMENT_BRIDGE, OBSERVER_MANAGEMENT_ADDRESS),
                Cable(TENANT_BRIDGE, OBSERVER_ADDRESS),
            ],
        )
        self.hosts = {name: self._host(name, number) for name, number in self._numbers.items()}

    @classmethod
    def load(cls, settings: Settings) -> Site:
        """Return the site that `save` wrote down; raise LabError when there is none."""
        try:
            data = json.loads(settings.site_file.read_text())
        except FileNotFoundError:
            raise LabError(
                f"--state {settings.state}: no lab there; start one with `lab up`"
            ) from None
        return cls(
            settings,
            data["hosts"],
            [Path(path) for path in data["layers"]],
            _paths(data["binds"]),
            [Path(path) for path in data["control_layers"]],
            {name: _paths(own) for name, own in data["host_binds"].items()},
            data.get("bare", False),
        )

    def save(self) -> None:
        """Write down what the site is made of; an edit of the lab must not change a running one."""
        data = {
            "hosts": list(self._numbers),
            "layers": [str(path) for path in self._layers],
            "control_layers": [str(path) for path in self._control_layers],
            "binds": _texts(self._binds),
            "host_binds": {name: _texts(own) for name, own in self._host_binds.items()},
            "bare": self._bare,
        }
        self.settings.site_file.write_text(json.dumps(data, indent=1) + "\n")

    def _host(self, name: str, number: int) -> Machine:
        logs = self.settings.machines_dir / name / "log" / PurePosixPath(NOVA_LOG_DIR).name
        return self._machine(
            name,
            [
                Cable(MANAGEMENT_BRIDGE, management_address(number)),
                Cable(MIGRATION_BRIDGE, migration_address(number), self._bare),
                Cable(TENANT_BRIDGE),
            ],
            {NOVA_LOG_DIR: logs, **self._host_binds.get(name, {})},
        )

    def _machine(
        self, name: str, cables: Sequence[Cable], binds: Mapping[str, Path] | None = None
    ) -> Machine:
        return Machine(
            self.settings.machines_dir / name,
            cables[0].address,
            self._control_layers if name == CONTROL else self._layers,
            plug=functools.partial(self._plug, cables=cables),
            binds=self._binds | dict(binds or {}),
            systemd=name in self._numbers,
        )

    def _plug(self, machine: Machine, cables: Sequence[Cable]) -> None:
        self.fabric.plug(machine, cables)
        machine.write("/etc/hostname", f"{machine.name}\n")
        machine.write("/etc/hosts", self._hosts_file())
        machine.write("/etc/machine-id", f"{uuid.uuid5(uuid.NAMESPACE_DNS, machine.name).hex}\n")

    def _hosts_file(self) -> str:
        lines = ["127.0.0.1 localhost", f"{CONTROL_ADDRESS} {CONTROL}"]
        lines.append(f"{OBSERVER_MANAGEMENT_ADDRESS} {OBSERVER}")
        lines += [f"{management_address(n)} {name}" for name, n in self._numbers.items()]
        return "\n".join(lines) + "\n"

    def __iter__(self) -> Iterator[Machine]:
        return iter((self.control, self.observer, *self.hosts.values()))

    def receiving_address(self, machine: Machine) -> str:
        """Return where a host receives guests, before anybody configures another place."""
        return machine.address if self._bare else migration_address(self.number(machine.name))

    def number(self, name: str) -> int:
        """Return a host's number, from which its addresses follow."""
        return self._numbers[name]

    def machine(self, name: str) -> Machine:
        """Return a machine by name; raise LabError when there is none."""
        for machine in self:
            if machine.name == name:
                return machine
        known = ", ".join(machine.name for machine in self)
        raise LabError(f"{name}: no such machine; this lab has {known}")

    def start(self) -> None:
        """Make the network and power every machine on."""
        self.fabric.start()
        with ThreadPoolExecutor() as pool:
            list(pool.map(Machine.start, self))

    def stop(self) -> None:
        """Cut the power of every machine and take the network away."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(Machine.stop, self))
        self.fabric.stop()
        self.settings.forget_connections()


def _paths(binds: Mapping[str, str]) -> dict[str, Path]:
    return {inside: Path(outside) for inside, outside in binds.items()}


def _texts(binds: Mapping[str, Path]) -> dict[str, str]:
    return {inside: str(outside) for inside, outside in binds.items()}
