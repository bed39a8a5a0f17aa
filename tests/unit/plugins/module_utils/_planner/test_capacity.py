# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placing a whole plan: nothing over-committed, no group or zone broken, the biggest first."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.capacity import place
from ansible_collections.lowtide.compute.plugins.module_utils._planner.eligibility import (
    Context,
    destinations,
)
from tests.unit.support import SOURCE, guest, resources, room


def placed(guests, *rooms, **options) -> dict[str, str]:
    return place(guests, Context(m.Options(**options), SOURCE, rooms=rooms))


def sized(guest_id: str, count: int, **fields) -> m.Guest:
    """As big as ``count`` ordinary guests."""
    size = {"ram_mib": 1024 * count, "vcpus": count, "resources": resources(count)}
    return guest(guest_id, **(size | fields))


def group(limit: int = 1, policy: str = "anti-affinity", **members: str) -> m.Group:
    return m.Group("group-1", "apart", policy, limit, members)


def test_nobody_to_place():
    assert placed([], room()) == {}


def test_unknown_rooms_take_nobody():
    assert place([guest()], Context(m.Options(), SOURCE)) == {"g1": ""}


def test_the_roomiest_host_takes_each():
    guests = [guest(f"g{i}") for i in range(3)]
    assert placed(guests, room("cmp-2", 2), room("cmp-3", 4)) == {
        "g0": "cmp-3",
        "g1": "cmp-3",
        "g2": "cmp-2",
    }


def test_the_biggest_goes_first_so_that_all_fit():
    small, big = [sized(f"s{i}", 1) for i in range(4)], sized("big", 4)
    found = placed([*small, big], room("cmp-2", 4), room("cmp-3", 4))
    assert "" not in found.values()
    assert [each for each in found if found[each] == found["big"]] == ["big"]


def test_of_equal_memory_more_processors_go_first():
    few, many = guest("a"), guest("b", vcpus=4, resources=resources() | {"VCPU": 4})
    cramped = room("cmp-2", free=resources(8) | {"VCPU": 4})
    assert placed([few, many], cramped) == {"a": "", "b": "cmp-2"}


def test_whoever_finds_no_room_is_named_and_takes_none():
    found = placed([sized("big", 9), guest("small")], room("cmp-2", 1))
    assert found == {"big": "", "small": "cmp-2"}


def test_one_class_that_is_short_is_enough():
    tight = room("cmp-2", free=resources(8) | {"VCPU": 1})
    assert sorted(placed([guest("g1"), guest("g2")], tight).values()) == ["", "cmp-2"]


def test_members_of_a_group_are_spread_also_among_themselves():
    apart = group(g1=SOURCE, g2=SOURCE, g3=SOURCE)
    guests = [guest(each, group=apart) for each in ("g1", "g2", "g3")]
    found = placed(guests, room("cmp-2"), room("cmp-3"))
    assert sorted(found.values()) == ["", "cmp-2", "cmp-3"]


def test_a_member_that_is_there_already_counts():
    apart = group(g1=SOURCE, other="cmp-2")
    assert placed([guest(group=apart)], room("cmp-2"), room("cmp-3", 1)) == {"g1": "cmp-3"}


def test_a_soft_group_is_no_obstacle():
    soft = group(policy="soft-anti-affinity", g1=SOURCE, g2=SOURCE)
    guests = [guest(each, group=soft) for each in ("g1", "g2")]
    assert set(placed(guests, room("cmp-2")).values()) == {"cmp-2"}


def test_pinned_guests_stay_in_their_zone():
    guests = [guest(f"g{i}", pinned_availability_zone="edge") for i in range(2)]
    edge = room("cmp-3", 1, availability_zone="edge")
    assert placed(guests, room("cmp-2"), edge) == {"g0": "cmp-3", "g1": ""}


def test_the_chosen_destination_must_take_all():
    guests = [guest(f"g{i}") for i in range(3)]
    found = placed(guests, room("cmp-2", 2), room("cmp-3", 9), destination="cmp-2")
    assert sorted(found.values()) == ["", "cmp-2", "cmp-2"]


hosts = ("cmp-2", "cmp-3", "cmp-4")
zones = st.sampled_from(["", "nova", "edge"])


@st.composite
def clouds(draw):
    """A few guests on cmp-1, some in one group, and three hosts of all sizes."""
    ids = [f"g{i}" for i in range(draw(st.integers(0, 8)))]
    members = dict.fromkeys(ids, SOURCE) | {"other": draw(st.sampled_from(hosts))}
    apart = group(draw(st.integers(1, 3)), **members)
    guests = [
        sized(
            each,
            draw(st.integers(1, 4)),
            pinned_availability_zone=draw(zones),
            group=draw(st.sampled_from([None, apart])),
        )
        for each in ids
    ]
    rooms = [
        room(
            host,
            free={k: draw(st.integers(-1, 6)) * v for k, v in resources().items()},
            availability_zone=draw(st.sampled_from(["nova", "edge"])),
            usable=draw(st.sampled_from([True, True, True, False])),
        )
        for host in hosts
    ]
    return guests, [room(SOURCE, 99), *rooms]


@given(clouds())
def test_nothing_is_ever_over_committed(cloud):
    guests, rooms = cloud
    found = placed(guests, *rooms)
    assert found.keys() == {each.id for each in guests}
    by_host = {each.host: each for each in rooms}
    taken = {host: Counter() for host in by_host}
    for each in guests:
        if found[each.id]:
            taken[found[each.id]].update(each.resources)
    for host, used in taken.items():
        assert all(amount <= by_host[host].free[name] for name, amount in used.items())
        assert not used or (by_host[host].usable and host != SOURCE)


@given(clouds())
def test_no_group_and_no_zone_is_ever_broken(cloud):
    guests, rooms = cloud
    found = placed(guests, *rooms)
    zone_of = {each.host: each.availability_zone for each in rooms}
    together = Counter(found[each.id] for each in guests if each.group and found[each.id])
    for each in guests:
        if each.group and found[each.id]:
            there_already = each.group.members["other"] == found[each.id]
            assert together[found[each.id]] + there_already <= each.group.max_server_per_host
        if found[each.id] and each.pinned_availability_zone:
            assert zone_of[found[each.id]] == each.pinned_availability_zone


@given(clouds())
def test_the_biggest_guest_is_placed_if_it_could_go_at_all(cloud):
    guests, rooms = cloud
    if guests:
        biggest = min(guests, key=lambda g: (-g.ram_mib, -g.vcpus, g.id))
        could = destinations(biggest, Context(m.Options(), SOURCE, rooms=tuple(rooms)))
        assert bool(placed(guests, *rooms)[biggest.id]) == bool(could)
