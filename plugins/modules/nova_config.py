#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nova_config
short_description: Configure how nova-compute migrates, in a file of its own
version_added: 1.0.0
description:
  - Writes a drop-in for nova.conf with the options that bear on migration, from the speed of the
    link that carries it and a few wishes. Nova's own files stay as they are.
  - Reads Nova's configuration as oslo.config does, so that it tells which value is in force, from
    which file, and what of nova-compute must be restarted or told. It restarts nothing.
  - Knows the options of each release of Nova from 2023.1 to 2026.2. What a release has not is not
    written; what has another name by now is written under that.
  - Refuses what nova-compute would not start with, and what would make migrations fail or crawl,
    before anything is written, and all of it at once.
  - Needs neither Nova nor oslo.config on the host, when O(release) is named.
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
    description:
      - V(present) has the drop-in say what is asked for, and nothing else.
      - V(absent) removes it, and puts back to the byte what was there before, if anything was. A
        file that this module did not write is left alone.
    type: str
    choices: [present, absent]
    default: present
  path:
    description:
      - The drop-in. Its name must end in C(.conf) for nova-compute to read it.
      - A new file gets owner, group and mode of the first file of Nova's configuration. When
        another file is there, it is kept beside it, with C(.lowtide-before) behind its name.
    type: path
    default: /etc/nova/nova.conf.d/90-lowtide-migration.conf
  settings:
    description:
      - The profile, as wishes with types and units. V({}) is the profile for a link of 10 Gbit/s.
      - Without it only O(options) are written.
    type: dict
    suboptions:
      link_gbit_s:
        description: Speed of the link that carries migrations, in Gbit/s.
        type: float
        default: 10
      link_share:
        description: The part of the link that migrations may take together, more than 0, and 1 at
          most.
        type: float
        default: 0.7
      concurrent:
        description: Live migrations that leave this host at a time, 1 or more.
        type: int
        default: 2
      bandwidth_mib_s:
        description:
          - MiB/s that each migration may take; 0 for no limit.
          - Computed by default. The link's share, divided among O(settings.concurrent) migrations.
        type: int
      inbound_addr:
        description: This host's address, or name, at which it takes guests in. Nova's default is
          its host name.
        type: str
      cold_inbound_addr:
        description:
          - This host's address to which cold migrations copy disks; C(%s) is its host name. New in
            Nova 2024.1. Nova's default is C($my_ip).
          - The hosts must know each other's SSH keys at that address.
        type: str
      scheme:
        description: How libvirt on one host talks to libvirt on the other. Nova's default is
          V(tcp).
        type: str
        choices: [tcp, tls, ssh, libssh, libssh2]
      downtime_ms:
        description: Milliseconds that a guest may stand still at the end, 100 to 2000000.
        type: int
        default: 500
      downtime_steps:
        description: Steps in which the downtime grows to that, 3 or more.
        type: int
        default: 5
      downtime_delay_s:
        description:
          - Seconds between two steps, for each GiB of the guest, 3 or more.
          - Computed by default. The time of one pass over the memory at the bandwidth.
        type: int
      completion_timeout_s_per_gib:
        description:
          - Seconds for each GiB of the guest, memory and disks that are copied, after which
            O(settings.timeout_action) is taken; each device counts for 2 GiB or more. 0 is for
            never. StarlingX's 180 s and 800 s are for a whole guest; divide them by its GiB.
          - Computed by default. Three times the seconds in which the downtime grows to its full
            value, O(settings.downtime_delay_s) times O(settings.downtime_steps). It must be more
            than that once.
        type: int
      timeout_action:
        description: What happens then. V(abort), or V(force_complete), which pauses the guest until
          it is there, or switches to post-copy where that is permitted.
        type: str
        choices: [abort, force_complete]
        default: abort
      permit_post_copy:
        description: Whether a migration may be switched to post-copy. The guest is lost when the
          link fails then.
        type: bool
        default: false
      permit_auto_converge:
        description: Whether QEMU may throttle a guest that writes faster than it is copied.
        type: bool
        default: true
      parallel_connections:
        description: Connections over which each copy goes, 1 to 255. New in Nova 2026.1.
        type: int
        default: 1
      native_tls:
        description: Whether memory and disks are encrypted by QEMU's own TLS, whose certificates
          must be there.
        type: bool
        default: false
      tunnelled:
        description: Whether the copy goes through libvirt's connection. It is refused; use
          O(settings.native_tls).
        type: bool
        default: false
      monitor_interval_s:
        description: Seconds between two times that Nova writes a migration's progress to its
          database, 1 or more. New in Nova 2026.2, whose default is 5.
        type: int
      rpc_response_timeout_s:
        description: Seconds for which nova-compute waits for an answer over RPC, such as that of
          another host's checks.
        type: int
        default: 120
      vif_plugging_timeout_s:
        description: Seconds to wait for Neutron's word that the ports are plugged before the copy.
          Nova's default is 300.
        type: int
      shutdown_timeout_s:
        description: Seconds that a guest has to shut down before a cold migration. Nova's default
          is 60.
        type: int
      resume_guests_state_on_host_boot:
        description: Whether guests that ran are started when the host has booted.
        type: bool
      enable_qemu_monitor_announce_self:
        description: Whether QEMU announces a guest's addresses again after its migration. It taints
          the guest for libvirt.
        type: bool
      skip_cpu_compare_on_dest:
        description: Whether the destination leaves the comparison of CPUs to libvirt.
        type: bool
      vnc_server_listen:
        description: Where QEMU listens for VNC on this host. A guest that moves here listens there,
          and cannot start when the host has no such address.
        type: str
  options:
    description:
      - Further options of nova.conf, group to option to value, as C({libvirt{:} {cpu_mode{:}
        custom}}).
      - Those that bear on migration are checked like the settings; others are written as they are,
        with a warning. Not for secrets.
    type: dict
    default: {}
  release:
    description: The release of Nova, as V(2026.1), V(gazpacho) or V(33). V(auto) asks the nova
      package on this host.
    type: str
    default: auto
  nova_compute:
    description: The program nova-compute, a name on C(PATH) or a path. Its first line names the
      Python whose nova package is asked for its version.
    type: str
    default: nova-compute
  config_files:
    description:
      - The files with which nova-compute is started (C(--config-file)), in their order; an empty
        list together with an empty O(config_dirs) where that is not known here.
      - By default those that oslo.config reads by itself, C(nova.conf) and C(nova-compute.conf) in
        C(/etc/nova) or C(/etc).
    type: list
    elements: path
  config_dirs:
    description:
      - The directories with which it is started (C(--config-dir)). They are read after
        O(config_files), and what is read last wins.
      - By default those that oslo.config reads by itself, C(nova.conf.d) and C(nova-compute.conf.d)
        in C(/etc/nova) or C(/etc). They are read before the files with which nova-compute is
        started, which therefore win.
    type: list
    elements: path
  host_addresses:
    description: The host's IP addresses, against which addresses in the options are checked. An
      empty list for no check.
    type: list
    elements: str
    default: []
  qemu_version:
    description: The version of QEMU on the host, such as V(10.1.0). By default the program is
      asked.
    type: str
    default: ''
  prefix:
    description: What messages put before the name of a setting, for roles whose variables have one.
    type: str
    default: settings.
