# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's network: three bridges in a namespace of their own, and a cable to each machine."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import processes
from lab.backend import LabError
from lab.hypervisors.machine import ENVIRONMENT, Machine
from lab.processes import Process

MANAGEMENT_BRIDGE = "mgmt"
MIGRATION_BRIDGE = "mig"
TENANT_BRIDGE = "ten"
BRIDGES = (MANAGEMENT_BRIDGE, MIGRATION_BRIDGE, TENANT_BRIDGE)
# What the migration network's switch carries, at most and unless it is told otherwise.
JUMBO_MTU = 9000
LEAST_MTU = 576
RATE_UNLIMITED = "off"
RATE = r"\d+(\.\d+)?[kmgt]?bit"
# Holds 25 ms at 1 Gbit/s: enough for the sender's bursts, too little to hide the rate.
BURST = "256kb"
QUEUE = "100ms"


@dataclass(frozen=True, slots=True)
class Cable:
    """A machine's interface: the bridge it leads to, which names it, and its address or "".

    ``bare``: it is plugged in, but down, for the machine itself to set up.
    """

    bridge: str
    address: str = ""
    bare: bool = False


class Fabric:
    """The bridges of one lab, in a namespace that a process without any task holds open."""

    def __init__(self, run_dir: Path) -> None:
        self._record = run_dir / "fabric.json"
        self._mtus = run_dir / "mtu.json"

    def start(self) -> None:
        """Make the namespace and the bridges; do nothing when they exist."""
        if self.running():
            return
        self._record.parent.mkdir(parents=True, exist_ok=True)
        holder = subprocess.Popen(
            ["unshare", "--net", "--", "sleep", "infinity"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        _wait_for_namespace(holder)
        started = processes.start_time(holder.pid)
        processes.record(self._record, [Process("fabric", holder.pid, started or -1)])
        commands = ["link set lo up"]
        for bridge in BRIDGES:
            commands += [f"link add {bridge} type bridge", f"link set {bridge} up"]
        commands.append(f"link set {MIGRATION_BRIDGE} mtu {JUMBO_MTU}")
        _ip(holder.pid, *commands)

    def stop(self) -> None:
        """Take the network away; the machines keep their ends of the cables, dead."""
        processes.stop(processes.recorded(self._record))
        self._record.unlink(missing_ok=True)
        self._mtus.unlink(missing_ok=True)

    def running(self) -> bool:
        """Tell whether the bridges exist."""
        return any(process.running for process in processes.recorded(self._record))

    def plug(self, machine: Machine, cables: Sequence[Cable]) -> None:
        """Give a machine that was just powered on its interfaces."""
        fabric, inside = self._pid(), machine.pid
        for cable in cables:
            far = _port(machine, cable.bridge)
            mtu = f"mtu {self._mtu(machine)}" if cable.bridge == MIGRATION_BRIDGE else ""
            # The far end of a machine that lost its power goes away in the kernel's own time.
            _ip(fabric, f"link del {far}", check=False)
            _ip(
                fabric,
                f"link add {far} {mtu} type veth peer name {cable.bridge} "
                f"address {_hardware_address(machine, cable.bridge)} netns {inside}",
                f"link set {far} master {cable.bridge} up",
            )
            if not cable.bare:
                commands = [f"link set {cable.bridge} up"]
                if cable.address:
                    commands.append(f"addr add {cable.address}/24 dev {cable.bridge}")
                _ip(inside, *commands)
            if cable.bridge == MIGRATION_BRIDGE and self._narrow():
                self._set_segmentation(machine)
            if cable.bridge == TENANT_BRIDGE:
                # The hosts' switches run in user space and complete no checksum.
                machine.run("ethtool", "--offload", cable.bridge, "tx", "off")

    def set_rate(self, machine: Machine, rate: str) -> None:
        """Limit what a host sends on the migration network: `1gbit`, `400mbit`, ... or `off`."""
        if rate != RATE_UNLIMITED and not re.fullmatch(RATE, rate):
            raise LabError(f"rate {rate!r}: write a rate such as 400mbit or 1gbit, or off")
        _tc(machine, "qdisc", "del", "dev", MIGRATION_BRIDGE, "root", check=False)
        if rate != RATE_UNLIMITED:
            limit = ("tbf", "rate", rate, "burst", BURST, "latency", QUEUE)
            _tc(machine, "qdisc", "add", "dev", MIGRATION_BRIDGE, "root", *limit)

    def set_mtu(self, machines: Sequence[Machine], mtu: int, every: Iterable[Machine]) -> None:
        """Have the switch drop what is larger than ``mtu`` bytes at the ports of some hosts.

        ``every``: all hosts that run. As long as any port is below the others, none of them may
        hand the switch segments for it to cut: those it would let through.
        """
        if not LEAST_MTU <= mtu <= JUMBO_MTU:
            raise LabError(f"mtu {mtu}: the switch carries {LEAST_MTU} to {JUMBO_MTU} bytes")
        known = self._known_mtus() | {machine.name: mtu for machine in machines}
        self._mtus.write_text(json.dumps(known) + "\n")
        for machine in every:
            port = _port(machine, MIGRATION_BRIDGE)
            _ip(self._pid(), f"link set {port} mtu {self._mtu(machine)}")
            self._set_segmentation(machine)

    def _mtu(self, machine: Machine) -> int:
        return self._known_mtus().get(machine.name, JUMBO_MTU)

    def _known_mtus(self) -> dict[str, int]:
        try:
            return json.loads(self._mtus.read_text())
        except FileNotFoundError:
            return {}

    def _set_segmentation(self, machine: Machine) -> None:
        word = "off" if self._narrow() else "on"
        machine.run("ethtool", "--offload", MIGRATION_BRIDGE, "tso", word, "gso", word)

    def _narrow(self) -> bool:
        return any(mtu < JUMBO_MTU for mtu in self._known_mtus().values())

    def _pid(self) -> int:
        for process in processes.recorded(self._record):
            if process.running:
                return process.pid
        raise LabError("the lab's network is not there; start the lab with `lab up`")


def _port(machine: Machine, bridge: str) -> str:
    """Return the name of the far end of a machine's cable."""
    return f"{machine.name}-{bridge}"[:15]


def _hardware_address(machine: Machine, bridge: str) -> str:
    """Return the address of an interface: the same after each power-on, as with real ones."""
    digest = hashlib.sha256(f"{machine.name}/{bridge}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def _wait_for_namespace(holder: subprocess.Popen[bytes]) -> None:
    own = os.readlink("/proc/self/ns/net")
    while holder.poll() is None:
        if os.readlink(f"/proc/{holder.pid}/ns/net") != own:
            return
    raise LabError("cannot make a network namespace; the lab needs root")


def _ip(namespace: int | None, *commands: str, check: bool = True) -> None:
    """Run commands of ip(8) in the network namespace of a process."""
    done = subprocess.run(
        ["nsenter", f"--target={namespace}", "--net", "--", "ip", "-batch", "-"],
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    if check and done.returncode:
        raise LabError(f"cannot make the lab's network: {done.stderr.strip()}")


def _tc(machine: Machine, *command: str, check: bool = True) -> None:
    done = subprocess.run(
        machine.argv("tc", *command, net_only=True),
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    if check and done.returncode:
        raise LabError(f"{machine.name}: cannot limit the rate: {done.stderr.strip()}")
