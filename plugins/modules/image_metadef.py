#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_metadef
short_description: Manage a namespace of Glance's metadata definitions
version_added: 1.0.0
description:
  - Creates, changes and removes a namespace of the image service's catalogue of metadata
    definitions, with its properties, objects, tags, and the types of resources that it is for.
  - Horizon offers what is defined there where images, flavors and instances get their properties,
    and holds what is entered to types, ranges and choices. C(openstack) does not.
  - The whole definition is checked before the first call. Glance itself answers 500 to some
    mistakes, and keeps others wrongly, as a minimum of 1.5 as 1.
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
  definition:
    description:
      - The namespace, in the structure of Glance's own definition files and of its API. Read one
        from a file with P(ansible.builtin.file#lookup) and P(ansible.builtin.from_json#filter).
      - C(namespace) is its name; C(display_name), C(description), C(visibility) (V(public) or
        V(private), without it private), C(protected) and C(owner) (ID of a project) are its own.
        Those that are missing stay as they are.
      - C(resource_type_associations) is a list of C(name), such as V(OS::Nova::Flavor),
        C(prefix) (put before each property's name there) and C(properties_target).
      - C(properties) is a dictionary of JSON schemas by name. Each needs C(title) and C(type).
      - C(objects) is a list of groups of properties, with C(name), C(description), C(required) and
        C(properties). C(tags) is a list of C(name).
      - A member that is named is made exactly as it is here. What Glance adds to its answers
        (dates, links) may be there, and means nothing.
      - Names must not have a slash, because Glance keeps such a name but never finds it again.
    type: dict
  namespace:
    description: Name of a namespace that is removed whole, whatever is in it. Only with
      O(state=absent), and instead of O(definition).
    type: str
  state:
    description:
      - V(present) makes sure of all that O(definition) says. What others have added stays, unless
        O(purge=true).
      - V(absent) with O(definition) removes the properties, objects and tags that it names. When
        no others are left, the namespace goes too, and with it its associations.
      - V(absent) with O(namespace) removes all of it.
      - Values that images, flavors and instances have are not touched by either.
    type: str
    choices: [present, absent]
    default: present
  purge:
    description: Whether properties, objects, tags and associations that O(definition) does not
      name are removed. Only with O(state=present).
    type: bool
    default: false
  change_protected:
    description:
      - Whether a namespace that is protected may be changed or removed. Without it that is an
        error if there is anything to do.
      - For what it removes, the protection is lifted, and put back afterwards.
    type: bool
    default: false
notes:
  - Glance's default policy lets only administrators do this, and every user read public
    namespaces.
seealso:
  - name: Glance's metadata definitions
    description: What they are, and the structure of a namespace.
    link: https://docs.openstack.org/glance/latest/user/metadefs-concepts.html
"""

EXAMPLES = r"""
- name: Offer a property of images in Horizon
  lowtide.compute.image_metadef:
    cloud: prod
    definition:
      namespace: Example::Backup
      display_name: Backup
      visibility: public
      resource_type_associations:
        - name: OS::Glance::Image
          prefix: example_
      properties:
        backup_hours:
          title: Hours between backups
          type: integer
          minimum: 1
          maximum: 168
          default: 24
  delegate_to: localhost

- name: Load a definition file exactly as it is
  lowtide.compute.image_metadef:
    cloud: prod
    definition: "{{ lookup('ansible.builtin.file', 'backup.json') | from_json }}"
    purge: true
  delegate_to: localhost

- name: Take back what a definition file brought, and leave what others added
  lowtide.compute.image_metadef:
    cloud: prod
    definition: "{{ lookup('ansible.builtin.file', 'backup.json') | from_json }}"
    state: absent
  delegate_to: localhost

- name: Remove a protected namespace whole
  lowtide.compute.image_metadef:
    cloud: prod
    namespace: Example::Backup
    state: absent
    change_protected: true
  delegate_to: localhost
"""

RETURN = r"""
namespace:
  description: The namespace as it is after the module, or in check mode as it would be, in Glance's
    structure without dates and links; empty when it is gone.
  returned: success
  type: dict
  sample:
    namespace: Example::Backup
    visibility: public
    properties:
      backup_hours: {title: Hours between backups, type: integer, minimum: 1, default: "24"}
changes:
  description: What was done, or in check mode would be, in this order.
  returned: success
  type: list
  elements: dict
  contains:
    action:
      description: V(create), V(update) or V(delete). An association that differs is deleted and
        created.
      type: str
      sample: update
    kind:
      description: V(namespace), V(property), V(object), V(tag) or V(association).
      type: str
      sample: property
    name:
      description: Its name.
      type: str
      sample: backup_hours
msg:
  description: What was done, in one sentence.
  returned: always
  type: str
  sample: "Example::Backup: update property backup_hours"
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

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption, Unreachable
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.metadef import Metadefs
from ansible_collections.lowtide.compute.plugins.module_utils._module import Task, run
from ansible_collections.lowtide.compute.plugins.module_utils._planner import (
    metadef,
    metadef_check,
)

SPEC = {
    "definition": {"type": "dict"},
    "namespace": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "purge": {"type": "bool", "default": False},
    "change_protected": {"type": "bool", "default": False},
}


def handle(task: Task) -> dict[str, Any]:
    """Decide what the namespace should become, and send only what differs."""
    name, named = checked(task.params)
    for doubt in metadef_check.doubts(task.params["definition"] or {}):
        task.warn(f"definition: {doubt}")
    metadefs = catalogue(task)
    answer = metadefs.namespace(name)
    now = metadef.read(answer) if answer else None
    goal = goal_of(task.params, now, named)
    decision = metadef.decide(now, goal)
    refuse_protected(task.params, now, decision)
    if not task.check_mode:
        apply(metadefs, name, decision)
    return {
        "changed": bool(decision.changes),
        "msg": f"{name}: {sentence(decision, goal)}",
        "namespace": metadef.structure_of(goal),
        "changes": [
            {"action": step.action, "kind": step.kind, "name": step.name}
            for step in decision.changes
        ],
        "diff": {"before": metadef.structure_of(now), "after": metadef.structure_of(goal)},
    }


def checked(params: dict[str, Any]) -> tuple[str, metadef.Namespace | None]:
    """Name and definition. Raises BadOption with all that is wrong with them."""
    definition, name, state = params["definition"], params["namespace"], params["state"]
    if name is not None and state == "present":
        raise BadOption("namespace", name, "is only for state: absent", "Give a definition")
    if params["purge"] and state == "absent":
        raise BadOption("purge", True, "is only for state: present", "Remove it")
    option = "namespace" if definition is None else "definition"
    given = {"namespace": name} if definition is None else definition
    faults = metadef_check.faults(given)
    if faults:
        why = f"cannot be kept by Glance: {'; '.join(faults)}"
        raise BadOption(option, given.get("namespace"), why, "Correct that; nothing was changed")
    return given["namespace"], None if definition is None else metadef.read(definition)


def catalogue(task: Task) -> Metadefs:
    """The image service's catalogue. Raises Unreachable where there is no image service."""
    if not task.session.offers("image"):
        raise Unreachable("the cloud has no image service", "Check `region_name` and `interface`")
    return Metadefs(task.session.api("image"))


def goal_of(
    params: dict[str, Any], now: metadef.Namespace | None, named: metadef.Namespace | None
) -> metadef.Namespace | None:
    """The namespace as it shall be; None for gone."""
    if params["state"] == "absent" or named is None:
        return metadef.absent(now, named)
    return metadef.present(now, named, purge=params["purge"])


def refuse_protected(
    params: dict[str, Any], now: metadef.Namespace | None, decision: metadef.Decision
) -> None:
    """Raise BadOption for a change of a namespace that somebody protected."""
    protected = now is not None and now.attributes.get("protected")
    if not protected or not decision.changes or params["change_protected"]:
        return
    why = f"keeps {now.name} as it is, which is protected, and would be changed"
    remedy = "See whose it is; then set change_protected: true, or leave this namespace out"
    raise BadOption("change_protected", False, f"{why} ({listed(decision)})", remedy)


def apply(metadefs: Metadefs, name: str, decision: metadef.Decision) -> None:
    """Send the decision; a protection that was lifted is put back whatever happens between."""

    def send(step: metadef.Step | None) -> None:
        if step:
            metadefs.send(name, step.action, step.kind, step.name, step.body)

    send(decision.lift)
    try:
        for step in decision.changes:
            send(step)
    finally:
        send(decision.restore)


def listed(decision: metadef.Decision) -> str:
    """The changes in words; of the namespace itself its name is not repeated."""
    return ", ".join(
        f"{step.action} {step.kind}" + (f" {step.name}" if step.kind != metadef.NAMESPACE else "")
        for step in decision.changes
    )


def sentence(decision: metadef.Decision, goal: metadef.Namespace | None) -> str:
    """What was done."""
    if decision.changes:
        return listed(decision)
    return "nothing to change" if goal else "not there"


def main() -> None:
    run(
        SPEC,
        handle,
        mutually_exclusive=[("definition", "namespace")],
        required_one_of=[("definition", "namespace")],
    )


if __name__ == "__main__":
    main()
