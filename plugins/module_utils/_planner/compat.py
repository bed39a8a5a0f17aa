# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Can a hypervisor take a running guest as it is: versions, machine type, CPU, firmware.

This module util is **PRIVATE** to the collection: it may change without notice.
Only libvirt on the destination can compare CPUs: :func:`questions` says what it is to be asked,
:func:`compatible` judges by its answers. Versions are numbers as Nova and libvirt have them
(8002000 is 8.2.0), CPUs libvirt's XML.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

OK, NO, UNKNOWN = "ok", "no", "unknown"
IDENTICAL, SUPERSET, INCOMPATIBLE = "identical", "superset", "incompatible"

#: CPU modes that hand the host's CPU through: libvirt has no model that it could compare.
WHOLE_HOST = frozenset({"host-passthrough", "maximum"})
#: What a question is about: the CPU that the guest has, the one that Nova compares before a
#: migration, and the source's own, of which a guest with such a mode has all.
GUEST_CPU, NOVA_CPU, SOURCE_CPU = "guest", "nova", "source"


@dataclass(frozen=True, slots=True)
class Platform:
    """What QEMU runs of one architecture. ``type``: kvm or qemu (emulation).

    ``cpu``: the CPU that a guest can have there at most, ``""`` when libvirt does not say.
    ``loaders``: paths of the firmware that libvirt knows.
    """

    arch: str
    type: str
    machines: tuple[str, ...] = ()
    cpu: str = ""
    loaders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """A hypervisor. ``host``: Nova's name of it. ``host_cpu``: the CPU of the machine itself."""

    host: str
    hypervisor_type: str
    hypervisor_version: int
    libvirt_version: int
    host_cpu: str = ""
    platforms: tuple[Platform, ...] = ()

    def platform(self, needs: Needs) -> Platform | None:
        """What runs such a guest here."""
        wanted = (needs.arch, needs.type)
        return next((each for each in self.platforms if (each.arch, each.type) == wanted), None)


@dataclass(frozen=True, slots=True)
class Needs:
    """A running guest. ``type``: kvm or qemu. ``cpu``: the one that it has, ``cpu_mode``: its mode.

    ``nova_cpu``: as Nova defined it, ``""`` when that names no model (host-model and
    host-passthrough do not). ``loader``: path of its firmware.
    """

    id: str
    name: str
    type: str
    arch: str
    machine: str
    cpu: str = ""
    cpu_mode: str = ""
    nova_cpu: str = ""
    loader: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A CPU to compare with the hypervisor's; what is ``""`` is libvirt's choice."""

    cpu: str
    arch: str = ""
    machine: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """``result``: identical, superset, incompatible, or ``""`` when libvirt cannot compare here.

    ``reason``: in libvirt's words.
    """

    result: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """``result``: no or unknown. ``source``: where the rule is from."""

    code: str
    result: str
    reason: str
    remedy: str
    source: str


@dataclass(frozen=True, slots=True)
class CompatVerdict:
    """``result``: ok, no or unknown. ``findings``: all that speaks against it, the worst first.

    ``cpu``: how libvirt compared the guest's CPU, ``""`` when it did not.
    """

    result: str
    cpu: str = ""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a rule may look at. ``answers``: by what the question is about."""

    source: Offer
    destination: Offer
    needs: Needs
    answers: Mapping[str, Comparison]


@dataclass(frozen=True, slots=True)
class Rule:
    """``reason``: what speaks against it, ``""`` when the rule does not apply."""

    code: str
    result: str
    reason: Callable[[Case], str]
    remedy: str
    source: str


def questions(source: Offer, destination: Offer, needs: Needs) -> dict[str, Question]:
    """What libvirt on the destination is to compare, by what it is about.

    Nothing for a guest that has no platform there: libvirt refuses to compare for it.
    """
    platform = destination.platform(needs)
    if platform is None or needs.machine not in platform.machines:
        return {}
    asked = {}
    given = {"arch": needs.arch, "machine": needs.machine, "type": needs.type}
    if needs.cpu_mode in WHOLE_HOST:
        whole = source.platform(needs)
        asked[SOURCE_CPU] = Question(whole.cpu if whole else "", **given)
    else:
        asked[GUEST_CPU] = Question(needs.cpu, **given)
    # Nova compares for KVM only, and on Arm nothing but the host with itself.
    if needs.type == "kvm" and needs.arch != "aarch64":
        asked[NOVA_CPU] = Question(needs.nova_cpu or source.host_cpu)
    return {about: question for about, question in asked.items() if question.cpu}


def compatible(
    source: Offer,
    destination: Offer,
    needs: Needs,
    answers: Mapping[str, Comparison],
    skipped: Collection[str] = (),
) -> CompatVerdict:
    """Whether the destination can take the guest. ``skipped``: codes of rules that do not hold."""
    case = Case(source, destination, needs, answers)
    found = [
        Finding(rule.code, rule.result, reason, rule.remedy, rule.source)
        for rule in RULES
        if rule.code not in skipped and (reason := rule.reason(case))
    ]
    found.sort(key=lambda finding: finding.result != NO)
    compared = answers.get(GUEST_CPU) or answers.get(SOURCE_CPU) or Comparison("")
    return CompatVerdict(found[0].result if found else OK, compared.result, tuple(found))


