# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Where each rule of eligibility comes from: Nova's own check, or this collection's option.

This module util is **PRIVATE** to the collection: it may change without notice.
docs/preflight.md shows the same to operators.
"""

from __future__ import annotations

_API = "Nova: nova/compute/api.py"
_STATES = f"{_API}: check_instance_state"
_CONDUCTOR = "Nova: nova/conductor/tasks/live_migrate.py"
_FILTERS = "Nova: nova/scheduler/filters"
_OURS = "Lowtide"

#: Code of a verdict -> source of its rule.
SOURCES: dict[str, str] = {
    "excluded": f"{_OURS}: option exclude",
    "already_there": f"{_OURS}: the destination that was asked for",
    "soft_deleted": _STATES,
    "deleting": _STATES,
    "migrating": f"{_STATES} (task_state)",
    "cold_unconfirmed": f"{_API}: confirm_resize",
    "resize_source_here": f"{_API}: confirm_resize",
    "resize_unconfirmed": _STATES,
    "building": _STATES,
    "busy": f"{_STATES} (task_state)",
    "error_after_migration": "Nova: nova/virt/libvirt/driver.py: _live_migration",
    "error_guest_alive": _STATES,
    "gone_after_migration": f"{_OURS}: libvirt's word against Nova's (docs/witnesses.md)",
    "error_guest_dead": _STATES,
    "error_guest_unknown": _STATES,
    "suspended": _STATES,
    "rescued": _STATES,
    "shelved": _STATES,
    "unknown_state": _STATES,
    "shutoff_left": f"{_OURS}: option shutoff",
    "paused_left": f"{_OURS}: option paused",
    "sriov_left": f"{_OURS}: option sriov",
    "owner_wishes_to_stay": f"{_OURS}: lowtide:wish (docs/policy.md)",
    "power_state_mismatch": f"{_CONDUCTOR}: _check_instance_is_active",
    "share": f"{_API}: block_shares_not_supported",
    "accelerator": f"{_API}: block_accelerators, block_port_accelerators",
    "affinity_group": f"{_FILTERS}/affinity_filter.py: ServerGroupAffinityFilter",
    "vtpm": f"{_API}: reject_legacy_vtpm_live_migration",
    "vtpm_deployment": f"{_API}: reject_legacy_vtpm_live_migration",
    "sev": f"{_API}: reject_mem_enc_instances (reject_sev_instances before 33)",
    "pci_passthrough": f"{_CONDUCTOR}: _check_can_migrate_pci",
    "vgpu": "Nova: nova/virt/libvirt/driver.py: check_can_live_migrate_source; doc virtual-gpu",
    "no_other_host": f"{_FILTERS}/compute_filter.py: ComputeFilter",
    "availability_zone": "Nova: nova/scheduler/request_filter.py: map_az_to_placement_aggregate",
    "hypervisor": f"{_CONDUCTOR}: InvalidHypervisorType, DestinationHypervisorTooOld",
    "anti_affinity": f"{_FILTERS}/affinity_filter.py: ServerGroupAntiAffinityFilter",
    "nothing_fits": "Placement: GET /allocation_candidates",
    "not_offered": "Placement: GET /allocation_candidates; Nova: nova/scheduler/request_filter.py",
    "incompatible": f"{_OURS}: option incompatible; libvirt: virConnectCompareHypervisorCPU",
    "numa": "Nova: nova/virt/hardware.py: numa_fit_instance_to_host",
    "destination_unfit": f"{_OURS}: the destination that was asked for",
    "plan_does_not_fit": f"{_OURS}: all guests together, by Placement's inventories",
    "shutoff": f"{_API}: resize (cold migration)",
    "paused": f"{_API}: live_migrate",
    "active": f"{_API}: live_migrate",
}
#: Code of what blocks a host as a whole -> source.
HOST_SOURCES: dict[str, str] = {
    "host_down": f"{_CONDUCTOR}: _check_host_is_up",
    "host_forced_down": f"{_CONDUCTOR}: _check_host_is_up",
}


def source_of(code: str) -> str:
    """Where the rule with this code comes from; a rule that has no row here is our own."""
    return SOURCES.get(code) or HOST_SOURCES.get(code) or _OURS
