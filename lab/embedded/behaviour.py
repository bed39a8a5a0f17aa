# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How each simulated guest behaves under migration, set from outside at any time."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.embedded.physics import PAGE_BYTES, Guest

MIB = 2**20
_MAY_BE_NONE = ("working_set_mib", "resident_mib", "tail_mib", "fail_at_percent")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What is known of one guest.

    dirty_rate_mib_s: memory written per second; working_set_mib: written to at most (None: a
    quarter of the RAM); resident_mib: not zero, to send in the first round (None: the RAM);
    tail_mib: how much of it comes after the zero pages (None: all of it);
    fail_at_percent: the next `fail_times` migrations fail when so much of it has been sent (None:
    none does); never_converges: no round leaves little enough.
    """

    dirty_rate_mib_s: float = 5.0
    working_set_mib: float | None = None
    resident_mib: float | None = None
    tail_mib: float | None = None
    fail_at_percent: float | None = None
    fail_times: int = 0
    never_converges: bool = False

    def memory(self, memory_bytes: int) -> Guest:
        """Return the model's guest, its sizes bounded by the memory that there is."""
        resident = max(PAGE_BYTES, _bounded(self.resident_mib, memory_bytes, memory_bytes))
        return Guest(
            memory_bytes=memory_bytes,
            resident_bytes=resident,
            dirty_bytes_s=self.dirty_rate_mib_s * MIB,
            working_set_bytes=_bounded(self.working_set_mib, memory_bytes // 4, resident),
            never_converges=self.never_converges,
            tail_bytes=_bounded(self.tail_mib, resident, resident),
        )


class Behaviours:
    """Every guest's behaviour by its UUID; any thread may ask."""

    def __init__(self) -> None:
        self._known: dict[str, Behaviour] = {}
        self._lock = threading.Lock()

    def of(self, uuid: str) -> Behaviour:
        """Return what is known of a guest, or the default."""
        with self._lock:
            return self._known.get(uuid, Behaviour())

    def update(self, uuid: str, changes: Mapping[str, Any]) -> Behaviour:
        """Change some of a guest's figures and return them all.

        Raises ValueError, naming the figure, for one that is unknown or makes no sense.
        """
        _check(changes)
        with self._lock:
            self._known[uuid] = dataclasses.replace(self._known.get(uuid, Behaviour()), **changes)
            return self._known[uuid]

    def take_failure(self, uuid: str) -> float | None:
        """Return at what percentage a migration that begins now is to fail; it counts as one."""
        with self._lock:
            behaviour = self._known.get(uuid, Behaviour())
            if behaviour.fail_at_percent is None or behaviour.fail_times < 1:
                return None
            self._known[uuid] = dataclasses.replace(behaviour, fail_times=behaviour.fail_times - 1)
            return behaviour.fail_at_percent

    def as_data(self) -> dict[str, dict[str, Any]]:
        """Return every behaviour that was ever set, by UUID."""
        with self._lock:
            return {uuid: dataclasses.asdict(known) for uuid, known in self._known.items()}


def _bounded(mib: float | None, default: int, most: int) -> int:
    return min(most, default if mib is None else int(mib * MIB))


def _check(changes: Mapping[str, Any]) -> None:
    known = [field.name for field in dataclasses.fields(Behaviour)]
    for name, value in changes.items():
        if name not in known:
            raise ValueError(f"{name} is unknown; known: {', '.join(known)}")
        if name == "never_converges":
            sensible = isinstance(value, bool)
        elif value is None:
            sensible = name in _MAY_BE_NONE
        else:
            sensible = (
                isinstance(value, int if name == "fail_times" else int | float)
                and not isinstance(value, bool)
                and 0 <= value < (101 if name == "fail_at_percent" else float("inf"))
            )
        if not sensible:
            raise ValueError(f"{name}={value!r} makes no sense")