seealso:
  - module: lowtide.compute.nova_config_info
  - name: Nova's configuration options
    description: What each option means.
    link: https://docs.openstack.org/nova/latest/configuration/config.html
"""

EXAMPLES = r"""
- name: Have live migrations use 70 percent of a link of 10 Gbit/s, two at a time
  lowtide.compute.nova_config:
    settings:
      inbound_addr: 198.51.100.11
    host_addresses: "{{ ansible_facts['all_ipv4_addresses'] }}"
  become: true
  register: config

- name: Show which options need a restart of nova-compute, and which need SIGHUP only
  ansible.builtin.debug:
    msg: "restart: {{ config.restart }}, reload: {{ config.reload }}"

- name: One large guest at a time over 25 Gbit/s, encrypted, and the guests' CPU
  lowtide.compute.nova_config:
    settings:
      link_gbit_s: 25
      concurrent: 1
      native_tls: true
      scheme: tls
      inbound_addr: 198.51.100.11
    options:
      libvirt:
        cpu_mode: custom
        cpu_models: [Cascadelake-Server]
  become: true

- name: Say what would be written for a host whose containers another tool deploys
  lowtide.compute.nova_config:
    path: /etc/kolla/config/nova/compute-1/nova.conf
    settings: {}
    release: "2025.1"
    config_files: []
    config_dirs: []
  check_mode: true
  diff: true
  delegate_to: deployer

- name: Take it back
  lowtide.compute.nova_config:
    state: absent
  become: true
"""

RETURN = r"""
path:
  description: The drop-in.
  returned: success
  type: str
  sample: /etc/nova/nova.conf.d/90-lowtide-migration.conf
release:
  description: The number of the release, the nova package's major version.
  returned: success
  type: int
  sample: 33
version:
  description: The nova package's version; empty when there is none on this host.
  returned: success
  type: str
  sample: 33.0.2
sections:
  description: What the drop-in says, group to option to text; a list for an option with several
    lines. Empty for O(state=absent).
  returned: success
  type: dict
  sample: {libvirt: {live_migration_bandwidth: "417"}}
