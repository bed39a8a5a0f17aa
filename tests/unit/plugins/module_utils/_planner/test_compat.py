# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a hypervisor can take a running guest: each rule, and what libvirt is asked for it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner import compat as c

MACHINE = "pc-q35-8.2"
CPU = "<cpu><model>Skylake-Server</model></cpu>"
DEFINED = "<cpu mode='custom'><model>Haswell</model></cpu>"
HOST = "<cpu><arch>x86_64</arch><model>Cascadelake-Server</model></cpu>"
MOST = "<cpu mode='custom'><model>Cascadelake-Server</model></cpu>"
KVM = c.Platform("x86_64", "kvm", (MACHINE, "q35"), MOST, ("/fw/code.fd",))
TCG = replace(KVM, type="qemu")
HERE = c.Offer("cmp-1", "QEMU", 8002002, 10000000, HOST, (KVM, TCG))
THERE = replace(HERE, host="cmp-2")
GUEST = c.Needs("id-a", "a", "kvm", "x86_64", MACHINE, CPU, "custom", DEFINED)
PASSED = replace(GUEST, cpu="<cpu mode='host-passthrough'/>", cpu_mode="host-passthrough")
EQUAL, MORE = c.Comparison(c.IDENTICAL), c.Comparison(c.SUPERSET)
LESS = c.Comparison(c.INCOMPATIBLE, "Host CPU does not provide required features: avx512f")
CANNOT = c.Comparison("", "not on this architecture")
FINE = {c.GUEST_CPU: MORE, c.NOVA_CPU: MORE}


def offering(*platforms, **changes):
    return replace(THERE, platforms=platforms or THERE.platforms, **changes)


#: Code, result, and the case in which it is said: destination, guest, answers.
CASES = [
    ("hypervisor_type", c.NO, offering(hypervisor_type="Xen"), GUEST, FINE),
    ("hypervisor_too_old", c.NO, offering(hypervisor_version=8002001), GUEST, FINE),
    ("cpu_refused_by_nova", c.NO, THERE, GUEST, FINE | {c.NOVA_CPU: LESS}),
    ("platform", c.NO, offering(TCG), GUEST, {}),
    ("machine_type", c.NO, THERE, replace(GUEST, machine="pc-q35-9.2"), {}),
    ("cpu", c.NO, THERE, GUEST, FINE | {c.GUEST_CPU: LESS}),
    ("cpu_passthrough", c.NO, THERE, PASSED, {c.SOURCE_CPU: LESS}),
    ("cpu_passthrough_differs", c.UNKNOWN, THERE, PASSED, {c.SOURCE_CPU: MORE}),
    ("cpu_not_compared", c.UNKNOWN, THERE, GUEST, {c.GUEST_CPU: CANNOT}),
    ("libvirt_older", c.UNKNOWN, offering(libvirt_version=9000000), GUEST, FINE),
    ("firmware", c.UNKNOWN, THERE, replace(GUEST, loader="/fw/other.fd"), FINE),
]


def test_each_rule_has_a_case():
    assert [case[0] for case in CASES] == [rule.code for rule in c.RULES]


def test_the_page_has_the_rules_in_their_order():
    page = Path(__file__).parents[5] / "docs" / "compatibility.md"
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", page.read_text(), re.MULTILINE)
    assert rows == [(rule.code, rule.result) for rule in c.RULES]


@pytest.mark.parametrize(("code", "result", "there", "guest", "answers"), CASES)
def test_a_rule_is_the_only_one_that_speaks_against_it(code, result, there, guest, answers):
    verdict = c.compatible(HERE, there, guest, answers)
    assert [(f.code, f.result) for f in verdict.findings] == [(code, result)]
    assert verdict.result == result
    (finding,) = verdict.findings
    assert "cmp-2" in finding.reason
    assert finding.remedy
    assert finding.source.startswith(("nova/", "libvirt: "))


@pytest.mark.parametrize(("code", "_result", "there", "guest", "answers"), CASES)
def test_a_rule_can_be_switched_off(code, _result, there, guest, answers):
    verdict = c.compatible(HERE, there, guest, answers, skipped=(code,))
    assert (verdict.result, verdict.findings) == (c.OK, ())


