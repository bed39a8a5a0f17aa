#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nova_drain_info
short_description: What would happen to every guest of hosts, were they drained now
version_added: 1.0.0
description:
  - Judges every guest on a compute host by the options that M(lowtide.compute.nova_drain) takes,
    and predicts how long the drain takes and how much it copies. Changes nothing.
  - Tells what blocks the drain, what to beware of, and which rules could not be checked because
    something was not seen, each with the source of the rule. C(docs/preflight.md) has all rules.
  - Guests that cannot go do not make the module fail. They are in the result, each with a reason
    and a remedy.
  - Of several O(hosts) it also tells whether they find room when they are drained one after the
    other, each returned before the next. Where Nova's scheduler chooses the destinations that is a
    forecast.
extends_documentation_fragment:
  - lowtide.compute.auth
  - lowtide.compute.moving
  - lowtide.compute.moving.drain
  - lowtide.compute.preflight
  - lowtide.compute.attributes
  - lowtide.compute.attributes.info
  - lowtide.compute.attributes.action_group
attributes:
  action:
    description: Has an action plugin, which prints the table.
    support: full
options:
  host:
    description: Name of the compute host, exactly as Nova names it. Never a pattern. This or
      O(hosts).
    type: str
    required: false
  hosts:
    description: Names of several, in the order in which they are to be drained. Each of
      O(exclude.ids) and O(exclude.names) must be on one of them.
    type: list
    elements: str
  show:
    description: Whether the table is printed, a line at a time, to the standard error of Ansible.
    type: bool
    default: false
author:
  - The Lowtide authors (@lowtide)
seealso:
  - module: lowtide.compute.nova_drain
  - module: lowtide.compute.nova_host_info
  - module: lowtide.compute.nova_config_info
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

- name: Plan for two hosts, with what their nova.conf says
  lowtide.compute.nova_drain_info:
    cloud: prod
    hosts: [cmp-3, cmp-4]
    nova_conf:
      cmp-3: "{{ hostvars['cmp-3'].config }}"
      cmp-4: "{{ hostvars['cmp-4'].config }}"
    migration_network: reliable
  delegate_to: localhost
"""

RETURN = r"""
host:
  description: Name of the compute host; empty when there are several.
  returned: success
  type: str
  sample: cmp-3
hosts:
  description: Their names, in their order.
  returned: with O(hosts)
  type: list
  elements: str
outcome:
  description: V(planned), V(blocked) when a guest cannot go or the host is down, or
    V(nothing_to_do).
  returned: success
  type: str
  sample: planned
blockers:
  description: What keeps guests where they are.
  returned: success
  type: list
  elements: dict
  contains:
    host: {description: The compute host., type: str, sample: cmp-3}
    id: {description: ID of the guest; empty when the whole host is blocked., type: str}
    name: {description: Its name., type: str, sample: vm-gpu}
    code: {description: The rule., type: str, sample: pci_passthrough}
    reason: {description: Why., type: str}
    remedy: {description: What can be done about it., type: str}
    source: {description: Where the rule comes from., type: str}
cautions:
  description: What does not block, but should be known before. C(docs/preflight.md) has them all.
  returned: success
  type: list
  elements: dict
  contains:
    host: {description: The compute host., type: str, sample: cmp-3}
    code: {description: The rule., type: str, sample: cap_below_max_parallel}
    text: {description: What it is., type: str}
    remedy: {description: What can be done about it., type: str}
    source: {description: Where the rule comes from., type: str}
    ids:
      description: IDs of the guests that it is about; empty when it is about the host.
      type: list
      elements: str
    guests: {description: Their names., type: list, elements: str}
not_seen:
  description: Rules that matter to the plan and were not checked.
  returned: success
  type: list
  elements: dict
  contains:
    host: {description: The compute host., type: str, sample: cmp-3}
    code: {description: The rule., type: str, sample: tunnelled}
    what: {description: What was not seen., type: str, sample: nova.conf of the host}
    source: {description: Where the rule comes from., type: str}
