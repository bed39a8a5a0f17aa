# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole lab, through its command line: start, seed, migrate, abort, crash, faults, stop."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import openstack
import pytest

from lab.embedded.settings import PROJECT, Settings
from lab.processes import recorded
from lab.scenario import shipped

MICROVERSION = "2.80"
OURS = "lowtide.compute"


def free_port_base():
    for _ in range(100):
        base = random.randrange(20, 31) * 1000
        if all(is_free(port) for port in Settings(Path("/"), base).all_ports().values()):
            return base
    pytest.fail("no free port base")


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Lab:
    """One lab, its command line, and a client of its cloud."""

    def __init__(self, state):
        self.state = state
        self.base = free_port_base()

    def run(self, *arguments, status=0):
        done = subprocess.run(
            [sys.executable, "-m", "lab", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(PROJECT), "LAB_STATE": str(self.state)},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def up(self, *arguments, status=0):
        return self.run("up", "--port-base", self.base, *arguments, status=status)

    def connect(self, cloud="lab"):
        config = openstack.config.OpenStackConfig(
            config_files=[str(self.state / "clouds.yaml")], app_name=OURS, app_version="test"
        )
        return openstack.connection.Connection(config=config.get_one(cloud=cloud))

    def control(self, path):
        url = Settings.load(self.state).control_url + path
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)

    def host_of(self, uuid):
        return {d["host"] for d in self.control("/domains") if d["uuid"] == uuid}

    def requests(self, *arguments):
        text = self.run("requests", "--json", *arguments)
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    instance = Lab(tmp_path_factory.mktemp("smoke"))
    instance.up("--scenario", shipped("smoke"))
    try:
        instance.run("seed", shipped("smoke"))
        yield instance
    finally:
        instance.run("down")


@pytest.fixture(scope="module")
def cloud(lab):
    return lab.connect()


