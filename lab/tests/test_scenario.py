# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario file: what it gives, and what it says of mistakes."""

from __future__ import annotations

import dataclasses

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lab import scenario
from lab.scenario import ScenarioError

BASE = """
name: base
hosts: [{name: cmp-1}, {name: cmp-2, availability_zone: east}]
flavors: [{name: small, ram_mib: 2000}]
images: [{name: cirros}]
server_groups: [{name: apart, policy: anti-affinity}]
networks: [{name: tenant}, {name: fast, sriov: true}]
volumes: [{name: root, image: cirros}, {name: data}]
"""
FAULT = BASE + "api_faults: [{service: compute, path: /servers, action: 500}]"
DOCUMENTED = (
    scenario.Scenario,
    scenario.Host,
    scenario.Flavor,
    scenario.Image,
    scenario.ServerGroup,
    scenario.Network,
    scenario.Volume,
    scenario.Nic,
    scenario.Guest,
    scenario.GuestFaults,
    scenario.Alteration,
    scenario.Share,
    scenario.ApiFault,
)


def with_guest(**keys: object) -> str:
    guest = {"name": "g", "flavor": "small", "image": "cirros", **keys}
    return f"{BASE}guests: [{guest!r}]\n".replace("None", "null")


@pytest.mark.parametrize("path", sorted(scenario.SCENARIOS_DIR.glob("*.yml")), ids=lambda p: p.stem)
def test_shipped_scenarios_load_under_their_own_name(path):
    loaded = scenario.load(path)
    assert loaded.name == path.stem
    assert loaded.guests


def test_demo_covers_what_an_operator_meets():
    demo = scenario.load(scenario.shipped("demo"))
    here = [guest for guest in demo.guests if guest.host == "cmp-1"]
    assert len(here) >= 22
    assert {host.name for host in demo.hosts} == {"cmp-1", "cmp-2", "cmp-3", "cmp-4"}
    assert {"active", "shutoff", "paused"} <= {guest.state for guest in here}
    assert any(guest.locked for guest in here)
    assert any(guest.volume for guest in here)
    assert any(guest.config_drive for guest in here)
    assert any(nic.direct for guest in here for nic in guest.networks)
    assert any(guest.faults.never_converges for guest in here)
    assert [g.faults.times for g in here if g.faults.migration_fails_at_percent == 50] == [1]
    assert any("hw:mem_page_size" in demo.flavor(g.flavor).extra_specs for g in here)
    assert sum(guest.group == "etcd" for guest in demo.guests) >= 2


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (BASE + "migration_network: none", "migration_network"),
        (BASE + "cloud: nova", "cloud"),
        (BASE.replace("cmp-1}", "cmp-1, network_manager: ifupdown}"), "hosts[0].network_manager"),
    ],
)
def test_what_real_hypervisors_may_be_told_is_checked(text, key):
    with pytest.raises(ScenarioError) as caught:
        scenario.parse(text)
    assert caught.value.key == key


def test_real_hypervisors_are_a_cloud_with_a_network_unless_told_otherwise():
    plain = scenario.parse(BASE)
    assert (plain.cloud, plain.migration_network) == (True, "configured")
    assert {host.network_manager for host in plain.hosts} == {"none"}


def test_hundred_has_a_hundred_guests_on_one_host():
    hundred = scenario.load(scenario.shipped("hundred"))
    assert sum(guest.host == "cmp-1" for guest in hundred.guests) >= 100


def test_defaults_are_resolved_from_the_flavor():
    loaded = scenario.parse(with_guest())
    assert loaded.behaviour(loaded.guest("g")) == {
        "dirty_rate_mib_s": 5.0,
        "working_set_mib": 500,
        "resident_mib": 2000,
        "fail_at_percent": None,
        "fail_times": 0,
        "never_converges": False,
    }


def test_given_behaviour_wins_over_defaults_also_when_zero():
    loaded = scenario.parse(
        with_guest(
            dirty_rate_mib_s=0,
            working_set_mib=0,
            resident_mib=10,
            faults={"migration_fails_at_percent": 50, "times": 3, "never_converges": True},
        ).replace("True", "true")
    )
    behaviour = loaded.behaviour(loaded.guest("g"))
    assert list(behaviour.values()) == [0.0, 0, 10, 50.0, 3, True]


def test_hosts_take_the_scenarios_link_unless_they_have_their_own():
    loaded = scenario.parse(
        "name: a\nmigration_link_gbit_s: 25\nhosts: [{name: x}, {name: y, nic_gbit_s: 1}]"
    )
    assert [host.nic_gbit_s for host in loaded.hosts] == [25.0, 1.0]


