# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Nova's libvirt driver would do to a machine that is not there: disks, and the kernel."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import fixtures
from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.virt.libvirt import driver, imagebackend, utils
from nova.virt.libvirt import host as libvirt_host
from oslo_utils import fileutils

# A fixture patches until it is collected.
_in_use: list[fixtures.Fixture] = []
SNAPSHOT_BYTES = 1 << 16
# The migration monitor's naps get shorter with the lab's time, but each turn costs CPU.
_SHORTEST_NAP = 0.25


def install(time_scale: float) -> None:
    """Put the fixtures and the patches in place, for the whole process."""
    for fixture in (
        nova_fixtures.CGroupsFixture(version=2),
        nova_fixtures.LibvirtFixture(stub_amd_sev=False),
        nova_fixtures.OSBrickFixture(),
        nova_fixtures.PrivsepFixture(),
        fixtures.MockPatch("nova.privsep.utils.supports_direct_io", return_value=True),
    ):
        fixture.setUp()
        _in_use.append(fixture)
    driver.time = _LabTime(time_scale)
    _patch_disks()
    libvirt_host.Host._kernel_supports_amd_sev = _kernel_supports_amd_sev


class _LabTime:
    """The time module as the driver sees it: its clock runs as fast as the migrations."""

    def __init__(self, scale: float) -> None:
        self._scale = scale

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        """Return seconds of the lab's time."""
        return time.monotonic() * self._scale

    def sleep(self, seconds: float) -> None:
        """Sleep for seconds of the lab's time, within reason."""
        time.sleep(max(min(seconds, _SHORTEST_NAP), seconds / max(1.0, self._scale)))


def _patch_disks() -> None:
    libvirt_driver = driver.LibvirtDriver
    libvirt_driver._create_image = _create_image
    libvirt_driver._create_configdrive = _create_configdrive
    libvirt_driver._get_local_gb_info = _get_local_gb_info
    libvirt_driver.get_host_uptime = _get_host_uptime
    libvirt_driver._get_instance_disk_info_from_config = _no_disk_info
    libvirt_driver._live_snapshot = _live_snapshot
    imagebackend.Qcow2.snapshot_extract = _snapshot_extract


def _create_image(self: Any, context: Any, instance: Any, *_args: Any, **_kwargs: Any) -> Any:
    """Make the instance's directory, which migrations rename and look for, and nothing in it."""
    fileutils.ensure_tree(utils.get_instance_path(instance))
    return False, False


def _create_configdrive(
    self: Any, context: Any, instance: Any, injection_info: Any, rescue: bool = False
) -> None:
    if driver.configdrive.required_by(instance):
        name = "disk.config.rescue" if rescue else "disk.config"
        Path(utils.get_instance_path(instance), name).touch()


def _get_local_gb_info(self: Any) -> dict[str, float]:
    total = self._host.get_connection().scenario.disk_gib
    return {"total": total, "used": 0, "free": total}


def _get_host_uptime(self: Any) -> str:
    # Nova runs a command for it, with every look at the host's resources.
    return " 12:00:00 up 1 day,  0:00,  0 users,  load average: 0.00, 0.00, 0.00"


def _no_disk_info(self: Any, *_args: Any, **_kwargs: Any) -> list[Any]:
    return []


def _live_snapshot(
    self: Any, context: Any, instance: Any, guest: Any, disk_path: str, out_path: str, *_args: Any
) -> None:
    _snapshot_extract(None, out_path, "raw")


def _snapshot_extract(self: Any, target: str, out_format: str) -> None:
    Path(target).write_bytes(bytes(SNAPSHOT_BYTES))


def _kernel_supports_amd_sev(self: Any, model: str = "sev") -> bool:
    return model == "sev" and self.get_connection().scenario.sev


def sriov_addresses(devices: fakelibvirt.HostPCIDevicesInfo) -> None:
    """Let Nova find the MAC addresses of a host's functions."""
    for fixture in _in_use:
        if isinstance(fixture, nova_fixtures.LibvirtFixture):
            fixture.update_sriov_mac_address_mapping(devices.get_pci_address_mac_mapping())
