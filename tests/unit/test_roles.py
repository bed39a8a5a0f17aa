# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles say what they take, and offer what their modules offer: all of it, and pass it on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ansible_collections.lowtide.compute.plugins.module_utils._module import AUTH_SPEC
from ansible_collections.lowtide.compute.plugins.modules import (
    nova_compute_service,
    nova_drain,
    nova_drain_info,
)

ROLES = Path(__file__).parents[2] / "roles"
PLAYBOOKS = Path(__file__).parents[2] / "playbooks"

#: Options of a module that its role does not offer, and the role's own.
PRIVATE = {
    "host_drain": {"wait", "state", "answers", "step_seconds"},
    "host_return": {"state", "forced_down", "reason", "run_id"},
}
BESIDE = {"tune", "tune_ramp_seconds", "dirty_rate_seconds", "probe_address", "probe_interval_ms"}
OWN = {
    "host_drain": {
        "api_host",
        "plan_only",
        "report_dir",
        "fail_on_cautions",
        "accepted_cautions",
        "see_destinations",
        *BESIDE,
    },
    "host_return": {"api_host"},
}
MODULES = {
    "host_drain": ("lowtide.compute.nova_drain", {**AUTH_SPEC, **nova_drain.SPEC}),
    "host_return": (
        "lowtide.compute.nova_compute_service",
        {**AUTH_SPEC, **nova_compute_service.SPEC},
    ),
}
#: What a role gives where the module has no default; it is then not passed on.
EMPTY = ("", {}, None)


def load(role, path):
    return yaml.safe_load((ROLES / role / path).read_text())


def specification(role):
    return load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]


def named(role, option):
    return f"{role}_{option}"


roles = pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
#: Those that offer one module's options as their own.
mirrors = pytest.mark.parametrize("role", sorted(MODULES))


@roles
def test_defaults_and_specification_agree(role):
    """What has a default anywhere has it everywhere, and there is no other default."""
    defaults = load(role, "defaults/main.yml")
    told = {}
    for entry in load(role, "meta/argument_specs.yml")["argument_specs"].values():
        for name, option in entry["options"].items():
            assert name.startswith(f"{role}_"), name
            assert (name in defaults) is (not option.get("required", False)), name
            assert option.get("default") == defaults.get(name), name
            told[name] = option
    assert set(defaults) <= set(told)


@roles
def test_every_entry_point_is_specified_and_has_its_tasks(role):
    for entry in load(role, "meta/argument_specs.yml")["argument_specs"]:
        assert (ROLES / role / "tasks" / f"{entry}.yml").exists(), entry


@mirrors
def test_every_option_of_the_module_is_offered(role):
    _module, options = MODULES[role]
    expected = (set(options) - PRIVATE[role]) | OWN[role]
    assert set(specification(role)) == {named(role, option) for option in expected}


@mirrors
def test_types_choices_and_defaults_are_the_modules(role):
    _module, options = MODULES[role]
    spec = specification(role)
    for option, wanted in options.items():
        offered = spec.get(named(role, option))
        if offered is None or option == "host":
            continue
        default = offered.get("default")
        if "default" in wanted:
            assert default == wanted["default"], option
        else:
            assert default in EMPTY or "default('')" in default, option
        types = {offered["type"], "str" if offered["type"] == "path" else offered["type"]}
        assert wanted["type"] in types, option
        choices = set(offered.get("choices", ())) - {""}
        assert choices == set(wanted.get("choices", ())), option
        assert bool(offered.get("no_log")) >= bool(wanted.get("no_log")), option
    assert spec[named(role, "auth")]["no_log"] is True


def passed_by(role):
    """What the role's tasks give to the module."""
    module, _options = MODULES[role]
    task = load(role, "tasks/main.yml")[0]
    return task["module_defaults"][module] if "module_defaults" in task else task[module]


@mirrors
def test_every_option_is_passed_on(role):
    _module, options = MODULES[role]
    passed = passed_by(role)
    for option in set(options) - PRIVATE[role] - {"host"}:
        assert named(role, option) in passed[option], option
    assert set(passed) <= set(options)


@mirrors
def test_what_is_empty_is_omitted(role):
    _module, options = MODULES[role]
    passed = passed_by(role)
    for option, default in load(role, "defaults/main.yml").items():
        name = option.removeprefix(f"{role}_")
        if name in options and name != "host" and "default" not in options[name]:
            assert default in EMPTY or "default('')" in default
            assert "omit" in passed[name], option


@roles
def test_the_readme_speaks_of_rollback_and_idempotence(role):
    text = (ROLES / role / "README.md").read_text()
    assert "\n## Idempotence\n" in text
    assert "\n## Rollback\n" in text


@pytest.mark.parametrize(
    "playbook", sorted(PLAYBOOKS.glob("host_*.yml")), ids=lambda path: path.stem
)
def test_playbooks_take_one_host_at_a_time_and_stop_at_the_first_failure(playbook):
    find, work = yaml.safe_load(playbook.read_text())
    assert find["hosts"].startswith("{{ 'localhost' if ansible_limit is not defined")
    assert work["hosts"] == "lowtide_target"
    assert find["any_errors_fatal"] is True
    changes = work["roles"][0]["role"] != "lowtide.compute.preflight"
    assert work.get("serial") == (1 if changes else None)
    assert work.get("any_errors_fatal", False) is changes


def flat(tasks):
    """All tasks, those in blocks too."""
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from flat(task.get(part, ()))


@mirrors
def test_api_tasks_run_where_the_api_is_and_without_becoming_root(role):
    module, _options = MODULES[role]
    found = 0
    for path in (ROLES / role / "tasks").glob("*.yml"):
        for task in flat(yaml.safe_load(path.read_text())):
            if module in task:
                found += 1
                assert task["delegate_to"] == f"{{{{ {role}_api_host }}}}"
                assert task["become"] is False
    assert found


def test_the_preflight_offers_the_drain_s_options_and_passes_them_on():
    """Those that no role variable of its own stands for are taken from host_drain's variables.

    What the hypervisors told is added to some of them.
    """
    tasks = load("preflight", "tasks/plan.yml")
    (passed,) = (t for t in tasks if "lowtide.compute.nova_drain_info" in t)
    given = passed["lowtide.compute.nova_drain_info"]
    assert set(given) == set(nova_drain_info.SPEC) | set(AUTH_SPEC)
    named = load("preflight", "vars/main.yml")["__preflight_names"]
    own = {"host", "hosts", "show", "nova_conf", "migration_network"}
    assert set(named) == set(nova_drain_info.SPEC) - own
    for option in set(named) - {"dirty_rates", "topologies", "incompatible"}:
        assert given[option].startswith(f"{{{{ __preflight_options.{option} | default(omit"), option
    assert {f"host_drain_{option}" for option in named} <= set(
        load("host_drain", "defaults/main.yml")
    )
    assert passed["delegate_to"] == "{{ preflight_api_host }}"
    assert passed["become"] is False
    assert passed["run_once"] is True
