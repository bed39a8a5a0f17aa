# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The nova-compute of a host: who closed it, what it should become, and how it is shown.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import HostNotReady
from ansible_collections.lowtide.compute.plugins.module_utils._planner.mark import (
    marked,
    run_id_of,
    text_of,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Service


def desired(now: Service, params: Mapping[str, Any], fresh_run_id: str) -> Service:
    """The service as ``state``, ``forced_down``, ``reason``, ``run_id`` and ``take_over`` want it.

    Raises HostNotReady when it is not ours to enable.
    """
    wanted = now
    if params["forced_down"] is not None:
        wanted = replace(wanted, forced_down=params["forced_down"])
    if params["state"] == "enabled" and not now.enabled:
        refuse_foreign(now, params["run_id"], params["take_over"])
        wanted = replace(wanted, enabled=True, disabled_reason="")
    ours = now.enabled or params["take_over"] or bool(run_id_of(now.disabled_reason))
    if params["state"] == "disabled" and ours:
        run_id = params["run_id"] or run_id_of(now.disabled_reason) or fresh_run_id
        known = text_of(now.disabled_reason) if not now.enabled else ""
        reason = marked(run_id, params["reason"] or known or "maintenance")
        wanted = replace(wanted, enabled=False, disabled_reason=reason)
    return wanted


def refuse_foreign(now: Service, run_id: str | None, take_over: bool) -> None:
    """Raise HostNotReady for a service that somebody else, or another run, disabled."""
    owner = run_id_of(now.disabled_reason)
    if take_over or (owner and run_id in (None, owner)):
        return
    who = f"run {owner}" if owner else "somebody else"
    why = f"with the reason {now.disabled_reason!r}" if now.disabled_reason else "without a reason"
    raise HostNotReady(
        f"host: {now.host!r} was disabled by {who}, {why}",
        "Ask them, or set take_over: true to enable it all the same",
        service=service_row(now),
    )


def service_row(service: Service) -> dict[str, Any]:
    """The service as RETURN documents it."""
    run_id = run_id_of(service.disabled_reason)
    return {
        "id": service.id,
        "host": service.host,
        "status": "enabled" if service.enabled else "disabled",
        "state": "up" if service.up and not service.forced_down else "down",
        "forced_down": service.forced_down,
        "disabled_reason": service.disabled_reason,
        "availability_zone": service.availability_zone,
        "owner": "" if service.enabled else "lowtide" if run_id else "other",
        "run_id": run_id,
    }


def service_sentence(service: Service) -> str:
    """The same for people."""
    text = f"{service.host} is enabled"
    if not service.enabled:
        why = text_of(service.disabled_reason) or "no reason"
        who = "" if run_id_of(service.disabled_reason) else " by somebody else"
        text = f"{service.host} is disabled ({why}){who}"
    return text + (" and forced down" if service.forced_down else "")
