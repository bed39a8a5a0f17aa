# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two real hypervisors without OpenStack, and a way to run a module on one as Ansible does.

They need root. The first run builds the images, which takes minutes; they are kept in the cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.hypervisors import guest, host, images, ssh
from lab.hypervisors.machine import Machine
from lab.hypervisors.settings import Settings, migration_address
from lab.hypervisors.site import Site

ROOT = Path(__file__).parents[2]
BRIDGE = "br-phys"
BOOT_SECONDS, MODULE_SECONDS = 300, 400


@pytest.fixture(scope="session", autouse=True)
def root() -> None:
    """Namespaces and mounts are root's."""
    if os.geteuid() != 0:
        pytest.skip("real hypervisors need root")


@dataclass(frozen=True)
class Hypervisors:
    """The site, with libvirt, a switch and sshd on ``cmp-1`` and ``cmp-2``."""

    site: Site
    inventory: Path
    image: images.GuestImage

    def host(self, name: str) -> Machine:
        return self.site.hosts[name]

    def start(
        self, name: str, module: str, *settings: str, **arguments: Any
    ) -> subprocess.Popen[str]:
        """Begin to run a module on a host; ``ended`` has its result. ``settings``: ansible's."""
        command = ["ansible", name, f"--inventory={self.inventory}", "--one-line", *settings]
        command.append(f"--module-name=lowtide.compute.{module}")
        command += [f"--args={json.dumps(arguments)}"] if arguments else []
        return subprocess.Popen(
            self.site.control.argv(*command, net_only=True),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def run(self, name: str, module: str, *settings: str, **arguments: Any) -> dict[str, Any]:
        """The result of a module on a host."""
        return ended(self.start(name, module, *settings, **arguments))


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a module, and return its result."""
    out, err = process.communicate(timeout=MODULE_SECONDS)
    head, arrow, result = out.partition("=> ")
    assert arrow, f"no result: {out} {err}"
    return json.loads(result) | {"failed": "FAILED" in head}


@pytest.fixture(scope="session")
def hypervisors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hypervisors]:
    """Two hosts that run until the tests are over."""
    settings = Settings.create(tmp_path_factory.mktemp("hv"))
    settings.save()
    image = images.guest()
    binds = {guest.IMAGE_DIR: image.kernel.parent}
    site = Site(settings, ["cmp-1", "cmp-2"], [images.userland()], binds)
    try:
        site.start()
        key = ssh.make_key_pair(settings, site.control)
        for name, machine in site.hosts.items():
            host.start_libvirt(machine, migration_address(site.number(name)))
            host.start_switch(machine)
            machine.mkdir("/var/lib/nova/instances")
        for machine in site:
            ssh.start(machine, key)
        yield Hypervisors(site, ssh.write_inventory(site), image)
    finally:
        site.stop()


@dataclass(frozen=True)
class Vm:
    """A guest that answers at its address."""

    hypervisors: Hypervisors
    id: str
    name: str
    address: str

    def dirty(self, rate: int, working_set: int) -> None:
        """Write ``rate`` MiB/s over ``working_set`` MiB."""
        order = f"dirty {rate} {working_set}"
        guest.order(self.hypervisors.site.observer, self.address, order)

    def migrate(self, *options: str, to: str = "cmp-2") -> subprocess.Popen[str]:
        """Begin to migrate it as Nova does: from libvirt to libvirt, over the migration network."""
        target = self.hypervisors.host(to)
        over = migration_address(self.hypervisors.site.number(to))
        command = ["virsh", "migrate", "--live", "--p2p", "--undefinesource", *options, self.name]
        command += [f"qemu+tcp://{target.address}/system", f"tcp://{over}"]
        source = self.hypervisors.host("cmp-1" if to == "cmp-2" else "cmp-2")
        return subprocess.Popen(
            source.argv(*command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


@pytest.fixture
def vm(hypervisors: Hypervisors) -> Iterator[Vm]:
    """A guest of 256 MiB on cmp-1, over a migration network of 800 Mbit/s."""
    made = Vm(hypervisors, str(uuid.uuid4()), "g1", "10.88.0.99")
    first = hypervisors.host("cmp-1")
    image = hypervisors.image
    kind = guest.accelerator(hypervisors.site.observer, image)
    xml = guest.domain(
        made.name, made.address, image, accelerator=kind, bridge=BRIDGE, ram_mib=256
    ).replace("</name>", f"</name><uuid>{made.id}</uuid>")
    for machine in hypervisors.site.hosts.values():
        hypervisors.site.fabric.set_rate(machine, "800mbit")
    first.run("virsh", "create", "/dev/stdin", input=xml)
    try:
        # A connect that began before the guest did would be tried again later and later.
        attempt = f"timeout 1 bash -c 'exec 3<>/dev/tcp/{made.address}/{guest.AGENT_PORT}'"
        wait = f"until {attempt} 2>&-; do sleep .1; done"
        hypervisors.site.observer.run("/bin/sh", "-c", wait, timeout=BOOT_SECONDS)
        yield made
    finally:
        for machine in hypervisors.site.hosts.values():
            machine.run("virsh", "destroy", made.name, check=False)
