# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""How modules end that run on a machine of the cloud: they need neither credentials nor the SDK.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.lowtide.compute.plugins.module_utils._errors import LowtideError
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import SystemClock


class HostTask:
    """One call of a module: its options, the mode, the clock and chance."""

    def __init__(self, params: Mapping[str, Any], check_mode: bool, warn: Callable) -> None:
        self.params = params
        self.check_mode = check_mode
        self.warn = warn
        self.clock = SystemClock()

    def chance(self) -> str:
        """Four hex digits, for a run id."""
        return secrets.token_hex(2)


def run_on_host(
    spec: Mapping[str, Any], handle: Callable[[HostTask], dict[str, Any]], **rules: Any
) -> None:
    """Build the module, let ``handle`` do its work, and end with its result or its error.

    ``rules``: AnsibleModule's other arguments.
    """
    module = AnsibleModule(dict(spec), supports_check_mode=True, **rules)
    finish(module, lambda: handle(HostTask(module.params, module.check_mode, module.warn)))


def finish(module: AnsibleModule, work: Callable[[], dict[str, Any]]) -> None:
    """End the module with what ``work`` returns, or with the error that it raises.

    What it returns as ``diff`` is left out unless it was asked for.
    """
    try:
        result = work()
    except LowtideError as error:
        told = {"msg": str(error), "code": error.code, "remedy": error.remedy}
        module.fail_json(**_without_diff({**error.details, **told}, module))
    module.exit_json(**_without_diff(result, module))


def _without_diff(result: dict[str, Any], module: AnsibleModule) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "diff" or module._diff}
