# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keeper of the role management_network restores to the byte, and keeps what others wrote."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest

FILE = Path(__file__).parents[3] / "roles/management_network/files/keeper.py"


@pytest.fixture
def keeper(monkeypatch):
    """The script as a module, on a host whose programs answer from ``keeper.answers``."""
    specification = importlib.util.spec_from_file_location("keeper", FILE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    module.answers, module.told = {}, []

    def run(*command):
        module.told.append(" ".join(command))
        return module.answers.get(" ".join(command), "")

    monkeypatch.setattr(module, "run", run)
    monkeypatch.setattr(module, "settle", lambda names: None)
    return module


@pytest.fixture
def kept(keeper, tmp_path):
    """Keep files of a directory in another; returns the function that does it."""

    def save(*files, shared=(), links=(), directory="original", **rest):
        wish = {"manager": "networkd", "touched": list(links), **rest}
        wish |= {"files": list(map(str, files)), "shared": list(map(str, shared))}
        return keeper.save(tmp_path / directory, wish)

    return save


def restore(keeper, tmp_path):
    return keeper.restore(tmp_path / "original")


def test_files_come_back_to_the_byte(keeper, kept, tmp_path):
    file, gone = tmp_path / "a", tmp_path / "new/dir/b"
    file.write_bytes(b"\x00\xffold\n")
    file.chmod(0o640)
    os.utime(file, ns=(1, 2))
    kept(file, gone)
    file.write_text("new")
    file.chmod(0o600)
    gone.parent.mkdir(parents=True)
    gone.write_text("new")
    done = restore(keeper, tmp_path)
    assert done["restored"] == sorted([str(file), str(gone)])
    assert file.read_bytes() == b"\x00\xffold\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert file.stat().st_mtime_ns == 2
    assert not (tmp_path / "new").exists()


def test_a_directory_that_others_use_meanwhile_stays(keeper, kept, tmp_path):
    ours, theirs = tmp_path / "new/ours", tmp_path / "new/theirs"
    kept(ours)
    ours.parent.mkdir()
    ours.write_text("")
    theirs.write_text("")
    restore(keeper, tmp_path)
    assert [path.name for path in theirs.parent.iterdir()] == ["theirs"]


def test_a_link_comes_back_as_a_link(keeper, kept, tmp_path):
    link = tmp_path / "link"
    link.symlink_to("target")
    kept(link)
    link.unlink()
    link.write_text("a file now")
    restore(keeper, tmp_path)
    assert os.readlink(link) == "target"


def test_a_file_that_cannot_be_replaced_is_rewritten(keeper, kept, tmp_path, monkeypatch):
    file = tmp_path / "hosts"
    file.write_text("old")
    kept(shared=[file])
    file.write_text("new")
    inode = file.stat().st_ino

    def busy(self, target):
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    restore(keeper, tmp_path)
    assert (file.read_text(), file.stat().st_ino) == ("old", inode)
    assert [path.name for path in tmp_path.iterdir() if "lowtide" in path.name] == []


def test_what_is_as_it_was_is_not_written(keeper, kept, tmp_path):
    file = tmp_path / "a"
    file.write_text("old")
    kept(file)
    inode = file.stat().st_ino
    assert restore(keeper, tmp_path)["restored"] == []
    assert file.stat().st_ino == inode


def test_the_original_stays_the_original(keeper, kept, tmp_path):
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_text("old")
    assert kept(file, sysctls={"net.a": "1"})["changed"]
    file.write_text("ours")
    other.write_text("other")
    assert kept(file, other, sysctls={"net.a": "2", "net.b": "3"})["changed"]
    assert not kept(file, other, sysctls={"net.a": "2", "net.b": "3"})["changed"]
    restore(keeper, tmp_path)
    assert (file.read_text(), other.read_text()) == ("old", "other")
    assert "sysctl -q -w net.a=1" in keeper.told
    assert "sysctl -q -w net.b=3" in keeper.told


def test_what_was_there_before_the_last_change_is_kept_anew(keeper, kept, tmp_path):
    file = tmp_path / "a"
    file.write_text("old")
    kept(file)
    for text in ("first", "second"):
        file.write_text(text)
        keeper.again(tmp_path / "previous", tmp_path / "original")
    file.write_text("broken")
    keeper.restore(tmp_path / "previous")
    assert file.read_text() == "second"


@pytest.mark.parametrize("meanwhile", [False, True])
def test_what_others_changed_since_is_left_to_the_role(keeper, kept, tmp_path, meanwhile):
    hosts = tmp_path / "hosts"
    hosts.write_text("old\n")
    kept(shared=[hosts], firewall={"name": "ufw"})
    hosts.write_text("old\nours\n")
    keeper.left(tmp_path / "original")
    if meanwhile:
        hosts.write_text("old\nours\ntheirs\n")
    compared = keeper.compare(tmp_path / "original")
    assert (compared["restored"], compared["others"])[meanwhile] == [str(hosts)]
    assert compared["firewall"] == {"name": "ufw"}
    done = restore(keeper, tmp_path)
    assert done["others"] == [str(hosts)] * meanwhile
    assert hosts.read_text() == ("old\nours\ntheirs\n" if meanwhile else "old\n")


def test_comparing_changes_nothing(keeper, kept, tmp_path):
    file = tmp_path / "a"
    kept(file, links=["mig"])
    file.write_text("ours")
    row = {"ifname": "mig", "flags": ["UP"], "mtu": 9000, "addr_info": []}
    keeper.answers["ip -json address show dev mig"] = json.dumps([row])
    keeper.told.clear()
    compared = keeper.compare(tmp_path / "original")
    assert compared["restored"] == [str(file)]
    assert len(compared["links"]) == 1
    assert file.read_text() == "ours"
    assert all(" show " in command for command in keeper.told)


def test_nothing_kept_is_nothing_to_restore(keeper, tmp_path):
    assert keeper.compare(tmp_path / "original")["changed"] is False


def address(mtu, *addresses, flags=("UP",), **rest):
    rows = [{"local": text, "prefixlen": 24, "scope": "global"} for text in addresses]
    return json.dumps(
        [{"ifname": "mig", "flags": list(flags), "mtu": mtu, "addr_info": rows, **rest}]
    )


SHOW = "ip -json address show dev mig"
ROUTE = {"dst": "203.0.113.0/24", "gateway": "192.0.2.1", "protocol": "static", "metric": 5}


def test_a_running_interface_comes_back(keeper, kept, tmp_path):
    keeper.answers |= {
        SHOW: address(1500, "192.0.2.1"),
        "ip -4 -json route show dev mig": json.dumps([ROUTE, {"dst": "x", "protocol": "kernel"}]),
    }
    kept(
        links=["mig", "mig.7"], hardware={"mig": {"rings": {"rx": 256}, "offloads": {"tso": True}}}
    )
    keeper.answers[SHOW] = address(9000, "192.0.2.2", master="bond0")
    keeper.told.clear()
    restore(keeper, tmp_path)
    changes = [command for command in keeper.told if "show" not in command]
    assert changes == [
        "networkctl reload",
        "ip link delete dev mig.7",
        "networkctl reconfigure mig",
        "ip link set dev mig nomaster",
        "ip link set dev mig mtu 1500",
        "ip address delete 192.0.2.2/24 dev mig",
        "ip link set dev mig up",
        "ip address add 192.0.2.1/24 dev mig",
        "ip -4 route replace 203.0.113.0/24 via 192.0.2.1 metric 5 proto static dev mig",
        "ethtool -G mig rx 256",
        "ethtool -K mig tso on",
    ]


def test_an_interface_that_was_down_is_down_again(keeper, kept, tmp_path):
    keeper.answers[SHOW] = address(1500, flags=())
    kept(links=["mig"])
    keeper.answers[SHOW] = address(1500)
    restore(keeper, tmp_path)
    assert "ip link set dev mig down" in keeper.told


@pytest.mark.parametrize(
    ("manager", "profile", "command"),
    [
        ("netplan", "", "netplan generate"),
        ("netplan", "", "networkctl reload"),
        ("networkmanager", "", "nmcli device disconnect mig"),
        ("networkmanager", "u-1", "nmcli --wait 10 connection up u-1"),
    ],
)
def test_each_manager_is_told(keeper, kept, tmp_path, manager, profile, command):
    keeper.answers |= {
        SHOW: address(1500),
        "nmcli --get-values GENERAL.CON-UUID device show mig": profile,
    }
    kept(links=["mig"], manager=manager)
    restore(keeper, tmp_path)
    assert command in keeper.told


def test_netplan_tells_networkmanager(keeper, kept, tmp_path):
    keeper.answers |= {SHOW: address(1500), "nmcli --get-values RUNNING general": "running\n"}
    kept(links=["mig"], manager="netplan")
    restore(keeper, tmp_path)
    assert "netplan apply" in keeper.told
    assert "networkctl reload" not in keeper.told


@pytest.mark.parametrize(
    ("where", "command"),
    [("/etc/firewalld/zones/x.xml", "firewall-cmd --reload"), ("/etc/ufw/a", "ufw reload")],
)
def test_the_firewall_reads_its_files_again(keeper, where, command):
    manifest = {"sysctls": {}, "hardware": {}}
    keeper.running_back(manifest, ["/etc/hosts"])
    assert keeper.told == []
    keeper.running_back(manifest, [where])
    assert keeper.told == [command]


def test_disarming_says_whether_it_was_too_late(keeper, kept, tmp_path):
    kept()
    states = iter(["active\n", "inactive\n"])
    answer = keeper.run
    keeper.run = lambda *command: next(states) if "show" in command else answer(*command)
    assert keeper.disarm(tmp_path / "original")["restored"] is False
    assert next(states, None) is None
    keeper.run = answer
    restore(keeper, tmp_path)
    assert keeper.disarm(tmp_path / "original")["restored"] is True
    assert "systemctl stop lowtide-network-rollback.timer" in keeper.told
