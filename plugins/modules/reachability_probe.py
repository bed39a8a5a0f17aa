#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: reachability_probe
short_description: Measure for how long clients miss each guest
version_added: 1.0.0
description:
  - Pings guests, and connects to a TCP port of those that name one, many times a second from the
    host on which it runs. That is a host in the tenants' network, or one that reaches it.
  - Tells for each guest what was lost, and the longest time for which no answer came.
  - Sends with C(fping), one process for all guests. Neither credentials nor openstacksdk are
    needed on the host.
extends_documentation_fragment:
  - lowtide.compute.attributes
attributes:
  check_mode:
    support: full
    details: V(measured) measures, for it changes nothing. V(started) checks its options only.
  diff_mode:
    support: none
    details: What it tells is not a state.
  idempotent:
    support: partial
    details: O(state=started) is an error while a probe with the same O(status_path) runs.
author:
  - The Lowtide authors (@lowtide)
requirements:
  - fping 5 or later
  - Linux
options:
  state:
    description:
      - V(measured) probes for O(duration) seconds, and returns what it found.
      - V(started) probes until it is told to stop, and returns what it found. Run it with C(async)
        and C(poll=0). It ends when its control file (O(status_path) with C(.run) behind it) is
        removed, after O(duration) if that is given, and on SIGTERM.
      - V(status) reads the figures of a probe that runs, which are at most a second old, without
        disturbing it; or the last ones of a probe that ended.
      - V(stopped) ends a probe that runs, and returns what it found. When none runs, it returns
        what the last one found.
    type: str
    choices: [measured, started, status, stopped]
    default: measured
  guests:
    description: Whom to ask. Needed for V(measured) and V(started).
    type: list
    elements: dict
    suboptions:
      id:
        description: ID of the guest.
        type: str
        required: true
      name:
        description: Its name, for people. Default is its ID.
        type: str
      address:
        description: Its IP address, or a name of it, as the probe's host reaches it. No two guests
          may have the same.
        type: str
        required: true
      port:
        description: A TCP port to connect to as well. An answer is a connection that is accepted;
          it is closed at once, without a byte sent.
        type: int
  interval_ms:
    description: Milliseconds between two questions to the same guest, from 10 to 10000. A gap is
      not known more precisely than that.
    type: int
    default: 50
  duration:
    description: Seconds after which the probe ends. Needed for V(measured). Default for V(started)
      is to go on until it is stopped.
    type: float
  status_path:
    description:
      - Where a started probe writes its figures, in one step and with mode 0600; its directory must
        exist, but for the default's, which is made. Not used for V(measured).
    type: path
    default: ~/.ansible/lowtide/reachability.json
  timeout:
    description: Seconds to wait for a probe to write its first figures (V(status)), or to end
      (V(stopped)).
    type: float
    default: 10
  fping:
    description: The program to ping with, a name on C(PATH) or a path.
    type: path
    default: fping
seealso:
  - module: lowtide.compute.nova_drain
  - name: fping
    description: The program that pings.
    link: https://fping.org/fping.1.html
"""

EXAMPLES = r"""
- name: Measure two guests for ten seconds
  lowtide.compute.reachability_probe:
    duration: 10
    guests:
      - {id: 5b0f6d6e-2c4d-4d0a-8a0c-4f1f4e0c9a11, name: web-01, address: 10.88.0.21, port: 80}
      - {id: 0d5f3a52-90a5-4a5b-a53e-5c1f0a1d7b22, name: db, address: 10.88.0.22}
  delegate_to: observer

- name: Begin to measure, and go on with the play
  lowtide.compute.reachability_probe:
    state: started
    guests: "{{ guests }}"
    status_path: /root/web-move.json
  delegate_to: observer
  async: 86400
  poll: 0

- name: Look how it is going, and wait until it does
  lowtide.compute.reachability_probe:
    state: status
    status_path: /root/web-move.json
  delegate_to: observer
  register: probe
  until: probe is success and probe.running
  retries: 10
  delay: 1

- name: End it, and see what the guests' clients felt
  lowtide.compute.reachability_probe:
    state: stopped
    status_path: /root/web-move.json
  delegate_to: observer
  register: probe
"""

RETURN = r"""
guests:
  description: What each guest answered, in the order in which they were given. The figures are
    those of its pings, unless it never answered one and accepted connections.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: ID of the guest., type: str}
    name: {description: Its name., type: str, sample: web-01}
    address: {description: The address that was asked., type: str, sample: 10.88.0.21}
    sent: &sent
      description: Questions since its first answer whose fate is known. All of them when it never
        answered.
      type: int
      sample: 1204
    lost: &lost
      description: Those of them without an answer within a second (connects, 0.9 seconds); null
        when it never answered.
      type: int
      sample: 5
    longest_gap_ms: &gap
      description: The longest time without an answer, also when it still lasts. About
        RV(interval_ms) when nothing was missed; null when it never answered.
      type: float
      sample: 312.4
    gap_at: &at
      description: When that began (UTC); null when there was no gap yet.
      type: str
      sample: "2026-11-20T03:15:42.118Z"
    silent_ms: &silent
      description: Since when it has not answered, as of RV(written_at); null when it never did.
      type: float
      sample: 12.3
    answered: &answered
      description: Whether it ever answered. One that never did is not measured, rather than lost.
      type: bool
      sample: true
    measured_by:
      description: V(ping) or V(tcp); empty when it never answered.
      type: str
      sample: ping
    port: {description: The TCP port; null when none was asked., type: int, sample: 80}
    tcp:
      description: The figures of the connects to RV(guests[].port); null when none was asked.
      type: dict
      contains:
        sent: *sent
        lost: *lost
        longest_gap_ms: *gap
        gap_at: *at
        silent_ms: *silent
        answered: *answered
