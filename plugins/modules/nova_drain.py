#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nova_drain
short_description: Move every guest away from a compute host, and prove it
version_added: 1.0.0
description:
  - Plans first. Every guest gets a verdict, and when one of them cannot go, nothing is changed
    (O(on_blocker)).
  - Disables the host's nova-compute, with a mark that tells which run did it, moves the guests
    live, stopped ones cold, and looks again until the host is empty.
  - A guest counts as moved when Nova, Placement, the bindings of its ports and the attachments of
    its volumes say so, and with O(hypervisors) libvirt on both hosts too. The host counts as
    drained when it has neither guests nor allocations nor, where it can be asked, domains.
  - Fails when anything is left that was not excluded. What is left is in the result, each with a
    reason and a remedy.
  - Can be interrupted at any time and run again. It adopts what is in flight, and ends in the
    same place. Nothing is kept but in Nova.
  - The service stays disabled. M(lowtide.compute.nova_compute_service) enables it again, if it was
    disabled by a drain.
  - An action plugin of the same name calls this module step by step, and prints on stderr what
    happened meanwhile.
extends_documentation_fragment:
  - lowtide.compute.auth
  - lowtide.compute.moving
  - lowtide.compute.moving.drain
  - lowtide.compute.preflight
  - lowtide.compute.attributes
  - lowtide.compute.attributes.action
  - lowtide.compute.attributes.action_group
attributes:
  check_mode:
    details: Returns the plan, like M(lowtide.compute.nova_drain_info), and fails where it would.
  idempotent:
    support: full
author:
  - The Lowtide authors (@lowtide)
