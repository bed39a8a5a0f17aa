# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is gathered around a plan, and which input is refused."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils import _preflight as preflight
from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    Refused,
    Unauthorized,
    Unreachable,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Options
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import make_plan
from ansible_collections.lowtide.compute.plugins.module_utils._planner.preflight_model import (
    NovaConf,
    Token,
    Watched,
)
from tests.unit.support import guest, survey

SAID = {
    "version": "33.0.2",
    "release": 33,
    "effective": {"libvirt": {"live_migration_tunnelled": {"value": True, "source": "nova.conf"}}},
}


class FakeSession:
    """Signed in to a cloud with Masakari, or without."""

    def __init__(self, answer=None, token=(1100.0, False)):
        self.answer, self.token = answer, token

    def offers(self, service):
        assert service == "instance-ha"
        return self.answer is not None

    def token_end(self):
        return self.token

    def api(self, _name):
        return self

    def max_microversion(self):
        return (2, 103)

    def get(self, path, _query):
        if isinstance(self.answer, Exception):
            raise self.answer
        if path == "/segments":
            return {"segments": [{"uuid": "s1", "name": "rack-1"}]}
        return {"hosts": self.answer}


def look(session, **params):
    ordinary = {"nova_conf": {}, "migration_network": "unknown"}
    return preflight.look_around(session, 1000.0, ordinary | params)


def test_what_is_around():
    hosts = [{"uuid": "h1", "name": "cmp-1", "on_maintenance": False}]
    around = look(FakeSession(hosts), nova_conf={"cmp-1": SAID}, migration_network="reliable")
    assert around.token == Token(100.0, renewable=False)
    assert around.watched == {"cmp-1": Watched("rack-1")}
    assert around.microversion == (2, 103)
    assert around.network == "reliable"
    assert around.confs == {
        "cmp-1": NovaConf({"libvirt.live_migration_tunnelled": True}, (33, 0, 2))
    }


def test_a_cloud_without_masakari_watches_nothing():
    assert look(FakeSession()).watched == {}


@pytest.mark.parametrize(
    "error",
    [Unauthorized("no right"), Unreachable("down"), Refused("no such path", status=404)],
)
def test_masakari_that_does_not_answer_is_not_seen(error):
    assert look(FakeSession(error)).watched is None


def test_a_token_that_tells_no_end_is_not_seen():
    assert look(FakeSession(token=None)).token is None


def test_each_host_is_checked_with_its_own():
    hosts = [{"uuid": "h1", "name": "cmp-1", "on_maintenance": False}]
    around = look(FakeSession(hosts), nova_conf={"cmp-2": SAID})
    seen = survey(guest())
    found = preflight.check(seen, make_plan(seen, Options()), Options(), around)
    assert "masakari_not_in_maintenance" in {each.code for each in found.cautions}
    assert "tunnelled" in {each.code for each in found.not_seen}
    around = look(FakeSession(), nova_conf={"cmp-1": SAID})
    found = preflight.check(seen, make_plan(seen, Options()), Options(), around)
    assert "tunnelled" in {each.code for each in found.cautions}
    assert "masakari_not_in_maintenance" not in {each.code for each in found.cautions}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("tunnelled", "has no effective options"),
        ({"version": "33"}, "has no effective options"),
        ({"effective": {"libvirt": "tunnelled"}}, "has no values"),
        ({"effective": {"libvirt": {"live_migration_tunnelled": True}}}, "has no values"),
    ],
)
def test_what_is_no_configuration_is_refused(said, why):
    with pytest.raises(BadOption, match=rf"nova_conf\.cmp-1.*{why}.*nova_config_info"):
        preflight.read_confs({"cmp-1": said})


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ({"version": "32.2.1"}, (32, 2, 1)),
        ({"version": "34.0.0.dev12"}, (34, 0, 0)),
        ({"version": "", "release": 33}, (33,)),
        ({"version": "", "release": 32}, ()),
        ({}, ()),
    ],
)
def test_the_version_is_as_exact_as_it_was_told(said, version):
    confs = preflight.read_confs({"cmp-1": {**said, "effective": {}}})
    assert confs["cmp-1"].version == version


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ([], "names no host"),
        (["cmp-1", "cmp-1"], "is named twice"),
        (["cmp-1", "cmp-*"], "is a pattern or a list"),
        (["cmp-1", " "], "names no host"),
    ],
)
def test_hosts_are_named_exactly_and_once(names, why):
    with pytest.raises(BadOption, match=rf"^hosts: .*{why}"):
        preflight.exact_hosts(names)
