# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The nouns of a drain: what was seen, what was asked for, what was decided.

This module util is **PRIVATE** to the collection: it may change without notice.
Every class is frozen, holds plain values only and survives :mod:`codec` unchanged.
Times are seconds (epoch, of the clock of the machine that runs the module), sizes
carry their unit in their name, states are Nova's own words in lower case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import (
    GuestNuma,
    HostNuma,
)

# --- Nova's vocabulary -------------------------------------------------------------------

#: Migration statuses of a live migration that Nova is still working on
#: (nova/db/main/api.py: everything that is not in the list of ended ones).
LIVE_IN_FLIGHT = frozenset(
    {"accepted", "queued", "preparing", "running", "running (post-copy)", "post-migrating"}
)
#: Migration statuses of a cold migration or resize that Nova is still working on.
COLD_IN_FLIGHT = frozenset(
    {"accepted", "pre-migrating", "migrating", "post-migrating", "confirming", "reverting"}
)
#: A cold migration that waits for its confirmation: the source keeps disks and allocation.
COLD_UNCONFIRMED = "finished"
#: A migration that ended without moving the guest. Nova 32 and later say ``error`` where
#: earlier releases said ``failed`` or ``cancelled``; all three mean the same.
FAILED = frozenset({"failed", "error", "cancelled", "reverted"})
#: A migration that ended with the guest moved.
SUCCEEDED = frozenset({"completed", "confirmed", "done"})

POST_COPY = "running (post-copy)"


# --- What is: the cloud as it was seen ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class Port:
    """A network port of a guest."""

    id: str
    vnic_type: str = "normal"


@dataclass(frozen=True, slots=True)
class Group:
    """A server group and where its members are (``members``: guest id -> host or ``""``)."""

    id: str
    name: str
    policy: str
    max_server_per_host: int = 1
    members: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Guest:
    """An instance, as Nova's API shows it to an administrator.

    ``task_state`` is ``""`` when Nova has none. ``power_state`` is one of ``nostate``,
    ``running``, ``paused``, ``shutdown``, ``crashed``, ``suspended``. ``alive`` is the
    hypervisor's own answer (diagnostics): ``None`` when it was not asked.
    ``resources`` are the guest's allocations in Placement, summed over its providers.
    ``disk_gib``: its local disks (a root disk that is a volume is none of them).
    ``image_properties``: those that Nova knows, of the guest; in a survey also policies, of the
    image ``image_id`` as it is now.
    ``addresses``: IP addresses, network by network in the order of their names, as Nova lists them.
    ``extra_specs`` and ``flavor_name``: of the flavor as it was when the guest got it.
    ``candidates``: hosts that Placement would allocate what it asks for (resources, traits,
    aggregates), ``None`` when it was not asked. ``numa``: what it asks of a host's cells, ``None``
    when that is not known.
    """

    id: str
    name: str
    host: str
    vm_state: str
    task_state: str = ""
    power_state: str = "running"
    project_id: str = ""
    vcpus: int = 1
    ram_mib: int = 0
    disk_gib: int = 0
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    image_id: str = ""
    image_properties: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    boots_from_volume: bool = False
    volumes: tuple[str, ...] = ()
    config_drive: bool = False
    locked: bool = False
    availability_zone: str = ""
    pinned_availability_zone: str = ""
    ports: tuple[Port, ...] = ()
    addresses: tuple[str, ...] = ()
    group: Group | None = None
    shares: tuple[str, ...] = ()
    resources: Mapping[str, int] = field(default_factory=dict)
    alive: bool | None = None
    flavor_name: str = ""
    candidates: tuple[str, ...] | None = None
    numa: GuestNuma | None = None


@dataclass(frozen=True, slots=True)
class Carrier:
    """Something that can carry a policy: an image, a flavor, or an instance.

    ``place``: flavor, image or instance. ``texts``: an image's properties and other attributes
    that are texts, a flavor's extra specs, an instance's metadata. ``owner``: ID of its project,
    ``""`` for a flavor. ``protected``: an image that Glance will not delete.
    """

    place: str
    id: str
    name: str
    texts: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    protected: bool = False
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Migration:
    """A row of ``/os-migrations``. ``kind``: live-migration, migration, resize, evacuation."""

    id: int
    uuid: str
    guest_id: str
    kind: str
    status: str
    source: str
    destination: str = ""
    created_at: str = ""
    updated_at: str = ""

    @property
    def is_live(self) -> bool:
        return self.kind == "live-migration"

    @property
    def in_flight(self) -> bool:
        return self.status in (LIVE_IN_FLIGHT if self.is_live else COLD_IN_FLIGHT)

    @property
    def failed(self) -> bool:
        return self.status in FAILED

    @property
    def succeeded(self) -> bool:
        return self.status in SUCCEEDED


