# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pre-flight finds: each rule, when it applies and when not, and what it lacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner import preflight_model as pm
from ansible_collections.lowtide.compute.plugins.module_utils._planner.eligibility import RULES
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import make_plan
from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight import examine
from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight_rules import (
    RULES as CAUTIONS,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight_rules import (
    nova_version,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight_sources import (
    HOST_SOURCES,
    SOURCES,
)
from tests.unit.support import SOURCE, guest, room, service, survey

#: Nova 31's own defaults, of what the rules read.
CONF = {
    "DEFAULT.max_concurrent_live_migrations": 2,
    "libvirt.live_migration_tunnelled": False,
    "libvirt.live_migration_permit_post_copy": False,
    "libvirt.live_migration_completion_timeout": 800,
    "libvirt.live_migration_timeout_action": "abort",
    "libvirt.images_type": "default",
    "service_user.send_service_user_token": False,
}


def conf(version=(31, 0, 0), **options):
    said = {key.replace("__", "."): value for key, value in options.items()}
    return pm.NovaConf({**CONF, **said}, version)


def situation(*guests, options=None, **more):
    """Everything seen and nothing wrong, but for what is said."""
    options = options or m.Options()
    rooms = tuple(room(host, hypervisor_version=8002000) for host in (SOURCE, "cmp-2", "cmp-3"))
    seen = survey(*(guests or (guest(),)), rooms=more.pop("rooms", rooms))
    ordinary = {
        "service": service(),
        "rooms": seen.rooms,
        "conf": conf(),
        "token": pm.Token(3600.0),
        "watched": pm.Watched(),
        "microversion": (2, 100),
    }
    return pm.Situation(make_plan(seen, options), options, **(ordinary | more))


def codes(seen):
    return [caution.code for caution in examine(seen).cautions]


def caution(seen, code):
    return next(each for each in examine(seen).cautions if each.code == code)


def test_nothing_wrong_is_nothing_said():
    assert examine(situation()) == pm.Preflight()


def test_an_empty_host_needs_nothing():
    options = m.Options()
    empty = pm.Situation(make_plan(survey(), options), options, service=service(up=False))
    assert examine(empty) == pm.Preflight()


def test_every_verdict_has_a_source():
    assert set(SOURCES) == {rule.code for rule in RULES}
    assert all(text.startswith(("Nova: ", "Placement: ", "Lowtide")) for text in SOURCES.values())


def test_every_caution_has_a_code_of_its_own_a_remedy_and_a_source():
    named = [rule.code for rule in CAUTIONS]
    assert len(named) == len(set(named))
    assert not set(named) & (set(SOURCES) | set(HOST_SOURCES))
    assert all(rule.remedy and ": " in rule.source for rule in CAUTIONS)
    assert {need for rule in CAUTIONS for need in rule.needs} <= set(pm.NEEDS)


def test_blockers_are_the_hosts_then_the_guests_with_reason_remedy_and_source():
    sleepy = guest("g2", vm_state="suspended")
    found = examine(situation(guest(), sleepy, service=service(forced_down=True))).blockers
    assert [(each.code, each.guest_id) for each in found] == [
        ("host_forced_down", ""),
        ("suspended", "g2"),
    ]
    assert all(each.reason and each.remedy and each.source for each in found)
    down = examine(situation(service=service(up=False))).blockers
    assert [each.code for each in down] == ["host_down"]


SRIOV = guest("s", ports=(m.Port("p", "direct"),))
PINNED = guest("p", extra_specs={"hw:cpu_policy": "dedicated"})
CELLS = guest("n", extra_specs={"hw:numa_nodes": "2"})
DRIVE = guest("d", disk_gib=10, config_drive=True)
UNCOUNTED = guest("u", disk_gib=10, resources={"VCPU": 1, "MEMORY_MB": 1024})
FORCE = m.Options(on_timeout="force_complete")
POST_COPY = conf(libvirt__live_migration_permit_post_copy=True)
EQUAL = (room(SOURCE, hypervisor_version=8002000), room("cmp-3", hypervisor_version=8002000))
OLDER = (*EQUAL, room("cmp-2", hypervisor_version=6002000))
NEWER = (*EQUAL, room("cmp-2", hypervisor_version=10000000))
BUSY = m.Options(dirty_rates={"g1": 5000.0})


@pytest.mark.parametrize(
    ("code", "seen", "guests"),
    [
        ("masakari_not_in_maintenance", situation(watched=pm.Watched("s1")), []),
        ("sriov_link_loss", situation(guest(), SRIOV), ["s"]),
        ("post_copy_network", situation(conf=POST_COPY, options=FORCE), ["g1"]),
        ("pinned_before_33", situation(guest(), PINNED, conf=conf((33, 0, 2))), ["p"]),
        ("failure_leaves_error", situation(conf=conf((32, 2, 0))), []),
        ("failure_leaves_error", situation(conf=None, microversion=(2, 103)), []),
        ("ratios_not_heeded", situation(guest(), CELLS), ["n"]),
        ("older_hypervisor", situation(rooms=OLDER), []),
        ("newer_hypervisor", situation(rooms=NEWER), []),
        ("disk_not_checked", situation(UNCOUNTED), ["u"]),
        ("config_drive", situation(DRIVE), ["d"]),
        ("lvm_disks", situation(DRIVE, conf=conf(libvirt__images_type="lvm")), ["d"]),
        (
            "monitor_interval",
            situation(conf=conf(libvirt__live_migration_monitor_interval=0)),
            [],
        ),
        ("tunnelled", situation(conf=conf(libvirt__live_migration_tunnelled=True)), []),
        ("token_ends_first", situation(token=pm.Token(1.0, renewable=False)), []),
        ("token_ends_while_it_moves", situation(token=pm.Token(2.0)), ["g1"]),
        ("does_not_converge", situation(options=BUSY), ["g1"]),
        (
            "nova_ends_it_first",
            situation(conf=conf(libvirt__live_migration_completion_timeout=1)),
            ["g1"],
        ),
        ("past_the_deadline", situation(options=m.Options(deadline=1.0)), []),
        (
            "cap_below_max_parallel",
            situation(guest(), guest("g2"), options=m.Options(max_parallel=3)),
            [],
        ),
        (
            "cap_of_one",
            situation(guest(), guest("g2"), conf=conf(DEFAULT__max_concurrent_live_migrations=1)),
            [],
        ),
    ],
)
def test_each_rule_applies_where_it_should(code, seen, guests):
    found = caution(seen, code)
    assert list(found.guests) == guests
    assert found.text
    assert "{" not in found.text + found.remedy.replace("{post_copy: false}", "")


def test_every_rule_is_tried_above():
    marks = test_each_rule_applies_where_it_should.pytestmark
    assert {row[0] for row in marks[0].args[1]} == {rule.code for rule in CAUTIONS}


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("masakari_not_in_maintenance", situation(watched=pm.Watched("s1", on_maintenance=True))),
        ("sriov_link_loss", situation(replace(SRIOV, vm_state="stopped", power_state="shutdown"))),
        ("post_copy_network", situation(conf=POST_COPY)),
        ("post_copy_network", situation(conf=POST_COPY, options=FORCE, network=pm.RELIABLE)),
        ("pinned_before_33", situation(PINNED, conf=conf((34, 0, 0)))),
        ("pinned_before_33", situation(PINNED, conf=conf((32, 2, 1)))),
        ("failure_leaves_error", situation(conf=conf((32, 0, 0)))),
        ("ratios_not_heeded", situation(PINNED)),
        ("ratios_not_heeded", situation(CELLS, conf=conf((34, 0, 0)))),
        ("older_hypervisor", situation(rooms=NEWER)),
        ("newer_hypervisor", situation(rooms=OLDER)),
        ("disk_not_checked", situation(DRIVE)),
        ("token_ends_first", situation(token=pm.Token(1.0, renewable=True))),
        (
            "token_ends_while_it_moves",
            situation(token=pm.Token(2.0), conf=conf(service_user__send_service_user_token=True)),
        ),
        (
            "nova_ends_it_first",
            situation(conf=conf(libvirt__live_migration_completion_timeout=0)),
        ),
        ("cap_of_one", situation(conf=conf(DEFAULT__max_concurrent_live_migrations=1))),
        (
            "cap_below_max_parallel",
            situation(
                guest(),
                guest("g2"),
                options=m.Options(max_parallel=3),
                conf=conf(DEFAULT__max_concurrent_live_migrations=0),
            ),
        ),
    ],
)
def test_a_rule_does_not_apply_where_it_should_not(code, seen):
    assert code not in codes(seen)


