# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which call each step becomes, and what Glance's refusals mean."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._errors import Refused
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.metadef import Metadefs

NS = "/metadefs/namespaces/A%3A%3AB"


class FakeApi:
    def __init__(self, error=None):
        self.error = error
        self.sent = []

    def get(self, path):
        self.sent.append(path)
        if self.error:
            raise self.error
        return {"namespace": "A::B"}

    def send(self, method, path, body=None):
        self.sent.append((method, path, body))
        if self.error:
            raise self.error
        return {}


@pytest.mark.parametrize(
    ("action", "kind", "name", "call"),
    [
        ("create", "namespace", "A::B", ("POST", "/metadefs/namespaces", {"name": "n"})),
        ("update", "namespace", "A::B", ("PUT", NS, {"name": "n"})),
        ("delete", "namespace", "A::B", ("DELETE", NS, None)),
        ("create", "property", "x:y z", ("POST", f"{NS}/properties", {"name": "n"})),
        ("update", "property", "x:y z", ("PUT", f"{NS}/properties/x%3Ay%20z", {"name": "n"})),
        ("delete", "property", "x?y#z", ("DELETE", f"{NS}/properties/x%3Fy%23z", None)),
        ("update", "object", "o", ("PUT", f"{NS}/objects/o", {"name": "n"})),
        ("create", "tag", "t 1", ("POST", f"{NS}/tags/t%201", None)),
        ("delete", "tag", "t", ("DELETE", f"{NS}/tags/t", None)),
        ("create", "association", "OS::X", ("POST", f"{NS}/resource_types", {"name": "n"})),
        ("delete", "association", "OS::X", ("DELETE", f"{NS}/resource_types/OS%3A%3AX", None)),
    ],
)
def test_the_call_of_a_step(action, kind, name, call):
    api = FakeApi()
    Metadefs(api).send("A::B", action, kind, name, {"name": "n"})
    assert api.sent == [call]


def test_a_namespace_that_is_not_there():
    api = FakeApi(Refused("gone", status=404))
    assert Metadefs(api).namespace("A::B") is None
    assert api.sent == [NS]
    with pytest.raises(Refused):
        Metadefs(FakeApi(Refused("bad", status=400))).namespace("A::B")


def test_a_name_that_is_taken_by_whom_nobody_sees():
    taken = FakeApi(Refused("it exists", status=409, request_id="r"))
    with pytest.raises(Refused, match=r"it exists. Somebody made it.*its owner") as refused:
        Metadefs(taken).send("A::B", "create", "namespace", "A::B", {})
    assert refused.value.details == {"status": 409, "request_id": "r"}


@pytest.mark.parametrize(("action", "status"), [("create", 400), ("update", 409)])
def test_other_refusals_are_glance_s_own(action, status):
    with pytest.raises(Refused) as refused:
        Metadefs(FakeApi(Refused("no", status=status))).send("A::B", action, "object", "o", {})
    assert str(refused.value) == "no"
