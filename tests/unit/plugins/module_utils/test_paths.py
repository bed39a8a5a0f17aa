# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host's part of a verification, with peers that answer as a test wants."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils import _errors, _paths
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import links
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import SystemClock
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.echo import Burst
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.iperf import Throughput
from ansible_collections.lowtide.compute.plugins.modules import (
    network_path_info,
    network_path_listener,
)

LINK = links.Link("mig", True, 9000, 10000, ("192.0.2.1", "2001:db8::1"))
PEER = {"address": "192.0.2.2", "name": "cmp-2", "hostname": None}


class Wire:
    """A peer that answers packets of at most ``mtu`` bytes, ``answers`` of each burst of them."""

    def __init__(self, mtu, answers=1.0, header=28):
        self.mtu = mtu
        self.answers = answers
        self.header = header
        self.bursts = []

    def __call__(self, address, source):
        self.address, self.source = address, source
        return self

    def burst(self, payload, count, interval_ms):
        self.bursts.append((payload, count, interval_ms))
        if payload + self.header > self.mtu:
            return Burst(count, 0)
        return Burst(count, round(count * self.answers), 0.1, 0.2)

    def passes(self, payload):
        return self.burst(payload, 1, 1000).received > 0


def params(**changes):
    spec = network_path_info.SPEC
    defaults = {name: option.get("default") for name, option in spec.items()}
    return defaults | {"interface": "mig", "peers": [PEER], "measure": ["mtu", "latency"]} | changes


def measured(monkeypatch, wire, **changes):
    monkeypatch.setattr(_paths, "Pinger", wire)
    (row,) = _paths.measure(params(**changes), "192.0.2.1", SystemClock())
    return row


def test_a_good_path_is_measured_with_small_and_full_packets(monkeypatch):
    wire = Wire(9000)
    assert measured(monkeypatch, wire) == {
        "name": "cmp-2",
        "address": "192.0.2.2",
        "sent": 100,
        "latency_avg_ms": 0.1,
        "latency_max_ms": 0.2,
        "loss_percent": 0.0,
        "largest_packet": 9000,
    }
    assert wire.bursts == [(56, 50, 20), (8972, 3, 20), (8972, 50, 20)]
    assert (wire.address, wire.source) == ("192.0.2.2", "192.0.2.1")


@pytest.mark.parametrize("mtu", [84, 85, 1500, 8999])
def test_the_largest_packet_is_found(monkeypatch, mtu):
    assert measured(monkeypatch, Wire(mtu))["largest_packet"] == mtu


def test_with_ip_version_6_the_header_is_larger(monkeypatch):
    wire = Wire(1500, header=48)
    peer = PEER | {"address": "2001:db8::2"}
    wire.address = "2001:db8::2"
    assert measured(monkeypatch, wire, peers=[peer])["largest_packet"] == 1500


def test_nothing_passes_to_a_peer_that_does_not_answer(monkeypatch):
    row = measured(monkeypatch, Wire(0))
    assert (row["largest_packet"], row["sent"], row["loss_percent"]) == (0, 56, 100.0)
    assert row["latency_avg_ms"] is None


def test_losses_of_full_packets_count(monkeypatch):
    class Lossy(Wire):
        def burst(self, payload, count, interval_ms):
            full = super().burst(payload, count, interval_ms)
            return Burst(count, count - 5, 0.1, 0.2) if payload > 5000 and count == 50 else full

    row = measured(monkeypatch, Lossy(9000))
    assert (row["largest_packet"], row["loss_percent"]) == (9000, 10.0)


def test_only_what_is_wanted_is_measured(monkeypatch):
    wire = Wire(9000)
    assert "latency_avg_ms" not in measured(monkeypatch, wire, measure=["mtu"])
    assert "largest_packet" not in measured(monkeypatch, wire, measure=["latency"])
    assert "largest_packet" not in measured(monkeypatch, wire, mtu=0)


