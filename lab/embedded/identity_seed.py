# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keystone's content: users, projects, roles and the catalogue, through its own managers."""

from __future__ import annotations

import uuid
from typing import Any

from keystone.cmd import bootstrap
from keystone.common import provider_api

from lab.embedded.settings import ENDPOINTS, PASSWORD, REGION, UNSERVED, placeholder_url

SERVICE_USERS = ("nova", "placement", "glance", "neutron", "cinder")
INTERFACES = ("public", "internal", "admin")


def seed() -> None:
    """Fill an empty, migrated Keystone database; endpoints get placeholder URLs."""
    seeder = bootstrap.Bootstrapper()
    seeder.admin_username = seeder.project_name = seeder.admin_role_name = "admin"
    seeder.admin_password = PASSWORD
    seeder.service_name = ENDPOINTS["identity"].service
    seeder.region_id = REGION
    url = placeholder_url("identity") + ENDPOINTS["identity"].path
    seeder.public_url = seeder.internal_url = seeder.admin_url = url
    seeder.bootstrap()

    providers = provider_api.ProviderAPIs
    domain = seeder.default_domain_id
    service_project = _create_project(providers, domain, "service")
    for name in SERVICE_USERS:
        roles = (seeder.admin_role_id, seeder.service_role_id)
        _create_user(providers, domain, name, service_project, roles)
    members = _create_project(providers, domain, "members")
    _create_user(providers, domain, "member", members, (seeder.member_role_id,))
    for name, endpoint in (ENDPOINTS | UNSERVED).items():
        if name != "identity":
            url = placeholder_url(name) + endpoint.path
            _register(providers, endpoint.service, endpoint.catalogue_type, url)


def _create_project(providers: Any, domain: str, name: str) -> str:
    project = {"id": uuid.uuid4().hex, "name": name, "domain_id": domain, "enabled": True}
    return providers.resource_api.create_project(project["id"], project)["id"]


def _create_user(
    providers: Any, domain: str, name: str, project: str, roles: tuple[str, ...]
) -> None:
    user = {"name": name, "domain_id": domain, "password": PASSWORD, "enabled": True}
    user_id = providers.identity_api.create_user(user)["id"]
    for role in roles:
        providers.assignment_api.add_role_to_user_and_project(user_id, project, role)


def _register(providers: Any, name: str, catalogue_type: str, url: str) -> None:
    service = {"id": uuid.uuid4().hex, "type": catalogue_type, "name": name, "enabled": True}
    providers.catalog_api.create_service(service["id"], service)
    for interface in INTERFACES:
        endpoint = {
            "id": uuid.uuid4().hex,
            "service_id": service["id"],
            "interface": interface,
            "url": url,
            "region_id": REGION,
            "enabled": True,
        }
        providers.catalog_api.create_endpoint(endpoint["id"], endpoint)
