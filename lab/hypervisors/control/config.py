# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services' configuration files, the same in every lab but for what a scenario says.

Nothing here depends on where a lab keeps its files: a machine has a root of its own, so the
paths are those of any installation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from lab import clouds as clouds_file
from lab.hypervisors.settings import CONTROL, CONTROL_ADDRESS, PASSWORD, REGION
from lab.ini import Ini, merged, render

STACK = PurePosixPath("/opt/stack")
SHIPPED = STACK / "etc"
PYTHON = f"{STACK}/bin/python"
# Where the lab's own programs are in a machine.
PROGRAMS = "/usr/local/lib/lab"
DATABASE_SOCKET = "/run/mysqld/mysqld.sock"
DATABASES = ("keystone", "placement", "glance", "neutron", "nova_api", "nova_cell0", "nova")
MESSAGES = f"rabbit://guest:guest@{CONTROL_ADDRESS}:5672/"
PORTS = {"keystone": 5000, "glance": 9292, "neutron": 9696, "nova-api": 8774, "placement": 8778}
IDENTITY_URL = f"http://{CONTROL_ADDRESS}:{PORTS['keystone']}/v3"
# Service name, type in the catalogue, URL; identity first.
CATALOGUE = (
    ("keystone", "identity", IDENTITY_URL),
    ("glance", "image", f"http://{CONTROL_ADDRESS}:{PORTS['glance']}"),
    ("neutron", "network", f"http://{CONTROL_ADDRESS}:{PORTS['neutron']}"),
    ("nova", "compute", f"http://{CONTROL_ADDRESS}:{PORTS['nova-api']}/v2.1"),
    ("placement", "placement", f"http://{CONTROL_ADDRESS}:{PORTS['placement']}"),
)
PHYSICAL_NETWORK = "phys"
OVN_PORTS = {"nb": 6641, "sb": 6642}
# Neutron's client deprecates itself, in three lines, with each call.
QUIET = "amqp=WARN,keystonemiddleware=WARN,neutronclient=ERROR,stevedore=CRITICAL,urllib3=WARN"
NOVA_CONF = "/etc/nova/nova.conf"
NOVA_CONF_DIR = "/etc/nova/nova.conf.d"
NOVA_LOG_DIR = "/var/log/nova"
NOVA_COMPUTE_LOG = f"{NOVA_LOG_DIR}/nova-compute.log"


def files() -> dict[str, str]:
    """Return the text of each file on the control machine, by path, without any scenario."""
    return {
        "/etc/keystone/keystone.conf": render(keystone(86400)),
        "/etc/placement/placement.conf": render(placement()),
        "/etc/glance/glance-api.conf": render(glance()),
        "/etc/neutron/neutron.conf": render(neutron()),
        NOVA_CONF: render(nova_control({})),
        "/etc/rabbitmq/no-plugins": "[].\n",
        "/etc/rabbitmq/lab.conf": (
            f"loopback_users = none\nlisteners.tcp.1 = {CONTROL_ADDRESS}:5672\n"
        ),
    }


def credentials(user: str) -> dict[str, Any]:
    """Return keystoneauth's options for a service user."""
    return {
        "auth_type": "password",
        "auth_url": IDENTITY_URL,
        "username": user,
        "password": PASSWORD,
        "user_domain_id": "default",
        "project_name": "service",
        "project_domain_id": "default",
        "region_name": REGION,
    }


def token_checks(user: str) -> Ini:
    """Return the sections by which a service checks tokens and vouches for itself."""
    return {
        "keystone_authtoken": {
            "www_authenticate_uri": IDENTITY_URL,
            "service_token_roles_required": True,
            "service_token_roles": "service",
            "interface": "internal",
            **credentials(user),
        },
        "service_user": {"send_service_user_token": True, **credentials(user)},
    }


