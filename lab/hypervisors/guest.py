# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's guests: what runs them here, a domain without Nova, and orders to their agent."""

from __future__ import annotations

from pathlib import Path

from lab.backend import LabError
from lab.hypervisors.images import GuestImage
from lab.hypervisors.machine import Machine
from lab.paths import cache_dir

AGENT_PORT = 2323
# Where every machine sees the directory of the guest's kernel and initial ramdisk.
IMAGE_DIR = "/usr/share/lab-guest"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TRIAL_SECONDS = 8
SIGN_OF_LIFE = "guest: up"

DOMAIN = """\
<domain type='{accelerator}'>
  <name>{name}</name><memory unit='MiB'>{ram_mib}</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{images}/{kernel}</kernel><initrd>{images}/{initrd}</initrd>
    <cmdline>console=ttyS0 quiet lab.ip={address}/24</cmdline></os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact'><model>qemu64</model></cpu>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
    <interface type='bridge'><mac address='{mac}'/><source bridge='{bridge}'/>
      <virtualport type='openvswitch'/><model type='virtio'/><rom enabled='no'/></interface>
    <serial type='file'><source path='/var/log/libvirt/{name}.console'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
"""


def accelerator(machine: Machine, image: GuestImage) -> str:
    """Return `kvm` where a guest really runs under it, else `qemu` (emulation).

    A device that opens is not enough: some hypervisors offer KVM and run no guest in it. What is
    found is remembered until the real machine boots again.
    """
    known = cache_dir() / f"accelerator-{BOOT_ID.read_text().strip()}"
    if not known.exists():
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text("kvm" if _runs_under_kvm(machine, image) else "qemu")
    return known.read_text()


def _runs_under_kvm(machine: Machine, image: GuestImage) -> bool:
    if not machine.path("/dev/kvm").exists():
        return False
    trial = (
        f"timeout {TRIAL_SECONDS} qemu-system-x86_64 -accel kvm -m 128 -nodefaults -display none "
        f"-serial stdio -kernel {IMAGE_DIR}/{image.kernel.name} "
        f"-initrd {IMAGE_DIR}/{image.initrd.name} -append console=ttyS0 </dev/null 2>&1 "
        f"| grep -q -m 1 '{SIGN_OF_LIFE}'"
    )
    return machine.run("/bin/sh", "-c", trial, check=False).returncode == 0


def domain(
    name: str, address: str, image: GuestImage, *, accelerator: str, bridge: str, ram_mib: int = 192
) -> str:
    """Return the XML of a domain without a disk, at a fixed address on an Open vSwitch bridge."""
    # The observer remembers who has an address: a domain made again must be the same to it.
    mac = "52:54:00:88:{:02x}:{:02x}".format(*(int(part) for part in address.split(".")[2:]))
    return DOMAIN.format(
        accelerator=accelerator,
        name=name,
        address=address,
        mac=mac,
        bridge=bridge,
        ram_mib=ram_mib,
        images=IMAGE_DIR,
        kernel=image.kernel.name,
        initrd=image.initrd.name,
    )


def order(observer: Machine, address: str, line: str, timeout: float = 10.0) -> str:
    """Give one order to the agent of the guest at an address, and return its answer.

    Orders: `dirty RATE WORKING_SET` (MiB/s and MiB), `stop`, `status`. Raises LabError when the
    guest does not answer within ``timeout`` seconds, or refuses.
    """
    script = 'exec 3<>"/dev/tcp/$0/$1" && echo "$2" >&3 && head -n 1 <&3'
    try:
        done = observer.run(
            "/bin/bash", "-c", script, address, str(AGENT_PORT), line, timeout=timeout
        )
    except LabError as error:
        raise LabError(f"guest at {address}: gives no answer to {line!r}: {error}") from None
    answer = done.stdout.strip()
    if not answer or answer.startswith("error"):
        raise LabError(f"guest at {address}: refuses {line!r}: {answer or 'no answer'}")
    return answer
