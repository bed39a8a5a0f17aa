#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: libvirt_compat_info
short_description: Which running guests a hypervisor can take as they are
version_added: 1.0.0
description:
  - Reads, on a hypervisor, the versions of libvirt and QEMU, the CPU, the machine types that QEMU
    has, and what each running domain needs of them.
  - Given what it returned on another hypervisor (O(source) and O(domains)), it tells which of those
    guests could come here by a live migration. libvirt compares the CPUs
    (C(virConnectCompareHypervisorCPU)), as Nova has it compare them and as the migration itself
    would, but before anything moves.
  - Changes nothing and defines no domain. Of a domain's definition it returns what is named below,
    and no secret.
extends_documentation_fragment:
  - lowtide.compute.libvirt
  - lowtide.compute.attributes
  - lowtide.compute.attributes.info
  - lowtide.compute.attributes.hypervisor_group
author:
  - The Lowtide authors (@lowtide)
options:
  host:
    description: Nova's name of this hypervisor's host. Without it, the name that libvirt has.
    type: str
  ids:
    description: IDs of the guests to tell of. Without it, of all.
    type: list
    elements: str
    default: []
  source:
    description: RV(hypervisor) of the hypervisor on which the guests run.
    type: dict
    suboptions:
      host: {description: "Nova's name of the host.", type: str, required: true}
      hypervisor_type: {description: What libvirt drives., type: str, required: true}
      hypervisor_version: {description: "QEMU's version as a number.", type: int, required: true}
      libvirt_version: {description: "libvirt's version as a number.", type: int, required: true}
      host_cpu: {description: "The machine's CPU in libvirt's XML.", type: str, default: ""}
      platforms:
        description: What QEMU runs there.
        type: list
        elements: dict
        default: []
        suboptions:
          arch: {description: The guests' architecture., type: str, required: true}
          type: {description: V(kvm) or V(qemu)., type: str, required: true}
          machines:
            description: Machine types.
            type: list
            elements: str
            default: []
          cpu: {description: The most that a guest can have., type: str, default: ""}
          loaders:
            description: Firmware.
            type: list
            elements: str
            default: []
  domains:
    description: RV(domains) of that hypervisor.
    type: list
    elements: dict
    suboptions:
      id: {description: ID of the guest., type: str, required: true}
      name: {description: "libvirt's name of it.", type: str, required: true}
      type: {description: V(kvm) or V(qemu)., type: str, required: true}
      arch: {description: Its architecture., type: str, required: true}
      machine: {description: Its machine type., type: str, required: true}
      cpu: {description: The CPU that it has., type: str, default: ""}
      cpu_mode: {description: The mode of that CPU., type: str, default: ""}
      nova_cpu: {description: Its CPU as Nova defined it., type: str, default: ""}
      loader: {description: Path of its firmware., type: str, default: ""}
  skip_cpu_compare_on_dest:
    description: C([workarounds] skip_cpu_compare_on_dest) of this host's nova.conf. With it Nova
      compares no CPU, and libvirt's own comparison counts alone.
    type: bool
    default: false
  skip_hypervisor_version_check_on_lm:
    description: C([workarounds] skip_hypervisor_version_check_on_lm) of nova-conductor's nova.conf.
      With it Nova lets guests go to an older QEMU.
    type: bool
    default: false
seealso:
  - module: lowtide.compute.nova_drain
  - module: lowtide.compute.nova_drain_info
"""

EXAMPLES = r"""
- name: See what the guests of cmp-1 need
  lowtide.compute.libvirt_compat_info:
    host: cmp-1
  delegate_to: cmp-1
  become: true
  register: leaving

- name: Ask the others whether they can take them
  lowtide.compute.libvirt_compat_info:
    host: "{{ item }}"
    source: "{{ leaving.hypervisor }}"
    domains: "{{ leaving.domains }}"
  delegate_to: "{{ item }}"
  become: true
  loop: [cmp-2, cmp-3]
  register: asked

- name: Say who cannot go where, and why
  ansible.builtin.debug:
    msg: "{{ item.name }} cannot go to {{ item.host }}: {{ item.reason }}. {{ item.remedy }}"
  loop: "{{ asked.results | map(attribute='verdicts') | flatten }}"
  when: item.result != 'ok'

- name: Guest ID -> hosts that cannot take it
  ansible.builtin.set_fact:
    incompatible: >-
      {{ asked.results | map(attribute='incompatible') | combine(list_merge='append') }}
"""

RETURN = r"""
hypervisor:
  description: What this hypervisor offers.
  returned: success
  type: dict
  contains:
    host: {description: "Nova's name of it, as given, or libvirt's.", type: str, sample: cmp-2}
    hypervisor_type: {description: "As Nova words it.", type: str, sample: QEMU}
    hypervisor_version:
      description: QEMU's version as Nova numbers it. 8002002 is 8.2.2.
      type: int
      sample: 8002002
    libvirt_version: {description: "libvirt's version, likewise.", type: int, sample: 10000000}
    host_cpu:
      description: The CPU of the machine itself in libvirt's XML, which Nova calls C(cpu_info).
      type: str
    platforms:
      description: What QEMU runs here.
      type: list
      elements: dict
      contains:
        arch: {description: Architecture of guests., type: str, sample: x86_64}
        type: {description: V(kvm) or V(qemu) (emulation)., type: str, sample: kvm}
        machines:
          description: Machine types by all their names.
          type: list
          elements: str
          sample: [pc-i440fx-8.2, pc-q35-8.2, q35]
        cpu:
          description: The CPU that a guest can have at most (C(host-model)), in libvirt's XML.
            Empty for architectures other than the machine's.
          type: str
        loaders: {description: Paths of firmware that libvirt knows., type: list, elements: str}
domains:
  description: The domains that run here or are paused, by name.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: "UUID of the domain, which is the ID of Nova's guest.", type: str}
    name: {description: "libvirt's name of it.", type: str, sample: instance-0000002a}
    type: {description: V(kvm) or V(qemu)., type: str, sample: kvm}
    arch: {description: Its architecture., type: str, sample: x86_64}
    machine: {description: Its machine type., type: str, sample: pc-q35-8.2}
    cpu:
      description: The CPU that it has, with what QEMU added and left out, in libvirt's XML. A
        migration sends it beside the definition.
      type: str
    cpu_mode:
      description: V(custom), V(host-passthrough) or V(maximum). A running guest of C(host-model)
        has V(custom), and a model.
      type: str
      sample: custom
    nova_cpu:
      description: Its CPU as Nova defined it, when that names a model. When it does not, Nova
        compares the C(host_cpu) of its hypervisor instead.
      type: str
    loader: {description: Path of its firmware; empty for BIOS., type: str}