def test_names_are_looked_up_where_one_is_given(monkeypatch):
    monkeypatch.setattr(links, "addresses_of", lambda name: (f"of {name}",))
    monkeypatch.setattr(links, "name_of", lambda address: f"of {address}")
    peer = PEER | {"hostname": "cmp-2-migration", "name": None}
    row = measured(monkeypatch, Wire(9000), peers=[peer], measure=["names"])
    assert row == {
        "name": "192.0.2.2",
        "address": "192.0.2.2",
        "hostname": "cmp-2-migration",
        "found": ["of cmp-2-migration"],
        "reverse": "of 192.0.2.2",
    }
    assert "found" not in measured(monkeypatch, Wire(9000), measure=["names"])


class FarEnd:
    """What an iperf3 there answers: figures, or an error."""

    def __init__(self, there, back):
        self._answers = {False: there, True: back}

    def __call__(self, *arguments):
        self.arguments = arguments
        return self

    def measure(self, *, back, clock):
        assert clock
        answer = self._answers[back]
        if isinstance(answer, Exception):
            raise answer
        return answer


def loaded(monkeypatch, there, back):
    far = FarEnd(there, back)
    monkeypatch.setattr(_paths, "Client", far)
    (row,) = _paths.measure(params(measure=["throughput"]), "192.0.2.1", SystemClock())
    assert far.arguments == ("192.0.2.2", "192.0.2.1", 49215, 5, 1, 1)
    return row


def test_both_directions_are_measured(monkeypatch):
    row = loaded(monkeypatch, Throughput(9000.0, 0), Throughput(8000.0, None))
    assert (row["throughput_mbit"], row["resent"]) == (9000.0, 0)
    assert (row["back_throughput_mbit"], row["back_resent"]) == (8000.0, None)
    assert row["seconds"] == 5


def test_a_direction_that_fails_says_why_and_keeps_the_other(monkeypatch):
    row = loaded(monkeypatch, Throughput(9000.0, 0), _errors.ProbeFailed("it broke", "Mend it"))
    assert (row["throughput_mbit"], row["error"]) == (9000.0, "it broke")
    assert "back_throughput_mbit" not in row


# --- Options -----------------------------------------------------------------------------


@pytest.mark.parametrize("option", [*_paths.RANGES])
@pytest.mark.parametrize("end", [0, 1])
def test_options_are_held_to_their_range(option, end):
    bound = _paths.RANGES[option][end]
    _paths.check({option: bound})
    with pytest.raises(_errors.BadOption, match=f"{option}: .* is out of range"):
        _paths.check({option: bound + (1 if end else -1)})


def test_every_numeric_option_has_a_range():
    specs = network_path_info.SPEC | network_path_listener.SPEC
    numbers = {name for name, option in specs.items() if option["type"] == "int"}
    assert numbers == set(_paths.RANGES)


def test_a_peer_s_address_is_no_name():
    with pytest.raises(_errors.BadOption, match=r"peers\[1\]\.address: 'cmp-3' is no IP address"):
        _paths.check({"peers": [PEER, {"address": "cmp-3"}]})


def test_the_address_is_the_interface_s_first_that_fits():
    assert _paths.own(LINK, None, []) == "192.0.2.1"
    assert _paths.own(LINK, None, [{"address": "2001:db8::2"}]) == "2001:db8::1"
    assert _paths.own(LINK, "2001:DB8:0::1", [PEER]) == "2001:db8::1"
    assert _paths.own(links.Link("mig", True, 1500, None), None, []) == ""


@pytest.mark.parametrize(
    ("address", "addresses", "words"),
    [
        ("192.0.2.9", ("192.0.2.1",), "address: '192.0.2.9' is no address of mig"),
        (None, (), "interface: 'mig' has no address from which to measure"),
        (None, ("2001:db8::1",), "interface: 'mig' has no address from which to measure"),
        ("mine", (), "address: 'mine' is no IP address"),
    ],
)
def test_an_address_that_is_not_there_is_named(address, addresses, words):
    link = links.Link("mig", True, 9000, None, addresses)
    with pytest.raises(_errors.BadOption) as raised:
        _paths.own(link, address, [PEER])
    assert words in str(raised.value)