options:
  wait:
    description: Whether to work until the host is drained. With V(false) the module works for a
      few seconds and returns; what it started goes on in Nova, and another call adopts it.
    type: bool
    default: true
  progress:
    description:
      - What is printed meanwhile. V(summary) is a line for each event, and from time to time one
        that says how far the drain is. V(detail) adds the bytes of each migration.
      - With C(-v) a V(summary) becomes V(detail).
    type: str
    choices: [none, summary, detail]
    default: summary
  progress_interval:
    description: Seconds between two lines that say how far the drain is.
    type: float
    default: 30.0
  step_seconds:
    description: Seconds that one step works when the action plugin calls it. What happened is
      printed after each step.
    type: float
    default: 10.0
  hypervisors:
    description:
      - The compute hosts whose libvirt can be asked. Nova's name of each host, with its name in the
        inventory. They should be the drained host and all to which its guests may go.
      - A guest that was moved live or cold counts as moved when libvirt has it on its new host
        only, in the state that it had. When libvirt has it on both hosts or on neither, nothing
        more is started.
      - No state is reset, and no failed migration is tried again, before libvirt was asked whether
        the guest went after all.
      - They are asked with M(lowtide.compute.libvirt_migration_info), by the connections of the
        inventory. One that cannot be reached counts as not asked, with a warning; its guests are
        then verified without it, and RV(guests[].witnesses) says so.
      - With O(wait=false) they are not asked.
    type: dict
    default: {}
  libvirt:
    description: How libvirt is asked on O(hypervisors). What is not given is as
      M(lowtide.compute.libvirt_migration_info) has it.
    type: dict
    default: {}
    suboptions:
      uri:
        description: URI of libvirt on the hypervisor.
        type: str
      instances_path:
        description: Nova's C(instances_path) on the hypervisor.
        type: path
      instances_shared:
        description: Whether O(libvirt.instances_path) is shared by the hypervisors.
        type: bool
      become:
        description: Whether to become root there. Default is what the inventory says.
        type: bool
  probe:
    description: The M(lowtide.compute.reachability_probe) that runs meanwhile. It is asked before
      each step which guests do not answer.
    type: dict
    suboptions:
      inventory_host:
        description: The host in the inventory on which it runs.
        type: str
        required: true
      status_path:
        description: Its O(lowtide.compute.reachability_probe#module:status_path).
        type: path
  on_unreachable:
    description:
      - What to do when a guest that this run moves or has moved answered O(probe) before and is
        silent for O(unreachable_ms). A guest that is being migrated may also be silent for as long
        as its policy lets it pause; one that is moved cold, or forced to complete, for as long as
        that takes.
      - V(report) only says so.
      - V(pause) starts nothing more until it answers again, or gives up after O(settle_timeout).
      - V(abort) does the same, and aborts the live migration that runs if it is that of the silent
        guest. That guest is left, and not tried again.
    type: str
    choices: [report, pause, abort]
    default: report
  unreachable_ms:
    description: Milliseconds for which a guest may be silent.
    type: float
    default: 5000.0
  state:
    description: What one step tells the next. Private to the action plugin.
    type: dict
    default: {}
  answers:
    description: What hypervisors and probe said since the step before. Private to the action
      plugin.
    type: dict
    default: {}
seealso:
  - module: lowtide.compute.nova_drain_info
  - module: lowtide.compute.nova_compute_service
  - name: Nova's guide to live migration
    description: How live migrations work and are configured.
    link: https://docs.openstack.org/nova/latest/admin/live-migration-usage.html
"""

EXAMPLES = r"""
- name: Drain a host
  lowtide.compute.nova_drain:
    cloud: prod
    host: cmp-3
  delegate_to: localhost

- name: Drain a host within an hour, four guests at a time, and leave the test guests
  lowtide.compute.nova_drain:
    cloud: prod
    host: cmp-3
    max_parallel: 4
    deadline: 3600
    exclude:
      metadata:
        purpose: test
  delegate_to: localhost

- name: Drain a host, ask libvirt on both sides of each move, and stop when a guest falls silent
  lowtide.compute.nova_drain:
    cloud: prod
    host: cmp-3
    hypervisors:
      cmp-3: cmp-3.example.org
      cmp-7: cmp-7.example.org
    libvirt:
      become: true
    probe:
      inventory_host: observer
    on_unreachable: pause
  delegate_to: localhost

- name: See what would happen
  lowtide.compute.nova_drain:
    cloud: prod
    host: cmp-3
  check_mode: true
  delegate_to: localhost
"""

RETURN = r"""
host:
  description: Name of the compute host.
  returned: always
  type: str
  sample: cmp-3
run_id:
  description: The run, as in the mark. A drain that is continued keeps its name.
  returned: when it ran
  type: str
  sample: 20261120T031500Z-9f3a
marked:
  description: Whether the host's service carries our mark, so that it may be enabled again.
    It does not when somebody else had disabled it.
  returned: when it ran
  type: bool
  sample: true
outcome:
  description: V(drained), V(not_drained) or V(nothing_to_do); V(unfinished) with O(wait=false); in
    check mode V(planned), V(blocked) or V(nothing_to_do).
  returned: always
  type: str
  sample: drained
done:
  description: Whether the run is over.
  returned: when it ran
  type: bool
  sample: true
summary:
  description: Number of guests by outcome, and in C(total).
  returned: when it is over
  type: dict
  sample: {total: 17, moved: 16, excluded: 1, left: 0}
guests:
  description: What became of each guest, in the order of the plan.
  returned: when it is over
  type: list
  elements: dict
  contains:
    id: {description: ID of the guest., type: str}
    name: {description: Its name., type: str, sample: web-01}
    state: {description: Its state before., type: str, sample: active}
    outcome:
      description: V(moved), V(left), V(unverified) (away, but the witnesses do not agree), V(gone)
        (deleted meanwhile), V(excluded), V(waiting) or V(running); in check mode V(planned) or
        V(blocked).
      type: str
      sample: moved
    method:
      description: V(live), V(cold), V(wait), V(confirm), V(recover), V(blocked) or V(excluded).
      type: str
      sample: live
    code: {description: The rule or the failure that decided., type: str, sample: verified}
    reason: {description: Why., type: str}
    remedy: {description: What can be done about it., type: str}
    notes: {description: What to know about its move., type: list, elements: str}
    addresses: {description: Its IP addresses., type: list, elements: str, sample: [10.0.0.7]}
    from: {description: Where it was., type: str, sample: cmp-3}
    to: {description: Where it is now; in check mode where it is planned to go., type: str}
    attempts: {description: How often it was tried., type: int, sample: 1}
    seconds: {description: Seconds that its move took., type: float, sample: 42.3}
    bytes: {description: Bytes that were copied., type: int}
    predicted_seconds: {description: Seconds that were expected., type: float}
    predicted_bytes: {description: Bytes that were expected., type: int}
    witnesses:
      description: How many witnesses proved its move. The first is Nova, the second Placement,
        Neutron and Cinder with what they have of it, the third libvirt on both hosts. Null where
        nothing was proven.
      type: int
      sample: 3
    policy:
      description: What its migration may cost it. Each field has a C(value) and its C(source).
      type: dict
      sample: {max_downtime_ms: {value: 200, source: profile minimize_downtime}}
    policy_findings:
      description: What was asked for in vain, and why.
      type: list
      elements: str
problems:
  description: What the last look at the whole host found wrong, a sentence each.
  returned: when it is over
  type: list
  elements: str
events:
  description: What happened, in order.
  returned: when it ran
  type: list
  elements: dict
  contains:
    at: {description: When (UTC)., type: str}
    kind: {description: What., type: str, sample: moved}
    id: {description: ID of the guest; empty for the host., type: str}
    name: {description: Its name., type: str}
    data: {description: Details., type: dict}
    line: {description: The same in words., type: str}
started_at:
  description: When the run started (UTC).
  returned: when it is over
  type: str
ended_at:
  description: When it ended (UTC).
  returned: when it is over
  type: str
seconds:
  description: Seconds between the two.
  returned: when it is over
  type: float
bytes:
  description: Bytes that were copied in all.
  returned: when it is over
  type: int
predicted_seconds:
  description: Seconds that the plan expected.
  returned: when it is over
  type: float
predicted_bytes:
  description: Bytes that the plan expected.
  returned: when it is over
  type: int
cautions:
  description: What does not block, but should be known before, as
    M(lowtide.compute.nova_drain_info) returns it.
  returned: in check mode
  type: list
  elements: dict
not_seen:
  description: Rules that matter to the plan and were not checked, as
    M(lowtide.compute.nova_drain_info) returns them.
  returned: in check mode
  type: list
  elements: dict
fits:
  description: Whether all guests together fit elsewhere, as far as Placement tells.
  returned: in check mode
  type: bool
table:
  description: The plan as lines of text.
  returned: in check mode, and when the plan is blocked
  type: list
  elements: str
msg:
  description: The outcome in one sentence.
  returned: always
  type: str
  sample: "drained and verified: 16 guests moved in 4m02s, 60.9 GiB; nothing is left"
code:
  description: One word for what went wrong.
  returned: failure
  type: str
  sample: not_drained
remedy:
  description: What to do about it.
  returned: failure
  type: str
"""

import math
from collections.abc import Mapping
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils import _engine
from ansible_collections.lowtide.compute.plugins.module_utils._drain import (
    begin,
    check_exclusions,
    conclude,
    hear,
    keep,
    look,
    refuse_blocked,
    refuse_dead,
    resume,
    wrote,
)
from ansible_collections.lowtide.compute.plugins.module_utils._module import Task, run
from ansible_collections.lowtide.compute.plugins.module_utils._options import (
    DRAIN_SPEC,
    WATCH_SPEC,
    check_probe,
    exact_host,
    read_options,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.mark import (
    new_run_id,
    run_id_of,
)
from ansible_collections.lowtide.compute.plugins.module_utils._preflight import (
    PREFLIGHT_SPEC,
    check,
    look_around,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.preflight import with_cautions
from ansible_collections.lowtide.compute.plugins.module_utils._report.result import (
    plan_diff,
    plan_result,
    step_result,
)

SPEC = {
    **DRAIN_SPEC,
    **WATCH_SPEC,
    **PREFLIGHT_SPEC,
    "wait": {"type": "bool", "default": True},
    "progress": {"type": "str", "choices": ["none", "summary", "detail"], "default": "summary"},
    "progress_interval": {"type": "float", "default": 30.0},
    "step_seconds": {"type": "float", "default": 10.0},
    "state": {"type": "dict", "default": {}, "no_log": True},
    "answers": {"type": "dict", "default": {}},
}


def unaided(params: Mapping[str, Any]) -> dict[str, Any]:
    """Only between two steps can hypervisors be asked: to the end at once, they are not."""
    return {"hypervisors": ()} if params["wait"] else {}


def handle(task: Task) -> dict[str, Any]:
    """Plan, or go on with the plan of the step before, for a step or to the end."""
    options = read_options(task.params, **unaided(task.params))
    check_probe(task.params)
    host = exact_host(task.params["host"])
    if task.params["state"]:
        plan, ledger = resume(task.params["state"])
        ledger = hear(ledger, task.params["answers"])
    else:
        service = task.cloud.service(host)
        refuse_dead(service)
        survey, plan = look(task.cloud, service, options)
        check_exclusions(options, survey.guests, host)
        refuse_blocked(plan, options)
        if task.check_mode:
            around = look_around(task.session, task.clock.now(), task.params)
            result = with_cautions(plan_result(plan), check(survey, plan, options, around))
            changed = service.enabled or result["outcome"] == "planned"
            return {"changed": changed, "diff": plan_diff(plan), **result}
        now = task.clock.now()
        ledger = begin(service, now, new_run_id(now, task.chance()))
    started = task.clock.now()
    ended = _engine.run(
        task.cloud,
        task.clock,
        plan,
        options,
        ledger,
        seconds=math.inf if task.params["wait"] else task.params["step_seconds"],
        poll_interval=task.params["poll_interval"],
    )
    now = task.clock.now()
    step = step_result(ledger, ended.ledger, ended.events, host, now, now - started)
    step |= {"host": host, "run_id": ended.ledger.run_id, "done": ended.done}
    if not ended.done:
        return {
            **step,
            "changed": wrote(ended.events),
            "outcome": "unfinished",
            "msg": step["progress"],
            "state": keep(ended, now),
            "wanted": list(ended.ledger.wanted),
        }
    reason = task.cloud.service(host).disabled_reason
    if not run_id_of(reason):
        task.warn(
            f"{host} does not carry our mark (its reason is {reason!r}): somebody else disabled "
            "it, or enabled it meanwhile, so it will not be enabled again from here"
        )
    step["marked"] = bool(run_id_of(reason))
    return conclude(task.cloud, task.clock, ended, step)


def main() -> None:
    run(SPEC, handle)


if __name__ == "__main__":
    main()
