# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What all modules have in common: credentials, the connection, and how errors end a module.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import (
    IMPORT_ERROR,
    Session,
    sign_in,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.cloud import (
    OpenStackCloud,
    connect,
)
from ansible_collections.lowtide.compute.plugins.module_utils._host_module import HostTask, finish

#: The names, types and aliases of openstack.cloud's modules. Only what is secret in `auth` is
#: kept out of the output: a project's name would else be blotted out of every guest's name.
AUTH_SPEC: dict[str, Any] = {
    "cloud": {"type": "str"},
    "auth_type": {"type": "str"},
    "auth": {
        "type": "dict",
        "options": {
            "auth_url": {"type": "str"},
            "username": {"type": "str"},
            "user_id": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "user_domain_name": {"type": "str"},
            "user_domain_id": {"type": "str"},
            "project_name": {"type": "str"},
            "project_id": {"type": "str"},
            "project_domain_name": {"type": "str"},
            "project_domain_id": {"type": "str"},
            "domain_name": {"type": "str"},
            "domain_id": {"type": "str"},
            "default_domain_name": {"type": "str"},
            "default_domain_id": {"type": "str"},
            "system_scope": {"type": "str"},
            "trust_id": {"type": "str"},
            "token": {"type": "str", "no_log": True},
            "passcode": {"type": "str", "no_log": True},
            "application_credential_id": {"type": "str"},
            "application_credential_name": {"type": "str"},
            "application_credential_secret": {"type": "str", "no_log": True},
        },
    },
    "region_name": {"type": "str"},
    "validate_certs": {"type": "bool", "aliases": ["verify"]},
    "ca_cert": {"type": "str", "aliases": ["cacert"]},
    "client_cert": {"type": "str", "aliases": ["cert"]},
    "client_key": {"type": "str", "no_log": True, "aliases": ["key"]},
    "interface": {
        "type": "str",
        "choices": ["public", "internal", "admin"],
        "aliases": ["endpoint_type"],
    },
    "api_timeout": {"type": "int"},
}


class Task(HostTask):
    """One call of a module: its options, and what it needs from outside, made on first use."""

    @cached_property
    def session(self) -> Session:
        return sign_in(self.params)

    @cached_property
    def cloud(self) -> OpenStackCloud:
        return connect(self.session)


def run(spec: Mapping[str, Any], handle: Callable[[Task], dict[str, Any]], **rules: Any) -> None:
    """Build the module, let ``handle`` do its work, and end with its result or its error.

    ``spec``: the options besides those of authentication. ``rules``: AnsibleModule's other
    arguments. What ``handle`` returns as ``diff`` is left out unless it was asked for.
    """
    module = AnsibleModule({**AUTH_SPEC, **spec}, supports_check_mode=True, **rules)
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("openstacksdk>=4.6"), exception=IMPORT_ERROR)

    def work() -> dict[str, Any]:
        _refuse_secrets_in_cloud(module)
        return handle(Task(module.params, module.check_mode, module.warn))

    finish(module, work)


def _refuse_secrets_in_cloud(module: AnsibleModule) -> None:
    """A dictionary in `cloud`, which openstack.cloud takes, would show its password here."""
    cloud = module.params["cloud"] or ""
    if cloud.lstrip().startswith("{"):
        module.no_log_values.add(cloud)
        raise BadOption(
            "cloud",
            "{...}",
            "is a dictionary",
            "Give the name of a cloud in clouds.yaml, or use `auth` and `auth_type`",
        )
