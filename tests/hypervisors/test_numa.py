# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""numa_info on real hypervisors: against the kernel's word, and against Nova's own records."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import decode
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import HostNuma
from lab.hypervisors import guest
from lab.hypervisors.machine import Machine
from tests.hypervisors.conftest import BRIDGE, Hypervisors
from tests.hypervisors.test_witness import LAB_SECONDS, run_lab

NODES = "/sys/devices/system/node"


# --- the real machine ----------------------------------------------------------------------------


def kernel_cells(machine: Machine) -> dict[int, dict[str, Any]]:
    """What the kernel says of each cell: CPUs, sockets, MiB, distances, pages by size in KiB."""
    online = machine.run("cat", f"{NODES}/online").stdout
    count = int(online.strip().replace("-", ",").split(",")[-1]) + 1
    rows = machine.run("lscpu", "--parse=CPU,NODE,SOCKET,CORE").stdout.splitlines()
    cpus = [[int(part or 0) for part in row.split(",")] for row in rows if row[0] != "#"]
    found = {}
    for cell in range(count):
        memory = machine.run("cat", f"{NODES}/node{cell}/meminfo").stdout
        total = next(line.split()[3] for line in memory.splitlines() if "MemTotal" in line)
        distances = machine.run("cat", f"{NODES}/node{cell}/distance").stdout.split()
        listed = machine.run("ls", f"{NODES}/node{cell}/hugepages").stdout.split()
        found[cell] = {
            "cpus": sorted(cpu for cpu, node, _socket, _core in cpus if node == cell),
            "sockets": {socket for _cpu, node, socket, _core in cpus if node == cell},
            "cores": len({(socket, core) for _c, node, socket, core in cpus if node == cell}),
            "mib": int(total) // 1024,
            "distances": {str(at): int(value) for at, value in enumerate(distances)},
            "pages": {int(name.removeprefix("hugepages-").removesuffix("kB")) for name in listed},
        }
    return found


def test_the_cells_are_the_kernel_s(hypervisors: Hypervisors) -> None:
    result = hypervisors.run("cmp-1", "numa_info")
    assert not result["failed"], result
    kernel = kernel_cells(hypervisors.host("cmp-1"))
    assert [cell["id"] for cell in result["cells"]] == sorted(kernel)
    for cell in result["cells"]:
        there = kernel[cell["id"]]
        assert cell["cpus"] == there["cpus"]
        assert {cell["socket"]} == there["sockets"]
        assert len(cell["siblings"]) == there["cores"]
        assert sorted(cpu for group in cell["siblings"] for cpu in group) == there["cpus"]
        assert cell["distances"] == there["distances"]
        # The memory of a virtual machine grows and shrinks while one looks.
        assert cell["memory_mib"] == pytest.approx(there["mib"], rel=0.2)
        assert 0 < cell["memory_free_mib"] <= cell["memory_mib"]
        assert there["pages"] < {pages["size_kib"] for pages in cell["pages"]}
        assert all(pages["free"] <= pages["total"] for pages in cell["pages"][1:])
    assert decode(HostNuma, result["numa"]).host == result["host"]
    # There is no Nova on these hosts.
    assert result["unseen"] == ["nova.conf"]


@pytest.fixture
def pinned(hypervisors: Hypervisors) -> Iterator[str]:
    """A domain as Nova would define it, with the machine's last CPU for itself; its ID."""
    made, name = str(uuid.uuid4()), "pinned"
    host = hypervisors.host("cmp-1")
    last = max(kernel_cells(host)[0]["cpus"])
    kind = guest.accelerator(hypervisors.site.observer, hypervisors.image)
    text = guest.domain(
        name, "10.88.0.98", hypervisors.image, accelerator=kind, bridge=BRIDGE, ram_mib=192
    )
    noted = (
        '<metadata><nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">'
        "<nova:flavor><nova:extraSpecs/></nova:flavor>"
        "<nova:image><nova:properties/></nova:image></nova:instance></metadata>"
    )
    text = text.replace("</name>", f"</name><uuid>{made}</uuid>{noted}")
    text = text.replace(
        "<os>",
        f"<cputune><vcpupin vcpu='0' cpuset='{last}'/><emulatorpin cpuset='{last}'/></cputune>"
        "<numatune><memory mode='strict' nodeset='0'/>"
        "<memnode cellid='0' mode='strict' nodeset='0'/></numatune><os>",
    )
    cell = "<numa><cell id='0' cpus='0' memory='192' unit='MiB'/></numa></cpu>"
    host.run("virsh", "define", "/dev/stdin", input=text.replace("</cpu>", cell))
    try:
        yield made
    finally:
        host.run("virsh", "destroy", name, check=False)
        host.run("virsh", "undefine", name)


