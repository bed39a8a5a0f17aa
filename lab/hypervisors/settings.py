# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a lab of real hypervisors keeps its files, and how its machines are addressed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.backend import LabError
from lab.state import MARKER

BACKEND = "hypervisors"
PROJECT = Path(__file__).resolve().parents[2]
REGION = "RegionOne"
PASSWORD = "secret"

CONTROL = "ctl"
OBSERVER = "obs"
MANAGEMENT = "10.77.0.{}"
MIGRATION = "10.78.0.{}"
TENANT = "10.88.0.{}"
CONTROL_ADDRESS = MANAGEMENT.format(2)
OBSERVER_MANAGEMENT_ADDRESS = MANAGEMENT.format(3)
OBSERVER_ADDRESS = TENANT.format(2)
MAX_HOSTS = 80
# A colon separates overlay layers, a comma mount options; the rest have a meaning in the
# configuration files of the services.
FORBIDDEN_IN_PATHS = ":,\\$?#%\"' \n"


def management_address(number: int) -> str:
    """Return the address of host `number` (from 1) on the management network."""
    return MANAGEMENT.format(10 + number)


def migration_address(number: int) -> str:
    """Return the address of host `number` (from 1) on the migration network."""
    return MIGRATION.format(10 + number)


@dataclass(frozen=True, slots=True)
class Settings:
    """A lab's state directory (absolute)."""

    state: Path

    @classmethod
    def create(cls, state: Path | str) -> Settings:
        """Check the directory's name; raise LabError with the remedy when it cannot be used."""
        path = Path(os.path.abspath(os.path.expanduser(state)))
        bad = sorted(set(str(path)) & set(FORBIDDEN_IN_PATHS))
        if bad:
            raise LabError(
                f"--state {path}: the path contains {' '.join(map(repr, bad))}; "
                "choose a directory without"
            )
        return cls(path)

    def save(self) -> None:
        """Mark the state directory as this backend's."""
        self.state.mkdir(parents=True, exist_ok=True)
        (self.state / MARKER).write_text(json.dumps({"backend": BACKEND}) + "\n")

    @property
    def site_file(self) -> Path:
        """What the machines are made of."""
        return self.state / "site.json"

    @property
    def machines_dir(self) -> Path:
        """One directory per machine: what it wrote (upper), its logs, its processes."""
        return self.state / "machines"

    @property
    def shared_dir(self) -> Path:
        """The guests' disks, in a lab whose hosts share them."""
        return self.state / "shared"

    @property
    def hardware_dir(self) -> Path:
        """What hosts pretend to consist of, one directory per host."""
        return self.state / "hardware"

    @property
    def run_dir(self) -> Path:
        """Records of what runs beside the machines."""
        return self.state / "run"

    @property
    def log_dir(self) -> Path:
        """Logs of what runs beside the machines."""
        return self.state / "log"

    @property
    def ssh_dir(self) -> Path:
        """The lab's own key pair, the hosts' keys and the known_hosts file."""
        return self.state / "ssh"

    @property
    def control_dir(self) -> Path:
        """The sockets of kept connections: not in the state, for a path holds 107 bytes at most."""
        digest = hashlib.sha256(str(self.state).encode()).hexdigest()[:10]
        return Path(tempfile.gettempdir()) / f"lab-{digest}"

    def make_control_dir(self) -> None:
        """Make it anew; fails for one that somebody else put there."""
        self.forget_connections()
        self.control_dir.mkdir(mode=0o700)

    def forget_connections(self) -> None:
        """Remove the sockets of kept connections."""
        shutil.rmtree(self.control_dir, ignore_errors=True)

    @property
    def scenario_file(self) -> Path:
        """The scenario this lab was started with, as it was then."""
        return self.state / "scenario.yml"

    @property
    def clouds_file(self) -> Path:
        """The clouds.yaml for clients inside the lab's network."""
        return self.state / "clouds.yaml"

    @property
    def inventory_file(self) -> Path:
        """The Ansible inventory of the hosts and the observer."""
        return self.state / "inventory.yml"
