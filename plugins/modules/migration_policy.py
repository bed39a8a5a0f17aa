#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_policy
short_description: Say on images, flavors and instances what their migration may cost
version_added: 1.0.0
description:
  - Sets or removes the keys by which M(lowtide.compute.nova_drain) knows what the migration of a
    guest may cost it - properties of images, extra specs of flavors, metadata of instances.
  - Every value of every resource is checked before the first write, by the rules by which a drain
    reads it. What is wrong is told all at once.
  - A change of an image counts for running guests too, one of a flavor only for guests that are
    built or resized afterwards, one of an instance at once. What is read when says
    C(docs/image_metadata.md).
  - Other properties, extra specs and metadata are never touched.
extends_documentation_fragment:
  - lowtide.compute.auth
  - lowtide.compute.attributes
  - lowtide.compute.attributes.action_group
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
author:
  - The Lowtide authors (@lowtide)
options:
  policies:
    description: What to write, and on whom. Where two of them contradict each other about the same
      image, flavor or instance, nothing is written.
    type: list
    elements: dict
    required: true
    suboptions:
      images:
        description: Images, by ID or exact name. A name that several images have is refused.
        type: list
        elements: str
        default: []
      image_filter:
        description: Images with all of these tags and properties, besides O(policies[].images).
          Without O(others), those of other projects and protected ones are left out.
        type: dict
        suboptions:
          tags:
            description: Tags that an image has.
            type: list
            elements: str
            default: []
          properties:
            description: Properties, or other attributes such as C(visibility), with their values.
            type: dict
            default: {}
      flavors:
        description: Flavors, by ID or exact name, also those that are not public.
        type: list
        elements: str
        default: []
      servers:
        description: Instances, by ID or exact name. A name that several have is refused; give
          O(policies[].project) with it, or IDs.
        type: list
        elements: str
        default: []
      project:
        description: The project of O(policies[].servers), by ID or exact name.
        type: str
      policy:
        description: What their migration may cost. What is left out stays as it is, unless
          O(state=exact). Who is heard when they disagree says C(docs/policy.md).
        type: dict
        suboptions:
          completion_timeout:
            description: Seconds that a live migration may run in all, V(10) to V(7200); V(0) leaves
              it to the drain. StarlingX's key takes V(0) and V(120) to V(800).
            type: int
          max_downtime_ms:
            description: Milliseconds that a guest may be paused, V(10) to V(2000000). StarlingX's
              key takes V(100) or more.
            type: int
          bandwidth_mib_s:
            description: MiB per second that its migration may send, V(10) to V(100000); V(0) for no
              limit.
            type: int
          auto_converge:
            description: Whether it wants to be slowed down until it converges.
            type: bool
          post_copy:
            description: Whether post-copy, and so a forced completion, is allowed. V(true) counts
              only where the operator of the drain allows it as well.
            type: bool
          on_timeout:
            description: What to do when its time is spent. The mildest of all counts.
            type: str
            choices: [abort, leave, force_complete]
          recovery_priority:
            description: Its rank in drains by priority, V(1) is first, V(10) last.
            type: int
          wish:
            description: V(leave) asks that it is not moved, V(notify) for an event before it is.
            type: str
            choices: [migrate, notify, leave]
      dialect:
        description:
          - V(neutral) writes C(lowtide:FIELD), on images C(lowtide_FIELD).
          - V(starlingx) writes the keys that StarlingX knows, within its ranges. It has none for
            O(policies[].policy.bandwidth_mib_s), O(policies[].policy.post_copy),
            O(policies[].policy.on_timeout) and O(policies[].policy.wish); one for
            O(policies[].policy.auto_converge) on flavors and instances, and one for
            O(policies[].policy.recovery_priority) on instances.
        type: str
        choices: [neutral, starlingx]
        default: neutral
      windows:
        description:
          - Whether the images hold Windows. Sets C(os_type=windows), by which Nova gives guests
            Hyper-V's features, its clock, and a hardware clock in local time. An image that says
            that it holds another system is refused.
          - Warns of what else such guests need to survive a move.
        type: bool
        default: false
  state:
    description:
      - V(present) sets what O(policies) says, and leaves other keys.
      - V(exact) in addition removes every other key of a policy, of both dialects and also mistyped
        ones, from the resources that were chosen.
      - V(absent) removes the keys that O(policies) would set. From resources for which it would set
        nothing, every key of a policy.
    type: str
    choices: [present, exact, absent]
    default: present
  missing:
    description: What to do about a resource that does not exist, or a filter that fits none.
      V(ignore) goes on without it.
    type: str
    choices: [fail, ignore]
    default: fail
  others:
    description: Whether to change images that belong to another project than the one of the
      credentials, and images that are protected. Without it, one that is named is refused.
    type: bool
    default: false
