#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nova_compute_service
short_description: Enable, disable or force down the nova-compute of a host
version_added: 1.0.0
description:
  - Opens or closes a compute host for new guests, and remembers who closed it.
  - "A service that is disabled here carries a mark in its reason, C(lowtide:<run id>: <text>).
    Only services with that mark are enabled again, so that a host which a colleague took out of
    service is not put back by a playbook."
extends_documentation_fragment:
  - lowtide.compute.auth
  - lowtide.compute.attributes
  - lowtide.compute.attributes.action
  - lowtide.compute.attributes.action_group
attributes:
  idempotent:
    support: full
author:
  - The Lowtide authors (@lowtide)
options:
  host:
    description: Name of the compute host, exactly as Nova names it. Never a pattern.
    type: str
    required: true
  state:
    description:
      - V(disabled) keeps Nova's scheduler from placing guests there. Guests that are there stay.
        A host that somebody else disabled is left as it is, unless O(take_over=true).
      - V(enabled) lets the scheduler place guests there again. A host that somebody else disabled
        is refused, unless O(take_over=true).
    type: str
    choices: [enabled, disabled]
  forced_down:
    description:
      - V(true) tells Nova that the host is dead, whatever its nova-compute says, so that its guests
        can be evacuated. B(Fence the host first.) Guests that still run there would run twice.
      - V(false) takes that back. After an evacuation Nova allows it only when the nova-compute
        has been started once and has cleaned up.
    type: bool
  reason:
    description: Why the host is disabled, for people. Default is V(maintenance), or what is there.
    type: str
  run_id:
    description: Name of the run that the mark shows, without spaces or colons. Default is a new
      one, or the one that is there.
    type: str
  take_over:
    description: Whether to treat a host that somebody else disabled as if it was disabled here.
    type: bool
    default: false
seealso:
  - module: lowtide.compute.nova_drain
  - name: Nova's compute services
    description: What enabling, disabling and forcing down means in Nova.
    link: https://docs.openstack.org/api-ref/compute/#compute-services-os-services
"""

EXAMPLES = r"""
- name: Close a host for new guests
  lowtide.compute.nova_compute_service:
    cloud: prod
    host: cmp-3
    state: disabled
    reason: new firmware
  delegate_to: localhost

- name: Open it again
  lowtide.compute.nova_compute_service:
    cloud: prod
    host: cmp-3
    state: enabled
  delegate_to: localhost

- name: Tell Nova that a fenced host is dead
  lowtide.compute.nova_compute_service:
    cloud: prod
    host: cmp-4
    state: disabled
    forced_down: true
    reason: power supply
  delegate_to: localhost
"""

RETURN = r"""
service:
  description: The service as it is after the module, or in check mode as it would be.
  returned: success
  type: dict
  contains:
    id:
      description: ID of the service.
      type: str
      sample: 19908b1c-4055-4056-9b41-1e196568619a
    host:
      description: Name of the compute host.
      type: str
      sample: cmp-3
    status:
      description: V(enabled) or V(disabled).
      type: str
      sample: disabled
    state:
      description: V(up) or V(down), as Nova sees it.
      type: str
      sample: up
    forced_down:
      description: Whether Nova was told that it is down.
      type: bool
      sample: false
    disabled_reason:
      description: The whole reason, with the mark.
      type: str
      sample: "lowtide:20261120T031500Z-9f3a: new firmware"
    availability_zone:
      description: The host's availability zone.
      type: str
      sample: nova
    owner:
      description: Who disabled it, V(lowtide) or V(other); empty when it is enabled.
      type: str
      sample: lowtide
    run_id:
      description: The run that disabled it; empty when none of ours did.
      type: str
      sample: 20261120T031500Z-9f3a
msg:
  description: What was done, in one sentence.
  returned: always
  type: str
  sample: cmp-3 is disabled (new firmware)
code:
  description: One word for what went wrong.
  returned: failure
  type: str
  sample: host_not_ready
remedy:
  description: What to do about it.
  returned: failure
  type: str
"""

from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption
from ansible_collections.lowtide.compute.plugins.module_utils._module import Task, run
from ansible_collections.lowtide.compute.plugins.module_utils._options import exact_host
from ansible_collections.lowtide.compute.plugins.module_utils._planner.mark import new_run_id
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Service
from ansible_collections.lowtide.compute.plugins.module_utils._service import (
    desired,
    service_row,
    service_sentence,
)

SPEC = {
    "host": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["enabled", "disabled"]},
    "forced_down": {"type": "bool"},
    "reason": {"type": "str"},
    "run_id": {"type": "str"},
    "take_over": {"type": "bool", "default": False},
}


def handle(task: Task) -> dict[str, Any]:
    """Decide what the service should be, and send only what differs."""
    check_options(task.params)
    host = exact_host(task.params["host"])
    now = task.cloud.service(host)
    wanted = desired(now, task.params, new_run_id(task.clock.now(), task.chance()))
    if not task.check_mode:
        apply(task, now, wanted)
    return {
        "changed": wanted != now,
        "msg": service_sentence(wanted),
        "service": service_row(wanted),
        "diff": {"before": service_row(now), "after": service_row(wanted)},
    }


def check_options(params: dict[str, Any]) -> None:
    """Raise BadOption for options that contradict each other."""
    if params["reason"] is not None and params["state"] != "disabled":
        raise BadOption(
            "reason",
            params["reason"],
            "is only for a service that is disabled",
            "Remove it, or set state: disabled",
        )
    if params["state"] == "enabled" and params["forced_down"]:
        raise BadOption(
            "forced_down",
            True,
            "contradicts state: enabled",
            "Set state: disabled with it, or forced_down: false",
        )
    run_id = params["run_id"]
    if run_id is not None and (not run_id or any(c in ": \t\n" for c in run_id)):
        raise BadOption("run_id", run_id, "has spaces or colons, or is empty", "Give one word")


def apply(task: Task, now: Service, wanted: Service) -> None:
    """Close before forcing down, open only after Nova took the host back."""
    host = now.host
    if now.forced_down and not wanted.forced_down:
        task.cloud.force_down(host, False)
    if wanted.enabled and not now.enabled:
        task.cloud.enable(host)
    if not wanted.enabled and wanted.disabled_reason != now.disabled_reason:
        task.cloud.disable(host, wanted.disabled_reason)
    if wanted.forced_down and not now.forced_down:
        task.cloud.force_down(host, True)


def main() -> None:
    run(SPEC, handle, required_one_of=[("state", "forced_down")])


if __name__ == "__main__":
    main()
