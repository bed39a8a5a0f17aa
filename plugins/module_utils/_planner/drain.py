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
from datetime import UTC, datetime

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.convergence import budget
from ansible_collections.lowtide.compute.plugins.module_utils._planner.eligibility import (
    DESTINATION_CODES,
    Context,
    excluded_by,
    judge,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import newest_by_guest
from ansible_collections.lowtide.compute.plugins.module_utils._planner.schedule import (
    choose,
    holds_place,
    seen_in_flight,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.verify import first_problem

#: Nova writes a failed migration's status before the server's ERROR: wait this long for it.
FAILURE_GRACE = 3.0
#: A migration must be queued this long before it says that the source runs no more at a time.
QUEUE_GRACE = 5.0
#: A record in flight whose guest has been idle on its source for so long is a dead one's.
DEAD_GRACE = 10.0

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
        self.returned = False

    # --- small helpers ----------------------------------------------------------------------

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
        """Change the phase and start its budget. Who waits again is looked at by the next tick."""
        self.returned |= phase == m.WAITING
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

    # --- before anything else ---------------------------------------------------------------

    def must_disable_first(self) -> bool:
        """Disable the service, and only then look: else guests land behind our back."""
        service = self.seen.service
        if not self.plan.scope.host or service is None:
            return False
        if not service.enabled:
            self._note_own_mark(service)
            return False
        if self.ledger.ticks == 0:
            reason = f"lowtide:{self.ledger.run_id}: drain"
            self.actions.append(m.Action("disable", host=service.host, text=reason))
            self.tell("disabled", host=service.host, reason=reason)
            self.ledger = replace(self.ledger, disabled_at=self.now)
            return True
        if self.now - self.ledger.disabled_at <= FAILURE_GRACE:
            return True
        if not self.ledger.stopped:
            self.stop("enabled")
        return False

    def _note_own_mark(self, service: m.Service) -> None:
        """Did our request to disable happen although it got no answer?"""
        if self.ledger.ticks or not self.ledger.disabled_at:
            return
        if self._is_marked(service):
            self.tell("disabled", host=service.host, reason=service.disabled_reason)
        else:
            self.ledger = replace(self.ledger, disabled_at=0.0)

    def _is_marked(self, service: m.Service) -> bool:
        return service.disabled_reason.startswith(f"lowtide:{self.ledger.run_id}:")

    def stop(self, why: str) -> None:
        self.ledger = replace(self.ledger, stopped=why)
        self.tell("stopped" if why != "deadline" else "deadline", reason=why)

    def meet_guests(self) -> None:
        """Open a record for every guest that the plan or the host holds and we do not know."""
        host = self.plan.scope.host
        late = bool(host and self.moves)
        for entry in self.plan.entries:
            if entry.guest.id not in self.moves:
                move = self._open(entry.guest, host or self._source(entry.guest), entry)
                if late:
                    self.tell("arrived", move)
        for guest in self.seen.guests:
            if guest.host == host:
                self._meet(guest)
        for migration in self.newest.values():
            if host and migration.source == host and migration.guest_id not in self.moves:
                self._meet_leaving(migration)

    def _meet(self, guest: m.Guest) -> None:
        """A guest on the host: a stranger, or one that came back after it had left."""
        known = self.moves.get(guest.id)
        if known is None:
            self.tell("arrived", self._open(guest, guest.host, None))
        elif known.phase in (m.MOVED, m.UNVERIFIED):
            back = self.enter(known, m.WAITING, migration_id=0, migration_status="", started_at=0.0)
            self.tell("arrived", back)

    def _meet_leaving(self, migration: m.Migration) -> None:
        """It was under way when this run began, and Nova already lists it elsewhere."""
        ours = migration.kind == "migration" and migration.created_at >= self.ledger.since
        unconfirmed = migration.status == m.COLD_UNCONFIRMED and ours
        guest = m.Guest(
            id=migration.guest_id,
            name=migration.guest_id,
            host=migration.destination,
            vm_state="",
            group=self._group_of(migration.guest_id),
        )
        excluded = excluded_by(guest, self.options.exclude)
        if (migration.in_flight or unconfirmed) and not excluded:
            self.adopt(self._open(guest, migration.source, None), guest, migration)

    def _group_of(self, guest_id: str) -> m.Group | None:
        """The group of a guest that is not in the plan, if another member is."""
        groups = (entry.guest.group for entry in self.plan.entries)
        return next((group for group in groups if group and guest_id in group.members), None)

    def _source(self, guest: m.Guest) -> str:
        """The host that a guest named by the operator leaves, even if it just did."""
        newest = self.newest.get(guest.id)
        return newest.source if newest is not None and newest.in_flight else guest.host

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

    # --- waiting ----------------------------------------------------------------------------

    def waiting(self, move: m.Move) -> None:
        newest = self.newest.get(move.guest_id)
        guest = self.on_source(move) or self._known_unlisted(move, newest)
        if guest is None:
            self.verify(move)
            return
        verdict = self.verdict(guest, move, newest)
        under_way = self._under_way(move)
        if under_way is not None and verdict.method != m.EXCLUDED:
            self.adopt(move, guest, under_way)
            return
        if guest.task_state in _MOVING and verdict.method == m.WAIT:
            self._adopt_request(move, guest, newest)
            return
        move = self.put(move, code=verdict.code, reason=verdict.reason, remedy=verdict.remedy)
        self._follow(move, guest, verdict, newest)

    def _known_unlisted(self, move: m.Move, newest: m.Migration | None) -> m.Guest | None:
        """A guest of the plan that Nova does not list on the host although it belongs there.

        Soft-deleted guests are in no list; a guest whose resize is unconfirmed, or whose
        migration completes just now, is elsewhere and belongs here only as long as that lasts.
        """
        entry = self.entries.get(move.guest_id)
        if entry is None:
            return None
        elsewhere = entry.guest.host != move.source and not (newest and newest.succeeded)
        hidden = entry.guest.vm_state == "soft-delete"
        leaving = self._under_way(move) is not None
        return entry.guest if elsewhere or hidden or leaving else None

    def verdict(self, guest: m.Guest, move: m.Move, newest: m.Migration | None) -> m.Verdict:
        """The rules on what is seen now; what the plan said of destinations still holds."""
        if newest is not None and newest.in_flight and newest.id <= move.known_migration:
            newest = None
        context = Context(self.options, move.source, newest=newest, since=self.ledger.since)
        verdict = judge(guest, context)
        entry = self.entries.get(guest.id)
        if verdict.method not in (m.LIVE, m.COLD):
            return verdict
        if newest is not None and newest.is_live and _contradicts(newest, guest):
            return _GHOST
        if entry is not None and entry.verdict.code in DESTINATION_CODES:
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
            self._queue(move, verdict.method)
        elif verdict.method in (m.CONFIRM, m.RECOVER):
            self._repair(move, guest, verdict, newest)
        elif verdict.code in ("error_guest_unknown", _GHOST.code):
            self.do("ask_alive", move)
            self.settling |= guest.alive is None and self._may_settle(move)
        elif verdict.method == m.WAIT:
            self.settling |= self._may_settle(move)

    def _may_settle(self, move: m.Move) -> bool:
        return self.waited(move) <= self.options.settle_timeout

    def _queue(self, move: m.Move, method: str) -> None:
        """It can go: once its delay is over, as long as there is somebody to carry it out."""
        # Cold is what is tried after a live migration's last attempt.
        if move.attempts >= self.options.max_attempts + (method == m.COLD):
            self.leave(move, "attempts_spent", f"{move.attempts} attempts were made", "run again")
            return
        self.movable.add(move.guest_id)
        service = self.seen.service
        if service is not None and (service.forced_down or not service.up):
            self.settling |= self._may_settle(move)
            return
        self.put(move, method=method, since=self.now)
        if self.now >= move.not_before:
            self.runnable.append(move.guest_id)
        else:
            self.settling = True

    def _repair(
        self, move: m.Move, guest: m.Guest, verdict: m.Verdict, newest: m.Migration | None
    ) -> None:
        """What must be done before it can go: confirm what is unconfirmed, reset an ERROR."""
        ours = verdict.code == "cold_unconfirmed"
        if self.ledger.stopped and not ours:
            self.movable.add(move.guest_id)
        elif verdict.method == m.CONFIRM:
            self._confirm(move, newest)
        elif move.method != m.RECOVER and move.attempts < self.options.max_attempts:
            self.enter(
                move,
                m.RECOVERING,
                method=move.method or m.RECOVER,
                migration_id=0,
                migration_uuid=newest.uuid if newest else "",
                vm_state="paused" if guest.power_state == "paused" else "",
                escalation="",
            )

    def _under_way(self, move: m.Move) -> m.Migration | None:
        """The guest's migration away from here that runs now; dead records do not count."""
        newest = self.newest.get(move.guest_id)
        if newest is None or not newest.in_flight or newest.source != move.source:
            return None
        return newest if newest.id > move.known_migration else None

    def _adopt_request(self, move: m.Move, guest: m.Guest, newest: m.Migration | None) -> None:
        """Somebody (an interrupted run) asked for a migration that has no record yet."""
        method = m.LIVE if guest.task_state == "migrating" else m.COLD
        known = newest.id if newest else 0
        self.enter(move, m.REQUESTED, method=method, adopted=True, known_migration=known)

    def adopt(self, move: m.Move, guest: m.Guest, migration: m.Migration) -> None:
        """A migration that somebody (an interrupted run, an operator) already started."""
        move = self.enter(
            move,
            m.MIGRATING,
            method=m.LIVE if migration.is_live else m.COLD,
            adopted=True,
            attempts=move.attempts + 1,
            vm_state=guest.vm_state if guest.vm_state in ("active", "paused", "stopped") else "",
            power_state=guest.power_state,
            started_at=self.now,
            running_since=0.0,
            escalation="",
            **_tracked(migration),
        )
        self.tell(
            "adopted",
            move,
            migration_id=migration.id,
            status=migration.status,
            method=move.method,
        )

    # --- requested --------------------------------------------------------------------------

    def requested(self, move: m.Move) -> None:
        refusal = self.seen.refusals.get(move.guest_id)
        newest = self.newest.get(move.guest_id)
        refused = refusal is not None and refusal.status >= 400
        if newest is not None and newest.id > move.known_migration:
            others = refused or _others(move, newest)
            self._recorded(move, newest, others)
        elif refused:
            self._refused(move, refusal)
        elif (guest := self.on_source(move)) is None:
            self.verify(move)
        elif move.adopted and guest.task_state not in _MOVING:
            self.enter(move, m.WAITING)
        elif self.waited(move) > self.options.record_timeout:
            self.fail(move, "no_record", "Nova took the request, but no migration appeared")

    def _recorded(self, move: m.Move, migration: m.Migration, others: bool) -> None:
        guest = self.on_source(move)
        if move.adopted and guest is not None:
            self.adopt(move, guest, migration)
        else:
            tracked = _tracked(migration)
            self.migrating(self.enter(move, m.MIGRATING, adopted=others, **tracked))

    def _refused(self, move: m.Move, refusal: m.Refusal) -> None:
        self.tell("refused", move, status=refusal.status, message=refusal.message)
        if refusal.status == 404:
            self.verify(move)
        elif refusal.status == 409 and move.attempts < self.options.max_attempts:
            self.enter(move, m.WAITING, not_before=self.now + self.options.retry_delay)
        else:
            self.leave(
                move,
                "refused_by_nova",
                f"Nova refused ({refusal.status}): {refusal.message}",
                "do what Nova asks for, or exclude the guest",
            )

    # --- migrating --------------------------------------------------------------------------

    def migrating(self, move: m.Move) -> None:
        newest = self.newest.get(move.guest_id)
        current = self.by_id.get(move.migration_id)
        if newest is not None and newest.in_flight and newest.id > move.migration_id:
            current = newest
        if current is None:
            self._lost_sight(move)
            return
        move = self.put(move, adopted=_others(move, current), **_tracked(current))
        if current.in_flight:
            self._in_flight(move, current)
        elif current.status == m.COLD_UNCONFIRMED:
            self._unconfirmed(move, current)
        elif current.succeeded or self.on_source(move) is None:
            self.verify(move)
        elif current.status == "reverted":
            self.enter(move, m.WAITING)
        else:
            reason = move.reason if move.timed_out else f"the migration ended {current.status}"
            self.fail(move, "migration_failed", reason)

    def _lost_sight(self, move: m.Move) -> None:
        """Its record is not in the list any more (archived, or a partial answer)."""
        if self.on_source(move) is None:
            self.verify(move)
        elif move.migration_status:
            self.put(move, migration_status="", since=self.now)
        elif self.waited(move) > self.options.record_timeout:
            self.fail(move, "no_record", "the migration's record has vanished")

    def _in_flight(self, move: m.Move, migration: m.Migration) -> None:
        if migration.status in ("accepted", "queued"):
            spent, limit = self._queued_for(move), self._queue_limit()
        else:
            if not move.running_since:
                move = self.put(move, running_since=self.now)
            move = self._note_progress(move)
            spent, limit = self.now - move.running_since, self._budget(move)
        if self._is_dead(move, migration):
            self._bury(move, migration)
        elif move.escalation == "dead":
            self.put(move, escalation="")
        elif move.escalation:
            self._escalate(move, migration)
        elif spent > limit:
            self._first_rung(move, migration, spent, limit)
        elif migration.is_live and move.running_since:
            self.do("progress", move, migration_id=migration.id)

    def _is_dead(self, move: m.Move, migration: m.Migration) -> bool:
        """A restarted nova-compute forgets what it had not begun: the record stays as it was."""
        guest = self.on_source(move)
        return migration.is_live and guest is not None and not guest.task_state

    def _bury(self, move: m.Move, migration: m.Migration) -> None:
        if move.escalation != "dead":
            self.put(move, escalation="dead", since=self.now)
        elif self.waited(move) > DEAD_GRACE:
            move = self.put(move, known_migration=migration.id, migration_status="")
            if move.adopted:
                self.enter(move, m.WAITING, escalation="", attempts=move.attempts - 1)
                return
            reason = f"nothing works on it any more, its record says {migration.status}"
            self.fail(move, "migration_failed", reason)

    def _budget(self, move: m.Move) -> float:
        entry = self.entries.get(move.guest_id)
        guest = self.listed.get(move.guest_id) or (entry.guest if entry else None)
        return budget(guest, self.options) if guest else 2 * self.options.timeout_per_gib

    def _queued_for(self, move: m.Move) -> float:
        """Seconds since the queue that it waits in last moved on."""
        steps = [max(mv.running_since, mv.ended_at) for mv in self.moves.values()]
        return self.now - max(move.since, *steps)

    def _queue_limit(self) -> float:
        """A queued migration waits for those ahead of it, which have budgets of their own."""
        ahead = [self._budget(mv) for mv in self.moves.values() if _runs(mv)]
        return self.options.settle_timeout + max(ahead, default=0.0)

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

    def _first_rung(self, move: m.Move, migration: m.Migration, spent: float, limit: float) -> None:
        """The budget is spent: force-complete if asked for, else abort, else leave it to Nova."""
        how = self.options.on_timeout if migration.is_live else "leave"
        past_abort = migration.status == m.POST_COPY or self.on_source(move) is None
        pausable = migration.status == "running" and move.vm_state != "paused"
        if how == "force_complete" and not pausable:
            how = "abort"
        how = "leave" if past_abort else how
        reason = f"not finished within its budget of {limit:.0f} s"
        self.tell("timed_out", move, action=how, seconds=spent, budget=limit)
        move = self.put(move, reason=reason, timed_out=True)
        if past_abort:
            self.put(move, escalation="watch", since=self.now)
        elif how == "leave":
            remedy = "wait for it and run again, or abort it (openstack server migration abort)"
            self.leave(move, "timeout", f"{reason}; Nova goes on with it", remedy)
        else:
            self._rung(move, migration, how)

    def _rung(self, move: m.Move, migration: m.Migration, verb: str) -> None:
        self.do(verb, move, migration_id=migration.id)
        if move.escalation != verb:
            self.put(move, escalation=verb, since=self.now)

    def _escalate(self, move: m.Move, migration: m.Migration) -> None:
        """The last rung did not take effect (yet): again if it was lost, else the next one."""
        refusal = self.seen.refusals.get(move.guest_id)
        refused = refusal is not None and refusal.status > 0
        late = self.waited(move) > self.options.escalation_timeout
        if migration.status == m.POST_COPY and move.escalation != "watch":
            self.put(move, escalation="watch", since=self.now)
        elif move.escalation == "force_complete" and (refused or late):
            self._rung(move, migration, "abort")
        elif late:
            self.leave(
                move,
                "stuck_in_flight",
                f"still {migration.status} {self.options.escalation_timeout:.0f} s after its"
                " budget was spent",
                "look at nova-compute's log and at virsh domjobinfo on the source; do not reset"
                " the state while the job runs",
            )
        elif refusal is not None and not refused and move.escalation != "watch":
            self._rung(move, migration, move.escalation)

    # --- confirming -------------------------------------------------------------------------

    def _unconfirmed(self, move: m.Move, migration: m.Migration) -> None:
        """Our own cold migration is confirmed; somebody else's only as the options say."""
        if move.adopted:
            entry = self.entries.get(move.guest_id)
            guest = entry.guest if entry else m.Guest(move.guest_id, move.name, "", "")
            guest = replace(guest, host=migration.destination, vm_state="resized", task_state="")
            verdict = self.verdict(guest, move, migration)
            if verdict.method != m.CONFIRM:
                self.leave(move, verdict.code, verdict.reason, verdict.remedy)
                return
        self._confirm(move, migration)

    def _confirm(self, move: m.Move, migration: m.Migration | None) -> None:
        self.do("confirm", move)
        tracked = _tracked(migration) if migration else {}
        started = move.started_at or self.now
        move = self.enter(move, m.CONFIRMING, method=m.COLD, started_at=started, **tracked)
        self.tell("confirming", move)

    def confirming(self, move: m.Move) -> None:
        current = self.by_id.get(move.migration_id)
        guest = self.on_source(move)
        refusal = self.seen.refusals.get(move.guest_id)
        unknown = refusal is not None and refusal.status == 404
        if current is not None:
            move = self.put(move, **_tracked(current))
        if guest is not None and guest.vm_state != "resized":
            # How it leaves has nothing to do with how it came.
            self.enter(move, m.WAITING, method="")
        elif guest is None and (current is None or current.succeeded or unknown):
            self.verify(move)
        elif current is not None and current.failed:
            self.fail(move, "confirm_failed", f"the confirmation ended {current.status}")
        elif not self._may_settle(move):
            self.leave(
                move,
                "confirm_stuck",
                f"not confirmed within {self.options.settle_timeout:.0f} s",
                "confirm it by hand (openstack server resize confirm); its source's nova-compute"
                " must be up",
            )
        elif refusal is not None:
            self.do("confirm", move)

    # --- verifying --------------------------------------------------------------------------

    def verify(self, move: m.Move) -> None:
        """Ask every witness; the answers come with the next observation."""
        if move.phase != m.VERIFYING:
            move = self.enter(move, m.VERIFYING, ended_at=self.now)
        newest = self.newest.get(move.guest_id)
        self.do("verify", move, migration_uuid=newest.uuid if newest else move.migration_uuid)

    def verifying(self, move: m.Move) -> None:
        evidence = self.seen.evidence.get(move.guest_id)
        if evidence is None:
            self._no_evidence(move)
        elif not evidence.exists:
            self._gone(move, "deleted meanwhile")
        elif evidence.vm_state == "shelved_offloaded":
            self._gone(move, "shelved and offloaded meanwhile")
        elif self.on_source(move) is not None and not self._is_ghost(move, evidence):
            self.enter(move, m.WAITING, not_before=self.now + self.options.retry_delay)
        else:
            self._weigh(move, evidence)

    def _is_ghost(self, move: m.Move, evidence: m.Evidence) -> bool:
        """Nova has it on its source, yet says that its newest migration took it away."""
        newest = self.newest.get(move.guest_id)
        completed = newest is not None and newest.id == move.migration_id and newest.succeeded
        return completed and evidence.host == move.source

    def _no_evidence(self, move: m.Move) -> None:
        if self.waited(move) <= max(self.options.verify_timeout, self.options.api_patience):
            self.verify(move)
            return
        reason = "the APIs that could tell whether it arrived do not answer"
        self._doubt(move, "no_evidence", reason, "bring them back, then run again")

    def _gone(self, move: m.Move, reason: str) -> None:
        self.tell("gone", self.enter(move, m.GONE, code="gone", reason=reason, remedy=""))

    def _weigh(self, move: m.Move, evidence: m.Evidence) -> None:
        problem = first_problem(evidence, move)
        if problem is None:
            self._moved(move, evidence)
        elif evidence.vm_state == "soft-delete" and evidence.host == move.source:
            self.leave(move, "soft_deleted", "soft-deleted meanwhile", _SOFT_DELETED_REMEDY)
        elif self.waited(move) <= self.options.verify_timeout:
            self.verify(move)
        else:
            where = {} if evidence.host == move.source else {"destination": evidence.host}
            self._doubt(move, problem.code, problem.detail, problem.remedy, **where)

    def _doubt(self, move: m.Move, code: str, reason: str, remedy: str, **more: object) -> None:
        """Not proven: left if Nova lists it on the host, unverified if it does not."""
        if self.on_source(move) is not None:
            self.leave(move, code, reason, remedy)
            return
        doubtful = {"code": code, "reason": reason, "remedy": remedy, **more}
        self._give_up(self.enter(move, m.UNVERIFIED, **doubtful))

    def _moved(self, move: m.Move, evidence: m.Evidence) -> None:
        move = self.enter(
            move, m.MOVED, destination=evidence.host, code="verified", reason="", remedy=""
        )
        self.tell(
            "moved",
            move,
            destination=move.destination,
            seconds=round(move.ended_at - move.started_at, 1) if move.started_at else 0.0,
            bytes=move.copied_bytes,
            method=move.method,
            attempts=move.attempts,
        )

    # --- recovering -------------------------------------------------------------------------

    def fail(self, move: m.Move, code: str, reason: str) -> None:
        self.enter(move, m.RECOVERING, code=code, reason=reason, escalation="")

    def recovering(self, move: m.Move) -> None:
        """After a failure: learn why, wait for Nova to settle, repair the state, try again."""
        guest, under_way = self.on_source(move), self._under_way(move)
        if under_way is not None:
            others = _others(move, under_way)
            self.migrating(self.enter(move, m.MIGRATING, adopted=others, **_tracked(under_way)))
            return
        if guest is None:
            self.verify(move)
            return
        in_error = guest.vm_state == "error"
        heard = move.guest_id in self.seen.causes
        if in_error:
            heard = heard and self.seen.alive.get(move.guest_id) is not None
        late = not self._may_settle(move)
        if not late and (not heard or self.waited(move) < FAILURE_GRACE or guest.task_state):
            self.do("explain", move, migration_uuid=move.migration_uuid)
            if in_error:
                self.do("ask_alive", move)
            return
        cause = self.seen.causes.get(move.guest_id) or move.reason
        move = self.put(move, reason=cause or "Nova does not say why")
        if guest.task_state:
            self.leave(move, "busy", f"task_state is still {guest.task_state}", _RESET_REMEDY)
        elif in_error:
            self._reset(move, late)
        elif move.escalation == "reset" and move.vm_state == "paused" != guest.vm_state:
            self._pause(move, late)
        else:
            self._after_failure(move)

    def _reset(self, move: m.Move, late: bool) -> None:
        """ERROR after a failed migration is only Nova's bookkeeping if the guest runs here."""
        alive = self.seen.alive.get(move.guest_id)
        if alive is not True:
            dead = "error_guest_dead" if alive is False else "error_guest_unknown"
            self.leave(
                move,
                dead,
                f"ERROR, and the guest is not known to run here ({move.reason})",
                "look on the host (virsh list); repair the guest before its state is reset",
            )
        elif move.escalation != "reset":
            self.do("reset_state", move)
            self.put(move, escalation="reset", started_at=move.started_at or self.now)
            self.tell("recovered", move)
        elif late:
            self.leave(move, "reset_failed", "its ERROR could not be reset", _RESET_REMEDY)
        else:
            self.do("reset_state", move)

    def _pause(self, move: m.Move, late: bool) -> None:
        """The reset made a paused guest active in Nova's eyes only: say paused again."""
        if late:
            self.leave(move, "state_changed", "it was paused before the move", "pause it again")
        else:
            self.do("pause", move)

    def _after_failure(self, move: m.Move) -> None:
        """Count the attempt: again, cold if that is allowed, or leave it with the reason."""
        if move.code not in _FAILED_REMEDY:
            self.enter(move, m.WAITING, escalation="")
            return
        cold = move.timed_out and self.options.allow_cold_migration and move.method == m.LIVE
        again = cold or (not move.timed_out and move.attempts < self.options.max_attempts)
        code = "timeout" if move.timed_out else move.code
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

    # --- left -------------------------------------------------------------------------------

    def leave(self, move: m.Move, code: str, reason: str, remedy: str) -> None:
        """Give this guest up for this run; it is watched on, in case that it leaves after all."""
        self._give_up(self.enter(move, m.LEFT, code=code, reason=reason, remedy=remedy))

    def _give_up(self, move: m.Move) -> None:
        self.tell("left", move, code=move.code, reason=move.reason, remedy=move.remedy)
        if self.options.on_failure == "stop" and not self.ledger.stopped:
            self.stop("failure")

    def left(self, move: m.Move) -> None:
        """A migration that ends after its timeout counts after all, once it is verified."""
        current = self._under_way(move) or self.by_id.get(move.migration_id)
        was_in_flight = seen_in_flight(move)
        if current is not None:
            move = self.put(move, adopted=_others(move, current), **_tracked(current))
        if current is not None and current.in_flight:
            return
        if current is not None and current.status == m.COLD_UNCONFIRMED:
            if was_in_flight:
                self._unconfirmed(move, current)
        elif self.on_source(move) is None:
            if move.code != "soft_deleted":
                self.verify(move)
        elif current is not None and current.failed and was_in_flight:
            self.fail(move, "migration_failed", move.reason)

    # --- the whole run ----------------------------------------------------------------------

    def learn_source_cap(self) -> None:
        """Migrations that stay queued tell how many Nova runs at a time on this source."""
        live = [mv for mv in self.moves.values() if mv.phase == m.MIGRATING and mv.method == m.LIVE]
        queued = [mv for mv in live if mv.migration_status == "queued"]
        running = len([mv for mv in live if mv.running_since])
        still = bool(queued) and min(map(self._queued_for, queued)) > QUEUE_GRACE
        if still and running and not 0 < self.ledger.source_cap <= running:
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
            adopted=False,
            migration_id=0,
            migration_uuid="",
            migration_status="",
            escalation="",
            running_since=0.0,
            total_bytes=0,
            processed_bytes=0,
            remaining_bytes=0,
            started_at=move.started_at or self.now,
            destination=host,
        )
        self.do(f"{move.method}_migrate", move, host=host)
        self.tell("started", move, method=move.method, destination=host, attempt=move.attempts)

    def finish(self) -> bool:
        """Is there nothing in flight and nothing more to start? Then whoever waits is left."""
        busy = m.HOLDING | {m.VERIFYING, m.RECOVERING}
        active = any(move.phase in busy for move in self.moves.values())
        pending = (self.settling or self._place_may_come_free()) and not self.ledger.stopped
        if active or pending or self.returned or self._may_still_arrive():
            return False
        for move in list(self.moves.values()):
            if move.phase == m.WAITING:
                self._leave_waiting(move)
        self.tell("done")
        return True

    def _place_may_come_free(self) -> bool:
        """Guests that could go wait for migrations which were given up, but still run."""
        left = [mv for mv in self.moves.values() if mv.phase == m.LEFT and holds_place(mv)]
        return bool(self.runnable) and any(map(self._may_settle, left))

    def _leave_waiting(self, move: m.Move) -> None:
        code, reason, remedy = move.code, move.reason, move.remedy
        if move.guest_id in self.movable:
            taken = "place_taken" if move.guest_id in self.runnable else "host_down"
            code = self.ledger.stopped or taken
            reason, remedy = _STOPPED[code]
        left = self.enter(move, m.LEFT, code=code, reason=reason, remedy=remedy)
        self.tell("left", left, code=code, reason=reason, remedy=remedy)

    def _may_still_arrive(self) -> bool:
        """Builds scheduled before we disabled the service, and migrations on their way here."""
        host = self.plan.scope.host
        if not host:
            return False
        closed_at = self.ledger.disabled_at
        if not closed_at and self.seen.service and self._is_marked(self.seen.service):
            closed_at = _epoch(self.ledger)
        if closed_at and self.now - closed_at < self.options.quiet_seconds:
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
_SOFT_DELETED_REMEDY = "delete it for good (openstack server delete --force) or restore it"
_FAILED_REMEDY = {
    "timeout": "give it more time (timeout_per_gib), set on_timeout: force_complete, or"
    " allow_cold_migration: true",
    "migration_failed": "see nova-compute's log on both hosts; run the drain again, or exclude"
    " the guest",
    "no_record": "see nova-conductor's and nova-scheduler's log; run the drain again",
    "confirm_failed": "see nova-compute's log on both hosts; run the drain again",
}
_GO_ON = "run the drain again to go on where it stopped"
_STOPPED = {
    "failure": ("not started: another guest failed and on_failure is stop", _GO_ON),
    "deadline": ("not started: the deadline of the whole drain has passed", _GO_ON),
    "enabled": ("not started: somebody enabled the host's service during the drain", _GO_ON),
    "place_taken": (
        "not started: a migration that was given up still runs and takes its place",
        "wait until it is over, and run the drain again",
    ),
    "host_down": (
        "not started: the host's nova-compute is down",
        "start nova-compute on the host, and run the drain again",
    ),
}
#: A migration away from here completed, and Nova still says that the guest is here.
_GHOST = m.Verdict(
    m.BLOCKED,
    "completed_but_on_source",
    "its newest migration completed, yet Nova has it here, and it is not known to run here",
    "look for the guest with virsh list on both hosts before anything else; if it runs on the"
    " destination, Nova's record must be repaired first: never start or evacuate it",
)
#: Task states of a guest that a migration works on, or is about to.
_MOVING = frozenset({"migrating", "resize_prep", "resize_migrating", "resize_migrated"})
_KINDS = {m.LIVE: "live-migration", m.COLD: "migration"}

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


def _others(move: m.Move, migration: m.Migration) -> bool:
    """Did somebody else start this migration of the guest?"""
    another = move.migration_id not in (0, migration.id)
    return move.adopted or another or migration.kind != _KINDS.get(move.method)


def _runs(move: m.Move) -> bool:
    return move.phase == m.MIGRATING and bool(move.running_since)


def _contradicts(newest: m.Migration, guest: m.Guest) -> bool:
    """Did the guest leave this host by its newest migration, and is not known to run here?"""
    left = newest.succeeded and newest.source == guest.host != newest.destination
    return left and guest.alive is not True


def _epoch(ledger: m.Ledger) -> float:
    """When the drain began, which an interrupted run may have done."""
    if not ledger.since:
        return ledger.started_at
    return datetime.fromisoformat(ledger.since).replace(tzinfo=UTC).timestamp()
