# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a lab keeps its files and which ports it listens on."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from lab.backend import LabError
from lab.state import MARKER

PROJECT = Path(__file__).resolve().parents[2]
# What Python must find in order to find the lab's entry points.
PLUGINS = Path(__file__).resolve().parent / "plugins"
DEFAULT_PORT_BASE = 18000
REGION = "RegionOne"
PASSWORD = "secret"
# oslo.config expands $, SQLAlchemy's URLs give ?, # and % a meaning.
FORBIDDEN_IN_PATHS = "$?#%\"'\n"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One listening service: its process, its place in the catalogue, its port's offset."""

    service: str
    catalogue_type: str
    offset: int
    path: str = ""


ENDPOINTS: dict[str, Endpoint] = {
    "identity": Endpoint("keystone", "identity", 0, "/v3"),
    "image": Endpoint("glance", "image", 292),
    "network": Endpoint("neutron", "network", 696),
    "compute": Endpoint("nova", "compute", 774, "/v2.1"),
    "volume": Endpoint("cinder", "block-storage", 776, "/v3/%(project_id)s"),
    "placement": Endpoint("placement", "placement", 778),
}
# Nova's share support asks the catalogue for this type; nobody listens there.
UNSERVED = {"share": Endpoint("manila", "shared-file-system", 786, "/v2")}
CONTROL_OFFSET = 999
SERVICES = tuple(endpoint.service for endpoint in ENDPOINTS.values())


@dataclass(frozen=True, slots=True)
class Settings:
    """A lab's state directory (absolute) and the first of its ports."""

    state: Path
    port_base: int = DEFAULT_PORT_BASE

    @classmethod
    def create(cls, state: Path | str, port_base: int = DEFAULT_PORT_BASE) -> Settings:
        """Check both values; raise LabError with the remedy when one cannot be used."""
        path = Path(os.path.abspath(os.path.expanduser(state)))
        bad = sorted(set(str(path)) & set(FORBIDDEN_IN_PATHS))
        if bad:
            raise LabError(
                f"--state {path}: the path contains {' '.join(map(repr, bad))}; "
                "choose a directory without"
            )
        if not 1024 <= port_base <= 65535 - CONTROL_OFFSET:
            raise LabError(
                f"--port-base {port_base}: must be between 1024 and {65535 - CONTROL_OFFSET}"
            )
        return cls(path, port_base)

    @classmethod
    def load(cls, state: Path | str) -> Settings:
        """Read what `save` wrote; raise LabError when DIR holds no lab."""
        path = Path(os.path.abspath(os.path.expanduser(state)))
        try:
            data = json.loads((path / MARKER).read_text())
        except FileNotFoundError:
            raise LabError(f"--state {path}: no lab there; start one with `lab up`") from None
        return cls(path, int(data["port_base"]))

    @classmethod
    def load_or_default(cls, state: Path | str) -> Settings:
        """Read what `save` wrote, or return what a lab that never ran would have."""
        path = Path(os.path.abspath(os.path.expanduser(state)))
        return cls.load(path) if (path / MARKER).exists() else cls(path)

    def save(self) -> None:
        """Mark the state directory as this lab's."""
        data = {"backend": "embedded", "port_base": self.port_base}
        (self.state / MARKER).write_text(json.dumps(data) + "\n")

    def port(self, name: str) -> int:
        """Return the port of an endpoint, by its name here (`identity`, `compute`, ...)."""
        return self.port_base + (ENDPOINTS.get(name) or UNSERVED[name]).offset

    def url(self, name: str) -> str:
        """Return an endpoint's base URL, without the version's path."""
        return f"http://127.0.0.1:{self.port(name)}"

    @property
    def control_port(self) -> int:
        """Port of the control API, which does what no OpenStack API does."""
        return self.port_base + CONTROL_OFFSET

    @property
    def control_url(self) -> str:
        """Base URL of the control API."""
        return f"http://127.0.0.1:{self.control_port}"

    def all_ports(self) -> dict[str, int]:
        """Return every port that the lab listens on, by name."""
        return {name: self.port(name) for name in ENDPOINTS} | {"control": self.control_port}

    @property
    def etc(self) -> Path:
        """Configuration files."""
        return self.state / "etc"

    @property
    def log_dir(self) -> Path:
        """Logs: `<service>.log` by the service, `<service>.out` its output."""
        return self.state / "log"

    @property
    def run_dir(self) -> Path:
        """Process records and the services' marks of readiness."""
        return self.state / "run"

    @property
    def process_file(self) -> Path:
        """The record of the lab's processes."""
        return self.run_dir / "processes.json"

    @property
    def request_dir(self) -> Path:
        """Request logs, one file of JSON lines per service."""
        return self.state / "requests"

    @property
    def database_dir(self) -> Path:
        """The services' SQLite databases."""
        return self.state / "db"

    @property
    def faults_file(self) -> Path:
        """API fault rules that every service obeys."""
        return self.state / "faults.json"

    @property
    def scenario_file(self) -> Path:
        """The scenario this lab was started with, as it was then."""
        return self.state / "scenario.yml"

    @property
    def clouds_file(self) -> Path:
        """The clouds.yaml for clients."""
        return self.state / "clouds.yaml"

    def database_url(self, name: str) -> str:
        """Return the SQLAlchemy URL of a database; writers wait 60 s for each other."""
        return f"sqlite:///{self.database_dir}/{name}.sqlite?timeout=60"


def placeholder_url(name: str) -> str:
    """Return what stands for an endpoint's scheme, address and port in the template."""
    return f"http://{name}.lab.invalid"
