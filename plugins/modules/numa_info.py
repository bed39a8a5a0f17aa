#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: numa_info
short_description: Which NUMA cells a hypervisor has, and what guests have of them
version_added: 1.0.0
description:
  - Reads, on a hypervisor, its cells with their CPUs, thread siblings, memory, pages and distances,
    its PCI devices, and what each domain has of all that, from libvirt.
  - Reads, with oslo.config's own rules, what nova.conf makes of it. Which CPUs are for pinned and
    for floating guests, which pages are reserved, which devices guests can have, and which physical
    networks belong to which cell.
  - Returns all of it as Nova's claim on this host would see it. RV(numa) is what
    M(lowtide.compute.numa_check) takes.
  - Nova counts from its own records, this module from the domains that Nova wrote from them. So it
    does not see what Nova has claimed for a guest that has no domain here, because it is being
    built, is about to migrate to here, or was resized or migrated cold and is not confirmed yet. A
    stopped guest has a domain, and counts.
  - Domains that Nova did not make, and guests without a NUMA topology, count for nothing, as for
    Nova's claim.
extends_documentation_fragment:
  - lowtide.compute.libvirt
  - lowtide.compute.attributes
  - lowtide.compute.attributes.info
  - lowtide.compute.attributes.hypervisor_group
author:
  - The Lowtide authors (@lowtide)
options:
  host:
    description:
      - Nova's name of the host.
      - Without it, C(host) of nova.conf, or else libvirt's name of the machine.
    type: str
  config_files:
    description: The files with which nova-compute is started (C(--config-file)), in their order.
      By default those that oslo.config reads by itself.
    type: list
    elements: path
  config_dirs:
    description: The directories with which it is started (C(--config-dir)), read after those. By
      default those that oslo.config reads by itself, before them.
    type: list
    elements: path
  cpu_shared_set:
    description:
      - CPUs for floating guests, such as V(0-3,^2), in place of nova.conf's C([compute]
        cpu_shared_set). Empty for none.
      - With this option or O(cpu_dedicated_set), nova.conf's C(vcpu_pin_set) is left aside.
    type: str
  cpu_dedicated_set:
    description: CPUs for pinned guests, in place of nova.conf's C([compute] cpu_dedicated_set).
      Empty for none.
    type: str
  reserved_huge_pages:
    description: Pages that no guest gets, such as V(node:0,size:2048,count:64), the size in KiB or
      as V(1GB), in place of nova.conf's C(reserved_huge_pages).
    type: list
    elements: str
  device_spec:
    description: PCI devices that guests can have, in place of nova.conf's C([pci] device_spec), as
      dictionaries or their JSON.
    type: list
    elements: raw
  pci_alias:
    description: Names by which flavors ask for them, in place of nova.conf's C([pci] alias), as
      dictionaries or their JSON.
    type: list
    elements: raw
  cpu_allocation_ratio:
    description:
      - Virtual CPUs for each CPU for floating guests, in place of nova.conf's
        C(cpu_allocation_ratio).
      - Where neither says it, it is in Placement, and RV(numa) has null for it.
    type: float
  ram_allocation_ratio:
    description: The same for memory.
    type: float
seealso:
  - module: lowtide.compute.numa_check
  - name: Nova's libvirt driver
    description: The rules are those of C(_get_host_numa_topology).
    link: https://opendev.org/openstack/nova/src/branch/master/nova/virt/libvirt/driver.py
"""

EXAMPLES = r"""
- name: Look at the cells of a hypervisor
  lowtide.compute.numa_info:
  become: true
  register: found

- name: Say which dedicated CPUs are left in each cell
  ansible.builtin.debug:
    msg: "{{ item.id }}: {{ item.dedicated_cpus | difference(item.pinned_cpus) }}"
  loop: "{{ found.cells }}"
  loop_control:
    label: "{{ item.id }}"

- name: See what other sets would leave
  lowtide.compute.numa_info:
    cpu_shared_set: 0-3
    cpu_dedicated_set: 4-31
  become: true
"""

RETURN = r"""
host:
  description: Nova's name of the host.
  returned: success
  type: str
  sample: cmp-1
cells:
  description: The cells, by number. Empty where Nova uses none on this architecture, or libvirt
    tells none.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: Its number., type: int, sample: 0}
    cpus: {description: All its CPUs., type: list, elements: int, sample: [0, 1, 4, 5]}
    shared_cpus: {description: CPUs for floating guests., type: list, elements: int}
    dedicated_cpus:
      description: CPUs for pinned guests. Where nova.conf sets neither, all CPUs are both.
      type: list
      elements: int
    pinned_cpus: {description: Dedicated CPUs that guests have., type: list, elements: int}
    siblings:
      description: Threads of one core, of CPUs that are shared or dedicated.
      type: list
      elements: list
      sample: [[0, 4], [1, 5]]
    socket:
      description: Its processor's number, null when that is not one.
      type: int
    memory_mib: {description: MiB of memory., type: int, sample: 193024}
    memory_free_mib:
      description: MiB that nothing uses now, of memory that is no huge page. Null when libvirt does
        not tell.
      type: int
    memory_used_mib:
      description: MiB that guests with a NUMA topology have, as Nova counts them.
      type: int
    cpu_usage: {description: Floating vCPUs of such guests., type: int}
    pages:
      description: Its pages, by size.
      type: list
      elements: dict
      contains:
        size_kib: {description: KiB of a page., type: int, sample: 2048}
        total: {description: Pages that there are., type: int}
        used:
          description: Pages that guests with a NUMA topology have, as Nova counts them.
          type: int
        reserved: {description: Pages that reserved_huge_pages keeps from guests., type: int}
        free:
          description: Pages that nothing uses now, null when libvirt does not tell.
          type: int
    distances:
      description: Cell to distance, 10 for itself.
      type: dict
      sample: {"0": 10, "1": 21}
    networks:
      description: Physical networks that nova.conf ties to it.
      type: list
      elements: str
    tunnelled: {description: Whether nova.conf ties tunnelled networks to it., type: bool}
