# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the control machine, what each waits for, and how one knows that it is ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.hypervisors.control import config
from lab.hypervisors.settings import CONTROL_ADDRESS

WSGI = f"{config.PROGRAMS}/wsgi.py"
PYTHON_ENVIRONMENT = {
    "PATH": f"{config.STACK}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONWARNINGS": "ignore",
}
# Nothing here must survive a power cut, so nothing waits for the disk.
MARIADB = [
    "mariadbd", "--no-defaults", "--user=mysql", "--datadir=/var/lib/mysql",
    f"--socket={config.DATABASE_SOCKET}", "--pid-file=/run/mysqld/mysqld.pid",
    "--skip-networking", "--skip-name-resolve", "--performance-schema=OFF",
    "--max-connections=400", "--innodb-buffer-pool-size=96M", "--innodb-log-file-size=16M",
    "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--sync-binlog=0",
    "--innodb-use-native-aio=0",
]  # fmt: skip
RABBITMQ_ENVIRONMENT = {
    "HOME": "/var/lib/rabbitmq",
    "RABBITMQ_NODENAME": "lab@localhost",
    "RABBITMQ_NODE_IP_ADDRESS": CONTROL_ADDRESS,
    "RABBITMQ_MNESIA_BASE": "/var/lib/rabbitmq/mnesia",
    "RABBITMQ_LOGS": "-",
    "RABBITMQ_CONFIG_FILE": "/etc/rabbitmq/lab.conf",
    "RABBITMQ_ENABLED_PLUGINS_FILE": "/etc/rabbitmq/no-plugins",
    # One scheduler that does not spin: the lab's few processors have other work.
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
    "ERL_EPMD_ADDRESS": "127.0.0.1",
    "ERL_CRASH_DUMP_SECONDS": "0",
}


# What services have in common and import in turn, once for each family; two, because Nova and
# Neutron do not agree about options that both have.
FAMILIES = {
    # The first keeps eventlet out, which must happen before anything imports it.
    "nova": (
        "nova.cmd.conductor",
        "nova.cmd.scheduler",
        "nova.api.openstack.wsgi_app",
        "nova.api.openstack.compute.routes",
        "oslo_messaging._drivers.impl_rabbit",
        "keystonemiddleware.auth_token",
        "pymysql",
        "waitress",
    ),
    "neutron": (
        "neutron.cmd.server",
        "neutron.plugins.ml2.plugin",
        "neutron.plugins.ml2.drivers.ovn.mech_driver.mech_driver",
        "neutron.server.api",
        "oslo_messaging._drivers.impl_rabbit",
        "keystonemiddleware.auth_token",
        "pymysql",
        "waitress",
    ),
}


@dataclass(frozen=True, slots=True)
class Service:
    """One daemon: its command line, the services it waits for, and its sign of readiness.

    ``port``: a TCP port of the control machine. ``socket``: the path of a Unix socket. ``queue``:
    a queue of messages that it reads; what is asked before is lost, and asked again much later.
    Without any, it is ready as soon as it runs. ``family``: the nursery it comes from, if any.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    port: int | None = None
    socket: str | None = None
    queue: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    family: str | None = None


def _database_server(name: str) -> Service:
    """Return one of OVN's two database servers."""
    file = f"/var/lib/ovn/{name}.db"
    script = (
        f"mkdir -p /var/lib/ovn /run/ovn; [ -f {file} ] || "
        f"ovsdb-tool create {file} /usr/share/ovn/ovn-{name}.ovsschema; "
        f"exec ovsdb-server --remote=punix:/run/ovn/ovn{name}_db.sock "
        f"--remote=ptcp:{config.OVN_PORTS[name]}:{CONTROL_ADDRESS} "
        f"--unixctl=/run/ovn/ovn{name}_db.ctl {file}"
    )
    return Service(f"ovn-{name}", ("/bin/sh", "-c", script), port=config.OVN_PORTS[name])


def _api(name: str, module: str, threads: int, needs: tuple[str, ...], **more: str) -> Service:
    """Return a service whose API is a WSGI application."""
    port = config.PORTS[name]
    return Service(
        name,
        (config.PYTHON, WSGI, CONTROL_ADDRESS, str(port), str(threads), module),
        needs,
        port=port,
        environment=PYTHON_ENVIRONMENT | more,
        family=_family(name),
    )


def _daemon(name: str, conf: str, needs: tuple[str, ...], queue: str | None = None) -> Service:
    command = (f"{config.STACK}/bin/{name}", "--config-file", conf)
    return Service(
        name, command, needs, queue=queue, environment=PYTHON_ENVIRONMENT, family=_family(name)
    )


def _family(name: str) -> str | None:
    first = name.partition("-")[0]
    return first if first in FAMILIES else None


COMPUTE = Service(
    "nova-compute",
    (
        f"{config.STACK}/bin/nova-compute", "--config-file", config.NOVA_CONF,
        "--config-dir", config.NOVA_CONF_DIR,
    ),
    environment=PYTHON_ENVIRONMENT,
)  # fmt: skip
NEUTRON_CONF = "/etc/neutron/neutron.conf"
NORTHD = (
    "ovn-northd", "--ovnnb-db=unix:/run/ovn/ovnnb_db.sock",
    "--ovnsb-db=unix:/run/ovn/ovnsb_db.sock", "--unixctl=/run/ovn/northd.ctl",
)  # fmt: skip
# In the order in which they start when they may; what takes longest goes first.
SERVICES = (
    Service("mariadb", tuple(MARIADB), socket=config.DATABASE_SOCKET),
    Service(
        "rabbitmq", ("/usr/lib/rabbitmq/bin/rabbitmq-server",), port=5672,
        environment=RABBITMQ_ENVIRONMENT,
    ),
    _database_server("nb"),
    _database_server("sb"),
    Service("ovn-northd", NORTHD, ("ovn-nb", "ovn-sb")),
    _api("keystone", "keystone.wsgi.api", 4, ("mariadb",)),
    _api(
        "neutron", "neutron.wsgi.api", 6, ("mariadb", "rabbitmq", "ovn-nb", "ovn-sb", "keystone"),
        OS_NEUTRON_CONFIG_FILES=NEUTRON_CONF, ASGI_WORKERS="1",
    ),
    _api(
        "nova-api", "nova.wsgi.osapi_compute", 6, ("mariadb", "rabbitmq", "keystone"),
        OS_NOVA_CONFIG_FILES=f"{config.SHIPPED}/nova/api-paste.ini;nova.conf",
    ),
    _api("placement", "placement.wsgi.api", 4, ("mariadb",)),
    _api("glance", "glance.wsgi.api", 4, ("mariadb",)),
    _daemon("nova-conductor", config.NOVA_CONF, ("mariadb", "rabbitmq", "keystone"), "conductor"),
    _daemon(
        "nova-scheduler", config.NOVA_CONF, ("mariadb", "rabbitmq", "keystone", "placement"),
        "scheduler",
    ),
    _daemon("neutron-ovn-maintenance-worker", NEUTRON_CONF, ("neutron",)),
)  # fmt: skip
