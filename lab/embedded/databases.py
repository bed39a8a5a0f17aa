# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services' databases: a template built once per version of the lab, copied at each start."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from lab.backend import LabError
from lab.embedded import config
from lab.embedded.settings import ENDPOINTS, PROJECT, UNSERVED, Settings, placeholder_url
from lab.paths import cache_dir

CELL1 = "c1111111-1111-1111-1111-111111111111"
HERE = Path(__file__).resolve().parent
BUILT_FROM = (
    HERE.parent / "constraints.txt",
    HERE.parent / "identity.py",
    HERE.parent / "ini.py",
    HERE / "databases.py",
    HERE / "identity_seed.py",
    HERE / "config.py",
    HERE / "settings.py",
)
NOVA_CELLS = {"cell0": "nova_cell0", "cell1": "nova_cell1"}


def template_dir() -> Path:
    """Return where this version's template is, or will be."""
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for path in BUILT_FROM:
        digest.update(path.read_bytes())
    return cache_dir() / f"lab-databases-{digest.hexdigest()[:16]}"


def install(settings: Settings, tell: Callable[[str], None]) -> None:
    """Put fresh databases and keys in a state directory, building the template if missing."""
    template = template_dir()
    if not template.is_dir():
        template.parent.mkdir(parents=True, exist_ok=True)
        with (template.parent / "lab-databases.lock").open("a") as lock:
            # Two labs that start at once build it once; the lock dies with its holder.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not template.is_dir():
                tell("building the databases' template (once per version of the lab)")
                _build(template)
    for source in template.iterdir():
        shutil.copyfile(source, settings.database_dir / source.name)
    write_keys(settings)
    _point_catalogue(settings)
    _point_cells(settings)


def write_keys(settings: Settings) -> None:
    """Write Keystone's Fernet keys: for tokens and, never used here, for credentials."""
    for repository in ("fernet-keys", "credential-keys"):
        for name in ("0", "1"):
            path = settings.state / "keystone" / repository / name
            handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
            with open(handle, "wb") as file:
                file.write(base64.urlsafe_b64encode(os.urandom(32)))
            path.parent.chmod(0o700)


def _point_catalogue(settings: Settings) -> None:
    with sqlite3.connect(settings.database_dir / "keystone.sqlite") as connection:
        for name in ENDPOINTS | UNSERVED:
            connection.execute(
                "UPDATE endpoint SET url = replace(url, ?, ?)",
                (placeholder_url(name), settings.url(name)),
            )
    connection.close()


def _point_cells(settings: Settings) -> None:
    with sqlite3.connect(settings.database_dir / "nova_api.sqlite") as connection:
        for cell, database in NOVA_CELLS.items():
            connection.execute(
                "UPDATE cell_mappings SET database_connection = ? WHERE name = ?",
                (settings.database_url(database), cell),
            )
    connection.close()


def _build(template: Path) -> None:
    """Create every database in a scratch directory and rename the result into place."""
    for stale in template.parent.glob("lab-databases-build-*"):
        # Whoever left it is dead: only the holder of the lock builds.
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=template.parent, prefix="lab-databases-build-") as name:
        scratch = Settings(Path(name))
        config.write(scratch)
        write_keys(scratch)
        _run_builders(scratch)
        for path in scratch.database_dir.glob("*.sqlite"):
            _checkpoint(path)
        for path in scratch.database_dir.glob("*.sqlite-*"):
            path.unlink()
        scratch.database_dir.rename(template)


def _run_builders(scratch: Settings) -> None:
    environment = dict(os.environ, PYTHONPATH=str(PROJECT), PYTHONWARNINGS="ignore")
    running = {}
    for service in BUILDERS:
        command = [sys.executable, "-m", "lab.embedded.databases", service, str(scratch.state)]
        running[service] = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=scratch.state,
        )
    failures = []
    for service, process in running.items():
        output, _ = process.communicate()
        if process.returncode:
            failures.append(f"{service}: {_last_lines(output)}")
    if failures:
        raise LabError("cannot create the databases of " + "; ".join(failures))


def _last_lines(text: str, count: int = 15) -> str:
    return "\n".join(text.splitlines()[-count:])


def _checkpoint(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _build_keystone(settings: Settings) -> None:
    import keystone.server
    from keystone.common.sql import upgrades

    from lab.embedded import identity_seed

    keystone.server.configure(config_files=[str(settings.etc / "keystone.conf")])
    upgrades.offline_sync_database_to_version()
    identity_seed.seed()


def _build_placement(settings: Settings) -> None:
    os.environ["OS_PLACEMENT_CONFIG_DIR"] = str(settings.etc)
    # Starting the application also stores the standard traits and resource classes.
    os.environ["OS_PLACEMENT_DATABASE__SYNC_ON_STARTUP"] = "true"
    from placement import wsgi

    wsgi.init_application()


def _build_glance(settings: Settings) -> None:
    from glance.cmd import manage

    sys.argv = ["glance-manage", "--config-file", str(settings.etc / "glance-api.conf"), "db_sync"]
    manage.main()


def _build_cinder(settings: Settings) -> None:
    from cinder.cmd import manage

    sys.argv = ["cinder-manage", "--config-file", str(settings.etc / "cinder.conf"), "db", "sync"]
    manage.main()


def _build_neutron(settings: Settings) -> None:
    # Neutron's migrations do not run on SQLite: create the tables from the models.
    import sqlalchemy
    from neutron.db.migration import cli
    from neutron.db.migration.models import head

    engine = sqlalchemy.create_engine(settings.database_url("neutron"))
    head.get_metadata().create_all(engine)
    configuration = str(settings.etc / "neutron.conf")
    sys.argv = ["neutron-db-manage", "--config-file", configuration, "stamp", "heads"]
    cli.main()


def _build_nova(settings: Settings) -> None:
    os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "1"
    from nova import monkey_patch

    monkey_patch.patch(backend="threading")
    from nova import config as nova_config
    from nova import context, objects
    from nova.db import migration

    nova_config.parse_args(["nova-manage", "--config-file", str(settings.etc / "nova.conf")])
    objects.register_all()
    migration.db_sync(database="api")
    migration.db_sync(database="main")
    empty = settings.database_dir / "nova_cell1.sqlite"
    _checkpoint(empty)
    shutil.copyfile(empty, settings.database_dir / "nova_cell0.sqlite")
    admin = context.get_admin_context()
    cells = {objects.CellMapping.CELL0_UUID: "cell0", CELL1: "cell1"}
    for identifier, name in cells.items():
        objects.CellMapping(
            admin,
            uuid=identifier,
            name=name,
            transport_url="none:///" if name == "cell0" else "fake:/",
            database_connection=settings.database_url(NOVA_CELLS[name]),
        ).create()


BUILDERS: dict[str, Callable[[Settings], None]] = {
    "neutron": _build_neutron,
    "nova": _build_nova,
    "keystone": _build_keystone,
    "cinder": _build_cinder,
    "glance": _build_glance,
    "placement": _build_placement,
}


if __name__ == "__main__":
    build, directory = BUILDERS[sys.argv[1]], Path(sys.argv[2])
    # Some services read their command line from here.
    del sys.argv[1:]
    build(Settings(directory))
