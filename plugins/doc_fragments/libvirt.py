# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  uri:
    description:
      - URI of the hypervisor's libvirt, as C(virsh --connect) takes it.
      - The module runs on the hypervisor, or wherever this URI leads to it from.
    type: str
    default: qemu:///system
requirements:
  - libvirt-python (Debian and Red Hat call it C(python3-libvirt)), for the Python that runs the
    module on the hypervisor
  - libvirt 8.0 and QEMU 6.2 or later, as Nova needs them too
"""
