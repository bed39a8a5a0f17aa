#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module numa_check: assert that guests fit hosts, cell by cell."""

from __future__ import annotations

DOCUMENTATION = r"""
module: numa_check
short_description: Assert that guests fit the NUMA cells of hosts
version_added: 1.0.0
description:
  - Gives a verdict for each guest on each host, V(fit), V(no_fit) or V(unknown), by the rules of
    Nova's own claim (C(nova/virt/hardware.py), C(numa_fit_instance_to_host)) after those of its
    scheduler's request to Placement.
  - Fails, with all reasons at once, when the guests do not fit as O(affinity) and O(require) ask.
  - Changes nothing. The verdict is about now; the claim on the destination has the last word.
  - Runs where the APIs can be reached. What M(lowtide.compute.numa_info) read on the hypervisors is
    given as O(topologies). Without it a host is judged by Placement alone, which can say V(no_fit)
    and never V(fit).
extends_documentation_fragment:
  - lowtide.compute.auth
  - lowtide.compute.attributes
  - lowtide.compute.attributes.info
  - lowtide.compute.attributes.action_group
author:
  - The Lowtide authors (@lowtide)
options:
  guests:
    description:
      - The guests. Each is named by one of O(guests[].id), O(guests[].name) and
        O(guests[].flavor).
      - Exactly one of O(guests) and O(source) is required.
    type: list
    elements: dict
    suboptions:
      id:
        description: ID of a guest.
        type: str
      name:
        description: Exact name of a guest, of whatever project. No other guest may have it.
        type: str
      flavor:
        description: ID or name of a flavor, for a guest that does not exist yet. It has no ports.
        type: str
      image:
        description: ID or name of the image that goes with O(guests[].flavor).
        type: str
  source:
    description: All guests of this compute host. Its exact name, never a pattern.
    type: str
  hosts:
    description:
      - The hosts that the guests are to fit, by the names that Nova gives them.
      - Without it, all hosts that are enabled and up, but for O(source); and a guest's own host
        does not count. A host that is named counts even if the guest is there already.
    type: list
    elements: str
  topologies:
    description:
      - Host, by Nova's name, and what M(lowtide.compute.numa_info) returned of it as C(numa). Those
        of hosts that are not asked about are ignored.
    type: dict
    default: {}
  affinity:
    description:
      - V(strict) accepts a verdict of V(fit) whose RV(verdicts[].spread) is false, and nothing
        else.
      - V(best_effort) accepts also what Nova would spread over cells, and V(unknown), which it
        warns of.
    type: str
    choices: [strict, best_effort]
    default: strict
  require:
    description: Whether each guest needs one of the hosts, V(any), or must fit each of them,
      V(all).
    type: str
    choices: [any, all]
    default: any
  together:
    description:
      - Whether the guests are to fit at the same time. Each then leaves less to those after it.
      - The guest with the most dedicated CPUs and memory comes first, and takes the first host that
        has room for it. That this fails does not prove that there is no other way.
    type: bool
    default: false
seealso:
  - module: lowtide.compute.numa_info
  - module: lowtide.compute.nova_drain_info
"""

EXAMPLES = r"""
- name: Every pinned guest of cmp-1 must find a host that keeps its affinity
  lowtide.compute.numa_check:
    cloud: prod
    source: cmp-1
    topologies:
      cmp-2: "{{ hostvars['cmp-2'].topology.numa }}"
      cmp-3: "{{ hostvars['cmp-3'].topology.numa }}"
    together: true
  delegate_to: localhost
  register: check

- name: Show where
  ansible.builtin.debug:
    msg: "{{ check.table }}"

- name: What can be said without the hypervisors
  lowtide.compute.numa_check:
    cloud: prod
    guests:
      - name: database
      - flavor: pinned.8
        image: debian-13
    hosts: [cmp-2, cmp-3]
    require: all
    affinity: best_effort
  delegate_to: localhost
"""

