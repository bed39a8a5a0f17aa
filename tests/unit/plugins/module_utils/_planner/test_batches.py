# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches of hosts: each rule by itself, and all on made-up fleets, replayed guest by guest."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from itertools import combinations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner.batches import (
    limits,
    plan_batches,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.fleet_model import (
    FAULT_DOMAIN,
    NO_DOMAIN,
    SPREADING,
    ZONE,
    FleetGroup,
    FleetGuest,
    FleetHost,
    Kind,
    Rules,
)


def kind(memory=1, cpus=1, **fields):
    return Kind((("MEMORY_MB", memory), ("VCPU", cpus)), **fields)


def host(name, memory=100, cpus=100, **fields):
    return FleetHost(name, {"MEMORY_MB": memory, "VCPU": cpus}, **fields)


def guests(where, count=1, group="", **fields):
    """``count`` guests there, all of one kind."""
    return [
        FleetGuest(f"{where}-{group}-{n}", f"vm-{where}-{group}-{n}", where, kind(**fields), group)
        for n in range(count)
    ]


def plan(hosts, everyone, *, groups=(), chosen=None, **rules):
    names = [each.name for each in hosts] if chosen is None else chosen
    return plan_batches(hosts, everyone, groups, names, Rules(**rules))


def together(found):
    return [set(batch.hosts) for batch in found.batches]


# --- order and size ----------------------------------------------------------------------


def test_empty_hosts_go_first_and_then_those_with_the_fewest_guests():
    hosts = [host(name) for name in "abcd"]
    everyone = guests("a", 3) + guests("b", 1) + guests("d", 2)
    found = plan(hosts, everyone, max_hosts=1)
    assert [batch.hosts for batch in found.batches] == [("c",), ("b",), ("d",), ("a",)]
    assert found.batches[0].guests == 0


def test_a_batch_has_no_more_hosts_than_asked_for():
    found = plan([host(name) for name in "abcde"], [], max_hosts=2)
    assert [len(batch.hosts) for batch in found.batches] == [2, 2, 1]
    assert found.batches[0].kept_out == {"max_hosts": 3}


def test_the_canary_goes_alone():
    found = plan([host(name) for name in "abcd"], [], max_hosts=3, canary=True)
    assert [(len(b.hosts), b.canary) for b in found.batches] == [(1, True), (3, False)]


def test_only_the_chosen_hosts_are_drained():
    found = plan([host("a"), host("b"), host("c")], guests("a", 2), chosen=["a"])
    assert together(found) == [{"a"}]
    assert {move.destination for move in found.batches[0].moves} <= {"b", "c"}


def test_the_prediction_is_that_of_the_slowest_host():
    everyone = guests("a", 4, seconds=10.0) + guests("b", 1, seconds=10.0)
    hosts = [host("a"), host("b"), host("c")]
    assert plan(hosts, everyone, chosen=["a", "b"]).batches[0].seconds == 40.0
    assert plan(hosts, everyone, chosen=["a", "b"], max_parallel=2).batches[0].seconds == 20.0


# --- groups, aggregates, domains ---------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "apart"),
    [("anti-affinity", True), ("soft-anti-affinity", True), ("soft-affinity", False)],
)
def test_members_of_a_group_that_spreads_do_not_leave_two_hosts_at_a_time(policy, apart):
    hosts = [host(name) for name in "abcd"]
    everyone = guests("a", group="g") + guests("b", group="g")
    groups = [FleetGroup("g", "spread", policy, 1)]
    found = plan(hosts, everyone, groups=groups, chosen=["a", "b"])
    assert together(found) == ([{"a"}, {"b"}] if apart else [{"a", "b"}])
    assert found.batches[0].kept_out == ({"server_group": 1} if apart else {})


def test_an_aggregate_loses_no_more_than_its_limit():
    hosts = [host(name, aggregates=("ssd",)) for name in "abc"] + [host(name) for name in "de"]
    found = plan(hosts, [], max_hosts=4, aggregate_limit="1")
    assert max(len(batch & set("abc")) for batch in together(found)) == 1
    assert found.batches[0].kept_out == {"aggregate_limit": 2}


@pytest.mark.parametrize(
    ("size", "rules", "drained", "limit"),
    [
        (1, {"max_hosts": 10}, 10, 1),
        (10, {"max_hosts": 10}, 10, 5),
        (10, {"max_hosts": 10}, 40, 2),
        (10, {"max_hosts": 2}, 1000, 1),
        (9, {"max_hosts": 5}, 10, 4),
        (10, {"aggregate_limit": "3"}, 10, 3),
        (10, {"aggregate_limit": "25%"}, 10, 2),
        (3, {"aggregate_limit": "25%"}, 10, 1),
        (4, {"aggregate_limit": "100%"}, 10, 4),
    ],
)
def test_the_limit_is_starlingx_s_or_the_operator_s(size, rules, drained, limit):
    hosts = [host(f"h{n}", aggregates=("x",)) for n in range(size)]
    assert limits(hosts, Rules(**rules), drained) == {"x": limit}


