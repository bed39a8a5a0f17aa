#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: network_path_info
short_description: What a host's network link is, and what it carries to other hosts
version_added: 1.0.0
description:
  - Reads, on a host, the state, MTU, speed and addresses of an interface, and measures from there
    to other hosts the largest packet that passes without fragmentation, latency, loss, and
    throughput in both directions; and whether names lead to their addresses and back.
  - It only measures. The role P(lowtide.compute.management_network#role) decides with it, by
    C(tasks_from=verify), which hosts measure when, and what is good enough.
  - For the throughput, M(lowtide.compute.network_path_listener) must have begun to listen on the
    peer. It fills the link for as long as it is measured.
extends_documentation_fragment:
  - lowtide.compute.attributes
  - lowtide.compute.attributes.info
author:
  - The Lowtide authors (@lowtide)
requirements:
  - ip of iproute2
  - ping of iputils, to measure C(mtu) or C(latency)
  - iperf3 3.2 or later, to measure C(throughput)
options:
  interface:
    description: The interface to look at; an ethernet, a bond, or a VLAN on one.
    type: str
    required: true
  address:
    description: The address of this host to measure from, which O(interface) must have. Default is
      its first of the peers' version of IP.
    type: str
  peers:
    description: Whom to measure to. Without any, only the link is looked at.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: The peer's IP address.
        type: str
        required: true
      name:
        description: The peer's name for people. Default is its address.
        type: str
      hostname:
        description: The name that should lead to O(peers[].address), and back. Without it, names
          are not looked up.
        type: str
  measure:
    description:
      - What to measure to each peer.
      - V(names) looks names up as this host's programs do. V(latency) sends small packets. V(mtu)
        sends packets of O(mtu) bytes, and looks for the largest that passes if those do not.
      - V(throughput) measures with iperf3, to one peer after the other.
    type: list
    elements: str
    choices: [names, latency, mtu, throughput]
    default: [names, latency, mtu]
  mtu:
    description: Bytes of a packet, with its IP header, that must pass in one piece. With V(0),
      sizes are not measured.
    type: int
    default: 9000
  count:
    description: How many packets to send, for V(latency) and for V(mtu) each.
    type: int
    default: 50
  interval_ms:
    description: Milliseconds between two packets, 2 to 10000. Less than 200 needs root on some
      systems.
    type: int
    default: 20
  seconds:
    description: Seconds for which the throughput of each direction is measured, 1 to 3600.
    type: int
    default: 5
  omit:
    description: Seconds before those, in which TCP finds its pace, 0 to 60.
    type: int
    default: 1
  streams:
    description: TCP connections to measure with at a time, 1 to 128. QEMU migrates over one, unless
      parallel connections are configured.
    type: int
    default: 1
  port:
    description: The TCP port at which the peer listens. The default is the last one of those that
      libvirt migrates over, so that what lets migrations pass lets this pass.
    type: int
    default: 49215
seealso:
  - module: lowtide.compute.network_path_listener
"""

EXAMPLES = r"""
- name: See the link that carries migrations
  lowtide.compute.network_path_info:
    interface: bond0.78
  register: found

- name: Measure what passes to another host
  lowtide.compute.network_path_info:
    interface: bond0.78
    peers:
      - {name: cmp-2, address: 192.0.2.12, hostname: cmp-2.migration.example}
  become: true
  register: measured

- name: Measure the throughput to a host that listens
  lowtide.compute.network_path_info:
    interface: bond0.78
    measure: [throughput]
    peers:
      - {name: cmp-2, address: 192.0.2.12}
"""

RETURN = r"""
interface: {description: The interface., returned: success, type: str, sample: bond0.78}
address:
  description: The address that was measured from; empty when the interface has none.
  returned: success
  type: str
  sample: 192.0.2.11
addresses:
  description: All addresses of the interface, without link-local ones.
  returned: success
  type: list
  elements: str
up: {description: Whether the link is up., returned: success, type: bool}
mtu: {description: MTU of the interface., returned: success, type: int, sample: 9000}
speed_mbit:
  description: Speed of the link in Mbit/s, null when neither the kernel nor the driver knows it.
  returned: success
  type: int
  sample: 10000
iperf3: {description: Whether iperf3 is installed., returned: success, type: bool}
paths:
  description: What was measured, a peer each, in the order in which they were given. What was not
    measured is not there.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: The peer., type: str, sample: cmp-2}
    address: {description: Its address., type: str, sample: 192.0.2.12}
    hostname: {description: The name that was looked up., type: str}
    found:
      description: The addresses to which it leads.
      type: list
      elements: str
    reverse: {description: The name of its address; empty when it has none., type: str}
    sent: {description: Packets sent., type: int, sample: 100}
    loss_percent:
      description: Share of them that was not answered, of the small or the large ones, whichever
        is worse.
      type: float
      sample: 0.0
    latency_avg_ms:
      description: Milliseconds until small packets came back, on average; null without any.
      type: float
      sample: 0.113
    latency_max_ms: {description: The same of the slowest., type: float, sample: 0.242}
    largest_packet:
      description: Bytes of the largest packet that passes in one piece, at most O(mtu); 0 when
        none passes.
      type: int
      sample: 9000
    throughput_mbit: {description: Mbit/s that arrived at the peer., type: float, sample: 9871.2}
    resent:
      description: TCP segments that were sent again; null when that is not known.
      type: int
    back_throughput_mbit: {description: Mbit/s that arrived from the peer., type: float}
    back_resent: {description: The same of the way back., type: int}
    seconds: {description: Seconds for which the throughput was measured., type: int}
    error: {description: Why there is no throughput., type: str}
