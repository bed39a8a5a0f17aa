#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nova_config_info
short_description: Tell how nova-compute is configured to migrate, and whether Nova takes it
version_added: 1.0.0
description:
  - Reads Nova's configuration on a hypervisor as oslo.config does, and tells each option that bears
    on migration with the file that decides it.
  - Has the drop-in that M(lowtide.compute.nova_config) wrote checked by oslo.config's validator,
    and by Nova's own definitions of the options, in the Python environment in which nova-compute
    runs.
  - It tells what the files say. nova-compute heeds most of it only when it is restarted.
extends_documentation_fragment:
  - lowtide.compute.attributes
  - lowtide.compute.attributes.info
  - lowtide.compute.attributes.hypervisor_group
author:
  - The Lowtide authors (@lowtide)
options:
  path:
    description: The drop-in to check.
    type: path
    default: /etc/nova/nova.conf.d/90-lowtide-migration.conf
  release:
    description: The release of Nova, as V(2026.1), V(gazpacho) or V(33). V(auto) asks the nova
      package on this host.
    type: str
    default: auto
  nova_compute:
    description: The program nova-compute, a name on C(PATH) or a path. Its first line names the
      Python whose nova package is asked.
    type: str
    default: nova-compute
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
seealso:
  - module: lowtide.compute.nova_config
"""

EXAMPLES = r"""
- name: Look at the configuration for migrations
  lowtide.compute.nova_config_info:
  become: true
  register: config

- name: Want Nova to take it, and the limit to be in force
  ansible.builtin.assert:
    that:
      - config.validated
      - config.problems | length == 0
      - config.effective.libvirt.live_migration_bandwidth.value == 417
"""

RETURN = r"""
release:
  description: The number of the release, the nova package's major version.
  returned: success
  type: int
  sample: 33
version:
  description: The nova package's version; empty when there is none on this host.
  returned: success
  type: str
  sample: 33.0.2
python:
  description: The Python that runs nova-compute; empty when it is not on this host.
  returned: success
  type: str
  sample: /usr/bin/python3
files:
  description: The files that nova-compute reads, the last one wins.
  returned: success
  type: list
  elements: str
  sample: [/etc/nova/nova.conf, /etc/nova/nova.conf.d/90-lowtide-migration.conf]
written:
  description: Whether the drop-in is there.
  returned: success
  type: bool
effective:
  description:
    - The options that bear on migration as they are in force, group to option. Of each C(value),
      with its type, and C(source), the file or V(default).
    - A value that Nova takes from the host itself is null, and C($my_ip) stays as it is written.
  returned: success
  type: dict
  sample: {libvirt: {live_migration_downtime: {value: 500, source: default}}}
validated:
  description: Whether oslo.config's validator and Nova's definitions have seen the drop-in.
  returned: success
  type: bool
problems:
  description: What they found in the drop-in, and values in any file that Nova does not take.
  returned: success
  type: list
  elements: dict
  contains:
    severity:
      description: V(error), or V(warning) such as for a deprecated option.
      type: str
      sample: error
    option: {description: The option., type: str, sample: libvirt.live_migration_downtime}
    text: {description: What is wrong with it., type: str}
msg:
  description: The numbers in one sentence.
  returned: always
  type: str
  sample: nova 33.0.2, 2 files, 0 problems
code:
  description: One word for what went wrong.
  returned: failure
  type: str
  sample: bad_configuration
remedy:
  description: What to do about it.
  returned: failure
  type: str
"""

from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._host_module import (
    HostTask,
    run_on_host,
)
from ansible_collections.lowtide.compute.plugins.module_utils._nova_conf import info

SPEC = {
    "path": {"type": "path", "default": "/etc/nova/nova.conf.d/90-lowtide-migration.conf"},
    "release": {"type": "str", "default": "auto"},
    "nova_compute": {"type": "str", "default": "nova-compute"},
    "config_files": {"type": "list", "elements": "path"},
    "config_dirs": {"type": "list", "elements": "path"},
}


def handle(task: HostTask) -> dict[str, Any]:
    """One look, as data."""
    return {"changed": False, **info(task.params)}


def main() -> None:
    run_on_host(SPEC, handle)


if __name__ == "__main__":
    main()
