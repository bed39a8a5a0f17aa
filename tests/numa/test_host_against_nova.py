# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts and what guests use of them, as numa_info reads them and as Nova's own driver does.

Nova makes a host's cells of generated capabilities and a generated nova.conf, places generated
guests on them, and writes their domains; we read the same texts. Only libvirt's connection is not
Nova's own.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nova.conf
import pytest
from nova import exception, objects
from nova.conf import neutron
from nova.virt import hardware
from nova.virt.libvirt import config as vconfig
from nova.virt.libvirt import driver

from ansible_collections.lowtide.compute.plugins.module_utils import _numa_conf
from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadConfiguration
from ansible_collections.lowtide.compute.plugins.module_utils._planner import numa_host
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_domain import domain
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import HostNuma
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_xml import capabilities
from tests.unit import libvirt_xml as xml
from tests.unit.libvirt_xml import HUGE, LARGE, SMALL

CONF = nova.conf.CONF
HOSTS, GUESTS = 200, 6
REFUSED = (exception.NovaException,)
IMAGE = {"container_format": "bare", "disk_format": "raw", "min_disk": 1, "min_ram": 0}
PROPERTIES = ("hw_cpu_policy", "hw_cpu_thread_policy")


@dataclass
class Machine:
    """What Nova's driver asks libvirt's connection."""

    text: str
    cpus: frozenset[int]

    def get_capabilities(self) -> Any:
        found = vconfig.LibvirtConfigCaps()
        found.parse_str(self.text)
        return found

    def get_online_cpus(self) -> set[int]:
        return set(self.cpus)

    get_available_cpus = get_online_cpus

    def has_min_version(self, **_which: object) -> bool:
        return True


@pytest.fixture(scope="module", autouse=True)
def configuration() -> Iterator[None]:
    """Nova's configuration is one for the process: leave none behind."""
    objects.register_all()
    yield
    CONF.reset()


# --- hosts ---------------------------------------------------------------------------------------


