# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees like those of Kolla-Ansible and OpenStack-Ansible: a file of ours, and nobody else's."""

from __future__ import annotations

import configparser
import json
import subprocess

import pytest

HOST = "compute1"
KOLLA, OSA = "kolla_ansible", "openstack_ansible"
OVERRIDES = "nova_nova_conf_overrides"


@pytest.fixture
def tree(tmp_path):
    """Somebody's configuration on the deploy host."""
    for name in ("kolla/nova", "osa/group_vars", "osa/host_vars"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "kolla/nova/nova-compute.conf").write_text("[libvirt]\ncpu_mode = custom\n")
    (tmp_path / "osa/user_variables.yml").write_text("---\ndebug: false\n")
    (tmp_path / "osa/inventory.ini").write_text(f"[compute_hosts]\n{HOST}\n")
    return tmp_path


@pytest.fixture
def roll(play, tree):
    """Run a playbook as for a deployed host; the deploy host is where Ansible runs."""

    def run(layout, name="converge.yml", **given):
        where = {
            "layout": layout,
            "release": "2025.1",
            "deploy_name": HOST,
            "kolla_config_dir": str(tree / "kolla"),
            "osa_config_dir": str(tree / "osa"),
            "record_dir": str(tree / "record"),
        }
        return play(name, **(where | given))

    return run


def files(tree):
    return {
        str(path.relative_to(tree)): path.read_text()
        for top in ("kolla", "osa")
        for path in sorted((tree / top).rglob("*"))
        if path.is_file()
    }


def variables(tree):
    """What Ansible makes of OpenStack-Ansible's tree."""
    told = subprocess.run(
        ["ansible-inventory", "--inventory", str(tree / "osa/inventory.ini"), "--host", HOST],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(told.stdout)


def test_kolla_ansible_gets_a_file_of_the_host_and_it_goes_again(roll, tree):
    before = files(tree)
    done = roll(KOLLA)
    assert done.status == 0, done.why
    said = done.tasks["cmp-1"]["Kolla-Ansible | Say how it gets to the host"]["msg"]
    assert "--tags nova-cell --limit compute1" in said
    assert set(files(tree)) - set(before) == {f"kolla/nova/{HOST}/nova-compute.conf"}
    parser = configparser.RawConfigParser(default_section="")
    parser.read(tree / f"kolla/nova/{HOST}/nova-compute.conf")
    assert parser["libvirt"]["live_migration_bandwidth"] == "417"
    again = roll(KOLLA)
    assert (again.status, again.changed("cmp-1")) == (0, 0), again.why
    assert roll(KOLLA, "revert.yml").status == 0
    assert files(tree) == before


def test_kolla_ansible_of_2023_1_reads_another_file(roll, tree):
    done = roll(KOLLA, release="2023.1")
    assert done.status == 0, done.why
    assert (tree / f"kolla/nova/{HOST}/nova.conf").exists()


def test_a_file_that_somebody_wrote_for_the_host_is_not_replaced(roll, tree):
    (tree / f"kolla/nova/{HOST}").mkdir()
    (tree / f"kolla/nova/{HOST}/nova-compute.conf").write_text("[libvirt]\n")
    before = files(tree)
    done = roll(KOLLA)
    assert f"kolla/nova/{HOST}/nova.conf" in done.failure("cmp-1")
    assert files(tree) == before


def test_openstack_ansible_gets_variables_of_the_host_and_they_go_again(roll, tree):
    before = files(tree)
    done = roll(OSA)
    assert done.status == 0, done.why
    said = done.tasks["cmp-1"]["OpenStack-Ansible | Say how it gets to the host"]["msg"]
    assert "os-nova-install.yml --tags nova-config --limit compute1" in said
    assert set(files(tree)) - set(before) == {f"osa/host_vars/{HOST}/lowtide_migration.yml"}
    options = variables(tree)
    assert options[OVERRIDES] == "{{ lowtide_nova_conf_overrides }}"
    libvirt = options["lowtide_nova_conf_overrides"]["libvirt"]
    assert libvirt["live_migration_bandwidth"] == "417"
    # What os_nova's template says, and nobody wants.
    assert libvirt["live_migration_tunnelled"] == "False"
    again = roll(OSA)
    assert (again.status, again.changed("cmp-1")) == (0, 0), again.why
    assert roll(OSA, "revert.yml").status == 0
    assert files(tree) == before


@pytest.mark.parametrize("place", ["osa/user_variables.yml", "osa/group_vars/nova_all.yml"])
def test_overrides_that_would_replace_ours_are_found(roll, tree, place):
    (tree / place).write_text(f"---\n{OVERRIDES}:\n  DEFAULT:\n    debug: true\n")
    before = files(tree)
    done = roll(OSA)
    assert done.status != 0
    assert place.rpartition("/")[2] in done.failure("cmp-1")
    assert files(tree) == before


def test_overrides_that_take_ours_in_are_left_to_their_owner(roll, tree):
    (tree / "osa/group_vars/all.yml").write_text(
        f"---\n{OVERRIDES}: >-\n"
        "  {{ {'DEFAULT': {'debug': true}}\n"
        "     | combine(lowtide_nova_conf_overrides | default({}), recursive=True) }}\n"
    )
    done = roll(OSA)
    assert done.status == 0, done.why
    assert "combine" in variables(tree)[OVERRIDES]


def test_variables_of_the_host_are_not_hidden(roll, tree):
    (tree / f"osa/host_vars/{HOST}.yml").write_text("---\nrack: 7\n")
    done = roll(OSA)
    assert f"{HOST}.yml" in done.failure("cmp-1")
    assert variables(tree)["rack"] == 7


def test_the_release_of_a_container_must_be_known(roll):
    done = roll(KOLLA, release="auto")
    assert "nova_migration_release" in done.failure("cmp-1")
