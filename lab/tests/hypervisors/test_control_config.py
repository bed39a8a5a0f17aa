# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the control plane is told, and which scenarios real hypervisors refuse."""

from __future__ import annotations

import configparser
import json

import pytest
import yaml

from lab import scenario
from lab.hypervisors import population
from lab.hypervisors.control import config, layers, services
from lab.hypervisors.settings import CONTROL_ADDRESS, PROJECT
from lab.ini import render

HOST = {
    "host": "cmp-1",
    "address": "10.77.0.11",
    "migration_address": "10.78.0.11",
    "virt_type": "qemu",
}


def compute(overrides=None, **changes):
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.read_string(render(config.nova_compute(**HOST | changes, overrides=overrides or {})))
    return parser


def test_how_a_host_migrates_is_left_to_nova():
    libvirt = compute()["libvirt"]
    told = {key for key in libvirt if key.startswith("live_migration")}
    assert told == {"live_migration_scheme", "live_migration_inbound_addr"}
    assert libvirt["live_migration_inbound_addr"] == "10.78.0.11"
    assert "max_concurrent_live_migrations" not in compute()["DEFAULT"]


def test_a_scenario_has_the_last_word():
    told = compute({"libvirt": {"live_migration_downtime": "900", "images_type": "raw"}})
    assert told["libvirt"]["live_migration_downtime"] == "900"
    assert told["libvirt"]["images_type"] == "raw"
    assert told["libvirt"]["virt_type"] == "qemu"


def test_the_processor_is_one_that_the_accelerator_has():
    assert compute()["libvirt"]["cpu_models"] == "qemu64"
    assert compute(virt_type="kvm")["libvirt"]["cpu_mode"] == "host-passthrough"


def test_only_the_control_machine_reaches_the_databases():
    assert not {"database", "api_database"} & set(compute().sections())
    assert {"database", "api_database"} <= set(config.nova_control({}))


def test_every_service_waits_for_services_that_start_before_it():
    known = set()
    for service in services.SERVICES:
        assert known.issuperset(service.needs), service.name
        known.add(service.name)


def test_the_catalogue_leads_to_the_ports_that_services_listen_on():
    listening = {service.port for service in services.SERVICES}
    for name, _kind, url in config.CATALOGUE:
        port = int(url.removeprefix(f"http://{CONTROL_ADDRESS}:").partition("/")[0])
        assert port in listening, name


def test_clients_find_the_identity_service():
    clouds = json.loads(config.clouds())["clouds"]
    assert {cloud["auth"]["auth_url"] for cloud in clouds.values()} == {config.IDENTITY_URL}


def test_the_images_depend_on_the_versions_but_not_on_where_the_project_is():
    stack, control = layers.stack_script(), layers.control_script()
    assert "nova==34.0.0" in stack
    assert "send_service_user_token" in control
    for script in (stack, control):
        assert str(PROJECT) not in script


def population_of(**changes):
    document = yaml.safe_load(scenario.shipped("hypervisors").read_text()) | changes
    return scenario.from_mapping(document)


def test_the_shipped_scenario_is_accepted():
    population.check(population_of())


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"hosts": [{"name": "cmp-1", "vgpus": 2}]}, "hosts[0].vgpus"),
        ({"hosts": [{"name": "cmp-1", "sriov_vfs": 2}]}, "hosts[0].sriov_vfs"),
        ({"volumes": [{"name": "disk"}]}, "volumes"),
        ({"networks": [{"name": "tenant"}]}, "networks[0].cidr"),
        ({"networks": [{"name": "a"}, {"name": "tenant"}]}, "networks"),
        ({"guests": [{"name": "x", "state": "rescued"}]}, "guests[x].state"),
        ({"guests": [{"name": "x", "faults": {"never_converges": True}}]}, "guests[x].faults"),
        ({"guests": [{"name": "x", "alter": {"task_state": "hung"}}]}, "guests[x].alter"),
        ({"guests": [{"name": "x", "resident_mib": 64}]}, "guests[x].resident_mib"),
        ({"guests": [{"name": "x", "working_set_mib": 150}]}, "guests[x].working_set_mib"),
        (
            {"api_faults": [{"service": "compute", "path": "/", "action": 500}]},
            "api_faults",
        ),
    ],
)
def test_what_real_hypervisors_cannot_do_is_refused(changes, key):
    if "hosts" in changes:
        changes = changes | {"guests": []}
    with pytest.raises(scenario.ScenarioError) as caught:
        population.check(population_of(**changes))
    assert caught.value.key == key
    assert caught.value.remedy
