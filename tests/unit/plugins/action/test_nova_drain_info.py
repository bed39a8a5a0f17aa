# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table is printed where that was asked for, and the result is the module's."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest
from ansible.playbook.task import Task

from ansible_collections.lowtide.compute.plugins.action import nova_drain_info


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ({}, []),
        ({"show": "false"}, []),
        ({"show": True}, ["one", "two"]),
        ({"show": "yes"}, ["one", "two"]),
    ],
)
def test_the_table_is_printed_on_request(monkeypatch, arguments, printed):
    lines, calls = [], []
    screen = MagicMock()
    screen.display = lambda text, stderr: lines.append((text, stderr))
    monkeypatch.setattr(nova_drain_info, "display", screen)
    task = Task()
    task.args = {"host": "cmp-3", **arguments}
    plugin = nova_drain_info.ActionModule(task, MagicMock(), MagicMock(), None, None, None)

    def execute(module, module_args, task_vars):
        calls.append((module, module_args))
        return {"changed": False, "table": ["one", "two"], "fits": True}

    plugin._execute_module = execute
    result = plugin.run(task_vars={})
    assert result["fits"] is True
    assert lines == [(line, True) for line in printed]
    assert calls == [("lowtide.compute.nova_drain_info", {"host": "cmp-3", **arguments})]


def test_a_failure_without_a_table_is_given_back():
    plugin = nova_drain_info.ActionModule(Task(), MagicMock(), MagicMock(), None, None, None)
    plugin._task.args = {"host": "cmp-9", "show": True}
    plugin._execute_module = lambda *_args, **_more: {"failed": True, "code": "not_found"}
    assert plugin.run(task_vars={})["code"] == "not_found"
