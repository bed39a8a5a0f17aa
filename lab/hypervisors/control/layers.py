# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image layers of OpenStack: its software, and a control plane whose databases are made."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.hypervisors import images
from lab.hypervisors.control import config, services
from lab.hypervisors.settings import PASSWORD, PROJECT, REGION

HERE = Path(__file__).resolve().parent
INSIDE = HERE / "inside"
END_OF_FILE = "END-OF-FILE-OF-THE-LAB"
MAKE_STACK = f"""
python3 -m venv {config.STACK}
{config.STACK}/bin/pip install --no-compile -r /tmp/requirements.txt -c /tmp/constraints.txt
# libvirt's binding comes with the system, compiled for its library.
ln -s /usr/lib/python3/dist-packages/libvirt* {config.STACK}/lib/python3*/site-packages/
{config.STACK}/bin/python -m compileall -q -j 2 {config.STACK}/lib
rm -rf /root/.cache
"""


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of each kind of machine, the top one first."""

    control: tuple[Path, ...]
    compute: tuple[Path, ...]


def build(tell: Callable[[str], None] = lambda line: None) -> Layers:
    """Return the layers, building those that the cache does not hold. Raises LabError."""
    userland = images.userland(tell)
    stack = images.layer("openstack", stack_script(), [userland], tell=tell)
    control = images.layer("control", control_script(), [stack, userland], tell=tell)
    return Layers((control, stack, userland), (stack, userland))


def stack_script() -> str:
    """Return what installs OpenStack; the files are part of it, so that they are of its key."""
    sources = {
        "/tmp/requirements.txt": HERE / "requirements.txt",
        "/tmp/constraints.txt": PROJECT / "lab" / "constraints.txt",
    }
    return _writing({path: source.read_text() for path, source in sources.items()}) + MAKE_STACK


def control_script() -> str:
    """Return what makes the control machine's files and databases."""
    files = config.files()
    sources = [*INSIDE.glob("*.py"), PROJECT / "lab" / "identity.py"]
    files |= {f"{config.PROGRAMS}/{source.name}": source.read_text() for source in sorted(sources)}
    settings = {
        "mariadb": services.MARIADB,
        "databases": config.DATABASES,
        "catalogue": config.CATALOGUE,
        "password": PASSWORD,
        "region": REGION,
    }
    command = [config.PYTHON, f"{config.PROGRAMS}/make_databases.py", json.dumps(settings)]
    return _writing(files) + shlex.join(command) + "\n"


def _writing(files: Mapping[str, str]) -> str:
    """Return shell commands that write files."""
    commands = []
    for path, text in files.items():
        body = text if text.endswith("\n") else text + "\n"
        commands.append(f"mkdir -p {shlex.quote(str(Path(path).parent))}\n")
        commands.append(f"cat >{shlex.quote(path)} <<'{END_OF_FILE}'\n{body}{END_OF_FILE}\n")
    return "".join(commands)
