# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capabilities, domains and devices, from libvirt's XML."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_devices import nodes
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_domain import domain
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_xml import capabilities
from tests.unit import libvirt_xml as xml
from tests.unit.libvirt_xml import HUGE, LARGE, SMALL, Cell, GuestCell, Metadata

#: A virtual machine with two CPUs, as libvirt 11.3 tells it.
REAL = """<capabilities>
  <host>
    <uuid>3d0c8b4e-5a3f-4c7e-9d5c-6f5d4f5a0c11</uuid>
    <cpu>
      <arch>x86_64</arch>
      <model>Opteron_G3</model>
      <topology sockets='1' dies='1' clusters='1' cores='2' threads='1'/>
    </cpu>
    <topology>
      <cells num='1'>
        <cell id='0'>
          <memory unit='KiB'>24657184</memory>
          <pages unit='KiB' size='4'>6164296</pages>
          <pages unit='KiB' size='2048'>0</pages>
          <distances>
            <sibling id='0' value='10'/>
          </distances>
          <cpus num='2'>
            <cpu id='0' socket_id='0' die_id='0' cluster_id='65535' core_id='0' siblings='0'/>
            <cpu id='1' socket_id='0' die_id='0' cluster_id='65535' core_id='1' siblings='1'/>
          </cpus>
        </cell>
      </cells>
    </topology>
  </host>
</capabilities>
"""


# --- capabilities --------------------------------------------------------------------------------


def test_a_host_of_one_cell():
    (cell,) = capabilities(REAL).cells
    assert (cell.id, cell.cpus, cell.siblings) == (0, (0, 1), ((0,), (1,)))
    assert (cell.socket, cell.memory_kib) == (0, 24657184)
    assert (cell.pages, cell.distances) == ({4: 6164296, 2048: 0}, {"0": 10})


def test_a_host_of_two_cells_with_hyper_threading():
    first, second = capabilities(xml.capabilities(*xml.TWO_CELLS)).cells
    assert first.cpus == (0, 1, 2, 3, 8, 9, 10, 11)
    assert first.siblings == ((0, 8), (1, 9), (2, 10), (3, 11))
    assert (first.socket, second.socket) == (0, 1)
    assert second.distances == {"0": 21, "1": 10}
    assert second.pages == {SMALL: 12582912, LARGE: 8192, HUGE: 0}


def test_a_memory_only_cell_of_cxl():
    cxl = Cell(2, [], 131072, {SMALL: 33554432}, {0: 14, 1: 24, 2: 10})
    *_rest, found = capabilities(xml.capabilities(*xml.TWO_CELLS, cxl)).cells
    assert (found.cpus, found.siblings, found.socket) == ((), (), None)
    assert found.memory_kib == 131072 * 1024


def test_a_cell_without_memory():
    (found,) = capabilities(xml.capabilities(Cell(0, [[0]], 0))).cells
    assert (found.memory_kib, found.pages) == (0, {})


def test_two_sockets_in_one_cell_are_none():
    text = REAL.replace("cpu id='1' socket_id='0'", "cpu id='1' socket_id='1'")
    assert capabilities(text).cells[0].socket is None


def test_a_cpu_that_is_off_line_has_no_siblings():
    text = xml.capabilities(Cell(0, [[0, 2]], offline=(1,)))
    (cell,) = capabilities(text).cells
    assert (cell.cpus, cell.siblings) == ((0, 1, 2), ((0, 2), (1,)))


def test_cells_come_by_their_numbers():
    text = xml.capabilities(Cell(8, [[4]]), Cell(0, [[0]]))
    assert [cell.id for cell in capabilities(text).cells] == [0, 8]


def test_a_host_without_numa():
    assert capabilities(xml.capabilities()).cells == ()


def test_an_architecture_on_which_nova_uses_no_cells():
    found = capabilities(xml.capabilities(*xml.TWO_CELLS, architecture="s390x"))
    assert (found.architecture, found.cells) == ("s390x", ())