def test_count_makes_numbered_guests():
    loaded = scenario.parse(with_guest(count=3))
    assert [guest.name for guest in loaded.guests] == ["g-01", "g-02", "g-03"]
    assert {guest.count for guest in loaded.guests} == {1}


def test_count_beyond_ninety_nine_keeps_names_in_order():
    names = [guest.name for guest in scenario.parse(with_guest(count=120)).guests]
    assert names == sorted(names)


def test_defaults_of_hosts_and_guests_yield_to_their_own_keys():
    loaded = scenario.parse(
        BASE.replace("[{name: cmp-1}", "[{name: cmp-1, cpus: 8}")
        + "host_defaults: {cpus: 16}\n"
        + "guest_defaults: {flavor: small, image: cirros}\n"
        + "guests: [{name: a}, {name: b, image: null, volume: root}]\n"
    )
    assert [host.cpus for host in loaded.hosts] == [8, 16]
    assert loaded.guest("b").volume == "root"


def test_numbers_and_booleans_in_free_mappings_become_text():
    text = BASE.replace("ram_mib: 2000", "extra_specs: {'hw:mem_page_size': 2048, 'a': true}")
    specs = scenario.parse(text).flavor("small").extra_specs
    assert specs == {"hw:mem_page_size": "2048", "a": "true"}