RETURN = r"""
holds:
  description: Whether all guests fit as asked. When they do not the task has failed, and returns
    all the rest nevertheless.
  returned: success, or when guests do not fit
  type: bool
verdicts:
  description: One for each guest and host.
  returned: success, or when guests do not fit
  type: list
  elements: dict
  contains:
    guest_id: {description: ID of the guest; empty for one of a flavor., type: str}
    guest: {description: "Name of the guest, or of flavor and image.", type: str, sample: database}
    host: {description: Name of the host., type: str, sample: cmp-2}
    result: {description: "V(fit), V(no_fit) or V(unknown).", type: str, sample: no_fit}
    code:
      description:
        - One word for the first reason that Nova would give. V(cells), V(memory), V(page_size),
          V(dedicated_cpus), V(shared_cpus), V(thread_policy), V(emulator_threads), V(pci),
          V(pci_affinity), V(network_affinity).
        - V(bad_request) when the flavor and image of the guest make no sense, V(here) when it is on
          that host already, V(unseen) when the host's cells were not seen.
      type: str
      sample: dedicated_cpus
    reason: {description: A sentence with the numbers., type: str}
    cells:
      description: Of a fit, where each cell of the guest goes, in their order.
      type: list
      elements: dict
      contains:
        guest_cell: {description: Cell of the guest., type: int, sample: 0}
        host_cell: {description: Cell of the host., type: int, sample: 1}
        page_size_kib: {description: "Page size in KiB, V(0) for no wish.", type: int, sample: 2048}
        pinning:
          description: Guest CPU, and the host CPU that it gets. Nova may take others that are as
            good, of the same cell.
          type: dict
        emulator_cpus:
          description: Host CPUs for the emulator alone.
          type: list
          elements: int
    spread:
      description: It fits, and Nova keeps no affinity. The guest has no topology and no single cell
        has room for it, or a device that is only preferred is on another cell.
      type: bool
    seen:
      description: V(hypervisor) when the host's cells were judged, V(api) when the APIs said
        enough, or were all there was.
      type: str
      sample: hypervisor
    accepted: {description: Whether O(affinity) accepts it., type: bool}
guests:
  description: The guests.
  returned: success, or when guests do not fit
  type: list
  elements: dict
  contains:
    id: {description: ID; empty for one of a flavor., type: str}
    name: {description: Name., type: str, sample: database}
    flavor: {description: Name of its flavor., type: str, sample: pinned.8}
    host: {description: Where it is; empty for one of a flavor., type: str, sample: cmp-1}
    asks: {description: "What it asks for, cell by cell.", type: dict}
    holds: {description: Whether it fits as asked., type: bool}
    fits: {description: Hosts that are accepted for it., type: list, elements: str}
    takes: {description: "With O(together), hosts that it took.", type: list, elements: str}
hosts:
  description: The hosts.
  returned: success, or when guests do not fit
  type: list
  elements: dict
  contains:
    host: {description: Name of the host., type: str, sample: cmp-2}
    usable: {description: Whether it is enabled and up., type: bool}
    free: {description: What is free in Placement by resource class., type: dict}
    cells_seen: {description: Whether O(topologies) has it., type: bool}
    occupied:
      description: Of named hosts whose cells were not seen and would have mattered, C(cell) and
        C(pinned_cpus) that the guests there have (C(/servers/ID/topology), Nova 2.78).
      type: list
      elements: dict
summary:
  description: Numbers of guests, hosts, and of verdicts by result.
  returned: success, or when guests do not fit
  type: dict
  sample: {fit: 3, guests: 2, hosts: 2, no_fit: 1, unknown: 0}
table:
  description: Guests by hosts, for people. A cell has the host's cells, or why not; a question mark
    marks what is not known, an asterisk where a guest was put (O(together)).
  returned: success, or when guests do not fit
  type: list
  elements: str
msg:
  description: The outcome in one sentence, with all reasons when it fails.
  returned: always
  type: str
  sample: 2 guests fit, on 2 hosts asked about
code:
  description: One word for what went wrong; V(does_not_fit) when guests do not fit.
  returned: failure
  type: str
  sample: does_not_fit
remedy:
  description: What to do about it.
  returned: failure
  type: str
"""

from ansible_collections.lowtide.compute.plugins.module_utils._module import run
from ansible_collections.lowtide.compute.plugins.module_utils._numa_check import (
    RULES,
    SPEC,
    check_fit,
)


def main() -> None:
    run(SPEC, check_fit, **RULES)


if __name__ == "__main__":
    main()
