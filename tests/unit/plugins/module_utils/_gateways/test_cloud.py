# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The survey and the evidence, put together from four services."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    NotFound,
    Unreachable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.cloud import OpenStackCloud
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    Binding,
    Group,
    Port,
    Scope,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_model import NumaPort
from tests.unit.support import guest, migration, service

HOST = Scope(host="cmp-1")


class FakeNova:
    """A cloud of three hosts; ``hidden`` guests are in no list."""

    def __init__(self, guests=(), hidden=(), migrations=(), groups=()):
        self.all = {each.id: each for each in (*guests, *hidden)}
        self.listed = list(guests)
        self.of_host, self.all_groups = migrations, groups
        self.roots = {f"root-{n}": f"cmp-{n}" for n in (1, 2, 3)}
        self.asked = []

    def services(self):
        return tuple(map(service, ("cmp-1", "cmp-2", "cmp-3")))

    def service(self, host):
        return service(host)

    def nodes(self):
        return tuple(
            {
                "id": root,
                "service": {"host": host},
                "hypervisor_type": "QEMU",
                "hypervisor_version": 8002000,
            }
            for root, host in self.roots.items()
        )

    def aggregates(self):
        return (
            {"name": "gold", "uuid": "a1", "hosts": ["cmp-2"], "availability_zone": None},
            {"name": "edge", "uuid": "a2", "hosts": ["cmp-3"], "availability_zone": "edge"},
        )

    def guests_of(self, host):
        self.asked.append(("host", host))
        return tuple(each for each in self.listed if each.host == host)

    def guests_of_project(self, project_id):
        self.asked.append(("project", project_id))
        return tuple(each for each in self.listed if each.project_id == project_id)

    def guests_named(self, name):
        return tuple(each for each in self.listed if each.name == name)

    def guest(self, guest_id):
        self.asked.append(("guest", guest_id))
        return self.all.get(guest_id)

    def migrations_of(self, host):
        return self.of_host

    def migrations_of_guest(self, guest_id):
        return tuple(m for m in self.of_host if m.guest_id == guest_id)

    def groups(self):
        return self.all_groups

    def shares(self, guest_id):
        return (f"share-{guest_id}",)

    def alive(self, guest_id):
        return True


class FakePlacement:
    """Everything is held on root-1."""

    def __init__(self, **consumers):
        self.consumers = consumers
        self.asked = []

    def summaries(self):
        memory = {"capacity": 10, "used": 1}
        return {
            "root-2": {
                "root_provider_uuid": "root-2",
                "resources": {"MEMORY_MB": memory},
                "traits": ["HW_CPU_X86_VMX"],
            }
        }

    def candidates(self, resources, required, member_of):
        self.asked.append((dict(resources), tuple(required), tuple(member_of)))
        return frozenset({"root-3", "storage"}) if resources else None

    def consumers_of(self, root):
        return self.consumers if root == "root-1" else {}

    def allocations_of(self, consumer):
        held = self.consumers.get(consumer)
        return {"root-1": held} if held else {}


class FakeNetwork:
    """A port for each guest."""

    def ports_on(self, host):
        return {"g1": (Port("on-host"),)}

    def ports_of(self, guest_ids):
        return {each: (Port("by-id", "direct"),) for each in guest_ids}

    def bindings_of(self, guest_id):
        return (Binding("p", "cmp-1", "active"),)


class FakeVolume:
    def attachments_of(self, guest_id):
        return {"v1": 2}


class FakeImage:
    def __init__(self):
        self.asked = []

    def policy_properties(self, image_id):
        self.asked.append(image_id)
        return {"lowtide_wish": f"of {image_id}"}


def made(nova, volume=None, has_shares=False, image=None, **consumers):
    return OpenStackCloud(
        nova, FakePlacement(**consumers), FakeNetwork(), volume, image, has_shares=has_shares
    )


def test_an_image_s_policies_are_asked_for_once():
    own = {"hw_firmware_type": "uefi", "lowtide_wish": "leave"}
    guests = [
        guest("g1", image_id="i1"),
        guest("g2", image_id="i1", image_properties=own),
        guest("g3", image_id=""),
    ]
    image = FakeImage()
    seen = {each.id: each for each in made(FakeNova(guests), image=image).survey(HOST).guests}
    assert image.asked == ["i1"]
    assert seen["g1"].image_properties == {"lowtide_wish": "of i1"}
    # What Nova itself says is how the guest was made, and comes first.
    assert seen["g2"].image_properties == own
    assert seen["g3"].image_properties == {}


