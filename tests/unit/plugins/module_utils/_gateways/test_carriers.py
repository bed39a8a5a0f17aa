# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How images, flavors and instances are read and changed: the requests, what becomes of them."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._errors import Refused
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.carriers import Carriers
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.image_list import (
    PATCH,
    ImageList,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.nova import Nova
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Carrier

UUID = "0123456789abcdef0123456789abcdef"


class FakeApi:
    """Answers reads from a table (path -> body or error), and keeps what it was sent."""

    def __init__(self, **answers):
        self.answers = answers
        self.sent = []
        self.asked = []

    def get(self, path, params=None, **more):
        self.asked.append((path, dict(params or {})))
        answer = self.answers[path]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def list(self, path, key, params=None, **more):
        return self.get(path, params)[key]

    def send(self, method, path, body=None, **more):
        self.sent.append((method, path, body, more))
        return {}


def carriers(nova=None, identity=None, image=None):
    images = ImageList(image) if image else None
    return Carriers(Nova(nova or FakeApi()), identity or FakeApi(), images, "p1")


def test_images_are_read_with_hidden_and_community_ones_and_only_once():
    raw = {"id": "i", "name": None, "owner": "p", "protected": True, "tags": ["a"], "min_ram": 0}
    image = FakeApi(**{"/images": {"images": [{**raw, "os_type": "linux"}]}})
    found = carriers(image=image)
    assert found.images == found.images
    assert [query["os_hidden"] for _path, query in image.asked] == ["false", "true"]
    assert {query["visibility"] for _path, query in image.asked} == {"all"}
    one = found.images[0]
    assert (one.place, one.id, one.name, one.owner, one.protected) == ("image", "i", "", "p", True)
    assert one.tags == ("a",)
    assert one.texts == {"id": "i", "owner": "p", "os_type": "linux"}


def test_a_cloud_without_an_image_service_has_no_images():
    assert carriers().images == ()


def test_flavors_are_read_whether_they_are_public_or_not():
    nova = FakeApi(
        **{"/flavors/detail": {"flavors": [{"id": "1", "name": "m1", "extra_specs": {"a": "b"}}]}}
    )
    assert carriers(nova).flavors == (Carrier("flavor", "1", "m1", {"a": "b"}),)
    assert nova.asked[0][1] == {"is_public": "None"}


def test_an_image_is_changed_in_one_request():
    image = FakeApi()
    carriers(image=image).change(Carrier("image", "i", "n"), {"a": "1"}, ("x/y", "p~q"))
    [(method, path, body, more)] = image.sent
    assert (method, path, more) == ("PATCH", "/images/i", {"content_type": PATCH})
    assert body == [
        {"op": "add", "path": "/a", "value": "1"},
        {"op": "remove", "path": "/x~1y"},
        {"op": "remove", "path": "/p~0q"},
    ]


@pytest.mark.parametrize(
    ("place", "path", "key"),
    [
        ("flavor", "/flavors/x/os-extra_specs", "extra_specs"),
        ("instance", "/servers/x/metadata", "metadata"),
    ],
)
def test_flavors_and_instances_get_all_at_once_and_lose_one_by_one(place, path, key):
    nova = FakeApi()
    carriers(nova).change(Carrier(place, "x", "n"), {"lowtide:a": "1"}, ("lowtide:b c", "d"))
    assert [(method, where, body) for method, where, body, _more in nova.sent] == [
        ("POST", path, {key: {"lowtide:a": "1"}}),
        ("DELETE", f"{path}/lowtide%3Ab%20c", None),
        ("DELETE", f"{path}/d", None),
    ]
    versions = {more["microversion"] for _m, _p, _b, more in nova.sent}
    assert all(tuple(map(int, version.split("."))) < (2, 86) for version in versions)


@pytest.mark.parametrize("place", ["flavor", "instance"])
def test_nothing_to_put_is_not_sent(place):
    nova = FakeApi()
    carriers(nova).change(Carrier(place, "x", "n"), {}, ("d",))
    assert [method for method, *_rest in nova.sent] == ["DELETE"]


def test_projects_are_found_by_id_and_by_name():
    identity = FakeApi(
        **{
            f"/projects/{UUID}": {"project": {"id": UUID}},
            "/projects": {"projects": [{"id": "a"}, {"id": "b"}]},
        }
    )
    assert carriers(identity=identity).projects_called(UUID) == (UUID,)
    assert carriers(identity=identity).projects_called("demo") == ("a", "b")
    assert identity.asked[-1] == ("/projects", {"name": "demo"})


def test_a_name_may_look_like_an_id():
    gone = Refused("gone", status=404, reason="gone")
    answers = {f"/projects/{UUID}": gone, "/projects": {"projects": [{"id": "a"}]}}
    assert carriers(identity=FakeApi(**answers)).projects_called(UUID) == ("a",)


def test_another_refusal_is_not_hidden():
    answers = {f"/projects/{UUID}": Refused("bad", status=400, reason="bad")}
    with pytest.raises(Refused):
        carriers(identity=FakeApi(**answers)).projects_called(UUID)
