# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placing a whole plan: nothing over-committed, no group or zone broken, the biggest first."""

from __future__ import annotations

from collections import Counter
from itertools import product
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.capacity import (
    place,
    words,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.eligibility import Context
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa import fit, take
from tests.unit.support import SOURCE, cells, guest, pinned, resources, room


def placed(guests, *rooms, **options) -> dict[str, str]:
    return dict(place(guests, Context(m.Options(**options), SOURCE, rooms=rooms)).hosts)


def sized(guest_id: str, count: int, **fields) -> m.Guest:
    """As big as ``count`` ordinary guests."""
    size = {"ram_mib": 1024 * count, "vcpus": count, "resources": resources(count)}
    return guest(guest_id, **(size | fields))


def group(limit: int = 1, policy: str = "anti-affinity", **members: str) -> m.Group:
    return m.Group("group-1", "apart", policy, limit, members)


def test_nobody_to_place():
    assert placed([], room()) == {}


def test_unknown_rooms_take_nobody():
    assert place([guest()], Context(m.Options(), SOURCE)).hosts == {"g1": ""}


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
def clouds(draw, most=8):
    """A few guests on cmp-1, some in one group, and three hosts of all sizes."""
    ids = [f"g{i}" for i in range(draw(st.integers(0, most)))]
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
            unusable=draw(st.sampled_from(["", "", "", "disabled"])),
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


def wanted_most(guests, rooms) -> int:
    """By trying everything: how many can have a place at most?"""
    hosts = [["", *(each.host for each in rooms)] for _guest in guests]
    return max(sum(map(bool, where)) for where in product(*hosts) if allowed(guests, rooms, where))


def allowed(guests, rooms, where) -> bool:
    """Is nobody on a host that is closed, too small, in another zone or full of its group?"""
    by_host = {each.host: each for each in rooms}
    used = {host: Counter() for host in by_host}
    mates = Counter(["other@" + member for member in group_of(guests)])
    for each, host in zip(guests, where, strict=True):
        if not host:
            continue
        there, zone = by_host[host], each.pinned_availability_zone
        if not there.usable or host == SOURCE or zone not in ("", there.availability_zone):
            return False
        used[host].update(each.resources)
        mates["other@" + host] += each.group is not None
        if each.group and mates["other@" + host] > each.group.max_server_per_host:
            return False
    return all(by_host[h].free[n] >= a for h, amounts in used.items() for n, a in amounts.items())


def group_of(guests) -> list[str]:
    members = next((each.group.members for each in guests if each.group), {})
    return [members["other"]] if members else []


@settings(deadline=None)
@given(clouds(most=5))
def test_as_many_are_placed_as_can_be(cloud):
    guests, rooms = cloud
    found = place(guests, Context(m.Options(), SOURCE, rooms=tuple(rooms)))
    assert sum(map(bool, found.hosts.values())) == wanted_most(guests, rooms)
    assert set(found.shortage.guests) == {each for each, host in found.hosts.items() if not host}
    assert found.shortage.least or not found.shortage.guests


@settings(deadline=None)
@given(clouds(), st.integers(1, 6))
def test_a_host_more_never_squeezes_anybody_out(cloud, count):
    guests, rooms = cloud
    fewer = placed(guests, *rooms)
    more = placed(guests, *rooms, room("cmp-22", count))
    assert sum(map(bool, more.values())) >= sum(map(bool, fewer.values()))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_where_there_is_one_place_for_each_it_is_found(seed):
    """Hosts that were filled up by such guests, and must take just these again."""
    random, rooms, guests = Random(seed), [], []
    for host in range(8):
        sizes = [random.randint(1, 5) for _each in range(random.randint(1, 5))]
        guests += [sized(f"g{host}-{i}", size) for i, size in enumerate(sizes)]
        rooms.append(room(f"cmp-{host + 2}", sum(sizes)))
    found = place(guests, Context(m.Options(), SOURCE, rooms=tuple(rooms)))
    assert "" not in found.hosts.values()


def test_others_make_place_for_whom_only_one_host_takes():
    picky = sized("picky", 2, pinned_availability_zone="edge")
    guests = [sized("big", 3), sized("mid", 2), picky]
    edge = room("cmp-3", 5, availability_zone="edge")
    found = placed(guests, room("cmp-2", 2), edge)
    assert found == {"big": "cmp-3", "mid": "cmp-2", "picky": "cmp-3"}


def test_as_few_as_can_be_are_left_the_smallest_of_them():
    guests = [sized("a", 3), sized("b", 3), sized("c", 2)]
    found = place(guests, Context(m.Options(), SOURCE, rooms=(room("cmp-2", 4), room("cmp-3", 3))))
    assert found.shortage == m.Shortage(
        ("c",), {"cmp-2": {"DISK_GB": 1, "MEMORY_MB": 1024, "VCPU": 1}}, least=True
    )
    assert words(found.shortage) == "1 DISK_GB and 1024 MEMORY_MB and 1 VCPU more on cmp-2 would do"


def test_what_is_missing_adds_up_on_the_host_that_lacks_the_least():
    guests = [sized(f"g{i}", 4) for i in range(3)]
    found = place(guests, Context(m.Options(), SOURCE, rooms=(room("cmp-2", 5),)))
    assert found.shortage.missing == {"cmp-2": {"DISK_GB": 7, "MEMORY_MB": 7168, "VCPU": 7}}


def test_no_amount_helps_a_group():
    apart = group(g1=SOURCE, g2=SOURCE)
    guests = [guest(each, group=apart) for each in ("g1", "g2")]
    found = place(guests, Context(m.Options(), SOURCE, rooms=(room("cmp-2"),)))
    assert found.shortage.missing == {"cmp-2": {}}
    assert words(found.shortage) == "another host would do"


def test_many_that_are_alike_are_proven_not_to_fit():
    guests = [sized(f"g{i}", 3) for i in range(40)]
    rooms = tuple(room(f"cmp-{i}", 5) for i in range(2, 41))
    found = place(guests, Context(m.Options(), SOURCE, rooms=rooms))
    assert (len(found.shortage.guests), found.shortage.least) == (1, True)


def test_a_search_that_did_not_end_proves_nothing():
    random = Random(1)
    guests = [sized(f"g{i}", random.randint(20, 40)) for i in range(60)]
    # Just enough in all, and next to never without a rest on any host.
    total = sum(each.vcpus for each in guests)
    rooms = tuple(room(f"cmp-{i}", total // 20 + (i < total % 20)) for i in range(20))
    found = place(guests, Context(m.Options(), SOURCE, rooms=rooms))
    assert found.shortage.guests
    assert not found.shortage.least
    assert words(found.shortage).endswith("not all were tried")


def test_a_soft_group_is_spread_where_it_can_be():
    soft = group(policy="soft-anti-affinity", g1=SOURCE, g2=SOURCE)
    guests = [guest(each, group=soft) for each in ("g1", "g2")]
    found = placed(guests, room("cmp-2", 8), room("cmp-3", 2))
    assert sorted(found.values()) == ["cmp-2", "cmp-3"]


def test_a_soft_group_is_kept_together_where_it_can_be():
    soft = group(policy="soft-affinity", g1=SOURCE, g2=SOURCE, other="cmp-3")
    guests = [guest(each, group=soft) for each in ("g1", "g2")]
    assert set(placed(guests, room("cmp-2", 8), room("cmp-3", 2)).values()) == {"cmp-3"}


# --- cells -------------------------------------------------------------------------------


def test_cells_are_filled_one_after_the_other():
    guests = [pinned(f"g{i}", 3) for i in range(3)]
    # Twelve CPUs would be enough for four of them; one host's cells take one each.
    small = room("cmp-2", 9, numa=cells("cmp-2", 4, 4, 4))
    large = room("cmp-3", 5, numa=cells("cmp-3", 5))
    assert sorted(placed(guests, small).values()) == ["cmp-2"] * 3
    assert sorted(placed(guests, large).values()) == ["", "", "cmp-3"]
    assert "" not in placed(guests, room("cmp-2", 9, numa=cells("cmp-2", 4, 4)), large).values()


def test_who_needs_one_large_cell_is_not_kept_out_by_who_does_not():
    guests = [pinned("a", 2), pinned("b", 2), pinned("c", 6)]
    rooms = (
        room("cmp-2", 9, numa=cells("cmp-2", 6)),
        room("cmp-3", 5, numa=cells("cmp-3", 2, 2)),
    )
    assert placed(guests, *rooms) == {"a": "cmp-3", "b": "cmp-3", "c": "cmp-2"}


def test_cells_that_nobody_saw_take_all():
    guests = [pinned(f"g{i}", 3) for i in range(3)]
    assert set(placed(guests, room("cmp-2", 9)).values()) == {"cmp-2"}


def test_no_amount_helps_who_finds_no_cell():
    guests = [pinned(f"g{i}", 3) for i in range(2)]
    rooms = (room("cmp-2", 9, numa=cells("cmp-2", 5)),)
    found = place(guests, Context(m.Options(), SOURCE, rooms=rooms))
    assert found.shortage == m.Shortage(("g1",), {"cmp-2": {}}, least=True)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=6),
    st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=2), min_size=1, max_size=3),
)
def test_the_claims_of_a_plan_fit_in_the_order_of_their_arrival(sizes, hosts):
    guests = [pinned(f"g{i}", size) for i, size in enumerate(sizes)]
    names = [f"cmp-{i + 2}" for i in range(len(hosts))]
    topologies = {name: cells(name, *each) for name, each in zip(names, hosts, strict=True)}
    found = placed(guests, *(room(name, 9, numa=topologies[name]) for name in names))
    for each in guests:
        host = found[each.id]
        if host:
            verdict = fit(each.numa, topologies[host])
            assert verdict.result == "fit"
            topologies[host] = take(each.numa, topologies[host], verdict)