def test_a_survey_accounts_for_every_consumer():
    moved = migration(1, "g4", status="finished", kind="migration", uuid="m1")
    nova = FakeNova(
        guests=[guest("g1")],
        hidden=[
            guest("g2", vm_state="soft-delete"),
            guest("g3", host="cmp-3"),
            guest("g4", host="cmp-2", vm_state="resized"),
        ],
        migrations=(moved,),
    )
    seen = made(nova, g1={"VCPU": 1}, g2={}, g3={"VCPU": 3}, m1={}, stranger={}).survey(HOST)
    assert {each.id for each in seen.guests} == {"g1", "g2", "g4"}
    assert next(each for each in seen.guests if each.id == "g1").resources == {"VCPU": 1}
    assert seen.finished == (moved,)
    assert seen.unknown_consumers == ("g3", "stranger")


@pytest.mark.parametrize(
    "changes",
    [{"vm_state": "active"}, None],
    ids=["reverted or confirmed meanwhile", "deleted meanwhile"],
)
def test_a_finished_migration_without_its_resized_guest_is_history(changes):
    row = migration(1, "g4", status="finished", kind="migration")
    hidden = [guest("g4", host="cmp-2", **changes)] if changes else []
    seen = made(FakeNova(hidden=hidden, migrations=(row,))).survey(HOST)
    assert seen.finished == seen.guests == ()


def test_rooms_are_what_placement_has_left_on_each_host():
    rooms = {room.host: room for room in made(FakeNova()).survey(HOST).rooms}
    assert rooms["cmp-2"].free == {"MEMORY_MB": 9}
    assert rooms["cmp-2"].traits == ("HW_CPU_X86_VMX",)
    assert rooms["cmp-3"].free == {}
    assert rooms["cmp-2"].aggregates == ("gold",)
    kinds = {(each.hypervisor_type, each.hypervisor_version) for each in rooms.values()}
    assert kinds == {("QEMU", 8002000)}


def test_placement_is_asked_once_for_each_distinct_request():
    specs = {"trait:CUSTOM_GOLD": "required"}
    nova = FakeNova(
        [
            guest("g1"),
            guest("g2"),
            guest("g3", extra_specs=specs),
            guest("g4", pinned_availability_zone="edge"),
            guest("g5", pinned_availability_zone="nova"),
        ]
    )
    placement = FakePlacement(**{f"g{n}": {"VCPU": 1} for n in range(1, 6)})
    seen = OpenStackCloud(nova, placement, FakeNetwork()).survey(HOST).guests
    assert placement.asked == [
        ({"VCPU": 1}, (), ()),
        ({"VCPU": 1}, ("CUSTOM_GOLD",), ()),
        ({"VCPU": 1}, (), ("a2",)),
    ]
    # Providers that are no compute nodes, such as shared storage, are no hosts.
    assert {each.candidates for each in seen} == {("cmp-3",)}


def test_who_holds_nothing_is_not_asked_about():
    (seen,) = made(FakeNova([guest("g1")])).survey(HOST).guests
    assert seen.candidates is None


def test_guests_get_their_surroundings():
    group = Group("x", "n", "soft-affinity", members={"g1": "", "g9": ""})
    nova = FakeNova([guest("g1", vm_state="error")], groups=(group,))
    (seen,) = made(nova, has_shares=True).survey(HOST).guests
    assert seen.ports == (Port("on-host"),)
    assert seen.shares == ("share-g1",)
    assert seen.alive is True
    assert seen.group.members == {"g1": "cmp-1", "g9": ""}
    assert not [asked for asked in nova.asked if asked[0] == "project"]


def test_members_of_a_hard_group_are_looked_up_once_per_project():
    guests = [
        guest("g1", project_id="p"),
        guest("g2", project_id="p"),
        guest("g8", project_id="p", host="cmp-2"),
        guest("g9", project_id="p", host="cmp-3"),
    ]
    groups = (
        Group("x", "n", "anti-affinity", members=dict.fromkeys(("g1", "g8"), "")),
        Group("y", "n", "affinity", members=dict.fromkeys(("g2", "g9"), "")),
        Group("z", "n", "anti-affinity", members=dict.fromkeys(("other",), "")),
    )
    nova = FakeNova(guests, groups=groups)
    seen = {each.id: each for each in made(nova).survey(HOST).guests}
    assert seen["g1"].group.members == {"g1": "cmp-1", "g8": "cmp-2"}
    assert seen["g2"].group.members == {"g2": "cmp-1", "g9": "cmp-3"}
    assert [asked for asked in nova.asked if asked[0] == "project"] == [("project", "p")]


