# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the libvirt daemons of the hosts do together: carry guests from one to another.

A migration is the daemons' business, not Nova's: it runs in a thread of its own, so it goes on when
the nova-compute that asked for it dies.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from lab.embedded.physics import Fabric, Guest, Job, NotPossibleError, Phase, Terms

# How long a phase may go unnoticed, in seconds: commands wake the thread, other guests' need not.
_PATIENCE = 0.25
# How late a phase may be noticed, so that short rounds cost no CPU; the figures stay exact.
_PRECISION = 0.02
_STAGES = {
    Phase.PRECOPY: "before_switchover",
    Phase.SWITCHOVER: "during_switchover",
    Phase.ACTIVATION: "during_switchover",
    Phase.POSTCOPY: "during_switchover",
    Phase.COMPLETED: "after_switchover",
}
STAGES = ("before_switchover", "during_switchover", "after_switchover")


class Passenger(Protocol):
    """A guest that is carried: what the daemons do to it at each step."""

    uuid: str

    def stopped_for_switchover(self) -> None:
        """Stop the guest on its source."""

    def handed_over(self) -> None:
        """Start it on its destination, the source's copy still being there."""

    def left(self) -> None:
        """Forget it on its source."""

    def stays(self) -> None:
        """Let it run on its source as it did before."""


class Migration:
    """A migration in progress or just ended; its job's figures are the model's."""

    def __init__(self, job: Job, passenger: Passenger) -> None:
        self.job = job
        self.passenger = passenger
        self.ended = threading.Event()


class Migrator:
    """The one keeper of the model: every access to it is made here, under one lock.

    on_stage: called with the source host and one of STAGES, in order, as a migration gets there
    and before anyone can see that it did.
    """

    def __init__(self, fabric: Fabric, on_stage: Callable[[str, str], None]) -> None:
        self._fabric = fabric
        self._on_stage = on_stage
        self._changed = threading.Condition()
        self._running: list[Migration] = []

    def begin(
        self,
        passenger: Passenger,
        source: str,
        destination: str,
        guest: Guest,
        terms: Terms,
        *,
        paused: bool,
    ) -> Migration:
        """Start to carry a guest and return at once."""
        with self._changed:
            job = self._fabric.begin(
                time.monotonic(), source, destination, guest, terms, paused=paused
            )
            migration = Migration(job, passenger)
            self._running.append(migration)
            self._changed.notify_all()
        threading.Thread(
            target=self._carry, args=(migration,), name=f"migration-{job.id}", daemon=True
        ).start()
        return migration

    def running(self) -> list[Migration]:
        """Return the migrations that have not ended."""
        with self._changed:
            return list(self._running)

    def stats(self, migration: Migration) -> dict[str, int]:
        """Return libvirt's figures of a migration as they are now."""
        with self._changed:
            self._fabric.advance(time.monotonic())
            return self._fabric.stats(migration.job)

    def abort(self, migration: Migration) -> None:
        """Cancel a migration. Raises NotPossibleError in post-copy; later than that, does nothing.

        QEMU has no way back from a switch-over that has begun: it ends as it would have.
        """
        with self._changed:
            try:
                self._fabric.abort(time.monotonic(), migration.job)
            except NotPossibleError:
                if migration.job.phase is Phase.POSTCOPY:
                    raise
            self._changed.notify_all()

    def set_paused(self, migration: Migration, paused: bool) -> bool:
        """Stop or resume a guest that migrates; return False when it is being handed over."""
        with self._changed:
            try:
                self._fabric.set_paused(time.monotonic(), migration.job, paused)
            except NotPossibleError:
                return False
            self._changed.notify_all()
            return True

    def start_post_copy(self, migration: Migration) -> None:
        """Switch to post-copy; raises NotPossibleError when it was not agreed on."""
        with self._changed:
            self._fabric.start_post_copy(time.monotonic(), migration.job)
            self._changed.notify_all()

    def set_max_downtime(self, migration: Migration, seconds: float) -> None:
        """Change for how long the guest may be stopped."""
        with self._changed:
            self._fabric.set_max_downtime(time.monotonic(), migration.job, seconds)
            self._changed.notify_all()

    def set_max_speed(self, migration: Migration, bytes_s: float) -> None:
        """Change the limit on a migration's bandwidth."""
        with self._changed:
            self._fabric.set_max_speed(time.monotonic(), migration.job, bytes_s)
            self._changed.notify_all()

    def set_guest(self, migration: Migration, guest: Guest) -> None:
        """Change how the guest behaves from now on."""
        with self._changed:
            self._fabric.set_guest(time.monotonic(), migration.job, guest)
            self._changed.notify_all()

    def as_data(self) -> list[dict[str, Any]]:
        """Return each running migration's ends, phase, maximum downtime and figures."""
        with self._changed:
            self._fabric.advance(time.monotonic())
            return [
                {
                    "uuid": migration.passenger.uuid,
                    "source": migration.job.source,
                    "destination": migration.job.destination,
                    "phase": migration.job.phase.value,
                    "paused": migration.job.paused,
                    "max_downtime_ms": round(migration.job.terms.max_downtime_s * 1000),
                    **self._fabric.stats(migration.job),
                }
                for migration in self._running
            ]

    def _carry(self, migration: Migration) -> None:
        """Follow a migration to its end, and let the guest feel each step of it."""
        seen: list[str] = []
        stopped = handed_over = False
        while not migration.ended.is_set():
            with self._changed:
                self._wait(migration.job)
                phase = self._reached(migration.job)
            for stage in self._stages_until(phase, seen):
                self._on_stage(migration.job.source, stage)
            if phase in (Phase.SWITCHOVER, Phase.ACTIVATION) and not stopped:
                migration.passenger.stopped_for_switchover()
                stopped = True
            if phase in (Phase.POSTCOPY, Phase.COMPLETED) and not handed_over:
                migration.passenger.handed_over()
                handed_over = True
            if migration.job.done and phase is migration.job.phase:
                self._end(migration)

    def _end(self, migration: Migration) -> None:
        with self._changed:
            self._running.remove(migration)
        if migration.job.phase is Phase.COMPLETED:
            migration.passenger.left()
        else:
            migration.passenger.stays()
        migration.ended.set()

    def _wait(self, job: Job) -> None:
        """Wait for the next event, a command, or some time."""
        self._fabric.advance(time.monotonic())
        event = self._fabric.next_event()
        if not job.done and event is not None:
            self._changed.wait(min(_PATIENCE, max(_PRECISION, event - time.monotonic())))
            self._fabric.advance(time.monotonic())

    @staticmethod
    def _reached(job: Job) -> Phase:
        """The phase, where copying only counts once half of the first round is done."""
        if job.phase is Phase.PRECOPY and job.sent_bytes < job.guest.resident_bytes / 2:
            return Phase.SETUP
        return job.phase

    @staticmethod
    def _stages_until(phase: Phase, seen: list[str]) -> list[str]:
        """Return the stages up to this phase that were not seen before, and note them."""
        if phase not in _STAGES:
            return []
        new = [s for s in STAGES[: STAGES.index(_STAGES[phase]) + 1] if s not in seen]
        seen.extend(new)
        return new
