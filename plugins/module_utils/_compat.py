# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What a hypervisor offers, what its guests need, and which guests of another it can take.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from xml.etree import ElementTree

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.compat import Compat
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import decode, encode
from ansible_collections.lowtide.compute.plugins.module_utils._planner.compat import (
    NO,
    Comparison,
    CompatVerdict,
    Needs,
    Offer,
    Question,
    compatible,
    questions,
)

#: Options of the module (and of Nova's [workarounds]) -> the rule that they switch off.
WORKAROUNDS = {
    "skip_cpu_compare_on_dest": "cpu_refused_by_nova",
    "skip_hypervisor_version_check_on_lm": "hypervisor_too_old",
}


def survey(hypervisor: Compat, params: Mapping[str, Any]) -> dict[str, Any]:
    """``hypervisor``, ``domains``, ``verdicts`` and ``incompatible``, as RETURN says.

    Raises BadOption for a CPU that is no XML, Unreachable when libvirt does not answer,
    HypervisorRefused when it is too old.
    """
    guests = [decode(Needs, row) for row in params["domains"] or ()]
    source = decode(Offer, params["source"]) if params["source"] else None
    _check(guests, source)
    ids = {guest_id.lower() for guest_id in params["ids"]}
    offer = hypervisor.offer(params["host"] or "")
    wanted = [guest for guest in guests if not ids or guest.id in ids]
    # Guests of one flavor have one CPU.
    compare = cache(hypervisor.compare)
    judged = [(guest, _judge(compare, source, offer, guest, params)) for guest in wanted]
    return {
        "hypervisor": encode(offer),
        "domains": encode(hypervisor.needs(ids)),
        "verdicts": [_row(guest, offer.host, verdict) for guest, verdict in judged],
        "incompatible": {g.id: [offer.host] for g, verdict in judged if verdict.result == NO},
    }


def _judge(
    compare: Callable[[Question], Comparison],
    source: Offer,
    offer: Offer,
    guest: Needs,
    params: Mapping[str, Any],
) -> CompatVerdict:
    skipped = [code for option, code in WORKAROUNDS.items() if params[option]]
    asked = questions(source, offer, guest)
    answers = {about: compare(question) for about, question in asked.items()}
    return compatible(source, offer, guest, answers, skipped)


def _row(guest: Needs, host: str, verdict: CompatVerdict) -> dict[str, Any]:
    first = encode(verdict.findings[0]) if verdict.findings else {}
    return {
        "id": guest.id,
        "name": guest.name,
        "host": host,
        "result": verdict.result,
        "cpu": verdict.cpu or None,
        **{field: first.get(field, "") for field in ("code", "reason", "remedy", "source")},
        "findings": encode(verdict.findings),
    }


def _check(guests: list[Needs], source: Offer | None) -> None:
    """Raise BadOption for a CPU that cannot be read, before libvirt is asked about any."""
    for guest in guests:
        _check_cpu(f"domains.{guest.id}.cpu", guest.cpu)
        _check_cpu(f"domains.{guest.id}.nova_cpu", guest.nova_cpu)
    if source is not None:
        _check_cpu("source.host_cpu", source.host_cpu)
        for platform in source.platforms:
            _check_cpu("source.platforms.cpu", platform.cpu)


def _check_cpu(option: str, text: str) -> None:
    try:
        tag = ElementTree.fromstring(text).tag if text else "cpu"
    except ElementTree.ParseError:
        tag = ""
    if tag != "cpu":
        remedy = "Give what the module returned on the other hypervisor, unchanged"
        raise BadOption(option, text, "is no CPU in libvirt's XML", remedy)
