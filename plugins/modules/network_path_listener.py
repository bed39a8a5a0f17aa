#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: network_path_listener
short_description: The far end of a measurement of throughput
version_added: 1.0.0
description:
  - Has iperf3 listen at one address and port of the host, for a given number of tests and no longer
    than a given time, whatever becomes of who started it. Then it is gone.
  - M(lowtide.compute.network_path_info) on another host is the near end.
extends_documentation_fragment:
  - lowtide.compute.attributes
attributes:
  check_mode:
    support: full
    details: Nothing listens in check mode, so that nothing can be measured either. Who wants to
      measure in check mode sets C(check_mode=false) for this task.
  diff_mode:
    support: none
    details: What listens is no state to keep.
  idempotent:
    support: partial
    details: O(state=started) begins anew while one with the same address and port listens.
author:
  - The Lowtide authors (@lowtide)
requirements:
  - iperf3 3.2 or later
  - timeout of coreutils
options:
  state:
    description:
      - V(started) begins to listen, and returns when it does.
      - V(stopped) ends what V(started) began with the same O(address) and O(port), if it has not
        ended.
    type: str
    choices: [started, stopped]
    default: started
  address:
    description: The IP address to listen at, and nowhere else.
    type: str
    required: true
  port:
    description: The TCP port to listen at.
    type: int
    default: 49215
  tests:
    description: How many tests to take, 1 to 100. M(lowtide.compute.network_path_info) makes two,
      one of each direction.
    type: int
    default: 2
  seconds:
    description: Seconds after which it ends in any case, 1 to 3600.
    type: int
    default: 60
seealso:
  - module: lowtide.compute.network_path_info
"""

EXAMPLES = r"""
- name: Let others measure the throughput to this host
  lowtide.compute.network_path_listener:
    address: 192.0.2.12
    seconds: 30

- name: No longer
  lowtide.compute.network_path_listener:
    state: stopped
    address: 192.0.2.12
"""

RETURN = r"""
msg:
  description: What was done.
  returned: always
  type: str
  sample: listens at 192.0.2.12 port 49215 for 2 tests, at most 30 s
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

from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.iperf import Listener
from ansible_collections.lowtide.compute.plugins.module_utils._host_module import (
    HostTask,
    run_on_host,
)
from ansible_collections.lowtide.compute.plugins.module_utils._paths import check, digits

SPEC = {
    "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "default": 49215},
    "tests": {"type": "int", "default": 2},
    "seconds": {"type": "int", "default": 60},
}


def handle(task: HostTask) -> dict[str, Any]:
    """Do what the state says."""
    check(task.params)
    wanted, port = digits(task.params["address"], "address"), task.params["port"]
    listener = Listener(wanted, port, task.clock)
    if task.params["state"] == "stopped":
        running = listener.running()
        if running and not task.check_mode:
            listener.stop()
        return {"changed": running, "msg": f"{'ended' if running else 'nothing'} at port {port}"}
    seconds, tests = task.params["seconds"], task.params["tests"]
    if not task.check_mode:
        listener.start(seconds, tests)
    for_how_long = f"for {tests} tests, at most {seconds} s"
    return {"changed": True, "msg": f"listens at {wanted} port {port} {for_how_long}"}


def main() -> None:
    run_on_host(SPEC, handle)


if __name__ == "__main__":
    main()
