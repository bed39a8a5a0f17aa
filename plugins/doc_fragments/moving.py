# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  max_parallel:
    description:
      - How many guests may be on their way at a time.
      - Nova itself runs C(max_concurrent_live_migrations) live migrations at a time on one source,
        1 by default, and queues the others. Where that is seen to happen, no more are started
        and an event says so.
      - Copies share the wire. More of them at a time make each one longer, and guests that write
        much may then not finish.
    type: int
    default: 1
  max_parallel_per_destination:
    description:
      - How many of them may be on their way to one destination; V(0) is no limit.
      - With a limit the destination is chosen here and Nova's scheduler only checks it.
    type: int
    default: 0
  order:
    description:
      - In which order guests go, by their predicted durations, by their names or by priority.
      - V(priority) takes the C(recovery_priority) of each guest's policy, V(1) first, and of those
        that have the same the largest first.
    type: str
    choices: [longest_first, shortest_first, name, priority]
    default: longest_first
  timeout_per_gib:
    description:
      - Seconds that a migration may run for each GiB of memory and, where disks are copied, of
        disk. A guest has at least the time for 2 GiB.
      - When they are spent, O(on_timeout) decides.
    type: float
    default: 60.0
  on_timeout:
    description:
      - What to do with a live migration whose time is spent.
      - V(abort) ends it. The guest stays where it is.
      - V(force_complete) lets Nova pause the guest until the copy is done, or switch to post-copy
        where Nova is configured for it. The guest does not respond meanwhile.
      - V(leave) lets it go on. It counts as a failure unless it ends in time.
    type: str
    choices: [abort, force_complete, leave]
    default: abort
  profile:
    description:
      - A set of defaults for the policy of guests which ask for nothing else.
      - V(minimize_downtime) means 200 ms of downtime, patience (180 s per GiB), and an abort of
        what does not finish. Guests that write much stay.
      - V(complete_quickly) means 2000 ms of downtime, 20 s per GiB, and then a forced completion,
        for which Nova pauses the guest, or switches to post-copy where its configuration says so.
      - V(starlingx) means 500 ms of downtime, 180 s and an abort, as StarlingX sets them.
    type: str
    choices: [minimize_downtime, complete_quickly, starlingx]
  policy:
    description:
      - Your defaults for the policy of guests, over those of O(profile). What a guest's flavor,
        image and metadata may ask for against them says C(docs/policy.md).
      - Nova itself has one downtime and one bandwidth for all guests. To hold each guest's own,
        run M(lowtide.compute.libvirt_migrate_tune) on the source host.
    type: dict
    default: {}
    suboptions:
      completion_timeout:
        description: Seconds that a migration may run in all, 10 to 7200; V(0) leaves it to
          O(timeout_per_gib).
        type: int
      max_downtime_ms:
        description: Milliseconds for which the guest may be paused at the end, 10 to 2000000.
        type: int
      bandwidth_mib_s:
        description: MiB per second that its migration may send, 10 to 100000; V(0) is no limit.
        type: int
      auto_converge:
        description: Whether guests should be slowed down so that they converge. Only reported,
          because Nova's configuration decides that for all migrations.
        type: bool
      post_copy:
        description:
          - V(true) allows guests to ask for O(on_timeout=force_complete), which becomes post-copy
            where Nova is configured for it. V(false) forbids a forced completion for all of them.
          - Without it O(on_timeout) holds, and guests may forbid it.
        type: bool
      on_timeout:
        description: As O(on_timeout), over that of O(profile).
        type: str
        choices: [abort, leave, force_complete]
      recovery_priority:
        description: Rank of guests that have none, 1 to 10. See O(order).
        type: int
  dirty_rates:
    description: How fast guests write to their memory, by their IDs, in MiB per second, where that
      was measured. Only for predictions.
    type: dict
    default: {}
  max_attempts:
    description: How often a guest is tried in all. A migration that ran out of time is not tried
      again.
    type: int
    default: 3
  retry_delay:
    description: Seconds before the second attempt; twice as long before each further one.
    type: float
    default: 10.0
  deadline:
    description: Seconds after which no further guest is started; V(0) is no limit. Those on their
      way then still have their own time.
    type: float
    default: 0.0
  on_failure:
    description: Whether a guest that could not be moved keeps further guests from being started.
    type: str
    choices: [continue, stop]
    default: continue
  allow_cold_migration:
    description:
      - Whether guests that run but cannot be migrated live (SEV, a passed-through PCI device, a
        live migration that did not finish in time) may be stopped, moved, and started again.
      - B(Their users see them go down.)
    type: bool
    default: false
  vgpu:
    description: Whether guests with a virtual GPU are taken to be able to migrate live. They are
      when libvirt (8.6), QEMU (8.1), the driver and the type of device on both hosts support it,
      which no API tells.
    type: str
    choices: [fail, live]
    default: fail
  live_migratable_pci_aliases:
    description: Names of PCI aliases that Nova is configured to migrate live
      (C(live_migratable) in C([pci]alias)), which no API tells.
    type: list
    elements: str
    default: []
  reset_error_state:
    description:
      - Whether the state of guests that are in ERROR, but run, is reset to active so that they can
        be moved.
      - The ERROR in which a failed migration leaves a guest that runs is always reset.
    type: bool
    default: false
  bandwidth_mib_s:
    description: MiB per second that one migration has on the wire. Only for predictions.
    type: float
    default: 1000.0
  overhead_seconds:
    description: Seconds that Nova works on a guest besides copying it. Only for predictions.
    type: float
    default: 5.0
  settle_timeout:
    description: Seconds that a state which passes by itself (a build, a reboot, a migration in a
      queue, a confirmation) may last.
    type: float
    default: 120.0
  record_timeout:
    description: Seconds that Nova has to make a migration record after it took a request.
    type: float
    default: 60.0
  escalation_timeout:
    description: Seconds that an abort or a forced completion has to take effect.
    type: float
    default: 120.0
  verify_timeout:
    description: Seconds within which Nova, Placement, Neutron and Cinder must agree on where a
      guest is after its move.
    type: float
    default: 120.0
  api_patience:
    description: Seconds for which an API may give no answer before the run ends. Migrations in
      flight go on, and another run adopts them.
    type: float
    default: 300.0
  poll_interval:
    description: Seconds between two looks at the cloud. A look is three list calls.
    type: float
    default: 5.0