def database(name: str) -> dict[str, Any]:
    """Return a database section; the socket, because everybody who asks is on this machine."""
    url = f"mysql+pymysql://root@localhost/{name}?unix_socket={DATABASE_SOCKET}&charset=utf8"
    return {"connection": url, "max_pool_size": 5}


def keystone(token_seconds: int) -> Ini:
    """Return keystone.conf."""
    return {
        "database": database("keystone"),
        "token": {"provider": "fernet", "expiration": token_seconds},
        "fernet_tokens": {"key_repository": "/etc/keystone/fernet-keys"},
        "fernet_receipts": {"key_repository": "/etc/keystone/fernet-keys"},
        "credential": {"key_repository": "/etc/keystone/credential-keys"},
        "identity": {"password_hash_rounds": 4},
        "cache": {"enabled": True, "backend": "dogpile.cache.memory"},
    }


def placement() -> Ini:
    """Return placement.conf."""
    return {
        "placement_database": database("placement"),
        "api": {"auth_strategy": "keystone"},
        **token_checks("placement"),
    }


def glance() -> Ini:
    """Return glance-api.conf: images are files."""
    state = PurePosixPath("/var/lib/glance")
    return {
        "DEFAULT": {
            "enabled_backends": "file:file",
            "enabled_import_methods": "[]",
            "worker_self_reference_url": f"http://{CONTROL_ADDRESS}:{PORTS['glance']}",
        },
        "paste_deploy": {
            "flavor": "keystone",
            "config_file": SHIPPED / "glance" / "glance-api-paste.ini",
        },
        "glance_store": {"default_backend": "file"},
        "file": {"filesystem_store_datadir": state / "images"},
        "os_glance_staging_store": {"filesystem_store_datadir": state / "staging"},
        "os_glance_tasks_store": {"filesystem_store_datadir": state / "tasks"},
        "database": database("glance"),
        "oslo_concurrency": {"lock_path": state / "lock"},
        **token_checks("glance"),
    }


def neutron() -> Ini:
    """Return neutron.conf: ML2 with OVN, and one physical network for the guests."""
    return {
        "DEFAULT": {
            "transport_url": MESSAGES,
            "core_plugin": "ml2",
            "service_plugins": "",
            "state_path": "/var/lib/neutron",
            "api_paste_config": SHIPPED / "neutron" / "api-paste.ini",
            "notify_nova_on_port_status_changes": True,
            "notify_nova_on_port_data_changes": True,
            "api_workers": 1,
            "rpc_workers": 0,
            # Nova waits for these events whenever it plugs a port; the default is 2 s.
            "send_events_interval": 1,
        },
        "ml2": {
            "type_drivers": "flat",
            "project_network_types": "flat",
            "mechanism_drivers": "ovn",
            "extension_drivers": "port_security",
            "overlay_ip_version": 4,
        },
        "ml2_type_flat": {"flat_networks": PHYSICAL_NETWORK},
        "ovn": {
            "ovn_nb_connection": f"tcp:{CONTROL_ADDRESS}:{OVN_PORTS['nb']}",
            "ovn_sb_connection": f"tcp:{CONTROL_ADDRESS}:{OVN_PORTS['sb']}",
            "ovn_metadata_enabled": False,
        },
        "database": database("neutron"),
        "quotas": {"quota_port": -1, "quota_network": -1, "quota_subnet": -1},
        "nova": {"endpoint_type": "internal", **credentials("nova")},
        "placement": credentials("placement"),
        "oslo_concurrency": {"lock_path": "/var/lib/neutron/lock"},
        **token_checks("neutron"),
    }


