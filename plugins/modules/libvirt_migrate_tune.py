#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: libvirt_migrate_tune
short_description: Hold live migrations to their guests' policies, and measure them
version_added: 1.0.0
description:
  - Sets, through libvirt on the source hypervisor, what the live migration of each guest may do.
    How long the guest may stand still at the end, how much of the wire the copy may take, and so
    on. Nova has one value of each for all guests, and only from nova-compute's start on.
  - Nova sets the maximum downtime itself again and again, in steps that grow to its own maximum.
    O(state=watch) sets it back each time, and samples each migration's statistics, for as long as
    guests are there.
  - It never starts, aborts, pauses or completes a migration, and never switches one to post-copy.
    Nova would not know. Those go through Nova.
  - Whether a migration throttles the guest (auto-converge), may use post-copy, compression, TLS or
    several connections is decided when it starts, by nova-compute's configuration.
extends_documentation_fragment:
  - lowtide.compute.libvirt
  - lowtide.compute.attributes
  - lowtide.compute.attributes.action
  - lowtide.compute.attributes.hypervisor_group
attributes:
  idempotent:
    support: partial
    details: With O(state=present) and O(state=absent). A watch is only for as long as it runs.
author:
  - The Lowtide authors (@lowtide)
options:
  state:
    description:
      - V(present) sets the values once, on the running domains, whether they migrate or not. What
        is set on one that does not migrate holds from its next migration on, except
        O(max_downtime_ms), which Nova sets when that begins.
      - V(watch) holds the values while migrations run, and ends when none of the guests is on this
        hypervisor any more, after O(deadline), or when it is told to. Run it with C(async) beside
        what migrates the guests.
      - V(absent) ends a watch with the same O(status_path), and returns what it found. The values
        stay as they are.
    type: str
    choices: [present, watch, absent]
    default: present
  guests:
    description:
      - Whose migrations to hold to what. Without it, all guests on this hypervisor to the values
        beside it.
      - What a guest here does not say, it has from the values beside it.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: ID of the guest. Either this or O(guests[].name).
        type: str
      name:
        description: "Libvirt's name of it, such as C(instance-0000002a)."
        type: str
      max_downtime_ms:
        description: As O(max_downtime_ms).
        type: int
      bandwidth_mib_s:
        description: As O(bandwidth_mib_s).
        type: int
      post_copy_bandwidth_mib_s:
        description: As O(post_copy_bandwidth_mib_s).
        type: int
      compression_cache_mib:
        description: As O(compression_cache_mib).
        type: int
      ramp_seconds:
        description: As O(ramp_seconds).
        type: float
  max_downtime_ms:
    description:
      - Milliseconds that the guest may stand still at the end of its migration. The migration ends
        as soon as QEMU expects that what remains can be sent in this time.
      - 0, and nothing, leave it to Nova.
    type: int
  ramp_seconds:
    description:
      - Seconds after the first pass over the guest's memory after which its migration may take the
        whole of O(max_downtime_ms). Until then the limit rises in ten steps. QEMU stops a guest as
        soon as what remains fits into the limit, so one that could do with less then stands still
        for less, and its migration takes a little longer. 0, and nothing, allow the whole at once.
      - Only for O(state=watch).
    type: float
  bandwidth_mib_s:
    description: MiB per second that the copy may take. 0, and nothing, leave it as it is.
    type: int
  post_copy_bandwidth_mib_s:
    description: MiB per second that the background copy may take after a switch to post-copy. 0,
      and nothing, leave it as it is.
    type: int
  compression_cache_mib:
    description: MiB of the cache of a compressed migration; a power of two. 0, and nothing, leave
      it as it is. Nova does not compress by itself, so this is for migrations that others start.
    type: int
  interval:
    description: Seconds between two looks of a watch.
    type: float
    default: 0.5
  deadline:
    description: Seconds after which a watch ends in any case.
    type: float
    default: 86400
  status_path:
    description:
      - File in which a watch keeps what it knows, every five seconds and at its end, so that little
        is lost when it is killed. A file with C(.run) behind its name is there while it runs.
      - Its directory must exist. Default is C(~/.ansible/lowtide/tuning.json), whose directory is
        made.
    type: path
  timeout:
    description: Seconds that a watch has to end when it is told to.
    type: float
    default: 30
seealso:
  - module: lowtide.compute.libvirt_migration_info
  - module: lowtide.compute.nova_drain
"""

EXAMPLES = r"""
- name: Let the migrations that run now stand still for 2 s at most, instead of waiting for Nova
  lowtide.compute.libvirt_migrate_tune:
    max_downtime_ms: 2000
  become: true

- name: Hold each guest's migration to its own limit, beside the drain that follows
  lowtide.compute.libvirt_migrate_tune:
    state: watch
    max_downtime_ms: 500
    guests:
      - id: 0998f163-e901-47bf-8b1f-b02429749b8c
        max_downtime_ms: 3000
      - id: 4f8c5d0e-6c6b-4e0e-9a57-0f3f6f3d9a41
        max_downtime_ms: 100
        ramp_seconds: 120
        bandwidth_mib_s: 200
    deadline: 7200
  become: true
  async: 7300
  poll: 0

- name: End the watch when the drain is over, and see how the migrations went
  lowtide.compute.libvirt_migrate_tune:
    state: absent
  become: true
  register: tuned
