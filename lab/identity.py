# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keystone's content: users, projects, roles and the catalogue, through its own managers.

This file imports nothing of the lab: it also runs where only OpenStack is installed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, NamedTuple

from keystone.cmd import bootstrap
from keystone.common import provider_api

SERVICE_USERS = ("nova", "placement", "glance", "neutron", "cinder")
INTERFACES = ("public", "internal", "admin")


class Service(NamedTuple):
    """One entry of the catalogue: its name, its type there, and its URL with the path."""

    name: str
    catalogue_type: str
    url: str


def seed(identity: Service, others: Iterable[Service], password: str, region: str) -> None:
    """Fill an empty, migrated Keystone database; every user gets the same password."""
    seeder = bootstrap.Bootstrapper()
    seeder.admin_username = seeder.project_name = seeder.admin_role_name = "admin"
    seeder.admin_password = password
    seeder.service_name = identity.name
    seeder.region_id = region
    seeder.public_url = seeder.internal_url = seeder.admin_url = identity.url
    seeder.bootstrap()

    providers = provider_api.ProviderAPIs
    domain = seeder.default_domain_id

    def create_user(name: str, project: str, roles: tuple[str, ...]) -> None:
        user = {"name": name, "domain_id": domain, "password": password, "enabled": True}
        user_id = providers.identity_api.create_user(user)["id"]
        for role in roles:
            providers.assignment_api.add_role_to_user_and_project(user_id, project, role)

    service_project = _create_project(providers, domain, "service")
    for name in SERVICE_USERS:
        create_user(name, service_project, (seeder.admin_role_id, seeder.service_role_id))
    create_user("member", _create_project(providers, domain, "members"), (seeder.member_role_id,))
    for service in others:
        _register(providers, service, region)


def _create_project(providers: Any, domain: str, name: str) -> str:
    project = {"id": uuid.uuid4().hex, "name": name, "domain_id": domain, "enabled": True}
    return providers.resource_api.create_project(project["id"], project)["id"]


def _register(providers: Any, entry: Service, region: str) -> None:
    service = {
        "id": uuid.uuid4().hex,
        "type": entry.catalogue_type,
        "name": entry.name,
        "enabled": True,
    }
    providers.catalog_api.create_service(service["id"], service)
    for interface in INTERFACES:
        endpoint = {
            "id": uuid.uuid4().hex,
            "service_id": service["id"],
            "interface": interface,
            "url": entry.url,
            "region_id": region,
            "enabled": True,
        }
        providers.catalog_api.create_endpoint(endpoint["id"], endpoint)
