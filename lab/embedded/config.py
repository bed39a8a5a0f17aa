# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services' configuration files, from the lab's settings and its scenario."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import clouds
from lab.embedded.settings import PASSWORD, REGION, Settings
from lab.ini import Ini, merged, render

if TYPE_CHECKING:
    from lab.scenario import Scenario

# The wheels bring their paste files and the like as data files.
SHIPPED = Path(sys.prefix) / "etc"
SHARED_PHYSNET = "physnet0"
SRIOV_PHYSNET = "physnet1"
VF_IDS = {"vendor_id": "8086", "product_id": "1515"}
WHOLE_DEVICE_IDS = {"vendor_id": "8086", "product_id": "1533"}
PCI_ALIAS = "accel"
CONTROLLER = "lab-ctl"

DIRECTORIES = (
    "db etc log run requests lock images keystone/fernet-keys keystone/credential-keys "
    "nova/instances glance/staging glance/tasks neutron cinder"
).split()


def write(settings: Settings, scenario: Scenario | None = None) -> None:
    """Create the state directory's layout and every file of configuration in it."""
    for name in DIRECTORIES:
        (settings.state / name).mkdir(parents=True, exist_ok=True)
    files: dict[str, Ini] = {
        "keystone.conf": keystone(settings, scenario.token_seconds if scenario else 86400),
        "placement.conf": placement(settings),
        "glance-api.conf": glance(settings),
        "neutron.conf": neutron(settings),
        "cinder.conf": cinder(settings),
        "nova.conf": nova(settings, scenario),
    }
    for name, sections in files.items():
        (settings.etc / name).write_text(render(sections))
    auth_url = settings.url("identity") + "/v3"
    settings.clouds_file.write_text(clouds.document(auth_url, PASSWORD, REGION))


def credentials(settings: Settings, user: str) -> dict[str, Any]:
    """Return keystoneauth's options for a service user."""
    return {
        "auth_type": "password",
        "auth_url": settings.url("identity") + "/v3",
        "username": user,
        "password": PASSWORD,
        "user_domain_id": "default",
        "project_name": "service",
        "project_domain_id": "default",
        "region_name": REGION,
    }


def token_checks(settings: Settings, user: str) -> Ini:
    """Return the sections by which a service checks tokens and vouches for itself."""
    return {
        "keystone_authtoken": {
            "www_authenticate_uri": settings.url("identity"),
            "service_token_roles_required": True,
            "service_token_roles": "service",
            "interface": "internal",
            **credentials(settings, user),
        },
        "service_user": {"send_service_user_token": True, **credentials(settings, user)},
    }


def database(settings: Settings, name: str) -> dict[str, Any]:
    """Return a database section: nothing here must survive a power cut."""
    return {"connection": settings.database_url(name), "sqlite_synchronous": False}


def common(settings: Settings, service: str) -> dict[str, Any]:
    """Return the [DEFAULT] options that all services have."""
    return {"log_file": settings.log_dir / f"{service}.log"}


def keystone(settings: Settings, token_seconds: int) -> Ini:
    """Return keystone.conf."""
    keys = settings.state / "keystone"
    return {
        "DEFAULT": common(settings, "keystone"),
        "database": database(settings, "keystone"),
        "token": {"provider": "fernet", "expiration": token_seconds},
        "fernet_tokens": {"key_repository": keys / "fernet-keys"},
        "fernet_receipts": {"key_repository": keys / "fernet-keys"},
        "credential": {"key_repository": keys / "credential-keys"},
        "identity": {"password_hash_rounds": 4},
        "cache": {"enabled": True, "backend": "dogpile.cache.memory"},
    }


def placement(settings: Settings) -> Ini:
    """Return placement.conf."""
    return {
        "DEFAULT": common(settings, "placement"),
        "placement_database": database(settings, "placement"),
        "api": {"auth_strategy": "keystone"},
        **token_checks(settings, "placement"),
    }


def glance(settings: Settings) -> Ini:
    """Return glance-api.conf."""
    stores = settings.state / "glance"
    return {
        "DEFAULT": {
            **common(settings, "glance"),
            "enabled_backends": "file:file",
            "bind_host": "127.0.0.1",
            "enabled_import_methods": "[]",
            "worker_self_reference_url": settings.url("image"),
        },
        "paste_deploy": {
            "flavor": "keystone",
            "config_file": SHIPPED / "glance" / "glance-api-paste.ini",
        },
        "glance_store": {"default_backend": "file"},
        "file": {"filesystem_store_datadir": settings.state / "images"},
        "os_glance_staging_store": {"filesystem_store_datadir": stores / "staging"},
        "os_glance_tasks_store": {"filesystem_store_datadir": stores / "tasks"},
        "database": database(settings, "glance"),
        "oslo_concurrency": {"lock_path": settings.state / "lock"},
        **token_checks(settings, "glance"),
    }


def neutron(settings: Settings) -> Ini:
    """Return neutron.conf: ML2 with the lab's mechanism driver, no agents."""
    return {
        "DEFAULT": {
            **common(settings, "neutron"),
            "transport_url": "fake:/",
            "core_plugin": "ml2",
            "service_plugins": "",
            "state_path": settings.state / "neutron",
            "api_paste_config": SHIPPED / "neutron" / "api-paste.ini",
            "notify_nova_on_port_status_changes": True,
            "notify_nova_on_port_data_changes": True,
            "rpc_workers": 0,
            "dhcp_agent_notification": False,
            "send_events_interval": 1,
        },
        "ml2": {
            "type_drivers": "local,flat,vlan",
            "project_network_types": "local",
            "mechanism_drivers": "lowtide_lab",
            "extension_drivers": "",
        },
        "ml2_type_flat": {"flat_networks": "*"},
        "ml2_type_vlan": {
            "network_vlan_ranges": f"{SHARED_PHYSNET}:100:200,{SRIOV_PHYSNET}:100:200"
        },
        "database": database(settings, "neutron"),
        "quotas": {"quota_port": -1, "quota_network": -1, "quota_subnet": -1},
        "nova": {"endpoint_type": "internal", **credentials(settings, "nova")},
        "placement": credentials(settings, "placement"),
        "oslo_concurrency": {"lock_path": settings.state / "lock"},
        **token_checks(settings, "neutron"),
    }


