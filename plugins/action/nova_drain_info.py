# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of the same name, and prints its table where that was asked for."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

MODULE = "lowtide.compute.nova_drain_info"

display = Display()


class ActionModule(ActionBase):
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        self._supports_async = False
        result = super().run(tmp, task_vars)
        del tmp
        result |= self._execute_module(
            MODULE, module_args=dict(self._task.args), task_vars=task_vars
        )
        if boolean(self._task.args.get("show", False), strict=False):
            # To stderr: a callback that writes JSON to stdout stays readable by machines.
            for line in result.get("table", ()):
                display.display(str(line), stderr=True)
        return result
