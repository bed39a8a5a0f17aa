# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps what a host's network was, and restores it: to the byte, and without anybody's help.

It runs on the host: by the role before it writes, by a timer when the role did not come back, and
by the role again to revert. It prints one JSON object.

    save DIR           keeps in DIR what standard input says, unless DIR has it already
    anew DIR           the same, and forgets what DIR had
    again DIR FROM     keeps in DIR, anew, how that which FROM keeps is now
    left DIR           notes how the role left the files that others write too
    compare DIR        says what restore would change
    restore DIR        makes everything what it was
    arm DIR SECONDS    restores after that time, unless
    disarm DIR         comes before; says whether it did
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MANIFEST, DONE = "manifest.json", "restored.json"
UNIT = "lowtide-network-rollback"
#: Seconds for the network manager to be through with what it was told.
SETTLE = 10


def run(*command: str) -> str:
    """Standard output of a program; nothing if it is missing or fails."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


# --- files ---------------------------------------------------------------------------------------


def kept(path: Path) -> dict[str, Any] | None:
    """A file's content and marks; None if it is not there."""
    if path.is_symlink():
        return {"link": os.readlink(path)}
    if not path.exists():
        return None
    status = path.stat()
    return {
        "content": base64.b64encode(path.read_bytes()).decode(),
        "mode": status.st_mode & 0o7777,
        "uid": status.st_uid,
        "gid": status.st_gid,
        "times": [status.st_atime_ns, status.st_mtime_ns],
    }


