# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module ends: a result, one error, or the library that it lacks."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils import basic

from ansible_collections.lowtide.compute.plugins.module_utils import _module
from ansible_collections.lowtide.compute.plugins.module_utils._errors import NotDrained


@pytest.fixture
def give(monkeypatch):
    """``give(**arguments)``: what the next module is called with."""

    def set_arguments(**arguments):
        text = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", text.encode())
        # From ansible-core 2.19 on.
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)

    return set_arguments


@pytest.fixture
def ended(capsys, give):
    """``ended(handle, **arguments)``: exit code and result of a module with that handler."""

    def end(handle, **arguments):
        give(**arguments)
        with pytest.raises(SystemExit) as raised:
            _module.run({"name": {"type": "str"}}, handle)
        return raised.value.code, json.loads(capsys.readouterr().out)

    return end


def fails(_task):
    raise NotDrained("two\n are left.", "Look", guests=["a"], diff={"before": "x", "after": "y"})


def test_an_error_is_one_line_with_a_code_a_remedy_and_its_details(ended):
    code, result = ended(fails)
    assert code == 1
    assert result["msg"] == "two are left. Look"
    assert (result["code"], result["remedy"]) == ("not_drained", "Look")
    assert result["guests"] == ["a"]
    assert "diff" not in result


@pytest.mark.parametrize("wanted", [True, False])
def test_a_diff_is_shown_when_it_is_wanted(ended, wanted):
    result = {"changed": True, "diff": {"before": "a", "after": "b"}}
    code, shown = ended(lambda _task: result, _ansible_diff=wanted)
    assert code == 0
    assert shown["changed"]
    assert ("diff" in shown) is wanted


def test_the_task_knows_its_options_and_the_mode(ended):
    def tell(task):
        return {"name": task.params["name"], "check": task.check_mode, "id": task.chance()}

    _code, result = ended(tell, name="x", _ansible_check_mode=True)
    assert (result["name"], result["check"]) == ("x", True)
    assert len(result["id"]) == 4


def test_an_error_that_nobody_foresaw_is_not_swallowed(give):
    def broken(_task):
        raise KeyError("bug")

    give()
    with pytest.raises(KeyError):
        _module.run({}, broken)


def test_a_missing_library_is_named(ended, monkeypatch):
    monkeypatch.setattr(_module, "IMPORT_ERROR", "Traceback ...")
    code, result = ended(fails)
    assert code == 1
    assert "openstacksdk" in result["msg"]


def test_a_dictionary_in_cloud_is_refused_without_being_shown(ended):
    code, result = ended(fails, cloud='{"auth": {"password": "canary"}}')
    assert code == 1
    assert result["code"] == "bad_option"
    assert "canary" not in json.dumps(result)


def test_only_secrets_are_kept_out_of_the_output(ended):
    auth = {"password": "canary", "project_name": "web"}
    _code, result = ended(lambda _task: {"guest": "web-01 canary"}, auth=auth)
    assert result["guest"] == "web-01 ********"
    assert "canary" not in json.dumps(result)
