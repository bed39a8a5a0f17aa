# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hypervisors backend: starts and stops the machines and services of one state directory."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from lab import processes, state
from lab import scenario as scenarios
from lab.backend import LabError
from lab.hypervisors import compute, guest, hardware, host, images, moments, network, ssh, survey
from lab.hypervisors.control import config, layers
from lab.hypervisors.control.nurseries import Nurseries
from lab.hypervisors.control.plane import ControlPlane
from lab.hypervisors.machine import Machine
from lab.hypervisors.settings import Settings
from lab.hypervisors.site import Site
from lab.scenario import Scenario

DEFAULT_SCENARIO = """\
# The lab's own scenario: three equal hosts and nobody on them.
name: default
hosts: [{name: cmp-1}, {name: cmp-2}, {name: cmp-3}]
"""
SHARED, BARE = "shared", "bare"
COMPUTE_SECONDS = 180.0
COMMANDS = ("ip", "nsenter", "tc", "unshare")
EMBEDDED_ONLY = (
    "only the embedded lab injects faults and logs requests; here, crash a host, limit the "
    "migration network's rate, or make a guest write memory"
)


class HypervisorBackend:
    """The cloud of one state directory; `tell` gets a line of progress now and then."""

    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        self.settings = settings
        self._tell = tell
        self._lap = time.monotonic()

    @property
    def site(self) -> Site:
        """The lab's machines; raises LabError when no lab was ever started here."""
        return Site.load(self.settings)

    # Starting

    def up(self, scenario: Path | None, restart: bool) -> None:
        """Start the cloud of a scenario (default: three hosts), without guests.

        A running lab is left alone if it is the one asked for. Raises LabError.
        """
        text = DEFAULT_SCENARIO if scenario is None else _read(scenario)
        parsed = scenarios.parse(text, source=str(scenario or "default scenario"))
        _check_machine()
        with state.exclusive(self.settings.state, self.settings.save):
            if not restart and self._already_runs(text):
                return
            self._stop()
            state.clean(self.settings.state)
            self.settings.save()
            self._start(parsed, text)

    def _already_runs(self, text: str) -> bool:
        """Tell whether the lab asked for runs; raise LabError for another or a broken one."""
        if not self.settings.site_file.exists():
            return False
        site, directory = self.site, self.settings.state
        stopped = [machine.name for machine in site if not machine.running()]
        if len(stopped) == len(list(site)):
            return False
        if stopped:
            raise LabError(
                f"--state {directory}: the lab there has lost {', '.join(stopped)}; start the "
                "host again with `lab start`, or the lab with --restart"
            )
        if self.settings.scenario_file.read_text() != text:
            raise LabError(
                f"--state {directory}: another scenario's lab runs there; replace it with "
                "--restart, or choose another --state"
            )
        self._tell(f"the lab in {directory} already runs")
        return True

    def _start(self, scenario: Scenario, text: str) -> None:
        self.settings.scenario_file.write_text(text)
        roots, image = self._roots(scenario), images.guest(self._tell)
        began = self._lap = time.monotonic()
        binds = {guest.IMAGE_DIR: image.kernel.parent}
        if scenario.storage == SHARED:
            self.settings.shared_dir.mkdir(parents=True)
            binds[compute.INSTANCES] = self.settings.shared_dir
        own = self._pretended(scenario) if scenario.pretend_hardware else {}
        names = [one.name for one in scenario.hosts]
        bare = scenario.migration_network == BARE
        site = Site(self.settings, names, roots.compute, binds, roots.control, own, bare)
        site.save()
        try:
            self._power_on(site, scenario)
        except BaseException:
            # Whatever ended it, an interrupt included: leave no half of a lab behind.
            site.stop()
            raise
        self._tell(f"ready in {time.monotonic() - began:.1f} s")

    def _roots(self, scenario: Scenario) -> layers.Layers:
        if scenario.cloud:
            return layers.build(self._tell)
        userland = (images.userland(self._tell),)
        return layers.Layers(userland, userland)

    def _pretended(self, scenario: Scenario) -> dict[str, dict[str, Path]]:
        library, directory = images.pretence(self._tell), self.settings.hardware_dir
        return {
            one.name: hardware.binds(directory / one.name, one, library) for one in scenario.hosts
        }

    def _power_on(self, site: Site, scenario: Scenario) -> None:
        site.start()
        key = ssh.make_key_pair(self.settings, site.control)
        for machine in (site.control, site.observer):
            ssh.start(machine, key)
        self._time("machines")
        virt_type = guest.accelerator(site.observer, images.guest())
        start = functools.partial(_start_host, site, scenario, key)
        with ThreadPoolExecutor() as pool:
            list(pool.map(start, site.hosts.values()))
        ssh.write_inventory(site)
        self._set_rates(site, scenario)
        self._time(f"{len(site.hosts)} hypervisors ({virt_type})")
        if scenario.cloud:
            self._start_cloud(site, scenario)
        _check_services(site)

    def _start_cloud(self, site: Site, scenario: Scenario) -> None:
        with Nurseries(site.control) as nurseries:
            ControlPlane(site.control, nurseries).start(scenario)
            self._time("control plane")
            self.settings.clouds_file.write_text(config.clouds())
        start = functools.partial(_start_compute, site, scenario)
        with ThreadPoolExecutor() as pool:
            list(pool.map(start, site.hosts.values()))
        self._wait_for_compute(site, site.hosts)
        self._time("compute services")

    def _wait_for_compute(self, site: Site, names: Iterable[str]) -> None:
        """Return when Nova and Neutron both know every host; raise LabError when one stays out."""
        # Here, because the SDK takes a second to import, which most commands do without.
        from lab.seed import connect

        def in_service() -> set[str]:
            hypervisors = connection.compute.hypervisors(details=True)
            switches = {one.host for one in connection.network.agents() if one.is_alive}
            return {one.name for one in hypervisors if one.state == "up"} & switches

        missing = set(names)
        connection = connect(self.settings.clouds_file)
        deadline = time.monotonic() + COMPUTE_SECONDS
        while missing := missing - network.call(site.control, in_service):
            if time.monotonic() > deadline:
                name = min(missing)
                raise LabError(
                    f"{name}: nova-compute or ovn-controller is not in service after "
                    f"{COMPUTE_SECONDS:.0f} s; their logs: {site.hosts[name].log_dir}"
                )
            time.sleep(0.2)

    def _set_rates(self, site: Site, scenario: Scenario) -> None:
        for one in scenario.hosts:
            gbit = one.nic_gbit_s or scenario.migration_link_gbit_s
            site.fabric.set_rate(site.hosts[one.name], f"{gbit * 1000:g}mbit")

    def _time(self, what: str) -> None:
        now = time.monotonic()
        self._tell(f"{what}: {now - self._lap:.1f} s")
        self._lap = now

    # Stopping

    def down(self) -> int:
        """Cut every machine's power and return how many processes ran; the files stay."""
        if state.backend_of(self.settings.state) is None:
            return 0
        with state.exclusive(self.settings.state, self.settings.save):
            return self._stop()

    def _stop(self) -> int:
        if not self.settings.site_file.exists():
            return 0
        site = self.site
        count = sum(len(found) for found in survey.inside(site).values())
        watchers = [processes.recorded(path) for path in self.settings.run_dir.glob("watch-*.json")]
        count += processes.stop(process for recorded in watchers for process in recorded)
        site.stop()
        return count

    # Looking

    def status(self) -> dict[str, Any]:
        """Return what runs: machines and services with their memory, and the domains."""
        data: dict[str, Any] = {
            "running": False,
            "state": str(self.settings.state),
            "clouds_file": str(self.settings.clouds_file),
            "inventory_file": str(self.settings.inventory_file),
            "machines": [],
            "services": [],
            "domains": [],
        }
        if self.settings.site_file.exists():
            site = self.site
            data["machines"] = survey.machines(site)
            data["services"] = survey.services(site)
            data["domains"] = survey.domains(site)
            entries = [*data["machines"], *data["services"]]
            data["running"] = all(entry["running"] for entry in entries)
        return data

    def log_files(self, service: str) -> list[Path]:
        """Return a service's logs: of one machine for `machine/service`, else of all."""
        where, _slash, name = service.rpartition("/")
        return [machine.log_path(name) for machine in self.site if where in ("", machine.name)]

    def requests(self, since: float | None, client: str | None) -> Iterator[dict[str, Any]]:
        """Refuse: no request is logged here."""
        raise LabError(f"requests: {EMBEDDED_ONLY}")

    # Changing

    def seed(self, scenario: Path) -> None:
        """Create a scenario's population in the running cloud."""
        # Here, because the SDK takes seconds to import, which other commands do without.
        from lab.hypervisors import population
        from lab.seed_catalog import SeedError

        site, clouds = self.site, self.settings.clouds_file
        self._with_cloud("seed")
        wanted, image = scenarios.load(scenario), images.guest()
        try:
            population.create(wanted, clouds, site.control, site.observer, image, self._arm)
        except SeedError as error:
            raise LabError(str(error)) from error

    def _arm(self, host: str, when: str) -> None:
        self.crash(host, when, "compute")

    def crash(self, host: str, when: str, what: str) -> None:
        """Kill a host's compute service or the host, now or during its next migration."""
        machine = self._host(host)
        if what != "power":
            self._with_cloud("crash")
        if when != "now":
            moments.arm(self.settings, machine, when, what)
        elif what == "power":
            machine.stop()
        else:
            compute.kill(machine)

    def start(self, host: str) -> None:
        """Power a host on again, and start every service of it that does not run."""
        machine, site = self._host(host), self.site
        machine.start()
        scenario = scenarios.load(self.settings.scenario_file)
        _start_host(site, scenario, ssh.make_key_pair(self.settings, machine), machine)
        self._set_rates(site, scenario)
        if scenario.cloud:
            _start_compute(site, scenario, machine)
            self._wait_for_compute(site, [host])

    def _with_cloud(self, command: str) -> None:
        """Raise LabError for what a lab without OpenStack cannot do."""
        if not scenarios.load(self.settings.scenario_file).cloud:
            raise LabError(
                f"{command}: the lab in {self.settings.state} has no OpenStack; start one whose "
                "scenario does not say cloud: false"
            )

    def _host(self, name: str) -> Machine:
        hosts = self.site.hosts
        if name not in hosts:
            raise LabError(f"{name}: no such host; this lab has {', '.join(hosts)}")
        return hosts[name]

    def topology(self, host: str | None) -> dict[str, dict[str, Any]]:
        """Refuse: these hosts are asked as any host is."""
        raise LabError(
            "topology: the hosts of this lab have a libvirt of their own; ask it with the module "
            "lowtide.compute.numa_info (`lab inventory` is the inventory for it)"
        )

    def guest_fault(self, guest: str, behaviour: dict[str, Any]) -> None:
        """Refuse: real guests fail by themselves."""
        raise LabError(f"fault guest: {EMBEDDED_ONLY}")

    def api_fault(self, rule: dict[str, Any]) -> None:
        """Refuse: the APIs are stock OpenStack."""
        raise LabError(f"fault api: {EMBEDDED_ONLY}")

    def clear_faults(self) -> None:
        """Refuse: there are none."""
        raise LabError(f"fault clear: {EMBEDDED_ONLY}")

    # What only real machines can do

    def set_rate(self, rate: str, hosts: Sequence[str]) -> None:
        """Limit what hosts (none named: every one) send on the migration network, or `off`."""
        site = self.site
        for name in hosts or site.hosts:
            site.fabric.set_rate(self._host(name), rate)

    def set_mtu(self, mtu: int, hosts: Sequence[str]) -> None:
        """Have the migration network drop larger frames at hosts' (none named: all) ports."""
        site = self.site
        machines = [self._host(name) for name in hosts or site.hosts]
        running = [machine for machine in site.hosts.values() if machine.running()]
        site.fabric.set_mtu(machines, mtu, running)

    def enter(self, machine: str, command: Sequence[str], net_only: bool) -> NoReturn:
        """Become a command in a machine, or one of the real machine in its network only."""
        inside = self.site.machine(machine)
        sys.stdout.flush()
        if not net_only:
            os.execvp("nsenter", inside.argv(*command))
        environment = dict(os.environ)
        if self.settings.clouds_file.exists():
            cloud = {"OS_CLIENT_CONFIG_FILE": str(self.settings.clouds_file), "OS_CLOUD": "lab"}
            environment = cloud | environment
        os.execvpe("nsenter", inside.argv(*command, net_only=True), environment)

    def inventory(self) -> str:
        """Return the text of the Ansible inventory."""
        with contextlib.suppress(FileNotFoundError):
            return self.settings.inventory_file.read_text()
        raise LabError(f"--state {self.settings.state}: no lab there; start one with `lab up`")

    def order_guest(self, name: str, order: str) -> str:
        """Give an order to a guest's agent and return its answer; see `guest.order`."""
        site = self.site
        return guest.order(site.observer, survey.guest_address(site, name), order)


