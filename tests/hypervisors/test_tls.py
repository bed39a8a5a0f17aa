# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates of role nova_migration on real hosts: guests move, and nobody reads them.

The tests build on each other, in their order: the hosts get certificates in the first, and in the
last everything is as it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.hypervisors.fabric import MIGRATION_BRIDGE
from lab.hypervisors.settings import migration_address
from tests.hypervisors.conftest import ROOT, Hypervisors, Vm

PLAY_SECONDS, MOVE_SECONDS = 600, 300
HOSTS = ("cmp-1", "cmp-2")
#: The guest's kernel has this of its command line in several places of its memory.
MARKER = "lab.ip="
SNIFFER = """
import json, signal, socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE
wire.bind((sys.argv[1], 0))
found = {"bytes": 0, "seen": 0}
def end(*_arguments):
    print(json.dumps(found), flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
while True:
    frame = wire.recv(1 << 17)
    found["bytes"] += len(frame)
    found["seen"] += frame.count(sys.argv[2].encode())
"""
#: Text, mode and owner of all that is configuration, and which sockets are open.
STATE = (
    "find /etc -type f -print0 | sort -z | xargs -0 sha256sum;"
    "find /etc -printf '%p %m %u %g %l\\n' | sort;"
    "systemctl is-active libvirtd-tls.socket libvirtd-tcp.socket; ls -A /var/lib/lowtide/*"
)


@dataclass(frozen=True)
class Role:
    """The role's task files, run on both hosts. ``authority``: where the CA is."""

    hypervisors: Hypervisors
    directory: Path

    def run(self, tasks: str, *options: str, **variables: Any) -> dict[str, Any]:
        """What Ansible tells of one run, with its ``stats`` by host."""
        play = {
            "hosts": "compute",
            "gather_facts": False,
            "tasks": [
                {
                    "ansible.builtin.include_role": {
                        "name": "lowtide.compute.nova_migration",
                        "tasks_from": tasks,
                    }
                }
            ],
            "vars": {
                "nova_migration_scheme": "tls",
                "nova_migration_inbound_addr": "{{ ansible_host | replace('.77.', '.78.') }}",
                "nova_migration_tls_ca_dir": str(self.directory / "ca"),
                "nova_migration_tls_ca_passphrase": "a passphrase",
                "nova_migration_restart_wait_s": 2,
                "nova_migration_restart_poll_s": 1,
                "nova_migration_ask_nova": False,
            }
            | variables,
        }
        path = self.directory / "play.yml"
        path.write_text(yaml.safe_dump([play]))
        inventories = (ROOT / "molecule" / "inventory.yml", self.hypervisors.inventory)
        command = ["ansible-playbook", *(f"--inventory={each}" for each in inventories)]
        site = self.hypervisors.site
        done = subprocess.run(
            site.control.argv(*command, *options, str(path), net_only=True),
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
            timeout=PLAY_SECONDS,
            env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"},
        )
        assert "{" in done.stdout, done.stderr
        return json.loads(done.stdout[done.stdout.index("{") :])

    def succeed(self, tasks: str, *options: str, **variables: Any) -> int:
        """How many tasks changed something, on both hosts together."""
        told = self.run(tasks, *options, **variables)
        stats = told["stats"]
        assert {name: stats[name]["failures"] for name in HOSTS} == dict.fromkeys(HOSTS, 0), (
            failures(told)
        )
        return sum(stats[name]["changed"] for name in HOSTS)


def failures(told: dict[str, Any]) -> dict[str, str]:
    """The message of the task that failed, by host."""
    return {
        name: result["msg"]
        for play in told["plays"]
        for task in play["tasks"]
        for name, result in task["hosts"].items()
        if result.get("failed") and "msg" in result
    }


def state(hypervisors: Hypervisors) -> dict[str, str]:
    return {
        name: hypervisors.host(name).run("/bin/sh", "-c", STATE, check=False).stdout
        for name in HOSTS
    }


def libvirtd(hypervisors: Hypervisors) -> list[int | None]:
    return [hypervisors.host(name).service_pid("libvirtd") for name in HOSTS]


