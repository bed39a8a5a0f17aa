# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules on other hosts of the inventory than the one that an action plugin works on.

This plugin util is **PRIVATE** to the collection: it may change without notice.
It does for one call what ``delegate_to`` does for a task; an action plugin cannot delegate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import become_loader, connection_loader


class Elsewhere:
    """Other hosts, each by the connection, user and become that the inventory gives it."""

    def __init__(self, action: ActionBase, task_vars: Mapping[str, Any]) -> None:
        self._action = action
        self._hostvars = task_vars.get("hostvars", {})
        self._there: dict[tuple[str, bool | None], tuple[ActionBase, dict[str, Any]]] = {}

    def run(
        self,
        host: str,
        module: str,
        arguments: Mapping[str, Any],
        *,
        become: bool | None = None,
    ) -> dict[str, Any]:
        """The module's result on ``host``, a name of the inventory.

        ``become``: whether to become another user there; None: as the inventory says. A host
        that cannot be reached has ``unreachable``, and ``msg`` says why.
        """
        try:
            if (host, become) not in self._there:
                self._there[host, become] = self._connect(host, become)
            action, variables = self._there[host, become]
            return action._execute_module(module, module_args=dict(arguments), task_vars=variables)
        except AnsibleError as error:
            return {"unreachable": True, "msg": str(error)}

    def close(self) -> None:
        """Close all connections."""
        for action, _variables in self._there.values():
            action._connection.close()
        self._there.clear()

    def _connect(self, host: str, become: bool | None) -> tuple[ActionBase, dict[str, Any]]:
        if host not in self._hostvars:
            raise AnsibleConnectionFailure(f"the inventory has no host {host!r}")
        known = _connection_vars(host, self._hostvars[host])
        task = self._action._task.copy()
        task.delegate_to, task.async_val = None, 0
        task.become = boolean(known.get("ansible_become", False)) if become is None else become
        context = self._action._play_context.set_task_and_variable_override(
            task, known, self._action._templar
        )
        connection = connection_loader.get(known["ansible_connection"], context, None)
        if connection is None:
            raise AnsibleError(f"there is no connection plugin {known['ansible_connection']!r}")
        if task.become:
            method = known.get("ansible_become_method") or task.become_method or "sudo"
            connection.set_become_plugin(become_loader.get(method))
        _set_options(connection, task, context, known)
        there = type(self._action)(
            task,
            connection,
            context,
            self._action._loader,
            self._action._templar,
            self._action._shared_loader_obj,
        )
        return there, {**known, "ansible_facts": {}}


def _connection_vars(host: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """What the inventory says of how to reach a host, and how to run Python there.

    What has no bearing on that is left out: it may not even be possible to template it.
    """
    names = {name for names in C.MAGIC_VARIABLE_MAPPING.values() for name in names}
    transport = known.get("ansible_connection") or C.DEFAULT_TRANSPORT
    names |= set(C.config.get_plugin_vars("connection", transport))
    names |= set(C.config.get_plugin_vars("shell", known.get("ansible_shell_type") or "sh"))
    method = known.get("ansible_become_method") or C.DEFAULT_BECOME_METHOD
    names |= set(C.config.get_plugin_vars("become", method))
    names |= {name for name in known if name.endswith("_interpreter")}
    found = {name: known[name] for name in sorted(names) if name in known}
    defaults = {"ansible_host": host, "inventory_hostname": host}
    return defaults | found | {"ansible_connection": transport}


def _set_options(connection: Any, task: Any, context: Any, known: Mapping[str, Any]) -> None:
    """Give connection, shell and become the options that the inventory has for them."""
    keys = task.dump_attrs()
    # The task's own time limit and retries are not the connection's.
    keys |= {"timeout": context.timeout, "password": context.password or None}
    keys.pop("retries", None)
    if context.become_pass:
        keys["become_pass"] = context.become_pass
    parts = {"connection": connection, "shell": connection._shell, "become": connection.become}
    for kind, plugin in parts.items():
        if plugin is not None:
            names = C.config.get_plugin_vars(kind, plugin._load_name)
            options = {name: known[name] for name in names if name in known}
            plugin.set_options(task_keys=keys, var_options=options)
