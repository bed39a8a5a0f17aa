#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nova_host_info
short_description: What is on a compute host, and what it still holds
version_added: 1.0.0
description:
  - Reads a host's nova-compute service, its guests (also the soft-deleted ones that lists hide),
    their server groups, the migrations in flight from and to it, and what it still holds of
    guests that are elsewhere.
  - Costs a number of calls that does not grow with the number of guests.
extends_documentation_fragment:
  - lowtide.compute.auth
  - lowtide.compute.attributes
  - lowtide.compute.attributes.info
  - lowtide.compute.attributes.action_group
author:
  - The Lowtide authors (@lowtide)
options:
  host:
    description: Name of the compute host, exactly as Nova names it. Never a pattern.
    type: str
    required: true
seealso:
  - module: lowtide.compute.nova_drain_info
"""

EXAMPLES = r"""
- name: Look at a host
  lowtide.compute.nova_host_info:
    cloud: prod
    host: cmp-3
  delegate_to: localhost
  register: host

- name: Say what is there
  ansible.builtin.debug:
    msg: "{{ host.guests | map(attribute='name') | join(', ') }}"
"""

RETURN = r"""
service:
  description: The host's nova-compute service, as M(lowtide.compute.nova_compute_service) returns
    it.
  returned: success
  type: dict
  contains:
    id: {description: ID of the service., type: str}
    host: {description: Name of the compute host., type: str, sample: cmp-3}
    status: {description: V(enabled) or V(disabled)., type: str, sample: enabled}
    state: {description: "V(up) or V(down), as Nova sees it.", type: str, sample: up}
    forced_down: {description: Whether Nova was told that it is down., type: bool}
    disabled_reason: {description: Why it is disabled., type: str}
    availability_zone: {description: The host's availability zone., type: str, sample: nova}
    owner:
      description: Who disabled it, V(lowtide) or V(other); empty when it is enabled.
      type: str
    run_id: {description: The run of ours that disabled it., type: str}
guests:
  description: Every guest on the host, and those elsewhere whose unconfirmed resize it still
    holds, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: ID of the guest., type: str}
    name: {description: Its name., type: str, sample: web-01}
    host: {description: Where it is., type: str, sample: cmp-3}
    project_id: {description: ID of its project., type: str}
    vm_state: {description: Nova's vm_state., type: str, sample: active}
    task_state: {description: "Nova's task_state, empty when there is none.", type: str}
    power_state: {description: State of the domain., type: str, sample: running}
    locked: {description: Whether it is locked., type: bool}
    vcpus: {description: Number of virtual CPUs., type: int, sample: 2}
    ram_mib: {description: Memory in MiB., type: int, sample: 4096}
    disk_gib: {description: Local disks in GiB., type: int, sample: 10}
    boots_from_volume: {description: Whether its root disk is a volume., type: bool}
    volumes: {description: IDs of its volumes., type: list, elements: str}
    ports: {description: Its ports with their C(vnic_type)., type: list, elements: dict}
    config_drive: {description: Whether it has a config drive., type: bool}
    metadata: {description: Its metadata., type: dict}
    tags: {description: Its tags., type: list, elements: str}
    pinned_availability_zone:
      description: The zone that it must stay in; empty when there is none.
      type: str
    shares: {description: IDs of the Manila shares mapped into it., type: list, elements: str}
    group: {description: ID of its server group; empty when it is in none., type: str}
    alive:
      description: For guests in ERROR, whether the hypervisor runs them; null when unknown.
      type: bool
    resources:
      description: Its allocations in Placement, by resource class.
      type: dict
      sample: {MEMORY_MB: 4096, VCPU: 2}
groups:
  description: The server groups of these guests.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: ID of the group., type: str}
    name: {description: Its name., type: str}
    policy: {description: Its policy., type: str, sample: anti-affinity}
    max_server_per_host: {description: Its rule for anti-affinity., type: int, sample: 1}
    members:
      description: Host by guest ID; hosts elsewhere are empty for soft policies.
      type: dict
migrations:
  description: Migrations in flight from or to the host, newest first.
  returned: success
  type: list
  elements: dict
  contains: &migration
    id: {description: Number of the migration., type: int}
    uuid: {description: Its UUID., type: str}
    guest_id: {description: ID of the guest., type: str}
    kind: {description: "Nova's migration type.", type: str, sample: live-migration}
    status: {description: "Nova's status.", type: str, sample: running}
    source: {description: Where the guest comes from., type: str, sample: cmp-3}
    destination: {description: Where it goes; empty while undecided., type: str, sample: cmp-5}
    created_at: {description: When it was made (UTC)., type: str}
    updated_at: {description: When it last changed (UTC)., type: str}
unconfirmed:
  description: Resizes and cold migrations away from the host that nobody confirmed. The host still
    holds the guests' disks and allocations.
  returned: success
  type: list
  elements: dict
  contains: *migration
unknown_consumers:
  description: Consumers of allocations on the host in Placement that are neither its guests nor
    their migrations.
  returned: success
  type: list
  elements: str
msg:
  description: The numbers in one sentence.
  returned: always
  type: str
  sample: "cmp-3: enabled, up, 5 guests, 0 migrations in flight, 0 unconfirmed, 0 unknown consumers"
code:
  description: One word for what went wrong.
  returned: failure
  type: str
  sample: not_found
remedy:
  description: What to do about it.
  returned: failure
  type: str
"""

from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._module import Task, run
from ansible_collections.lowtide.compute.plugins.module_utils._options import exact_host
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import encode
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Guest,
    Scope,
    Survey,
)
from ansible_collections.lowtide.compute.plugins.module_utils._service import service_row

SPEC = {"host": {"type": "str", "required": True}}
GUEST_FIELDS = (
    "id",
    "name",
    "host",
    "project_id",
    "vm_state",
    "task_state",
    "power_state",
    "locked",
    "vcpus",
    "ram_mib",
    "disk_gib",
    "boots_from_volume",
    "volumes",
    "ports",
    "config_drive",
    "metadata",
    "tags",
    "pinned_availability_zone",
    "shares",
    "alive",
    "resources",
)


def handle(task: Task) -> dict[str, Any]:
    """One survey, as data."""
    host = exact_host(task.params["host"])
    service = service_row(task.cloud.service(host))
    result = described(task.cloud.survey(Scope(host=host)))
    return {
        "changed": False,
        "service": service,
        **result,
        "msg": (
            f"{host}: {service['status']}, {service['state']}, "
            f"{sum(guest['host'] == host for guest in result['guests'])} guests, "
            f"{len(result['migrations'])} migrations in flight, "
            f"{len(result['unconfirmed'])} unconfirmed, "
            f"{len(result['unknown_consumers'])} unknown consumers"
        ),
    }


def described(survey: Survey) -> dict[str, Any]:
    """The survey as RETURN documents it."""
    groups = {guest.group.id: guest.group for guest in survey.guests if guest.group}
    return {
        "guests": [
            row(guest) for guest in sorted(survey.guests, key=lambda guest: (guest.name, guest.id))
        ],
        "groups": [encode(groups[key]) for key in sorted(groups)],
        "migrations": [encode(m) for m in survey.migrations if m.in_flight],
        "unconfirmed": encode(survey.finished),
        "unknown_consumers": list(survey.unknown_consumers),
    }


def row(guest: Guest) -> dict[str, Any]:
    """One guest; its group by ID only, because it is listed on its own."""
    values = encode(guest)
    group = guest.group.id if guest.group else ""
    return {name: values[name] for name in GUEST_FIELDS} | {"group": group}


def main() -> None:
    run(SPEC, handle)


if __name__ == "__main__":
    main()
