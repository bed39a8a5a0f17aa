# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command line asks of a backend, whatever the cloud is made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol


class LabError(Exception):
    """A failure with a cause and a remedy in one line, for the operator of the lab."""


class Backend(Protocol):
    """One way to run a cloud; an instance belongs to one state directory."""

    def up(self, scenario: Path | None, restart: bool) -> None:
        """Start the cloud of a scenario; do nothing if just that one runs already."""

    def down(self) -> int:
        """Stop what `up` started and return how many processes that were."""

    def status(self) -> dict[str, Any]:
        """Return {"running": bool, "services": [...], "hosts": [...]} as data."""

    def seed(self, scenario: Path) -> None:
        """Create a scenario's population in the running cloud."""

    def crash(self, host: str, when: str) -> None:
        """Stop a host's compute service dead, now or at a point of its next migration."""

    def start(self, host: str) -> None:
        """Start a crashed host's compute service again."""

    def log_files(self, service: str) -> list[Path]:
        """Return the files that a service writes, the most telling one first."""

    def requests(self, since: float | None, client: str | None) -> Iterator[dict[str, Any]]:
        """Yield logged API requests in order of time; `since` is in seconds before now."""

    def guest_fault(self, guest: str, behaviour: dict[str, Any]) -> None:
        """Change how a guest (name or UUID) behaves from now on."""

    def api_fault(self, rule: dict[str, Any]) -> None:
        """Add one rule that makes matching API requests fail."""

    def clear_faults(self) -> None:
        """Forget every API fault and every fault of a guest."""
