# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back: every file below /etc as it was, to the byte, and nova-compute as well."""

from __future__ import annotations

import pytest
from conftest import PATH, SUM

HOSTS = ("cmp-1", "cmp-2")


@pytest.fixture(scope="module")
def reverted(play):
    done = play("revert.yml", limit="compute")
    assert done.status == 0, done.why
    return done


@pytest.mark.parametrize("name", HOSTS)
def test_every_file_is_as_it_was(reverted, machines, name):
    assert not machines[name].file(PATH).exists
    before = machines[name].file("/root/before.txt").content_string
    assert machines[name].check_output(SUM) == before.rstrip("\n")


def test_nova_compute_is_started_as_it_was(reverted, machines, pid):
    told = machines["cmp-2"].file(f"/proc/{pid('cmp-2')}/cmdline").content_string
    assert "--config-dir" not in told


@pytest.mark.parametrize("name", HOSTS)
def test_nova_compute_heeds_it(reverted, name):
    assert reverted.tasks[name]["Restart | Restart it unless a migration has begun"]["changed"]


def test_once_more_changes_nothing(reverted, play):
    again = play("revert.yml", limit="compute")
    assert again.status == 0, again.why
    assert [again.changed(name) for name in HOSTS] == [0, 0]


def test_libvirt_has_novas_own_in_the_next_migration(reverted, moving, machines, domain):
    with moving("busy-02", "cmp-1", "cmp-2"):
        name = domain("busy-02")
        assert machines["cmp-1"].check_output(f"virsh migrate-getmaxdowntime {name}") == "50"


def test_it_comes_again(reverted, play, machines):
    done = play("converge.yml", limit="compute")
    assert done.status == 0, done.why
    assert all(machines[name].file(PATH).exists for name in HOSTS)