devices:
  description: All PCI devices of the host, by address.
  returned: success
  type: list
  elements: dict
  contains:
    address: {description: Its address., type: str, sample: "0000:3b:02.1"}
    cell: {description: "Its cell, null when it does not say.", type: int}
    vendor_id: {description: Hex digits., type: str, sample: "8086"}
    product_id: {description: Hex digits., type: str, sample: "154c"}
    kind:
      description: V(type-PCI), V(type-PF), V(type-VF) or V(vdpa), as Nova has it.
      type: str
      sample: type-VF
    parent: {description: "The PF of a VF, else empty.", type: str}
    offered: {description: Whether nova.conf's device_spec offers it to guests., type: bool}
    aliases:
      description: Aliases by which flavors get it.
      type: list
      elements: str
    physical_network:
      description: Its physical network, for SR-IOV ports, else empty.
      type: str
    guest: {description: "ID of the domain that has it, else empty.", type: str}
domains:
  description: The domains, by name.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: "UUID of the domain, which is the ID of Nova's guest.", type: str}
    name: {description: "Libvirt's name of it.", type: str, sample: instance-0000002a}
    state:
      description: Its state, as Nova words power states.
      type: str
      sample: running
    nova: {description: Whether Nova made it., type: bool}
    counted: {description: Whether Nova counts it in the cells., type: bool}
    pins:
      description: vCPU to the CPUs on which it may run.
      type: dict
      sample: {"0": [4], "1": [5]}
    emulator_cpus: {description: CPUs on which its emulator may run., type: list, elements: int}
    cells:
      description: Its own cells.
      type: list
      elements: dict
      contains:
        id: {description: Its number in the guest., type: int}
        cpus: {description: vCPUs in it., type: list, elements: int}
        memory_mib: {description: MiB of memory., type: int}
        host_cell: {description: "The host's cell in which it is, null for several.", type: int}
        page_size_kib: {description: "KiB of a page, 0 for the smallest.", type: int}
    devices:
      description: Addresses of its PCI devices.
      type: list
      elements: str
config:
  description:
    - The options C(cpu_shared_set), C(cpu_dedicated_set), C(vcpu_pin_set) and
      C(reserved_huge_pages) as they are in force, each with its C(value) and its C(source).
    - The source is the file, the module's option, or V(default).
  returned: success
  type: dict
  sample: {cpu_dedicated_set: {value: 4-31, source: /etc/nova/nova.conf}}
unseen:
  description: What could not be seen, a phrase for each. Verdicts that rest on it are unknown.
  returned: success
  type: list
  elements: str
numa:
  description: The same once more in the form that M(lowtide.compute.numa_check) takes.
  returned: success
  type: dict
msg:
  description: The numbers in one sentence.
  returned: always
  type: str
  sample: 2 cells, 12 of 56 dedicated CPUs taken, 8 devices for guests, 5 of 9 domains with a NUMA
    topology
code:
  description: One word for what went wrong.
  returned: failure
  type: str
  sample: bad_option
remedy:
  description: What to do about it.
  returned: failure
  type: str
"""

from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.topology import (
    LibvirtTopology,
)
from ansible_collections.lowtide.compute.plugins.module_utils._host_module import (
    HostTask,
    run_on_host,
)
from ansible_collections.lowtide.compute.plugins.module_utils._numa import info

SPEC = {
    "uri": {"type": "str", "default": "qemu:///system"},
    "host": {"type": "str"},
    "config_files": {"type": "list", "elements": "path"},
    "config_dirs": {"type": "list", "elements": "path"},
    "cpu_shared_set": {"type": "str"},
    "cpu_dedicated_set": {"type": "str"},
    "reserved_huge_pages": {"type": "list", "elements": "str"},
    "device_spec": {"type": "list", "elements": "raw"},
    "pci_alias": {"type": "list", "elements": "raw"},
    "cpu_allocation_ratio": {"type": "float"},
    "ram_allocation_ratio": {"type": "float"},
}


def handle(task: HostTask) -> dict[str, Any]:
    """One look, as data."""
    topology = LibvirtTopology(task.params["uri"])
    return {"changed": False, **info(topology, task.params, task.warn)}


def main() -> None:
    run_on_host(SPEC, handle)


if __name__ == "__main__":
    main()
