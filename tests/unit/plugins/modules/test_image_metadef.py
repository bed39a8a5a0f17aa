# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order a namespace is changed, and what is refused before."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    Refused,
    Unreachable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner import metadef
from ansible_collections.lowtide.compute.plugins.modules import image_metadef as module

THERE = metadef.read(
    {"namespace": "X", "protected": True, "tags": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}
)
WITHOUT_AB = metadef.decide(
    THERE,
    metadef.absent(THERE, metadef.read({"namespace": "X", "tags": [{"name": n} for n in "ab"]})),
)


def params(**given):
    nothing = {"definition": None, "namespace": None, "state": "present"}
    return nothing | {"purge": False, "change_protected": False} | given


class FakeMetadefs:
    def __init__(self, fails_at=""):
        self.fails_at = fails_at
        self.sent = []

    def send(self, namespace, action, kind, name, body):
        self.sent.append((action, name, body.get("protected")))
        if name == self.fails_at:
            raise Refused("no", status=403)


def test_protection_is_lifted_around_what_is_deleted():
    fake = FakeMetadefs()
    module.apply(fake, "X", WITHOUT_AB)
    assert fake.sent == [
        ("update", "X", False),
        ("delete", "a", None),
        ("delete", "b", None),
        ("update", "X", True),
    ]


def test_protection_comes_back_when_glance_refuses_in_between():
    fake = FakeMetadefs(fails_at="a")
    with pytest.raises(Refused):
        module.apply(fake, "X", WITHOUT_AB)
    assert fake.sent == [("update", "X", False), ("delete", "a", None), ("update", "X", True)]


def test_what_is_protected_is_refused_with_what_would_be_done():
    with pytest.raises(BadOption, match=r"X as it is.*delete tag a, delete tag b.*See whose"):
        module.refuse_protected(params(), THERE, WITHOUT_AB)


@pytest.mark.parametrize(
    ("given", "now", "decision"),
    [
        ({"change_protected": True}, THERE, WITHOUT_AB),
        ({}, THERE, metadef.Decision()),
        ({}, metadef.read({"namespace": "X"}), WITHOUT_AB),
        ({}, None, metadef.decide(None, THERE)),
    ],
)
def test_what_may_be_done_is_not_refused(given, now, decision):
    module.refuse_protected(params(**given), now, decision)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"namespace": "X"}, "namespace: 'X' is only for state: absent"),
        ({"namespace": "a/b", "state": "absent"}, "namespace: 'a/b' cannot be kept.*slash"),
        ({"definition": {"namespace": "X"}, "state": "absent", "purge": True}, "purge: True"),
        ({"definition": {}}, "definition: None cannot be kept.*namespace: it is missing"),
        (
            {"definition": {"namespace": "X", "visibility": 5, "tags": 5}},
            "definition: 'X' cannot be kept by Glance: visibility: 5 is none of.*; tags: 5 is no",
        ),
    ],
)
def test_options_are_checked_first(given, words):
    with pytest.raises(BadOption, match=words):
        module.checked(params(**given))


def test_a_namespace_alone_is_removed_whole():
    name, named = module.checked(params(namespace="X", state="absent"))
    assert module.goal_of(params(state="absent"), THERE, named) is None
    assert name == "X"


def test_the_sentence_does_not_repeat_the_namespace():
    assert module.sentence(metadef.decide(THERE, None), None) == "delete namespace"
    assert module.sentence(WITHOUT_AB, THERE) == "delete tag a, delete tag b"
    assert module.sentence(metadef.Decision(), THERE) == "nothing to change"
    assert module.sentence(metadef.Decision(), None) == "not there"


def test_a_cloud_without_an_image_service_is_said_to_have_none():
    session = SimpleNamespace(offers=lambda name: name != "image", api=lambda name: name)
    with pytest.raises(Unreachable, match="no image service"):
        module.catalogue(SimpleNamespace(session=session))
