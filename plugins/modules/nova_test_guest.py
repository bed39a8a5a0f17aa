#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module nova_test_guest: a guest that exists only to be migrated."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nova_test_guest
short_description: Keep a guest on a host that exists only to be migrated
version_added: 1.0.0
description:
  - Makes a small guest on a host, to try migrations with, and deletes it again.
  - A guest that is made here has C(lowtide_test_guest) in its metadata. Any other guest of that
    name is never touched.
extends_documentation_fragment:
  - lowtide.compute.auth
  - lowtide.compute.attributes
  - lowtide.compute.attributes.action
  - lowtide.compute.attributes.action_group
attributes:
  idempotent:
    support: full
author:
  - The Lowtide authors (@lowtide)
options:
  name:
    description: Name of the guest. No other guest, of whatever project, may have it.
    type: str
    default: lowtide-test-guest
  state:
    description:
      - V(present) means that the guest is active on O(host). One of ours that is elsewhere, or is
        not active, is replaced.
      - V(absent) means that there is no such guest of ours.
    type: str
    choices: [present, absent]
    default: present
  host:
    description:
      - Name of the compute host, exactly as Nova names it. Nova's scheduler checks it; a disabled
        host is refused.
      - Required with O(state=present).
    type: str
  image:
    description: ID or name of its image. Required with O(state=present).
    type: str
  flavor:
    description: ID or name of its flavor. Required with O(state=present). The smallest will do.
    type: str
  network:
    description: ID or name of its network. Without one the guest has no port, and what a move does
      to ports is not tried.
    type: str
  timeout:
    description: Seconds that Nova may take to build or delete it.
    type: int
    default: 300
seealso:
  - module: lowtide.compute.nova_live_migrate
"""

EXAMPLES = r"""
- name: Make a guest to try a migration with
  lowtide.compute.nova_test_guest:
    cloud: prod
    host: cmp-1
    image: cirros
    flavor: m1.tiny
    network: test
  delegate_to: localhost

- name: Delete it
  lowtide.compute.nova_test_guest:
    cloud: prod
    state: absent
  delegate_to: localhost
"""

RETURN = r"""
guest:
  description: The guest, or null when there is none.
  returned: success
  type: dict
  contains:
    id: {description: ID of the guest; empty in check mode when it would be made., type: str}
    name: {description: Its name., type: str, sample: lowtide-test-guest}
    host: {description: Where it is., type: str, sample: cmp-1}
    status: {description: Its status in Nova., type: str, sample: ACTIVE}
msg:
  description: What was done, in one sentence.
  returned: always
  type: str
  sample: lowtide-test-guest is active on cmp-1
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

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.guest_maker import (
    GuestMaker,
    TrialGuest,
)
from ansible_collections.lowtide.compute.plugins.module_utils._module import Task, run
from ansible_collections.lowtide.compute.plugins.module_utils._test_guest import (
    guest_row,
    keep,
    refuse_foreign,
    remove,
)

SPEC = {
    "name": {"type": "str", "default": "lowtide-test-guest"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "host": {"type": "str"},
    "image": {"type": "str"},
    "flavor": {"type": "str"},
    "network": {"type": "str"},
    "timeout": {"type": "int", "default": 300},
}
RULES = {"required_if": [("state", "present", ("host", "image", "flavor"))]}


def handle(task: Task) -> dict[str, Any]:
    """Make, replace or delete the guest, as far as it is not so already."""
    maker, name = GuestMaker(task.session), task.params["name"]
    before = maker.named(name)
    after = before
    if task.params["state"] == "present":
        after = keep(task, maker, before)
    elif before is not None:
        refuse_foreign(before)
        after = remove(task, maker, before)
    return {
        "changed": after != before,
        "guest": guest_row(after),
        "msg": sentence(name, after),
        "diff": {"before": guest_row(before) or {}, "after": guest_row(after) or {}},
    }


def sentence(name: str, guest: TrialGuest | None) -> str:
    """How it stands, for people."""
    return f"{name} is active on {guest.host}" if guest else f"there is no {name}"


def main() -> None:
    run(SPEC, handle, **RULES)


if __name__ == "__main__":
    main()
