#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: libvirt_migration_info
short_description: Which guests libvirt has on a hypervisor, and how their migrations go
version_added: 1.0.0
description:
  - Reads, on a hypervisor, which domains libvirt has and in which state, the migrations that leave
    it with live figures, what libvirt still knows of migrations that ended, and whose files lie
    in Nova's directory of instances although they have no domain there.
  - Disturbs nothing. Nova reads the statistics of ended migrations too, and still finds them.
  - With O(dirty_rate_seconds) it has QEMU measure how fast running guests write their memory.
extends_documentation_fragment:
  - lowtide.compute.libvirt
  - lowtide.compute.attributes
  - lowtide.compute.attributes.info
  - lowtide.compute.attributes.hypervisor_group
author:
  - The Lowtide authors (@lowtide)
options:
  ids:
    description: IDs of the guests to tell of. Without it, of all.
    type: list
    elements: str
    default: []
  instances_path:
    description: Nova's C(instances_path).
    type: path
    default: /var/lib/nova/instances
  instances_shared:
    description:
      - Whether other hosts use O(instances_path) too. Then guests of theirs have directories in
        it, and nothing can be said of leftovers.
      - Without it, that is taken from the type of the file system and from Nova's own list of the
        hosts that use it (C(compute_nodes) in that directory), which Nova writes within an hour.
    type: bool
  dirty_rate_seconds:
    description:
      - Seconds for which QEMU watches the memory of each running guest that does not migrate; 0 to
        60, with 0 it is not measured. Guests are measured at the same time.
      - QEMU looks at a sample of the pages and counts those that changed at least once. A guest
        that writes the same pages again and again shows less the longer it is watched; 1 is best.
    type: int
    default: 0
seealso:
  - module: lowtide.compute.libvirt_migrate_tune
"""

EXAMPLES = r"""
- name: See what libvirt has on a hypervisor
  lowtide.compute.libvirt_migration_info:
  become: true
  register: found

- name: Say whose files are left behind
  ansible.builtin.debug:
    msg: "{{ found.leftovers }}"

- name: Measure how fast the guests write their memory
  lowtide.compute.libvirt_migration_info:
    dirty_rate_seconds: 1
  become: true
  register: measured
"""

RETURN = r"""
domains:
  description: The domains on the hypervisor, running or only defined, by name.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: "UUID of the domain, which is the ID of Nova's guest.", type: str}
    name: {description: "Libvirt's name of it.", type: str, sample: instance-0000002a}
    state:
      description: Its state, as Nova words power states. V(running), V(paused), V(shutdown),
        V(crashed), V(suspended) or V(nostate).
      type: str
      sample: running
    job:
      description: Its migration. V(none), V(incoming) or V(outgoing).
      type: str
      sample: none
    dirty_rate_mib_s:
      description: MiB of memory that it wrote a second, null when that was not measured.
      type: int
      sample: 37
jobs:
  description: Migrations that leave the hypervisor now.
  returned: success
  type: list
  elements: dict
  contains: &figures
    id: {description: ID of the guest., type: str}
    name: {description: "Libvirt's name of it.", type: str, sample: instance-0000002a}
    total_ms: {description: Milliseconds since it began., type: int, sample: 8421}
    setup_ms: {description: Milliseconds before the copy., type: int, sample: 4}
    downtime_ms:
      description: Milliseconds for which the guest stood still. Null while the migration runs, and
        after post-copy.
      type: int
      sample: 213
    expected_downtime_ms:
      description: Milliseconds that QEMU last expected while it ran.
      type: int
    bytes: {description: "Bytes sent, of memory and disks.", type: int}
    memory_bytes: {description: Bytes of memory sent., type: int}
    disk_bytes: {description: Bytes of disks sent., type: int}
    remaining_bytes: {description: Bytes that are still to be sent., type: int}
    dirty_rate_mib_s:
      description: MiB of memory that the guest wrote a second when QEMU last looked. Null when the
        first pass over the memory was the only one that was seen.
      type: float
    iterations: {description: Passes over the memory., type: int, sample: 7}
    throughput_mib_s: {description: MiB sent a second., type: float}
    throttle_percent:
      description: Share of the guest's CPU time that auto-converge took, 0 for none.
      type: int
    post_copy_requests: {description: Pages that post-copy had to fetch., type: int}
    block:
      description: Whether disks were copied as well. Null for migrations to this hypervisor, of
        whose disks libvirt knows nothing here; C(bytes) is the memory then.
      type: bool
    max_downtime_ms:
      description: Milliseconds that the guest may stand still, as QEMU has it now; null for
        migrations that ended.
      type: int
    direction: {description: V(outgoing) or V(incoming)., type: str, sample: outgoing}
completed:
  description: The last migration of each domain that is here, when it succeeded and libvirt still
    knows of it. After a live migration by Nova only the destination does.
  returned: success
  type: list
  elements: dict
  contains: *figures
leftovers:
  description: IDs of guests that have a directory below O(instances_path), but no domain. Empty
    when O(instances_path) is shared.
  returned: success
  type: list
  elements: str
instances_shared:
  description: Whether O(instances_path) was taken for shared.
  returned: success
  type: bool
msg:
  description: The numbers in one sentence.
  returned: always
  type: str
  sample: 4 domains, 1 migration out, 0 in, 0 leftovers
code:
  description: One word for what went wrong.
  returned: failure
  type: str
  sample: unreachable
remedy:
  description: What to do about it.
  returned: failure
  type: str
"""

from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._domains import survey
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.hypervisor import (
    LibvirtHypervisor,
)
from ansible_collections.lowtide.compute.plugins.module_utils._host_module import (
    HostTask,
    run_on_host,
)

SPEC = {
    "uri": {"type": "str", "default": "qemu:///system"},
    "ids": {"type": "list", "elements": "str", "default": []},
    "instances_path": {"type": "path", "default": "/var/lib/nova/instances"},
    "instances_shared": {"type": "bool"},
    "dirty_rate_seconds": {"type": "int", "default": 0},
}


def handle(task: HostTask) -> dict[str, Any]:
    """One look at the hypervisor, as data."""
    # Measuring is the only thing that libvirt does not allow on a read-only connection.
    writable = task.params["dirty_rate_seconds"] > 0
    hypervisor = LibvirtHypervisor(task.params["uri"], writable=writable)
    found = survey(hypervisor, task.params, task.clock, task.warn)
    jobs = [domain["job"] for domain in found["domains"]]
    return {
        "changed": False,
        **found,
        "msg": f"{len(jobs)} domains, {jobs.count('outgoing')} migrations out,"
        f" {jobs.count('incoming')} in, {len(found['leftovers'])} leftovers",
    }


def main() -> None:
    run_on_host(SPEC, handle)


if __name__ == "__main__":
    main()
