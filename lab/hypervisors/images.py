# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What machines and guests boot from, built once and kept in the cache, named by its content."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.backend import LabError
from lab.hypervisors.settings import PROJECT
from lab.paths import cache_dir

HERE = Path(__file__).resolve().parent
LAYER_SCRIPT = HERE / "layer.sh"
USERLAND_SCRIPT = HERE / "userland.sh"
GUEST_DIR = HERE / "guest"
PRETENCE_DIR = HERE / "pretence"

SUITE = "bookworm"
BACKPORTS = f"{SUITE}-backports"
# Not in the main suite's version: its QEMU loses pages that a busy guest writes while it is
# migrated under emulation, and its libvirt cannot be told which directories are shared.
USERLAND_PACKAGES = (
    # hypervisors
    "libvirt-clients libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-system "
    "python3-libvirt qemu-system-x86 qemu-utils xorriso "
    # network
    "ethtool fping iperf3 iproute2 iputils-ping nftables openvswitch-switch ovn-central ovn-host "
    # what a host is configured through
    "dbus firewalld gnutls-bin netplan.io network-manager python3-apt python3-cryptography "
    "systemd systemd-sysv ufw "
    # control plane
    "mariadb-server memcached rabbitmq-server "
    # everything else
    "busybox-static ca-certificates curl kmod numactl openssh-server procps python3 python3-venv "
    "sudo"
).split()
EXCLUDED_FILES = ("doc", "info", "lintian", "locale", "man")
# The machine's own settings for reaching package indexes, which builds need too.
NETWORK_VARIABLES = re.compile(
    r"PIP_\w+|(https?|ftp|all|no)_proxy|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE", re.I
)
APT_SETTINGS = re.compile(r"Acquire::(https?|Check|Retries)[^ ]* \"[^\"]")
MIRROR_VARIABLE = "LAB_DEBIAN_MIRROR"


@dataclass(frozen=True, slots=True)
class GuestImage:
    """What a lab guest boots from: two files."""

    kernel: Path
    initrd: Path


def userland(tell: Callable[[str], None] = lambda line: None) -> Path:
    """Return the root of every machine: a Debian with all that any of them runs."""
    recipe = [SUITE, *sorted(USERLAND_PACKAGES), *EXCLUDED_FILES, USERLAND_SCRIPT.read_text()]
    return _cached("userland", recipe, _build_userland, tell) / "files"


