# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""network_interface_info returns what it documents, of what it was asked for."""

from __future__ import annotations

import json

import yaml

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.interfaces import Network
from ansible_collections.lowtide.compute.plugins.modules import network_interface_info as module

ADDRESSES = [{"ifname": "mig", "flags": ["UP"], "mtu": 9000, "addr_info": []}]


def look(tmp_path, names, sysctls=()):
    answers = {"ip -json -details address": (0, json.dumps(ADDRESSES))}
    network = Network(
        lambda command: answers.get(" ".join(command), (127, "")),
        str(tmp_path / "sys"),
        str(tmp_path / "proc"),
    )
    return module.look(network, names, sysctls)


def test_it_returns_what_it_documents(tmp_path):
    documented = yaml.safe_load(module.RETURN)
    found = look(tmp_path, ["mig"], ["net.core.rmem_max"])
    assert set(found) - {"changed"} == set(documented) - {"code", "remedy"}
    interface = documented["interfaces"]["contains"]
    assert set(found["interfaces"]["mig"]) == set(interface)
    assert found["changed"] is False


def test_an_interface_that_is_not_there_is_left_out(tmp_path):
    found = look(tmp_path, ["nope", "mig"])
    assert list(found["claims"]) == list(found["hardware"]) == ["mig"]
