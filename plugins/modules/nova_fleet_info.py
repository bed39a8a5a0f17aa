#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nova_fleet_info
short_description: In which batches the hosts of a fleet can be drained side by side
version_added: 1.0.0
description:
  - Groups compute hosts into batches such that the hosts of a batch can be drained at the same
    time. No batch has two hosts with members of one server group of policy C(anti-affinity) or
    C(soft-anti-affinity), no host aggregate loses more hosts at a time than O(aggregate_limit)
    allows, and the hosts that stay have room for the guests of each batch. Changes nothing.
  - The order is empty hosts first, then those with the fewest guests. The grouping is that of
    StarlingX's update orchestration, made aware of room, zones and fault domains.
  - The plan assumes that each host is back, empty, when the next batch begins, and that guests
    stay where they went. A guest may so move more than once. Guests go to hosts first that are not
    to be drained any more.
  - What guests need comes from their flavors and images, what hosts have from Placement. NUMA
    cells, devices, the isolation of aggregates and a guest's own state are not looked at; judge
    each host by M(lowtide.compute.nova_drain_info) right before its drain.
  - The number of API calls grows with Nova's pages of guests and groups (a thousand each by
    default), not with guests or hosts. A thousand hosts with 40,000 guests are planned in seconds.
extends_documentation_fragment:
  - lowtide.compute.auth
  - lowtide.compute.attributes
  - lowtide.compute.attributes.info
  - lowtide.compute.attributes.action_group
author:
  - The Lowtide authors (@lowtide)
options:
  hosts:
    description:
      - Names of the compute hosts to drain, exactly as Nova names them. Without it, and without
        O(aggregate) and O(availability_zone), all of the cloud. Only one of the three may be given.
    type: list
    elements: str
  aggregate:
    description: Name of a host aggregate. Its compute hosts are to be drained.
    type: str
  availability_zone:
    description: Name of an availability zone. Its compute hosts are to be drained.
    type: str
  max_hosts:
    description: How many hosts a batch may have, 1 or more.
    type: int
    default: 2
  aggregate_limit:
    description:
      - How many of its hosts an aggregate may lose at a time, as a number (V(2)) or as a percentage
        of its hosts (V(10%), rounded down, but at least one).
      - Without it StarlingX's rule holds, the aggregate's number of hosts times O(max_hosts) over
        the number of hosts to drain, at most half of its hosts and at least one.
      - An availability zone is an aggregate, too. Hosts that are down or disabled anyway do not
        count as lost.
    type: str
  within:
    description:
      - V(none) puts hosts together from wherever they are.
      - V(availability_zone) takes the hosts of a batch from one availability zone, so that the
        other zones are whole meanwhile.
      - V(fault_domain) takes them from one of the O(fault_domains), so that the other racks are.
    type: str
    choices: [none, availability_zone, fault_domain]
    default: none
  fault_domains:
    description: Name of the rack, or whatever else fails as a whole, by the name of each host that
      is to be drained. Used with O(within=fault_domain) only.
    type: dict
    default: {}
  canary:
    description: Whether the first batch is to be one host only.
    type: bool
    default: false
  max_parallel:
    description: How many guests are to leave a host at a time. Only for predictions.
    type: int
    default: 1
  bandwidth_mib_s:
    description: MiB per second that one migration has on the wire. Only for predictions.
    type: float
    default: 1000.0
  overhead_seconds:
    description: Seconds that Nova works on a guest besides copying it. Only for predictions.
    type: float
    default: 5.0
seealso:
  - module: lowtide.compute.nova_drain_info
  - module: lowtide.compute.nova_drain
"""

EXAMPLES = r"""
- name: Group all hosts of the cloud, four at a time, the first one alone
  lowtide.compute.nova_fleet_info:
    cloud: prod
    max_hosts: 4
    canary: true
  delegate_to: localhost
  register: fleet

- name: Show the batches
  ansible.builtin.debug:
    var: fleet.table

- name: Group an aggregate's hosts rack by rack
  lowtide.compute.nova_fleet_info:
    cloud: prod
    aggregate: ssd
    max_hosts: 10
    aggregate_limit: 20%
    within: fault_domain
    fault_domains:
      cmp-1: rack-1
      cmp-2: rack-1
      cmp-3: rack-2
  delegate_to: localhost
"""

RETURN = r"""
batches:
  description: The batches in their order.
  returned: success
  type: list
  elements: dict
  contains:
    number: {description: "1, 2, and so on.", type: int, sample: 1}
    hosts:
      description: Hosts that can be drained side by side.
      type: list
      elements: str
      sample: [cmp-3, cmp-7]
    guests: {description: How many guests are on them by then., type: int, sample: 31}
    canary: {description: Whether it is the canary., type: bool}
    predicted_seconds:
      description: Seconds that the slowest of its hosts is expected to take. Memory is counted,
        local disks and what guests write are not.
      type: float
      sample: 212.4
    destinations:
      description: How many guests each host would take. Nova's scheduler may choose others.
      type: dict
      sample: {cmp-1: 20, cmp-2: 11}
    kept_out:
      description: How many of the hosts that wait were kept out of it, by rule. V(max_hosts),
        V(server_group), V(aggregate_limit), V(availability_zone), V(fault_domain), or V(room),
        which is not asked any more after eight hosts in a row.
      type: dict
      sample: {aggregate_limit: 2, server_group: 1}
undrainable:
  description: Hosts that can be in no batch, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    host: {description: Name of the host., type: str, sample: cmp-9}
    code:
      description: V(no_room), V(anti_affinity), V(affinity_group), V(availability_zone), V(traits),
        V(older_hypervisor), V(no_usable_host) or V(host_down).
      type: str
      sample: no_room
    reason: {description: Why., type: str}
    remedy: {description: What can be done about it., type: str}
    guests:
      description: Names of the guests to blame, where it is about members of server groups.
      type: list
      elements: str
    short:
      description: How much more would be needed, by resource class. Empty when there is enough of
        each, but not at once on one host, and when it is not about room.
      type: dict
      sample: {MEMORY_MB: 4096}
summary:
  description: Numbers of hosts to drain, of guests on them now, of batches, of hosts that cannot be
    drained, and of moves in all. More moves than guests means that some move again.
  returned: success
  type: dict
  sample: {"hosts": 12, "guests": 240, "batches": 7, "undrainable": 0, "moves": 251}
predicted_seconds:
  description: Seconds that all drains are expected to take, without what is done to empty hosts.
  returned: success
  type: float
  sample: 2480.0
table:
  description: The same for people, as lines.
  returned: success
  type: list
  elements: str
msg:
  description: The same in one sentence.
  returned: always
  type: str
  sample: "12 hosts, 240 guests: 7 batches, about 41m20s"
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

from ansible_collections.lowtide.compute.plugins.module_utils._fleet import (
    CHOOSERS,
    SPEC,
    plan_fleet,
)
from ansible_collections.lowtide.compute.plugins.module_utils._module import run


def main() -> None:
    run(SPEC, plan_fleet, mutually_exclusive=[CHOOSERS])


if __name__ == "__main__":
    main()
