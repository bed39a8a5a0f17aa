# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Can this guest move, how, and if not, what is to be done: one table, one row per rule.

This module util is **PRIVATE** to the collection: it may change without notice.
The first row that applies decides. Conditions are Nova's own (nova/compute/api.py and
nova/conductor/tasks/live_migrate.py); docs/guests.md shows the same table to operators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner.destinations import (
    TESTS,
    Test,
    cells_in_the_way,
    group_allows,
    has_room,
    home_of,
    hypervisor_allows,
    in_zone,
    is_open,
    numa_allows,
    placement_offers,
    roomiest,
    traits_asked,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    BLOCKED,
    COLD,
    CONFIRM,
    EXCLUDED,
    LIVE,
    RECOVER,
    WAIT,
    Exclusions,
    Guest,
    Migration,
    Options,
    Room,
    Verdict,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy import wish_of

#: vnic types whose device Nova unplugs before a live migration and plugs again after it
#: (nova/network/model.py, VNIC_TYPES_DIRECT_PASSTHROUGH).
LINK_LOSS_VNICS = frozenset({"direct", "direct-physical", "remote-managed", "vdpa"})
#: The code of a guest that libvirt may know elsewhere.
WENT = "gone_after_migration"
ACCELERATOR_VNICS = frozenset({"accelerator-direct", "accelerator-direct-physical"})


@dataclass(frozen=True, slots=True)
class Context:
    """What the rules know besides the guest itself.

    ``newest``: the guest's newest migration. ``since``: when this run began (ISO 8601, as
    Nova writes it): a cold migration made later is the run's own. ``rooms``: possible
    destinations, ``None`` when they are not known (then no rule about destinations
    applies). ``squeezed_out``: the guest alone would fit, the plan as a whole does not; ``short``:
    what it lacks then, as text.
    """

    options: Options
    source: str
    newest: Migration | None = None
    since: str = ""
    rooms: tuple[Room, ...] | None = None
    squeezed_out: bool = False
    short: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """``method`` is one of the planner's, or a choice among them that the options make."""

    code: str
    applies: Callable[[Guest, Context], bool]
    method: str | Callable[[Guest, Context], str]
    reason: str
    remedy: str = ""


# --- conditions --------------------------------------------------------------------------


def excluded_by(guest: Guest, exclude: Exclusions) -> str:
    """The exclusion that names this guest, as text; "" when none does."""
    if guest.id in exclude.ids:
        return f"id {guest.id}"
    if guest.name in exclude.names:
        return f"name {guest.name}"
    if guest.project_id in exclude.projects:
        return f"project {guest.project_id}"
    tag = next((t for t in guest.tags if t in exclude.tags), "")
    if tag:
        return f"tag {tag}"
    pair = next((k for k, v in exclude.metadata.items() if guest.metadata.get(k) == v), "")
    return f"metadata {pair}={exclude.metadata[pair]}" if pair else ""


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("true", "1", "yes", "on", "t", "y")


def _prefers(guest: Guest, spec: str, prop: str) -> str:
    return guest.extra_specs.get(spec) or guest.image_properties.get(prop) or ""


def vtpm_security(guest: Guest) -> str:
    """Who can read the secret of the guest's vTPM: user, host, deployment; "" without vTPM.

    Only the flavor says so, and ``user`` is Nova's default (nova/vtpm.py).
    """
    if not _prefers(guest, "hw:tpm_version", "hw_tpm_version"):
        return ""
    return guest.extra_specs.get("hw:tpm_secret_security") or "user"


def has_encrypted_memory(guest: Guest) -> bool:
    return _is_true(_prefers(guest, "hw:mem_encryption", "hw_mem_encryption"))


def passthrough_aliases(guest: Guest) -> tuple[str, ...]:
    """Names of the PCI aliases in the flavor's ``pci_passthrough:alias`` (``name:count,...``)."""
    spec = guest.extra_specs.get("pci_passthrough:alias", "")
    return tuple(part.split(":")[0].strip() for part in spec.split(",") if part.strip())


def has_fixed_pci(guest: Guest, context: Context) -> bool:
    movable = context.options.live_migratable_pci_aliases
    return any(alias not in movable for alias in passthrough_aliases(guest))


def has_vgpu(guest: Guest) -> bool:
    """Whether the flavor asks for a vGPU (``resources:VGPU``, numbered or not) or holds one."""
    return bool(guest.resources.get("VGPU")) or any(
        key.startswith("resources") and key.endswith(":VGPU") and value not in ("", "0")
        for key, value in guest.extra_specs.items()
    )


def loses_link(guest: Guest) -> bool:
    return any(port.vnic_type in LINK_LOSS_VNICS for port in guest.ports)


def has_accelerator(guest: Guest, _context: Context) -> bool:
    return bool(guest.extra_specs.get("accel:device_profile")) or any(
        port.vnic_type in ACCELERATOR_VNICS for port in guest.ports
    )


def has_numa_topology(guest: Guest) -> bool:
    """What makes Nova give a guest a NUMA topology (nova/virt/hardware.py): any page size does."""
    return (
        _prefers(guest, "hw:cpu_policy", "hw_cpu_policy") in ("dedicated", "mixed")
        or bool(_prefers(guest, "hw:mem_page_size", "hw_mem_page_size"))
        or bool(_prefers(guest, "hw:numa_nodes", "hw_numa_nodes"))
        or bool(guest.extra_specs.get("hw:pmem"))
    )


def _runs(guest: Guest) -> bool:
    return guest.vm_state in ("active", "paused")


def _power_disagrees(guest: Guest) -> bool:
    """Nova refuses to live-migrate what does not run, and a cold migration would stop what does."""
    return _runs(guest) != (guest.power_state in ("running", "paused"))


def _failed_here(guest: Guest, context: Context) -> bool:
    newest = context.newest
    return newest is not None and newest.failed and newest.source == guest.host


def _may_have_gone(guest: Guest, context: Context) -> bool:
    """Did a live migration that Nova calls failed perhaps take it away all the same?"""
    missing = guest.power_state == "nostate" and guest.alive is not True
    rests = guest.vm_state in ("active", "paused", "error")
    newest = context.newest
    led = newest is not None and newest.is_live and bool(newest.destination)
    return missing and rests and led and _failed_here(guest, context)


def _made_by_this_run(context: Context) -> bool:
    newest = context.newest
    return (
        newest is not None
        and newest.kind == "migration"
        and bool(context.since)
        and newest.created_at >= context.since
    )


# --- destinations ------------------------------------------------------------------------


def destinations(guest: Guest, context: Context) -> tuple[Room, ...]:
    """The rooms this guest could go to, by all that is known here; the roomiest first."""
    wanted = context.options.destination
    home = home_of(guest, context.rooms)
    found = [
        room
        for room in context.rooms or ()
        if _is_other(room, guest)
        and (not wanted or room.host == wanted)
        and _takes_as_it_runs(guest, room, context)
        and all(test(guest, room, home) for test in TESTS)
    ]
    return tuple(sorted(found, key=roomiest))


def _no_destination(last: Test | None = None) -> Callable[[Guest, Context], bool]:
    """Is there no open room that passes all tests up to this one?"""
    tests = TESTS[: TESTS.index(last) + 1] if last else ()

    def applies(guest: Guest, context: Context) -> bool:
        if context.rooms is None:
            return False
        home = home_of(guest, context.rooms)
        rooms = [r for r in context.rooms if _is_other(r, guest)]
        return not any(all(test(guest, room, home) for test in tests) for room in rooms)

    return applies


def _takes_as_it_runs(guest: Guest, room: Room, context: Context) -> bool:
    """Is nothing known against it? It matters to what runs, with a CPU and a machine type."""
    hosts = context.options.incompatible.get(guest.id, ())
    return guest.vm_state == "stopped" or room.host not in hosts


def _nobody_takes_it_as_it_runs(guest: Guest, context: Context) -> bool:
    """Asked after the rules above: some host passes all that they ask."""
    options = replace(context.options, destination="")
    return context.rooms is not None and not destinations(guest, replace(context, options=options))


def _chosen_destination_unfit(guest: Guest, context: Context) -> bool:
    chosen = context.options.destination
    return bool(chosen) and context.rooms is not None and not destinations(guest, context)


# --- methods that the options choose -------------------------------------------------------


def _cold_if_allowed(guest: Guest, context: Context) -> str:
    """Nova cold-migrates what is active or stopped, nothing that is paused."""
    allowed = context.options.allow_cold_migration and guest.vm_state != "paused"
    return COLD if allowed else BLOCKED


def _confirm_if_allowed(_guest: Guest, context: Context) -> str:
    return CONFIRM if context.options.confirm_resizes else BLOCKED


def _recover_if_allowed(_guest: Guest, context: Context) -> str:
    return RECOVER if context.options.reset_error_state else BLOCKED


_COLD_REMEDY = (
    "set allow_cold_migration: true to stop it, move it and start it again (a paused guest must"
    " be unpaused before), or exclude the guest"
)

#: One row per rule. The order is the order of Nova's own checks where it matters: what no
#: option can change comes before what an option can, and destinations come last.
RULES: tuple[Rule, ...] = (
    Rule(
        "excluded",
        lambda g, c: bool(excluded_by(g, c.options.exclude)),
        EXCLUDED,
        "excluded by {excluded_by}",
    ),
    Rule(
        "already_there",
        lambda g, c: bool(c.options.destination) and g.host == c.options.destination,
        EXCLUDED,
        "already on {host}",
    ),
    Rule(
        "soft_deleted",
        lambda g, c: g.vm_state == "soft-delete",
        BLOCKED,
        "soft-deleted: its disks and allocation stay here until Nova reclaims it",
        "delete it for good (openstack server delete --force {id}) or restore it"
        " (openstack server restore {id})",
    ),
    Rule(
        "deleting",
        lambda g, c: g.task_state in ("deleting", "soft-deleting"),
        WAIT,
        "being deleted",
        "wait for the deletion; if it hangs, reset the state and delete it again",
    ),
    Rule(
        "migrating",
        lambda g, c: c.newest is not None and c.newest.in_flight,
        WAIT,
        "a migration is already running; it is adopted",
        "wait for it, or abort it (openstack server migration abort {id} {migration})",
    ),
    Rule(
        "cold_unconfirmed",
        lambda g, c: g.vm_state == "resized" and g.host != c.source and _made_by_this_run(c),
        CONFIRM,
        "this run's own cold migration waits for its confirmation",
    ),
    Rule(
        "resize_source_here",
        lambda g, c: g.vm_state == "resized" and g.host != c.source,
        _confirm_if_allowed,
        "a resize or cold migration away from here was never confirmed: disks and allocation"
        " are still here",
        "confirm or revert it (openstack server resize confirm|revert {id}), or set"
        " confirm_resizes: true",
    ),
    Rule(
        "resize_unconfirmed",
        lambda g, c: g.vm_state == "resized",
        _confirm_if_allowed,
        "waits for its resize to be confirmed (VERIFY_RESIZE)",
        "confirm or revert it (openstack server resize confirm|revert {id}), or set"
        " confirm_resizes: true",
    ),
    Rule(
        "building",
        lambda g, c: g.vm_state == "building",
        WAIT,
        "still being built",
        "wait for the build, or delete the guest if it hangs",
    ),
    Rule(
        "busy",
        lambda g, c: bool(g.task_state),
        WAIT,
        "busy: task_state is {task_state}",
        "wait for the task; if nothing works on it any more, reset the state"
        " (openstack server set --state active {id})",
    ),
    Rule(
        "error_after_migration",
        lambda g, c: g.vm_state == "error" and g.alive is True and _failed_here(g, c),
        RECOVER,
        "ERROR since a migration failed, but it runs here: its state is reset before it moves",
    ),
    Rule(
        "error_guest_alive",
        lambda g, c: g.vm_state == "error" and g.alive is True,
        _recover_if_allowed,
        "ERROR in Nova, but the guest runs here",
        "find out why (openstack server show {id}), then reset the state"
        " (openstack server set --state active {id}), or set reset_error_state: true",
    ),
    Rule(
        WENT,
        _may_have_gone,
        BLOCKED,
        "its migration to {destination} failed in Nova, and the hypervisor does not have it here"
        " any more",
        "look for it on {destination} with virsh list --all before anything else; do not start,"
        " reboot or evacuate it, nor reset its state (docs/witnesses.md)",
    ),
    Rule(
        "error_guest_dead",
        lambda g, c: g.vm_state == "error" and g.alive is False,
        BLOCKED,
        "ERROR, and the guest does not run here",
        "repair it (openstack server reboot --hard {id}), rebuild or delete it, or exclude it",
    ),
    Rule(
        "error_guest_unknown",
        lambda g, c: g.vm_state == "error",
        BLOCKED,
        "ERROR, and whether the guest runs cannot be known",
        "look on the host (virsh list), then reset the state or repair the guest, or exclude it",
    ),
    Rule(
        "suspended",
        lambda g, c: g.vm_state == "suspended",
        BLOCKED,
        "suspended: Nova moves no suspended guest",
        "resume it (openstack server resume {id}) or stop it, or exclude it",
    ),
    Rule(
        "rescued",
        lambda g, c: g.vm_state == "rescued",
        BLOCKED,
        "in rescue mode: Nova moves no rescued guest",
        "leave rescue mode (openstack server unrescue {id}), or exclude it",
    ),
    Rule(
        "shelved",
        lambda g, c: g.vm_state == "shelved",
        BLOCKED,
        "shelved, but not offloaded: its disks are still here",
        "offload it (openstack server shelve --offload {id}), unshelve it, or exclude it",
    ),
    Rule(
        "unknown_state",
        lambda g, c: g.vm_state not in ("active", "paused", "stopped"),
        BLOCKED,
        "in state {vm_state}, from which Nova moves nothing",
        "bring it into ACTIVE, PAUSED or SHUTOFF, or exclude it",
    ),
    Rule(
        "shutoff_left",
        lambda g, c: g.vm_state == "stopped" and c.options.shutoff == "leave",
        EXCLUDED,
        "stopped, and shutoff: leave was asked for",
    ),
    Rule(
        "paused_left",
        lambda g, c: g.vm_state == "paused" and c.options.paused == "leave",
        EXCLUDED,
        "paused, and paused: leave was asked for",
    ),
    Rule(
        "sriov_left",
        lambda g, c: loses_link(g) and _runs(g) and c.options.sriov == "leave",
        EXCLUDED,
        "has an SR-IOV port, and sriov: leave was asked for",
    ),
    Rule(
        "owner_wishes_to_stay",
        lambda g, c: wish_of(g).value == "leave",
        BLOCKED,
        "its owner wishes that it stays ({wish_source}: leave)",
        "ask its owner to move or stop it, take the wish back, or exclude it",
    ),
    Rule(
        "power_state_mismatch",
        lambda g, c: _power_disagrees(g),
        BLOCKED,
        "Nova says {vm_state}, the hypervisor says {power_state}",
        "start it or stop it so that both agree, or exclude it",
    ),
    Rule(
        "share",
        lambda g, c: bool(g.shares),
        _cold_if_allowed,
        "a Manila share is attached: Nova does not live-migrate it, and cold-migrates it only"
        " where every nova-compute is of release 34 or later",
        "stop it and detach the share, or, where all are of release 34, set"
        " allow_cold_migration: true (a paused guest must be unpaused before), or exclude it",
    ),
    Rule(
        "accelerator",
        has_accelerator,
        BLOCKED,
        "uses a Cyborg accelerator: Nova neither live- nor cold-migrates it",
        "detach the port that has the accelerator; where the flavor asks for it, delete the"
        " guest; or exclude it",
    ),
    Rule(
        "affinity_group",
        lambda g, c: g.group is not None and g.group.policy == "affinity",
        BLOCKED,
        "member of the hard affinity group {group}: Nova excludes this host and so every host,"
        " even for a group of one",
        "recreate the guest without the group (or with soft-affinity), or exclude it",
    ),
    Rule(
        "vtpm",
        lambda g, c: vtpm_security(g) not in ("", "host", "deployment"),
        BLOCKED,
        "has a vTPM whose secret only its owner can read: an administrator cannot move it",
        "ask the owner to resize it to a flavor with hw:tpm_secret_security=host (release 33 or"
        " later) or to delete it, or exclude it",
    ),
    Rule(
        "vtpm_deployment",
        lambda g, c: vtpm_security(g) == "deployment" and _runs(g),
        _cold_if_allowed,
        "has a vTPM with secret security deployment: Nova does not live-migrate it",
        _COLD_REMEDY,
    ),
    Rule(
        "sev",
        lambda g, c: has_encrypted_memory(g) and _runs(g),
        _cold_if_allowed,
        "its memory is encrypted (SEV): Nova does not live-migrate it",
        _COLD_REMEDY,
    ),
    Rule(
        "pci_passthrough",
        lambda g, c: has_fixed_pci(g, c) and _runs(g),
        _cold_if_allowed,
        "a PCI device is passed through ({aliases}): Nova does not live-migrate it",
        _COLD_REMEDY + "; or list the alias in live_migratable_pci_aliases if Nova's alias says so",
    ),
    Rule(
        "vgpu",
        lambda g, c: has_vgpu(g) and _runs(g) and c.options.vgpu != "live",
        _cold_if_allowed,
        "has a vGPU: whether it can be live-migrated depends on driver, libvirt and QEMU of both"
        " hosts",
        "set vgpu: live if they support it (libvirt 8.6, QEMU 8.1), or " + _COLD_REMEDY,
    ),
    Rule(
        "no_other_host",
        _no_destination(),
        BLOCKED,
        "there is no other host that is up, enabled and not to be avoided",
        "add a host or enable one (openstack compute service set --enable), or exclude the guest",
    ),
    Rule(
        "availability_zone",
        _no_destination(in_zone),
        BLOCKED,
        "pinned to availability zone {zone}, which has no other usable host",
        "add or enable a host in the zone, unpin the guest (compute API 2.104), or exclude it",
    ),
    Rule(
        "hypervisor",
        _no_destination(hypervisor_allows),
        BLOCKED,
        "every other host that it could go to has an older hypervisor, or one of another type"
        " ({hypervisors}; here {hypervisor})",
        "upgrade or enable a host with this version or newer: Nova moves a running guest to no"
        " older hypervisor; or stop the guest, or exclude it",
    ),
    Rule(
        "anti_affinity",
        _no_destination(group_allows),
        BLOCKED,
        "anti-affinity group {group} takes up every other host that it could go to",
        "add or enable a host, or exclude the guest",
    ),
    Rule(
        "nothing_fits",
        _no_destination(has_room),
        BLOCKED,
        "no other usable host has room for it ({resources})",
        "free room or add a host, or exclude the guest",
    ),
    Rule(
        "not_offered",
        _no_destination(placement_offers),
        BLOCKED,
        "Placement offers none of the hosts that have room for what it asks for ({asks})",
        "give a host the traits and aggregates that flavor and image ask for, or exclude the guest",
    ),
    Rule(
        "numa",
        _no_destination(numa_allows),
        BLOCKED,
        "its cells or devices fit no host that could take it otherwise ({cells})",
        "free processors, pages or devices in one cell of a host, or exclude the guest",
    ),
    Rule(
        "incompatible",
        _nobody_takes_it_as_it_runs,
        BLOCKED,
        "no other host that it could go to can take it as it runs ({incompatible}), for lack of"
        " its CPU, its machine type or its cells",
        "add or enable a host that has them (docs/compatibility.md); or stop the guest, or"
        " exclude it",
    ),
    Rule(
        "destination_unfit",
        _chosen_destination_unfit,
        BLOCKED,
        "the destination that was asked for cannot take it",
        "choose another destination, or none, so that Nova's scheduler chooses",
    ),
    Rule(
        "plan_does_not_fit",
        lambda g, c: c.squeezed_out,
        BLOCKED,
        "it would fit alone, but not together with the other guests of this plan{short}",
        "free room or add a host, or exclude guests",
    ),
    Rule(
        "shutoff", lambda g, c: g.vm_state == "stopped", COLD, "stopped: moved cold, stays stopped"
    ),
    Rule("paused", lambda g, c: g.vm_state == "paused", LIVE, "paused: moved live, stays paused"),
    Rule("active", lambda g, c: g.vm_state == "active", LIVE, "running"),
)

#: Rules about destinations.
DESTINATION_CODES = frozenset(
    {
        "no_other_host",
        "availability_zone",
        "hypervisor",
        "anti_affinity",
        "nothing_fits",
        "not_offered",
        "numa",
        "incompatible",
        "destination_unfit",
        "plan_does_not_fit",
    }
)
#: Judged when the plan is made, not at every tick: also the wish, which may be on an image, and
#: no list of guests shows that.
PLANNED_CODES = DESTINATION_CODES | {"owner_wishes_to_stay"}


def judge(guest: Guest, context: Context) -> Verdict:
    """The verdict of the first rule that applies. Never raises; every guest gets one."""
    rule = next(r for r in RULES if r.applies(guest, context))
    method = rule.method if isinstance(rule.method, str) else rule.method(guest, context)
    words = _words(guest, context)
    if rule.code == "numa":
        others = (room for room in context.rooms or () if _is_other(room, guest))
        words["cells"] = cells_in_the_way(guest, tuple(others))
    return Verdict(
        method=method,
        code=rule.code,
        reason=rule.reason.format(**words),
        remedy=rule.remedy.format(**words) if method in (BLOCKED, WAIT) else "",
        notes=_notes(guest) if method in (LIVE, COLD) else (),
    )


def _words(guest: Guest, context: Context) -> dict[str, str]:
    return {
        "id": guest.id,
        "host": guest.host,
        "vm_state": guest.vm_state,
        "task_state": guest.task_state,
        "migration": str(context.newest.id) if context.newest else "",
        "destination": context.newest.destination if context.newest else "",
        "power_state": guest.power_state,
        "zone": guest.pinned_availability_zone,
        "group": guest.group.name if guest.group else "",
        "aliases": ", ".join(passthrough_aliases(guest)),
        "resources": ", ".join(f"{v} {k}" for k, v in sorted(guest.resources.items())),
        "short": f": {context.short}" if context.short else "",
        "asks": ", ".join(traits_asked(guest)) or "resources in the shape that it needs them",
        "incompatible": ", ".join(context.options.incompatible.get(guest.id, ())),
        "hypervisor": _hypervisor(home_of(guest, context.rooms)),
        "hypervisors": ", ".join(
            sorted({_hypervisor(r) for r in context.rooms or () if _is_other(r, guest)})
        ),
        "wish_source": wish_of(guest).source,
        "excluded_by": excluded_by(guest, context.options.exclude),
    }


def _is_other(room: Room, guest: Guest) -> bool:
    return is_open(room) and room.host != guest.host


def _hypervisor(room: Room | None) -> str:
    """``QEMU 8.2.0``, as Nova numbers it: 8002000."""
    number = room.hypervisor_version if room else 0
    version = f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
    return f"{room.hypervisor_type or 'version'} {version}" if room and number else "unknown"


#: What the operator should know of a guest that does move.
NOTES: tuple[tuple[str, Callable[[Guest], bool], str], ...] = (
    (
        "sriov",
        lambda g: loses_link(g) and _runs(g),
        "SR-IOV port: unplugged before the move and plugged again after it, the link is lost"
        " meanwhile unless the guest bonds it",
    ),
    (
        "local_disk",
        lambda g: g.disk_gib > 0,
        "local disk: copied too, unless the hosts share storage",
    ),
    (
        "config_drive",
        lambda g: g.config_drive,
        "config drive: read-only, so a live migration that copies local disks leaves it out",
    ),
    ("volume_backed", lambda g: g.boots_from_volume, "boots from a volume, which is not copied"),
    ("volumes", lambda g: bool(g.volumes), "volumes attached: Nova attaches them at both ends"),
    ("locked", lambda g: g.locked, "locked: moved with the administrator's right"),
    (
        "numa",
        has_numa_topology,
        "pinned CPUs, huge pages or NUMA nodes: the destination's own claim decides whether it"
        " fits",
    ),
    (
        "group",
        lambda g: g.group is not None,
        "member of a server group: never in flight with another member",
    ),
    (
        "notify",
        lambda g: wish_of(g).value == "notify",
        "its owner wishes to be told before it moves: an event says when it is about to",
    ),
)


def _notes(guest: Guest) -> tuple[str, ...]:
    return tuple(text for _name, applies, text in NOTES if applies(guest))
