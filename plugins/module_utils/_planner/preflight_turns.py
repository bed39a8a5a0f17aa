# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Several hosts drained one after the other: does each find room after those before it?

This module util is **PRIVATE** to the collection: it may change without notice.
Each host returns before the next is drained, empty and as open as it was. Guests stay where the
plan of their host has put them. Where Nova's scheduler chooses otherwise the later plans differ,
so this is a forecast; each host's plan is made anew right before its drain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import (
    COLD,
    LIVE,
    Guest,
    Options,
    Plan,
    PlanEntry,
    Room,
    Survey,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import make_plan


@dataclass(frozen=True, slots=True)
class Turn:
    """The plan of a host when its turn comes. ``arrivals``: guests of the hosts before it."""

    plan: Plan
    arrivals: tuple[Guest, ...] = ()


def in_turn(surveys: Iterable[Survey], options: Options) -> tuple[Turn, ...]:
    """Plan the hosts in their order, each with the rooms that the ones before have left."""
    went: dict[str, tuple[Guest, str]] = {}
    done: list[str] = []
    turns = []
    for survey in surveys:
        host = survey.scope.host
        arrivals = tuple(replace(g, host=host) for g, to in went.values() if to == host)
        stayed = tuple(guest for guest in survey.guests if guest.id not in went)
        guests = tuple(_as_of_then(g, went, done) for g in (*stayed, *arrivals))
        rooms = tuple(_left(room, went) for room in survey.rooms)
        plan = make_plan(replace(survey, guests=guests, rooms=rooms), options)
        for entry in plan.entries:
            if entry.verdict.method in (LIVE, COLD) and _goes_to(entry):
                home = went[entry.guest.id][0] if entry.guest.id in went else entry.guest
                went[entry.guest.id] = (home, _goes_to(entry))
        turns.append(Turn(plan, arrivals))
        done.append(host)
    return tuple(turns)


def _goes_to(entry: PlanEntry) -> str:
    return entry.placed or next(iter(entry.destinations), "")


def _as_of_then(guest: Guest, went: Mapping[str, tuple[Guest, str]], done: list[str]) -> Guest:
    """Its group's members where they are then; hosts that were emptied may take it, too."""
    group = guest.group
    if group is not None:
        now = {m: went[m][1] if m in went else host for m, host in group.members.items()}
        guest = replace(guest, group=replace(group, members=now))
    if guest.candidates is not None:
        guest = replace(guest, candidates=tuple(dict.fromkeys((*guest.candidates, *done))))
    return guest


def _left(room: Room, went: Mapping[str, tuple[Guest, str]]) -> Room:
    """What the room has then. Its cells are not followed: unknown once a guest went or came."""
    free = dict(room.free)
    touched = False
    for home, to in went.values():
        sign = (to != home.host) * ((home.host == room.host) - (to == room.host))
        touched = touched or bool(sign)
        for name, amount in home.resources.items():
            free[name] = free.get(name, 0) + sign * amount
    return replace(room, free=free, numa=None) if touched else room