def nova_control(overrides: Mapping[str, Mapping[str, str]]) -> Ini:
    """Return nova.conf of the API, the conductor and the scheduler."""
    unlimited = ("instances", "cores", "ram", "server_groups", "server_group_members")
    sections = {
        **_nova(CONTROL, CONTROL_ADDRESS),
        "api": {"auth_strategy": "keystone", "response_validation": "ignore"},
        "wsgi": {"api_paste_config": SHIPPED / "nova" / "api-paste.ini"},
        "api_database": database("nova_api"),
        "database": database("nova"),
        "conductor": {"workers": 1},
        # Hosts map themselves, so that nobody has to start nova-manage for it.
        "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 2},
        "filter_scheduler": {
            "enabled_filters": "ComputeFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter,"
            "ServerGroupAntiAffinityFilter,ServerGroupAffinityFilter,NUMATopologyFilter,"
            "PciPassthroughFilter,AggregateInstanceExtraSpecsFilter"
        },
        "quota": dict.fromkeys(unlimited, -1),
    }
    return merged(sections, overrides)


def nova_compute(
    host: str,
    address: str,
    migration_address: str,
    virt_type: str,
    overrides: Mapping[str, Mapping[str, str]],
) -> Ini:
    """Return nova.conf of one hypervisor.

    How it migrates is left at Nova's own defaults, the scenario's `overrides` apart.
    """
    sections = _nova(host, address)
    sections["DEFAULT"].update(
        compute_driver="libvirt.LibvirtDriver",
        instances_path="/var/lib/nova/instances",
        reserved_host_memory_mb=0,
        reserved_host_disk_mb=0,
        cpu_allocation_ratio=16.0,
        ram_allocation_ratio=1.0,
        vif_plugging_timeout=60,
        log_file=NOVA_COMPUTE_LOG,
        # Nova 34 waits until these are over even when nothing is under way: 160 s by default.
        graceful_shutdown_timeout=6,
        manager_shutdown_timeout=3,
    )
    sections["libvirt"] = {
        "virt_type": virt_type,
        **_processor(virt_type),
        "hw_machine_type": "x86_64=q35",
        "images_type": "qcow2",
        "live_migration_scheme": "tcp",
        "live_migration_inbound_addr": migration_address,
        # Ten hot-plug ports per guest cost its kernel half a second of its start.
        "num_pcie_ports": 6,
        "mem_stats_period_seconds": 0,
    }
    switch = {"ovsdb_connection": "unix:/run/openvswitch/db.sock"}
    sections["os_vif_ovs"] = sections["vif_plug_ovs"] = switch
    # There is no sudo to go through: nova-compute is root.
    helper = f"{STACK}/bin/privsep-helper --config-file {NOVA_CONF} --config-dir {NOVA_CONF_DIR}"
    for context in ("nova_sys_admin", "vif_plug_ovs_privileged", "privsep_osbrick"):
        sections[context] = {"helper_command": helper}
    return merged(sections, overrides)


def _processor(virt_type: str) -> dict[str, Any]:
    if virt_type == "kvm":
        return {"cpu_mode": "host-passthrough"}
    return {"cpu_mode": "custom", "cpu_models": "qemu64"}


def _nova(host: str, address: str) -> Ini:
    """Return what every part of Nova is told."""
    return {
        "DEFAULT": {
            "host": host,
            "my_ip": address,
            "transport_url": MESSAGES,
            "state_path": "/var/lib/nova",
            "rpc_response_timeout": 60,
            "report_interval": 5,
            "service_down_time": 20,
            "periodic_fuzzy_delay": 3,
            "default_log_levels": QUIET,
        },
        "glance": {
            "api_servers": f"http://{CONTROL_ADDRESS}:{PORTS['glance']}",
            **credentials("nova"),
        },
        "neutron": credentials("neutron"),
        "placement": credentials("placement"),
        "vnc": {"enabled": False},
        "notifications": {"notification_format": "unversioned"},
        "oslo_messaging_notifications": {"driver": "noop"},
        "oslo_concurrency": {"lock_path": "/var/lib/nova/lock"},
        **token_checks("nova"),
    }


def clouds() -> str:
    """Return clouds.yaml for clients in the lab's network."""
    return clouds_file.document(IDENTITY_URL, PASSWORD, REGION)
