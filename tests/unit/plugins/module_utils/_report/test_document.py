# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: every field is there, and Markdown survives what tenants call their guests."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._report.document import (
    FIELDS,
    document,
    markdown,
)
from ansible_collections.lowtide.compute.plugins.module_utils._report.result import (
    event_row,
    run_result,
)
from tests.unit.plugins.module_utils._report.builders import entry, ledger, move, moved, plan


def result(*moves, problems=()):
    entries = [entry(each.name) for each in moves]
    events = [event_row(m.Event(100.0, "done"), "cmp-3")]
    run = run_result(plan(*entries), ledger(*moves), 152.0, changed=True, problems=problems)
    return run | {"events": events}


def test_the_document_has_its_version_and_every_field():
    report = document(result(moved()) | {"diff": {}, "warnings": []})
    assert list(report) == ["schema", "schema_version", *FIELDS]
    assert report["schema"] == "lowtide.compute/drain-report"


def test_a_result_without_a_run_is_refused():
    with pytest.raises(KeyError):
        document({"failed": True, "msg": "no such host"})


def test_markdown_of_a_good_drain():
    text = markdown(document(result(moved())))
    lines = text.splitlines()
    assert lines[0] == "# Drain of cmp-3: drained"
    assert "| time | 20s | 1m02s |" in lines
    assert "| copied | 2.0 GiB | 1.5 GiB |" in lines
    assert (
        "| vm-a `id-vm-a` | moved | live | cmp-3 | cmp-7 | 1 | 42s | 10s | 1.5 GiB | verified |"
        in lines
    )
    assert "- 1970-01-01T00:01:40Z nothing more to move" in lines
    assert "## Not done" not in text


def test_markdown_of_a_bad_drain_begins_with_what_is_left():
    left = move("vm-b", m.LEFT, code="timeout", reason="too slow", remedy="wait")
    text = markdown(document(result(moved(), left, problems=["an allocation"])))
    assert text.startswith("# Drain of cmp-3: not drained\n")
    assert "- **vm-b** (`id-vm-b`) left: timeout: too slow. Remedy: wait.\n- an allocation" in text
    assert "| - | 10s | - | timeout: too slow |" in text


def test_markdown_of_a_host_without_guests():
    assert "## Guests\n\nNone.\n" in markdown(document(result()))


def test_a_guests_name_cannot_break_the_table():
    text = markdown(document(result(moved("a|b\n<script>"))))
    row = next(line for line in text.splitlines() if "id-a" in line)
    assert row.startswith("| a\\|b &lt;script> ")
    assert row.replace("\\|", "").count("|") == 11
