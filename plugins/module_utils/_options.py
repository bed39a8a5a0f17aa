# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The options of everything that moves guests: one specification, and one check of the values.

This module util is **PRIVATE** to the collection: it may change without notice.
The texts are in the doc fragment ``moving``; defaults are those of the planner's Options.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption
from ansible_collections.lowtide.compute.plugins.module_utils._numa_topologies import (
    read_topologies,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Exclusions,
    Options,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy import (
    ON_TIMEOUT,
    PROFILES,
    refused_default,
)

_DEFAULTS = Options()


#: The planner's name of an option -> the modules', where that is another one.
RENAMED = {"destinations": "destination"}


def _spec(name: str, kind: str, **more: Any) -> dict[str, Any]:
    default = getattr(_DEFAULTS, name)
    return {"type": kind, "default": list(default) if kind == "list" else default, **more}


_POLICY: dict[str, Any] = {
    "completion_timeout": {"type": "int"},
    "max_downtime_ms": {"type": "int"},
    "bandwidth_mib_s": {"type": "int"},
    "auto_converge": {"type": "bool"},
    "post_copy": {"type": "bool"},
    "on_timeout": {"type": "str", "choices": list(ON_TIMEOUT)},
    "recovery_priority": {"type": "int"},
}

#: For modules that move guests.
MOVE_SPEC: dict[str, Any] = {
    "max_parallel": _spec("max_parallel", "int"),
    "max_parallel_per_destination": _spec("max_parallel_per_destination", "int"),
    "order": _spec("order", "str", choices=["longest_first", "shortest_first", "name", "priority"]),
    "timeout_per_gib": _spec("timeout_per_gib", "float"),
    "on_timeout": _spec("on_timeout", "str", choices=["abort", "force_complete", "leave"]),
    "profile": {"type": "str", "choices": list(PROFILES)},
    "policy": {"type": "dict", "default": {}, "options": _POLICY},
    "dirty_rates": _spec("dirty_rates", "dict"),
    "max_attempts": _spec("max_attempts", "int"),
    "retry_delay": _spec("retry_delay", "float"),
    "deadline": _spec("deadline", "float"),
    "on_failure": _spec("on_failure", "str", choices=["continue", "stop"]),
    "allow_cold_migration": _spec("allow_cold_migration", "bool"),
    "vgpu": _spec("vgpu", "str", choices=["fail", "live"]),
    "live_migratable_pci_aliases": _spec("live_migratable_pci_aliases", "list", elements="str"),
    "reset_error_state": _spec("reset_error_state", "bool"),
    "bandwidth_mib_s": _spec("bandwidth_mib_s", "float"),
    "overhead_seconds": _spec("overhead_seconds", "float"),
    "settle_timeout": _spec("settle_timeout", "float"),
    "record_timeout": _spec("record_timeout", "float"),
    "escalation_timeout": _spec("escalation_timeout", "float"),
    "verify_timeout": _spec("verify_timeout", "float"),
    "api_patience": _spec("api_patience", "float"),
    "poll_interval": {"type": "float", "default": 5.0},
}

#: For modules that empty a host, in addition.
DRAIN_SPEC: dict[str, Any] = {
    **MOVE_SPEC,
    "host": {"type": "str", "required": True},
    "destination": _spec("destinations", "str", choices=["scheduler", "planned"]),
    "incompatible": _spec("incompatible", "dict"),
    "avoid": _spec("avoid", "list", elements="str"),
    "topologies": {"type": "dict", "default": {}},
    "on_blocker": _spec("on_blocker", "str", choices=["fail", "drain_the_rest"]),
    "shutoff": _spec("shutoff", "str", choices=["cold", "leave"]),
    "paused": _spec("paused", "str", choices=["live", "leave"]),
    "sriov": _spec("sriov", "str", choices=["live", "leave"]),
    "confirm_resizes": _spec("confirm_resizes", "bool"),
    "quiet_seconds": _spec("quiet_seconds", "float"),
    "exclude": {
        "type": "dict",
        "default": {},
        "options": {
            "ids": {"type": "list", "elements": "str", "default": []},
            "names": {"type": "list", "elements": "str", "default": []},
            "projects": {"type": "list", "elements": "str", "default": []},
            "tags": {"type": "list", "elements": "str", "default": []},
            "metadata": {"type": "dict", "default": {}},
        },
    },
}

#: For the module beside which an action plugin asks hypervisors and a probe, in addition.
WATCH_SPEC: dict[str, Any] = {
    "hypervisors": {"type": "dict", "default": {}},
    "libvirt": {
        "type": "dict",
        "default": {},
        "options": {
            "uri": {"type": "str"},
            "instances_path": {"type": "path"},
            "instances_shared": {"type": "bool"},
            "become": {"type": "bool"},
        },
    },
    "probe": {
        "type": "dict",
        "options": {
            "inventory_host": {"type": "str", "required": True},
            "status_path": {"type": "path"},
        },
    },
    "on_unreachable": _spec("on_unreachable", "str", choices=["report", "pause", "abort"]),
    "unreachable_ms": _spec("unreachable_ms", "float"),
}

AT_LEAST_ONE = ("max_parallel", "max_attempts")
NOT_NEGATIVE = (
    "max_parallel_per_destination",
    "retry_delay",
    "deadline",
    "overhead_seconds",
    "quiet_seconds",
)
POSITIVE = (
    "timeout_per_gib",
    "bandwidth_mib_s",
    "settle_timeout",
    "record_timeout",
    "escalation_timeout",
    "verify_timeout",
    "api_patience",
    "poll_interval",
    "progress_interval",
    "step_seconds",
    "unreachable_ms",
)


#: For modules that show policies: what holds where nobody asks for anything.
DEFAULTS_SPEC: dict[str, Any] = {
    "profile": MOVE_SPEC["profile"],
    "policy": MOVE_SPEC["policy"],
    "on_timeout": MOVE_SPEC["on_timeout"],
}


def read_defaults(params: Mapping[str, Any]) -> Options:
    """The operator's defaults alone; raises BadOption for values that are not allowed."""
    return Options(
        profile=params["profile"] or "",
        policy=_policy(params["policy"] or {}),
        on_timeout=params["on_timeout"],
    )


def read_options(params: Mapping[str, Any], **more: Any) -> Options:
    """The planner's options from a module's; raises BadOption for values that make no sense.

    ``more``: options of the planner that have another name in the module.
    """
    check_numbers(params)
    most, each = params["max_parallel"], params["max_parallel_per_destination"]
    if each > most:
        raise BadOption(
            "max_parallel_per_destination",
            each,
            f"contradicts max_parallel: {most}, which is less",
            "Lower it, or raise max_parallel",
        )
    given = {f.name: RENAMED.get(f.name, f.name) for f in fields(Options)}
    # One host for all guests is what the modules that move named guests call `host`.
    given.pop("destination")
    values = {name: params[option] for name, option in given.items() if option in params}
    values["live_migratable_pci_aliases"] = tuple(params["live_migratable_pci_aliases"])
    values["hypervisors"] = _hypervisors(params.get("hypervisors") or {})
    values["topologies"] = read_topologies(params.get("topologies") or {})
    values["exclude"] = _exclusions(params.get("exclude") or {})
    values["profile"] = params.get("profile") or ""
    values["policy"] = _policy(params.get("policy") or {})
    values["dirty_rates"] = _dirty_rates(params.get("dirty_rates") or {})
    values["incompatible"] = _incompatible(params)
    values["avoid"] = _avoid(params)
    return Options(**{**values, **more})


def _hypervisors(given: Mapping[str, Any]) -> tuple[str, ...]:
    for host, name in given.items():
        if not isinstance(name, str) or not name.strip():
            raise BadOption(
                f"hypervisors.{host}",
                name,
                "is no name of a host in the inventory",
                "Give each of Nova's hosts with its name in the inventory",
            )
    return tuple(given)


def check_probe(params: Mapping[str, Any]) -> None:
    """Raise BadOption for ``on_unreachable`` without a probe that could tell."""
    wanted = params["on_unreachable"]
    if wanted != "report" and not params["probe"]:
        raise BadOption(
            "on_unreachable",
            wanted,
            "needs a probe, and none is given",
            "Start reachability_probe and say where it runs (probe)",
        )


def check_numbers(params: Mapping[str, Any]) -> None:
    """Raise BadOption for the first number, in the order of the lists above, out of its range."""
    ranges = (
        (AT_LEAST_ONE, lambda v: v >= 1, "is less than 1", "Give 1 or more"),
        (NOT_NEGATIVE, lambda v: v >= 0, "is negative", "Give 0 or more"),
        (POSITIVE, lambda v: v > 0, "is not positive", "Give a number above 0"),
    )
    for names, fits, why, remedy in ranges:
        for name in names:
            value = params.get(name)
            if value is None:
                continue
            if not math.isfinite(value):
                raise BadOption(name, value, "is no finite number", remedy)
            if not fits(value):
                raise BadOption(name, value, why, remedy)


def _exclusions(given: Mapping[str, Any]) -> Exclusions:
    lists = {name: tuple(given.get(name) or ()) for name in ("ids", "names", "projects", "tags")}
    metadata = {key: str(value) for key, value in (given.get("metadata") or {}).items()}
    return Exclusions(**lists, metadata=metadata)


def _policy(given: Mapping[str, Any]) -> dict[str, str]:
    """The operator's defaults as the texts that an owner would write."""
    texts = {name: str(value) for name, value in given.items() if value is not None}
    for name, text in texts.items():
        allowed = refused_default(name, text)
        if allowed:
            raise BadOption(f"policy.{name}", given[name], "is not allowed", f"Give {allowed}")
    return texts


def _incompatible(params: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    given = params.get("incompatible") or {}
    for guest_id, hosts in given.items():
        if not isinstance(hosts, list) or not all(isinstance(h, str) and h for h in hosts):
            option, remedy = f"incompatible.{guest_id}", "Give a list of Nova's names of hosts"
            raise BadOption(option, hosts, "is no list of hosts", remedy)
    hindered = sorted(guest_id for guest_id, hosts in given.items() if hosts)
    _needs_planned(params, "incompatible", hindered)
    return {guest_id.lower(): tuple(given[guest_id]) for guest_id in hindered}


def _avoid(params: Mapping[str, Any]) -> tuple[str, ...]:
    hosts = tuple(exact_host(name, "avoid") for name in params.get("avoid") or ())
    _needs_planned(params, "avoid", hosts)
    return hosts


def _needs_planned(params: Mapping[str, Any], option: str, value: Sequence[str]) -> None:
    """Raise BadOption for what only a plan that names destinations can heed."""
    if value and params["destination"] != "planned":
        raise BadOption(
            option,
            value,
            f"needs destination: planned, and it is {params['destination']}: Nova's scheduler does"
            " not know about it",
            "Set destination: planned",
        )


def _dirty_rates(given: Mapping[str, Any]) -> dict[str, float]:
    rates = {}
    for guest_id, value in given.items():
        try:
            rates[guest_id] = float(value)
        except (TypeError, ValueError):
            rates[guest_id] = math.nan
        if not (math.isfinite(rates[guest_id]) and rates[guest_id] >= 0):
            option, remedy = f"dirty_rates.{guest_id}", "Give MiB per second, 0 or more"
            raise BadOption(option, value, "is no rate", remedy)
    return rates


def exact_host(name: str, option: str = "host") -> str:
    """``name``, unless it is empty or a pattern: then BadOption."""
    if not name.strip():
        raise BadOption(option, name, "names no host", "Give the exact name of a compute host")
    if re.search(r"[*?\[\]{}!&,;~\s]|^~|:", name):
        raise BadOption(
            option, name, "is a pattern or a list", "Give the exact name of one compute host"
        )
    return name
