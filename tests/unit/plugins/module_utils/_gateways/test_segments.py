# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts Masakari watches, read from an API that gives pages without links."""

from __future__ import annotations

from ansible_collections.lowtide.compute.plugins.module_utils._gateways import segments


class FakeApi:
    """Two segments; the hosts of the first do not fit a page."""

    def __init__(self):
        self.asked = []
        self.lists = {
            "/segments": [{"uuid": "s1", "name": "rack-1"}, {"uuid": "s2", "name": "rack-2"}],
            "/segments/s1/hosts": [
                {"uuid": f"h{n}", "name": f"cmp-{n}", "on_maintenance": n == 2} for n in (1, 2, 3)
            ],
            "/segments/s2/hosts": [],
        }

    def get(self, path, query):
        self.asked.append((path, query.get("marker")))
        rows = self.lists[path]
        uuids = [row["uuid"] for row in rows]
        begin = uuids.index(query["marker"]) + 1 if "marker" in query else 0
        return {path.rpartition("/")[2]: rows[begin : begin + query["limit"]]}


def test_every_host_has_its_segment_and_its_state(monkeypatch):
    monkeypatch.setattr(segments, "PAGE", 2)
    api = FakeApi()
    assert segments.Segments(api).maintenance() == {
        "cmp-1": ("rack-1", False),
        "cmp-2": ("rack-1", True),
        "cmp-3": ("rack-1", False),
    }
    assert ("/segments/s1/hosts", "h2") in api.asked


def test_the_calls_are_as_many_as_the_segments():
    api = FakeApi()
    segments.Segments(api).maintenance()
    assert [path for path, _marker in api.asked] == [
        "/segments",
        "/segments/s1/hosts",
        "/segments/s2/hosts",
    ]