seealso:
  - module: lowtide.compute.migration_policy_info
  - module: lowtide.compute.nova_drain
  - name: Nova's image properties
    description: What C(os_type) does.
    link: https://docs.openstack.org/glance/latest/admin/useful-image-properties.html
"""

EXAMPLES = r"""
- name: Databases are paused for 100 ms at most, and their owners hear of a move
  lowtide.compute.migration_policy:
    cloud: prod
    policies:
      - flavors: [m1.db, m2.db]
        policy:
          max_downtime_ms: 100
      - servers: [ledger]
        project: finance
        policy:
          wish: notify
  delegate_to: localhost

- name: All images of Windows say so, and allow no post-copy
  lowtide.compute.migration_policy:
    cloud: prod
    policies:
      - image_filter:
          tags: [windows]
        windows: true
        policy:
          post_copy: false
  delegate_to: localhost

- name: A site that also runs StarlingX keeps its keys
  lowtide.compute.migration_policy:
    cloud: prod
    policies:
      - images: [appliance-7]
        dialect: starlingx
        policy:
          completion_timeout: 180
          max_downtime_ms: 500
  delegate_to: localhost

- name: Take every policy off a flavor
  lowtide.compute.migration_policy:
    cloud: prod
    policies:
      - flavors: [m1.db]
    state: absent
  delegate_to: localhost
"""

RETURN = r"""
resources:
  description: Every image, flavor and instance that was chosen.
  returned: success, and failure of a write
  type: list
  elements: dict
  contains:
    kind: {description: "V(image), V(flavor) or V(instance).", type: str, sample: flavor}
    id: {description: Its ID., type: str}
    name: {description: Its name., type: str, sample: m1.db}
    project_id: {description: ID of the project that owns it; empty for a flavor., type: str}
    changed: {description: "Whether it was changed, or in check mode would be.", type: bool}
    before:
      description: The policy's keys on it, and others that change, as they were.
      type: dict
      sample: {}
    after:
      description: The same as they are, or in check mode would be.
      type: dict
      sample: {"lowtide:max_downtime_ms": "100"}
left_out:
  description: Images that a filter fits, but that O(others) protects, with the C(name) and C(why).
  returned: success
  type: list
  elements: dict
notes:
  description: From when on the changes count.
  returned: success
  type: list
  elements: str
faults:
  description: What is wrong, a row for each with its C(option), C(value), C(msg) and C(remedy).
  returned: failure
  type: list
  elements: dict
failed_at:
  description: The resource that could not be written, as in RV(resources). Those before it were.
  returned: failure of a write
  type: dict
msg:
  description: What was done, in one sentence.
  returned: always
  type: str
  sample: 2 flavors changed of 3 chosen
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

from ansible_collections.lowtide.compute.plugins.module_utils._module import run
from ansible_collections.lowtide.compute.plugins.module_utils._policy_change import (
    SPEC,
    change_policies,
)


def main() -> None:
    run(SPEC, change_policies)


if __name__ == "__main__":
    main()