def layer(
    name: str,
    script: str,
    below: Sequence[Path],
    inputs: Iterable[Path] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Path:
    """Return a layer: what a bash script writes in a root made of the layers below it.

    ``below``: the top one first, as this module returned them. ``inputs``: files of the machine
    that the script reads, at the same path; a change of any of them makes a new layer, as does a
    change of the script or of what is below. The script has the machine's network, certificates
    and settings for pip. Raises LabError when it fails.
    """
    files = [path.resolve() for path in inputs]
    recipe = [script, *(path.parent.name for path in below), LAYER_SCRIPT.read_text()]
    recipe += [path.read_text() for path in files]

    def build(target: Path, log: Path) -> None:
        _run_in(target, below, script, files, log)

    return _cached(name, recipe, build, tell) / "files"


def guest(tell: Callable[[str], None] = lambda line: None) -> GuestImage:
    """Return the kernel and the initial ramdisk that every guest of the lab boots."""
    directory = _product("guest", GUEST_DIR, tell)
    return GuestImage(directory / "vmlinuz", directory / "initrd.gz")


def pretence(tell: Callable[[str], None] = lambda line: None) -> Path:
    """Return the directory of the library that goes with a host's pretended hardware."""
    return _product("pretence", PRETENCE_DIR, tell)


def _product(name: str, sources: Path, tell: Callable[[str], None]) -> Path:
    """Return the directory of what ``build.sh`` of a directory of sources makes."""
    base, files = userland(tell), sorted(sources.iterdir())
    script = (sources / "build.sh").read_text()

    def build(target: Path, log: Path) -> None:
        workshop = target / "workshop"
        _run_in(workshop, [base], script, files, log, {"SOURCES": str(sources)})
        for path in (workshop / "files" / "output").iterdir():
            shutil.move(path, target / path.name)
        shutil.rmtree(workshop)

    recipe = [base.parent.name, *(path.read_text() for path in files)]
    return _cached(name, recipe, build, tell)


# The cache


def _cached(
    name: str,
    recipe: Iterable[str],
    build: Callable[[Path, Path], None],
    tell: Callable[[str], None],
) -> Path:
    """Return the cached directory of a recipe; parallel callers wait for one builder."""
    key = hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:16]
    images = cache_dir() / "images"
    target = images / f"{name}-{key}"
    complete = target / ".complete"
    if complete.exists():
        return target
    images.mkdir(parents=True, exist_ok=True)
    with (images / f"{name}-{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            log = images / f"{name}-{key}.log"
            tell(f"building the image '{name}' (once; log: {log})")
            build(target, log)
            complete.touch()
    return target


def _command(command: Sequence[str], log: Path, script: str = "", **options: object) -> None:
    with log.open("w") as output:
        done = subprocess.run(
            command,
            input=script,
            text=True,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            **options,
        )
    if done.returncode:
        tail = " / ".join(log.read_text(errors="replace").splitlines()[-5:])
        raise LabError(f"cannot build an image of the lab: {tail}; the whole log is {log}")


def _run_in(
    directory: Path,
    below: Sequence[Path],
    script: str,
    paths: Iterable[Path],
    log: Path,
    extra: dict[str, str] | None = None,
) -> None:
    """Run a script in a root made of layers; its writes end up in DIRECTORY/files."""
    directory.mkdir(parents=True, exist_ok=True)
    environment = network_environment()
    visible = [str(path) for path in paths] + _local_paths(environment.values())
    command = ["unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--"]
    command += ["/bin/bash", str(LAYER_SCRIPT), str(directory), ":".join(map(str, below)), *visible]
    environment |= {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    _command(command, log, script, env=environment | (extra or {}))
    # The kernel leaves a directory there that nobody may enter.
    shutil.rmtree(directory / "work", ignore_errors=True)
    (directory / "root").rmdir()


# The machine's settings


def network_environment() -> dict[str, str]:
    """Return the variables by which pip and its like reach their indexes on this machine."""
    found = {key: value for key, value in os.environ.items() if NETWORK_VARIABLES.fullmatch(key)}
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    for line in listing.stdout.splitlines():
        option, _equals, value = line.partition("=")
        section, _dot, key = option.rpartition(".")
        if section in ("global", "install"):
            name = "PIP_" + key.upper().replace("-", "_")
            found.setdefault(name, " ".join(shlex.split(value)))
    return found


def _local_paths(values: Iterable[str]) -> list[str]:
    """Return the directories of the machine that settings for pip speak of."""
    words = {word for value in values for word in value.split()}
    paths = {word for word in words if word.startswith("/")}
    for word in words - paths:
        if word.startswith("file://"):
            # The pages of an index link to files beside it.
            paths.add(word.removeprefix("file://").rstrip("/").removesuffix("/simple"))
    return sorted(path for path in paths if Path(path).is_dir())


def _build_userland(target: Path, log: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        subprocess.run([PROJECT / ".ci" / "apt", "mmdebstrap"], check=False)
    if shutil.which("mmdebstrap") is None:
        raise LabError("mmdebstrap: not installed; install the package of that name")
    command = ["unshare", "--mount", "--", "mmdebstrap", "--variant=apt", "--mode=root"]
    command += ["--format=directory", f"--include={','.join(USERLAND_PACKAGES)}"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in EXCLUDED_FILES]
    command += [f"--aptopt={line}" for line in _apt_settings()]
    command.append(f'--customize-hook=/bin/bash {shlex.quote(str(USERLAND_SCRIPT))} "$1"')
    _command([*command, SUITE, str(target / "files"), *_sources()], log)


def _apt_settings() -> list[str]:
    """Return how apt of this machine downloads: proxies, certificates, checks."""
    dump = _output("apt-config", "dump", "Acquire").splitlines()
    kept = [line for line in dump if APT_SETTINGS.match(line)]
    return [*kept, 'APT::Install-Recommends "false";', f'APT::Default-Release "{BACKPORTS}";']


def _sources() -> list[str]:
    """Return the sources of packages, at the mirrors that this machine's apt uses."""
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    lines = _output("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    known = {tuple(line.split()) for line in lines.splitlines() if line.count(" ") == 2}
    main = os.environ.get(MIRROR_VARIABLE) or next(
        (uri for uri, release, part in sorted(known) if (release, part) == (SUITE, "main")), None
    )
    if main is None:
        raise LabError(
            f"apt of this machine knows no mirror of Debian {SUITE}; "
            f"set {MIRROR_VARIABLE} to the URL of one"
        )
    wanted = {(main, SUITE), (main, BACKPORTS)}
    wanted |= {
        (uri, release)
        for uri, release, part in known
        if part == "main" and release in (f"{SUITE}-updates", f"{SUITE}-security")
    }
    return [f"deb {uri} {release} main" for uri, release in sorted(wanted)]


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise LabError(
            f"{command[0]}: {error}; the lab's images are built with apt and mmdebstrap"
        ) from error