@pytest.fixture(scope="module")
def role(
    hypervisors: Hypervisors, before: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Role:
    assert before
    return Role(hypervisors, tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def before(hypervisors: Hypervisors) -> dict[str, str]:
    """How the hosts were when the first test began."""
    return state(hypervisors)


@contextlib.contextmanager
def wire(hypervisors: Hypervisors) -> Iterator[dict[str, int]]:
    """What goes over the migration network of cmp-2: bytes, and how often the marker is seen."""
    host = hypervisors.host("cmp-2")
    command = (sys.executable, "-c", SNIFFER, MIGRATION_BRIDGE, MARKER)
    found: dict[str, int] = {}
    with subprocess.Popen(
        host.argv(*command, net_only=True), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield found
        process.terminate()
        found |= json.loads(process.stdout.readline())


def move(vm: Vm, *options: str, scheme: str = "tls", to: str = "cmp-2"):
    """Migrate it as Nova does with native TLS; return status and words of libvirt."""
    hosts = vm.hypervisors
    over = migration_address(hosts.site.number(to))
    # The lab's hosts know each other's keys by the addresses of management.
    door = hosts.host(to).address if scheme == "ssh" else over
    command = ["virsh", "migrate", "--live", "--p2p", "--undefinesource", *options, vm.name]
    source = hosts.host("cmp-1" if to == "cmp-2" else "cmp-2")
    return source.run(
        *command,
        f"qemu+{scheme}://{door}/system",
        f"tcp://{over}",
        check=False,
        timeout=MOVE_SECONDS,
    )


def runs_on(vm: Vm) -> list[str]:
    return [
        name
        for name in HOSTS
        if vm.name in vm.hypervisors.host(name).run("virsh", "list", "--name").stdout
    ]


def test_without_tls_whoever_reads_the_wire_reads_the_guest(vm: Vm, before: dict[str, str]):
    assert "libvirtd-tls" not in before["cmp-1"]
    with wire(vm.hypervisors) as found:
        done = move(vm, scheme="tcp")
    assert done.returncode == 0, done.stderr
    assert found["bytes"] > 10 << 20
    assert found["seen"] > 0


def test_check_mode_tells_what_would_be_done_and_writes_nothing(role: Role, before):
    assert role.succeed("tls", "--check", "--diff") > 0
    assert state(role.hypervisors) == before
    assert not (role.directory / "ca").exists()


def test_a_second_run_changes_nothing(role: Role, vm: Vm):
    assert role.succeed("tls") > 0
    pids = libvirtd(role.hypervisors)
    assert role.succeed("tls") == 0
    assert libvirtd(role.hypervisors) == pids
    assert runs_on(vm) == ["cmp-1"]


def test_only_the_migration_network_has_a_door_and_only_with_tls(role: Role):
    for name in HOSTS:
        host = role.hypervisors.host(name)
        listening = host.run("ss", "--listening", "--tcp", "--numeric", "--no-header").stdout
        over = migration_address(role.hypervisors.site.number(name))
        assert f"{over}:16514" in listening
        assert ":16509" not in listening
        assert "*:16514" not in listening


def test_keys_are_for_their_users_only_and_the_authoritys_stays_where_it_is(role: Role):
    assert "ENCRYPTED" in (role.directory / "ca" / "ca-key.pem").read_text()
    for name in HOSTS:
        host = role.hypervisors.host(name)
        shown = host.run("find", "/etc/pki", "-name", "*key.pem", "-printf", "%m %P\n").stdout
        modes = dict(reversed(line.split()) for line in shown.splitlines())
        assert modes == {
            "qemu/server-key.pem": "640",
            "qemu/client-key.pem": "640",
            "libvirt/private/serverkey.pem": "600",
            "libvirt/private/clientkey.pem": "600",
        }
        assert host.run("grep", "-rl", "ENCRYPTED", "/etc/pki", check=False).stdout == ""


def test_it_is_proven(role: Role):
    assert role.succeed("tls_verify") == 0


def test_with_tls_nobody_reads_the_guest(vm: Vm, role: Role):
    with wire(vm.hypervisors) as found:
        done = move(vm, "--tls")
    assert done.returncode == 0, done.stderr
    assert runs_on(vm) == ["cmp-2"]
    assert found["bytes"] > 10 << 20
    assert found["seen"] == 0
    back = move(vm, "--tls", to="cmp-1")
    assert back.returncode == 0, back.stderr


def test_libvirt_is_not_restarted_under_a_migration_but_by_the_next_run(vm: Vm, role: Role):
    pids = libvirtd(role.hypervisors)
    vm.dirty(150, 80)
    over = migration_address(role.hypervisors.site.number("cmp-2"))
    first = role.hypervisors.host("cmp-1")
    command = ["virsh", "migrate", "--live", "--p2p", "--tls", "--undefinesource", vm.name]
    command += [f"qemu+tls://{over}/system", f"tcp://{over}"]
    with subprocess.Popen(first.argv(*command)) as migration:
        time.sleep(2)
        told = role.run("tls", nova_migration_tls_force=True)
        assert migration.poll() is None
        assert {name: "migrations still run" in said for name, said in failures(told).items()} == (
            dict.fromkeys(HOSTS, True)
        )
        assert libvirtd(role.hypervisors) == pids
        first.run("virsh", "migrate-setmaxdowntime", vm.name, "4000")
        assert migration.wait(MOVE_SECONDS) == 0
    assert role.succeed("tls", nova_migration_tls_force=True) > 0
    assert set(libvirtd(role.hypervisors)).isdisjoint(pids)
    # What it was restarted for is heeded.
    refused = move(vm, to="cmp-1")
    assert "only with VIR_MIGRATE_TLS" in refused.stderr
    assert runs_on(vm) == ["cmp-2"]


def test_a_new_name_needs_a_new_certificate_but_no_restart(role: Role):
    names = {"nova_migration_tls_force": True, "nova_migration_tls_names": ["192.0.2.9"]}
    pids = libvirtd(role.hypervisors)
    assert role.succeed("tls", **names) > 0
    assert role.succeed("tls_verify", **names) == 0
    assert libvirtd(role.hypervisors) == pids


def test_a_host_of_another_authority_is_found_and_refused(vm: Vm, role: Role):
    elsewhere = "{{ (inventory_hostname == 'cmp-2') | ternary('%s', '%s') }}"
    authority = elsewhere % (role.directory / "other", role.directory / "ca")
    assert role.succeed("tls", nova_migration_tls_ca_dir=authority) > 0
    said = failures(role.run("tls_verify"))
    assert "not trusted by cmp-2" in said["cmp-1"]
    assert "not trusted by cmp-1" in said["cmp-2"]
    assert "libvirt on cmp-2: 10.78.0.12: refused: its certificate" in said["cmp-1"]
    # As far as libvirt lets it: its own connection is refused first, then QEMU's.
    door = move(vm, "--tls")
    assert "certificate" in door.stderr
    # QEMU's refusal reaches us as such, or as the end of the connection that carried it.
    assert move(vm, "--tls", scheme="ssh").returncode != 0
    assert runs_on(vm) == ["cmp-1"]
    told = vm.hypervisors.host("cmp-1").run("virsh", "domstate", vm.name).stdout
    assert told.strip() == "running"


def certificate(role: Role, part: str, host: str = "{{ inventory_hostname }}") -> str:
    return str(role.directory / "ca" / "hosts" / host / f"{part}.pem")


def refused(role: Role, **variables: Any) -> dict[str, str]:
    """What is said, by host; nothing may have been written."""
    there = state(role.hypervisors)
    told = failures(role.run("tls", **variables))
    assert sorted(told) == sorted(HOSTS)
    assert state(role.hypervisors) == there
    return told


def test_all_that_will_not_do_is_told_at_once_before_anything_is_written(role: Role):
    said = refused(
        role,
        nova_migration_tls_source="given",
        nova_migration_tls_ca="/nowhere",
        nova_migration_tls_certificate=certificate(role, "certificate"),
        nova_migration_tunnelled=True,
        nova_migration_layout="kolla_ansible",
        nova_migration_tls_listen_address="192.0.2.1",
        nova_migration_tls_qemu_group="nobody-here",
        nova_migration_tls_renew_days=365,
        nova_migration_tls_ca_valid_days=9,
    )["cmp-1"]
    for fault in (
        "nova_migration_tls_ca, nova_migration_tls_key: neither PEM text nor",
        "nova_migration_tunnelled: True",
        "nova_migration_layout: kolla_ansible",
        "nova_migration_tls_listen_address: 192.0.2.1 is no address of this host",
        "nova_migration_tls_qemu_group: nobody-here is no group",
        "nova_migration_tls_renew_days: 365",
        "nova_migration_tls_ca_valid_days: 9",
    ):
        assert fault in said


def test_so_is_a_certificate_that_will_not_do(role: Role):
    told = refused(
        role,
        nova_migration_tls_source="given",
        nova_migration_tls_ca=str(role.directory / "ca" / "ca.pem"),
        nova_migration_tls_certificate=certificate(role, "certificate", "cmp-1"),
        nova_migration_tls_key=certificate(role, "key"),
        nova_migration_tls_names=["192.0.2.77"],
    )
    assert "nova_migration_tls_certificate: is not for 192.0.2.77" in told["cmp-1"]
    assert "key: does not belong to the certificate" in told["cmp-2"]


def test_certificates_that_are_given_are_used(role: Role):
    given = {
        "nova_migration_tls_source": "given",
        "nova_migration_tls_ca": (role.directory / "ca" / "ca.pem").read_text(),
        "nova_migration_tls_certificate": certificate(role, "certificate"),
        "nova_migration_tls_key": certificate(role, "key"),
    }
    assert role.succeed("tls", **given) > 0
    assert role.succeed("tls", **given) == 0
    assert role.succeed("tls_verify") == 0


def test_everything_is_taken_back_to_the_byte(role: Role, vm: Vm, before: dict[str, str]):
    there = state(role.hypervisors)
    assert role.succeed("tls_revert", "--check") > 0
    assert state(role.hypervisors) == there
    assert role.succeed("tls_revert") > 0
    assert state(role.hypervisors) == before
    assert role.succeed("tls_revert") == 0
    assert state(role.hypervisors) == before
    assert runs_on(vm) == ["cmp-1"]
    done = move(vm, scheme="tcp")
    assert done.returncode == 0, done.stderr