def test_named_guests_are_surveyed_wherever_they_are():
    nova = FakeNova([guest("g1"), guest("g2", host="cmp-2")])
    seen = made(nova, g1={"VCPU": 1}).survey(Scope(guest_ids=("g2", "g1", "gone")))
    assert [each.id for each in seen.guests] == ["g2", "g1"]
    assert seen.guests[1].resources == {"VCPU": 1}
    assert seen.guests[0].ports == (Port("by-id", "direct"),)


def test_named_guests_are_looked_at_by_host_once_their_hosts_are_known():
    nova = FakeNova([guest("g1"), guest("g2"), guest("g3")])
    cloud, scope = made(nova), Scope(guest_ids=("g1", "g2", "g3"))
    cloud.observe(scope)
    nova.asked.clear()
    assert len(cloud.observe(scope).guests) == 3
    assert nova.asked == [("host", "cmp-1")]


def test_a_named_guest_that_left_its_host_is_found():
    nova = FakeNova([guest("g1"), guest("g2"), guest("g3")])
    cloud, scope = made(nova), Scope(guest_ids=("g1", "g2", "g3"))
    cloud.observe(scope)
    nova.listed[0] = nova.all["g1"] = replace(guest("g1"), host="cmp-3")
    assert {each.id: each.host for each in cloud.observe(scope).guests}["g1"] == "cmp-3"


def test_evidence_of_all_witnesses():
    nova = FakeNova([guest("g1", volumes=("v1", "v2"))])
    seen = made(nova, FakeVolume(), g1={"VCPU": 1}, m1={"VCPU": 1}).evidence("g1", "m1")
    assert seen.allocations == ("cmp-1",)
    assert seen.leftover_allocations
    assert seen.bindings == (Binding("p", "cmp-1", "active"),)
    assert seen.attachments == {"v1": 2, "v2": 0}


def test_evidence_without_block_storage_or_migration():
    seen = made(FakeNova([guest("g1", volumes=("v1",))])).evidence("g1", "")
    assert seen.attachments == {}
    assert not seen.leftover_allocations
    assert seen.allocations == ()


def test_a_guest_that_is_gone():
    assert not made(FakeNova()).evidence("g1", "").exists


def test_guests_are_found_by_id_before_by_name():
    uuid = "0998f163-e901-47bf-8b1f-b02429749b8c"
    nova = FakeNova([guest(uuid, name="a"), guest("g2", name="twin"), guest("g3", name="twin")])
    cloud = made(nova)
    assert [each.id for each in cloud.find_guests(uuid)] == [uuid]
    assert [each.id for each in cloud.find_guests("twin")] == ["g2", "g3"]
    assert cloud.find_guests("nobody") == ()


def test_hosts_that_are_no_single_compute_node():
    nova = FakeNova()
    nova.roots = {"a": "cmp-1", "b": "cmp-1"}
    with pytest.raises(Unreachable, match="2 compute nodes"):
        made(nova).survey(HOST)
    nova.roots = {}
    with pytest.raises(NotFound, match="no compute node"):
        made(nova).host_allocations("cmp-1")


class FakeWires:
    """Every guest has an SR-IOV port."""

    def __init__(self):
        self.asked = []

    def of_guests(self, guest_ids):
        self.asked += guest_ids
        return {each: (NumaPort("direct", "physnet1"),) for each in guest_ids}


def test_what_guests_ask_of_cells_is_known():
    guests = [
        guest("g1", vcpus=2, extra_specs={"hw:cpu_policy": "dedicated"}),
        guest("g2", extra_specs={"hw:numa_nodes": "none"}),
        guest("g3", pinned_availability_zone=""),
    ]
    wires = FakeWires()
    cloud = OpenStackCloud(FakeNova(guests), FakePlacement(), FakeNetwork(), wires=wires)
    seen = {each.id: each.numa for each in cloud.survey(HOST).guests}
    assert seen["g1"].cells[0].pinned_cpus == (0, 1)
    assert [each.physical_network for each in seen["g1"].devices] == ["physnet1"]
    assert seen["g2"] is None
    assert seen["g3"].cells == seen["g3"].devices == ()
    # Whom networks cannot keep from a host is not looked up.
    assert wires.asked == ["g1", "g2"]