msg:
  description: The link in one sentence.
  returned: always
  type: str
  sample: "bond0.78: up, MTU 9000, 10000 Mbit/s, 192.0.2.11"
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

from ansible_collections.lowtide.compute.plugins.module_utils._gateways import iperf, links
from ansible_collections.lowtide.compute.plugins.module_utils._host_module import (
    HostTask,
    run_on_host,
)
from ansible_collections.lowtide.compute.plugins.module_utils._paths import check, measure, own

SPEC = {
    "interface": {"type": "str", "required": True},
    "address": {"type": "str"},
    "peers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "address": {"type": "str", "required": True},
            "name": {"type": "str"},
            "hostname": {"type": "str"},
        },
    },
    "measure": {
        "type": "list",
        "elements": "str",
        "choices": ["names", "latency", "mtu", "throughput"],
        "default": ["names", "latency", "mtu"],
    },
    "mtu": {"type": "int", "default": 9000},
    "count": {"type": "int", "default": 50},
    "interval_ms": {"type": "int", "default": 20},
    "seconds": {"type": "int", "default": 5},
    "omit": {"type": "int", "default": 1},
    "streams": {"type": "int", "default": 1},
    "port": {"type": "int", "default": 49215},
}


def handle(task: HostTask) -> dict[str, Any]:
    """The link, and what it carries."""
    check(task.params)
    link = links.link(task.params["interface"])
    source = own(link, task.params["address"], task.params["peers"])
    speed = f"{link.speed_mbit} Mbit/s" if link.speed_mbit else "speed unknown"
    state = "up" if link.up else "down"
    return {
        "changed": False,
        "interface": link.name,
        "address": source,
        "addresses": list(link.addresses),
        "up": link.up,
        "mtu": link.mtu,
        "speed_mbit": link.speed_mbit,
        "iperf3": links.program(iperf.NAME) is not None,
        "paths": measure(task.params, source, task.clock),
        "msg": f"{link.name}: {state}, MTU {link.mtu}, {speed}, {source or 'no address'}",
    }


def main() -> None:
    run_on_host(SPEC, handle)


if __name__ == "__main__":
    main()
