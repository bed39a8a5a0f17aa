#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nova_live_migrate
short_description: Migrate guests live, and verify where they are
version_added: 1.0.0
description:
  - Migrates running or paused guests to other hosts while they run. Nova's scheduler chooses the
    destination, or checks O(host). Nothing is ever forced.
  - A migration of such a guest that is already running is adopted and watched to its end.
  - A guest counts as moved when Nova, Placement, the bindings of its ports and the attachments of
    its volumes say so.
extends_documentation_fragment:
  - lowtide.compute.auth
  - lowtide.compute.moving
  - lowtide.compute.attributes
  - lowtide.compute.attributes.action
  - lowtide.compute.attributes.action_group
attributes:
  idempotent:
    support: partial
    details: With O(host), guests that are there stay. Without it, each run moves the guests.
author:
  - The Lowtide authors (@lowtide)
options:
  servers:
    description: IDs or exact names of the guests. A name that several guests have is refused.
    type: list
    elements: str
    required: true
  host:
    description: Name of the destination, exactly as Nova names it. Without it Nova's scheduler
      chooses.
    type: str
  wait:
    description: Whether to wait until the guests have moved and that is verified. With V(false)
      all migrations are asked for at once.
    type: bool
    default: true
seealso:
  - module: lowtide.compute.nova_cold_migrate
  - module: lowtide.compute.nova_drain
"""

EXAMPLES = r"""
- name: Migrate a guest to wherever Nova finds room
  lowtide.compute.nova_live_migrate:
    cloud: prod
    servers: [web-01]
  delegate_to: localhost

- name: Migrate two guests to one host
  lowtide.compute.nova_live_migrate:
    cloud: prod
    servers:
      - web-01
      - 0998f163-e901-47bf-8b1f-b02429749b8c
    host: cmp-7
    max_parallel: 2
  delegate_to: localhost

- name: Migrate a busy database, and let Nova force the end after its time
  lowtide.compute.nova_live_migrate:
    cloud: prod
    servers: [database]
    timeout_per_gib: 120
    on_timeout: force_complete
  delegate_to: localhost
"""

RETURN = r"""
guests:
  description: What became of each guest.
  returned: always, unless a guest was not found
  type: list
  elements: dict
  contains:
    id: {description: ID of the guest., type: str}
    name: {description: Its name., type: str, sample: web-01}
    state: {description: Its state before., type: str, sample: active}
    outcome:
      description: V(moved), V(already_there), V(left), V(unverified) (away, but the witnesses do
        not agree), V(gone) (deleted meanwhile), V(running) or V(waiting) with O(wait=false);
        V(planned) in check mode; V(blocked).
      type: str
      sample: moved
    method: {description: V(live) or V(cold) when it moved or would., type: str, sample: live}
    code: {description: The rule or the failure that decided., type: str, sample: verified}
    reason: {description: Why., type: str}
    remedy: {description: What can be done about it., type: str}
    notes: {description: What to know about its move., type: list, elements: str}
    addresses: {description: Its IP addresses., type: list, elements: str, sample: [10.0.0.7]}
    from: {description: Where it was., type: str, sample: cmp-3}
    to: {description: Where it is now; empty while that is open., type: str, sample: cmp-7}
    attempts: {description: How often it was tried., type: int, sample: 1}
    seconds: {description: Seconds that its move took., type: float, sample: 42.3}
    bytes: {description: Bytes that were copied., type: int}
    predicted_seconds: {description: Seconds that were expected., type: float}
    predicted_bytes: {description: Bytes that were expected., type: int}
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
summary:
  description: Number of guests by outcome, and in C(total).
  returned: always, unless a guest was not found
  type: dict
  sample: {total: 2, moved: 1, already_there: 1}
events:
  description: What happened, in order, as M(lowtide.compute.nova_drain) returns it.
  returned: when something was to be moved
  type: list
  elements: dict
seconds:
  description: Seconds that it took.
  returned: when something was to be moved
  type: float
msg:
  description: The outcome in one sentence.
  returned: always
  type: str
  sample: "web-01: moved to cmp-7"
code:
  description: One word for what went wrong.
  returned: failure
  type: str
  sample: blocked
remedy:
  description: What to do about it.
  returned: failure
  type: str
"""

from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._guests import (
    SPEC,
    blocked,
    move_guests,
)
from ansible_collections.lowtide.compute.plugins.module_utils._module import Task, run
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    COLD,
    Options,
    PlanEntry,
    Verdict,
)


def judge(entry: PlanEntry, options: Options) -> Verdict:
    """Guests that would go cold are refused, unless they run and that was allowed."""
    if entry.verdict.method != COLD or entry.guest.vm_state != "stopped":
        return entry.verdict
    return blocked(
        entry,
        "not_running",
        "it is stopped, so there is nothing to migrate live",
        "Use nova_cold_migrate, or start it",
    )


def handle(task: Task) -> dict[str, Any]:
    """Move the guests, live."""
    return move_guests(task, judge)


def main() -> None:
    run(SPEC, handle)


if __name__ == "__main__":
    main()