@pytest.mark.parametrize(
    ("within", "expected"),
    [
        (NO_DOMAIN, [{"a", "b", "c"}]),
        (ZONE, [{"a", "b"}, {"c"}]),
        (FAULT_DOMAIN, [{"a"}, {"b", "c"}]),
    ],
)
def test_hosts_of_a_batch_come_from_one_domain(within, expected):
    hosts = [
        host("a", zone="east", domain="r1"),
        host("b", zone="east", domain="r2"),
        host("c", zone="west", domain="r2"),
    ]
    assert together(plan(hosts, [], max_hosts=3, within=within)) == expected


# --- room --------------------------------------------------------------------------------


def test_hosts_without_room_for_each_other_go_one_after_the_other():
    hosts = [host(name, memory=10) for name in "abc"]
    everyone = guests("a", 10) + guests("b", 10)
    found = plan(hosts, everyone, chosen=["a", "b"])
    assert together(found) == [{"a"}, {"b"}]
    assert found.batches[0].kept_out == {"room": 1}
    # What a freed takes b's guests: c is full by then.
    assert {move.destination for move in found.batches[1].moves} <= {"a", "c"}


def test_guests_of_the_batch_leave_a_host_that_joins_it():
    hosts = [host("a", 0), host("b", 5), host("c", 5), host("d", 5)]
    found = plan(hosts, guests("a", 2) + guests("b", 2), chosen=["a", "b"])
    assert together(found) == [{"a", "b"}]
    assert {move.destination for move in found.batches[0].moves} <= {"c", "d"}


def test_guests_go_where_they_are_not_moved_again():
    hosts = [host("a"), host("b", 1000), host("c", 10)]
    found = plan(hosts, guests("a", 2) + guests("b", 3), chosen=["a", "b"], max_hosts=1)
    assert [move.destination for move in found.batches[0].moves] == ["c"]


def test_a_host_without_room_waits_until_others_made_some():
    # z has the fewest guests, but only an empty a has room for its big one.
    hosts = [host("a", 3), host("b", 3), host("z", 0)]
    everyone = guests("a", 2) + guests("z", memory=5)
    found = plan(hosts, everyone, chosen=["a", "z"], max_hosts=1)
    assert together(found) == [{"a"}, {"z"}]
    assert found.undrainable == ()


def test_what_fits_nowhere_is_told_with_what_it_is_short_of():
    found = plan([host("a", 0), host("b", 5), host("c", 3)], guests("a", 2, memory=6), chosen=["a"])
    (left,) = found.undrainable
    assert (left.host, left.code, left.short) == ("a", "no_room", {"MEMORY_MB": 4})
    assert left.reason == (
        "2 guests of MEMORY_MB:6 VCPU:1: no room left on the 2 hosts that may take them,"
        " short of 4 MEMORY_MB"
    )
    assert not found.batches


def test_a_guest_bigger_than_each_rest_is_short_of_what_the_best_lacks():
    found = plan([host("a", 0), host("b", 5), host("c", 3)], guests("a", memory=6), chosen=["a"])
    assert found.undrainable[0].short == {"MEMORY_MB": 1}


def test_enough_of_each_but_not_at_once():
    hosts = [host("a", 0), host("b", 9, 1), host("c", 1, 9)]
    (left,) = plan(hosts, guests("a", memory=5, cpus=5), chosen=["a"]).undrainable
    assert (left.code, left.short) == ("no_room", {})
    assert "not on one host" in left.reason


@pytest.mark.parametrize(
    ("others", "fields", "code"),
    [
        ([host("b", unusable="disabled")], {}, "no_usable_host"),
        ([], {}, "no_usable_host"),
        ([host("b", zone="west")], {"zone": "east"}, "availability_zone"),
        ([host("b")], {"required": frozenset({"T"})}, "traits"),
        ([host("b", traits=frozenset({"T"}))], {"forbidden": frozenset({"T"})}, "traits"),
    ],
)
def test_a_guest_that_no_host_may_take_says_why(others, fields, code):
    (left,) = plan([host("a"), *others], guests("a", **fields), chosen=["a"]).undrainable
    assert (left.host, left.code, left.short) == ("a", code, {})
    assert left.remedy


def test_guests_move_to_the_same_or_a_newer_hypervisor():
    new = host("a", hypervisor_type="QEMU", hypervisor_version=8002000)
    old = host("b", hypervisor_type="QEMU", hypervisor_version=6002000)
    found = plan([new, old], guests("a") + guests("b"))
    assert [each.host for each in found.undrainable] == ["a"]
    assert found.undrainable[0].code == "older_hypervisor"
    assert together(found) == [{"b"}]