def test_cpu_sets_are_read_as_nova_reads_them():
    assert scenario.cpu_set("0-2,5") == {0, 1, 2, 5}
    assert scenario.cpu_set(None) == frozenset()


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        ("- a", "scenario", "mapping"),
        ("name: a", "hosts", "at least one host"),
        ("hosts: [{name: a}]", "name", "required"),
        ("name: a b\nhosts: [{name: a}]", "name", "matches"),
        ("name: a\nname: b", "scenario", "given twice"),
        ("name: [", "scenario", "correct the YAML"),
        ("? [name]\n: b", "scenario", "a key must be a text"),
        ("a: !!python/object:os.system x", "scenario", "correct the YAML"),
        ("name: a\nhosts: {name: a}", "hosts", "list"),
        ("name: a\nhosts: [a]", "hosts[0]", "mapping"),
        ("name: a\nhosts: [{}]", "hosts[0].name", "required"),
        ("name: a\nhosts: [{name: a, cpu: 3}]", "hosts[0].cpu", "did you mean 'cpus'?"),
        ("name: a\nhosts: [{name: a, cpus: x}]", "hosts[0].cpus", "whole number"),
        ("name: a\nhosts: [{name: a, cpus: true}]", "hosts[0].cpus", "whole number"),
        ("name: a\nhosts: [{name: a, cpus: 6}]", "hosts[0].cpus", "multiple of"),
        ("name: a\nhosts: [{name: a, sev: 1}]", "hosts[0].sev", "true or false"),
        ("name: a\nhosts: [{name: a, vgpus: -1}]", "hosts[0].vgpus", "at least 0"),
        ("name: a\nhosts: [{name: a, nic_gbit_s: 0}]", "hosts[0].nic_gbit_s", "greater than 0"),
        ("name: a\nhosts: [{name: a, crash: soon}]", "hosts[0].crash", "before_switchover"),
        ("name: a\nhosts: [{name: a}, {name: a}]", "hosts[1].name", "taken"),
        (
            "name: a\nhosts: [{name: a, memory_mib: 2048, huge_pages_2m: 512}]",
            "hosts[0].huge_pages_2m",
            "take 2048 MiB",
        ),
        (
            "name: a\nhosts: [{name: a, dedicated_cpus: 0-3, shared_cpus: 3-5}]",
            "hosts[0].dedicated_cpus",
            "both sets",
        ),
        ("name: a\nhosts: [{name: a, cpus: 4, shared_cpus: 0-4}]", "hosts[0].shared_cpus", "0-3"),
        (
            "name: a\nhosts: [{name: a, shared_cpus: 0-3}, {name: b}]",
            "hosts[1].shared_cpus",
            "share nova.conf",
        ),
        (
            "name: a\nhost_defaults: {aggregate: g}\n"
            "hosts: [{name: a}, {name: b, availability_zone: x}]",
            "hosts[1].availability_zone",
            "one zone",
        ),
        ("name: a\ntime_scale: 0\nhosts: [{name: a}]", "time_scale", "greater than 0"),
        ("name: a\ntime_scale: .nan\nhosts: [{name: a}]", "time_scale", "finite"),
        ("name: a\ntoken_seconds: 1.5\nhosts: [{name: a}]", "token_seconds", "whole number"),
        ("name: a\nnova: {DEFAULT: {a: [1]}}\nhosts: [{name: a}]", "nova['DEFAULT']['a']", "text"),
        ("name: a\nnova: {1: {a: 1}}\nhosts: [{name: a}]", "nova", "quotes"),
        (BASE + "guest_defaults: []", "guest_defaults", "mapping"),
        (BASE.replace("anti-affinity", "near"), "server_groups[0].policy", "choose"),
        (BASE.replace("root, image: cirros", "root, image: x"), "volumes[0].image", "not among"),
        (FAULT.replace("/servers", "'('"), "api_faults[0].path", "regular"),
        (FAULT.replace("compute", "nova"), "api_faults[0].service", "compute"),
        (FAULT.replace("500", "404"), "api_faults[0].action", "503"),
        (with_guest(flavor="x"), "guests[g].flavor", "known: small"),
        (with_guest(image="x"), "guests[g].image", "known: cirros"),
        (with_guest(host="x"), "guests[g].host", "known: cmp-1, cmp-2"),
        (with_guest(group="x"), "guests[g].group", "known: apart"),
        (with_guest(networks=["x"]), "guests[g].networks[0].network", "known: tenant, fast"),
        (with_guest(volumes=["x"]), "guests[g].volumes[0]", "known: root, data"),
        (with_guest(volume="x", image=None), "guests[g].volume", "known: root, data"),
        (with_guest(image=None), "guests[g].image", "volume to boot from"),
        (with_guest(volume="root"), "guests[g].image", "not both"),
        (with_guest(image=None, volume="data"), "guests[g].volume", "needs an image"),
        (with_guest(volumes=["data"], count=2), "guests[g-02].volumes", "one guest"),
        (with_guest(state="asleep"), "guests[0].state", "soft_deleted"),
        (with_guest(state="verify_resize", host="cmp-1"), "guests[g].source", "needs both"),
        (with_guest(source="cmp-1"), "guests[g].source", "only for state verify_resize"),
        (with_guest(destination="cmp-1"), "guests[g].destination", "only for state migrating"),
        (
            with_guest(state="migrating", host="cmp-1", destination="cmp-1"),
            "guests[g].destination",
            "another host",
        ),
        (with_guest(alive=False).replace("False", "false"), "guests[g].alive", "state error"),
        (with_guest(availability_zone="west"), "guests[g].availability_zone", "known: east, nova"),
        (with_guest(dirty_rate_mib_s=-1), "guests[0].dirty_rate_mib_s", "at least 0"),
        (with_guest(count=0), "guests[0].count", "at least 1"),
        (
            with_guest(faults={"migration_fails_at_percent": 101}),
            "guests[0].faults.migration_fails_at_percent",
            "at most 100",
        ),
        (with_guest(alter={"share": {}}), "guests[0].alter.share.share_id", "required"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_remedy(text, key, remedy):
    with pytest.raises(ScenarioError) as caught:
        scenario.parse(text, source="file.yml")
    assert caught.value.key == key
    assert remedy in caught.value.remedy
    assert str(caught.value).startswith(f"file.yml: {key}: ")
    assert "\n" not in str(caught.value)


def test_api_faults_have_defaults():
    (fault,) = scenario.parse(FAULT).api_faults
    assert (fault.action, fault.method, fault.nth, fault.times) == ("500", None, 1, 1)


def test_a_direct_port_needs_a_network_of_virtual_functions():
    text = with_guest(networks=[{"network": "tenant", "direct": True}]).replace("True", "true")
    with pytest.raises(ScenarioError, match="sriov: true"):
        scenario.parse(text)


def test_a_missing_file_is_an_error_that_lists_the_shipped_ones(tmp_path):
    with pytest.raises(ScenarioError, match=r"No such file .*demo.*states"):
        scenario.load(tmp_path / "none.yml")


def test_a_file_that_is_no_text_is_an_error(tmp_path):
    (tmp_path / "x.yml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ScenarioError, match="readable file"):
        scenario.load(tmp_path / "x.yml")


KEYS = st.sampled_from([spec.name for cls in DOCUMENTED for spec in dataclasses.fields(cls)])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("a"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_whatever_a_file_says_the_only_error_is_a_scenario_error(document):
    base = yaml.safe_load(BASE)
    try:
        loaded = scenario.from_mapping({**base, **document})
    except ScenarioError:
        return
    assert loaded.hosts
    assert 0 < loaded.time_scale < float("inf")


@pytest.mark.parametrize("cls", DOCUMENTED, ids=lambda cls: cls.__name__)
def test_every_key_is_documented(cls):
    text = (scenario.SCENARIOS_DIR / "README.md").read_text(encoding="utf-8")
    missing = [spec.name for spec in dataclasses.fields(cls) if f"`{spec.name}`" not in text]
    assert not missing
