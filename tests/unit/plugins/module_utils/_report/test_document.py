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
    assert list(report) == ["schema", "schema_version", *FIELDS, "measured"]
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


def test_markdown_tells_what_the_guests_felt():
    policy = {"policy": {"max_downtime_ms": {"value": 500, "source": "flavor f"}}}
    run = result(moved(), move("vm-b", m.WAITING))
    run["guests"] = [row | policy for row in run["guests"]]
    tuned = {"id": "id-vm-a", "block": True, "downtime_ms": 83.4, "bytes": 3 << 20, "iterations": 4}
    tuned |= {"total_ms": 10400, "times_applied": {"max_downtime_ms": 2, "bandwidth_mib_s": 0}}
    probed = {"id": "id-vm-a", "longest_gap_ms": 120.0, "gap_at": "then", "sent": 40, "lost": 2}
    text = markdown(document(run, [tuned], [probed]))
    felt = "| vm-a | 500 ms | flavor f | 83 ms | 120 ms | 2 of 40 | then | 3.0 MiB | - | 4 | - | "
    assert felt + "max_downtime_ms 2x |" in text
    assert "| vm-b | 500 ms" not in text
    assert "| copied | 4.0 GiB | 3.0 MiB |" in text
    assert "| block (1) | total | 10.4 s | 10.4 s | 10.4 s |" in text
    assert "| block (1) | bytes | 3.0 MiB | 3.0 MiB | 3.0 MiB |" in text
    assert "non-block (0)" not in text
    assert "What the guests felt" not in markdown(document(run))


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
