# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Nova's configuration on a host: which files are read, the drop-in's file, and Nova's own word.

This module util is **PRIVATE** to the collection: it may change without notice.
Needs neither oslo.config nor Nova, but to hear what they say of the drop-in.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadConfiguration,
    BadOption,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import files

#: Where oslo.config looks for a project's files when it is not told, but for the user's home.
HOMES = ("/etc/nova", "/etc")
PROGRAMS = ("nova", "nova-compute")
#: The end of the name under which what was there before lies beside the drop-in. It must not be
#: `.conf`, which would be read.
BEFORE = ".lowtide-before"
#: Seconds that a program of Nova's environment may take.
PATIENCE = 60.0
#: What nova-compute's options come from, as in etc/nova/nova-config-generator.conf.
NAMESPACES = (
    "nova.conf oslo.log oslo.messaging oslo.policy oslo.privsep oslo.db oslo.db.concurrency"
    " oslo.cache oslo.concurrency oslo.middleware oslo.reports oslo.service.periodic_task"
    " oslo.service.service keystonemiddleware.auth_token castellan.config os_vif osprofiler"
).split()


@dataclass(frozen=True, slots=True)
class Order:
    """What a service reads, in its order. ``reads``: whether a drop-in's path is among it; None
    when it is not told what the service reads."""

    paths: tuple[str, ...]
    reads: bool | None


def reading_order(
    named: Sequence[str] | None, directories: Sequence[str] | None, drop_in: str
) -> Order:
    """The files that nova-compute reads, as oslo.config orders them; the drop-in as if it existed.

    ``named``, ``directories``: its --config-file and --config-dir; None where it has none of them,
    and oslo.config's defaults are read. Those come first, so that an explicit file wins over a
    default directory. Raises BadOption for one that is not there.
    """
    paths: list[str] = []
    if named is None:
        paths += [path for name in PROGRAMS if (path := _first(f"{name}.conf", drop_in))]
    if directories is None:
        found = [path for name in PROGRAMS if (path := _first(f"{name}.conf.d", drop_in))]
        paths += [path for directory in found for path in _within(directory, drop_in)]
    for path in named or ():
        if not os.path.isfile(path) and path != drop_in:
            remedy = "Give the files with which nova-compute is started (--config-file)"
            raise BadOption("config_files", path, "is not a file", remedy)
        paths.append(os.path.normpath(path))
    for directory in directories or ():
        paths += _within(os.path.normpath(directory), drop_in)
    # A file that is read twice counts where it is read last.
    unique = tuple(path for at, path in enumerate(paths) if path not in paths[at + 1 :])
    told = named is None or directories is None or bool([*named, *directories])
    return Order(unique, drop_in in unique if told else None)


def _first(name: str, drop_in: str) -> str | None:
    places = (os.path.join(home, name) for home in HOMES)
    wanted = (drop_in, os.path.dirname(drop_in))
    return next((path for path in places if os.path.exists(path) or path in wanted), None)


def _within(directory: str, drop_in: str) -> list[str]:
    paths = set(glob.glob(os.path.join(glob.escape(directory), "*.conf")))
    name = os.path.basename(drop_in)
    if os.path.dirname(drop_in) == directory and name.endswith(".conf") and name[0] != ".":
        paths.add(drop_in)
    return sorted(paths)


def read(path: str) -> str | None:
    """A file's text; None when there is none. Raises BadConfiguration when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        remedy = "Run as root, and see that it is a file"
        raise BadConfiguration(f"{path}: {error.strerror}", remedy) from error


# --- the drop-in -------------------------------------------------------------------------------


class DropIn:
    """The file at ``path``. All methods raise BadOption when it cannot be used."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.before = path + BEFORE
        self.directory = os.path.dirname(path)

    def text(self) -> str | None:
        """What it says now; None when it is not there."""
        with self._understood():
            if os.path.islink(self.path) or (
                os.path.exists(self.path) and not os.path.isfile(self.path)
            ):
                raise self._unusable("is not a plain file")
        return read(self.path)

    def text_before(self) -> str | None:
        """What was there before us; None for nothing."""
        return read(self.before)

    def directory_missing(self) -> bool:
        """Whether its directory must be made. Raises BadOption when that one's is missing, too."""
        if os.path.isdir(self.directory):
            return False
        if not os.path.isdir(os.path.dirname(self.directory)):
            raise self._unusable("lies below a directory that does not exist")
        return True

    def keep(self) -> str:
        """Keep what is there now, for `restore`; the path under which it lies."""
        with self._understood():
            if not os.path.exists(self.before):
                # The same file under another name: nothing of it can be lost.
                os.link(self.path, self.before)
            elif not os.path.samefile(self.path, self.before):
                raise self._unusable(f"was not written by this module, and {self.before} is there")
        return self.before

    def write(self, text: str, like: Sequence[str]) -> None:
        """Replace it in one step. A new one gets owner, group and mode of the first of ``like``
        that is there, else those of its directory and 0640."""
        with self._understood():
            if self.directory_missing():
                parent = os.stat(os.path.dirname(self.directory))
                os.mkdir(self.directory, stat.S_IMODE(parent.st_mode))
                os.chmod(self.directory, stat.S_IMODE(parent.st_mode))
                os.chown(self.directory, parent.st_uid, parent.st_gid)
            pattern = next((name for name in (self.path, *like) if os.path.isfile(name)), None)
            there = os.stat(pattern or self.directory)
            mode = stat.S_IMODE(there.st_mode) if pattern else 0o640
        files.write(self.path, files.File(text, mode, there.st_uid, there.st_gid))

    def restore(self, directory_made: bool) -> None:
        """Put back what `keep` kept, else remove the file; and the directory, if we made it."""
        with self._understood():
            if os.path.exists(self.before):
                os.replace(self.before, self.path)
                return
            os.unlink(self.path)
            if directory_made and not os.listdir(self.directory):
                os.rmdir(self.directory)

    @contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unusable(f"cannot be used ({error.strerror})") from error

    def _unusable(self, why: str) -> BadOption:
        remedy = "Give the path of a file that this module may write, and run as root"
        return BadOption("path", self.path, why, remedy)