def make_cells(chance: random.Random) -> list[xml.Cell]:
    count, cores, threads = chance.choice([1, 1, 2, 2, 4, 8]), chance.choice([1, 2, 4]), 1
    threads = chance.choice([1, 2, 2])
    cells = []
    for number in range(count):
        first = number * cores
        groups = [
            [core + thread * cores * count for thread in range(threads)]
            for core in range(first, first + cores)
        ]
        pages = {SMALL: 4 << 20, LARGE: chance.choice([0, 2048, 4096]), HUGE: chance.choice([0, 8])}
        cells.append(xml.Cell(number, groups, 32768, pages, socket=number // 2))
    if chance.random() < 0.2:
        cells.append(xml.Cell(count, [], 16384, {SMALL: 4 << 20}))
    return cells


def make_set(chance: random.Random, cpus: list[int]) -> str:
    taken = chance.sample(cpus, chance.randint(1, len(cpus)))
    parts = [str(cpu) for cpu in taken]
    if chance.random() < 0.1:
        parts.append(chance.choice(["3-1", "x", "99", f"^{taken[0]}", "0-1-2"]))
    return ",".join(parts)


def make_conf(chance: random.Random, cells: list[xml.Cell]) -> str:
    cpus = sorted(cpu for cell in cells for group in cell.cpus for cpu in group)
    compute, general, more = [], [], []
    kind = chance.choice("nnsddbbbbblle")
    if kind in "se":
        compute.append(f"cpu_shared_set = {make_set(chance, cpus)}")
    if kind in "de":
        compute.append(f"cpu_dedicated_set = {make_set(chance, cpus)}")
    if kind == "b" and len(cpus) > 1:
        chance.shuffle(cpus)
        at = chance.randint(1, len(cpus) - 1)
        compute.append(f"cpu_shared_set = {make_set(chance, cpus[:at])}")
        compute.append(f"cpu_dedicated_set = {make_set(chance, cpus[at:])}")
    if kind == "l":
        general.append(f"vcpu_pin_set = {make_set(chance, cpus)}")
    for cell in cells:
        if chance.random() < 0.3:
            size = chance.choice(["2048", "2MB", "1GB", "2MiB"])
            general.append(
                f"reserved_huge_pages = node:{cell.id},size:{size},count:{chance.randint(1, 64)}"
            )
    if chance.random() < 0.3:
        at = chance.sample(range(len(cells) + (chance.random() < 0.2)), 1)
        more = ["[neutron]", "physnets = Data", "[neutron_physnet_Data]", f"numa_nodes = {at[0]}"]
        more += ["[neutron_tunnel]", f"numa_nodes = {chance.randrange(len(cells))}"]
    return "\n".join(["[DEFAULT]", *general, "[compute]", *compute, *more, ""])


# --- both ----------------------------------------------------------------------------------------


def nova_host(text: str, cpus: frozenset[int], path: Path) -> Any:
    """Nova's driver on such a host, ready to be asked. Raises what nova-compute would end with."""
    CONF.reset()
    CONF(["--config-file", str(path)], project="nova", default_config_dirs=[])
    neutron.register_dynamic_opts(CONF)
    made = object.__new__(driver.LibvirtDriver)
    made._host = Machine(text, cpus)
    made._reserved_hugepages = hardware.numa_get_reserved_huge_pages()
    made._check_cpu_set_configuration()
    return made


def our_host(text: str, cpus: frozenset[int], path: Path, domains: list[str]) -> HostNuma:
    params = dict.fromkeys(_numa_conf.INSTEAD_OF) | {"config_files": [str(path)], "config_dirs": []}
    wishes = _numa_conf.look(params)
    decided = _numa_conf.rules(wishes, cpus, cpus)
    with wishes.told():
        return numa_host.host_numa(
            "cmp", capabilities(text), decided, [domain(one) for one in domains], ()
        )


def as_nova_has_it(topology: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": cell.id,
            "shared": sorted(cell.cpuset),
            "dedicated": sorted(cell.pcpuset),
            "pinned": sorted(cell.pinned_cpus),
            "siblings": sorted(sorted(group) for group in cell.siblings),
            "memory": (cell.memory, cell.memory_usage, cell.cpu_usage),
            "pages": sorted((p.size_kb, p.total, p.used, p.reserved) for p in cell.mempages),
            "socket": cell.socket,
            "networks": sorted(cell.network_metadata.physnets),
            "tunnelled": cell.network_metadata.tunneled,
        }
        for cell in topology.cells
    ]


def as_we_have_it(host: HostNuma) -> list[dict[str, Any]]:
    return [
        {
            "id": cell.id,
            "shared": list(cell.shared_cpus),
            "dedicated": list(cell.dedicated_cpus),
            "pinned": list(cell.pinned_cpus),
            "siblings": sorted(map(list, cell.siblings)),
            "memory": (cell.memory_mib, cell.memory_used_mib, cell.cpu_usage),
            "pages": [(p.size_kib, p.total, p.used, p.reserved) for p in cell.pages],
            "socket": cell.socket,
            "networks": list(cell.networks),
            "tunnelled": cell.tunnelled,
        }
        for cell in host.cells
    ]


# --- guests --------------------------------------------------------------------------------------


def make_guest(chance: random.Random, number: int) -> tuple[Any, Any]:
    """A flavor and an image."""
    cells = chance.choice([0, 1, 1, 2])
    vcpus = chance.choice([1, 2, 4]) * max(cells, 1)
    specs = {"hw:numa_nodes": str(cells)} if cells else {}
    properties = {}
    policy = chance.choice(["", "dedicated", "dedicated", "dedicated", "mixed"])
    if policy == "mixed" and vcpus > 1:
        specs |= {"hw:cpu_policy": policy, "hw:cpu_dedicated_mask": f"0-{vcpus // 2 - 1}"}
    elif policy == "dedicated":
        thread = chance.choice(["", "", "isolate", "require", "prefer"])
        where = chance.choice(["flavor", "image"])
        if where == "flavor":
            specs["hw:cpu_policy"] = policy
            specs |= {"hw:cpu_thread_policy": thread} if thread else {}
        else:
            properties["hw_cpu_policy"] = policy
            properties |= {"hw_cpu_thread_policy": thread} if thread else {}
    if policy == "dedicated" and (emulator := chance.choice(["", "", "share", "isolate"])):
        specs["hw:emulator_threads_policy"] = emulator
    if page := chance.choice(["", "", "small", "large", "2048", "1GB"]):
        specs["hw:mem_page_size"] = page
    flavor = objects.Flavor(
        id=number,
        flavorid=str(number),
        name="f",
        vcpus=vcpus,
        memory_mb=1024 * max(cells, 1) * chance.choice([1, 2]),
        extra_specs=specs,
    )
    image = objects.ImageMeta.from_dict(IMAGE | {"properties": properties})
    return flavor, image


def nova_domain(host: Any, fitted: Any, flavor: Any, image: Any, number: int) -> str:
    """The domain as Nova writes it."""
    tuned = host._get_guest_numa_config(fitted, flavor, image)
    guest = vconfig.LibvirtConfigGuest()
    guest.virt_type, guest.os_type = "kvm", "hvm"
    guest.uuid, guest.name = f"id-{number}", f"instance-{number}"
    guest.memory, guest.vcpus = flavor.memory_mb * 1024, flavor.vcpus
    guest.cpu = vconfig.LibvirtConfigGuestCPU()
    guest.cpu.numa = tuned.numaconfig
    guest.cpuset = tuned.cpuset
    guest.cputune, guest.numatune = tuned.cputune, tuned.numatune
    guest.membacking = host._get_guest_memory_backing_config(fitted, tuned.numatune, flavor, image)
    noted = vconfig.LibvirtConfigGuestMetaNovaInstance()
    noted.package, noted.name = "34.0.0", "a guest"
    noted.flavor = vconfig.LibvirtConfigGuestMetaNovaFlavor()
    noted.flavor.name, noted.flavor.id = flavor.name, flavor.flavorid
    noted.flavor.extra_specs = flavor.extra_specs
    noted.image = vconfig.LibvirtConfigGuestMetaImage()
    said = {
        name: getattr(image.properties, name) for name in PROPERTIES if name in image.properties
    }
    noted.image.image_meta = SimpleNamespace(**IMAGE, properties=said)
    guest.metadata.append(noted)
    return guest.to_xml()


def without_specs(text: str) -> str:
    """The same by an older Nova."""
    for tag in ("extraSpecs", "properties"):
        text = re.sub(rf"<nova:{tag}\s*/>|<nova:{tag}>.*?</nova:{tag}>", "", text, flags=re.DOTALL)
    return text


def place(host: Any, chance: random.Random, seen: Counter[str]) -> tuple[Any, list[str]]:
    """Nova's host with some guests, and their domains."""
    topology, domains = host._get_host_numa_topology(), []
    for number in range(GUESTS):
        flavor, image = make_guest(chance, number)
        try:
            asked = hardware.numa_get_constraints(flavor, image)
        except REFUSED:
            seen["nonsense"] += 1
            continue
        fitted = hardware.numa_fit_instance_to_host(topology, asked, None) if asked else None
        if asked and fitted is None:
            seen["no fit"] += 1
            continue
        seen["pinned" if flavor.extra_specs.get("hw:cpu_policy") else "other"] += 1
        if fitted is not None and fitted.emulator_threads_isolated:
            seen["isolated emulator"] += 1
        topology = hardware.numa_usage_from_instance_numa(topology, fitted)
        domains.append(nova_domain(host, fitted, flavor, image, number))
    return topology, domains


@pytest.mark.parametrize("older", [False, True], ids=["this Nova", "an older one"])
def test_hosts_and_their_use(tmp_path: Path, older: bool) -> None:
    chance, seen, differ = random.Random(5), Counter[str](), []
    path = tmp_path / "nova.conf"
    for number in range(HOSTS):
        cells = make_cells(chance)
        text, conf = xml.capabilities(*cells), make_conf(chance, cells)
        path.write_text(conf)
        cpus = frozenset(cpu for cell in cells for group in cell.cpus for cpu in group)
        try:
            host = nova_host(text, cpus, path)
            topology = host._get_host_numa_topology()
        except REFUSED:
            seen["refused"] += 1
            with pytest.raises(BadConfiguration):
                our_host(text, cpus, path, [])
            continue
        topology, domains = place(host, chance, seen)
        read = [without_specs(one) if older else one for one in domains]
        found = our_host(text, cpus, path, read)
        seen["doubts"] += bool(found.unseen)
        theirs, ours = as_nova_has_it(topology), as_we_have_it(found)
        if theirs != ours and not (older and found.unseen):
            differ.append((number, conf, theirs, ours))
    print(f"{HOSTS} hosts, {len(differ)} differ; {dict(seen)}")
    assert differ == []
    assert seen["refused"] > HOSTS / 20
    assert min(seen["pinned"], seen["other"], seen["no fit"], seen["isolated emulator"]) > 20
    assert seen["doubts"] < HOSTS / 4 if older else not seen["doubts"]


def test_the_comparison_sees_a_difference() -> None:
    """One page more, and the lists are not the same."""
    found = numa_host.host_numa(
        "cmp",
        capabilities(xml.capabilities(*xml.TWO_CELLS)),
        numa_host.Rules(numa_host.CpuSets(frozenset(), frozenset())),
        [],
        (),
    )
    first = found.cells[0]
    pages = (replace(first.pages[0], used=1), *first.pages[1:])
    other = replace(found, cells=(replace(first, pages=pages), *found.cells[1:]))
    assert as_we_have_it(found) != as_we_have_it(other)
