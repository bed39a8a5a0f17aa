# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that make the report of a drain from what nova_drain returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.lowtide.compute.plugins.module_utils._report.document import (
    document,
    markdown,
)


def drain_report(
    result: Mapping[str, Any],
    tuned: Sequence[Mapping[str, Any]] = (),
    probed: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The report as data; its schema is docs/report-schema.json."""
    try:
        return document(result, tuned, probed)
    except KeyError as error:
        raise AnsibleFilterError(
            f"drain_report needs the result of nova_drain, this one has no {error}. "
            "Use it only on a result that has run_id: a run that failed before its plan was "
            "made has nothing to report."
        ) from error


def drain_report_markdown(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    try:
        return markdown(report)
    except KeyError as error:
        raise AnsibleFilterError(
            f"drain_report_markdown needs what drain_report made, this one has no {error}."
        ) from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"drain_report": drain_report, "drain_report_markdown": drain_report_markdown}
