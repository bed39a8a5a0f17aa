# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a machine a hypervisor: libvirt, and a switch that OVN programs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from lab.hypervisors.fabric import TENANT_BRIDGE
from lab.hypervisors.machine import Machine
from lab.hypervisors.settings import CONTROL_ADDRESS

LIBVIRT_PORT = 16509
LIBVIRT = "libvirtd"
LIBVIRT_UNIT = "libvirtd.service"
LIBVIRT_DROP_IN = f"/etc/systemd/system/{LIBVIRT_UNIT}.d/lab.conf"
LIBVIRT_SOCKETS = (
    "libvirtd.socket",
    "libvirtd-ro.socket",
    "libvirtd-admin.socket",
    "libvirtd-tcp.socket",
)
LIBVIRT_TLS_SOCKET = "libvirtd-tls.socket"
PHYSICAL_NETWORK = "phys"
CONTROLLER = "ovn-controller"
# Unit by the scenario's word for it.
NETWORK_MANAGERS = {
    "networkmanager": "NetworkManager.service",
    "networkd": "systemd-networkd.service",
    "netplan": "systemd-networkd.service",
}
# The lab's connection to the host and what belongs to Open vSwitch are nobody else's. A server
# does not ask for an address on whatever is plugged in.
NETWORKMANAGER_CONF = """\
[main]
no-auto-default=*

[keyfile]
unmanaged-devices=interface-name:mgmt;interface-name:ten;interface-name:br-*;interface-name:ovs-*;interface-name:tap*
"""
NETPLAN = """\
network:
  version: 2
  renderer: networkd
"""
DATABASE = "/etc/openvswitch/conf.db"
SOCKET = "/run/openvswitch/db.sock"

LIBVIRTD_CONF = """\
auth_tcp = "none"
auth_unix_rw = "none"
max_clients = 100
host_uuid = "{uuid}"
"""
# Debian's unit lets libvirtd end when nobody has asked it anything for two minutes, and starts it
# again when it crashes; here what has crashed shall be seen to have.
LIBVIRTD_UNIT_CONF = """\
[Service]
Environment=LIBVIRTD_ARGS={environment}
Restart=no
StandardOutput=append:{log}
StandardError=append:{log}
"""
# No security driver, device namespaces or control groups: the machine is a container itself. The
# consoles go to plain files because virtlogd, the alternative, is one more daemon per host.
QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
remember_owner = 0
stdio_handler = "file"
migration_address = "0.0.0.0"
migration_host = "{migration}"
shared_filesystems = [{shared}]
"""


# Netplan's own would start an Open vSwitch beside the lab's, to look for what it left there.
NO_CLEANUP = """\
[Service]
Type=oneshot
ExecStart=/bin/true
"""


def start_libvirt(
    machine: Machine,
    migration: str,
    shared: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> None:
    """Start libvirtd, listening on every network of the machine unless its sockets were changed.

    ``migration``: the address where it receives guests. ``shared``: directories that all hosts
    share; libvirt migrates a guest whose disks are there without copying them. ``env``: more of
    its environment.
    """
    if not machine.path(LIBVIRT_DROP_IN).exists():
        _configure_libvirt(machine, migration, shared, env or {})
    for path in shared:
        # libvirt looks once, when it starts, and forgets a directory that is not there.
        machine.mkdir(path)
    machine.start_unit(LIBVIRT, LIBVIRT_UNIT, *_enabled(machine))


def _enabled(machine: Machine) -> list[str]:
    """Return those of libvirtd's sockets on which it shall listen, which may change."""
    sockets = [*LIBVIRT_SOCKETS, LIBVIRT_TLS_SOCKET]
    words = machine.systemctl("is-enabled", *sockets, check=False).stdout.split()
    return [name for name, word in zip(sockets, words, strict=True) if word == "enabled"]