def test_a_pinned_guest_running_and_stopped(hypervisors: Hypervisors, pinned: str) -> None:
    cpus = kernel_cells(hypervisors.host("cmp-1"))[0]["cpus"]
    if len(cpus) < 2:
        pytest.skip("one CPU cannot be both shared and dedicated")
    sets = {"cpu_shared_set": f"0-{cpus[-1]},^{cpus[-1]}", "cpu_dedicated_set": str(cpus[-1])}
    for state, start in (("shutdown", False), ("running", True)):
        if start:
            hypervisors.host("cmp-1").run("virsh", "start", "pinned")
        result = hypervisors.run("cmp-1", "numa_info", **sets)
        assert not result["failed"], result
        row = next(each for each in result["domains"] if each["id"] == pinned)
        assert (row["state"], row["counted"]) == (state, True)
        assert row["pins"] == {"0": [cpus[-1]]}
        cell = result["cells"][0]
        assert (cell["pinned_cpus"], cell["memory_used_mib"]) == ([cpus[-1]], 192)
        assert cell["pages"][0]["used"] == 192 * 1024 // cell["pages"][0]["size_kib"]
        assert result["unseen"] == []


@pytest.mark.parametrize(
    ("given", "code", "why"),
    [
        ({"cpu_dedicated_set": "3-1"}, "bad_option", "ends before it begins"),
        ({"cpu_dedicated_set": "4095"}, "bad_option", "not on line here: 4095"),
        ({"uri": "qemu+unix:///system?socket=/nowhere"}, "unreachable", "/nowhere"),
    ],
)
def test_what_is_wrong_is_said(
    hypervisors: Hypervisors, given: dict[str, str], code: str, why: str
) -> None:
    result = hypervisors.run("cmp-1", "numa_info", **given)
    assert (result["failed"], result["code"]) == (True, code)
    assert why in result["msg"]
    assert result["remedy"]


# --- Nova's own records --------------------------------------------------------------------------

SCENARIO = """
name: numa
pretend_hardware: true
host_defaults: {cpus: 16, numa_cells: 2, threads_per_core: 2, memory_mib: 8192,
                dedicated_cpus: "2-7,10-15", shared_cpus: "0-1,8-9"}
hosts: [{name: cmp-1}]
flavors:
  - {name: plain, vcpus: 1, ram_mib: 192, disk_gib: 1}
  - {name: floating, vcpus: 1, ram_mib: 192, disk_gib: 1, extra_specs: {"hw:numa_nodes": "1"}}
  - {name: pinned, vcpus: 2, ram_mib: 192, disk_gib: 1,
     extra_specs: {"hw:cpu_policy": dedicated, "hw:cpu_thread_policy": require}}
  - {name: wide, vcpus: 2, ram_mib: 256, disk_gib: 1,
     extra_specs: {"hw:cpu_policy": dedicated, "hw:numa_nodes": "2",
                   "hw:emulator_threads_policy": isolate}}
images: [{name: guest}]
networks: [{name: tenant, cidr: 10.88.0.0/24}]
guest_defaults: {image: guest, networks: [tenant], host: cmp-1}
guests:
  - {name: plain, flavor: plain}
  - {name: floating, flavor: floating}
  - {name: pinned, flavor: pinned}
  - {name: stopped, flavor: pinned, state: shutoff}
  - {name: wide, flavor: wide}
"""
#: Asks Nova's database what nova-compute has written into it.
RECORDS = """
import json, pymysql
base = pymysql.connect(user="root", unix_socket="/run/mysqld/mysqld.sock")
with base.cursor() as cursor:
    cursor.execute("select table_schema from information_schema.tables"
                   " where table_name = 'compute_nodes'")
    rows = []
    for (schema,) in cursor.fetchall():
        cursor.execute("select host, numa_topology from `%s`.compute_nodes where deleted = 0"
                       % schema)
        rows += cursor.fetchall()
print(json.dumps(dict(rows)))
"""
RECORD_SECONDS = 240