# --- Nova's own word ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Installed:
    """The nova package of a host. ``python``: the interpreter that runs nova-compute."""

    python: str
    version: str


def installed(program: str) -> Installed | None:
    """What the program nova-compute runs on; None when it is not on this host.

    ``program``: a name on PATH, or a path.
    """
    path = shutil.which(program)
    python = _interpreter(path) if path else None
    if python is None:
        return None
    code = "import importlib.metadata as m; print(m.version('nova'))"
    ran = _run([python, "-I", "-c", code])
    return Installed(python, ran.stdout.strip()) if ran and ran.returncode == 0 else None


def _interpreter(path: str) -> str | None:
    """The Python of a script's first lines, in the forms that pip and packages write."""
    with open(path, "rb") as file:
        head = file.read(1024).decode(errors="replace").splitlines()
    words = head[0][2:].split() if head and head[0].startswith("#!") else []
    if words == ["/bin/sh"] and len(head) > 1:
        # pip's way around a path that is too long for the kernel.
        found = re.match(r"'''exec' \"?([^\"]+?)\"? \"\$0\"", head[1])
        words = [found.group(1)] if found else []
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if word != "-S"]
        return shutil.which(words[0]) if words else None
    return words[0] if words and "python" in os.path.basename(words[0]) else None


#: Runs in Nova's environment, on whatever Python that has: names by oslo-config-validator, values
#: by Nova's definitions. Prints [[severity, option, text], ...].
ASK = r"""
import importlib.metadata as metadata, json, logging, re, sys
from oslo_config import cfg, validator
path, names, found = sys.argv[1], sys.argv[2:], []
points = metadata.entry_points()
select = getattr(points, "select", None)
points = select(group="oslo.config.opts") if select else points["oslo.config.opts"]
points = {point.name: point for point in points if point.name in names}

class Keep(logging.Handler):
    def emit(self, record):
        text = record.getMessage()
        which = re.search(r"(\S+)/(\S+)", text)
        option = "%s.%s" % which.groups() if which else ""
        found.append([record.levelname.lower(), option, text])

log = logging.getLogger("oslo_config.validator")
log.addHandler(Keep(level=logging.WARNING))
log.propagate = False
sys.argv = ["oslo-config-validator", "--input-file", path]
for name in sorted(points):
    sys.argv += ["--namespace", name]
validator.main()

# Read first: what else a service must have is not the matter of one of its files.
conf = cfg.ConfigOpts()
conf(["--config-file", path], project="nova", default_config_dirs=[])
for name in sorted(points):
    for group, options in points[name].load()():
        for option in options:
            try:
                conf.register_opt(option, group=group)
            except cfg.DuplicateOptError:
                pass
sections = {}
cfg.ConfigParser(path, sections).parse()
for group in sections:
    for option in sections[group]:
        try:
            getattr(conf if group == "DEFAULT" else getattr(conf, group), option)
        except cfg.NoSuchOptError:
            pass
        except (cfg.Error, ValueError) as error:
            text = re.sub(r" from LocationInfo\(.*?'\)", "", str(error))
            found.append(["error", "%s.%s" % (group, option), text])
print(json.dumps(found))
"""


def problems(python: str, path: str) -> list[dict[str, str]] | None:
    """What oslo.config and Nova's definitions find wrong with the drop-in: severity, option, text.

    None when that environment has no oslo.config with a validator.
    """
    ran = _run([python, "-I", "-c", ASK, path, *NAMESPACES])
    if ran is None or ran.returncode:
        tail = ran.stderr.strip().splitlines()[-1:] if ran else []
        if any("No module named 'oslo_config" in line or "cannot import" in line for line in tail):
            return None
        said = tail[0] if tail else f"no answer within {PATIENCE:g} s"
        remedy = f"Run oslo-config-validator by hand, in the environment of {python}"
        raise BadConfiguration(f"{path}: oslo.config's validator failed: {said}", remedy)
    rows = json.loads(ran.stdout.strip().splitlines()[-1])
    return [dict(zip(("severity", "option", "text"), row, strict=True)) for row in rows]


QEMUS = ("qemu-system-x86_64", "qemu-system-aarch64", "qemu-kvm", "/usr/libexec/qemu-kvm")


def qemu_version() -> str:
    """The version of the QEMU on this host; empty when there is none."""
    for name in QEMUS:
        path = shutil.which(name)
        ran = _run([path, "--version"]) if path else None
        found = re.search(r"version (\d+\.\d+\.\d+)", ran.stdout) if ran else None
        if found:
            return found.group(1)
    return ""


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    """What a program printed; None when it cannot be run, or takes too long."""
    environment: dict[str, Any] = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
