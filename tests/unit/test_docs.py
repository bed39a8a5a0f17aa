# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation says what the code does: codes, report fields, options, links."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from ansible_collections.lowtide.compute.plugins.module_utils import _errors
from ansible_collections.lowtide.compute.plugins.module_utils._planner import (
    drain,
    eligibility,
    policy,
    policy_keys,
    preflight_rules,
    preflight_sources,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.phases import recovering
from ansible_collections.lowtide.compute.plugins.module_utils._report import result
from ansible_collections.lowtide.compute.plugins.module_utils._report.document import (
    FIELDS,
    document,
)
from ansible_collections.lowtide.compute.plugins.modules import (
    nova_cold_migrate,
    nova_drain,
    nova_drain_info,
    nova_live_migrate,
)
from tests.unit.plugins.module_utils._report.builders import entry, ledger, move, moved, plan

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PLANNER = ROOT / "plugins/module_utils/_planner"
SCHEMA = json.loads((DOCS / "report-schema.json").read_text())


def table_rows(page, heading=""):
    """Cells of the tables' rows in a page (below a heading): those that begin with a `code`."""
    text = (DOCS / page).read_text().partition(heading)[2] if heading else (DOCS / page).read_text()
    section = re.split(r"\n## ", text)[0] if heading else text
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def codes(page, heading=""):
    return [re.search(r"`(\w+)`", row[0]).group(1) for row in table_rows(page, heading)]


# --- guests.md ---------------------------------------------------------------------------


def test_the_guests_table_has_the_rules_codes_in_their_order():
    assert codes("guests.md", "# What happens to each guest") == [
        rule.code for rule in eligibility.RULES
    ]


def test_the_guests_table_says_what_becomes_of_them():
    said = {row[0].strip("`"): row[2] for row in table_rows("guests.md", "# What happens")}
    for rule in eligibility.RULES:
        if isinstance(rule.method, str):
            assert said[rule.code].startswith(rule.method), rule.code
        else:
            assert said[rule.code].startswith("blocked; "), rule.code


def test_every_blocked_guest_has_a_remedy_in_the_table():
    for code, _guest, becomes, remedy in table_rows("guests.md", "# What happens"):
        assert remedy or becomes != "blocked", code


def test_the_notes_are_the_planners():
    listed = codes("guests.md", "## What does not hinder it")
    assert listed == [name for name, _applies, _text in eligibility.NOTES]


# --- preflight.md ------------------------------------------------------------------------


def test_preflight_md_has_every_caution_with_its_source():
    rows = table_rows("preflight.md", "## What to beware of")
    assert [(row[0].strip("`"), row[4]) for row in rows] == [
        (rule.code, rule.source) for rule in preflight_rules.RULES
    ]
    assert all(when and what for _code, when, what, _needs, _source in rows)


def test_preflight_md_has_the_source_of_everything_that_blocks():
    rows = table_rows("preflight.md", "## What blocks")
    sources = preflight_sources.HOST_SOURCES | preflight_sources.SOURCES
    assert {row[0].strip("`"): row[1] for row in rows} == sources


# --- troubleshooting.md ------------------------------------------------------------------


def constants(path, callee, position):
    """String constants given to calls of ``callee`` at that position, in a source file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and len(node.args) > position:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            argument = node.args[position]
            if name == callee and isinstance(argument, ast.Constant):
                found.add(argument.value)
    return found


def codes_of_a_run():
    """Codes that a guest can end with beyond the rules': the phases' and verify.py's."""
    phases = sorted((PLANNER / "phases").glob("*.py"))
    return (
        set().union(*(constants(phase, "leave", 1) for phase in phases))
        | constants(PLANNER / "phases" / "verifying.py", "_doubt", 2)
        | constants(PLANNER / "verify.py", "Check", 0)
        | constants(PLANNER / "witness.py", "Finding", 0)
        | set(drain.STOPPED)
        | set(recovering.FAILED_REMEDY)
        | {"gone", "verified"}
    )


def test_troubleshooting_has_every_code_that_is_not_a_rules():
    errors = {
        error.code
        for error in vars(_errors).values()
        if isinstance(error, type) and issubclass(error, _errors.LowtideError)
    }
    rules = {rule.code for rule in eligibility.RULES}
    found = set(codes("troubleshooting.md"))
    assert found == (codes_of_a_run() | errors) - rules - {"not_drained"}
    assert "not_drained" in (DOCS / "troubleshooting.md").read_text()


# --- report.md and report-schema.json ----------------------------------------------------


def report():
    entries = (entry(), entry("vm-b"), entry("vm-s", m.BLOCKED, "share"))
    moves = (moved(), move("vm-b", m.LEFT, code="timeout", reason="slow", remedy="wait"))
    run = result.run_result(
        plan(*entries), ledger(*moves), 152.0, changed=True, problems=["an allocation"]
    )
    events = [result.event_row(m.Event(100.0, "moved", "id-vm-a", "vm-a", {"seconds": 1.0}), "h")]
    tuned = [
        {"id": "id-vm-a", "block": False, "downtime_ms": 80, "applied": {"max_downtime_ms": 500}}
    ]
    probed = [{"id": "id-vm-a", "answered": True, "longest_gap_ms": 110.0, "sent": 400, "lost": 2}]
    return document(run | {"events": events}, tuned, probed)


def validator():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return jsonschema.Draft202012Validator(SCHEMA, format_checker=checker)


def test_a_report_fits_its_schema():
    validator().validate(json.loads(json.dumps(report())))


@pytest.mark.parametrize("spoil", ["extra", "missing", "outcome"])
def test_the_schema_is_strict(spoil):
    bad = report()
    if spoil == "extra":
        bad["guests"][0]["colour"] = "blue"
    elif spoil == "missing":
        del bad["guests"][0]["code"]
    else:
        bad["outcome"] = "probably"
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(bad)


def test_the_schema_requires_every_field():
    guest = report()["guests"][0]
    for fields, part in (
        (["schema", "schema_version", *FIELDS, "measured"], SCHEMA),
        (guest, SCHEMA["$defs"]["guest"]),
        (guest["measured"], SCHEMA["$defs"]["measured"]),
        (report()["measured"]["non_block"], SCHEMA["$defs"]["aggregate"]),
        (report()["events"][0], SCHEMA["$defs"]["event"]),
    ):
        assert set(part["required"]) == set(fields) == set(part["properties"])


def test_the_schema_knows_the_outcomes():
    outcomes = SCHEMA["$defs"]["guest"]["properties"]["outcome"]["enum"]
    assert set(outcomes) == set(result.OUTCOMES) - {"planned"}
    runs = SCHEMA["properties"]["outcome"]["enum"]
    assert set(runs) == set(result.RUN_OUTCOMES) - {"planned", "blocked", "unfinished"}


def test_report_md_names_every_field():
    named = {name for row in table_rows("report.md") for name in re.findall(r"`(\w+)`", row[0])}
    guest = report()["guests"][0]
    assert named == {"schema", "schema_version", *FIELDS, *guest, *guest["measured"]}


# --- policy.md ---------------------------------------------------------------------------


def test_policy_md_has_every_field_and_whose_word_counts():
    for heading in ("## Fields", "## Whose word counts"):
        assert codes("policy.md", heading) == list(policy.FIELDS)


def test_policy_md_says_the_ranges():
    defaults = m.Policy()
    for name, allowed, default, *_rest in table_rows("policy.md", "## Fields"):
        field = name.strip("`")
        for number in re.findall(r"\d+", policy_keys.KINDS[field].allowed):
            assert re.search(rf"\b{number}\b", allowed), field
        value = getattr(defaults, field)
        if value is not None and field != "on_timeout":
            assert default.strip("`") == str(value).removesuffix(".0"), field


def test_policy_md_has_starlingx_s_keys():
    rows = table_rows("policy.md", "## StarlingX's keys")
    keys = {key.name: key for key in policy_keys.KEYS if not key.name.startswith("lowtide:")}
    assert [row[0].strip("`") for row in rows] == [*keys, policy_keys.TUNNEL]
    for name, field, _allowed, places in rows[:-1]:
        key = keys[name.strip("`")]
        assert field.strip("`") == key.field
        assert tuple(places.split(", ")) == key.places


def test_policy_md_says_what_the_profiles_set():
    heads = re.search(r"\| \| none \|(.*)\|", (DOCS / "policy.md").read_text()).group(1)
    names = re.findall(r"`(\w+)`", heads)
    assert names == list(policy.PROFILES)
    for field, _none, *cells in table_rows("policy.md", "## Profiles"):
        for name, cell in zip(names, cells, strict=True):
            value = policy.PROFILES[name].values.get(field.strip("`"))
            said = "not set" if value is None else str(value).lower()
            assert cell.strip("`") == said, (field, name)


def test_the_schema_knows_the_policy_s_fields():
    row = SCHEMA["$defs"]["guest"]["properties"]["policy"]["propertyNames"]["enum"]
    assert row == list(policy.FIELDS) == list(result.policy_row(m.Policy()))


# --- RETURN of the modules ---------------------------------------------------------------


def returned(module):
    return yaml.safe_load(module.RETURN)


@pytest.mark.parametrize(
    "module",
    [nova_drain, nova_drain_info, nova_live_migrate, nova_cold_migrate],
    ids=lambda module: module.__name__.rpartition(".")[2],
)
def test_return_describes_each_field_of_a_guest(module):
    assert set(returned(module)["guests"]["contains"]) == set(result.guest_row(entry(), moved()))


def test_return_of_nova_drain_describes_run_plan_and_events():
    # `changed` is Ansible's, `lines` goes to the action plugin and no further.
    run = result.run_result(plan(entry()), ledger(moved()), 152.0, changed=True)
    fields = (set(run) | set(result.plan_result(plan(entry())))) - {"changed", "lines"}
    assert fields <= set(returned(nova_drain))
    assert set(returned(nova_drain)["events"]["contains"]) == set(report()["events"][0])


def test_return_of_nova_drain_info_describes_the_plan():
    assert set(result.plan_result(plan(entry()))) <= set(returned(nova_drain_info))


# --- all pages ---------------------------------------------------------------------------


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
