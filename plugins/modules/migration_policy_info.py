#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_policy_info
short_description: Who carries which migration policy, and what holds for each guest
version_added: 1.0.0
description:
  - Reads the policies on images, flavors and instances, and says what of them is invalid, unknown,
    contradictory or no longer up to date, and what holds for each guest with the source of each
    value, by the same rules as M(lowtide.compute.nova_drain).
  - Images, flavors and guests are read as lists. The number of calls grows with their pages, and
    not with the number of guests.
extends_documentation_fragment:
  - lowtide.compute.auth
  - lowtide.compute.attributes
  - lowtide.compute.attributes.info
  - lowtide.compute.attributes.action_group
author:
  - The Lowtide authors (@lowtide)
options:
  host:
    description:
      - Only guests of this compute host, and the images and flavors that they have. Its exact
        name, never a pattern.
      - Without it and without O(projects), the whole cloud.
    type: str
  projects:
    description:
      - Only guests of these projects, by ID or exact name, and the images and flavors that they
        have.
    type: list
    elements: str
    default: []
  guests:
    description:
      - V(all) returns what holds for each guest, V(asking) for those only whose flavor, image or
        metadata ask for anything, V(none) for none, and then no findings between them either.
    type: str
    choices: [all, asking, none]
    default: all
  profile:
    description: The operator's defaults by name, as of M(lowtide.compute.nova_drain).
    type: str
    choices: [minimize_downtime, complete_quickly, starlingx]
  policy:
    description: The operator's defaults for guests that ask for nothing else, over those of
      O(profile), as of M(lowtide.compute.nova_drain).
    type: dict
    default: {}
    suboptions:
      completion_timeout:
        description: Seconds that a migration may run in all, V(10) to V(7200); V(0) leaves it to
          the size of the guest.
        type: int
      max_downtime_ms:
        description: Milliseconds that a guest may be paused, V(10) to V(2000000).
        type: int
      bandwidth_mib_s:
        description: MiB per second that a migration may send, V(10) to V(100000); V(0) for no
          limit.
        type: int
      auto_converge:
        description: Whether guests want to be slowed down until they converge.
        type: bool
      post_copy:
        description: Whether post-copy, and so a forced completion, is allowed.
        type: bool
      on_timeout:
        description: What to do when a guest's time is spent.
        type: str
        choices: [abort, leave, force_complete]
      recovery_priority:
        description: Rank in drains by priority, V(1) is first, V(10) last.
        type: int
  on_timeout:
    description: What the drain does with a migration whose time is spent.
    type: str
    choices: [abort, force_complete, leave]
    default: abort
seealso:
  - module: lowtide.compute.migration_policy
  - module: lowtide.compute.nova_drain_info
"""

EXAMPLES = r"""
- name: Read the policies of the whole cloud
  lowtide.compute.migration_policy_info:
    cloud: prod
    guests: asking
  delegate_to: localhost
  register: policies

- name: Show them
  ansible.builtin.debug:
    msg: "{{ policies.table }}"

- name: Values that nobody hears must not stay
  ansible.builtin.assert:
    that: policies.summary.invalid == 0
    fail_msg: "{{ policies.findings | selectattr('kind', 'eq', 'invalid') | list }}"
"""

RETURN = r"""
images:
  description: Images that carry a key of a policy.
  returned: success
  type: list
  elements: dict
  contains: &carrier
    id: {description: ID., type: str}
    name: {description: Name., type: str, sample: debian-12}
    project_id: {description: ID of the project that owns it; empty for a flavor., type: str}
    keys:
      description: The policy's keys on it, as they are written there.
      type: dict
      sample: {"lowtide_max_downtime_ms": "100"}
    asks:
      description: Field, and the C(value) and C(key) that count for it there.
      type: dict
      sample: {"max_downtime_ms": {"value": 100, "key": "lowtide_max_downtime_ms"}}
flavors:
  description: Flavors that carry a key of a policy.
  returned: success
  type: list
  elements: dict
  contains: *carrier
instances:
  description: Instances with a key of a policy in their metadata.
  returned: success
  type: list
  elements: dict
  contains: *carrier
guests:
  description: What holds for each guest that O(guests) chooses, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: ID of the guest., type: str}
    name: {description: Its name., type: str, sample: db-1}
    project_id: {description: ID of its project., type: str}
    host: {description: Where it is., type: str, sample: cmp-3}
    flavor: {description: Name of its flavor., type: str, sample: m1.small}
    image_id: {description: ID of its image; empty if it boots from a volume., type: str}
    policy:
      description: Field, and the C(value) that holds with its C(source).
      type: dict
      sample: {"max_downtime_ms": {"value": 300, "source": "flavor lowtide:max_downtime_ms"}}
    policy_findings:
      description: What its flavor, image or metadata ask for in vain, as a drain's report says it.
      type: list
      elements: str
findings:
  description: What is wrong.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description:
        - V(invalid), a value that is not allowed and ignored.
        - V(unknown), a key that does not exist there.
        - V(conflict), two that ask for different things; RV(findings[].text) says which one
          counts.
        - V(refused), what only the operator may grant.
        - V(outdated), what a guest keeps of its flavor, which says something else by now.
      type: str
      sample: invalid
    place: {description: "V(image), V(flavor) or V(instance).", type: str, sample: flavor}
    id: {description: Its ID., type: str}
    name: {description: Its name., type: str, sample: m1.db}
    key: {description: The key to blame; empty if there is none., type: str}
    value: {description: What is written there., type: str, sample: soon}
    field: {description: The field that it is about; empty if there is none., type: str}
    text: {description: What is wrong., type: str}
summary:
  description: How many RV(images), RV(flavors) and RV(instances) carry policies, how many guests
    there are, and how many findings there are of each kind.
  returned: success
  type: dict
  sample: {"images": 2, "flavors": 1, "instances": 3, "guests": 120, "invalid": 1}
table:
  description: The same for people, as lines.
  returned: success
  type: list
  elements: str
msg:
  description: The same in one sentence.
  returned: always
  type: str
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

from ansible_collections.lowtide.compute.plugins.module_utils._module import run
from ansible_collections.lowtide.compute.plugins.module_utils._policy_audit import (
    SPEC,
    audit_policies,
)


def main() -> None:
    run(SPEC, audit_policies)


if __name__ == "__main__":
    main()
