# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cloud that the scenario drained, and what it was populated with."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import openstack
import pytest
import yaml


@pytest.fixture(scope="session")
def cloud():
    """A connection to the scenario's cloud (OS_CLOUD)."""
    return openstack.connect(compute_default_microversion="2.96")


@pytest.fixture(scope="session")
def planned():
    """The guests of the scenario file: name -> its entry, ``count`` unfolded."""
    scenario = yaml.safe_load(pathlib.Path(os.environ["LAB_SCENARIO"]).read_text())
    guests = {}
    for guest in scenario["guests"]:
        count = guest.get("count", 0)
        names = [f"{guest['name']}-{n:02d}" for n in range(1, count + 1)] or [guest["name"]]
        guests.update({name: {**scenario["guest_defaults"], **guest} for name in names})
    return guests


@pytest.fixture(scope="session")
def guests(cloud):
    """Every guest of the cloud, by name."""
    return {server.name: server for server in cloud.compute.servers(all_projects=True)}


@pytest.fixture(scope="session")
def domains():
    """What the hypervisors really run: guest id -> list of (host, state)."""
    lab = pathlib.Path(__file__).parents[3] / "lab" / "lab"
    told = subprocess.run([lab, "status", "--json"], check=True, capture_output=True, text=True)
    where: dict[str, list[tuple[str, str]]] = {}
    for domain in json.loads(told.stdout)["domains"]:
        guest = domain.get("uuid") or domain["id"]
        where.setdefault(guest, []).append((domain["host"], domain["state"]))
    return where


@pytest.fixture(scope="session")
def report_dir():
    """Where the drain wrote its reports."""
    return os.environ["REPORT_DIR"]
