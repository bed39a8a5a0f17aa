# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks beside a drain what its module cannot reach: the hypervisors' libvirt, and the probe.

This plugin util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.module_utils.common.validation import check_type_dict
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import Clock
from ansible_collections.lowtide.compute.plugins.plugin_utils.elsewhere import Elsewhere

INFO = "lowtide.compute.libvirt_migration_info"
PROBE = "lowtide.compute.reachability_probe"
#: Seconds for which a host that could not be asked is not asked again.
PATIENCE = 60.0


class Lookout:
    """``options``: those of nova_drain, as its task has them. ``warn`` hears each thing once."""

    def __init__(
        self,
        elsewhere: Elsewhere,
        options: Mapping[str, Any],
        clock: Clock,
        warn: Callable[[str], None],
    ) -> None:
        self._elsewhere, self._clock, self._warn = elsewhere, clock, warn
        self._hosts = _given(options, "hypervisors")
        self._access = _given(options, "libvirt")
        become = self._access.pop("become", None)
        self._become = None if become is None else boolean(become)
        self._probe = _given(options, "probe")
        self._failed: dict[tuple[str, str], tuple[float, str]] = {}
        self._said: set[str] = set()

    def answers(self, wanted: Iterable[str]) -> dict[str, Any]:
        """The module's option ``answers``, of the hosts ``wanted`` (Nova's names) and the probe."""
        hypervisors = {host: self._hypervisor(host) for host in wanted}
        silent = self._silent() if self._probe else {}
        found = {"hypervisors": hypervisors, "silent_ms": silent}
        return {name: value for name, value in found.items() if value}

    def _hypervisor(self, host: str) -> dict[str, Any]:
        """Which domains it has, in which state; or why that cannot be told."""
        found = self._ask(self._hosts[host], INFO, self._access, self._become)
        if "domains" not in found:
            return {"error": found["msg"]}
        states = {domain["id"]: domain["state"] for domain in found["domains"]}
        return {"states": states, "leftovers": found["leftovers"]}

    def _silent(self) -> dict[str, float]:
        """Milliseconds since which each guest that ever answered is silent."""
        where = {key: value for key, value in self._probe.items() if key != "inventory_host"}
        name = self._probe["inventory_host"]
        found = self._ask(name, PROBE, {"state": "status", **where}, None)
        if "guests" not in found:
            return {}
        if not found["running"]:
            self._say(f"the probe on {name} does not run: nobody sees whether guests fall silent")
            return {}
        return {each["id"]: each["silent_ms"] for each in found["guests"] if each["answered"]}

    def _ask(
        self, name: str, module: str, arguments: Mapping[str, Any], become: bool | None
    ) -> dict[str, Any]:
        """The module's result; only ``msg`` when it failed, or did so less than a minute ago."""
        failed_at, reason = self._failed.get((name, module), (0.0, ""))
        if reason and self._clock.now() - failed_at < PATIENCE:
            return {"msg": reason}
        found = self._elsewhere.run(name, module, arguments, become=become)
        if not (found.get("failed") or found.get("unreachable")):
            return found
        reason = str(found.get("msg") or "it failed without a word")
        self._failed[name, module] = (self._clock.now(), reason)
        self._say(f"{name} cannot be asked, the drain goes on without it: {reason}")
        return {"msg": reason}

    def _say(self, warning: str) -> None:
        if warning not in self._said:
            self._said.add(warning)
            self._warn(warning)


def _given(options: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An option that is a dictionary, or its text as modules take it, without what is null."""
    given = check_type_dict(options.get(name) or {})
    return {key: value for key, value in given.items() if value is not None}
