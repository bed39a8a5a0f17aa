# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated libvirt: domains, their migrations as Nova's driver asks for them, and crashes."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid

import nova.conf
import pytest
import sqlalchemy
from nova import thread_pool_factory
from nova.tests.fixtures import libvirt as fakelibvirt
from oslo_messaging import Target

from lab.embedded import compute_life, hypervisor
from lab.embedded.behaviour import Behaviour, Behaviours
from lab.embedded.compute_life import Endpoint, Life, ServiceKilled
from lab.embedded.hypervisor import Hypervisors
from lab.scenario import Host, Scenario

MIB = 2**20
LIVE = fakelibvirt.VIR_MIGRATE_LIVE | fakelibvirt.VIR_MIGRATE_PEER2PEER
POST_COPY = LIVE | fakelibvirt.VIR_MIGRATE_POSTCOPY
FOREVER = 30

DOMAIN = """
<domain type='kvm'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory>{memory_kib}</memory>
  <vcpu>1</vcpu>
  <os><type>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <devices/>
</domain>
"""


@pytest.fixture(scope="module", autouse=True)
def lives():
    compute_life.install()


@pytest.fixture
def cloud():
    """Two hosts; 128 MiB are copied in about 0.13 s of this test's time."""
    hosts = tuple(Host(name=name, nic_gbit_s=1.0) for name in ("one", "two"))
    return Hypervisors(Scenario(name="test", time_scale=8.0, hosts=hosts))


def define(cloud, host="one", mib=128, name="guest"):
    xml = DOMAIN.format(name=name, uuid=uuid.uuid4(), memory_kib=mib * 1024)
    domain = cloud.connections[host].defineXML(xml)
    domain.createWithFlags(0)
    return domain


class Migrating(threading.Thread):
    """The call to migrateToURI3, in a thread as Nova has it."""

    def __init__(self, domain, flags=LIVE, life=None, **params):
        super().__init__(daemon=True)
        xml = DOMAIN.format(
            name=domain.name(), uuid=domain.uuid, memory_kib=domain.memory_bytes // 1024
        )
        self._call = lambda: domain.migrateToURI3(
            "qemu+tcp://two/system", {"destination_xml": xml, **params}, flags
        )
        if life is not None:
            self._call = life.bind(self._call)
        self.error = None
        self.start()

    def run(self):
        try:
            self._call()
        except (fakelibvirt.libvirtError, ServiceKilled) as error:
            self.error = error

    def end(self):
        self.join(FOREVER)
        assert not self.is_alive()
        return self.error


def wait_for(condition):
    deadline = time.monotonic() + FOREVER
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def copying(domain, iteration=1):
    wait_for(lambda: domain.jobStats().get("memory_iteration", 0) >= iteration)


def places(cloud):
    return [(entry["host"], entry["state"]) for entry in cloud.domains()]


def busy(cloud, domain):
    """Let a guest dirty its memory faster than its wire can carry it."""
    cloud.set_behaviour(domain.uuid, {"dirty_rate_mib_s": 500, "working_set_mib": 100})


# --- domains -------------------------------------------------------------------------------


def test_a_domain_lives_as_qemu_lets_it(cloud):
    domain = define(cloud)
    seen = []
    for step in (
        domain.suspend,
        domain.resume,
        domain.shutdown,
        lambda: domain.createWithFlags(fakelibvirt.VIR_DOMAIN_START_PAUSED),
        lambda: domain.managedSave(0),
        domain.create,
        domain.destroy,
    ):
        step()
        seen.append((domain.state, domain.isActive(), domain.ID() > 0))
    assert seen == [
        ("paused", 1, True),
        ("running", 1, True),
        ("shutoff", 0, False),
        ("paused", 1, True),
        ("shutoff", 0, False),
        ("running", 1, True),
        ("shutoff", 0, False),
    ]
    domain.undefine()
    assert places(cloud) == []