def _start_host(site: Site, scenario: Scenario, key: str, machine: Machine) -> None:
    """Start what needs no control plane on a hypervisor, as far as it does not run yet."""
    if machine.service_pid(ssh.SERVICE) is None:
        ssh.start(machine, key)
    host.start_network_manager(machine, scenario.host(machine.name).network_manager)
    if machine.service_pid(host.LIBVIRT) is None:
        shared = [compute.INSTANCES] if scenario.storage == SHARED else []
        address = site.receiving_address(machine)
        env = hardware.environment(scenario.pretend_hardware)
        host.start_libvirt(machine, address, shared, env)
    if machine.service_pid("ovs-vswitchd") is None:
        host.start_switch(machine)


def _start_compute(site: Site, scenario: Scenario, machine: Machine) -> None:
    """Start what needs the control plane on a hypervisor, as far as it does not run yet."""
    if machine.service_pid(host.CONTROLLER) is None:
        host.start_controller(machine)
    virt_type = guest.accelerator(site.observer, images.guest())
    address = site.receiving_address(machine)
    compute.configure(machine, address, virt_type, scenario)
    compute.start(machine)


def _check_services(site: Site) -> None:
    """Raise LabError for a service that has died since it was started."""
    for entry in survey.services(site):
        if not entry["running"]:
            log = site.machine(entry["machine"]).log_path(entry["service"])
            raise LabError(f"{entry['machine']}: {entry['service']} has died; its log: {log}")


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise LabError("this backend makes namespaces and mounts: run it as root")
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        raise LabError(
            f"not installed: {', '.join(missing)}; install the packages iproute2 and util-linux"
        )


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise LabError(f"--scenario {path}: {error.strerror}") from None