@pytest.mark.parametrize("text", ["", "<capabilities>", "what?"])
def test_what_is_no_capabilities(text):
    with pytest.raises(ValueError, match="no capabilities"):
        capabilities(text)


# --- domains -------------------------------------------------------------------------------------


def test_a_pinned_guest_of_two_cells():
    text = xml.domain(
        "id-1",
        "instance-1",
        GuestCell({0: "4", 1: "12"}, 2048, "0", LARGE),
        GuestCell({2: "6", 3: "14"}, 1024, "1"),
        emulator="4,6,12,14",
        devices=xml.hostdev("0000:3b:00.0") + xml.sriov("0000:3b:02.1") + xml.macvtap("enp59s2f2"),
        metadata=Metadata({"hw:cpu_policy": "dedicated"}, {"hw_cpu_thread_policy": "isolate"}),
    )
    found = domain(text)
    assert (found.id, found.name, found.nova) == ("id-1", "instance-1", True)
    assert found.pins == {"0": (4,), "1": (12,), "2": (6,), "3": (14,)}
    assert found.emulator_cpus == (4, 6, 12, 14)
    first, second = found.cells
    assert (first.cpus, first.memory_mib, first.host_cell, first.page_size_kib) == (
        (0, 1),
        2048,
        0,
        2048,
    )
    assert (second.cpus, second.host_cell, second.page_size_kib) == ((2, 3), 1, 0)
    assert found.devices == ("0000:3b:00.0", "0000:3b:02.1")
    assert found.interfaces == ("enp59s2f2",)
    assert (found.wish("cpu_policy"), found.wish("cpu_thread_policy")) == ("dedicated", "isolate")
    assert found.wish("emulator_threads_policy") == ""


def test_an_older_nova_says_nothing_of_wishes():
    found = domain(xml.domain("i", "n", metadata=Metadata(None)))
    assert (found.nova, found.wish("cpu_policy")) == (True, None)


def test_a_guest_without_a_topology():
    found = domain(xml.domain("i", "n"))
    assert (found.cells, found.pins, found.emulator_cpus) == ((), {}, ())


def test_a_domain_that_nova_did_not_make():
    found = domain(xml.domain("i", "n", GuestCell({0: "1"}), metadata=None))
    assert (found.nova, found.wish("cpu_policy")) == (False, None)


def test_memory_in_several_cells_is_in_none():
    (cell,) = domain(xml.domain("i", "n", GuestCell({0: "0-3"}, host_cell="0-1"))).cells
    assert cell.host_cell is None


def test_pages_for_all_cells():
    text = xml.domain("i", "n", GuestCell({0: "1"}, page_kib=HUGE))
    text = text.replace(f"size='{HUGE}' unit='KiB' nodeset='0'", "size='1' unit='G'")
    assert domain(text).cells[0].page_size_kib == HUGE


# --- devices -------------------------------------------------------------------------------------


def test_functions_and_what_they_are():
    found = nodes(
        [
            xml.child("0000:3b:02.1", "net", "enp59s2f1"),
            xml.pci("0000:3b:02.1", product="154c", pf="0000:3b:00.0"),
            xml.pci("0000:3b:02.2", product="154c", pf="0000:3b:00.0"),
            xml.pci("0000:3b:00.0", vfs=True),
            xml.pci("0000:af:00.0", vendor="10de", product="1eb8", cell=None),
            xml.child("0000:3b:02.2", "vdpa"),
            xml.child("0000:99:00.0", "net", "eth9"),
        ]
    )
    assert [(node.address, node.kind, node.parent, node.cell) for node in found] == [
        ("0000:3b:00.0", "type-PF", "", 0),
        ("0000:3b:02.1", "type-VF", "0000:3b:00.0", 0),
        ("0000:3b:02.2", "vdpa", "0000:3b:00.0", 0),
        ("0000:af:00.0", "type-PCI", "", None),
    ]
    assert found[1].interfaces == ("enp59s2f1",)
    assert (found[3].vendor_id, found[3].product_id) == ("10de", "1eb8")