def test_a_redefined_domain_lives_on(cloud):
    domain = define(cloud)
    xml = DOMAIN.format(name="guest", uuid=domain.uuid, memory_kib=256 * 1024)
    assert cloud.connections["one"].defineXML(xml) is domain
    assert (domain.state, domain.memory_bytes) == ("running", 256 * MIB)


def test_domains_are_listed_by_activity(cloud):
    define(cloud, name="on")
    define(cloud, name="off").destroy()
    listed = cloud.connections["one"].listAllDomains
    names = [
        [domain.name() for domain in listed(flags)]
        for flags in (
            fakelibvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE,
            fakelibvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE,
        )
    ]
    assert names == [["on"], ["off"]]


def test_an_unknown_domain_is_libvirts_error(cloud):
    with pytest.raises(fakelibvirt.libvirtError) as caught:
        cloud.connections["one"].lookupByUUIDString("nothing")
    assert caught.value.get_error_code() == fakelibvirt.VIR_ERR_NO_DOMAIN


# --- migrations ----------------------------------------------------------------------------


def test_a_migrated_guest_is_on_its_destination_and_nowhere_else(cloud):
    domain = define(cloud)
    assert Migrating(domain).end() is None
    assert places(cloud) == [("two", "running")]
    with pytest.raises(fakelibvirt.libvirtError) as caught:
        domain.jobStats()
    assert caught.value.get_error_code() == fakelibvirt.VIR_ERR_NO_DOMAIN
    assert cloud.migrator.running() == []


def test_a_paused_guest_arrives_paused(cloud):
    domain = define(cloud)
    busy(cloud, domain)
    domain.suspend()
    assert Migrating(domain).end() is None
    assert places(cloud) == [("two", "paused")]


def test_figures_move_while_it_runs(cloud):
    domain = define(cloud, mib=1024)
    call = Migrating(domain)
    copying(domain)
    first, second = domain.jobStats(), domain.jobInfo()
    assert first["type"] == second[0] == fakelibvirt.VIR_DOMAIN_JOB_UNBOUNDED
    assert first["memory_total"] == second[6] == 1024 * MIB
    assert 0 < first["memory_remaining"] < 1024 * MIB
    assert second[7] > first["memory_processed"] > 0
    assert first["memory_bps"] == 125_000_000
    assert call.end() is None


def test_an_aborted_migration_raises_as_libvirt_does_and_the_guest_stays(cloud):
    domain = define(cloud)
    busy(cloud, domain)
    call = Migrating(domain)
    copying(domain)
    domain.abortJob()
    error = call.end()
    assert error.get_error_code() == 78
    assert "canceled by client" in str(error)
    assert places(cloud) == [("one", "running")]
    assert domain.jobStats() == {"type": fakelibvirt.VIR_DOMAIN_JOB_NONE}


def test_a_migration_fails_as_often_as_it_was_told_to(cloud):
    domain = define(cloud)
    cloud.set_behaviour(domain.uuid, {"fail_at_percent": 60, "fail_times": 2})
    errors = [Migrating(domain).end() for _ in range(3)]
    assert [error and error.get_error_code() for error in errors] == [9, 9, None]
    assert places(cloud) == [("two", "running")]


def test_a_guest_that_fails_as_it_is_handed_over_runs_again(cloud):
    domain = define(cloud)
    # The hundredth percent of the first round is the last moment; the hand-over follows it.
    cloud.set_behaviour(domain.uuid, {"fail_at_percent": 100, "fail_times": 1})
    assert Migrating(domain).end() is not None
    assert places(cloud) == [("one", "running")]


def test_suspending_a_migrating_guest_lets_it_arrive_running(cloud):
    domain = define(cloud)
    busy(cloud, domain)
    call = Migrating(domain)
    copying(domain)
    domain.suspend()
    assert (domain.state, domain.isActive()) == ("paused", 1)
    assert call.end() is None
    assert places(cloud) == [("two", "running")]


