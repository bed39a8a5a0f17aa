# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an operator reaches the machines: sshd on each, one key pair, an Ansible inventory."""

from __future__ import annotations

from pathlib import Path

import yaml

from lab.hypervisors.machine import Machine
from lab.hypervisors.settings import Settings
from lab.hypervisors.site import Site

SERVICE = "sshd"
UNIT = "ssh.service"
PORT = 22
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
SSHD_CONFIG = f"""\
HostKey {HOST_KEY}
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 100:30:200
Subsystem sftp internal-sftp
"""


def make_key_pair(settings: Settings, machine: Machine) -> str:
    """Make the lab's key pair unless it exists, and return its public half."""
    private, public = key_file(settings), key_file(settings).with_suffix(".pub")
    if not public.exists():
        # The real machine need not have ssh-keygen.
        _keygen(machine, "/tmp/lab_key", "lab")
        settings.ssh_dir.mkdir(parents=True, exist_ok=True)
        private.touch(mode=0o600)
        private.write_text(machine.path("/tmp/lab_key").read_text())
        public.write_text(machine.path("/tmp/lab_key.pub").read_text())
    return public.read_text()


def start(machine: Machine, public_key: str) -> None:
    """Start sshd; the key's owner may log in as root."""
    if not machine.path(HOST_KEY).exists():
        _keygen(machine, HOST_KEY, machine.name)
    machine.write("/etc/ssh/sshd_config", SSHD_CONFIG)
    machine.write("/root/.ssh/authorized_keys", public_key, mode=0o600)
    if machine.systemd:
        machine.start_unit(SERVICE, UNIT)
    else:
        machine.mkdir("/run/sshd")
        machine.spawn(SERVICE, "/usr/sbin/sshd", "-D", "-e")


def write_inventory(site: Site) -> Path:
    """Write the inventory and the known_hosts file of the running machines; return the first."""
    settings = site.settings
    settings.make_control_dir()
    known = settings.ssh_dir / "known_hosts"
    machines = [*site.hosts.values(), site.observer]
    known.write_text(
        "".join(
            f"{machine.name},{machine.address} {machine.path(HOST_KEY + '.pub').read_text()}"
            for machine in machines
            if machine.running()
        )
    )
    for machine in machines:
        if machine.running():
            _let_out(machine, key_file(settings).read_text(), known.read_text())
    hosts = {machine.name: {"ansible_host": machine.address} for machine in site.hosts.values()}
    observer = {site.observer.name: {"ansible_host": site.observer.address}}
    # Kept connections are named by address, and each lab has the same ones. Not Ansible's own
    # variable for their directory: testinfra does not heed it.
    kept = f"-o ControlPath={settings.control_dir}/%C"
    options = f"-o UserKnownHostsFile={known} -o IdentitiesOnly=yes {kept}"
    inventory = {
        "all": {
            "children": {"compute": {"hosts": hosts}, "observer": {"hosts": observer}},
            "vars": {
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(key_file(settings)),
                "ansible_ssh_common_args": options,
                "ansible_pipelining": True,
                "ansible_python_interpreter": "/usr/bin/python3",
            },
        }
    }
    text = "# Works from inside the lab's network: lab exec --net-only ctl -- COMMAND\n"
    settings.inventory_file.write_text(text + yaml.safe_dump(inventory, sort_keys=False))
    return settings.inventory_file


def _let_out(machine: Machine, private_key: str, known_hosts: str) -> None:
    """Let root of a machine into the others: Nova copies disks so when a stopped guest moves."""
    machine.write("/root/.ssh/id_ed25519", private_key, mode=0o600)
    machine.write("/root/.ssh/known_hosts", known_hosts)


def key_file(settings: Settings) -> Path:
    """Return the private key with which the machines let one in."""
    return settings.ssh_dir / "id_ed25519"


def _keygen(machine: Machine, path: str, comment: str) -> None:
    machine.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path)