def digest(path: Path) -> str:
    """What a file says, in short; empty if it is not there."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def absent_parents(path: Path) -> list[str]:
    """The directories above a path that do not exist yet."""
    return [str(parent) for parent in path.parents if not parent.exists()]


def differs(path: Path, was: dict[str, Any] | None) -> bool:
    """Whether a file is not what it was, its times aside."""
    now = kept(path)
    return {**(now or {}), "times": 0} != {**(was or {}), "times": 0}


def put_back(path: Path, was: dict[str, Any] | None) -> None:
    """Make a file what it was."""
    if was is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if "link" in was:
        path.unlink(missing_ok=True)
        path.symlink_to(was["link"])
        return
    content = base64.b64decode(was["content"])
    beside = path.with_name(f".{path.name}.lowtide")
    try:
        beside.touch(mode=0o600)
        beside.write_bytes(content)
        os.chown(beside, was["uid"], was["gid"])
        beside.chmod(was["mode"])
        os.utime(beside, ns=(was["times"][0], was["times"][1]))
        beside.replace(path)
    except OSError:
        # A file that is mounted there by itself (a container's /etc/hosts) cannot be replaced.
        beside.unlink(missing_ok=True)
        path.write_bytes(content)
    run("restorecon", str(path))


# --- interfaces ----------------------------------------------------------------------------------


def link(name: str) -> dict[str, Any] | None:
    """How an interface is set; None if it does not exist."""
    rows = json.loads(run("ip", "-json", "address", "show", "dev", name) or "[]")
    row = next((row for row in rows if row.get("ifname") == name), None)
    if row is None:
        return None
    routes = [
        [family, *route_words(route)]
        for family in ("-4", "-6")
        for route in json.loads(run("ip", family, "-json", "route", "show", "dev", name) or "[]")
        if route.get("protocol") != "kernel"
    ]
    profile = run("nmcli", "--get-values", "GENERAL.CON-UUID", "device", "show", name).strip()
    return {
        "up": "UP" in row["flags"],
        "mtu": row["mtu"],
        "master": row.get("master", ""),
        "addresses": addresses(row),
        "routes": routes,
        "profile": profile,
    }


def addresses(row: dict[str, Any]) -> list[str]:
    """Addresses with prefix, but for those that the kernel makes for itself."""
    return [
        f"{each['local']}/{each['prefixlen']}"
        for each in row.get("addr_info", ())
        if each.get("scope") != "link"
    ]


def route_words(route: dict[str, Any]) -> list[str]:
    """What `ip route` takes for a route, but for its device."""
    words = [route["dst"]]
    for key, word in (("gateway", "via"), ("metric", "metric"), ("protocol", "proto")):
        words += [word, str(route[key])] if key in route else []
    return words


def settle(names: list[str]) -> None:
    """Wait until nothing about these interfaces has changed for a second."""
    end, last, since = time.monotonic() + SETTLE, None, time.monotonic()
    while time.monotonic() < end and time.monotonic() - since < 1:
        now = [link(name) for name in names]
        last, since = now, since if now == last else time.monotonic()
        time.sleep(0.2)


def manager_back(manifest: dict[str, Any]) -> None:
    """Tell the manager of the files that are back, and take away what did not exist."""
    manager, links = manifest["manager"], manifest["links"]
    was = {name: row for name, row in links.items() if row}
    if manager == "netplan" and not run("nmcli", "--get-values", "RUNNING", "general").strip():
        run("netplan", "generate")
        manager = "networkd"
    if manager == "networkd":
        run("networkctl", "reload")
    elif manager == "networkmanager":
        run("nmcli", "connection", "reload")
    for name in (name for name, row in links.items() if row is None):
        run("ip", "link", "delete", "dev", name)
    if manager == "netplan":
        run("netplan", "apply")
    elif manager == "networkd" and was:
        run("networkctl", "reconfigure", *was)
    elif manager == "networkmanager":
        for name, row in was.items():
            if row["profile"]:
                run("nmcli", "--wait", "10", "connection", "up", row["profile"])
            else:
                run("nmcli", "device", "disconnect", name)
    settle(list(was))


def link_back(name: str, was: dict[str, Any]) -> None:
    """Set an interface to what it was where the manager has left it otherwise."""
    now = link(name)
    if now is None:
        return
    if now["master"] != was["master"]:
        run("ip", "link", "set", "dev", name, *master(was["master"]))
    if now["mtu"] != was["mtu"]:
        run("ip", "link", "set", "dev", name, "mtu", str(was["mtu"]))
    for address in set(now["addresses"]) - set(was["addresses"]):
        run("ip", "address", "delete", address, "dev", name)
    if was["up"]:
        run("ip", "link", "set", "dev", name, "up")
        for address in was["addresses"]:
            if address not in now["addresses"]:
                run("ip", "address", "add", address, "dev", name)
        for family, *route in was["routes"]:
            run("ip", family, "route", "replace", *route, "dev", name)
    elif now["up"]:
        run("ip", "link", "set", "dev", name, "down")


def master(name: str) -> list[str]:
    """What `ip link set` takes to make an interface somebody's port, or nobody's."""
    return ["master", name] if name else ["nomaster"]


# --- commands ------------------------------------------------------------------------------------


def save(directory: Path, wish: dict[str, Any]) -> dict[str, Any]:
    """Keep what is not kept yet: what an earlier run changed must not pass for the original."""
    path = directory / MANIFEST
    new = {"files": {}, "shared": {}, "links": {}, "sysctls": {}, "hardware": {}, "directories": []}
    manifest = json.loads(path.read_text()) if path.exists() else new
    before = json.dumps(manifest, sort_keys=True)
    manifest["manager"] = wish["manager"]
    for kind in ("files", "shared"):
        for name in wish.get(kind, ()):
            if name not in manifest["files"] and name not in manifest["shared"]:
                manifest["directories"] += absent_parents(Path(name))
                manifest[kind][name] = kept(Path(name))
    for name in wish["touched"]:
        manifest["links"].setdefault(name, link(name))
    manifest["firewall"] = wish.get("firewall") or manifest.get("firewall") or {}
    for kind in ("sysctls", "hardware"):
        manifest[kind] = {**wish.get(kind, {}), **manifest[kind]}
    manifest["directories"] = sorted(set(manifest["directories"]), key=len, reverse=True)
    text = json.dumps(manifest, sort_keys=True, indent=1)
    if json.dumps(manifest, sort_keys=True) == before:
        return {"changed": False}
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_suffix(".new")
    beside.touch(mode=0o600)
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    return {"changed": True}


def again(directory: Path, source: Path) -> dict[str, Any]:
    """Keep how the network is now of which another directory has the original."""
    (directory / MANIFEST).unlink(missing_ok=True)
    manifest = json.loads((source / MANIFEST).read_text())
    names = [*manifest["files"], *manifest["shared"]]
    wish = {"manager": manifest["manager"], "files": names, "touched": list(manifest["links"])}
    return save(directory, wish)


def left(directory: Path) -> dict[str, Any]:
    """Note how the role leaves the files that others write too."""
    path = directory / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["left"] = {name: digest(Path(name)) for name in manifest["shared"]}
    path.write_text(json.dumps(manifest, sort_keys=True, indent=1))
    return {"changed": False}


def to_restore(manifest: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any] | None, bool]]:
    """Files that are not what they were: path, what it was, and whether others changed it since."""
    for name, was in manifest["files"].items():
        if differs(Path(name), was):
            yield name, was, False
    for name, was in manifest["shared"].items():
        if differs(Path(name), was):
            since = manifest.get("left", {}).get(name)
            yield name, was, since is not None and digest(Path(name)) != since


def compare(directory: Path) -> dict[str, Any]:
    """What restoring would change, and which files others have changed since."""
    path = directory / MANIFEST
    if not path.exists():
        return {"changed": False, "restored": [], "others": [], "links": [], "firewall": {}}
    manifest = json.loads(path.read_text())
    rows = list(to_restore(manifest))
    links = [
        f"{name}: {link(name)} -> {was}"
        for name, was in manifest["links"].items()
        if link(name) != was
    ]
    return {
        "changed": True,
        "restored": sorted(name for name, _was, others in rows if not others),
        "others": sorted(name for name, _was, others in rows if others),
        "links": links,
        "firewall": manifest["firewall"],
    }


def restore(directory: Path) -> dict[str, Any]:
    """Make everything what it was. What others changed since is left for the caller to undo."""
    manifest = json.loads((directory / MANIFEST).read_text())
    restored, others = [], []
    for name, was, by_others in to_restore(manifest):
        if by_others:
            others.append(name)
            continue
        put_back(Path(name), was)
        restored.append(name)
    for name in manifest["directories"]:
        if Path(name).is_dir() and not any(Path(name).iterdir()):
            Path(name).rmdir()
    manager_back(manifest)
    for name, was in manifest["links"].items():
        if was:
            link_back(name, was)
    running_back(manifest, restored)
    done = {
        "changed": True,
        "restored": sorted(restored),
        "others": sorted(others),
        "firewall": manifest["firewall"],
    }
    (directory / DONE).write_text(json.dumps(done))
    return done


def running_back(manifest: dict[str, Any], restored: list[str]) -> None:
    """Kernel settings, NICs and the firewall."""
    for key, value in manifest["sysctls"].items():
        run("sysctl", "-q", "-w", f"{key}={value}")
    for name, hardware in manifest["hardware"].items():
        for key, value in hardware["rings"].items():
            run("ethtool", "-G", name, key, str(value))
        for key, value in hardware["offloads"].items():
            run("ethtool", "-K", name, key, "on" if value else "off")
    if any(name.startswith("/etc/firewalld/") for name in restored):
        run("firewall-cmd", "--reload")
    if any(name.startswith("/etc/ufw/") for name in restored):
        run("ufw", "reload")


def arm(directory: Path, seconds: str) -> dict[str, Any]:
    """Restore after a time by a timer of systemd's, which needs nobody."""
    disarm(directory)
    (directory / DONE).unlink(missing_ok=True)
    timer = [f"--unit={UNIT}", f"--on-active={seconds}", "--timer-property=AccuracySec=1s"]
    me = [sys.executable, os.path.abspath(__file__), "restore", str(directory)]
    subprocess.run(["systemd-run", "--quiet", "--collect", *timer, *me], check=True)
    return {"changed": True}


def disarm(directory: Path) -> dict[str, Any]:
    """Stop the timer. If it has gone off, wait until all is restored."""
    run("systemctl", "stop", f"{UNIT}.timer")
    busy = ("systemctl", "show", "--property=ActiveState", "--value", f"{UNIT}.service")
    while run(*busy).strip() in ("active", "activating"):
        time.sleep(0.2)
    return {"changed": True, "restored": (directory / DONE).exists()}


COMMANDS = {
    "again": lambda directory, source: again(directory, Path(source)),
    "left": left,
    "compare": compare,
    "restore": restore,
    "arm": arm,
    "disarm": disarm,
}


def main() -> None:
    command, directory = sys.argv[1], Path(sys.argv[2])
    if command in ("save", "anew"):
        if command == "anew":
            (directory / MANIFEST).unlink(missing_ok=True)
        told = save(directory, json.load(sys.stdin))
    else:
        told = COMMANDS[command](directory, *sys.argv[3:])
    print(json.dumps(told))


if __name__ == "__main__":
    main()