def version(number: int) -> str:
    """A version as people write it: 8002000 is 8.2.0."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


# --- the rules' conditions ---------------------------------------------------------------


def _other_type(case: Case) -> str:
    here, there = case.source.hypervisor_type, case.destination.hypervisor_type
    return f"it runs under {here}, and {case.destination.host} has {there}" if here != there else ""


def _too_old(case: Case) -> str:
    here, there = case.source.hypervisor_version, case.destination.hypervisor_version
    if there >= here:
        return ""
    return f"{case.destination.host} has QEMU {version(there)}, the guest's host {version(here)}"


def _no_platform(case: Case) -> str:
    if case.destination.platform(case.needs) is not None:
        return ""
    return f"{case.destination.host} runs no {case.needs.arch} guests under {case.needs.type}"


def _no_machine(case: Case) -> str:
    platform, machine = case.destination.platform(case.needs), case.needs.machine
    if platform is None or machine in platform.machines:
        return ""
    return f"QEMU on {case.destination.host} has no machine type {machine}"


def _unlike(about: str, who: str) -> Callable[[Case], str]:
    def reason(case: Case) -> str:
        answer = case.answers.get(about)
        if answer is None or answer.result != INCOMPATIBLE:
            return ""
        return f"{who} {case.destination.host}: {answer.reason or 'the CPUs are incompatible'}"

    return reason


def _more_than_passed_through(case: Case) -> str:
    answer = case.answers.get(SOURCE_CPU)
    if answer is None or answer.result != SUPERSET:
        return ""
    return (
        f"it has the CPU of its host ({case.needs.cpu_mode}), and that of {case.destination.host}"
        " has features besides"
    )


def _not_compared(case: Case) -> str:
    if not case.needs.cpu or _no_platform(case) or _no_machine(case):
        return ""
    answer = case.answers.get(GUEST_CPU) or case.answers.get(SOURCE_CPU) or Comparison("")
    if answer.result:
        return ""
    why = answer.reason or "libvirt on its host does not say what it consists of"
    return f"its CPU could not be compared with that of {case.destination.host}: {why}"


def _older_libvirt(case: Case) -> str:
    here, there = case.source.libvirt_version, case.destination.libvirt_version
    if there >= here:
        return ""
    return f"{case.destination.host} has libvirt {version(there)}, the guest's host {version(here)}"


def _other_loader(case: Case) -> str:
    platform, loader = case.destination.platform(case.needs), case.needs.loader
    if not loader or platform is None or loader in platform.loaders:
        return ""
    return f"libvirt on {case.destination.host} does not list the guest's firmware {loader}"


_CPU_REMEDY = (
    "Move it to a host with such a CPU. For guests to come, set cpu_mode custom and a model that"
    " all hosts have"
)
_NEWER_REMEDY = "Move it to a host that is at least as new; upgrade the oldest hosts first"

#: One row per rule; those of Nova's scheduler and conductor come first, as they do there.
RULES: tuple[Rule, ...] = (
    Rule(
        "hypervisor_type",
        NO,
        _other_type,
        "Move it to a host with the same hypervisor",
        "nova/conductor/tasks/live_migrate.py: InvalidHypervisorType",
    ),
    Rule(
        "hypervisor_too_old",
        NO,
        _too_old,
        _NEWER_REMEDY,
        "nova/conductor/tasks/live_migrate.py: DestinationHypervisorTooOld",
    ),
    Rule(
        "cpu_refused_by_nova",
        NO,
        _unlike(NOVA_CPU, "Nova would compare its CPU's definition, and refuse"),
        _CPU_REMEDY,
        "nova/virt/libvirt/driver.py: _compare_cpu",
    ),
    Rule(
        "platform",
        NO,
        _no_platform,
        "Move it to a host that does",
        "libvirt: capabilities of the host",
    ),
    Rule(
        "machine_type",
        NO,
        _no_machine,
        "Move it to a host whose QEMU has it, or stop the guest and give it another machine type"
        " (nova-manage libvirt update_machine_type)",
        "libvirt: capabilities of the host",
    ),
    Rule(
        "cpu",
        NO,
        _unlike(GUEST_CPU, "libvirt compared the guest's CPU with that of"),
        _CPU_REMEDY,
        "libvirt: virConnectCompareHypervisorCPU",
    ),
    Rule(
        "cpu_passthrough",
        NO,
        _unlike(SOURCE_CPU, "it has the CPU of its host, which libvirt compared with that of"),
        _CPU_REMEDY,
        "libvirt: virConnectCompareHypervisorCPU",
    ),
    Rule(
        "cpu_passthrough_differs",
        UNKNOWN,
        _more_than_passed_through,
        "Move it to a host with the same CPU, microcode and QEMU",
        "libvirt: host-passthrough is for migrations between hosts that are alike",
    ),
    Rule(
        "cpu_not_compared",
        UNKNOWN,
        _not_compared,
        "Compare the hosts' CPUs by hand, or try it with a guest that may fail",
        "libvirt: virConnectCompareHypervisorCPU",
    ),
    Rule(
        "libvirt_older",
        UNKNOWN,
        _older_libvirt,
        _NEWER_REMEDY,
        "libvirt: an older one may not know what a newer one sends",
    ),
    Rule(
        "firmware",
        UNKNOWN,
        _other_loader,
        "See that the file is there, and install the package that has it if it is not",
        "libvirt: domain capabilities",
    ),
)
