# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nova-compute on a hypervisor of the lab."""

from __future__ import annotations

import signal
from pathlib import Path

from lab.hypervisors.control import config
from lab.hypervisors.control.services import COMPUTE
from lab.hypervisors.machine import Machine
from lab.ini import render
from lab.scenario import Scenario

SERVICE = COMPUTE.name
UNIT = f"{SERVICE}.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
# What has crashed shall be seen to have.
UNIT_TEXT = """\
[Unit]
Description=OpenStack Nova compute service
After=network.target libvirtd.service

[Service]
Type=simple
{environment}
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=no
StandardOutput=append:{log}
StandardError=append:{log}

[Install]
WantedBy=multi-user.target
"""
INSTANCES = "/var/lib/nova/instances"
DIRECTORIES = (INSTANCES, "/var/lib/nova/lock", config.NOVA_CONF_DIR)


def configure(machine: Machine, migration_address: str, virt_type: str, scenario: Scenario) -> None:
    """Write a hypervisor's nova.conf and the unit of its nova-compute, unless they are there.

    ``virt_type``: kvm or qemu. What lies in nova.conf.d is read after nova.conf.
    """
    if machine.path(UNIT_FILE).exists():
        return
    for directory in DIRECTORIES:
        machine.mkdir(directory)
    sections = config.nova_compute(
        machine.name, machine.address, migration_address, virt_type, scenario.nova
    )
    if scenario.pretend_hardware:
        own = scenario.host(machine.name)
        sets = {"cpu_dedicated_set": own.dedicated_cpus, "cpu_shared_set": own.shared_cpus}
        sections.setdefault("compute", {}).update(
            {option: value for option, value in sets.items() if value is not None}
        )
    machine.write(config.NOVA_CONF, render(sections))
    environment = "\n".join(
        f'Environment="{name}={value}"' for name, value in COMPUTE.environment.items()
    )
    command = " ".join(COMPUTE.command)
    machine.write(
        UNIT_FILE,
        UNIT_TEXT.format(environment=environment, command=command, log=config.NOVA_COMPUTE_LOG),
    )
    machine.systemctl("daemon-reload")
    # Its own log is where Nova's packages have it; here it is found beside the others.
    log = Path(config.NOVA_COMPUTE_LOG)
    machine.log_path(SERVICE).symlink_to(Path(log.parent.name) / log.name)


def start(machine: Machine) -> None:
    """Start nova-compute, unless it runs. libvirtd and Open vSwitch must be there."""
    if machine.service_pid(SERVICE) is None:
        machine.start_unit(SERVICE, UNIT)


def kill(machine: Machine) -> bool:
    """Kill nova-compute as a crash would; tell whether it ran. Its helpers follow it."""
    return machine.stop_service(SERVICE, signal.SIGKILL)