@pytest.mark.parametrize(
    ("guest", "answers", "compared"),
    [
        (GUEST, FINE, c.SUPERSET),
        (GUEST, {c.GUEST_CPU: EQUAL}, c.IDENTICAL),
        (PASSED, {c.SOURCE_CPU: EQUAL, c.NOVA_CPU: MORE}, c.IDENTICAL),
        (replace(GUEST, loader="/fw/code.fd"), FINE, c.SUPERSET),
        (replace(GUEST, machine="q35"), FINE, c.SUPERSET),
        (replace(GUEST, cpu="", cpu_mode=""), {}, ""),
    ],
)
def test_a_guest_that_can_go(guest, answers, compared):
    assert c.compatible(HERE, THERE, guest, answers) == c.CompatVerdict(c.OK, compared)


def test_newer_is_no_hindrance():
    newer = offering(hypervisor_version=9000000, libvirt_version=11000000)
    assert c.compatible(HERE, newer, GUEST, FINE).result == c.OK


def test_libvirts_words_are_in_the_reason():
    verdict = c.compatible(HERE, THERE, GUEST, {c.GUEST_CPU: LESS})
    assert verdict.findings[0].reason.endswith("required features: avx512f")
    silent = c.compatible(HERE, THERE, GUEST, {c.GUEST_CPU: c.Comparison(c.INCOMPATIBLE)})
    assert silent.findings[0].reason.endswith("the CPUs are incompatible")


def test_versions_are_told_as_people_write_them():
    verdict = c.compatible(HERE, offering(hypervisor_version=6002000), GUEST, FINE)
    assert verdict.findings[0].reason == "cmp-2 has QEMU 6.2.0, the guest's host 8.2.2"


def test_all_is_told_and_the_worst_first():
    old = offering(libvirt_version=8000000, hypervisor_version=7000000)
    verdict = c.compatible(HERE, old, replace(GUEST, loader="/fw/x"), {c.GUEST_CPU: LESS})
    assert [f.code for f in verdict.findings] == [
        "hypervisor_too_old",
        "cpu",
        "libvirt_older",
        "firmware",
    ]
    assert verdict.result == c.NO


# --- what libvirt is asked ---------------------------------------------------------------


def test_libvirt_compares_what_the_migration_sends_and_what_nova_defined():
    asked = c.questions(HERE, THERE, GUEST)
    assert asked == {
        c.GUEST_CPU: c.Question(CPU, "x86_64", MACHINE, "kvm"),
        # Nova leaves the rest to libvirt.
        c.NOVA_CPU: c.Question(DEFINED),
    }


def test_nova_compares_the_sources_cpu_where_it_named_no_model():
    asked = c.questions(HERE, THERE, replace(GUEST, nova_cpu=""))
    assert asked[c.NOVA_CPU] == c.Question(HOST)


@pytest.mark.parametrize("mode", sorted(c.WHOLE_HOST))
def test_a_guest_with_its_hosts_cpu_is_compared_as_the_most_that_host_gives(mode):
    asked = c.questions(HERE, THERE, replace(PASSED, cpu_mode=mode))
    assert asked[c.SOURCE_CPU] == c.Question(MOST, "x86_64", MACHINE, "kvm")
    assert c.GUEST_CPU not in asked


def test_a_source_that_does_not_tell_its_cpu_leaves_it_open():
    mute = replace(HERE, platforms=(replace(KVM, cpu=""),), host_cpu="")
    guest = replace(PASSED, nova_cpu="")
    assert c.questions(mute, THERE, guest) == {}
    verdict = c.compatible(mute, THERE, guest, {})
    assert [f.code for f in verdict.findings] == ["cpu_not_compared"]


@pytest.mark.parametrize(
    "guest",
    [replace(GUEST, machine="pc-q35-9.2"), replace(GUEST, arch="riscv64")],
    ids=["machine", "platform"],
)
def test_nothing_is_asked_that_libvirt_would_refuse(guest):
    assert c.questions(HERE, THERE, guest) == {}


@pytest.mark.parametrize(
    "guest",
    [replace(GUEST, type="qemu"), replace(GUEST, arch="aarch64")],
    ids=["emulated", "arm"],
)
def test_nova_does_not_compare_everything(guest):
    arm = replace(KVM, arch="aarch64")
    asked = c.questions(HERE, offering(KVM, TCG, arm), guest)
    assert list(asked) == [c.GUEST_CPU]
