#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nova_drain_info
short_description: What would happen to every guest of a host, were it drained now
version_added: 1.0.0
description:
  - Judges every guest on a compute host by the options that M(lowtide.compute.nova_drain) takes,
    and predicts how long the drain takes and how much it copies. Changes nothing.
  - Guests that cannot go do not make the module fail. They are in the result, each with a reason
    and a remedy.
extends_documentation_fragment:
  - lowtide.compute.auth
  - lowtide.compute.moving
  - lowtide.compute.moving.drain
  - lowtide.compute.attributes
  - lowtide.compute.attributes.info
  - lowtide.compute.attributes.action_group
author:
  - The Lowtide authors (@lowtide)
seealso:
  - module: lowtide.compute.nova_drain
  - module: lowtide.compute.nova_host_info
"""

EXAMPLES = r"""
- name: Plan the drain of a host
  lowtide.compute.nova_drain_info:
    cloud: prod
    host: cmp-3
  delegate_to: localhost
  register: plan

- name: Stop early if a guest cannot go
  ansible.builtin.assert:
    that: plan.summary.blocked == 0
    fail_msg: "{{ plan.msg }}"
"""

RETURN = r"""
host:
  description: Name of the compute host.
  returned: success
  type: str
  sample: cmp-3
outcome:
  description: V(planned), V(blocked) when a guest cannot go, or V(nothing_to_do).
  returned: success
  type: str
  sample: planned
summary:
  description: Number of guests by outcome, and in C(total).
  returned: success
  type: dict
  sample: {total: 17, planned: 15, blocked: 1, excluded: 1}
guests:
  description: What would become of each guest, in the order in which they would go.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: ID of the guest., type: str}
    name: {description: Its name., type: str, sample: web-01}
    state: {description: Its state., type: str, sample: active}
    outcome: {description: "V(planned), V(blocked) or V(excluded).", type: str, sample: planned}
    method:
      description: V(live), V(cold), V(wait), V(confirm), V(recover), V(blocked) or V(excluded).
      type: str
      sample: live
    code: {description: The rule that decided., type: str, sample: active}
    reason: {description: Why., type: str}
    remedy: {description: What can be done about it., type: str}
    notes: {description: What to know about its move., type: list, elements: str}
    addresses: {description: Its IP addresses., type: list, elements: str, sample: [10.0.0.7]}
    from: {description: Where it is., type: str, sample: cmp-3}
    to: {description: Where it goes; empty because Nova's scheduler decides., type: str}
    attempts: {description: Always 0., type: int}
    seconds: {description: Always null., type: float}
    bytes: {description: Always null., type: int}
    predicted_seconds: {description: Seconds that the move is expected to take., type: float}
    predicted_bytes: {description: Bytes that are expected to be copied., type: int}
    witnesses:
      description: How many witnesses proved its move. The first is Nova, the second Placement,
        Neutron and Cinder with what they have of it, the third libvirt on both hosts. Null where
        nothing was proven.
      type: int
      sample: 3
    policy:
      description: What its migration may cost it. Each field has a C(value) and its C(source).
      type: dict
      sample: {max_downtime_ms: {value: 200, source: profile minimize_downtime}}
    policy_findings:
      description: What was asked for in vain, and why.
      type: list
      elements: str
predicted_seconds:
  description: Seconds that the whole drain is expected to take.
  returned: success
  type: float
  sample: 250.0
predicted_bytes:
  description: Bytes that are expected to be copied in all.
  returned: success
  type: int
fits:
  description: Whether all guests together fit elsewhere, as far as Placement tells.
  returned: success
  type: bool
table:
  description: The plan as lines of text.
  returned: success
  type: list
  elements: str
msg:
  description: The plan in one sentence.
  returned: always
  type: str
  sample: "17 guests: 15 live, 1 blocked, 1 excluded; about 4m10s, 61.3 GiB; cannot go: vm-gpu"
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

from ansible_collections.lowtide.compute.plugins.module_utils._drain import look_and_plan
from ansible_collections.lowtide.compute.plugins.module_utils._module import Task, run
from ansible_collections.lowtide.compute.plugins.module_utils._options import (
    DRAIN_SPEC,
    exact_host,
    read_options,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.result import plan_result


def handle(task: Task) -> dict[str, Any]:
    """The plan, as data."""
    options = read_options(task.params)
    host = exact_host(task.params["host"])
    plan = look_and_plan(task.cloud, task.cloud.service(host), options)
    return {"changed": False, **plan_result(plan)}


def main() -> None:
    run(DRAIN_SPEC, handle)


if __name__ == "__main__":
    main()
