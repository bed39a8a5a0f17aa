# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices a device_spec means, and which of them answer to an alias."""

from __future__ import annotations

import json

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_devices import Node
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_offers import (
    aliases,
    answers_to,
    offers,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_sets import BadSetting

PF = Node("pf", "0000:3b:00.0", "8086", "1572", "type-PF", interfaces=("enp59s0f0",))
VF = Node("vf", "0000:3b:02.1", "8086", "154c", "type-VF", parent=PF.address)
GPU = Node("gpu", "0000:af:00.0", "10de", "1eb8")
DEVNAMES = {"enp59s0f0": PF.address}


def meant(spec):
    (offer,) = offers([spec])
    return [node.name for node in (PF, VF, GPU) if offer.means(node, DEVNAMES)]


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ({}, ["pf", "vf", "gpu"]),
        ({"vendor_id": "8086"}, ["pf", "vf"]),
        ({"vendor_id": "0x8086", "product_id": "154C"}, ["vf"]),
        ({"vendor_id": "*", "product_id": "1eb8"}, ["gpu"]),
        # A PF stands for its VFs.
        ({"address": "0000:3b:00.0"}, ["pf", "vf"]),
        ({"address": "3b:00.0"}, ["pf"]),
        ({"address": "0000:3b:00.0", "product_id": "154c"}, ["vf"]),
        ({"address": "*:3b:00.*"}, ["pf"]),
        ({"address": ":02."}, ["vf"]),
        ({"address": "0:AF:0.0"}, ["gpu"]),
        ({"address": {"bus": "3b", "function": "[0-1]"}}, ["pf", "vf"]),
        ({"address": {"slot": "0[0-1]"}}, ["pf", "gpu"]),
        ({"devname": "enp59s0f0"}, ["pf", "vf"]),
        ({"devname": "enp59s0f0", "product_id": "154c"}, ["vf"]),
        ({"devname": "nothere"}, []),
    ],
)
def test_a_device_spec_means(spec, names):
    assert meant(spec) == names
    assert meant(json.dumps(spec)) == names


def test_a_list_of_specs_in_one_value():
    first, second = offers(['[{"vendor_id": "8086"}, {"vendor_id": "10de"}]'])
    assert (first.vendor_id, second.vendor_id) == ("8086", "10de")


def test_what_a_spec_says_besides():
    (offer,) = offers([{"vendor_id": "8086", "address": "*:3b:*.*", "physical_network": "data"}])
    assert offer.tags["physical_network"] == "data"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("{", "is no JSON"),
        ('"8086"', "is no dictionary"),
        ({"vendor_id": "80867"}, "4 hex digits"),
        ({"vendor_id": "intel"}, "4 hex digits"),
        ({"address": "0:0:0:0:0.0"}, "an address that is none"),
        ({"address": "0000:3b:00.9x"}, "1 hex digits"),
        ({"address": {"bus": "["}}, "no regular expression"),
        ({"address": "0000:3b:00.0", "devname": "eth0"}, "both an address and a devname"),
    ],
)
def test_a_spec_that_nova_does_not_take(spec, why):
    with pytest.raises(BadSetting, match=why):
        offers([spec])


@pytest.mark.parametrize(
    ("alias", "tags", "names"),
    [
        ({"vendor_id": "8086", "product_id": "154C"}, {}, ["vf"]),
        ({"vendor_id": "8086", "product_id": "154c", "device_type": "type-PF"}, {}, []),
        ({"vendor_id": "10de", "product_id": "1eb8", "device_type": "type-PCI"}, {}, ["gpu"]),
        ({"vendor_id": "10de", "product_id": "1eb8", "live_migratable": "yes"}, {}, []),
        (
            {"vendor_id": "10de", "product_id": "1eb8", "live_migratable": "yes"},
            {"live_migratable": "true"},
            ["gpu"],
        ),
        ({"resource_class": "CUSTOM_PCI_10DE_1EB8"}, {}, ["gpu"]),
        ({"resource_class": "my gpu"}, {"resource_class": "CUSTOM_MY_GPU"}, ["pf", "vf", "gpu"]),
        ({"resource_class": "pci_10de_1eb8", "traits": "fast"}, {}, []),
        ({"resource_class": "pci_10de_1eb8", "traits": "fast"}, {"traits": "x,FAST"}, ["gpu"]),
    ],
)
def test_an_alias(alias, tags, names):
    (read,) = aliases([json.dumps({"name": "a"} | alias)])
    assert [node.name for node in (PF, VF, GPU) if answers_to(node, tags, read)] == names


@pytest.mark.parametrize(
    ("alias", "why"),
    [
        ("[]", "is no dictionary"),
        ({"vendor_id": "8086", "product_id": "1572"}, "has no name"),
        ({"name": "a", "vendor_id": "8086"}, "does not say which devices"),
        ({"name": "a", "resource_class": "X", "colour": "red"}, "has colour"),
    ],
)
def test_an_alias_that_nova_does_not_take(alias, why):
    with pytest.raises(BadSetting, match=why):
        aliases([alias])
