# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no lab can time: domains that vanish while they are listed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._gateways import hypervisor


class FakeError(Exception):
    def get_error_code(self):
        return 42


class FakeDomain:
    """A domain that, if it is told to, is gone once it was listed."""

    def __init__(self, name, gone=False):
        self._name, self._gone = name, gone

    def UUIDString(self):
        return f"id-{self._name}"

    def name(self):
        if self._gone:
            raise FakeError
        return self._name

    def state(self):
        return [1, 0]


@pytest.fixture
def connected(monkeypatch):
    """A LibvirtHypervisor over these domains."""

    def connect(*domains):
        connection = SimpleNamespace(listAllDomains=lambda: domains, isAlive=lambda: 1)
        library = SimpleNamespace(
            libvirtError=FakeError,
            VIR_ERR_NO_DOMAIN=42,
            openReadOnly=lambda uri: connection,
            registerErrorHandler=lambda handler, context: None,
        )
        monkeypatch.setattr(hypervisor, "libvirt", library)
        return hypervisor.LibvirtHypervisor("qemu:///system")

    return connect


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_domain_that_vanishes_while_it_is_listed_is_left_out(connected, gone):
    domains = [FakeDomain(name, gone=number == gone) for number, name in enumerate("abc")]
    found = connected(*domains).domains()
    assert [domain.name for domain in found] == [n for i, n in enumerate("abc") if i != gone]
    assert {domain.state for domain in found} == {"running"}
