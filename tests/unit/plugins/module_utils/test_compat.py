# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt_compat_info over a libvirt that answers as 11.3 with QEMU 10.0 was seen to.

tests/hypervisors/test_compat.py has the real one; here are the answers that no lab gives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
import yaml

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    HypervisorRefused,
    Unreachable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import hypervisor
from ansible_collections.lowtide.compute.plugins.module_utils._planner import compat as c
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import encode
from ansible_collections.lowtide.compute.plugins.modules import libvirt_compat_info as module

A, B = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "ab")
CAPABILITIES = """<capabilities>
  <host><cpu>
    <arch>x86_64</arch>
    <model>Haswell</model>
  </cpu></host>
  <guest><arch name='x86_64'>
    <machine maxCpus='288'>pc-q35-10.0</machine>
    <machine canonical='pc-q35-10.0' maxCpus='288'>q35</machine>
    <domain type='qemu'/>
    <domain type='kvm'><machine maxCpus='8'>pc-i440fx-10.0</machine></domain>
  </arch></guest>
  <guest><arch name='aarch64'><machine>virt-10.0</machine><domain type='qemu'/></arch></guest>
</capabilities>"""
DOMAIN_CAPABILITIES = """<domainCapabilities>
  <os><loader><value>/fw/code.fd</value><enum name='type'><value>rom</value></enum></loader></os>
  <cpu><mode name='host-passthrough' supported='no'/>
    <mode name='host-model' supported='{}'>
      <model fallback='forbid'>EPYC</model><vendor>AMD</vendor>
      <maxphysaddr mode='passthrough'/><feature policy='require' name='erms'/>
    </mode></cpu>
</domainCapabilities>"""
DOMAIN = """<domain type='qemu'>
  <os><type arch='x86_64' machine='pc-q35-10.0'>hvm</type>{loader}</os>
  {cpu}
  <devices><graphics type='vnc' passwd='secret'/></devices>
</domain>"""
LIVE = """<cpu mode='custom' check='full'>
  <model>qemu64</model>
  <feature name='erms'/>
  <numa><cell id='0' cpus='0' memory='65536' unit='KiB'/></numa>
</cpu>"""
DEFINED = "<cpu mode='custom' check='partial'><model>qemu64</model></cpu>"


class FakeError(Exception):
    def __init__(self, message, code):
        super().__init__(message)
        self.get_error_code = lambda: code


@dataclass
class Guest:
    id: str
    live: str = LIVE
    defined: str = DEFINED
    loader: str = ""
    state: int = 1
    gone: bool = False

    def UUIDString(self):
        return self.id

    def name(self):
        return f"instance-{self.id[0]}"

    def XMLDesc(self, flags):
        if self.gone:
            raise FakeError("Domain not found", 42)
        return DOMAIN.format(cpu=self.defined if flags == 2 else self.live, loader=self.loader)


@dataclass
class Fake:
    """The module ``libvirt`` and its one connection. ``answers``: CPU's model -> answer."""

    guests: list[Guest] = field(default_factory=list)
    answers: dict = field(default_factory=dict)
    host_model: str = "yes"
    asked: list[tuple] = field(default_factory=list)
    alive: bool = True
    libvirtError = FakeError
    VIR_ERR_NO_SUPPORT = 3
    VIR_ERR_NO_DOMAIN = 42
    VIR_ERR_OPERATION_UNSUPPORTED = 84
    VIR_DOMAIN_XML_INACTIVE = 2
    VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE = 1

    def registerErrorHandler(self, handler, context):
        pass

    def open(self, uri):
        if "nowhere" in uri:
            raise FakeError("Failed to connect socket", 38)
        return self

    def isAlive(self):
        return int(self.alive)

    def listAllDomains(self):
        return [Handle(guest) for guest in self.guests]

    def getType(self):
        return "QEMU"

    def getVersion(self):
        return 10000002

    def getLibVersion(self):
        return 11003000

    def getHostname(self):
        return "cmp-2.example.org"

    def getCapabilities(self):
        return CAPABILITIES

    def getDomainCapabilities(self, emulator, arch, machine, kind, flags):
        assert (emulator, arch, machine, flags) == (None, "x86_64", None, 0)
        assert kind in ("kvm", "qemu")
        return DOMAIN_CAPABILITIES.format(self.host_model)

    def compareHypervisorCPU(self, emulator, arch, machine, kind, cpu, flags):
        assert (emulator, flags) == (None, 1)
        model = ElementTree.fromstring(cpu).findtext("model")
        self.asked.append((model, arch, machine, kind))
        answer = self.answers.get(model, 2)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Handle:
    """A domain of libvirt-python."""

    def __init__(self, guest):
        self.guest = guest
        self.UUIDString, self.name, self.XMLDesc = guest.UUIDString, guest.name, guest.XMLDesc

    def state(self):
        return [self.guest.state, 0]