def cinder(settings: Settings) -> Ini:
    """Return cinder.conf: one back end, `lab`, with nothing behind it."""
    shipped = SHIPPED / "cinder"
    return {
        "DEFAULT": {
            **common(settings, "cinder"),
            "transport_url": "fake:/",
            "auth_strategy": "keystone",
            "api_paste_config": shipped / "api-paste.ini",
            "state_path": settings.state / "cinder",
            "host": "lab",
            "enabled_backends": "lab",
            # The default makes the scheduler wait for 60 s before it serves.
            "scheduler_driver_init_wait_time": 1,
            "report_interval": 5,
            "resource_query_filters_file": shipped / "resource_filters.json",
            "glance_api_servers": settings.url("image"),
            "rootwrap_config": shipped / "rootwrap.conf",
            "quota_volumes": -1,
            "quota_gigabytes": -1,
            "quota_snapshots": -1,
        },
        "lab": {
            "volume_driver": "lab.embedded.services.cinder_driver.LabVolumeDriver",
            "volume_backend_name": "lab",
        },
        "database": database(settings, "cinder"),
        "nova": {"interface": "internal", **credentials(settings, "nova")},
        "oslo_concurrency": {"lock_path": settings.state / "lock"},
        **token_checks(settings, "cinder"),
    }


def nova(settings: Settings, scenario: Scenario | None) -> Ini:
    """Return nova.conf, with the scenario's overrides applied last."""
    sections: Ini = {
        "DEFAULT": _nova_default(settings),
        # Checking responses against their schemas only ever logs, and costs a third of the API.
        "api": {"auth_strategy": "keystone", "response_validation": "ignore"},
        "wsgi": {"api_paste_config": SHIPPED / "nova" / "api-paste.ini"},
        "api_database": database(settings, "nova_api"),
        "database": database(settings, "nova_cell1"),
        "libvirt": {
            "virt_type": "kvm",
            "cpu_mode": "none",
            "images_type": "qcow2",
            "live_migration_scheme": "tcp",
            # Nova's own default of 5 s would hide most of a short migration's progress.
            "live_migration_monitor_interval": 1,
        },
        "compute": {"cpu_shared_set": "", "cpu_dedicated_set": ""},
        "pci": _pci(),
        **_nova_scheduling(),
        **_nova_clients(settings),
        "vnc": {"enabled": False},
        "notifications": {"notification_format": "unversioned"},
        "oslo_messaging_notifications": {"driver": "noop"},
        "oslo_concurrency": {"lock_path": settings.state / "lock"},
        "key_manager": {
            "backend": "nova.keymgr.conf_key_mgr.ConfKeyManager",
            "fixed_key": "0" * 64,
        },
        **token_checks(settings, "nova"),
    }
    return merged(sections, scenario.nova if scenario else {})


def _nova_default(settings: Settings) -> dict[str, Any]:
    return {
        **common(settings, "nova"),
        "transport_url": "fake:/",
        "host": CONTROLLER,
        "my_ip": "127.0.0.1",
        "state_path": settings.state / "nova",
        "instances_path": settings.state / "nova" / "instances",
        "compute_driver": "libvirt.LibvirtDriver",
        "cpu_allocation_ratio": 16.0,
        "service_down_time": 12,
        "report_interval": 3,
        "periodic_fuzzy_delay": 3,
        # The resource tracker asks Placement for every instance of a host: at Nova's default
        # rate it was two thirds of the lab's work.
        "update_resources_interval": 300,
        "max_concurrent_live_migrations": 4,
        "vif_plugging_timeout": 30,
        "rootwrap_config": SHIPPED / "nova" / "rootwrap.conf",
        "running_deleted_instance_action": "noop",
    }


def _pci() -> dict[str, Any]:
    virtual_function = {**VF_IDS, "physical_network": SRIOV_PHYSNET}
    alias = {**WHOLE_DEVICE_IDS, "device_type": "type-PCI", "name": PCI_ALIAS}
    return {
        "device_spec": [json.dumps(virtual_function), json.dumps(WHOLE_DEVICE_IDS)],
        "alias": json.dumps(alias),
    }


def _nova_scheduling() -> Ini:
    filters = (
        "ComputeFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter,"
        "ServerGroupAntiAffinityFilter,ServerGroupAffinityFilter,NUMATopologyFilter,"
        "PciPassthroughFilter,AggregateInstanceExtraSpecsFilter"
    )
    unlimited = ("instances", "cores", "ram", "server_groups", "server_group_members")
    return {
        "filter_scheduler": {"enabled_filters": filters},
        "quota": dict.fromkeys(unlimited, -1),
    }


def _nova_clients(settings: Settings) -> Ini:
    return {
        "glance": {"api_servers": settings.url("image"), **credentials(settings, "nova")},
        "neutron": credentials(settings, "neutron"),
        "cinder": {
            "catalog_info": "block-storage:cinder:internalURL",
            **credentials(settings, "cinder"),
        },
        "placement": credentials(settings, "placement"),
        "manila": credentials(settings, "nova"),
        "keystone": {"region_name": REGION},
    }
