# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario file: what a lab's cloud is made of, read strictly from one YAML document."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from lab.backend import LabError

SCENARIOS_DIR = Path(__file__).resolve().parent / "scenarios"

GUEST_STATES = (
    "active",
    "paused",
    "shutoff",
    "suspended",
    "rescued",
    "shelved",
    "verify_resize",
    "migrating",
    "error",
    "building",
    "soft_deleted",
)
CRASH_MOMENTS = ("now", "before_switchover", "during_switchover", "after_switchover")
STORAGE = ("local", "shared")
MIGRATION_NETWORK = ("configured", "bare")
NETWORK_MANAGERS = ("none", "networkmanager", "networkd", "netplan")
GROUP_POLICIES = ("affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity")
API_SERVICES = ("identity", "image", "network", "compute", "volume", "placement")
API_ACTIONS = ("500", "503", "hang", "reset")

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
CPU_SET = r"\d+(-\d+)?(,\d+(-\d+)?)*"
CIDR = r"\d+\.\d+\.\d+\.\d+/\d+"


class ScenarioError(LabError):
    """A scenario that cannot be used.

    Attributes: ``key`` (path of the offending key, such as ``guests[3].flavor``), ``value``
    (what the file says there) and ``remedy`` (one sentence: what to write instead).
    """

    def __init__(self, key: str, value: object, remedy: str, source: str = "") -> None:
        super().__init__(key, value, remedy, source)
        self.key, self.value, self.remedy, self.source = key, value, remedy, source

    def __str__(self) -> str:
        where = f"{self.source}: " if self.source else ""
        return f"{where}{self.key}: {self.value!r}: {self.remedy}"


