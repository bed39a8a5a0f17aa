# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input ends in one line that names option, value and remedy, before anything is changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import openstack
import pytest

HOST_MODULES = ("nova_host_info", "nova_drain_info", "nova_drain", "nova_compute_service")
MOVES = ("nova_live_migrate", "nova_cold_migrate")
NEEDED = {
    "nova_host_info": {"host": "cmp-1"},
    "nova_compute_service": {"host": "cmp-1", "state": "disabled"},
    "nova_drain_info": {"host": "cmp-1"},
    "nova_drain": {"host": "cmp-1"},
    "nova_live_migrate": {"servers": ["walker"]},
    "nova_cold_migrate": {"servers": ["sleeper"]},
}
CANARY = "tr0ub4dor-canary"
ROOT = Path(__file__).parents[2]


def check(outcome, code, *words):
    """The failure is one line with these words, has a remedy, and nothing was changed."""
    assert outcome.get("failed"), outcome
    assert outcome["code"] == code, outcome["msg"]
    assert "\n" not in outcome["msg"]
    assert outcome["remedy"]
    assert outcome["msg"].endswith(outcome["remedy"])
    for word in words:
        assert str(word) in outcome["msg"]
    assert outcome.writes == []
    assert not outcome.get("changed")
    assert "Traceback" not in outcome.output


@pytest.mark.parametrize("name", HOST_MODULES)
def test_an_unknown_host(failing, name):
    outcome = failing(name, **{**NEEDED[name], "host": "cmp-11"})
    check(outcome, "not_found", "host: 'cmp-11'", "cmp-1")


@pytest.mark.parametrize("name", HOST_MODULES)
def test_a_pattern_instead_of_a_host(failing, name):
    outcome = failing(name, **{**NEEDED[name], "host": "cmp-*"})
    check(outcome, "bad_option", "host: 'cmp-*'", "exact name")
    assert outcome.calls == []


@pytest.mark.parametrize("name", MOVES)
def test_destinations(failing, name):
    check(failing(name, **NEEDED[name], host="cmp-?"), "bad_option", "host: 'cmp-?'")
    check(failing(name, **NEEDED[name], host="cmp-9"), "not_found", "host: 'cmp-9'")


@pytest.mark.parametrize("name", MOVES)
def test_a_guest_that_does_not_exist(failing, name):
    check(failing(name, servers=["walker", "nobody"]), "not_found", "servers: 'nobody'")


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("nova_drain", "max_parallel", 0),
        ("nova_drain_info", "deadline", -60),
        ("nova_live_migrate", "timeout_per_gib", -5),
        ("nova_cold_migrate", "poll_interval", 0),
    ],
)
def test_a_number_that_makes_no_sense(failing, name, option, value):
    outcome = failing(name, **NEEDED[name], **{option: value})
    check(outcome, "bad_option", f"{option}: {value}", "Give")
    assert outcome.calls == []


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "nova_drain",
            {"max_parallel": 2, "max_parallel_per_destination": 3},
            ("max_parallel_per_destination: 3", "max_parallel: 2"),
        ),
        (
            "nova_compute_service",
            {"state": "enabled", "forced_down": True},
            ("forced_down: True", "state: enabled"),
        ),
    ],
)
def test_options_that_contradict_each_other(failing, name, options, words):
    outcome = failing(name, **{**NEEDED[name], **options})
    check(outcome, "bad_option", *words)
    assert outcome.calls == []


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [("nova_drain", "ids", "0" * 32), ("nova_drain_info", "names", "wbe-01")],
)
def test_an_excluded_guest_that_does_not_exist(failing, name, kind, value):
    outcome = failing(name, host="cmp-1", exclude={kind: [value]})
    check(outcome, "bad_option", f"exclude.{kind}: {value!r}", "cmp-1")


def test_a_host_that_is_down(failing, module):
    module("nova_compute_service", host="cmp-4", forced_down=True)
    try:
        for mode in (True, False):
            outcome = failing("nova_drain", host="cmp-4", check=mode)
            check(outcome, "host_not_ready", "host: 'cmp-4'", "evacuate")
        for name in MOVES:
            check(failing(name, **NEEDED[name], host="cmp-4"), "host_not_ready", "host: 'cmp-4'")
    finally:
        module("nova_compute_service", host="cmp-4", forced_down=False)


def test_a_destination_that_is_disabled(failing, module):
    module("nova_compute_service", host="cmp-4", state="disabled", reason="firmware")
    try:
        outcome = failing("nova_live_migrate", servers=["walker"], host="cmp-4")
        check(outcome, "host_not_ready", "host: 'cmp-4'", "firmware")
    finally:
        module("nova_compute_service", host="cmp-4", state="enabled")


def test_guests_that_cannot_go_are_all_named_before_the_first_one_moves(failing):
    for mode in (True, False):
        outcome = failing("nova_drain", host="cmp-2", check=mode)
        check(outcome, "blocked", "cmp-2")
        blocked = {row["name"] for row in outcome["guests"] if row["outcome"] == "blocked"}
        assert blocked == {"broken", "resized", "sleepy", "trashed"}
        assert outcome["table"]


# --- credentials -------------------------------------------------------------------------