@pytest.fixture
def library(monkeypatch):
    library = Fake([Guest(A), Guest(B)])
    monkeypatch.setattr(hypervisor, "libvirt", library)
    return library


@pytest.fixture
def ask(library):
    def run(**given):
        options = {name: spec.get("default") for name, spec in module.SPEC.items()}
        return module.handle(SimpleNamespace(params=options | given))

    return run


@pytest.fixture
def judge(ask):
    """``judge(**changes of the guest)``: the module's result for one guest of a host like this."""

    def run(there=None, **changes):
        found = ask(host="cmp-1")
        guest = found["domains"][0] | changes
        result = ask(host="cmp-2", source=found["hypervisor"], domains=[guest], **there or {})
        return result["verdicts"][0] | {"incompatible": result["incompatible"]}

    return run


# --- what is read ------------------------------------------------------------------------


def test_what_a_hypervisor_offers(ask):
    found = ask()["hypervisor"]
    assert found["host"] == "cmp-2.example.org"
    assert found["host_cpu"] == "<cpu><arch>x86_64</arch><model>Haswell</model></cpu>"
    versions = (found["hypervisor_type"], found["hypervisor_version"], found["libvirt_version"])
    assert versions == ("QEMU", 10000002, 11003000)


def test_machine_types_have_all_their_names_and_kvm_may_have_its_own(ask):
    emulated, kvm, arm = ask()["hypervisor"]["platforms"]
    assert (emulated["type"], emulated["machines"]) == ("qemu", ["pc-q35-10.0", "q35"])
    assert (kvm["type"], kvm["machines"]) == ("kvm", ["pc-i440fx-10.0"])
    assert (arm["arch"], arm["machines"]) == ("aarch64", ["virt-10.0"])


def test_the_most_that_a_guest_can_have_is_a_cpu_that_can_be_compared(ask):
    emulated, _kvm, arm = ask()["hypervisor"]["platforms"]
    cpu = ElementTree.fromstring(emulated["cpu"])
    assert cpu.get("mode") == "custom"
    assert [part.tag for part in cpu] == ["model", "vendor", "feature"]
    assert emulated["loaders"] == ["/fw/code.fd"]
    assert (arm["cpu"], arm["loaders"]) == ("", [])


def test_a_hypervisor_that_does_not_say_has_none(library, ask):
    library.host_model = "no"
    assert {each["cpu"] for each in ask()["hypervisor"]["platforms"]} == {""}


def test_what_a_running_domain_needs(library, ask):
    library.guests[0].loader = "<loader type='pflash'>/fw/code.fd</loader>"
    first, second = ask()["domains"]
    assert (first["id"], first["name"], first["type"]) == (A, "instance-a", "qemu")
    assert (first["arch"], first["machine"]) == ("x86_64", "pc-q35-10.0")
    assert (first["loader"], second["loader"]) == ("/fw/code.fd", "")
    assert [part.tag for part in ElementTree.fromstring(first["cpu"])] == ["model", "feature"]
    assert [part.tag for part in ElementTree.fromstring(first["nova_cpu"])] == ["model"]
    assert first["cpu_mode"] == "custom"
    assert "\n" not in first["cpu"]