def test_anti_affinity_takes_a_host_for_each_member():
    hosts, groups = [host("a"), host("b")], [FleetGroup("g", "apart", "anti-affinity", 1)]
    everyone = guests("a", group="g") + guests("b", group="g")
    found = plan(hosts, everyone, groups=groups)
    assert {each.code for each in found.undrainable} == {"anti_affinity"}
    assert found.undrainable[0].guests == ("vm-a-g-0",)
    assert not plan(hosts, everyone, groups=[FleetGroup("g", "", "anti-affinity", 2)]).undrainable
    soft = [FleetGroup("g", "apart", "soft-anti-affinity")]
    assert not plan(hosts, everyone, groups=soft).undrainable


def test_hard_affinity_and_a_dead_service_keep_guests_where_they_are():
    hosts = [host("a"), host("b", down=True, unusable="down"), host("c"), host("d")]
    everyone = guests("a", group="g") + guests("b")
    found = plan(hosts, everyone, groups=[FleetGroup("g", "close", "affinity")])
    assert {each.host: each.code for each in found.undrainable} == {
        "a": "affinity_group",
        "b": "host_down",
    }
    assert together(found) == [{"c", "d"}]


# --- everything at once ------------------------------------------------------------------

POLICIES = ("anti-affinity", "soft-anti-affinity", "soft-affinity", "affinity")


def some_fleet(seed):
    """A small fleet of all that matters; some hosts are too full, closed, or down."""
    chance = random.Random(seed)
    full = chance.choice((0, 4, 16, 40))
    hosts = [
        FleetHost(
            f"h{n:02d}",
            {name: chance.randint(0, full) for name in ("MEMORY_MB", "VCPU", "PCPU")},
            zone=chance.choice(("east", "west")),
            domain=f"r{n // 4}",
            unusable=chance.choice(("", "", "", "", "disabled")),
            down=chance.random() < 0.05,
            aggregates=tuple(a for a in ("x", "y", "z") if chance.random() < 0.4),
            traits=frozenset(t for t in ("T", "U") if chance.random() < 0.7),
            hypervisor_type="QEMU",
            hypervisor_version=chance.choice((6, 8, 8, 8)),
        )
        for n in range(chance.randint(1, 16))
    ]
    groups = [
        FleetGroup(
            f"g{n}", f"g{n}", chance.choices(POLICIES, (4, 4, 2, 1))[0], chance.choice((1, 2))
        )
        for n in range(4)
    ]
    everyone = []
    for number in range(chance.randint(0, 5 * len(hosts))):
        where = chance.choice(hosts)
        needs = {"MEMORY_MB": chance.randint(1, 6), chance.choice(("VCPU", "PCPU")): 1}
        wanted = Kind(
            tuple(sorted(needs.items())),
            zone=where.zone if chance.random() < 0.2 else "",
            required=where.traits if chance.random() < 0.1 else frozenset(),
            seconds=5.0,
        )
        group = chance.choice([*groups, None, None, None, None, None, None, None, None])
        everyone.append(
            FleetGuest(
                f"v{number:03d}", f"v{number}", where.name, wanted, group.id if group else ""
            )
        )
    chosen = [h.name for h in hosts if chance.random() < 0.8]
    rules = Rules(
        max_hosts=chance.randint(1, 5),
        aggregate_limit=chance.choice(("", "1", "2", "50%")),
        within=chance.choice((NO_DOMAIN, ZONE, FAULT_DOMAIN)),
        canary=chance.random() < 0.3,
    )
    return hosts, everyone, groups, chosen, rules


class Replay:
    """A fleet on which a plan is carried out guest by guest, with none of the planner's books."""

    def __init__(self, hosts, everyone, groups):
        self.hosts = {each.name: each for each in hosts}
        self.free = {each.name: Counter(each.free) for each in hosts}
        self.on = {guest.id: guest.host for guest in everyone}
        self.guests = {guest.id: guest for guest in everyone}
        self.groups = {group.id: group for group in groups}

    def members(self, where):
        return {g.group for i, g in self.guests.items() if self.on[i] == where and g.group}

    def carry_out(self, batch):
        leaving = {i for i, where in self.on.items() if where in batch.hosts}
        for move in batch.moves:
            for guest_id in self._of(move, leaving):
                self._move(self.guests[guest_id], move)
                leaving.discard(guest_id)
        assert not leaving, "a guest was left behind"
        for name in batch.hosts:
            assert name not in self.on.values()

    def _of(self, move, leaving):
        if move.guest is not None:
            assert move.count == 1
            return [move.guest.id]
        alike = [
            i
            for i in sorted(leaving)
            if self.guests[i].kind == move.kind
            and not self.guests[i].group
            and self.on[i] == move.source
        ]
        assert len(alike) >= move.count
        return alike[: move.count]

    def _move(self, guest, move):
        source, target = self.hosts[self.on[guest.id]], self.hosts[move.destination]
        assert source.name == move.source
        assert not source.down
        assert not target.unusable
        assert guest.kind.zone in ("", target.zone)
        assert guest.kind.required <= target.traits
        assert target.hypervisor_version >= source.hypervisor_version
        for name, amount in guest.kind.needs:
            self.free[source.name][name] += amount
            self.free[target.name][name] -= amount
            assert self.free[target.name][name] >= 0, "a host is overfilled"
        self.on[guest.id] = target.name
        group = self.groups.get(guest.group)
        assert group is None or group.policy != "affinity"
        if group is not None and group.policy == "anti-affinity":
            there = sum(
                self.on[i] == target.name and g.group == group.id for i, g in self.guests.items()
            )
            assert there <= group.most, "a group is broken"