@dataclass(frozen=True, slots=True)
class Progress:
    """Memory figures of one running live migration, in bytes (Nova gives them while it runs)."""

    total_bytes: int = 0
    processed_bytes: int = 0
    remaining_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """The nova-compute service of a host."""

    id: str
    host: str
    enabled: bool
    up: bool
    forced_down: bool = False
    disabled_reason: str = ""
    availability_zone: str = ""


@dataclass(frozen=True, slots=True)
class Room:
    """What a possible destination still has: ``free`` by resource class (Placement).

    ``unusable``: why it takes no guest now (disabled, down, forced_down), "" when it does.
    ``closing``: it is to be drained itself, or spoken for. ``hypervisor_version``: as Nova numbers
    it (8002000 is QEMU 8.2.0), 0 when it is not known. ``numa``: its cells, where they are known.
    """

    host: str
    free: Mapping[str, int]
    availability_zone: str = ""
    unusable: str = ""
    closing: bool = False
    aggregates: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    hypervisor_type: str = ""
    hypervisor_version: int = 0
    numa: HostNuma | None = None

    @property
    def usable(self) -> bool:
        """It takes guests now."""
        return not self.unusable


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run is about: every guest of one host, or named guests wherever they are."""

    host: str = ""
    guest_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything the plan is made from: the guests in scope, and where they could go.

    ``services``: every nova-compute of the cloud. ``migrations``: those that concern the
    scope, newest first. ``finished``: unconfirmed cold migrations and resizes whose source
    is the host; their guests are in ``guests`` although they are elsewhere.
    ``unknown_consumers``: consumers of the host's allocations in Placement that are neither
    a guest in ``guests`` nor one of ``migrations`` (by uuid).
    """

    scope: Scope
    services: tuple[Service, ...] = ()
    guests: tuple[Guest, ...] = ()
    rooms: tuple[Room, ...] = ()
    migrations: tuple[Migration, ...] = ()
    finished: tuple[Migration, ...] = ()
    unknown_consumers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at what is being drained. ``guests``: all that Nova lists in scope.

    ``migrations``: all that concern the scope, newest first. ``progress``, ``evidence``,
    ``refusals``, ``alive`` and ``hypervisors`` (by Nova's name of the host) hold only what the
    previous decision asked for. ``silent_ms``: guests that a probe reached before and that have
    not answered it for so long.
    """

    service: Service | None = None
    guests: tuple[Guest, ...] = ()
    migrations: tuple[Migration, ...] = ()
    progress: Mapping[str, Progress] = field(default_factory=dict)
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    causes: Mapping[str, str] = field(default_factory=dict)
    alive: Mapping[str, bool | None] = field(default_factory=dict)
    hypervisors: Mapping[str, Domains] = field(default_factory=dict)
    silent_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nova's answer to a request it did not take. ``status``: HTTP, 0 when no answer came."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Binding:
    """One binding of one port to one host. ``status``: active or inactive."""

    port_id: str
    host: str
    status: str


@dataclass(frozen=True, slots=True)
class Domains:
    """What libvirt on one host says. ``states``: guest id -> state, as Nova words power states.

    ``leftovers``: guests that have no domain there, but an instance directory. ``error``: why
    libvirt could not be asked; then the rest says nothing.
    """

    states: Mapping[str, str] = field(default_factory=dict)
    leftovers: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the witnesses say of one guest after its move.

    ``allocations``: names of the compute hosts whose providers hold the guest's
    allocations. ``leftover_allocations``: the migration's own consumer still holds some.
    ``attachments``: each volume that Nova lists on the guest now -> number of attachments
    that this guest has to it in Cinder; empty when there is no block storage service.
    """

    exists: bool
    host: str = ""
    vm_state: str = ""
    task_state: str = ""
    power_state: str = ""
    allocations: tuple[str, ...] = ()
    leftover_allocations: bool = False
    bindings: tuple[Binding, ...] = ()
    attachments: Mapping[str, int] = field(default_factory=dict)


# --- What is wanted: the operator's options ----------------------------------------------


@dataclass(frozen=True, slots=True)
class Exclusions:
    """Guests that stay, by the operator's wish."""

    ids: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Options:
    """How to move. The defaults are the modules' defaults; see the modules' documentation.

    Times in seconds. ``record_timeout``: for Nova to make a migration record after it took
    a request. ``settle_timeout``: for a state that passes by itself. ``quiet_seconds``: after
    the service was disabled, for builds that were already scheduled to show up.
    ``escalation_timeout``: for an abort or force-complete to take effect. ``api_patience``:
    for an API that does not answer. ``deadline`` 0: none.
    ``profile`` and ``policy``: the operator's defaults for each guest's policy (see ``policy``).
    ``dirty_rates``: guest id -> MiB/s, where measured. ``hypervisors``: Nova's names of the hosts
    whose libvirt can be asked. ``unreachable_ms``: for how long a guest may be silent.
    ``destinations``: planned (the plan names each guest's host) or scheduler (Nova chooses).
    ``incompatible``: guest id -> hosts that cannot take it as it runs. ``avoid``: hosts that get no
    guest, such as those that are drained next.
    """

    max_parallel: int = 1
    max_parallel_per_destination: int = 0
    order: str = "longest_first"
    timeout_per_gib: float = 60.0
    on_timeout: str = "abort"
    max_attempts: int = 3
    retry_delay: float = 10.0
    settle_timeout: float = 120.0
    verify_timeout: float = 120.0
    record_timeout: float = 60.0
    escalation_timeout: float = 120.0
    deadline: float = 0.0
    quiet_seconds: float = 10.0
    api_patience: float = 300.0
    on_failure: str = "continue"
    on_blocker: str = "fail"
    allow_cold_migration: bool = False
    shutoff: str = "cold"
    paused: str = "live"
    sriov: str = "live"
    vgpu: str = "fail"
    live_migratable_pci_aliases: tuple[str, ...] = ()
    confirm_resizes: bool = False
    reset_error_state: bool = False
    bandwidth_mib_s: float = 1000.0
    overhead_seconds: float = 5.0
    destination: str = ""
    exclude: Exclusions = Exclusions()
    profile: str = ""
    policy: Mapping[str, str] = field(default_factory=dict)
    dirty_rates: Mapping[str, float] = field(default_factory=dict)
    hypervisors: tuple[str, ...] = ()
    on_unreachable: str = "report"
    unreachable_ms: float = 5000.0
    destinations: str = "scheduler"
    topologies: Mapping[str, HostNuma] = field(default_factory=dict)
    incompatible: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    avoid: tuple[str, ...] = ()


# --- What was judged and planned ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """What the migration of one guest may cost it, and what its owner wishes.

    ``completion_timeout``: seconds in all; 0: none of its own, the budget by size holds.
    ``bandwidth_mib_s`` 0: no limit. ``auto_converge``: as asked for, ``None``: nobody asked; stock
    Nova decides it when a migration starts. ``post_copy``: whether it is allowed, ``None``: as
    the operator's ``on_timeout`` has it. ``recovery_priority``: 1 first, 10 last. ``wish``:
    migrate, notify or leave. ``sources``: field -> where its value comes from. ``findings``:
    values that were ignored, and why, a sentence each.
    """

    completion_timeout: float = 0.0
    max_downtime_ms: int = 500
    bandwidth_mib_s: float = 0.0
    auto_converge: bool | None = None
    post_copy: bool | None = None
    on_timeout: str = "abort"
    recovery_priority: int = 10
    wish: str = "migrate"
    sources: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[str, ...] = ()


LIVE = "live"
COLD = "cold"
WAIT = "wait"
CONFIRM = "confirm"
RECOVER = "recover"
BLOCKED = "blocked"
EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a guest, and why.

    ``method``: live, cold, wait (not now), confirm (an unconfirmed cold migration or
    resize), recover (reset the ERROR that a failed migration left), blocked (cannot go) or
    excluded. ``code``: one word for machines. ``notes``: what the
    operator should know of a guest that does move.
    """

    method: str
    code: str
    reason: str = ""
    remedy: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """Predicted cost of a move: ``seconds`` of wall clock, ``bytes`` over the wire."""

    seconds: float
    bytes: int
    rounds: int = 1
    downtime_ms: float = 0.0
    converges: bool = True


@dataclass(frozen=True, slots=True)
class PlanEntry:
    """One guest of the plan. ``destinations``: hosts it could go to, the best first.

    ``placed``: the host that the plan as a whole has for it, "" where it has none. ``asked``: the
    host that Nova will be asked for, "" where its scheduler chooses.
    """

    guest: Guest
    verdict: Verdict
    estimate: Estimate
    destinations: tuple[str, ...] = ()
    placed: str = ""
    asked: str = ""
    policy: Policy = Policy()


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a plan does not fit. ``guests``: those (ids) without which the rest fits, as few as were
    found. ``missing``: host -> resource class -> how much more it would take there for one of them
    after the other; a host with nothing missing lacks what no amount tells (a group, a cell).
    ``least``: that no smaller number of guests would do is proven.
    """

    guests: tuple[str, ...] = ()
    missing: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    least: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole plan of one run, in the order in which guests are to go."""

    scope: Scope
    entries: tuple[PlanEntry, ...]
    seconds: float
    bytes: int
    fits: bool = True
    shortage: Shortage = Shortage()

    @property
    def blockers(self) -> tuple[PlanEntry, ...]:
        return tuple(e for e in self.entries if e.verdict.method == BLOCKED)


# --- What is going on: the ledger of one run ---------------------------------------------

WAITING = "waiting"
REQUESTED = "requested"
MIGRATING = "migrating"
CONFIRMING = "confirming"
VERIFYING = "verifying"
RECOVERING = "recovering"
MOVED = "moved"
LEFT = "left"
UNVERIFIED = "unverified"
GONE = "gone"
SKIPPED = "excluded"

#: Phases in which a guest holds one of the ``max_parallel`` places.
HOLDING = frozenset({REQUESTED, MIGRATING, CONFIRMING})


@dataclass(frozen=True, slots=True)
class Move:
    """What this run knows of one guest. Everything else is read anew from Nova.

    ``known_migration``: the newest migration id of this guest before our request: a record
    with a higher id is ours. ``vm_state`` and ``power_state``: before the move.
    ``aborted_for``: the code for which we aborted its migration, if that was not the time it took.
    ``doubt`` and ``doubted_at``: what libvirt's first look found wrong, and when. ``located``: the
    failed migration after which libvirt was seen to have it on its source. ``witnesses``: how many
    of the witnesses of a move were heard, at its end. ``silent_since``: when its clients lost it.
    ``tried``: hosts that were asked for and did not take it. ``replanned``: the number of attempts
    after which the plan was last made anew for it.
    """

    guest_id: str
    name: str
    source: str
    phase: str = WAITING
    method: str = ""
    vm_state: str = ""
    power_state: str = ""
    destination: str = ""
    attempts: int = 0
    known_migration: int = 0
    migration_id: int = 0
    migration_uuid: str = ""
    migration_status: str = ""
    adopted: bool = False
    escalation: str = ""
    timed_out: bool = False
    aborted_for: str = ""
    doubt: str = ""
    doubted_at: float = 0.0
    located: int = 0
    witnesses: int = 0
    silent_since: float = 0.0
    tried: tuple[str, ...] = ()
    replanned: int = 0
    since: float = 0.0
    running_since: float = 0.0
    started_at: float = 0.0
    ended_at: float = 0.0
    not_before: float = 0.0
    total_bytes: int = 0
    remaining_bytes: int = 0
    processed_bytes: int = 0
    predicted_seconds: float = 0.0
    predicted_bytes: int = 0
    group_id: str = ""
    code: str = ""
    reason: str = ""
    remedy: str = ""

    @property
    def copied_bytes(self) -> int:
        """What a migration that has ended must have copied, at least.

        Nova shows figures only while it runs: what was copied when it was last seen, and what
        then remained.
        """
        return self.processed_bytes + self.remaining_bytes


@dataclass(frozen=True, slots=True)
class Ledger:
    """The state of one run between two ticks: small, serialisable, rebuildable from Nova.

    ``since``: the run's start as Nova writes times (ISO 8601, UTC). ``source_cap``: how many
    migrations the source was seen to run at a time when it kept others queued; 0: not seen.
    ``stopped``: why nothing new is started: "", failure, deadline, enabled, split_brain, lost or
    guest_unreachable. ``held_since``: when that began which lets nothing start for now; 0: nothing
    does. ``answers``: what the last decision's reads and refusals brought, for the next
    tick's observation. ``wanted``: hosts whose libvirt the next observation must have asked.
    ``overtaken``: guests whose planned host did not take them; the next tick needs a new plan.
    """

    run_id: str = ""
    started_at: float = 0.0
    since: str = ""
    disabled_at: float = 0.0
    idle_since: float = 0.0
    unreachable_since: float = 0.0
    moves: Mapping[str, Move] = field(default_factory=dict)
    source_cap: int = 0
    stopped: str = ""
    held_since: float = 0.0
    ticks: int = 0
    answers: Observation = Observation()
    wanted: tuple[str, ...] = ()
    overtaken: tuple[str, ...] = ()


# --- What to do: the decision of one tick ------------------------------------------------


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do. ``verb`` names it, the other fields say to what.

    Writes: ``disable`` (reason in ``text``), ``live_migrate``, ``cold_migrate``,
    ``confirm``, ``abort``, ``force_complete``, ``reset_state``, ``pause``.
    Reads that the next observation must hold: ``verify``, ``explain`` (why a migration
    failed), ``ask_alive`` (does the guest run on its host), ``progress``, ``ask_hypervisor``
    (which domains ``host`` has: asked by whoever can reach its libvirt, not by the engine).
    """

    verb: str
    guest_id: str = ""
    host: str = ""
    migration_id: int = 0
    migration_uuid: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth telling. ``kind`` names it; ``_report`` words it."""

    at: float
    kind: str
    guest_id: str = ""
    name: str = ""
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What one tick decided. ``done``: nothing is in flight and nothing more will be started."""

    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    done: bool = False