verdicts:
  description: Whether each of O(domains) could come here, in their order.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: ID of the guest., type: str}
    name: {description: "libvirt's name of it.", type: str, sample: instance-0000002a}
    host: {description: "This host, by Nova's name.", type: str, sample: cmp-2}
    result:
      description: V(ok), V(no), or V(unknown) when nothing forbids it and not everything could be
        seen.
      type: str
      sample: "no"
    cpu:
      description: How libvirt compared the guest's CPU. V(identical), V(superset) (this host has
        more), V(incompatible), or null when it did not.
      type: str
      sample: incompatible
    code: {description: "One word, of the first finding; empty for V(ok).", type: str, sample: cpu}
    reason: {description: What speaks against it., type: str}
    remedy: {description: What to do about it., type: str}
    source: {description: "The rule's source.", type: str}
    findings:
      description: All that speaks against it, the worst first.
      type: list
      elements: dict
      contains:
        code: {description: One word., type: str, sample: machine_type}
        result: {description: V(no) or V(unknown)., type: str, sample: "no"}
        reason:
          description: What speaks against it.
          type: str
          sample: QEMU on cmp-2 has no machine type pc-q35-9.2
        remedy: {description: What to do about it., type: str}
        source: {description: The source of the rule., type: str}
incompatible:
  description: Guest ID -> this host, of the guests whose verdict is V(no).
  returned: success
  type: dict
  sample: {"3a2f0f2e-4f4c-4d0b-8e0b-6b2c7a1d9f10": ["cmp-2"]}
msg:
  description: The numbers in one sentence.
  returned: always
  type: str
  sample: >-
    QEMU 8.2.2, libvirt 10.0.0, 3 domains; of 12 other guests it can take 10, 1 not, 1 unknown
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

from ansible_collections.lowtide.compute.plugins.module_utils._compat import survey
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.compat import LibvirtCompat
from ansible_collections.lowtide.compute.plugins.module_utils._host_module import (
    HostTask,
    run_on_host,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.compat import version

TEXT = {"type": "str", "required": True}
OPTIONAL = {"type": "str", "default": ""}
NUMBER = {"type": "int", "required": True}
TEXTS = {"type": "list", "elements": "str", "default": []}
PLATFORM = {"arch": TEXT, "type": TEXT, "machines": TEXTS, "cpu": OPTIONAL, "loaders": TEXTS}

SPEC = {
    "uri": {"type": "str", "default": "qemu:///system"},
    "host": {"type": "str"},
    "ids": TEXTS,
    "source": {
        "type": "dict",
        "options": {
            "host": TEXT,
            "hypervisor_type": TEXT,
            "hypervisor_version": NUMBER,
            "libvirt_version": NUMBER,
            "host_cpu": OPTIONAL,
            "platforms": {"type": "list", "elements": "dict", "default": [], "options": PLATFORM},
        },
    },
    "domains": {
        "type": "list",
        "elements": "dict",
        "options": {
            **dict.fromkeys(("id", "name", "type", "arch", "machine"), TEXT),
            **dict.fromkeys(("cpu", "cpu_mode", "nova_cpu", "loader"), OPTIONAL),
        },
    },
    "skip_cpu_compare_on_dest": {"type": "bool", "default": False},
    "skip_hypervisor_version_check_on_lm": {"type": "bool", "default": False},
}


def handle(task: HostTask) -> dict[str, Any]:
    """One look at the hypervisor, and its verdict of guests of another."""
    found = survey(LibvirtCompat(task.params["uri"]), task.params)
    here, results = found["hypervisor"], [row["result"] for row in found["verdicts"]]
    can = f"{results.count('ok')}, {results.count('no')} not, {results.count('unknown')} unknown"
    return {
        "changed": False,
        **found,
        "msg": f"{here['hypervisor_type']} {version(here['hypervisor_version'])},"
        f" libvirt {version(here['libvirt_version'])}, {len(found['domains'])} domains;"
        f" of {len(results)} other guests it can take {can}",
    }


def main() -> None:
    run_on_host(SPEC, handle, required_together=[("source", "domains")])


if __name__ == "__main__":
    main()