def _option(default: object = dataclasses.MISSING, **limits: object) -> typing.Any:
    """Declare a key with limits: ``least``, ``above``, ``most``, ``choices``, ``pattern``."""
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=limits)
    return field(default=default, metadata=limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A simulated hypervisor with its own nova-compute.

    ``cpus``: logical processors, all cells together (default 32), a multiple of ``numa_cells``
    (default 2) times ``threads_per_core`` (default 2). ``memory_mib``: RAM, all cells together
    (default 262144). ``huge_pages_2m``: pages of 2 MiB reserved in EACH cell (default 0).
    ``dedicated_cpus`` and ``shared_cpus``: CPU sets such as ``4-15,20-31`` for pinned and
    floating vCPUs (default: all shared); the same for all hosts, because the embedded cloud has
    one nova.conf. ``disk_gib``: local storage (default 4000). ``pci_devices``: whole devices to
    pass through (default 0), ``sriov_vfs``: virtual functions (default 0), ``vgpus``: virtual
    GPUs (default 0), ``sev``: memory encryption (default false). ``nic_gbit_s``: link used by
    migrations, per direction (default: the scenario's ``migration_link_gbit_s``). ``aggregate``
    and ``availability_zone``: names (default: none; a zone without an aggregate makes one of its
    own name). ``enabled``: whether its service is left enabled by ``lab seed`` (default true).
    ``crash``: its nova-compute dies at that moment of the next migration from it, once the
    population is there (default: never). ``network_manager``: what a real hypervisor configures
    its migration interface with: networkmanager, networkd or netplan (default none: the lab does
    it alone).
    """

    name: str = _option(pattern=NAME)
    cpus: int = _option(32, least=1)
    numa_cells: int = _option(2, least=1)
    threads_per_core: int = _option(2, least=1)
    memory_mib: int = _option(262144, least=1024)
    huge_pages_2m: int = _option(0, least=0)
    dedicated_cpus: str | None = _option(None, pattern=CPU_SET)
    shared_cpus: str | None = _option(None, pattern=CPU_SET)
    disk_gib: int = _option(4000, least=1)
    pci_devices: int = _option(0, least=0)
    sriov_vfs: int = _option(0, least=0)
    vgpus: int = _option(0, least=0)
    sev: bool = False
    nic_gbit_s: float | None = _option(None, above=0)
    aggregate: str | None = _option(None, pattern=NAME)
    availability_zone: str | None = _option(None, pattern=NAME)
    enabled: bool = True
    crash: str | None = _option(None, choices=CRASH_MOMENTS)
    network_manager: str = _option("none", choices=NETWORK_MANAGERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """A size of guest: ``vcpus`` (default 1), ``ram_mib`` (default 1024), ``disk_gib`` of root
    disk (default 1; 0 for volume-backed guests) and ``extra_specs`` (default none)."""

    name: str = _option(pattern=NAME)
    vcpus: int = _option(1, least=1)
    ram_mib: int = _option(1024, least=1)
    disk_gib: int = _option(1, least=0)
    extra_specs: Mapping[str, str] = _option({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A bootable image: ``size_mib`` of zeros (default 1) and ``properties`` (default none)."""

    name: str = _option(pattern=NAME)
    size_mib: int = _option(1, least=1, most=1024)
    properties: Mapping[str, str] = _option({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerGroup:
    """A server group: ``policy`` (affinity, anti-affinity, soft-affinity, soft-anti-affinity)
    and ``rules`` (default none; ``max_server_per_host`` for anti-affinity)."""

    name: str = _option(pattern=NAME)
    policy: str = _option(choices=GROUP_POLICIES)
    rules: Mapping[str, str] = _option({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A tenant network with one IPv4 subnet ``cidr`` (default 10.10.0.0/16, without DHCP).

    ``sriov`` (default false): on the physical network of the hosts' virtual functions, which
    ports with ``direct: true`` need.
    """

    name: str = _option(pattern=NAME)
    cidr: str = _option("10.10.0.0/16", pattern=CIDR)
    sriov: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A Cinder volume of ``size_gib`` (default 1), made from ``image`` when it is to boot."""

    name: str = _option(pattern=NAME)
    size_gib: int = _option(1, least=1)
    image: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A guest's port: ``network``, and ``direct`` (default false) for an SR-IOV port.

    The name of a network alone is short for a normal port.
    """

    network: str
    direct: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFaults:
    """How a guest misbehaves when it migrates.

    ``migration_fails_at_percent``: the copy breaks when so much of the memory has been sent,
    (default: never), ``times`` times in a row (default 1). ``never_converges``: the copy never
    gets small enough, whatever the throttling (default false).
    """

    migration_fails_at_percent: float | None = _option(None, least=0, most=100)
    times: int = _option(1, least=1)
    never_converges: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A Manila share mapped into a guest: ``share_id`` (UUID) and ``tag`` (mount tag)."""

    share_id: str
    tag: str = _option("share", pattern=NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alteration:
    """What is rewritten in Nova's database after the build, because it cannot be simulated.

    ``extra_specs`` and ``image_properties`` are merged into the guest's own; ``share`` is mapped;
    ``vm_state``, ``task_state`` and ``power_state`` (libvirt's number) replace Nova's. Nova's API
    then treats the guest accordingly. Defaults: nothing.
    """

    extra_specs: Mapping[str, str] = _option({})
    image_properties: Mapping[str, str] = _option({})
    share: Share | None = None
    vm_state: str | None = None
    task_state: str | None = None
    power_state: int | None = _option(None, least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A server, or ``count`` of them (default 1) named ``name-01``, ``name-02`` and so on.

    ``flavor``; ``image``, or ``volume`` to boot from; ``volumes``: more to attach (default none);
    ``networks``: one port each (default none). ``host``: where it runs in the end (default: the
    scheduler decides). ``source``: for state verify_resize, the host it was migrated from;
    ``destination``: for state migrating, the host it is on its way to (default: the scheduler
    decides). ``availability_zone``: asked for at creation, hence pinned (default: none).
    ``group``: server group. ``state``: one of GUEST_STATES (default active). ``alive``: for state
    error, whether the guest runs (default true). ``locked``, ``config_drive`` (default false),
    ``metadata`` and ``tags`` (default none).
    ``dirty_rate_mib_s``: memory written per second (default 5), within ``working_set_mib``
    (default: a quarter of the RAM). ``resident_mib``: memory to send in the first round (default:
    the RAM). ``faults`` and ``alter``: see GuestFaults and Alteration.
    """

    name: str = _option(pattern=NAME)
    flavor: str
    image: str | None = None
    volume: str | None = None
    volumes: tuple[str, ...] = ()
    networks: tuple[Nic, ...] = ()
    host: str | None = None
    source: str | None = None
    destination: str | None = None
    availability_zone: str | None = None
    group: str | None = None
    state: str = _option("active", choices=GUEST_STATES)
    alive: bool = True
    locked: bool = False
    config_drive: bool = False
    metadata: Mapping[str, str] = _option({})
    tags: tuple[str, ...] = ()
    dirty_rate_mib_s: float = _option(5.0, least=0)
    working_set_mib: int | None = _option(None, least=0)
    resident_mib: int | None = _option(None, least=0)
    faults: GuestFaults = GuestFaults()
    alter: Alteration | None = None
    count: int = _option(1, least=1, most=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiFault:
    """Calls that a service answers wrongly.

    The ``nth`` call (default 1) to ``service`` whose method (default: any) and path (a regular
    expression) match, from a ``client`` whose User-Agent starts so (default: any), and the
    ``times - 1`` after it (default 1), get ``action``: 500, 503, hang (for ``seconds``, default
    60, then reset) or reset (the connection closes).
    """

    service: str = _option(choices=API_SERVICES)
    path: str
    action: str = _option(choices=API_ACTIONS)
    method: str | None = _option(None, pattern=r"[A-Z]+")
    nth: int = _option(1, least=1)
    times: int = _option(1, least=1)
    seconds: float = _option(60.0, least=0)
    client: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A whole lab: its hosts, and the population that ``lab seed`` creates.

    ``time_scale``: everything about migrations runs so many times faster (default 1).
    ``token_seconds``: how long tokens live (default 86400). ``migration_link_gbit_s``: each
    host's link unless it says otherwise (default 10). ``storage``: "local" or "shared", whether
    real hypervisors have the guests' disks of their own or in common (default: local; the
    embedded lab always shares). ``pretend_hardware``: whether real hypervisors show Nova the
    processors, cells and memory that the hosts' keys say, not the machine's (default false; the
    embedded lab always does). ``migration_network``: "configured" or "bare", whether the lab gives
    real hypervisors their addresses on the migration network (default: configured), or leaves
    that to whoever configures them. ``cloud``: whether there is an OpenStack (default true); real
    hypervisors may be without: machines with libvirt. ``nova``: section -> option -> value,
    written over the lab's nova.conf (default nothing). The rest are lists of the classes above,
    empty by default, except ``hosts``, of which there is at least one.
    """

    name: str = _option(pattern=NAME)
    time_scale: float = _option(1.0, above=0)
    token_seconds: int = _option(86400, least=1)
    migration_link_gbit_s: float = _option(10.0, above=0)
    storage: str | None = _option(None, choices=STORAGE)
    pretend_hardware: bool = False
    migration_network: str = _option("configured", choices=MIGRATION_NETWORK)
    cloud: bool = True
    nova: Mapping[str, Mapping[str, str]] = _option({})
    hosts: tuple[Host, ...] = ()
    flavors: tuple[Flavor, ...] = ()
    images: tuple[Image, ...] = ()
    server_groups: tuple[ServerGroup, ...] = ()
    networks: tuple[Network, ...] = ()
    volumes: tuple[Volume, ...] = ()
    guests: tuple[Guest, ...] = ()
    api_faults: tuple[ApiFault, ...] = ()

    def host(self, name: str) -> Host:
        """Return the host of that name; KeyError when there is none."""
        return _named(self.hosts, name)

    def flavor(self, name: str) -> Flavor:
        """Return the flavor of that name; KeyError when there is none."""
        return _named(self.flavors, name)

    def guest(self, name: str) -> Guest:
        """Return the guest of that name, after expansion; KeyError when there is none."""
        return _named(self.guests, name)

    def behaviour(self, guest: Guest) -> dict[str, float | int | bool | None]:
        """Return what a hypervisor must know of a guest, with every default resolved.

        Keys: dirty_rate_mib_s, working_set_mib, resident_mib, fail_at_percent (None: never),
        fail_times, never_converges.
        """
        ram = self.flavor(guest.flavor).ram_mib
        working_set, resident = guest.working_set_mib, guest.resident_mib
        percent = guest.faults.migration_fails_at_percent
        return {
            "dirty_rate_mib_s": guest.dirty_rate_mib_s,
            "working_set_mib": ram // 4 if working_set is None else working_set,
            "resident_mib": ram if resident is None else resident,
            "fail_at_percent": percent,
            "fail_times": 0 if percent is None else guest.faults.times,
            "never_converges": guest.faults.never_converges,
        }


def _named(items: Iterable[typing.Any], name: str) -> typing.Any:
    for item in items:
        if item.name == name:
            return item
    raise KeyError(name)


def shipped(name: str) -> Path:
    """Return the path of a scenario that comes with the lab, such as ``demo``."""
    return SCENARIOS_DIR / f"{name}.yml"


def load(path: str | Path) -> Scenario:
    """Read a scenario file.

    Raises ScenarioError, naming the file, when it cannot be read, is not YAML, or is not a
    scenario.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(p.stem for p in SCENARIOS_DIR.glob("*.yml")))
        reason = getattr(error, "strerror", None) or str(error)
        remedy = f"{reason}; give a readable file, or one that comes with the lab ({known})"
        raise ScenarioError("scenario", str(path), remedy) from error
    return parse(text, source=str(path))


def parse(text: str, source: str = "") -> Scenario:
    """Read a scenario from YAML text; ``source`` names it in errors."""
    try:
        document = yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ScenarioError("scenario", source, f"correct the YAML: {reason}", source) from error
    try:
        return from_mapping(document)
    except ScenarioError as error:
        raise ScenarioError(error.key, error.value, error.remedy, source) from error


def from_mapping(document: object) -> Scenario:
    """Build a scenario from plain data; raises ScenarioError."""
    document = _with_defaults(document)
    scenario = _convert(Scenario, document, "")
    scenario = dataclasses.replace(
        scenario,
        hosts=tuple(_with_link(host, scenario) for host in scenario.hosts),
        guests=tuple(one for guest in scenario.guests for one in _expand(guest)),
    )
    _check(scenario)
    return scenario


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, which YAML readers let win silently."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _value in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, typing.Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a text", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _with_defaults(document: object) -> object:
    """Merge ``host_defaults`` and ``guest_defaults`` into each host and guest."""
    if not isinstance(document, Mapping):
        return document
    document = dict(document)
    for key in ("host", "guest"):
        defaults = document.pop(f"{key}_defaults", {})
        if not isinstance(defaults, Mapping):
            raise ScenarioError(f"{key}_defaults", defaults, "write a mapping of keys to values")
        items = document.get(f"{key}s")
        if isinstance(items, list):
            document[f"{key}s"] = [
                {**defaults, **item} if isinstance(item, Mapping) else item for item in items
            ]
    return document


def _with_link(host: Host, scenario: Scenario) -> Host:
    if host.nic_gbit_s is not None:
        return host
    return dataclasses.replace(host, nic_gbit_s=scenario.migration_link_gbit_s)


def _expand(guest: Guest) -> Iterable[Guest]:
    if guest.count == 1:
        return [guest]
    width = max(2, len(str(guest.count)))
    return [
        dataclasses.replace(guest, name=f"{guest.name}-{number:0{width}d}", count=1)
        for number in range(1, guest.count + 1)
    ]


# --- from plain data to typed values -------------------------------------------------------


def _convert(hint: typing.Any, value: object, key: str) -> typing.Any:
    """Convert plain data to the type of an annotation, or raise ScenarioError."""
    origin = typing.get_origin(hint)
    if origin is types.UnionType:
        return None if value is None else _convert(typing.get_args(hint)[0], value, key)
    if dataclasses.is_dataclass(hint):
        return _convert_object(hint, value, key)
    if origin is tuple:
        return _convert_list(typing.get_args(hint)[0], value, key)
    if origin is Mapping:
        return _convert_mapping(typing.get_args(hint)[1], value, key)
    return _convert_scalar(hint, value, key)


def _convert_object(cls: typing.Any, value: object, key: str) -> typing.Any:
    if cls is Nic and isinstance(value, str):
        value = {"network": value}
    if not isinstance(value, Mapping):
        raise ScenarioError(key or "scenario", value, "write a mapping of keys to values")
    hints = typing.get_type_hints(cls)
    known = {spec.name: spec for spec in dataclasses.fields(cls)}
    given = {}
    for name, item in value.items():
        path = f"{key}.{name}" if key else str(name)
        if name not in known:
            raise ScenarioError(path, item, _unknown(name, known))
        given[name] = _convert(hints[name], item, path)
        _check_limits(given[name], known[name].metadata, path)
    for name, spec in known.items():
        missing = (
            spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        )
        if missing and name not in given:
            raise ScenarioError(f"{key}.{name}" if key else name, None, "this key is required")
    return cls(**given)


def _unknown(name: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown key; {hint}known keys: {', '.join(sorted(known))}"


def _convert_list(hint: typing.Any, value: object, key: str) -> tuple:
    if not isinstance(value, list):
        raise ScenarioError(key, value, "write a list")
    return tuple(_convert(hint, item, f"{key}[{number}]") for number, item in enumerate(value))


def _convert_mapping(hint: typing.Any, value: object, key: str) -> dict:
    if not isinstance(value, Mapping):
        raise ScenarioError(key, value, "write a mapping of keys to values")
    converted = {}
    for name, item in value.items():
        if not isinstance(name, str):
            raise ScenarioError(key, name, "put the key in quotes: keys are text")
        path = f"{key}[{name!r}]"
        converted[name] = _text(item, path) if hint is str else _convert(hint, item, path)
    return converted


def _text(value: object, key: str) -> str:
    """Turn the scalar of a free-form mapping into the text that OpenStack stores."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ScenarioError(key, value, "write a text or a number")


def _convert_scalar(hint: type, value: object, key: str) -> object:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # The fault actions 500 and 503 read as numbers in YAML.
    if hint is str and key.endswith(".action") and isinstance(value, int):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ScenarioError(key, value, "write a finite number")
    if isinstance(value, hint) and not (hint is not bool and isinstance(value, bool)):
        return value
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    raise ScenarioError(key, value, f"write {names[hint]}")


def _check_limits(value: object, limits: Mapping[str, typing.Any], key: str) -> None:
    if value is None:
        return
    if "choices" in limits and value not in limits["choices"]:
        raise ScenarioError(key, value, f"choose one of: {', '.join(limits['choices'])}")
    if "pattern" in limits and not re.fullmatch(limits["pattern"], value):
        raise ScenarioError(key, value, f"write a text that matches {limits['pattern']}")
    if "least" in limits and value < limits["least"]:
        raise ScenarioError(key, value, f"write a number of at least {limits['least']}")
    if "above" in limits and value <= limits["above"]:
        raise ScenarioError(key, value, f"write a number greater than {limits['above']}")
    if "most" in limits and value > limits["most"]:
        raise ScenarioError(key, value, f"write a number of at most {limits['most']}")


# --- what must agree with what -------------------------------------------------------------


def _check(scenario: Scenario) -> None:
    if not scenario.hosts:
        raise ScenarioError("hosts", [], "name at least one host")
    for key in ("hosts", "flavors", "images", "server_groups", "networks", "volumes", "guests"):
        _check_unique(key, getattr(scenario, key))
    _check_cpu_sets(scenario.hosts)
    _check_aggregates(scenario.hosts)
    for number, host in enumerate(scenario.hosts):
        _check_host(host, f"hosts[{number}]")
    for number, volume in enumerate(scenario.volumes):
        _refer(f"volumes[{number}].image", volume.image, "images", scenario.images)
    for guest in scenario.guests:
        _check_guest(scenario, guest, f"guests[{guest.name}]")
    _check_volumes_used_once(scenario.guests)
    for number, fault in enumerate(scenario.api_faults):
        _check_expression(f"api_faults[{number}].path", fault.path)


def _check_unique(key: str, items: Iterable[typing.Any]) -> None:
    seen = set()
    for number, item in enumerate(items):
        if item.name in seen:
            remedy = "this name is taken by an earlier entry; choose another"
            raise ScenarioError(f"{key}[{number}].name", item.name, remedy)
        seen.add(item.name)


def _refer(key: str, name: str | None, kind: str, items: Iterable[typing.Any]) -> None:
    known = [item.name for item in items]
    if name is not None and name not in known:
        remedy = f"not among {kind}; known: {', '.join(known) or 'none'}"
        raise ScenarioError(key, name, remedy)


def _check_cpu_sets(hosts: tuple[Host, ...]) -> None:
    for key in ("dedicated_cpus", "shared_cpus"):
        first = getattr(hosts[0], key)
        for number, host in enumerate(hosts):
            if getattr(host, key) != first:
                remedy = (
                    f"give every host the same value as hosts[0] ({first!r}): they share nova.conf"
                )
                raise ScenarioError(f"hosts[{number}].{key}", getattr(host, key), remedy)


def _check_aggregates(hosts: tuple[Host, ...]) -> None:
    zones: dict[str, str | None] = {}
    for number, host in enumerate(hosts):
        if host.aggregate is None:
            continue
        zone = zones.setdefault(host.aggregate, host.availability_zone)
        if host.availability_zone != zone:
            remedy = f"an aggregate has one zone, and {host.aggregate!r} has {zone!r} already"
            raise ScenarioError(
                f"hosts[{number}].availability_zone", host.availability_zone, remedy
            )


def _check_host(host: Host, key: str) -> None:
    if host.cpus % (host.numa_cells * host.threads_per_core):
        unit = host.numa_cells * host.threads_per_core
        remedy = f"write a multiple of numa_cells x threads_per_core ({unit})"
        raise ScenarioError(f"{key}.cpus", host.cpus, remedy)
    huge = host.huge_pages_2m * 2 * host.numa_cells
    if huge >= host.memory_mib:
        remedy = f"these pages take {huge} MiB; memory_mib is {host.memory_mib}: reserve fewer"
        raise ScenarioError(f"{key}.huge_pages_2m", host.huge_pages_2m, remedy)
    dedicated, shared = cpu_set(host.dedicated_cpus), cpu_set(host.shared_cpus)
    if dedicated & shared:
        both = ",".join(map(str, sorted(dedicated & shared)))
        remedy = f"processors {both} are in both sets; leave each in one"
        raise ScenarioError(f"{key}.dedicated_cpus", host.dedicated_cpus, remedy)
    for name, numbers in (("dedicated_cpus", dedicated), ("shared_cpus", shared)):
        if numbers and max(numbers) >= host.cpus:
            remedy = f"the host has processors 0-{host.cpus - 1}"
            raise ScenarioError(f"{key}.{name}", getattr(host, name), remedy)


def cpu_set(text: str | None) -> frozenset[int]:
    """Return the processors of a CPU set such as ``4-15,20-31``; empty for None."""
    numbers: set[int] = set()
    for part in (text or "").split(","):
        first, _dash, last = part.partition("-")
        if first:
            numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def _check_guest(scenario: Scenario, guest: Guest, key: str) -> None:
    _refer(f"{key}.flavor", guest.flavor, "flavors", scenario.flavors)
    _refer(f"{key}.image", guest.image, "images", scenario.images)
    _refer(f"{key}.volume", guest.volume, "volumes", scenario.volumes)
    _refer(f"{key}.group", guest.group, "server_groups", scenario.server_groups)
    for name in ("host", "source", "destination"):
        _refer(f"{key}.{name}", getattr(guest, name), "hosts", scenario.hosts)
    for number, name in enumerate(guest.volumes):
        _refer(f"{key}.volumes[{number}]", name, "volumes", scenario.volumes)
    for number, nic in enumerate(guest.networks):
        _refer(f"{key}.networks[{number}].network", nic.network, "networks", scenario.networks)
        if nic.direct and not _named(scenario.networks, nic.network).sriov:
            remedy = "a direct port needs a network with sriov: true"
            raise ScenarioError(f"{key}.networks[{number}].network", nic.network, remedy)
    zones = {host.availability_zone for host in scenario.hosts} - {None}
    if guest.availability_zone is not None and guest.availability_zone not in zones | {"nova"}:
        remedy = f"no host is in this zone; known: {', '.join(sorted(zones | {'nova'}))}"
        raise ScenarioError(f"{key}.availability_zone", guest.availability_zone, remedy)
    _check_boot(scenario, guest, key)
    _check_state(guest, key)


def _check_boot(scenario: Scenario, guest: Guest, key: str) -> None:
    if guest.image is None and guest.volume is None:
        raise ScenarioError(f"{key}.image", None, "name an image, or a volume to boot from")
    if guest.image is not None and guest.volume is not None:
        remedy = f"boot from the image or from volume {guest.volume!r}, not both (image: null)"
        raise ScenarioError(f"{key}.image", guest.image, remedy)
    if guest.volume is not None and _named(scenario.volumes, guest.volume).image is None:
        remedy = "a volume to boot from needs an image: name one in volumes"
        raise ScenarioError(f"{key}.volume", guest.volume, remedy)


def _check_state(guest: Guest, key: str) -> None:
    if guest.state == "verify_resize" and (guest.source is None or guest.host is None):
        remedy = "state verify_resize needs both the host it is on and the source it came from"
        raise ScenarioError(f"{key}.source", guest.source, remedy)
    if guest.state != "verify_resize" and guest.source is not None:
        raise ScenarioError(f"{key}.source", guest.source, "only for state verify_resize")
    if guest.state != "migrating" and guest.destination is not None:
        raise ScenarioError(f"{key}.destination", guest.destination, "only for state migrating")
    for other in ("source", "destination"):
        if guest.host is not None and getattr(guest, other) == guest.host:
            raise ScenarioError(f"{key}.{other}", guest.host, "name another host than 'host'")
    if not guest.alive and guest.state != "error":
        raise ScenarioError(f"{key}.alive", False, "only for state error")


def _check_volumes_used_once(guests: Iterable[Guest]) -> None:
    owners: dict[str, str] = {}
    for guest in guests:
        for name in (*guest.volumes, *([guest.volume] if guest.volume else [])):
            if name in owners:
                remedy = f"already used by guest {owners[name]!r}: a volume serves one guest"
                raise ScenarioError(f"guests[{guest.name}].volumes", name, remedy)
            owners[name] = guest.name


def _check_expression(key: str, expression: str) -> None:
    try:
        re.compile(expression)
    except re.error as error:
        remedy = f"write a regular expression: {error}"
        raise ScenarioError(key, expression, remedy) from error