"""

RETURN = r"""
guests:
  description: What was done for each guest, and how its last migration went, by name.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: ID of the guest., type: str}
    name: {description: "Libvirt's name of it.", type: str, sample: instance-0000002a}
    outcome:
      description: V(waiting) when no migration was seen, V(running), V(stayed) when the last one
        ended and the guest is still here, V(moved) when libvirt said that it succeeded, V(gone)
        when the guest is away and libvirt did not say how.
      type: str
      sample: moved
    ended: {description: Whether the guest is away., type: bool}
    attempts: {description: Migrations of it that were seen., type: int, sample: 1}
    wanted:
      description: What its migrations were to be held to.
      type: dict
      sample: {max_downtime_ms: 2000}
    before:
      description: What of that had another value, and the value when it was first seen.
      type: dict
      sample: {max_downtime_ms: 50}
    applied:
      description: The values that were last set, or in check mode would be.
      type: dict
      sample: {max_downtime_ms: 2000}
    times_applied:
      description: How often each was set.
      type: dict
      sample: {max_downtime_ms: 4}
    times_overwritten:
      description: How often of these somebody else, such as Nova, had changed it since.
      type: dict
      sample: {max_downtime_ms: 3}
    total_ms: {description: Milliseconds of the migration., type: int, sample: 8421}
    setup_ms: {description: Milliseconds before the copy., type: int, sample: 4}
    downtime_ms:
      description: Milliseconds for which the guest stood still, as libvirt measured it. Null when
        that is not known, as after post-copy.
      type: int
      sample: 213
    expected_downtime_ms:
      description: Milliseconds that QEMU last expected while it ran.
      type: int
    bytes: {description: "Bytes sent, of memory and disks.", type: int}
    memory_bytes: {description: Bytes of memory sent., type: int}
    disk_bytes: {description: Bytes of disks sent., type: int}
    remaining_bytes: {description: Bytes that remained when it was last seen., type: int}
    dirty_rate_mib_s:
      description: MiB of memory that the guest wrote a second, the most that QEMU saw. Null when
        the first pass over the memory was the only one that was seen.
      type: float
    iterations: {description: Passes over the memory., type: int, sample: 7}
    throughput_mib_s: {description: MiB sent a second., type: float}
    throttle_percent:
      description: The largest share of the guest's CPU time that auto-converge took, 0 for none.
      type: int
    post_copy_requests: {description: Pages that post-copy had to fetch., type: int}
    block: {description: Whether disks were copied as well., type: bool}
    final:
      description: Where the figures come from. V(completed) when libvirt gave them at the end,
        V(last_sample) when the guest was gone before, V(none) when there are none.
      type: str
      sample: completed
    samples: {description: How often the statistics were read., type: int, sample: 17}
    started_at: {description: When the migration began (UTC)., type: str}
    ended_at: {description: When it was seen to have ended (UTC)., type: str}
    problems:
      description: What libvirt declined to read or set, in its own words.
      type: list
      elements: str
ended_by:
  description: Why a watch ended. V(away), V(deadline), V(stopped), or V(running) when it was killed
    or still runs.
  returned: O(state=watch), O(state=absent)
  type: str
  sample: away
interruptions:
  description: Looks of a watch at which libvirt did not answer.
  returned: O(state=watch), O(state=absent)
  type: int
seconds:
  description: Seconds that a watch took.
  returned: O(state=watch), O(state=absent)
  type: float
msg:
  description: The numbers in one sentence.
  returned: always
  type: str
  sample: 4 guests, 3 moved, values set 9 times
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

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.hypervisor import (
    LibvirtHypervisor,
)
from ansible_collections.lowtide.compute.plugins.module_utils._host_module import (
    HostTask,
    run_on_host,
)
from ansible_collections.lowtide.compute.plugins.module_utils._tune import (
    end_watch,
    files_of,
    once,
    told,
    watch,
    wishes_of,
)

WISH = {
    "max_downtime_ms": {"type": "int"},
    "ramp_seconds": {"type": "float"},
    "bandwidth_mib_s": {"type": "int"},
    "post_copy_bandwidth_mib_s": {"type": "int"},
    "compression_cache_mib": {"type": "int"},
}
SPEC = {
    "uri": {"type": "str", "default": "qemu:///system"},
    "state": {"type": "str", "choices": ["present", "watch", "absent"], "default": "present"},
    "guests": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"id": {"type": "str"}, "name": {"type": "str"}, **WISH},
        "required_one_of": [("id", "name")],
        "mutually_exclusive": [("id", "name")],
    },
    **WISH,
    "interval": {"type": "float", "default": 0.5},
    "deadline": {"type": "float", "default": 86400.0},
    "status_path": {"type": "path"},
    "timeout": {"type": "float", "default": 30.0},
}


def handle(task: HostTask) -> dict[str, Any]:
    """Do what the state says."""
    params, state = task.params, task.params["state"]
    if state == "absent":
        files = files_of(params["status_path"], task.clock)
        return end_watch(files, params["timeout"], task.check_mode)
    wishes = wishes_of(params)
    watching = state == "watch"
    hypervisor = LibvirtHypervisor(params["uri"], writable=True, events=watching)
    if watching and not task.check_mode:
        return watch(hypervisor, wishes, params, task.clock)
    now = task.clock.now()
    return told(once(hypervisor, wishes, now, task.check_mode, strict=not watching))


def main() -> None:
    run_on_host(SPEC, handle)


if __name__ == "__main__":
    main()