def test_post_copy_runs_the_guest_on_its_destination_first(cloud):
    domain = define(cloud, mib=1024)
    busy(cloud, domain)
    call = Migrating(domain, POST_COPY)
    copying(domain)
    domain.migrateStartPostCopy()
    wait_for(lambda: len(cloud.domains()) == 2)
    assert places(cloud) == [("one", "paused"), ("two", "running")]
    with pytest.raises(fakelibvirt.libvirtError, match="post-copy"):
        domain.abortJob()
    assert call.end() is None
    assert places(cloud) == [("two", "running")]


def test_post_copy_must_be_agreed_on_at_the_start(cloud):
    domain = define(cloud)
    busy(cloud, domain)
    call = Migrating(domain)
    copying(domain)
    with pytest.raises(fakelibvirt.libvirtError, match="post-copy permitted"):
        domain.migrateStartPostCopy()
    domain.abortJob()
    call.end()


def test_a_higher_downtime_ends_what_did_not_converge(cloud):
    domain = define(cloud)
    busy(cloud, domain)
    call = Migrating(domain)
    copying(domain, iteration=4)
    domain.migrateSetMaxDowntime(1000)
    assert domain.migrateGetMaxDowntime() == 1000
    assert call.end() is None


def test_a_guest_that_calms_down_ends_what_did_not_converge(cloud):
    domain = define(cloud)
    busy(cloud, domain)
    call = Migrating(domain)
    copying(domain, iteration=4)
    cloud.set_behaviour(domain.uuid, {"dirty_rate_mib_s": 0})
    assert call.end() is None


def test_the_bandwidth_parameter_is_the_first_maximum_speed(cloud):
    domain = define(cloud)
    call = Migrating(domain, bandwidth=2)
    copying(domain)
    assert domain.jobStats()["memory_bps"] == 2 * MIB
    domain.migrateSetMaxSpeed(0)
    assert domain.migrateGetMaxSpeed() == 0
    assert domain.jobStats()["memory_bps"] == 125_000_000
    assert call.end() is None


def test_auto_converge_is_the_flags(cloud):
    domain = define(cloud)
    busy(cloud, domain)
    call = Migrating(domain, LIVE | fakelibvirt.VIR_MIGRATE_AUTO_CONVERGE)
    wait_for(lambda: domain.jobStats().get("auto_converge_throttle", 0) >= 20)
    assert call.end() is None


def test_two_migrations_share_the_wire(cloud):
    domains = [define(cloud, mib=1024, name=name) for name in ("first", "second")]
    calls = [Migrating(domain) for domain in domains]
    for domain in domains:
        copying(domain)
    assert [entry["memory_bps"] for entry in cloud.migrator.as_data()] == [62_500_000] * 2
    assert [call.end() for call in calls] == [None, None]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda domain: domain.abortJob(), "no job is active"),
        (lambda domain: domain.migrateSetMaxDowntime(1), "no job is active"),
        (lambda domain: domain.migrateToURI3("qemu+tcp://six/system", {}, LIVE), "six"),
    ],
)
def test_what_cannot_be_done_is_libvirts_error(cloud, call, message):
    with pytest.raises(fakelibvirt.libvirtError, match=message):
        call(define(cloud))


def test_destroying_a_migrating_guest_ends_the_migration(cloud):
    domain = define(cloud)
    busy(cloud, domain)
    call = Migrating(domain)
    copying(domain)
    domain.destroy()
    assert call.end() is not None
    assert places(cloud) == [("one", "shutoff")]


# --- behaviour -----------------------------------------------------------------------------


def test_sizes_are_bounded_by_the_memory_there_is():
    guest = Behaviour(working_set_mib=4096, resident_mib=2048).memory(1024 * MIB)
    assert guest.resident_bytes == guest.working_set_bytes == 1024 * MIB
    assert Behaviour(resident_mib=0).memory(MIB).resident_bytes == 4096
    assert Behaviour().memory(1024 * MIB).working_set_bytes == 256 * MIB