def test_zero_stands_for_five_with_native_threads():
    seen = situation(
        guest(),
        guest("g2"),
        options=m.Options(max_parallel=6),
        conf=conf((33, 0, 0), DEFAULT__max_concurrent_live_migrations=0),
    )
    assert "runs 5 at a time" in caution(seen, "cap_below_max_parallel").text


def test_what_was_not_seen_is_told_only_where_it_matters():
    blind = situation(conf=None, token=None, watched=None, rooms=(room(SOURCE), room("cmp-2")))
    found = examine(blind)
    assert found.cautions == ()
    told = {each.code: each.what for each in found.not_seen}
    assert told["tunnelled"] == "nova.conf of the host"
    assert told["masakari_not_in_maintenance"] == "Masakari's segments"
    assert told["token_ends_first"] == "when the token ends"
    assert told["older_hypervisor"] == "the versions of the hypervisors"
    # There is one guest, it has neither a local disk nor an SR-IOV port, and nothing is forced.
    assert not told.keys() & {"cap_of_one", "lvm_disks", "post_copy_network", "sriov_link_loss"}


@pytest.mark.parametrize(
    ("microversion", "version"),
    [
        ((2, 90), ()),
        ((2, 95), (28,)),
        ((2, 96), (30,)),
        ((2, 99), ()),
        ((2, 100), ()),
        ((2, 103), (33,)),
        ((2, 104), (34,)),
        ((2, 110), (34,)),
    ],
)
def test_the_api_tells_the_release_where_it_can(microversion, version):
    assert nova_version(situation(conf=None, microversion=microversion)) == version


def test_the_hosts_own_package_goes_before_the_api():
    seen = situation(conf=conf((32, 1, 0)), microversion=(2, 104))
    assert nova_version(seen) == (32, 1, 0)
