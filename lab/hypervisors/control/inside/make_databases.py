# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the control machine's databases and keys, once: ``make_databases.py SETTINGS``.

Runs in a machine of the lab, where the services and their configuration are. SETTINGS is a JSON
object: ``mariadb`` (the server's command line), ``databases``, ``catalogue`` (lists of name,
type and URL, identity first), ``password``, ``region``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
SOCKET = Path("/run/mysqld/mysqld.sock")
START_SECONDS = 60.0
KEYSTONE = ("keystone-manage", "--config-file", "/etc/keystone/keystone.conf")
NOVA = ("nova-manage", "--config-file", "/etc/nova/nova.conf")


def main() -> None:
    """Install the server's own tables, have every service make its own, and stop the server."""
    settings = json.loads(sys.argv[1])
    del sys.argv[1:]
    make_directories()
    run(
        "mariadb-install-db", "--no-defaults", "--user=mysql", "--datadir=/var/lib/mysql",
        "--skip-test-db", "--auth-root-authentication-method=normal",
    )  # fmt: skip
    server = subprocess.Popen(settings["mariadb"])
    try:
        wait_for_server(server)
        names = settings["databases"]
        sql("".join(f"CREATE DATABASE {name} CHARACTER SET utf8mb3;" for name in names))
        makers = (make_nova, make_neutron, make_glance, make_placement)
        with ThreadPoolExecutor(len(makers) + 1) as pool:
            jobs = [pool.submit(maker) for maker in makers]
            jobs.append(pool.submit(make_keystone, settings))
            for job in jobs:
                job.result()
    finally:
        server.terminate()
        server.wait()


def make_directories() -> None:
    """Make what the packages' own set-up would make, or does only at the start of a service."""
    Path("/run/mysqld").mkdir(exist_ok=True)
    run("chown", "mysql:", "/run/mysqld")
    for service in ("glance/images", "glance/staging", "glance/tasks", "neutron", "nova"):
        Path("/var/lib", service).mkdir(parents=True, exist_ok=True)


def wait_for_server(server: subprocess.Popen) -> None:
    """Wait for the database server's socket."""
    deadline = time.monotonic() + START_SECONDS
    while not SOCKET.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            sys.exit("make_databases: the database server does not start")
        time.sleep(0.05)


def make_keystone(settings: dict[str, Any]) -> None:
    """Make Keystone's tables, keys, users and catalogue."""
    run(*KEYSTONE, "db_sync")
    for keys in ("fernet_setup", "credential_setup"):
        run(*KEYSTONE, keys, "--keystone-user", "root", "--keystone-group", "root")
    # In a process of its own: Keystone's libraries do not stand being imported in a thread.
    content = {key: settings[key] for key in ("catalogue", "password", "region")}
    run(sys.executable, str(Path(__file__).with_name("make_identity.py")), json.dumps(content))


def make_nova() -> None:
    """Make Nova's tables and its two cells."""
    run(*NOVA, "api_db", "sync")
    run(*NOVA, "cell_v2", "map_cell0")
    run(*NOVA, "db", "sync")
    run(*NOVA, "cell_v2", "create_cell", "--name", "cell1")


def make_neutron() -> None:
    """Make Neutron's tables."""
    run("neutron-db-manage", "--config-file", "/etc/neutron/neutron.conf", "upgrade", "heads")


def make_glance() -> None:
    """Make Glance's tables."""
    run("glance-manage", "--config-file", "/etc/glance/glance-api.conf", "db_sync")


def make_placement() -> None:
    """Make Placement's tables."""
    run("placement-manage", "--config-file", "/etc/placement/placement.conf", "db", "sync")


def sql(statements: str) -> None:
    """Run SQL as the database's root."""
    run("mariadb", "--no-defaults", "--user=root", f"--socket={SOCKET}", "--execute", statements)


def run(program: str, *arguments: str) -> None:
    """Run a command of the environment or of the system, and end everything when it fails."""
    own = BIN / program
    command = [str(own) if own.exists() else program, *arguments]
    began = time.monotonic()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    print(f"make_databases: {time.monotonic() - began:.1f} s {' '.join(command)}", flush=True)


if __name__ == "__main__":
    main()