@pytest.mark.parametrize(
    "changes",
    [
        {"speed": 1},
        {"dirty_rate_mib_s": -1},
        {"dirty_rate_mib_s": None},
        {"dirty_rate_mib_s": float("inf")},
        {"fail_at_percent": 101},
        {"fail_times": 1.5},
        {"never_converges": 1},
        {"working_set_mib": True},
    ],
)
def test_a_figure_that_makes_no_sense_is_named(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        Behaviours().update("guest", changes)


def test_changes_add_up():
    behaviours = Behaviours()
    behaviours.update("guest", {"dirty_rate_mib_s": 7})
    behaviours.update("guest", {"never_converges": True})
    assert behaviours.as_data()["guest"]["dirty_rate_mib_s"] == 7
    assert behaviours.of("guest").never_converges
    assert behaviours.of("another") == Behaviour()


# --- crashes -------------------------------------------------------------------------------


class FakeService:
    """As much of a nova service as a crash touches."""

    def __init__(self):
        self.stopped = []
        self.rpcserver = self.rpcserver_alt = self.tg = self

    def stop(self):
        self.stopped.append(time.monotonic())


@pytest.fixture
def computes(cloud, monkeypatch):
    """Let each start give a new life, without a Nova below it."""
    started = []

    def start_compute(life, connection):
        started.append(life)
        return FakeService()

    monkeypatch.setattr(hypervisor, "_start_compute", start_compute)
    cloud.start("one")
    cloud.start("two")
    return started


def test_a_migration_outlives_the_service_that_asked_for_it(cloud, computes):
    domain = define(cloud)
    call = Migrating(domain, life=computes[0])
    copying(domain)
    cloud.crash("one", "now")
    assert isinstance(call.end(), ServiceKilled)
    wait_for(lambda: places(cloud) == [("two", "running")])


def test_a_service_can_die_while_the_guest_is_copied(cloud, computes):
    cloud.crash("one", "before_switchover")
    domain = define(cloud)
    busy(cloud, domain)
    assert computes[0].alive
    assert isinstance(Migrating(domain, life=computes[0]).end(), ServiceKilled)
    assert places(cloud) == [("one", "running")]
    cloud.set_behaviour(domain.uuid, {"dirty_rate_mib_s": 0})
    wait_for(lambda: places(cloud) == [("two", "running")])
    assert not computes[0].alive
    assert computes[1].alive


@pytest.mark.parametrize("when", ["during_switchover", "after_switchover"])
def test_a_service_can_die_as_the_guest_is_handed_over(cloud, computes, monkeypatch, when):
    seen = []
    monkeypatch.setattr(
        hypervisor, "_kill", lambda life, _service: (life.end(), seen.extend(places(cloud)))
    )
    cloud.crash("one", when)
    assert isinstance(Migrating(define(cloud), life=computes[0]).end(), ServiceKilled)
    wait_for(lambda: places(cloud) == [("two", "running")])
    # Nova can only have known it on its source.
    assert [host for host, _state in seen] == ["one"]


def test_only_a_migration_from_the_host_counts(cloud, computes):
    cloud.crash("two", "before_switchover")
    Migrating(define(cloud), life=computes[0]).end()
    assert computes[1].alive


def test_a_crash_to_come_happens_once(cloud, computes):
    cloud.crash("one", "before_switchover")
    Migrating(define(cloud), life=computes[0]).end()
    wait_for(lambda: places(cloud) == [("two", "running")])
    cloud.start("one")
    assert Migrating(define(cloud, name="next"), life=computes[2]).end() is None
    assert computes[2].alive


def test_start_and_crash_can_be_repeated(cloud, computes):
    service = cloud.start("one")
    assert len(computes) == 2
    cloud.crash("one", "now")
    cloud.crash("one", "now")
    assert len(service.stopped) == 3
    assert cloud.start("one") is not service
    assert [life.alive for life in computes] == [False, True, True]


# --- lives ---------------------------------------------------------------------------------


def test_each_life_has_its_own_host_in_the_configuration():
    nova.conf.CONF([], project="nova", default_config_files=[])
    outside = nova.conf.CONF.host
    with Life("one").acting():
        assert nova.conf.CONF.host == "one"
        with Life("two").acting():
            assert nova.conf.CONF.host == "two"
        assert nova.conf.CONF.host == "one"
    assert nova.conf.CONF.host == outside


def test_each_life_has_its_own_pools_whose_threads_are_its_own():
    kind = thread_pool_factory.ExecutorType.LIVE_MIGRATION
    one, two = Life("one"), Life("two")
    with one.acting():
        pool = thread_pool_factory.get_executor(kind)
        future = thread_pool_factory.spawn_on(kind, compute_life.current)
        assert future.result(FOREVER) is one
        assert thread_pool_factory.get_executor(kind) is pool
    with two.acting():
        assert thread_pool_factory.get_executor(kind) is not pool
    assert pool.submit(compute_life.current).result(FOREVER) is one
    one.end()
    with pytest.raises(ServiceKilled):
        pool.submit(compute_life.current).result(FOREVER)


def test_the_dead_write_nothing_down(tmp_path):
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/test.sqlite")
    life = Life("one")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE t (x)"))

    def write():
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("INSERT INTO t VALUES (1)"))
            life.end()
            connection.execute(sqlalchemy.text("INSERT INTO t VALUES (2)"))

    with pytest.raises(ServiceKilled):
        life.bind(write)()
    with engine.begin() as connection:
        assert connection.execute(sqlalchemy.text("SELECT * FROM t")).fetchall() == []