def test_what_nova_defined_without_a_model_is_not_compared(library, ask):
    library.guests[0].defined = "<cpu mode='host-model'/>"
    library.guests[1].defined = ""
    assert [row["nova_cpu"] for row in ask()["domains"]] == ["", ""]


def test_no_secret_is_shown(ask):
    assert "secret" not in str(ask())


@pytest.mark.parametrize(("state", "listed"), [(1, True), (3, True), (5, False), (6, False)])
def test_only_domains_that_run_or_are_paused(library, ask, state, listed):
    library.guests[0].state = state
    assert (A in [row["id"] for row in ask()["domains"]]) is listed


def test_a_domain_that_vanishes_is_left_out(library, ask):
    library.guests[0].gone = True
    assert [row["id"] for row in ask()["domains"]] == [B]


def test_ids_choose_among_guests_here_and_there(ask):
    found = ask(host="cmp-1")
    again = ask(ids=[A.upper()], source=found["hypervisor"], domains=found["domains"])
    assert [row["id"] for row in again["domains"]] == [A]
    assert [row["id"] for row in again["verdicts"]] == [A]


# --- what is judged ----------------------------------------------------------------------


def test_a_guest_that_can_come(judge):
    verdict = judge()
    assert (verdict["result"], verdict["cpu"], verdict["host"]) == ("ok", "superset", "cmp-2")
    assert (verdict["code"], verdict["findings"], verdict["incompatible"]) == ("", [], {})


def test_the_message_counts(ask):
    found = ask()
    guests = [{**row, "machine": "pc-q35-99.0"} for row in found["domains"][:1]]
    msg = ask(source=found["hypervisor"], domains=guests)["msg"]
    assert msg == (
        "QEMU 10.0.2, libvirt 11.3.0, 2 domains; of 1 other guests it can take 0, 1 not, 0 unknown"
    )


def test_a_guest_that_cannot_is_told_in_libvirts_words(library, judge):
    why = "the CPU is incompatible with host CPU: Host CPU does not provide required features: erms"
    library.answers["qemu64"] = FakeError(why, 91)
    verdict = judge()
    assert (verdict["result"], verdict["cpu"], verdict["code"]) == ("no", "incompatible", "cpu")
    assert verdict["reason"].endswith(why)
    assert verdict["incompatible"] == {A: ["cmp-2"]}
    assert verdict["findings"][0]["remedy"] == verdict["remedy"] != ""


def test_a_model_that_libvirt_does_not_know_is_incompatible(library, judge):
    library.answers["qemu64"] = FakeError("internal error: Unknown CPU model qemu64", 1)
    assert (judge()["code"], judge()["cpu"]) == ("cpu", "incompatible")


@pytest.mark.parametrize(("number", "word"), [(1, "identical"), (2, "superset")])
def test_libvirts_numbers_are_words(library, judge, number, word):
    library.answers["qemu64"] = number
    assert judge()["cpu"] == word


def test_an_architecture_that_libvirt_cannot_compare_is_unknown(library, judge):
    library.answers["qemu64"] = FakeError("comparing with the hypervisor CPU is not supported", 84)
    verdict = judge()
    assert (verdict["result"], verdict["code"]) == ("unknown", "cpu_not_compared")
    assert (verdict["cpu"], verdict["incompatible"]) == (None, {})


