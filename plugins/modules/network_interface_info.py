#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: network_interface_info
short_description: Tell how a host's interfaces are set, who manages them, who connects over them
version_added: 1.0.0
description:
  - Reads the interfaces of the host on which it runs, which network manager each belongs to, over
    which of them the ssh connection of this very task comes, and what their drivers offer.
  - The role C(management_network) decides by it what to change.
extends_documentation_fragment:
  - lowtide.compute.attributes
  - lowtide.compute.attributes.info
author:
  - The Lowtide authors (@lowtide)
requirements:
  - iproute2 5.0 or later
  - ethtool, for RV(hardware)
  - Linux
options:
  names:
    description: Interfaces of which to tell managers and hardware too. Those that do not exist are
      left out.
    type: list
    elements: str
    default: []
  sysctls:
    description: Kernel settings to read, such as C(net.ipv4.tcp_rmem).
    type: list
    elements: str
    default: []
seealso:
  - name: The role management_network
    description: Configures the network that carries migrations.
    link: https://lowtide.example/compute
"""

EXAMPLES = r"""
- name: See who manages the migration network's interface
  lowtide.compute.network_interface_info:
    names: [ens2f0]
  become: true
  register: seen

- name: Say over which interfaces Ansible comes
  ansible.builtin.debug:
    var: seen.carriers
"""

RETURN = r"""
interfaces:
  description: Every interface of the host, by its name.
  returned: success
  type: dict
  contains:
    kind:
      description: V(ethernet), V(loopback), or as the kernel says - V(vlan), V(bond), V(bridge),
        V(veth) and so on.
      type: str
      sample: vlan
    up: {description: Whether it is set up., type: bool, sample: true}
    carrier: {description: Whether its link is there., type: bool, sample: true}
    mtu: {description: Its MTU in bytes., type: int, sample: 9000}
    max_mtu: {description: The largest that it can have; V(0) for any., type: int, sample: 9216}
    mac: {description: Its permanent MAC address; else the current one., type: str}
    permanent_mac: {description: Whether that is the permanent one., type: bool}
    master: {description: The bond or bridge whose port it is., type: str, sample: bond0}
    lowers: {description: Of a VLAN what it lies on., type: list, elements: str}
    vlan_id: {description: Its VLAN; V(0) for none., type: int, sample: 100}
    bond_mode: {description: How a bond works., type: str, sample: active-backup}
    addresses:
      description: Its addresses with their prefixes, but for link-local ones.
      type: list
      elements: str
      sample: [192.0.2.11/24]
    routes:
      description: Routes over it that somebody added (C(to), C(via), C(metric)).
      type: list
      elements: dict
  sample: {ens2f0: {kind: ethernet, up: true, mtu: 9000, addresses: [192.0.2.11/24]}}
carriers:
  description: The interfaces over which the ssh connection comes, and what they lie on. Empty
    without ssh.
  returned: success
  type: list
  elements: str
  sample: [bond0, eno1, eno2]
managers:
  description: Whether V(networkmanager) and V(networkd) run, and V(netplan) is installed.
  returned: success
  type: dict
  sample: {networkmanager: false, networkd: true, netplan: true}
netplan_files:
  description: Netplan's files of this host.
  returned: success
  type: list
  elements: str
  sample: [/etc/netplan/50-cloud-init.yaml]
claims:
  description: What each manager says of each of O(names) - C(networkmanager) (state, uuid and file
    of the profile), C(networkd) (state and file), C(ifupdown).
  returned: success
  type: dict
  sample:
    ens2f0:
      networkmanager: null
      networkd: {state: configured, file: /run/systemd/network/10-netplan-ens2f0.network}
      ifupdown: false
hardware:
  description: For each of O(names) - C(speed) in Mbit/s or null; C(rings) (C(rx), C(rx_max),
    C(tx), C(tx_max)) where there are any; C(offloads) (C(on), C(fixed)); and the lines of the
    C(.link) file in force that name it (C(link_lines)).
  returned: success
  type: dict
firewall:
  description: The firewall that runs (C(name), V(firewalld), V(ufw) or V(none)), and of firewalld
    the zone of the first of O(names) (C(zone)).
  returned: success
  type: dict
  sample: {name: firewalld, zone: public}
sysctls:
  description: The values of O(sysctls); null for those that cannot be set here, because
    this kernel does not have them or they are not a container's to set.
  returned: success
  type: dict
  sample: {net.ipv4.tcp_rmem: 4096 131072 6291456}
msg:
  description: What was found, in one sentence.
  returned: always
  type: str
  sample: 4 interfaces; the connection comes over mgmt
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

from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.interfaces import Network
from ansible_collections.lowtide.compute.plugins.module_utils._host_module import finish

SPEC = {
    "names": {"type": "list", "elements": "str", "default": []},
    "sysctls": {"type": "list", "elements": "str", "default": []},
}


def look(network: Network, names: Sequence[str], sysctls: Sequence[str]) -> dict[str, Any]:
    """All that RETURN describes."""
    links = network.links()
    there = [name for name in names if name in links]
    running, claims = network.managers(there)
    carriers = network.carriers(links)
    over = f"the connection comes over {', '.join(carriers)}" if carriers else "no ssh connection"
    return {
        "changed": False,
        "interfaces": links,
        "carriers": carriers,
        "managers": running,
        "netplan_files": network.netplan_files(),
        "claims": claims,
        "hardware": {name: network.hardware(name) for name in there},
        "firewall": network.firewall(next(iter(names), "")),
        "sysctls": network.sysctls(sysctls),
        "msg": f"{len(links)} interfaces; {over}",
    }


def main() -> None:
    module = AnsibleModule(SPEC, supports_check_mode=True)

    def run(command: Sequence[str]) -> tuple[int, str]:
        if module.get_bin_path(command[0]) is None:
            return 127, ""
        code, out, _err = module.run_command(list(command), environ_update={"LC_ALL": "C"})
        return code, out

    network = Network(run)
    finish(module, lambda: look(network, module.params["names"], module.params["sysctls"]))


if __name__ == "__main__":
    main()
