# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The cloud, as the engine needs it: a few reads, a few writes, the planner's values.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from typing import Protocol

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Evidence,
    Observation,
    Progress,
    Scope,
    Service,
    Survey,
)


class Cloud(Protocol):
    """Reads return the planner's model; a read that fails raises Unreachable or Unauthorized.

    Writes return nothing. They raise Refused (4xx: nothing happened), Unreachable (no
    answer: it may have happened) or Unauthorized. None of them waits for its outcome.
    """

    def service(self, host: str) -> Service:
        """The nova-compute of ``host`` (exact name). NotFound names near misses."""

    def survey(self, scope: Scope) -> Survey:
        """All that a plan needs; a number of calls bounded by hosts and groups, not guests."""

    def observe(self, scope: Scope) -> Observation:
        """Service, guests and migrations of the scope: a constant number of list calls."""

    def progress(self, guest_id: str, migration_id: int) -> Progress | None:
        """Figures of one running live migration; None when Nova does not show it now."""

    def evidence(self, guest_id: str, migration_uuid: str, volumes: tuple[str, ...]) -> Evidence:
        """What server, Placement, port bindings and volume attachments say of one guest."""

    def cause(self, guest_id: str, migration_uuid: str) -> str:
        """Why the newest migration of a guest failed, in Nova's words; "" when it does not say."""

    def alive(self, guest_id: str) -> bool | None:
        """Does the hypervisor of the guest's host run it (diagnostics)? None: cannot be known."""

    def host_allocations(self, host: str) -> tuple[str, ...]:
        """Consumers that hold allocations on the host's resource providers."""

    def disable(self, host: str, reason: str) -> None: ...

    def enable(self, host: str) -> None: ...

    def force_down(self, host: str, forced: bool) -> None: ...

    def live_migrate(self, guest_id: str, host: str) -> None:
        """Ask for a live migration, asynchronous, never forced; ``host`` "" lets Nova choose."""

    def cold_migrate(self, guest_id: str, host: str) -> None: ...

    def confirm(self, guest_id: str) -> None: ...

    def abort(self, guest_id: str, migration_id: int) -> None: ...

    def force_complete(self, guest_id: str, migration_id: int) -> None: ...

    def reset_state(self, guest_id: str) -> None: ...

    def pause(self, guest_id: str) -> None: ...
