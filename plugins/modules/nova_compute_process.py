#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nova_compute_process
short_description: What the running nova-compute knows of its configuration, and how it is told
version_added: 1.0.0
description:
  - Reads, on a hypervisor, how nova-compute was started, which files it reads and in which order,
    and which options of a drop-in file it has not taken yet.
  - Notes options that are about to change, has nova-compute read those that it can read while it
    runs, and restarts it when no migration runs.
  - SIGHUP is sent only to a nova-compute that survives it. With eventlet it reads its mutable
    options again; with native threads, the default since 2026.2, it ends, and the migrations that
    it watches are lost. See the notes.
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
      - V(seen) only reads.
      - V(noted) notes O(restart) and O(reload) as options that the running process does not know.
        To be called before O(path) is written, so that an interruption forgets nothing.
      - V(written) notes that O(path) is now as it was meant when the change was noted. A file that
        anybody else wrote is not known to the process.
      - V(known) notes that O(restart) and O(reload) are all that the process does not know,
        whatever was noted before. For when O(path) is again as it was.
      - V(reloaded) sends SIGHUP if that gives the process options that it does not know.
      - V(restarted) restarts the unit if the process does not know options that need it, or if it
        has failed. One that somebody stopped stays stopped. Fails with the code V(host_busy) when
        libvirt has a migration.
    type: str
    choices: [seen, noted, written, known, reloaded, restarted]
    default: seen
  path:
    description: The drop-in file.
    type: path
    default: /etc/nova/nova.conf.d/90-lowtide-migration.conf
  restart:
    description: Options (C(group.option)) that change and need a restart. For O(state=noted) and
      O(state=known).
    type: list
    elements: str
    default: []
  reload:
    description: Options that change and are mutable. For O(state=noted) and O(state=known).
    type: list
    elements: str
    default: []
  unit:
    description:
      - The unit of systemd. Empty means C(nova-compute.service) or
        C(openstack-nova-compute.service), whichever is there.
    type: str
    default: ""
  unit_drop_in:
    description:
      - Name of the file in which an C(ExecStart=) of ours stands, if one does. It is not taken for
        the unit's own.
    type: str
    default: 90-lowtide-migration.conf
  record:
    description:
      - Where is noted what the running process does not know. It must not outlive a reboot.
    type: path
    default: /run/lowtide/nova-compute.json
  release:
    description: Nova's release, such as V(2026.1) or V(33). Unknown if empty.
    type: str
    default: ""
  concurrency_backend:
    description: The C(concurrency_backend) that is configured. Empty if none is.
    type: str
    default: ""
  uri:
    description: The URI of libvirt, which is asked for migrations before a restart.
    type: str
    default: qemu:///system
  log_path:
    description: Nova-compute's log. The journal is read as well.
    type: path
    default: /var/log/nova/nova-compute.log
  settle_seconds:
    description: Seconds for which a restarted nova-compute must stay up.
    type: int
    default: 10
notes:
  - oslo.service's launcher of native threads answers SIGHUP in a process that does not fork, as
    nova-compute is, by leaving (C(oslo_service/backend/_threading/service.py)).
  - Whether a process survives SIGHUP is judged by its environment
    (C(OS_NOVA_DISABLE_EVENTLET_PATCHING)), by O(concurrency_backend), by O(release), and by
    whether it holds the descriptor on which eventlet waits. When in doubt, it does not.
requirements:
  - systemd
  - libvirt-python, for O(state=restarted)
seealso:
  - module: lowtide.compute.nova_config
"""

EXAMPLES = r"""
- name: See what nova-compute does not know yet
  lowtide.compute.nova_compute_process:
    release: "2026.1"
  become: true
  register: compute

- name: Restart it if it must be, unless a migration runs
  lowtide.compute.nova_compute_process:
    state: restarted
  become: true
  when: compute.pending.restart | length > 0
"""

RETURN = r"""
unit:
  description: The unit of systemd.
  returned: success
  type: str
  sample: nova-compute.service
running:
  description: Whether nova-compute runs.
  returned: success
  type: bool
pid:
  description: Its main process, 0 when it does not run.
  returned: success
  type: int
started_at:
  description: When that began, in seconds of the epoch; null when it does not run.
  returned: success
  type: float
program:
  description: Where nova-compute is, or its name when that is not known.
  returned: success
  type: str
  sample: /usr/bin/nova-compute
config_files:
  description:
    - The files with which it is started (C(--config-file)), in order. Null when it is started
      without any, and reads those that oslo.config finds.
  returned: success
  type: list
  elements: str
  sample: [/etc/nova/nova.conf, /etc/nova/nova-compute.conf]
config_dirs:
  description:
    - The directories with which it is started (C(--config-dir)) once RV(command) is what starts
      it, in order. Null when it is started without any.
  returned: success
  type: list
  elements: str
  sample: [/etc/nova/nova.conf.d]
drop_in_order:
  description:
    - How it reads the directory of O(path) without RV(command). V(last) when no file is read after
      it, V(overruled) when one is, V(unread) when the directory is not read.
  returned: success
  type: str
  sample: last
command:
  description:
    - The C(ExecStart=) with which the directory of O(path) is read last; empty when it is anyway,
      null when nobody can tell how.
  returned: success
  type: str
unit_drop_in:
  description: The file in which that command is to stand.
  returned: success
  type: str
  sample: /etc/systemd/system/nova-compute.service.d/90-lowtide-migration.conf
takes_sighup:
  description: Whether SIGHUP makes it read its mutable options.
  returned: success
  type: bool
pending:
  description: Options that the running process has not taken.
  returned: success
  type: dict
  contains:
    restart: {description: Those that need a restart., type: list, elements: str}
    reload: {description: Those that need SIGHUP., type: list, elements: str}
complaints:
  description: What the process logged against options of the drop-in, or before it died.
  returned: success
  type: list
  elements: str
msg:
  description: All in one sentence.
  returned: always
  type: str
  sample: nova-compute.service runs (91); a restart is pending for libvirt.live_migration_bandwidth
code:
  description: One word for what went wrong, such as V(host_busy) or V(host_not_ready).
  returned: failure
  type: str
  sample: host_busy
remedy:
  description: What to do about it.
  returned: failure
  type: str
"""

from ansible_collections.lowtide.compute.plugins.module_utils._compute_process import SPEC, handle
from ansible_collections.lowtide.compute.plugins.module_utils._host_module import run_on_host


def main() -> None:
    run_on_host(SPEC, handle)


if __name__ == "__main__":
    main()