def until(condition, seconds=60):
    """Return the condition's first true value; fail when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.2)
    return value


def migrate(cloud, server, host=None):
    body = {"os-migrateLive": {"host": host, "block_migration": "auto"}}
    answer = cloud.compute.post(
        f"/servers/{server.id}/action", json=body, microversion=MICROVERSION
    )
    assert answer.status_code == 202, answer.text
    return answer.headers["x-openstack-request-id"]


def migrations(cloud, server, status=None):
    answer = cloud.compute.get(
        f"/os-migrations?instance_uuid={server.id}", microversion=MICROVERSION
    )
    return [one for one in answer.json()["migrations"] if status in (None, one["status"])]


def copying(cloud, server, more_than=0):
    """Return the server's migration once so many bytes are copied; before that, Nova's record
    says `running`, but libvirt may have no job to abort."""
    return until(
        lambda: next(
            (
                one
                for one in cloud.compute.server_migrations(server)
                if (one.memory_processed_bytes or 0) > more_than
            ),
            None,
        )
    )


def service(cloud, host):
    (found,) = cloud.compute.services(host=host, binary="nova-compute")
    return found


def test_everything_is_ready_and_says_so(lab):
    status = json.loads(lab.run("status", "--json"))
    assert status["running"] is True
    assert [entry["ready"] for entry in status["services"]] == [True] * 6
    assert "nova" in lab.run("status")
    assert "Starting compute node" in lab.run("log", "nova", "--lines", 100000)


def test_up_again_leaves_the_same_lab_alone_and_refuses_another(lab):
    before = recorded(Settings.load(lab.state).process_file)
    assert "already runs" in lab.up("--scenario", shipped("smoke"))
    assert "another lab runs there" in lab.up(status=1)
    assert recorded(Settings.load(lab.state).process_file) == before


def test_the_population_is_where_the_scenario_wants_it(lab, cloud):
    servers = {s.name: s for s in cloud.compute.servers(details=True, all_projects=True)}
    assert servers["batch"].status == "SHUTOFF"
    assert servers["web-01"].compute_host == "cmp-1"
    assert lab.host_of(servers["neighbour"].id) == {"cmp-2"}


def test_the_topology_is_what_the_scenario_says(lab):
    found = json.loads(lab.run("topology", "--json"))
    assert list(found) == ["cmp-1", "cmp-2", "cmp-3"]
    first, second = found["cmp-1"]["cells"]
    assert (first["shared_cpus"], second["shared_cpus"]) == ([*range(8)], [*range(8, 16)])
    assert first["siblings"][:2] == [[0, 1], [2, 3]]
    assert [cell["memory_mib"] for cell in (first, second)] == [32768, 32768]
    assert {page["size_kib"]: page["total"] for page in first["pages"]} == {4: 8388608, 2048: 0}
    assert "cmp-3      cell 1  " in lab.run("topology", "cmp-3")
    assert "no host 'cmp-9'" in lab.run("topology", "cmp-9", status=1)


def test_a_live_migration_moves_the_guest_and_is_in_the_request_log(lab, cloud):
    server = cloud.compute.find_server("web-01", all_projects=True)
    request_id = migrate(cloud, server, "cmp-2")
    until(lambda: migrations(cloud, server, "completed"))
    assert lab.host_of(server.id) == {"cmp-2"}
    after = cloud.compute.get_server(server.id)
    assert (after.compute_host, after.status) == ("cmp-2", "ACTIVE")
    (ours,) = [
        entry
        for entry in lab.requests("--client", OURS, "--since", 300)
        if entry["request_id"] == request_id
    ]
    assert ours["service"] == "compute"
    assert ours["method"] == "POST"
    assert ours["path"] == f"/v2.1/servers/{server.id}/action"
    assert ours["status"] == 202
    assert ours["ms"] > 0
    others = {entry["client"] for entry in lab.requests("--since", 300)}
    assert "python-neutronclient" in others


def test_an_aborted_migration_ends_as_on_real_nova(lab, cloud):
    server = cloud.compute.find_server("database", all_projects=True)
    assert "no server has" in lab.run("fault", "guest", "base", "--never-converges", status=1)
    lab.run("fault", "guest", "database", "--never-converges")
    migrate(cloud, server)
    running = copying(cloud, server)
    cloud.compute.delete(f"/servers/{server.id}/migrations/{running.id}", microversion=MICROVERSION)
    # Nova writes the server's state after the migration's.
    until(lambda: cloud.compute.get_server(server.id).status == "ERROR")
    assert migrations(cloud, server, "error")
    assert lab.host_of(server.id) == {"cmp-1"}
    cloud.compute.reset_server_state(server, "active")
    lab.run("fault", "clear")
    migrate(cloud, server)
    until(lambda: migrations(cloud, server, "completed"))
    assert lab.host_of(server.id) != {"cmp-1"}


def test_a_crashed_host_is_down_keeps_its_guests_and_comes_back(lab, cloud):
    server = cloud.compute.find_server("neighbour", all_projects=True)
    lab.run("crash", "cmp-2")
    until(lambda: service(cloud, "cmp-2").state == "down")
    assert lab.host_of(server.id) == {"cmp-2"}
    lab.run("start", "cmp-2")
    until(lambda: service(cloud, "cmp-2").state == "up")
    migrate(cloud, server, "cmp-3")
    until(lambda: migrations(cloud, server, "completed"))
    assert lab.host_of(server.id) == {"cmp-3"}
    assert "no host 'cmp-9'" in lab.run("crash", "cmp-9", status=1)


def test_a_forced_migration_ends_though_the_guest_never_converges(lab, cloud):
    server = cloud.compute.find_server("web-02", all_projects=True)
    lab.run("fault", "guest", "web-02", "--never-converges")
    migrate(cloud, server, "cmp-2")
    running = copying(cloud, server, 2**30)
    assert running.memory_remaining_bytes <= running.memory_total_bytes == 2**30
    cloud.compute.post(
        f"/servers/{server.id}/migrations/{running.id}/action",
        json={"force_complete": None},
        microversion=MICROVERSION,
    )
    until(lambda: migrations(cloud, server, "completed"))
    assert lab.host_of(server.id) == {"cmp-2"}
    # Libvirt resumes what was paused only for the migration.
    assert [d["state"] for d in lab.control("/domains") if d["uuid"] == server.id] == ["running"]
    lab.run("fault", "clear")


def test_a_service_that_dies_during_the_switchover_leaves_a_ghost(lab, cloud):
    server = cloud.compute.find_server("web-02", all_projects=True)
    lab.run("crash", "cmp-2", "--when", "during_switchover")
    migrate(cloud, server, "cmp-3")
    until(lambda: lab.host_of(server.id) == {"cmp-3"})
    lab.run("start", "cmp-2")
    until(lambda: cloud.compute.get_server(server.id).task_state is None)
    assert migrations(cloud, server, "error")
    after = cloud.compute.get_server(server.id)
    assert (after.compute_host, after.status) == ("cmp-2", "ACTIVE")
    assert lab.host_of(server.id) == {"cmp-3"}


def test_an_api_fault_strikes_just_where_it_should(lab, cloud):
    path = "^/v2.1/os-services"
    rule = ["--service", "compute", "--path", path, "--action", "503", "--client", OURS]
    lab.run("fault", "api", *rule)
    answer = cloud.compute.get("/os-services", connect_retries=0, raise_exc=False)
    assert answer.status_code == 503
    assert cloud.compute.get("/os-services").status_code == 200
    logged = [entry for entry in lab.requests("--since", 60) if "os-services" in entry["path"]]
    assert [entry.get("fault") for entry in logged[-2:]] == ["503", None]


def test_what_is_altered_is_what_nova_says(lab, cloud):
    server = cloud.compute.find_server("archive", all_projects=True)
    changes = {
        "extra_specs": {"hw:mem_encryption": "true"},
        "image_properties": {"hw_firmware_type": "uefi"},
        "share": {"share_id": "11111111-2222-3333-4444-555555555555", "tag": "data"},
        "task_state": "image_snapshot",
    }
    request = urllib.request.Request(
        Settings.load(lab.state).control_url + f"/servers/{server.id}/alter",
        data=json.dumps(changes).encode(),
        method="POST",
    )
    urllib.request.urlopen(request, timeout=30).close()
    path = f"/servers/{server.id}"
    shown = cloud.compute.get(path, microversion="2.98").json()["server"]
    assert shown["flavor"]["extra_specs"]["hw:mem_encryption"] == "true"
    assert shown["image"] == "" or "hw_firmware_type" in shown["image"]["properties"]
    assert shown["OS-EXT-STS:task_state"] == "image_snapshot"
    (share,) = cloud.compute.get(f"{path}/shares", microversion="2.97").json()["shares"]
    assert share["tag"] == "data"
    unknown = urllib.request.Request(request.full_url, data=b'{"colour": "red"}', method="POST")
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(unknown, timeout=30)
    assert refusal.value.code == 400


def test_a_member_of_another_project_may_do_little(lab):
    member = lab.connect("lab-member")
    with pytest.raises(openstack.exceptions.ForbiddenException):
        list(member.compute.services())
    assert list(member.compute.servers()) == []


# The last one of this lab: it breaks it.
def test_a_lost_service_is_noticed_and_down_leaves_nothing(lab):
    known = recorded(Settings.load(lab.state).process_file)
    (glance,) = [process for process in known if process.service == "glance"]
    os.kill(glance.pid, signal.SIGKILL)
    until(lambda: not glance.running)
    shown = lab.run("status", status=1).splitlines()
    assert ["glance", "stopped"] in [line.split() for line in shown]
    assert "lost glance" in lab.up("--scenario", shipped("smoke"), status=1)
    assert "stopped 5 processes" in lab.run("down")
    assert not any(process.running for process in known)
    assert all(is_free(port) for port in Settings.load(lab.state).all_ports().values())
    assert "nothing was running" in lab.run("down")


def test_a_service_that_cannot_start_is_named_with_its_log(tmp_path):
    broken = Lab(tmp_path / "broken")
    scenario = tmp_path / "broken.yml"
    scenario.write_text(
        "name: broken\nhosts: [{name: cmp-1}]\n"
        "nova: {DEFAULT: {max_concurrent_live_migrations: 'as many as you like'}}\n"
    )
    try:
        output = broken.up("--scenario", scenario, status=1)
    finally:
        assert "nothing was running" in broken.run("down")
    assert "lab: error: nova died while it started" in output
    assert str(broken.state / "log" / "nova.out") in output
    assert "max_concurrent_live_migrations" in output
    assert all(is_free(port) for port in Settings.load(broken.state).all_ports().values())


@pytest.mark.parametrize("seconds", [0.8, 2.0])
def test_what_a_killed_launcher_leaves_is_stopped_by_down(tmp_path, seconds):
    orphaned = Lab(tmp_path / "orphaned")
    launcher = subprocess.Popen(
        [sys.executable, "-m", "lab", "up", "--port-base", str(orphaned.base)],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "LAB_STATE": str(orphaned.state)},
        stderr=subprocess.DEVNULL,
    )
    settings = Settings(orphaned.state, orphaned.base)
    until(lambda: recorded(settings.process_file))
    time.sleep(seconds)
    launcher.kill()
    launcher.wait()
    orphaned.run("down")
    known = {path.name for path in Path("/proc").iterdir() if path.name.isdigit()}
    own = str(orphaned.state).encode()
    left = [pid for pid in known if own in _command_line(pid)]
    assert left == []


def _command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
