# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drains to simulate: populations, clouds, faults and options as hypothesis draws them."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from tests.simulation.cloud import Faults
from tests.simulation.world import BENIGN, COURSES, OTHERS, SOURCE, Settings, Vm, World

VTPM = {"hw:tpm_version": "2.0", "hw:tpm_model": "tpm-crb"}
#: What a guest is when the drain begins. The first is the ordinary one.
KINDS = (
    "active",
    "paused",
    "stopped",
    "excluded",
    "vtpm",
    "rescued",
    "suspended",
    "soft_deleted",
    "error_after_migration",
    "error_alive",
    "error_dead",
    "resized_away",
    "building",
)
STATES = {
    "paused": ("paused", "paused"),
    "stopped": ("stopped", "shutdown"),
    "rescued": ("rescued", "running"),
    "suspended": ("suspended", "suspended"),
    "soft_deleted": ("soft-delete", "shutdown"),
    "error_after_migration": ("error", "running"),
    "error_alive": ("error", "running"),
    "error_dead": ("error", "shutdown"),
}
DEEDS = (
    "delete",
    "reboot",
    "stop",
    "start",
    "live_migrate",
    "resize",
    "confirm",
    "revert",
    "soft_delete",
    "shelve_offload",
)


@dataclass(frozen=True)
class Inhabitant:
    """A guest to be: what it is, and how its migrations go."""

    kind: str = "active"
    group: str = ""
    volumes: int = 0
    copy_seconds: float = 10.0
    courses: tuple[str, ...] = ()
    cold_fails: int = 0


@dataclass(frozen=True)
class Drain:
    """One drain, before it happens. Times in seconds after its start.

    ``silences``: from when until when which guest does not answer the probe.
    """

    guests: tuple[Inhabitant, ...] = ()
    options: m.Options = field(default_factory=m.Options)
    settings: Settings = field(default_factory=Settings)
    faults: Faults = field(default_factory=Faults)
    deeds: tuple[tuple[float, str, int], ...] = ()
    crash: tuple[float, float] = (0.0, 0.0)
    enabled_at: float = 0.0
    builds: tuple[float, ...] = ()
    inbound: tuple[float, ...] = ()
    silences: tuple[tuple[float, float, int], ...] = ()
    poll_interval: float = 5.0
    seed: int = 0


def populate(world: World, drain: Drain) -> None:
    """Put the drain's guests on the source, and what will befall them on the calendar."""
    for number, each in enumerate(drain.guests):
        _settle(world, f"g{number}", each)
    for when, what, number in drain.deeds:
        vm = world.vms[f"g{number % len(drain.guests)}"]
        world.at(when, lambda what=what, vm=vm: world.user(what, vm))
    for number, when in enumerate(drain.builds):
        world.at(when, lambda number=number: world.land(Vm(f"b{number}")))
    for number, seconds in enumerate(drain.inbound):
        world.come_in(Vm(f"i{number}", host="cmp-2"), seconds)
    if drain.crash[1]:
        world.at(drain.crash[0], lambda: world.crash(drain.crash[1]))
    if drain.enabled_at:
        world.at(drain.enabled_at, lambda: setattr(world, "enabled", True))


def _settle(world: World, name: str, each: Inhabitant) -> None:
    vm_state, power_state = STATES.get(each.kind, ("active", "running"))
    vm = world.add(
        Vm(
            name,
            vm_state=vm_state,
            power_state=power_state,
            group=each.group,
            copy_seconds=each.copy_seconds,
            volumes=tuple(f"{name}-v{i}" for i in range(each.volumes)),
            tags=("stay",) if each.kind == "excluded" else (),
            extra_specs=dict(VTPM) if each.kind == "vtpm" else {},
            courses=list(each.courses),
            cold_fails=each.cold_fails,
        )
    )
    if each.kind == "error_after_migration":
        world.remember(vm, "live-migration", "error", "cmp-2")
    elif each.kind == "resized_away":
        world.remember(vm, "resize", "finished", "cmp-3")
    elif each.kind == "building":
        world.land(vm)


seconds = st.floats(0.0, 900.0).map(lambda value: round(value, 1))


def inhabitants(kinds=KINDS, courses=COURSES, longest=400.0):
    """Guests; most of them ordinary."""
    return st.builds(
        Inhabitant,
        kind=st.one_of(st.just("active"), st.sampled_from(kinds)),
        group=st.sampled_from(("", "", "blue", "red")),
        volumes=st.integers(0, 1),
        copy_seconds=st.sampled_from((1.0, 20.0, 100.0, longest)),
        courses=st.lists(st.one_of(st.just("completes"), st.sampled_from(courses)), max_size=3).map(
            tuple
        ),
        cold_fails=st.sampled_from((0, 0, 0, 1)),
    )