def test_no_credentials(run_module):
    nothing = {"OS_CLIENT_CONFIG_FILE": ""}
    outcome = run_module("nova_drain", environment=nothing, host="cmp-1")
    check(outcome, "unauthorized", "credentials", "`cloud`", "OS_*", "`auth`")
    assert outcome.calls == []


def test_an_unknown_cloud(run_module):
    outcome = run_module("nova_host_info", host="cmp-1", cloud="prod")
    check(outcome, "bad_option", "cloud: 'prod'", "clouds.yaml")


def test_a_wrong_password(run_module, auth):
    outcome = run_module("nova_host_info", host="cmp-1", auth=auth | {"password": CANARY})
    check(outcome, "unauthorized", "auth.username: 'admin'")
    assert CANARY not in outcome.output


def test_no_password(run_module, auth):
    given = {k: v for k, v in auth.items() if k != "password"}
    check(run_module("nova_host_info", host="cmp-1", auth=given), "unauthorized", "auth.password")


def test_a_misspelt_key_of_auth(run_module, auth):
    outcome = run_module("nova_host_info", host="cmp-1", auth=auth | {"usrname": "x"})
    assert outcome["failed"]
    assert "auth.usrname" in outcome["msg"]


def test_a_dictionary_as_cloud_does_not_show_its_secrets(run_module, auth):
    cloud = {"auth": auth | {"password": CANARY}}
    outcome = run_module("nova_host_info", host="cmp-1", cloud=json.dumps(cloud))
    check(outcome, "bad_option", "cloud: ", "`auth`")
    assert CANARY not in outcome.output


@pytest.mark.parametrize("name", NEEDED)
def test_a_user_without_the_right(run_module, name):
    outcome = run_module(name, cloud="lab-member", **NEEDED[name])
    check(outcome, "unauthorized", "cloud: 'lab-member'", "policy", "admin role")


def test_an_expired_token(run_module, lab, auth):
    region = openstack.config.OpenStackConfig(config_files=[str(lab.clouds_file)]).get_one("lab")
    session = region.get_session()
    token = session.get_token()
    given = {"auth_url": auth["auth_url"], "token": token, "project_name": "admin"}
    given["project_domain_id"] = "default"
    options = {"auth_type": "token", "auth": given, "host": "cmp-1"}
    assert not run_module("nova_host_info", **options).get("failed")
    session.delete(
        f"{auth['auth_url']}/auth/tokens",
        headers={"X-Subject-Token": token, "X-Auth-Token": token},
        authenticated=False,
    )
    outcome = run_module("nova_host_info", **options)
    check(outcome, "unauthorized", "auth.token")
    assert token not in outcome.output


# --- endpoints ---------------------------------------------------------------------------


def test_an_identity_service_that_is_not_there(run_module, auth):
    given = auth | {"auth_url": "http://127.0.0.1:9/v3", "password": CANARY}
    outcome = run_module("nova_host_info", host="cmp-1", auth=given)
    check(outcome, "unreachable", "http://127.0.0.1:9/v3", "auth.auth_url")
    assert CANARY not in outcome.output


@pytest.mark.parametrize("name", NEEDED)
def test_an_api_that_is_not_there(run_module, lab, tmp_path, name):
    clouds = json.loads(lab.clouds_file.read_text())
    clouds["clouds"]["lab"]["compute_endpoint_override"] = "http://127.0.0.1:9/v2.1"
    file = tmp_path / "broken.yaml"
    file.write_text(json.dumps(clouds))
    environment = {"OS_CLIENT_CONFIG_FILE": str(file)}
    outcome = run_module(name, cloud="lab", environment=environment, **NEEDED[name])
    check(outcome, "unreachable", "compute API", "http://127.0.0.1:9/v2.1")


def test_a_service_that_is_not_in_the_catalogue(run_module, auth):
    outcome = run_module("nova_host_info", auth=auth, region_name="Nowhere", host="cmp-1")
    check(outcome, "unreachable", "catalogue", "region_name")


def test_a_region_that_the_cloud_does_not_have(failing):
    outcome = failing("nova_host_info", region_name="Nowhere", host="cmp-1")
    check(outcome, "bad_option", "region_name: 'Nowhere'", "RegionOne")


@pytest.fixture
def auth(lab):
    """What clouds.yaml says of the administrator, for `auth`."""
    return dict(json.loads(lab.clouds_file.read_text())["clouds"]["lab"]["auth"])


# --- through Ansible itself --------------------------------------------------------------


@pytest.mark.parametrize("name", NEEDED)
def test_no_secret_is_shown_at_the_highest_verbosity(lab, auth, name, tmp_path):
    given = auth | {"password": CANARY}
    shown = ansible(lab, tmp_path, name, {**NEEDED[name], "auth": given})
    assert "unauthorized" in shown
    assert CANARY not in shown


def ansible(lab, directory, name, options):
    """The module run by Ansible with -vvvv: everything that is printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
    environment |= {"OS_CLIENT_CONFIG_FILE": str(lab.clouds_file), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("ansible"), "localhost", "-vvvv", "-c", "local"),
            *("-e", f"ansible_python_interpreter={sys.executable}"),
            *("-m", f"lowtide.compute.{name}", "-a", json.dumps(options)),
        ],
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr
