# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nova's process: API, conductor, scheduler and every host's compute service."""

from __future__ import annotations

import os
import sys
from typing import Any

from lab import scenario as scenarios
from lab.embedded.config import CONTROLLER, SHIPPED
from lab.embedded.services import common, savings, sqlite
from lab.embedded.settings import Settings


def run(settings: Settings) -> None:
    """Start everything that is Nova, the hosts last, and the control API.

    It is one process because the services talk through oslo.messaging's fake driver, whose
    exchanges live in the memory of a process.
    """
    # Importing nova.tests would patch for eventlet otherwise.
    os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "1"
    from nova import monkey_patch

    monkey_patch.patch(backend="threading")
    sqlite.install()
    application = _load_api(settings)
    savings.compile_request_schemas_once()
    _start_services()
    from lab.embedded import hypervisor
    from lab.embedded.services import control, economy, nodes

    nodes.install()
    economy.install()
    scenario = scenarios.load(settings.scenario_file)
    hypervisor.prepare(scenario, settings.state)
    common.wait_for(settings, "keystone", "placement")
    for host in scenario.hosts:
        hypervisor.start(host.name)
    _discover_hosts()
    common.serve(application, settings, "compute")
    control.serve(settings.control_port, tuple(host.name for host in scenario.hosts))


def _load_api(settings: Settings) -> Any:
    os.environ["OS_NOVA_CONFIG_DIR"] = str(settings.etc)
    os.environ["OS_NOVA_CONFIG_FILES"] = f"{SHIPPED / 'nova' / 'api-paste.ini'};nova.conf"
    sys.argv = ["nova"]
    from nova.wsgi.osapi_compute import application

    return application


def _start_services() -> None:
    from nova import service

    for name in ("conductor", "scheduler"):
        service.Service.create(host=CONTROLLER, binary=f"nova-{name}", topic=name).start()


def _discover_hosts() -> None:
    # Scheduling looks up host mappings; nova-manage makes them on a real cloud.
    from nova import context
    from nova.objects import host_mapping

    host_mapping.discover_hosts(context.get_admin_context())
