# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command line asks of a backend, whatever the cloud is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol, runtime_checkable

CRASH_TARGETS = ("compute", "power")


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

    def crash(self, host: str, when: str, what: str) -> None:
        """Stop a host's compute service (`what` is "compute") or the host itself ("power") dead.

        ``when``: "now", or a moment of the host's next outgoing migration.
        """

    def start(self, host: str) -> None:
        """Start again what a crash of a host has stopped."""

    def log_files(self, service: str) -> list[Path]:
        """Return the files that a service writes, the most telling one first."""

    def requests(self, since: float | None, client: str | None) -> Iterator[dict[str, Any]]:
        """Yield logged API requests in order of time; `since` is in seconds before now."""

    def guest_fault(self, guest: str, behaviour: dict[str, Any]) -> None:
        """Change how a guest (name or UUID) behaves from now on."""

    def api_fault(self, rule: dict[str, Any]) -> None:
        """Add one rule that makes matching API requests fail."""

    def topology(self, host: str | None) -> dict[str, dict[str, Any]]:
        """Return host -> its cells and devices as Nova counts them, of one host or of all."""

    def clear_faults(self) -> None:
        """Forget every API fault and every fault of a guest."""


@runtime_checkable
class MachineBackend(Backend, Protocol):
    """A backend whose hosts are machines of their own."""

    def set_rate(self, rate: str, hosts: Sequence[str]) -> None:
        """Limit what hosts (none named: every one) send on the migration network, or `off`."""

    def set_mtu(self, mtu: int, hosts: Sequence[str]) -> None:
        """Have the migration network drop larger frames at hosts' (none named: all) ports."""

    def enter(self, machine: str, command: Sequence[str], net_only: bool) -> NoReturn:
        """Become a command in a machine, or one of the real machine in its network only."""

    def inventory(self) -> str:
        """Return the text of the Ansible inventory."""

    def order_guest(self, name: str, order: str) -> str:
        """Give an order to a guest's agent and return its answer."""
