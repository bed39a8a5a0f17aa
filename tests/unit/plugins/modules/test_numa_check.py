# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""numa_check as a whole, on APIs that answer from a table: its result, its sentence, its table."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    DoesNotFit,
    Refused,
)
from ansible_collections.lowtide.compute.plugins.module_utils._numa_check import SPEC, check_fit
from ansible_collections.lowtide.compute.plugins.module_utils._planner import numa_model as n
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import encode
from ansible_collections.lowtide.compute.plugins.modules import numa_check

HOSTS = ("cmp-1", "cmp-2", "cmp-3")
PINNED = {"hw:cpu_policy": "dedicated"}


class FakeApi:
    """Answers from a table (path -> body), and 404 for all else."""

    def __init__(self, answers):
        self.answers = answers

    def get(self, path, params=None, **more):
        if path not in self.answers:
            raise Refused("gone", status=404, reason="gone")
        return self.answers[path]

    def list(self, path, key, params=None, **more):
        return self.get(path, params)[key]

    def pages(self, path, key, params=None, **more):
        yield self.list(path, key, params)

    def max_microversion(self):
        return (2, 100)


def server(name, vcpus, **specs):
    return {
        "id": f"id-{name}",
        "name": name,
        "OS-EXT-SRV-ATTR:host": "cmp-1",
        "flavor": {
            "vcpus": vcpus,
            "ram": 512,
            "disk": 1,
            "original_name": f"f{vcpus}",
            "extra_specs": specs,
        },
        "image": {"id": "i", "properties": {"hw_machine_type": "q35"}},
    }


class FakeSession:
    """A cloud of three hosts with 8 PCPUs free each; ``servers`` are on cmp-1."""

    def __init__(self, *servers):
        services = [
            {"id": host, "host": host, "status": "enabled", "state": "up"} for host in HOSTS
        ]
        nodes = [{"id": f"r-{host}", "service": {"host": host}} for host in HOSTS]
        amount = {"capacity": 8, "used": 0}
        room = {"PCPU": amount, "VCPU": amount, "MEMORY_MB": {"capacity": 8192, "used": 0}}
        summaries = {
            f"r-{host}": {"root_provider_uuid": f"r-{host}", "traits": [], "resources": room}
            for host in HOSTS
        }
        inventories = {"inventories": {}}
        self.answers = {
            "compute": {
                "/os-services": {"services": services},
                "/os-hypervisors/detail": {"hypervisors": nodes},
                "/servers/detail": {"servers": list(servers)},
            },
            "placement": {
                "/allocation_candidates": {"provider_summaries": summaries},
                **{f"/resource_providers/r-{host}/inventories": inventories for host in HOSTS},
            },
            "network": {"/ports": {"ports": []}},
        }

    def api(self, name):
        return FakeApi(self.answers[name])

    def offers(self, service_type):
        return False


class FakeTask:
    """The module's options, and the warnings that it gave."""

    def __init__(self, session, **options):
        self.session = session
        self.params = {name: spec.get("default") for name, spec in SPEC.items()} | options
        self.warnings = []
        self.warn = self.warnings.append


def topology(host, *free):
    """Cells with so many free dedicated CPUs each."""
    cells = tuple(
        n.HostCell(
            number,
            dedicated_cpus=(own := tuple(range(number * 8, number * 8 + cpus))),
            siblings=tuple((cpu,) for cpu in own),
            memory_mib=4096,
            pages=(n.Pages(4, 1024 * 1024),),
        )
        for number, cpus in enumerate(free)
    )
    return encode(n.HostNuma(host, cells, devices=()))


TOPOLOGIES = {"cmp-2": topology("cmp-2", 2, 2), "cmp-3": topology("cmp-3", 1, 4)}


def run(*servers, **options):
    task = FakeTask(FakeSession(*servers), source="cmp-1", **options)
    return task, check_fit(task)


def test_the_result_says_where_each_guest_goes():
    _task, result = run(server("db", 3, **PINNED), topologies=TOPOLOGIES)
    assert result["changed"] is False
    assert result["holds"] is True
    assert result["guests"][0]["fits"] == ["cmp-3"]
    assert result["summary"] == {"guests": 1, "hosts": 2, "fit": 1, "no_fit": 1, "unknown": 0}
    assert result["msg"] == "1 guest fit, on 2 hosts asked about"
    assert result["table"] == [
        "guest  cmp-2           cmp-3",
        "db     dedicated_cpus  cell 1",
    ]


def test_return_describes_each_field():
    _task, result = run(server("db", 3, **PINNED), topologies=TOPOLOGIES)
    told = yaml.safe_load(numa_check.RETURN)
    assert set(result) - {"changed"} <= set(told)
    for part in ("verdicts", "guests", "hosts"):
        assert set(result[part][0]) == set(told[part]["contains"])
    fit = next(row for row in result["verdicts"] if row["result"] == "fit")
    assert set(fit["cells"][0]) == set(told["verdicts"]["contains"]["cells"]["contains"])


def test_all_reasons_are_told_at_once_and_each_once():
    guests = server("big", 5, **PINNED), server("odd", 1, **{"hw:numa_nodes": "2"})
    with pytest.raises(DoesNotFit) as caught:
        run(*guests, server("db", 3, **PINNED), topologies=TOPOLOGIES)
    told = str(caught.value)
    assert told.startswith("2 of 3 guests do not fit: big (")
    assert "cmp-2, cmp-3: no_fit bad_request: hw:numa_nodes: '2'" in told
    assert told.endswith(caught.value.remedy)
    assert caught.value.details["holds"] is False
    assert len(caught.value.details["verdicts"]) == 6


def test_what_is_not_known_is_a_failure_or_a_warning():
    with pytest.raises(DoesNotFit, match=r"db \(cmp-2, cmp-3: unknown: Placement has room"):
        run(server("db", 3, **PINNED))
    task, result = run(server("db", 3, **PINNED), affinity="best_effort")
    assert result["table"][1] == "db     unseen?  unseen?"
    assert [warning.partition(": ")[0] for warning in task.warnings] == [
        "db on cmp-2",
        "db on cmp-3",
    ]


def test_together_the_table_says_who_took_what():
    guests = server("a", 2, **PINNED), server("b", 4, **PINNED), server("c", 2, **PINNED)
    _task, result = run(*guests, topologies=TOPOLOGIES, together=True)
    assert [row["takes"] for row in result["guests"]] == [["cmp-2"], ["cmp-3"], ["cmp-2"]]
    assert result["table"][1] == "a      cell 0 *        dedicated_cpus"


def test_a_host_without_guests_holds():
    _task, result = run(topologies=TOPOLOGIES)
    assert result["holds"] is True
    assert result["msg"] == "0 guests fit, on 2 hosts asked about"


def test_a_flavor_that_makes_no_sense_is_an_error_with_key_and_value():
    session = FakeSession()
    bad = {"id": "f", "name": "bad", "vcpus": 1, "ram": 512, "extra_specs": {"hw:numa_nodes": "2"}}
    session.answers["compute"]["/flavors/bad"] = {"flavor": bad}
    wanted = [{"id": None, "name": None, "flavor": "bad", "image": None}]
    with pytest.raises(BadOption, match=r"guests.flavor: bad: hw:numa_nodes: '2' "):
        check_fit(FakeTask(session, guests=wanted))
