# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network that the role configured carries what it should; what then breaks is found."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

LAB = Path(__file__).parents[3] / "lab/lab"
REPORT = Path(os.environ["LAB_STATE"]) / "network.json"


@pytest.fixture
def lab():
    """Change the lab's wires; everything is as it was afterwards."""

    def run(*words):
        subprocess.run([LAB, *words], check=True, capture_output=True, text=True)

    yield run
    run("mtu", "9000")
    run("rate", "off")


def prove(play):
    """Exit status, output, and code and ends of what was found wrong."""
    REPORT.unlink(missing_ok=True)
    status, output = play("prove.yml")
    assert REPORT.exists(), output
    failures = json.loads(REPORT.read_text())["failures"]
    return status, output, {(each["code"], each["from"], each["to"]) for each in failures}


def test_what_the_role_configured_carries_what_it_should(play):
    status, output, bad = prove(play)
    assert bad == set(), output
    assert status == 0, output
    assert output.count("changed=0") == 3
    assert json.loads(REPORT.read_text())["limits"]["names"] is True


def test_a_port_with_a_small_mtu_is_found_and_nothing_else(play, lab):
    lab("mtu", "1500", "cmp-2")
    status, output, bad = prove(play)
    assert status == 2
    assert {(code, frozenset(ends)) for code, *ends in bad} == {
        ("mtu", frozenset({"cmp-1", "cmp-2"})),
        ("mtu", frozenset({"cmp-2", "cmp-3"})),
    }
    assert "packets of 1500 bytes pass, of 9000 they do not" in output
    assert "Look at cmp-2 first" in output


def test_a_slow_host_is_found_and_nothing_else(play, lab):
    lab("rate", "100mbit", "cmp-3")
    status, output, bad = prove(play)
    assert status == 2
    assert bad == {("throughput", "cmp-3", "cmp-1"), ("throughput", "cmp-3", "cmp-2")}
    assert "Look at cmp-3 first" in output