"""

    DRAIN = r"""
options:
  host:
    description: Name of the compute host, exactly as Nova names it. Never a pattern.
    type: str
    required: true
  destination:
    description:
      - Who chooses where each guest goes.
      - With V(scheduler) it is Nova's scheduler, when the guest's turn comes. The plan shows that
        all guests together fit somewhere, not where each of them will be.
      - With V(planned) it is the plan, which has a host for every guest before the first one moves.
        Nova's scheduler checks that host, and is never forced. Where a host of the plan cannot take
        its guest any more, the rest is planned anew, and an event says so. A guest for which that
        does not help is left to the scheduler.
    type: str
    choices: [scheduler, planned]
    default: scheduler
  incompatible:
    description:
      - IDs of guests, each with a list of hosts (by Nova's names) that cannot take it while it
        runs, for lack of its CPU or machine type. M(lowtide.compute.libvirt_compat_info) returns
        that. The plan sends no guest there; stopped guests may go anywhere.
      - Needs O(destination=planned), as Nova's scheduler does not know about it. A guest that is
        left to the scheduler at last, because its planned hosts did not take it, may be sent there
        all the same, and Nova or libvirt then refuses.
    type: dict
    default: {}
  avoid:
    description:
      - Hosts (by Nova's names) that get no guest of this one, such as those that are drained next.
      - Needs O(destination=planned), as Nova's scheduler does not know about it.
    type: list
    elements: str
    default: []
  topologies:
    description:
      - What M(lowtide.compute.numa_info) returned as C(numa) of hosts to which guests may go, by
        Nova's name of each. The plan then knows which guests with pinned CPUs, huge pages, NUMA
        nodes or PCI devices each host's cells can take, one after the other.
      - Of hosts that are not given, and of what was not seen there, nothing is assumed. The claim
        on the destination has the last word.
    type: dict
    default: {}
  on_blocker:
    description:
      - What to do when the plan finds guests that cannot go. All of them are reported at once.
      - V(fail) ends before anything is changed.
      - V(drain_the_rest) moves the others, and then fails.
    type: str
    choices: [fail, drain_the_rest]
    default: fail
  shutoff:
    description: Whether guests that are stopped are moved by a cold migration that is confirmed
      (they are never started), or left where they are.
    type: str
    choices: [cold, leave]
    default: cold
  paused:
    description: Whether guests that are paused are moved live (they stay paused), or left.
    type: str
    choices: [live, leave]
    default: live
  sriov:
    description: Whether running guests with SR-IOV ports are moved live, or left. Nova unplugs the
      port for the move and the link is lost meanwhile, unless the guest bonds it with another.
    type: str
    choices: [live, leave]
    default: live
  confirm_resizes:
    description:
      - Whether resizes and cold migrations that somebody else left unconfirmed are confirmed.
      - B(A confirmed resize cannot be reverted any more.)
    type: bool
    default: false
  quiet_seconds:
    description: Seconds after the service was disabled in which builds that were scheduled before
      may still show up. A drain does not end earlier.
    type: float
    default: 10.0
  exclude:
    description: Guests that stay. They do not make the drain fail.
    type: dict
    default: {}
    suboptions:
      ids:
        description: By their IDs. Each must be on the host.
        type: list
        elements: str
        default: []
      names:
        description: By their exact names. Each must be on the host.
        type: list
        elements: str
        default: []
      projects:
        description: By the IDs of their projects.
        type: list
        elements: str
        default: []
      tags:
        description: By their tags. One of these is enough.
        type: list
        elements: str
        default: []
      metadata:
        description: By their metadata. One of these pairs is enough.
        type: dict
        default: {}
"""
