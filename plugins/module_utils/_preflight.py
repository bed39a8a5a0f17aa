# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Gather what a pre-flight needs besides the plan itself: token, Masakari, nova.conf, versions.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    Refused,
    Unauthorized,
    Unreachable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.api import Session
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.segments import Segments
from ansible_collections.lowtide.compute.plugins.module_utils._options import exact_host
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Options,
    Plan,
    Survey,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight import examine
from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight_model import (
    RELIABLE,
    UNKNOWN,
    UNRELIABLE,
    NovaConf,
    Preflight,
    Situation,
    Token,
    Watched,
)

#: Options of the modules that look before they drain.
PREFLIGHT_SPEC: dict[str, Any] = {
    "nova_conf": {"type": "dict", "default": {}},
    "migration_network": {
        "type": "str",
        "choices": [RELIABLE, UNRELIABLE, UNKNOWN],
        "default": UNKNOWN,
    },
}

_REMEDY = "Give what nova_config_info returned on that host"


@dataclass(frozen=True, slots=True)
class Around:
    """What is the same for all hosts. ``watched``: by host, ``None`` when it was not seen."""

    token: Token | None = None
    watched: Mapping[str, Watched] | None = None
    microversion: tuple[int, int] = (0, 0)
    confs: Mapping[str, NovaConf] = field(default_factory=dict)
    network: str = UNKNOWN


def look_around(session: Session, now: float, params: Mapping[str, Any]) -> Around:
    """A few calls, whatever the number of hosts. Raises BadOption for a useless ``nova_conf``."""
    confs = read_confs(params["nova_conf"])
    ends = session.token_end()
    return Around(
        Token(max(0.0, ends[0] - now), ends[1]) if ends else None,
        _watched(session),
        session.api("compute").max_microversion(),
        confs,
        params["migration_network"],
    )


def check(survey: Survey, plan: Plan, options: Options, around: Around) -> Preflight:
    """What is to be said of one host's plan."""
    host = survey.scope.host
    watched = around.watched
    return examine(
        Situation(
            plan=plan,
            options=options,
            service=next((s for s in survey.services if s.host == host), None),
            rooms=survey.rooms,
            conf=around.confs.get(host),
            token=around.token,
            watched=None if watched is None else watched.get(host, Watched()),
            network=around.network,
            microversion=around.microversion,
        )
    )


def _watched(session: Session) -> dict[str, Watched] | None:
    """Hosts that Masakari watches; none where the cloud has no Masakari.

    That it does not answer, or not to these credentials, is no reason not to plan.
    """
    if not session.offers("instance-ha"):
        return {}
    try:
        found = Segments(session.api("instance_ha")).maintenance()
    except (Refused, Unauthorized, Unreachable):
        return None
    return {host: Watched(*segment) for host, segment in found.items()}


def exact_hosts(names: Sequence[str]) -> list[str]:
    """The names, unless there is none, one is a pattern, or one is named twice: then BadOption."""
    if not names:
        raise BadOption("hosts", list(names), "names no host", "Name one or more compute hosts")
    for name in names:
        exact_host(name, "hosts")
        if names.count(name) > 1:
            raise BadOption("hosts", name, "is named twice", "Name each host once")
    return list(names)


def read_confs(given: Mapping[str, Any]) -> dict[str, NovaConf]:
    """Host -> its nova.conf, from results of nova_config_info; raises BadOption for others."""
    return {host: _read_conf(f"nova_conf.{host}", said) for host, said in given.items()}


def _read_conf(option: str, said: Any) -> NovaConf:
    effective = said.get("effective") if isinstance(said, Mapping) else None
    if not isinstance(effective, Mapping):
        raise BadOption(option, "...", "has no effective options", _REMEDY)
    options: dict[str, object] = {}
    for group, rows in effective.items():
        for name, row in (rows if isinstance(rows, Mapping) else {"": None}).items():
            if not isinstance(row, Mapping) or "value" not in row:
                raise BadOption(f"{option}.effective.{group}", rows, "has no values", _REMEDY)
            options[f"{group}.{name}"] = row["value"]
    return NovaConf(options, _version(said))


def _version(said: Mapping[str, Any]) -> tuple[int, ...]:
    """Of the nova package, ``33.0.2``; with a release alone its number, where that says enough.

    Whether a migration that fails leaves ERROR differs within 32.
    """
    numbers = []
    for part in str(said.get("version") or "").split(".")[:3]:
        if not part.isdigit():
            break
        numbers.append(int(part))
    release = said.get("release")
    if not numbers and isinstance(release, int) and release != 32:
        numbers = [release]
    return tuple(numbers)