effective:
  description:
    - The options that bear on migration, and those of the drop-in, as they are in force after it,
      group to option. Of each C(value), with its type, and C(source), the file or V(default).
    - A value that Nova takes from the host itself is null, and C($my_ip) stays as it is written.
  returned: success
  type: dict
  sample: {libvirt: {live_migration_downtime: {value: 500, source: default}}}
restart:
  description: Options, as C(group.option), whose value in force changes, and for which nova-compute
    must be restarted.
  returned: success
  type: list
  elements: str
  sample: [libvirt.live_migration_bandwidth]
reload:
  description: Those for which SIGHUP is enough. They take effect on migrations that run.
  returned: success
  type: list
  elements: str
  sample: [libvirt.live_migration_completion_timeout]
unsupported:
  description: Options that this release has not, and which were therefore not written.
  returned: success
  type: list
  elements: dict
  contains:
    option: {description: The option., type: str, sample: libvirt.live_migration_monitor_interval}
    value: {description: What was asked for., type: raw, sample: 10}
    why: {description: Why not., type: str, sample: new in nova 2026.2 (34); this is 2025.1 (31)}
replaced:
  description: Options that were written under another name, or whose place another one takes.
  returned: success
  type: list
  elements: dict
  contains:
    option: {description: The old one., type: str, sample: libvirt.live_migration_uri}
    by: {description: The new one., type: str, sample: libvirt.live_migration_scheme}
    why: {description: Why., type: str, sample: deprecated since nova 15.0.0}
backup:
  description: Where what was there before was put, in this run; empty when nothing was.
  returned: success
  type: str
msg:
  description: What was done, and what nova-compute needs.
  returned: always
  type: str
  sample: /etc/nova/nova.conf.d/90-lowtide-migration.conf is written; nova-compute needs a restart
    for 9 options and SIGHUP for 1
faults:
  description: What was wrong with the options, each with C(option), C(value), C(msg) and
    C(remedy).
  returned: failure, when an option's value cannot be used
  type: list
  elements: dict
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
from ansible_collections.lowtide.compute.plugins.module_utils._nova_conf import absent, present

INT = {"type": "int"}
TEXT = {"type": "str"}
BOOL = {"type": "bool"}
SETTINGS = {
    "link_gbit_s": {"type": "float", "default": 10},
    "link_share": {"type": "float", "default": 0.7},
    "concurrent": {"type": "int", "default": 2},
    "bandwidth_mib_s": INT,
    "inbound_addr": TEXT,
    "cold_inbound_addr": TEXT,
    "scheme": {"type": "str", "choices": ["tcp", "tls", "ssh", "libssh", "libssh2"]},
    "downtime_ms": {"type": "int", "default": 500},
    "downtime_steps": {"type": "int", "default": 5},
    "downtime_delay_s": INT,
    "completion_timeout_s_per_gib": INT,
    "timeout_action": {"type": "str", "choices": ["abort", "force_complete"], "default": "abort"},
    "permit_post_copy": {"type": "bool", "default": False},
    "permit_auto_converge": {"type": "bool", "default": True},
    "parallel_connections": {"type": "int", "default": 1},
    "native_tls": {"type": "bool", "default": False},
    "tunnelled": {"type": "bool", "default": False},
    "monitor_interval_s": INT,
    "rpc_response_timeout_s": {"type": "int", "default": 120},
    "vif_plugging_timeout_s": INT,
    "shutdown_timeout_s": INT,
    "resume_guests_state_on_host_boot": BOOL,
    "enable_qemu_monitor_announce_self": BOOL,
    "skip_cpu_compare_on_dest": BOOL,
    "vnc_server_listen": TEXT,
}
SPEC = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "path": {"type": "path", "default": "/etc/nova/nova.conf.d/90-lowtide-migration.conf"},
    "settings": {"type": "dict", "options": SETTINGS},
    "options": {"type": "dict", "default": {}},
    "release": {"type": "str", "default": "auto"},
    "nova_compute": {"type": "str", "default": "nova-compute"},
    "config_files": {"type": "list", "elements": "path"},
    "config_dirs": {"type": "list", "elements": "path"},
    "host_addresses": {"type": "list", "elements": "str", "default": []},
    "qemu_version": {"type": "str", "default": ""},
    "prefix": {"type": "str", "default": "settings."},
}


def handle(task: HostTask) -> dict[str, Any]:
    """Do what the state says."""
    do = {"present": present, "absent": absent}[task.params["state"]]
    return do(task.params, task.check_mode, task.warn)


def main() -> None:
    run_on_host(SPEC, handle)


if __name__ == "__main__":
    main()