def _configure_libvirt(
    machine: Machine, migration: str, shared: Sequence[str], env: Mapping[str, str]
) -> None:
    """Write what libvirtd reads, once: what becomes of the files then is the machine's affair."""
    host_uuid = uuid.uuid5(uuid.NAMESPACE_DNS, machine.name)
    machine.write("/etc/libvirt/libvirtd.conf", LIBVIRTD_CONF.format(uuid=host_uuid))
    quoted = ", ".join(f'"{path}"' for path in shared)
    machine.write("/etc/libvirt/qemu.conf", QEMU_CONF.format(migration=migration, shared=quoted))
    environment = "".join(f" {name}={value}" for name, value in env.items())
    log = machine.inside_log_path(LIBVIRT)
    machine.write(LIBVIRT_DROP_IN, LIBVIRTD_UNIT_CONF.format(environment=environment, log=log))
    machine.systemctl("enable", "--quiet", *LIBVIRT_SOCKETS)


def start_network_manager(machine: Machine, kind: str) -> None:
    """Start what configures the host's migration interface, now and whenever the host boots.

    ``kind``: a key of NETWORK_MANAGERS, or "none". It has nothing to configure yet.
    """
    unit = NETWORK_MANAGERS.get(kind)
    if unit is None:
        return
    if machine.systemctl("is-enabled", unit, check=False).returncode:
        if kind == "networkmanager":
            machine.write("/etc/NetworkManager/conf.d/10-lab.conf", NETWORKMANAGER_CONF)
        if kind == "netplan":
            machine.write("/etc/netplan/00-lab.yaml", NETPLAN, mode=0o600)
        machine.write("/etc/systemd/system/netplan-ovs-cleanup.service", NO_CLEANUP)
        machine.systemctl("enable", "--quiet", unit)
    machine.start_unit(unit.removesuffix(".service"), unit)


def start_switch(machine: Machine) -> None:
    """Start Open vSwitch, in user space, with its bridges."""
    machine.mkdir("/run/openvswitch")
    if not machine.path(DATABASE).exists():
        machine.mkdir("/etc/openvswitch")
        schema = "/usr/share/openvswitch/vswitch.ovsschema"
        machine.run("ovsdb-tool", "create", DATABASE, schema)
    machine.spawn(
        "ovsdb-server",
        *("ovsdb-server", DATABASE, f"--remote=punix:{SOCKET}", "--remote=ptcp:6640:127.0.0.1"),
        *("--unixctl=/run/openvswitch/ovsdb-server.ctl", "--no-chdir"),
    )
    machine.wait_port(6640, "127.0.0.1")
    machine.run("ovs-vsctl", "--no-wait", *_switch_commands(machine))
    machine.spawn(
        "ovs-vswitchd",
        *("ovs-vswitchd", f"unix:{SOCKET}", "--disable-system", "--no-chdir"),
        "--unixctl=/run/openvswitch/ovs-vswitchd.ctl",
    )


def start_controller(machine: Machine) -> None:
    """Start the OVN controller, which programs the switch.

    The control plane must run: before OVN's southbound database has its first rows, the
    controller of OVN 23.03 dies of a segmentation fault more often than not.
    """
    machine.mkdir("/run/ovn")
    machine.spawn(CONTROLLER, "ovn-controller", f"unix:{SOCKET}", "--no-chdir")


def _switch_commands(machine: Machine) -> list[str]:
    options = {
        "system-id": machine.name,
        "hostname": machine.name,
        "ovn-remote": f"tcp:{CONTROL_ADDRESS}:6642",
        "ovn-encap-type": "geneve",
        "ovn-encap-ip": machine.address,
        "ovn-bridge-mappings": f"{PHYSICAL_NETWORK}:br-phys",
        "ovn-bridge-datapath-type": "netdev",
        "ovn-monitor-all": "true",
        "ovn-cms-options": "enable-chassis-as-gw",
    }
    commands = ["init", "--", "set", "open_vswitch", "."]
    commands += [f"external_ids:{key}={value}" for key, value in options.items()]
    commands += ["--", "--may-exist", "add-br", "br-phys"]
    commands += ["--", "set", "bridge", "br-phys", "datapath_type=netdev"]
    commands += ["--", "--may-exist", "add-port", "br-phys", TENANT_BRIDGE]
    commands += ["--", "--may-exist", "add-br", "br-int"]
    commands += ["--", "set", "bridge", "br-int", "datapath_type=netdev", "fail-mode=secure"]
    return commands
