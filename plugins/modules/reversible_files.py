#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: reversible_files
short_description: Write files of a host so that they can be taken back to the byte
version_added: 1.0.0
description:
  - Writes files, or lines at the beginning of files, and remembers what was there before - text,
    mode, owner, symbolic link, or nothing.
  - O(state=absent) puts that back, in the opposite order. Lines are taken out of the file as it is
    then, so that what others wrote into it meanwhile stays. A file that somebody else replaced
    meanwhile is left alone, with a warning.
  - A file that was written earlier with the same O(record) and is no longer in O(files) is taken
    back, too.
  - Each file is replaced at once, and what was there is noted first. It may be killed at any time.
extends_documentation_fragment:
  - lowtide.compute.attributes
  - lowtide.compute.attributes.action
  - lowtide.compute.attributes.hypervisor_group
attributes:
  idempotent:
    support: full
author:
  - The Lowtide authors (@lowtide)
options:
  state:
    description: Whether the files should be as asked, or as they were before.
    type: str
    choices: [present, absent]
    default: present
  record:
    description:
      - The directory in which it remembers what was there. It is made when it is missing, for root
        only, because it may come to hold keys.
    type: path
    required: true
  marker:
    description: What the comments around lines of ours say, after C(BEGIN) and C(END).
    type: str
    default: lowtide.compute
  directories:
    description:
      - Directories to make where they are missing. One that exists stays as it is.
      - Directories on the way to O(files) that are not named here are made with mode V(0755).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The directory.
        type: path
        required: true
      mode:
        description: Its mode, octal and quoted. Without it V(0755).
        type: str
      owner:
        description: Name or number of the user that owns it. Without it root.
        type: str
      group:
        description: Name or number of its group. Without it root's.
        type: str
  files:
    description:
      - The files, in the order in which they are written. One of O(files[].content),
        O(files[].secret) and O(files[].block) is needed for each.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      content:
        description: All that it shall hold.
        type: str
      secret:
        description: All that it shall hold, never shown in a diff or a log.
        type: str
      block:
        description:
          - Lines to begin it with, between two comments. The rest of the file stays.
          - They are at the beginning because libvirt takes the first of several values of an
            option.
        type: str
      mode:
        description: Its mode, octal and quoted. Without it the mode that it has, or V(0644).
        type: str
      owner:
        description: Name or number of the user that owns it. Without it who owns it, or root.
        type: str
      group:
        description: Name or number of its group. Without it the one that it has, or root's.
        type: str
"""

EXAMPLES = r"""
- name: Let QEMU listen for migrations on one address
  lowtide.compute.reversible_files:
    record: /var/lib/lowtide/example
    files:
      - path: /etc/libvirt/qemu.conf
        block: migration_address = "192.0.2.11"
  become: true

- name: Take everything back
  lowtide.compute.reversible_files:
    record: /var/lib/lowtide/example
    state: absent
  become: true
"""

RETURN = r"""
files:
  description: The files, also those that went back.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The file; of lines in a symbolic link the file that it points to.
      type: str
      sample: /etc/libvirt/qemu.conf
    action:
      description: What was done, or in check mode would be. V(none), V(create), V(replace),
        V(remove), or V(left) when somebody else had replaced it.
      type: str
      sample: replace
    changed_us:
      description: When it was last changed, in microseconds on the monotonic clock on which
        systemd notes the start of services; 0 when that was before the host booted.
      type: int
      sample: 81726354
msg:
  description: What was done, in one line.
  returned: always
  type: str
  sample: replace /etc/libvirt/qemu.conf
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

from ansible_collections.lowtide.compute.plugins.module_utils._host_module import (
    HostTask,
    run_on_host,
)
from ansible_collections.lowtide.compute.plugins.module_utils._kept import TEXTS, keep

LOOKS = {"mode": {"type": "str"}, "owner": {"type": "str"}, "group": {"type": "str"}}
SPEC = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "record": {"type": "path", "required": True},
    "marker": {"type": "str", "default": "lowtide.compute"},
    "directories": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": {"type": "path", "required": True}, **LOOKS},
    },
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "path", "required": True},
            "content": {"type": "str"},
            "secret": {"type": "str", "no_log": True},
            "block": {"type": "str"},
            **LOOKS,
        },
        "required_one_of": [TEXTS],
        "mutually_exclusive": [TEXTS],
    },
}


def handle(task: HostTask) -> dict[str, Any]:
    """Make the files so, or take them back."""
    return keep(task.params, task.check_mode, task.warn)


def main() -> None:
    run_on_host(SPEC, handle)


if __name__ == "__main__":
    main()
