# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines for the tests of real hypervisors, which need root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hypervisors import guest, host, images
from lab.hypervisors.settings import Settings, migration_address
from lab.hypervisors.site import Site


@pytest.fixture(scope="session", autouse=True)
def root() -> None:
    """Namespaces and mounts are root's."""
    if os.geteuid() != 0:
        pytest.skip("real hypervisors need root")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two machines beside control and observer, powered on, without OpenStack."""
    settings = Settings.create(tmp_path_factory.mktemp("site"))
    settings.save()
    binds = {guest.IMAGE_DIR: images.guest().kernel.parent}
    made = Site(settings, ["cmp-1", "cmp-2"], [images.userland()], binds)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def hypervisors(site: Site) -> Site:
    """The same with libvirt and Open vSwitch on both hosts."""
    for name, machine in site.hosts.items():
        host.start_libvirt(machine, migration_address(site.number(name)))
        host.start_switch(machine)
    return site


def mounted_below(directory: Path) -> list[str]:
    """Return what the test's own mount namespace has mounted below a directory."""
    mounts = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [path for path in mounts if path.startswith(str(directory))]