#: Of which hosts libvirt can be asked: of none, of all, or of some.
hypervisors = st.sampled_from(
    ((), (SOURCE, *OTHERS), (SOURCE, *OTHERS), (SOURCE,), OTHERS, (SOURCE, *OTHERS[:2]))
)

options = st.builds(
    m.Options,
    max_parallel=st.integers(1, 4),
    max_parallel_per_destination=st.sampled_from((0, 0, 1, 2)),
    order=st.sampled_from(("longest_first", "shortest_first", "name")),
    timeout_per_gib=st.sampled_from((30.0, 60.0, 120.0)),
    on_timeout=st.sampled_from(("abort", "force_complete", "leave")),
    max_attempts=st.integers(1, 3),
    deadline=st.sampled_from((0.0, 0.0, 0.0, 120.0, 600.0)),
    on_failure=st.sampled_from(("continue", "continue", "stop")),
    allow_cold_migration=st.booleans(),
    confirm_resizes=st.booleans(),
    reset_error_state=st.booleans(),
    exclude=st.just(m.Exclusions(tags=("stay",))),
    hypervisors=hypervisors,
    on_unreachable=st.sampled_from(("report", "pause", "abort")),
    destinations=st.sampled_from(("scheduler", "planned")),
)
#: Hosts that refuse guests; the others have room for all.
REFUSING = ((), (), ("cmp-2",), ("cmp-2", "cmp-4"))


def clouds(refusing=REFUSING):
    return st.builds(
        Settings,
        cap=st.integers(1, 3),
        error_after_failure=st.booleans(),
        post_copy=st.booleans(),
        slowness=st.sampled_from((0.3, 1.0, 4.0)),
        refusing=st.sampled_from(refusing),
    )


outages = st.one_of(
    st.just((0.0, 0.0)),
    st.tuples(seconds, st.floats(1.0, 400.0)).map(lambda t: (t[0], round(t[0] + t[1], 1))),
)
faults = st.builds(
    Faults,
    error_rate=st.sampled_from((0.0, 0.0, 0.02, 0.1)),
    outage=outages,
    evidence_outage=outages,
    libvirt_outage=outages,
    latency=st.sampled_from((0.0, 0.05, 0.5)),
)
deeds = st.lists(st.tuples(seconds, st.sampled_from(DEEDS), st.integers(0, 7)), max_size=6).map(
    tuple
)

silences = st.lists(
    st.tuples(seconds, st.sampled_from((3.0, 20.0, 400.0)), st.integers(0, 7)).map(
        lambda silence: (silence[0], silence[0] + silence[1], silence[2])
    ),
    max_size=2,
).map(tuple)

#: Everything at once.
drains = st.builds(
    Drain,
    guests=st.lists(inhabitants(), min_size=1, max_size=7).map(tuple),
    options=options,
    settings=clouds(),
    faults=faults,
    deeds=deeds,
    crash=st.one_of(st.just((0.0, 0.0)), st.tuples(seconds, st.floats(5.0, 400.0))),
    enabled_at=st.one_of(st.just(0.0), st.just(0.0), seconds),
    builds=st.lists(st.floats(0.0, 9.0), max_size=1).map(tuple),
    inbound=st.lists(st.floats(5.0, 60.0), max_size=1).map(tuple),
    silences=silences,
    poll_interval=st.sampled_from((2.0, 5.0, 15.0)),
    seed=st.integers(0, 2**32),
)


def _has_room(guests: list[Inhabitant]) -> bool:
    """There is another host for every member of the anti-affinity group."""
    return sum(each.group == "blue" for each in guests) <= len(OTHERS)


#: Guests that every drain must move: whatever fails does so less often than it may.
sturdy = st.builds(
    Inhabitant,
    kind=st.sampled_from(("active", "active", "paused", "stopped", "error_after_migration")),
    group=st.sampled_from(("", "", "blue")),
    volumes=st.integers(0, 1),
    copy_seconds=st.sampled_from((1.0, 20.0, 50.0)),
    courses=st.lists(st.sampled_from(BENIGN), max_size=2).map(tuple),
    cold_fails=st.integers(0, 2),
)
#: Drains in which nobody interferes and no call fails: they must empty the host.
benign_drains = st.builds(
    Drain,
    guests=st.lists(sturdy, min_size=1, max_size=7).filter(_has_room).map(tuple),
    options=st.builds(
        m.Options,
        max_parallel=st.integers(1, 4),
        max_parallel_per_destination=st.sampled_from((0, 1, 2)),
        order=st.sampled_from(("longest_first", "shortest_first", "name")),
        max_attempts=st.just(3),
        allow_cold_migration=st.booleans(),
        hypervisors=hypervisors,
        destinations=st.sampled_from(("scheduler", "planned")),
    ),
    settings=clouds(refusing=((),)),
    poll_interval=st.sampled_from((2.0, 5.0, 15.0)),
    seed=st.integers(0, 2**32),
)
