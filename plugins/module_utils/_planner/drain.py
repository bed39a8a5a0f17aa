# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""The state machine of one drain: what was seen, in; what to do now, out.

This module util is **PRIVATE** to the collection: it may change without notice.
:func:`step` is pure. It decides for every guest by its phase:

waiting -> requested -> migrating [-> confirming] -> verifying -> moved
with recovering (after a failure) back to waiting, and left, unverified, gone or excluded as
other ends. Every phase has a budget, so every run ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.convergence import budget
from ansible_collections.lowtide.compute.plugins.module_utils._planner.eligibility import (
    DESTINATION_CODES,
    Context,
    judge,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import newest_by_guest
from ansible_collections.lowtide.compute.plugins.module_utils._planner.schedule import choose
from ansible_collections.lowtide.compute.plugins.module_utils._planner.verify import first_problem

#: Nova writes a failed migration's status before the server's ERROR: wait this long for it.
FAILURE_GRACE = 3.0
#: A migration must be queued this long before it says that the source runs no more at a time.
QUEUE_GRACE = 5.0

Result = tuple[m.Decision, m.Ledger]


def step(
    plan: m.Plan, options: m.Options, ledger: m.Ledger, seen: m.Observation, now: float
) -> Result:
    """Decide one tick. Returns the decision and the ledger to give to the next call."""
    tick = _Tick(plan, options, ledger, seen, now)
    if tick.must_disable_first():
        return tick.result(done=False)
    tick.meet_guests()
    for guest_id in list(tick.moves):
        tick.advance(guest_id)
    tick.learn_source_cap()
    tick.check_limits()
    tick.start_moves()
    return tick.result(done=tick.finish())


class _Tick:
    """One evaluation of :func:`step`: collects actions, events and the changed moves."""

    def __init__(
        self,
        plan: m.Plan,
        options: m.Options,
        ledger: m.Ledger,
        seen: m.Observation,
        now: float,
    ) -> None:
        self.plan, self.options, self.ledger, self.seen, self.now = plan, options, ledger, seen, now
        self.moves: dict[str, m.Move] = dict(ledger.moves)
        self.entries = {entry.guest.id: entry for entry in plan.entries}
        self.listed = {guest.id: guest for guest in seen.guests}
        self.newest = newest_by_guest(seen.migrations)
        self.by_id = {migration.id: migration for migration in seen.migrations}
        self.actions: list[m.Action] = []
        self.events: list[m.Event] = []
        self.runnable: list[str] = []
        self.movable: set[str] = set()
        self.settling = False

    # --- small helpers ---------------------------------------------------------------

    def tell(self, kind: str, move: m.Move | None = None, **data: object) -> None:
        guest = (move.guest_id, move.name) if move else ("", "")
        self.events.append(m.Event(self.now, kind, *guest, data))

    def do(self, verb: str, move: m.Move, **fields: object) -> None:
        self.actions.append(m.Action(verb, move.guest_id, **fields))

    def put(self, move: m.Move, **changes: object) -> m.Move:
        changed = replace(move, **changes)
        self.moves[move.guest_id] = changed
        return changed

    def enter(self, move: m.Move, phase: str, **changes: object) -> m.Move:
        """Change the phase and start its budget."""
        return self.put(move, phase=phase, since=self.now, **changes)

    def on_source(self, move: m.Move) -> m.Guest | None:
        """The guest as listed, if it is (still) on the host it is to leave."""
        guest = self.listed.get(move.guest_id)
        if guest is None or guest.host != move.source:
            return None
        alive = self.seen.alive.get(guest.id, guest.alive)
        return replace(guest, alive=alive)

    def waited(self, move: m.Move) -> float:
        return self.now - move.since

    # --- before anything else ----------------------------------------------------------

    def must_disable_first(self) -> bool:
        """Disable the service, and only then look: else guests land behind our back."""
        service = self.seen.service
        if not self.plan.scope.host or service is None or not service.enabled:
            return False
        if self.ledger.ticks == 0:
            reason = f"lowtide:{self.ledger.run_id}: drain"
            self.actions.append(m.Action("disable", host=service.host, text=reason))
            self.tell("disabled", host=service.host, reason=reason)
            self.ledger = replace(self.ledger, disabled_at=self.now)
            return True
        if not self.ledger.stopped and self.now - self.ledger.disabled_at > FAILURE_GRACE:
            self.stop("enabled")
        return False

    def stop(self, why: str) -> None:
        self.ledger = replace(self.ledger, stopped=why)
        self.tell("stopped" if why != "deadline" else "deadline", reason=why)

    def meet_guests(self) -> None:
        """Open a record for every guest that the plan or the host holds and we do not know."""
        for entry in self.plan.entries:
            if entry.guest.id not in self.moves:
                self._open(entry.guest, self.plan.scope.host or entry.guest.host, entry)
        for guest in self.seen.guests:
            if guest.id not in self.moves and guest.host == self.plan.scope.host:
                self.tell("arrived", self._open(guest, guest.host, None))

    def _open(self, guest: m.Guest, source: str, entry: m.PlanEntry | None) -> m.Move:
        move = m.Move(
            guest_id=guest.id,
            name=guest.name,
            source=source,
            since=self.now,
            group_id=guest.group.id if guest.group else "",
            predicted_seconds=entry.estimate.seconds if entry else 0.0,
            predicted_bytes=entry.estimate.bytes if entry else 0,
        )
        self.moves[guest.id] = move
        return move

    def advance(self, guest_id: str) -> None:
        """Let the handler of the guest's phase decide; a handler may pass on to the next."""
        handler = _HANDLERS.get(self.moves[guest_id].phase)
        if handler is not None:
            handler(self, self.moves[guest_id])

    # --- waiting -------------------------------------------------------------------------

    def waiting(self, move: m.Move) -> None:
        guest = self.on_source(move)
        entry = self.entries.get(move.guest_id)
        elsewhere = entry is not None and entry.guest.host != move.source
        if guest is None and not elsewhere:
            self.verify(move)
            return
        newest = self.newest.get(move.guest_id)
        if newest is not None and newest.in_flight and newest.source == move.source:
            self.adopt(move, guest or entry.guest, newest)
            return
        verdict = self.verdict(guest or entry.guest, move, newest)
        move = self.put(move, code=verdict.code, reason=verdict.reason, remedy=verdict.remedy)
        self._follow(move, guest or entry.guest, verdict, newest)

    def verdict(self, guest: m.Guest, move: m.Move, newest: m.Migration | None) -> m.Verdict:
        """The rules on what is seen now; what the plan said of destinations still holds."""
        context = Context(self.options, move.source, newest=newest, since=self.ledger.since)
        verdict = judge(guest, context)
        entry = self.entries.get(guest.id)
        if verdict.method in (m.LIVE, m.COLD) and entry is not None:
            if entry.verdict.code in DESTINATION_CODES:
                return entry.verdict
            if move.method == m.COLD and self.options.allow_cold_migration:
                return replace(verdict, method=m.COLD)
        return verdict

    def _follow(
        self, move: m.Move, guest: m.Guest, verdict: m.Verdict, newest: m.Migration | None
    ) -> None:
        if verdict.method == m.EXCLUDED:
            self.enter(move, m.SKIPPED)
        elif verdict.method in (m.LIVE, m.COLD):
            self.movable.add(move.guest_id)
            if self.now >= move.not_before:
                self.put(move, method=verdict.method, since=self.now)
                self.runnable.append(move.guest_id)
            elif not self.ledger.stopped:
                self.settling = True
        elif verdict.method == m.CONFIRM:
            self._confirm(move, newest)
        elif verdict.method == m.RECOVER and move.attempts < self.options.max_attempts:
            known = newest.uuid if newest else ""
            self.enter(move, m.RECOVERING, attempts=move.attempts + 1, migration_uuid=known)
        elif verdict.code == "error_guest_unknown" and guest.id not in self.seen.alive:
            self.do("ask_alive", move)
            self.settling = True
        elif verdict.method == m.WAIT and self.waited(move) <= self.options.settle_timeout:
            self.settling = True

    def adopt(self, move: m.Move, guest: m.Guest, migration: m.Migration) -> None:
        """A migration that somebody (an interrupted run, an operator) already started."""
        move = self.enter(
            move,
            m.MIGRATING,
            method=m.LIVE if migration.is_live else m.COLD,
            adopted=True,
            attempts=move.attempts + 1,
            vm_state=guest.vm_state if guest.vm_state != "resized" else "",
            power_state=guest.power_state,
            started_at=self.now,
            **_tracked(migration),
        )
        self.tell(
            "adopted",
            move,
            migration_id=migration.id,
            status=migration.status,
            method=move.method,
        )
        self.migrating(move)

    # --- requested -------------------------------------------------------------------------

    def requested(self, move: m.Move) -> None:
        refusal = self.seen.refusals.get(move.guest_id)
        newest = self.newest.get(move.guest_id)
        if newest is not None and newest.id > move.known_migration:
            self.migrating(self.enter(move, m.MIGRATING, **_tracked(newest)))
        elif refusal is not None and 400 <= refusal.status < 500:
            self._refused(move, refusal)
        elif self.on_source(move) is None:
            self.verify(move)
        elif self.waited(move) > self.options.record_timeout:
            self.fail(move, "no_record", "Nova took the request, but no migration appeared")

    def _refused(self, move: m.Move, refusal: m.Refusal) -> None:
        self.tell("refused", move, status=refusal.status, message=refusal.message)
        if refusal.status == 404:
            self.verify(move)
            return
        attempts = move.attempts
        if refusal.status == 409 and attempts < self.options.max_attempts:
            self.enter(move, m.WAITING, not_before=self.now + self.options.retry_delay)
            return
        self.leave(
            move,
            "refused_by_nova",
            f"Nova refused ({refusal.status}): {refusal.message}",
            "do what Nova asks for, or exclude the guest",
        )

    # --- migrating ---------------------------------------------------------------------------

    def migrating(self, move: m.Move) -> None:
        newest = self.newest.get(move.guest_id)
        current = self.by_id.get(move.migration_id)
        if newest is not None and newest.in_flight and newest.id > move.migration_id:
            current = newest
        if current is None:
            self._lost_sight(move)
            return
        move = self.put(move, **_tracked(current))
        if current.in_flight:
            self._in_flight(move, current)
        elif current.status == m.COLD_UNCONFIRMED:
            self._confirm(move, current)
        elif current.succeeded:
            self.verify(move)
        elif self.on_source(move) is None:
            self.verify(move)
        else:
            self.enter(move, m.RECOVERING, escalation="")

    def _lost_sight(self, move: m.Move) -> None:
        """Its record is not in the list any more (archived, or a partial answer)."""
        if self.on_source(move) is None:
            self.verify(move)
        elif self.waited(move) > self.options.record_timeout:
            self.fail(move, "no_record", "the migration's record has vanished")

    def _in_flight(self, move: m.Move, migration: m.Migration) -> None:
        if migration.status in ("accepted", "queued"):
            limit = self._queue_limit()
            if self.waited(move) > limit:
                self._escalate(move, migration, limit)
            return
        if not move.running_since:
            move = self.put(move, running_since=self.now)
        move = self._note_progress(move)
        if migration.is_live:
            self.do("progress", move, migration_id=migration.id)
        limit = self._budget(move)
        if self.now - move.running_since > limit or move.escalation:
            self._escalate(move, migration, limit)

    def _budget(self, move: m.Move) -> float:
        entry = self.entries.get(move.guest_id)
        guest = self.listed.get(move.guest_id) or (entry.guest if entry else None)
        return budget(guest, self.options) if guest else 2 * self.options.timeout_per_gib

    def _queue_limit(self) -> float:
        """A queued migration waits for those ahead of it, which have budgets of their own."""
        ahead = [mv for mv in self.moves.values() if mv.phase == m.MIGRATING]
        return self.options.settle_timeout + sum(self._budget(mv) for mv in ahead)

    def _note_progress(self, move: m.Move) -> m.Move:
        progress = self.seen.progress.get(move.guest_id)
        if progress is None:
            return move
        return self.put(
            move,
            total_bytes=max(move.total_bytes, progress.total_bytes),
            processed_bytes=max(move.processed_bytes, progress.processed_bytes),
            remaining_bytes=progress.remaining_bytes,
        )

    def _escalate(self, move: m.Move, migration: m.Migration, limit: float) -> None:
        """The budget is spent: force-complete if asked for, else abort, else leave it to Nova."""
        if not move.escalation:
            self._first_rung(move, migration, limit)
            return
        refused = move.guest_id in self.seen.refusals
        late = self.waited(move) > self.options.escalation_timeout
        if move.escalation == "force_complete" and (refused or late):
            self._abort(move, migration)
        elif move.escalation in ("abort", "post_copy") and late:
            self.leave(
                move,
                "stuck_in_flight",
                f"still {migration.status} {self.options.escalation_timeout:.0f} s after its"
                " budget was spent",
                "look at nova-compute's log and at virsh domjobinfo on the source; do not reset"
                " the state while the job runs",
            )

    def _first_rung(self, move: m.Move, migration: m.Migration, limit: float) -> None:
        how = self.options.on_timeout if migration.is_live else "leave"
        self.tell("timed_out", move, action=how, seconds=limit, budget=limit)
        if migration.status == m.POST_COPY:
            self.put(move, escalation="post_copy", since=self.now, timed_out=True)
        elif how == "force_complete" and migration.status == "running" and not _is_paused(move):
            self.do("force_complete", move, migration_id=migration.id)
            self.put(move, escalation="force_complete", since=self.now, timed_out=True)
        elif how == "leave":
            self.leave(
                move,
                "timeout",
                f"not finished within its budget of {limit:.0f} s; Nova goes on with it",
                "wait for it and run again, or abort it (openstack server migration abort)",
                timed_out=True,
            )
        else:
            self._abort(move, migration)

    def _abort(self, move: m.Move, migration: m.Migration) -> None:
        if migration.status == m.POST_COPY:
            self.put(move, escalation="post_copy", since=self.now, timed_out=True)
            return
        self.do("abort", move, migration_id=migration.id)
        self.put(move, escalation="abort", since=self.now, timed_out=True)

    # --- confirming ----------------------------------------------------------------------------

    def _confirm(self, move: m.Move, migration: m.Migration | None) -> None:
        self.do("confirm", move)
        tracked = _tracked(migration) if migration else {}
        started = move.started_at or self.now
        move = self.enter(move, m.CONFIRMING, method=m.COLD, started_at=started, **tracked)
        self.tell("confirming", move)

    def confirming(self, move: m.Move) -> None:
        current = self.by_id.get(move.migration_id)
        guest = self.on_source(move)
        if current is not None:
            move = self.put(move, **_tracked(current))
        if guest is not None and guest.vm_state != "resized":
            self.enter(move, m.WAITING)
        elif guest is None and (current is None or current.succeeded):
            self.verify(move)
        elif current is not None and current.failed:
            self.fail(move, "confirm_failed", f"the confirmation ended {current.status}")
        elif move.guest_id in self.seen.refusals and self.waited(move) <= FAILURE_GRACE * 5:
            self.do("confirm", move)
        elif self.waited(move) > self.options.settle_timeout:
            self.leave(
                move,
                "confirm_stuck",
                f"not confirmed within {self.options.settle_timeout:.0f} s",
                "confirm it by hand (openstack server resize confirm); its source's nova-compute"
                " must be up",
            )

    # --- verifying -------------------------------------------------------------------------------

    def verify(self, move: m.Move) -> None:
        """Ask every witness; the answers come with the next observation."""
        if move.phase != m.VERIFYING:
            move = self.enter(move, m.VERIFYING, ended_at=self.now)
        self.do("verify", move, migration_uuid=move.migration_uuid)

    def verifying(self, move: m.Move) -> None:
        evidence = self.seen.evidence.get(move.guest_id)
        if evidence is None:
            self.verify(move)
            return
        if not evidence.exists:
            self.tell("gone", self.enter(move, m.GONE, code="gone", reason="deleted meanwhile"))
            return
        newest = self.newest.get(move.guest_id)
        if newest is not None and newest.in_flight and self.on_source(move) is not None:
            self.enter(move, m.WAITING)
            return
        problem = first_problem(evidence, move)
        if problem is None:
            self._moved(move, evidence)
        elif self.waited(move) <= self.options.verify_timeout:
            self.verify(move)
        elif evidence.host == move.source:
            self.leave(move, problem.code, problem.detail, problem.remedy)
        else:
            move = self.enter(
                move,
                m.UNVERIFIED,
                destination=evidence.host,
                code=problem.code,
                reason=problem.detail,
                remedy=problem.remedy,
            )
            self._tell_left(move)

    def _moved(self, move: m.Move, evidence: m.Evidence) -> None:
        move = self.enter(
            move, m.MOVED, destination=evidence.host, code="verified", reason="", remedy=""
        )
        self.tell(
            "moved",
            move,
            destination=move.destination,
            seconds=round(move.ended_at - move.started_at, 1) if move.started_at else 0.0,
            bytes=move.processed_bytes,
            method=move.method,
            attempts=move.attempts,
        )

    # --- recovering --------------------------------------------------------------------------------

    def fail(self, move: m.Move, code: str, reason: str) -> None:
        self.enter(move, m.RECOVERING, code=code, reason=reason, escalation="")

    def recovering(self, move: m.Move) -> None:
        """After a failure: learn why, wait for Nova to settle, repair the state, try again."""
        guest = self.on_source(move)
        if guest is None:
            self.verify(move)
            return
        in_error = guest.vm_state == "error"
        self.do("explain", move, migration_uuid=move.migration_uuid)
        if in_error:
            self.do("ask_alive", move)
        if move.guest_id not in self.seen.causes:
            return
        if in_error and move.guest_id not in self.seen.alive:
            return
        cause = self.seen.causes[move.guest_id] or move.reason
        move = self.put(move, reason=cause or "Nova does not say why")
        late = self.waited(move) > self.options.settle_timeout
        if self.waited(move) < FAILURE_GRACE or (guest.task_state and not late):
            return
        if guest.task_state:
            self.leave(move, "busy", f"task_state is still {guest.task_state}", _RESET_REMEDY)
        elif in_error:
            self._reset(move, guest, late)
        elif move.vm_state == "paused" and guest.vm_state == "active":
            self._pause(move, late)
        else:
            self._after_failure(move)

    def _reset(self, move: m.Move, guest: m.Guest, late: bool) -> None:
        """ERROR after a failed migration is Nova's bookkeeping only if the guest still runs here."""
        if guest.alive is not True:
            dead = "error_guest_dead" if guest.alive is False else "error_guest_unknown"
            self.leave(
                move,
                dead,
                f"ERROR, and the guest is not known to run here ({move.reason})",
                "look on the host (virsh list); repair the guest before its state is reset",
            )
        elif late:
            self.leave(move, "reset_failed", "its ERROR could not be reset", _RESET_REMEDY)
        elif move.escalation != "reset" or move.guest_id in self.seen.refusals:
            self.do("reset_state", move)
            self.put(move, escalation="reset")
            self.tell("recovered", move)

    def _pause(self, move: m.Move, late: bool) -> None:
        """The reset made a paused guest active in Nova's eyes only: say paused again."""
        if late:
            self.leave(move, "state_changed", "it was paused before the move", "pause it again")
        else:
            self.do("pause", move)

    def _after_failure(self, move: m.Move) -> None:
        """Count the attempt: again, cold if that is allowed, or leave it with the reason."""
        if not move.migration_id and not move.code.startswith(("no_record", "confirm_failed")):
            self.enter(move, m.WAITING, escalation="")
            return
        cold = move.timed_out and self.options.allow_cold_migration and move.method == m.LIVE
        again = cold or (not move.timed_out and move.attempts < self.options.max_attempts)
        code = "timeout" if move.timed_out else "migration_failed"
        self.tell("failed", move, code=code, reason=move.reason, attempt=move.attempts, retry=again)
        if again:
            delay = self.options.retry_delay * 2 ** max(0, move.attempts - 1)
            self.enter(
                move,
                m.WAITING,
                method=m.COLD if cold else move.method,
                escalation="",
                timed_out=False,
                running_since=0.0,
                not_before=self.now + delay,
            )
        else:
            self.leave(move, code, move.reason, _FAILED_REMEDY[code])

    # --- left ----------------------------------------------------------------------------------------

    def leave(self, move: m.Move, code: str, reason: str, remedy: str, **more: object) -> None:
        """Give this guest up for this run; it is watched on, in case that it leaves after all."""
        move = self.enter(move, m.LEFT, code=code, reason=reason, remedy=remedy, **more)
        self._tell_left(move)

    def _tell_left(self, move: m.Move) -> None:
        self.tell("left", move, code=move.code, reason=move.reason, remedy=move.remedy)
        if self.options.on_failure == "stop" and not self.ledger.stopped:
            self.stop("failure")

    def left(self, move: m.Move) -> None:
        """A migration that completes after its timeout counts after all, once it is verified."""
        current = self.by_id.get(move.migration_id)
        if current is not None and current.in_flight:
            self.put(move, **_tracked(current))
        elif current is not None and current.status == m.COLD_UNCONFIRMED:
            if move.code == "timeout":
                self._confirm(move, current)
        elif self.on_source(move) is None:
            self.verify(move)

    # --- the whole run -------------------------------------------------------------------------------

    def learn_source_cap(self) -> None:
        """Migrations that stay queued tell how many Nova runs at a time on this source."""
        live = [mv for mv in self.moves.values() if mv.phase == m.MIGRATING and mv.method == m.LIVE]
        queued = [
            mv for mv in live if mv.migration_status == "queued" and self.waited(mv) > QUEUE_GRACE
        ]
        running = len([mv for mv in live if mv.running_since])
        if queued and running and not 0 < self.ledger.source_cap <= running:
            self.ledger = replace(self.ledger, source_cap=running)
            self.tell("capped", cap=running, asked=self.options.max_parallel)

    def check_limits(self) -> None:
        age = self.now - self.ledger.started_at
        if self.options.deadline and age > self.options.deadline and not self.ledger.stopped:
            self.stop("deadline")

    def start_moves(self) -> None:
        if self.ledger.stopped:
            return
        order = {entry.guest.id: i for i, entry in enumerate(self.plan.entries)}
        self.runnable.sort(key=lambda guest_id: order.get(guest_id, len(order)))
        candidates = [(self.moves[i], self.entries.get(i)) for i in self.runnable]
        ledger = replace(self.ledger, moves=self.moves)
        for move, host in choose(candidates, ledger, self.options):
            self._start(move, host)

    def _start(self, move: m.Move, host: str) -> None:
        guest, newest = self.listed[move.guest_id], self.newest.get(move.guest_id)
        move = self.enter(
            move,
            m.REQUESTED,
            vm_state=guest.vm_state,
            power_state=guest.power_state,
            attempts=move.attempts + 1,
            known_migration=newest.id if newest else 0,
            migration_id=0,
            migration_uuid="",
            migration_status="",
            escalation="",
            running_since=0.0,
            started_at=move.started_at or self.now,
            destination=host,
        )
        self.do(f"{move.method}_migrate", move, host=host)
        self.tell("started", move, method=move.method, destination=host, attempt=move.attempts)

    def finish(self) -> bool:
        """Is there nothing in flight and nothing more to start? Then whoever waits is left."""
        busy = m.HOLDING | {m.VERIFYING, m.RECOVERING}
        active = any(move.phase in busy for move in self.moves.values())
        startable = bool(self.runnable) and not self.ledger.stopped
        settling = self.settling and not self.ledger.stopped
        if active or startable or settling or self._may_still_arrive():
            return False
        for move in list(self.moves.values()):
            if move.phase == m.WAITING:
                self._leave_waiting(move)
        self.tell("done")
        return True

    def _leave_waiting(self, move: m.Move) -> None:
        if move.guest_id in self.movable:
            why = self.ledger.stopped
            self.leave(move, why, _STOPPED[why], "run the drain again to go on where it stopped")
        else:
            self.leave(move, move.code, move.reason, move.remedy)

    def _may_still_arrive(self) -> bool:
        """Builds scheduled before we disabled the service, and migrations on their way here."""
        host = self.plan.scope.host
        if not host:
            return False
        since_disabled = self.now - self.ledger.disabled_at
        if self.ledger.disabled_at and since_disabled < self.options.quiet_seconds:
            return True
        inbound = any(
            mig.in_flight and mig.destination == host and mig.source != host
            for mig in self.newest.values()
        )
        if not inbound:
            self.ledger = replace(self.ledger, idle_since=0.0)
            return False
        since = self.ledger.idle_since or self.now
        self.ledger = replace(self.ledger, idle_since=since)
        return self.now - since <= self.options.settle_timeout

    def result(self, *, done: bool) -> Result:
        ledger = replace(self.ledger, moves=dict(self.moves), ticks=self.ledger.ticks + 1)
        return m.Decision(tuple(self.actions), tuple(self.events), done), ledger


_RESET_REMEDY = "reset it by hand when nothing works on it (openstack server set --state active)"
_FAILED_REMEDY = {
    "timeout": "give it more time (timeout_per_gib), set on_timeout: force_complete, or"
    " allow_cold_migration: true",
    "migration_failed": "see nova-compute's log on both hosts; run the drain again, or exclude"
    " the guest",
}
_STOPPED = {
    "failure": "not started: another guest failed and on_failure is stop",
    "deadline": "not started: the deadline of the whole drain has passed",
    "enabled": "not started: somebody enabled the host's service during the drain",
}

_HANDLERS: Mapping[str, object] = {
    m.WAITING: _Tick.waiting,
    m.REQUESTED: _Tick.requested,
    m.MIGRATING: _Tick.migrating,
    m.CONFIRMING: _Tick.confirming,
    m.VERIFYING: _Tick.verifying,
    m.RECOVERING: _Tick.recovering,
    m.LEFT: _Tick.left,
}


def _tracked(migration: m.Migration) -> dict[str, object]:
    """What a move keeps of its migration."""
    tracked: dict[str, object] = {
        "migration_id": migration.id,
        "migration_uuid": migration.uuid,
        "migration_status": migration.status,
    }
    if migration.destination:
        tracked["destination"] = migration.destination
    return tracked


def _is_paused(move: m.Move) -> bool:
    return move.vm_state == "paused"