interval_ms:
  description: Milliseconds between two questions to the same guest.
  returned: success
  type: int
  sample: 50
late_ms:
  description: The longest time for which the probe itself was held up. It is not counted as
    any guest's silence. Null when its loopback interface is down, by which it is measured.
  returned: success
  type: float
  sample: 0.0
running:
  description: Whether the probe runs.
  returned: success
  type: bool
pid:
  description: Its process on the host.
  returned: success
  type: int
  sample: 4711
started_at:
  description: When it began (UTC).
  returned: success
  type: str
  sample: "2026-11-20T03:15:00.004Z"
written_at:
  description: Of when the figures are (UTC).
  returned: success
  type: str
  sample: "2026-11-20T03:16:00.214Z"
age_ms:
  description: How old they are.
  returned: for O(state=status) and O(state=stopped)
  type: int
  sample: 420
error:
  description: Why the probe ended on its own; empty when it did not.
  returned: success
  type: str
status_path:
  description: Where the figures are written.
  returned: success, but for O(state=measured)
  type: str
  sample: /root/web-move.json
msg:
  description: The figures in one sentence.
  returned: always
  type: str
  sample: 6 of 6 guests answered; the longest gap is 312 ms (web-01)
code:
  description: One word for what went wrong.
  returned: failure
  type: str
  sample: probe_failed
remedy:
  description: What to do about it.
  returned: failure
  type: str
"""

import os
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    ProbeFailed,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.control import RunFiles
from ansible_collections.lowtide.compute.plugins.module_utils._host_module import (
    HostTask,
    run_on_host,
)
from ansible_collections.lowtide.compute.plugins.module_utils._probe import (
    Probe,
    run_to_end,
    sentence,
    status,
    targets,
    until,
)

DEFAULT_PATH = "~/.ansible/lowtide/reachability.json"
SPEC = {
    "state": {
        "type": "str",
        "choices": ["measured", "started", "status", "stopped"],
        "default": "measured",
    },
    "guests": {
        "type": "list",
        "elements": "dict",
        "options": {
            "id": {"type": "str", "required": True},
            "name": {"type": "str"},
            "address": {"type": "str", "required": True},
            "port": {"type": "int"},
        },
    },
    "interval_ms": {"type": "int", "default": 50},
    "duration": {"type": "float"},
    "status_path": {"type": "path", "default": DEFAULT_PATH},
    "timeout": {"type": "float", "default": 10},
    "fping": {"type": "path", "default": "fping"},
}


def handle(task: HostTask) -> dict[str, Any]:
    """Do what the state says, and add the sentence."""
    states = {"measured": measured, "started": started, "status": read, "stopped": stopped}
    found = states[task.params["state"]](task)
    return {"changed": False, "msg": sentence(found)} | found


def measured(task: HostTask) -> dict[str, Any]:
    """Probe for a while, in the foreground."""
    lasts = until(check_duration(task), task.clock)
    with make(task) as probe:
        probe.run(lasts, lambda _figures: None)
        return probe.figures()


def started(task: HostTask) -> dict[str, Any]:
    """Probe until somebody removes the control file. Check mode begins, and ends at once."""
    duration = check_duration(task)
    files = paths(task)
    if not files.claim():
        remedy = "End it with state: stopped, or give this one a path of its own"
        raise BadOption("status_path", files.path, "is where another probe writes now", remedy)
    try:
        with make(task) as probe:
            found = probe.figures()
            if not task.check_mode:
                found = run_to_end(probe, files, until(duration, task.clock))
    finally:
        files.release()
    return found | {"changed": True, "status_path": files.path}


def read(task: HostTask) -> dict[str, Any]:
    """The figures as they are."""
    files = paths(task)
    return status(files, task.params["timeout"], task.clock) | {"status_path": files.path}


def stopped(task: HostTask) -> dict[str, Any]:
    """End the probe, and return its last figures."""
    files, timeout = paths(task), task.params["timeout"]
    was_running = files.runner() is not None
    if was_running and not task.check_mode and not files.end(timeout):
        remedy = "End its process (pid), and look at the load of this host"
        raise ProbeFailed(
            f"the probe did not end within {timeout:.0f} s", remedy, **status(files, 0, task.clock)
        )
    found = status(files, 0, task.clock)
    return found | {"changed": was_running, "status_path": files.path}


def make(task: HostTask) -> Probe:
    """The probe that the options describe."""
    interval = task.params["interval_ms"]
    asked = targets(task.params["guests"], interval)
    return Probe(asked, interval, task.params["fping"], task.clock)


def paths(task: HostTask) -> RunFiles:
    """Status and control file; the directory of the default path is made."""
    path = os.path.abspath(task.params["status_path"])
    if path.endswith(DEFAULT_PATH.removeprefix("~")):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    return RunFiles(path, "status_path", task.clock)


def check_duration(task: HostTask) -> float | None:
    """The option, if it can be used."""
    duration = task.params["duration"]
    if duration is not None and duration <= 0:
        raise BadOption("duration", duration, "is no time", "Give seconds, more than zero")
    return duration


def main() -> None:
    run_on_host(
        SPEC,
        handle,
        required_if=[
            ("state", "measured", ("guests", "duration")),
            ("state", "started", ("guests",)),
        ],
    )


if __name__ == "__main__":
    main()
