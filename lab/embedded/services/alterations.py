# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rewrites an instance in Nova's database, to be what simulated hardware cannot make of it."""

from __future__ import annotations

from typing import Any

from nova import context as nova_context
from nova import objects
from nova.objects import fields
from oslo_utils import uuidutils

STATES = ("vm_state", "task_state", "power_state")
KEYS = ("extra_specs", "image_properties", "share", *STATES)


def alter(server: str, changes: dict[str, Any]) -> None:
    """Apply changes to a server, by UUID.

    `extra_specs` and `image_properties` are merged into the instance's own and into what the
    scheduler remembers of its request; `share` ({"share_id", "tag"}) is mapped as if attached;
    `vm_state`, `task_state` and `power_state` replace Nova's. Raises nova's InstanceNotFound,
    and ValueError for an unknown key.
    """
    unknown = sorted(set(changes) - set(KEYS))
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}; known: {', '.join(KEYS)}")
    context = nova_context.get_admin_context()
    instance = objects.Instance.get_by_uuid(
        context, server, expected_attrs=["flavor", "system_metadata"]
    )
    specs, properties = changes.get("extra_specs"), changes.get("image_properties")
    if specs or properties:
        _alter_request(context, instance, specs or {}, properties or {})
    if changes.get("share"):
        _map_share(context, server, changes["share"])
    for name in STATES:
        if name in changes:
            setattr(instance, name, changes[name])
    instance.save()


def _alter_request(
    context: Any, instance: Any, specs: dict[str, str], properties: dict[str, str]
) -> None:
    request = objects.RequestSpec.get_by_instance_uuid(context, instance.uuid)
    # New dictionaries: the objects do not notice a change inside of one.
    instance.flavor.extra_specs = {**instance.flavor.extra_specs, **specs}
    request.flavor.extra_specs = {**request.flavor.extra_specs, **specs}
    prefixed = {f"image_{name}": str(value) for name, value in properties.items()}
    instance.system_metadata = {**instance.system_metadata, **prefixed}
    # Volume-backed guests have no image to speak of, but their properties count just the same.
    request.image = objects.ImageMeta.from_instance(instance)
    request.save()


def _map_share(context: Any, server: str, share: dict[str, str]) -> None:
    mapping = objects.share_mapping.ShareMapping(context)
    mapping.uuid = uuidutils.generate_uuid()
    mapping.instance_uuid = server
    mapping.share_id = share["share_id"]
    mapping.tag = share.get("tag", "share")
    mapping.status = fields.ShareMappingStatus.ACTIVE
    mapping.export_location = f"127.0.0.1:/{share['share_id']}"
    mapping.share_proto = fields.ShareMappingProto.NFS
    mapping.create()