@pytest.mark.parametrize(
    ("option", "code", "changes"),
    [
        (
            "skip_cpu_compare_on_dest",
            "cpu_refused_by_nova",
            {"nova_cpu": "<cpu><model>X</model></cpu>"},
        ),
        ("skip_hypervisor_version_check_on_lm", "hypervisor_too_old", {}),
    ],
)
def test_novas_workarounds_switch_its_rules_off(library, ask, option, code, changes):
    library.answers["X"] = FakeError("the CPU is incompatible with host CPU", 91)
    found = ask()
    source = found["hypervisor"] | {"hypervisor_version": 11000000}
    guest = found["domains"][0] | {"type": "kvm", "machine": "pc-i440fx-10.0"} | changes
    for skipped in (False, True):
        rows = ask(source=source, domains=[guest], **{option: skipped})["verdicts"][0]["findings"]
        assert (code in [row["code"] for row in rows]) is not skipped


def test_guests_with_one_cpu_are_one_question(library, ask):
    found = ask()
    ask(source=found["hypervisor"], domains=found["domains"])
    assert library.asked == [("qemu64", "x86_64", "pc-q35-10.0", "qemu")]


# --- what goes wrong ---------------------------------------------------------------------


@pytest.mark.parametrize("field", ["cpu", "nova_cpu"])
@pytest.mark.parametrize("text", ["<cpu", "<domain/>"])
def test_a_cpu_that_is_none_is_refused_before_libvirt_is_asked(library, judge, field, text):
    with pytest.raises(BadOption, match=rf"domains\.{A}\.{field}: .* is no CPU"):
        judge(**{field: text})
    assert library.asked == []


@pytest.mark.parametrize("option", ["source.host_cpu", "source.platforms.cpu"])
def test_so_is_a_source_s(ask, option):
    found = ask()
    source = found["hypervisor"]
    if option == "source.host_cpu":
        source["host_cpu"] = "Haswell"
    else:
        source["platforms"][0]["cpu"] = "Haswell"
    with pytest.raises(BadOption, match=option):
        ask(source=source, domains=[])


def test_a_library_that_cannot_compare_is_too_old(library, judge, monkeypatch):
    monkeypatch.delattr(Fake, "compareHypervisorCPU")
    with pytest.raises(HypervisorRefused, match=r"4\.4 or later"):
        judge()


def test_so_is_a_libvirt_that_cannot(library, judge):
    library.answers["qemu64"] = FakeError("this function is not supported", 3)
    with pytest.raises(HypervisorRefused, match=r"4\.4 or later"):
        judge()


def test_libvirt_that_is_lost_is_no_incompatible_cpu(library, judge):
    def lost(*_arguments):
        library.alive = False
        raise FakeError("client socket is closed", 1)

    library.compareHypervisorCPU = lost
    with pytest.raises(Unreachable, match="compare a CPU"):
        judge()


def test_nobody_there(ask):
    with pytest.raises(Unreachable, match="nowhere"):
        ask(uri="qemu+ssh://nowhere/system")


# --- what is documented ------------------------------------------------------------------


def test_return_and_options_describe_each_field():
    told, asked = yaml.safe_load(module.RETURN), yaml.safe_load(module.DOCUMENTATION)["options"]
    offer = c.Offer("", "", 0, 0, platforms=(c.Platform("", ""),))
    needs = c.Needs("", "", "", "", "")
    finding = c.Finding("", "", "", "", "")
    for fields, documented in (
        (encode(offer), told["hypervisor"]["contains"]),
        (encode(offer), asked["source"]["suboptions"]),
        (encode(offer)["platforms"][0], told["hypervisor"]["contains"]["platforms"]["contains"]),
        (encode(needs), told["domains"]["contains"]),
        (encode(needs), asked["domains"]["suboptions"]),
        (encode(finding), told["verdicts"]["contains"]["findings"]["contains"]),
    ):
        assert set(fields) == set(documented)


def test_return_describes_each_field_of_a_verdict(judge):
    documented = yaml.safe_load(module.RETURN)["verdicts"]["contains"]
    assert set(judge()) - {"incompatible"} == set(documented)