def check_batch(replay, batch, rules, aggregate_limits):
    """The rules that concern the hosts of one batch, as they are when it begins."""
    assert len(batch.hosts) <= (1 if batch.canary else rules.max_hosts)
    hosts = [replay.hosts[name] for name in batch.hosts]
    for one, other in combinations(hosts, 2):
        shared = replay.members(one.name) & replay.members(other.name)
        assert not {g for g in shared if replay.groups[g].policy in SPREADING}
    lost = Counter(name for each in hosts for name in each.aggregates)
    assert all(count <= aggregate_limits[name] for name, count in lost.items())
    if rules.within == ZONE:
        assert len({each.zone for each in hosts}) == 1
    if rules.within == FAULT_DOMAIN:
        assert len({each.domain for each in hosts}) == 1
    assert not {move.destination for move in batch.moves} & set(batch.hosts)
    assert batch.guests == sum(where in batch.hosts for where in replay.on.values())


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_no_plan_breaks_a_rule(first):
    drained = Counter()
    for seed in range(first, first + 50):
        hosts, everyone, groups, chosen, rules = some_fleet(seed)
        found = plan_batches(hosts, everyone, groups, chosen, rules)
        replay = Replay(hosts, everyone, groups)
        for batch in found.batches:
            check_batch(replay, batch, rules, limits(hosts, rules, len(chosen)))
            replay.carry_out(batch)
        names = [name for batch in found.batches for name in batch.hosts]
        names += [each.host for each in found.undrainable]
        assert sorted(names) == sorted(chosen), "each host once"
        drained.update(batches=len(found.batches), undrainable=len(found.undrainable))
    assert min(drained["batches"], drained["undrainable"]) > 50, "both kinds were seen"


def test_the_order_of_what_is_listed_does_not_matter():
    for seed in range(40):
        hosts, everyone, groups, chosen, rules = some_fleet(seed)
        found = plan_batches(hosts, everyone, groups, chosen, rules)
        chance = random.Random(seed)
        for each in (hosts, everyone, groups, chosen):
            chance.shuffle(each)
        assert plan_batches(hosts, everyone, groups, chosen, rules) == found


def test_a_host_that_takes_guests_and_is_not_drained_harms_nobody():
    """Not a theorem of first fit decreasing: what is proved is that one with room for all of a
    host's guests makes it drainable, whatever else is full."""
    helped = 0
    for seed in range(200):
        hosts, everyone, groups, chosen, rules = some_fleet(seed)
        before = plan_batches(hosts, everyone, groups, chosen, rules)
        zones = {zone: {"MEMORY_MB": 999, "VCPU": 999, "PCPU": 999} for zone in ("east", "west")}
        traits = frozenset({"T", "U"})
        more = [
            FleetHost(f"new-{z}-{n}", free, z, "new", "", False, (), traits, "QEMU", 8)
            for z, free in zones.items()
            for n in range(8)
        ]
        after = plan_batches([*hosts, *more], everyone, groups, chosen, rules)
        left = {each.host: each.code for each in after.undrainable}
        assert set(left.values()) <= {"affinity_group", "host_down", "anti_affinity"}
        assert left.keys() <= {each.host for each in before.undrainable}
        helped += len(before.undrainable) > len(after.undrainable)
    assert helped > 50


def test_nothing_to_drain_is_no_batch():
    assert plan([host("a")], guests("a"), chosen=[]) == plan_batches([], [], [], [], Rules())


def test_a_thousand_guests_of_one_kind_are_few_moves():
    hosts = [host("a", 0), *(host(f"b{n}", 100) for n in range(10))]
    found = plan(hosts, guests("a", 1000), chosen=["a"])
    by_destination = defaultdict(int)
    for move in found.batches[0].moves:
        by_destination[move.destination] += move.count
    assert len(found.batches[0].moves) == 10
    assert set(by_destination.values()) == {100}