estimates:
  description: What the predictions rest upon, for each guest that moves.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: ID of the guest., type: str}
    name: {description: Its name., type: str, sample: web-01}
    seconds: {description: Seconds that its move is expected to take., type: float, sample: 9.1}
    bytes: {description: Bytes that are expected to be copied., type: int}
    link_mib_s: {description: MiB per second that are assumed on the wire., type: float}
    dirty_rate_mib_s:
      description: MiB per second that it writes to its memory; null when it was not measured.
      type: float
    rounds: {description: How often what it wrote meanwhile is copied again., type: int}
    downtime_ms: {description: Milliseconds for which it is expected to be stopped., type: float}
    converges: {description: Whether its copy comes to an end by itself., type: bool}
plans:
  description: What is returned of one O(host), for each of them.
  returned: with O(hosts)
  type: list
  elements: dict
together:
  description: The same hosts drained one after the other, each with the room that is then left.
  returned: with O(hosts)
  type: list
  elements: dict
  contains:
    host: {description: The compute host., type: str, sample: cmp-3}
    guests: {description: Guests that are on it by then., type: int}
    arrivals:
      description: IDs of those that came from the hosts before it.
      type: list
      elements: str
    fits: {description: Whether they all fit elsewhere., type: bool}
    blocked: {description: Names of the guests that could not go., type: list, elements: str}
    predicted_seconds: {description: Seconds that its drain takes then., type: float}
    predicted_bytes: {description: Bytes that are copied then., type: int}
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
    to: {description: Where it goes; empty where Nova's scheduler decides., type: str}
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
  description: Seconds that the whole drain is expected to take; with O(hosts) that of all of them
    one after the other.
  returned: success
  type: float
  sample: 250.0
predicted_bytes:
  description: Bytes that are expected to be copied in all.
  returned: success
  type: int
fits:
  description: Whether all guests together fit elsewhere, as far as Placement tells; with O(hosts)
    whether they do for each host in its turn.
  returned: success
  type: bool
table:
  description: The plan as lines of text, none wider than 100 columns. What blocks comes first.
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

from ansible_collections.lowtide.compute.plugins.module_utils._drain import (
    check_exclusions,
    look,
)
from ansible_collections.lowtide.compute.plugins.module_utils._module import Task, run
from ansible_collections.lowtide.compute.plugins.module_utils._options import (
    DRAIN_SPEC,
    exact_host,
    read_options,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight_turns import (
    in_turn,
)
from ansible_collections.lowtide.compute.plugins.module_utils._preflight import (
    PREFLIGHT_SPEC,
    check,
    exact_hosts,
    look_around,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.preflight import (
    fleet_result,
    preflight_result,
)

SPEC = {
    **DRAIN_SPEC,
    **PREFLIGHT_SPEC,
    "host": {"type": "str"},
    "hosts": {"type": "list", "elements": "str"},
    "show": {"type": "bool", "default": False},
}


def handle(task: Task) -> dict[str, Any]:
    """The plan of each host, and of several how they fit in turn."""
    options = read_options(task.params)
    several = task.params["hosts"] is not None
    hosts = exact_hosts(task.params["hosts"]) if several else [exact_host(task.params["host"])]
    around = look_around(task.session, task.clock.now(), task.params)
    services = [task.cloud.service(host) for host in hosts]
    looks = [look(task.cloud, service, options) for service in services]
    guests = [guest for survey, _plan in looks for guest in survey.guests]
    check_exclusions(options, guests, ", ".join(hosts))
    plans = [
        preflight_result(plan, check(survey, plan, options, around), options)
        for survey, plan in looks
    ]
    if not several:
        return {"changed": False, **plans[0]}
    turns = in_turn((survey for survey, _plan in looks), options)
    return {"changed": False, **fleet_result(plans, turns)}


def main() -> None:
    run(
        SPEC,
        handle,
        mutually_exclusive=[("host", "hosts")],
        required_one_of=[("host", "hosts")],
    )


if __name__ == "__main__":
    main()