def test_no_ordinary_handler_revives_the_dead():
    life = Life("one")

    def work():
        life.end()
        with contextlib.suppress(Exception):
            compute_life.check()

    with pytest.raises(ServiceKilled, match="one"):
        life.bind(work)()


def test_an_endpoint_acts_for_its_life_and_keeps_its_target():
    class Manager:
        target = Target(version="6.0")

        def whose(self):
            return compute_life.current()

    life = Life("one")
    endpoint = Endpoint(Manager(), life)
    assert endpoint.whose() is life
    assert endpoint.target is Manager.target
    assert not hasattr(endpoint, "nothing")
    assert compute_life.current() is None


# --- hardware ------------------------------------------------------------------------------


def hardware_of(**host):
    lab = Hypervisors(Scenario(name="test", hosts=(Host(name="one", nic_gbit_s=1.0, **host),)))
    return lab.connections["one"]


def test_processors_and_pages_are_the_scenarios():
    host = hardware_of(
        cpus=16, numa_cells=2, threads_per_core=2, memory_mib=8192, huge_pages_2m=512
    )
    cells = host.host_info.numa_topology.cells
    assert [len(cell.cpus) for cell in cells] == [8, 8]
    assert sorted(cells[1].cpus[0].siblings) == [8, 9]
    assert [[(page.size, page.total) for page in cell.mempages] for cell in cells] == [
        [(4, 786432), (2048, 512)]
    ] * 2
    assert host.getInfo()[1:3] == [8192, 16]


def test_devices_are_the_scenarios():
    kinds = [
        device.dev_type
        for device in hardware_of(pci_devices=2, sriov_vfs=3, vgpus=1).pci_info.devices.values()
    ]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "PCI": 2,
        "PF": 1,
        "VF": 3,
        "MDEV_TYPES": 1,
    }
    assert not hardware_of().pci_info.devices


def test_a_gpu_has_room_for_as_many_as_the_scenario_says():
    host = hardware_of(vgpus=2)
    name = host.listDevices("mdev_types", 0)[0]
    free = []
    for _ in range(3):
        description = host.nodeDeviceLookupByName(name).XMLDesc(0)
        free.append(description.split("<availableInstances>")[1].split("<")[0])
        host.nodeDeviceCreateXML(
            f"<device><parent>{name}</parent><capability type='mdev'>"
            f"<type id='nvidia-11'/><uuid>{uuid.uuid4()}</uuid></capability></device>",
            0,
        )
    assert free == ["2", "1", "0"]
    assert len(host.listDevices("mdev", 0)) == 3


def test_memory_encryption_is_the_hosts():
    for sev in (False, True):
        capabilities = hardware_of(sev=sev).getDomainCapabilities("", "x86_64", "q35", "kvm", 0)
        assert ("<sev supported='yes'>" in capabilities) is sev