@dataclass(frozen=True)
class Cloud:
    """A lab with a cloud on one host of two cells."""

    state: Path

    def run(self, *words: str) -> str:
        done = run_lab(self.state, *words, seconds=LAB_SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def numa_info(self) -> dict[str, Any]:
        inventory = f"--inventory={self.state / 'inventory.yml'}"
        words = ("ansible", "cmp-1", inventory, "--one-line", "-m", "lowtide.compute.numa_info")
        out = self.run("exec", "--net-only", "ctl", "--", *words)
        _head, arrow, text = out.partition("=> ")
        assert arrow, out
        return json.loads(text)

    def record(self) -> list[dict[str, Any]]:
        """The cells of cmp-1 as nova-compute last recorded them."""
        words = ("/opt/stack/bin/python", "-c", RECORDS)
        topology = json.loads(json.loads(self.run("exec", "ctl", "--", *words))["cmp-1"])
        return [cell["nova_object.data"] for cell in topology["nova_object.data"]["cells"]]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    made = Cloud(tmp_path_factory.mktemp("numa"))
    scenario = made.state.with_suffix(".yml")
    scenario.write_text(SCENARIO)
    try:
        made.run("up", "--scenario", str(scenario))
        made.run("seed", str(scenario))
        yield made
    finally:
        run_lab(made.state, "down", seconds=LAB_SECONDS)


#: What is compared, beside pages and siblings: our name -> Nova's.
NAMES = {
    "id": "id",
    "shared_cpus": "cpuset",
    "dedicated_cpus": "pcpuset",
    "pinned_cpus": "pinned_cpus",
    "siblings": "siblings",
    "socket": "socket",
    "memory_mib": "memory",
    "memory_used_mib": "memory_usage",
    "cpu_usage": "cpu_usage",
}


def of_nova(cell: dict[str, Any]) -> dict[str, Any]:
    pages = [each["nova_object.data"] for each in cell["mempages"]]
    counts = sorted((p["size_kb"], p["total"], p["used"], p["reserved"]) for p in pages)
    return {ours: in_order(cell[its]) for ours, its in NAMES.items()} | {"pages": counts}


def of_ours(cell: dict[str, Any]) -> dict[str, Any]:
    counts = [(p["size_kib"], p["total"], p["used"], p["reserved"]) for p in cell["pages"]]
    return {name: in_order(cell[name]) for name in NAMES} | {"pages": counts}


def in_order(value: Any) -> Any:
    return sorted(map(in_order, value)) if isinstance(value, list) else value


def test_a_host_is_as_nova_has_recorded_it(cloud: Cloud) -> None:
    found = cloud.numa_info()
    ours = [of_ours(cell) for cell in found["cells"]]
    # nova-compute writes what it has claimed when it looks the next time.
    until = time.monotonic() + RECORD_SECONDS
    while (nova := [of_nova(cell) for cell in cloud.record()]) != ours:
        assert time.monotonic() < until, f"{nova} is not {ours}"
        time.sleep(5)
    assert sum(len(cell["pinned_cpus"]) for cell in ours) == 2 + 2 + 2 + 1
    assert sum(cell["cpu_usage"] for cell in ours) == 1
    assert found["unseen"] == []
    assert found["config"]["cpu_dedicated_set"] == {
        "value": "2-7,10-15",
        "source": "/etc/nova/nova.conf",
    }


def test_who_counts(cloud: Cloud) -> None:
    rows = cloud.numa_info()["domains"]
    assert len(rows) == 5
    assert sorted(row["counted"] for row in rows) == [False, True, True, True, True]
    assert [row["state"] for row in rows if row["state"] != "running"] == ["shutdown"]
