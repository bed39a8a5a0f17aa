# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""One tick: what was seen, what is known of each guest, and what is decided so far.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.convergence import budget
from ansible_collections.lowtide.compute.plugins.module_utils._planner.eligibility import (
    PLANNED_CODES,
    Context,
    judge,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.plan import newest_by_guest
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy import resolve
from ansible_collections.lowtide.compute.plugins.module_utils._planner.witness import (
    ALARMS,
    SECOND_LOOK,
    Sight,
    look,
)

#: Nova writes a failed migration's status before the server's ERROR: wait this long for it.
FAILURE_GRACE = 3.0
#: A migration away from here completed, and Nova still says that the guest is here.
GHOST = m.Verdict(
    m.BLOCKED,
    "completed_but_on_source",
    "its newest migration completed, yet Nova has it here, and it is not known to run here",
    "look for the guest with virsh list on both hosts before anything else; if it runs on the"
    " destination, Nova's record must be repaired first: never start or evacuate it",
)
#: Task states of a guest that a migration works on, or is about to.
MOVING = frozenset({"migrating", "resize_prep", "resize_migrating", "resize_migrated"})
KINDS = {m.LIVE: "live-migration", m.COLD: "migration"}


class Tick:
    """One evaluation of the state machine: collects actions, events and the changed moves.

    Phases and the rules of the whole run are functions of it; it holds what they share.
    ``runnable``: guests that could start now; ``movable``: those that could, were nothing in the
    way; ``overtaken``: those that wait for a new plan; ``settling``: somebody waits for what passes
    by itself; ``returned``: somebody has just gone back to waiting, and is judged by the next
    tick; ``held``: nothing may start now.
    """

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
        self.overtaken: list[str] = []
        self.settling = False
        self.returned = False
        self.held = False

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

    def may_settle(self, move: m.Move) -> bool:
        return self.waited(move) <= self.options.settle_timeout

    def under_way(self, move: m.Move) -> m.Migration | None:
        """The guest's migration away from here that runs now; dead records do not count."""
        newest = self.newest.get(move.guest_id)
        if newest is None or not newest.in_flight or newest.source != move.source:
            return None
        return newest if newest.id > move.known_migration else None

    def verdict(self, guest: m.Guest, move: m.Move, newest: m.Migration | None) -> m.Verdict:
        """The rules on what is seen now; what the plan said by PLANNED_CODES still holds."""
        if newest is not None and newest.in_flight and newest.id <= move.known_migration:
            newest = None
        context = Context(self.options, move.source, newest=newest, since=self.ledger.since)
        verdict = judge(guest, context)
        entry = self.entries.get(guest.id)
        if verdict.method not in (m.LIVE, m.COLD):
            return verdict
        if newest is not None and newest.is_live and contradicts(newest, guest):
            return GHOST
        if entry is not None and entry.verdict.code in PLANNED_CODES:
            return entry.verdict
        if move.method == m.COLD and self.options.allow_cold_migration:
            return replace(verdict, method=m.COLD)
        return verdict

    def budget_of(self, move: m.Move) -> float:
        return budget(self._guest_of(move), self.options, self.policy_of(move))

    def policy_of(self, move: m.Move) -> m.Policy:
        """The plan's, which the report shows; of a guest that it does not hold, its own by now."""
        entry = self.entries.get(move.guest_id)
        return entry.policy if entry else resolve(self._guest_of(move), self.options)

    def _guest_of(self, move: m.Move) -> m.Guest:
        """As listed now, else as planned, else what the move itself knows."""
        entry, listed = self.entries.get(move.guest_id), self.listed.get(move.guest_id)
        unknown = m.Guest(move.guest_id, move.name, move.source, move.vm_state)
        return listed or (entry.guest if entry else unknown)

    def queued_for(self, move: m.Move) -> float:
        """Seconds since the queue that it waits in last moved on."""
        steps = [max(mv.running_since, mv.ended_at) for mv in self.moves.values()]
        return self.now - max(move.since, *steps)

    def verify(self, move: m.Move, destination: str = "") -> None:
        """Ask every witness; the answers come with the next observation."""
        if move.phase != m.VERIFYING:
            move = self.enter(move, m.VERIFYING, ended_at=self.now)
        newest = self.newest.get(move.guest_id)
        self.do("verify", move, migration_uuid=newest.uuid if newest else move.migration_uuid)
        self.ask(move.source, destination or self.destination_of(move))

    def ask(self, *hosts: str) -> None:
        """Have libvirt asked on those of these hosts on which that can be done."""
        asked = {action.host for action in self.actions if action.verb == "ask_hypervisor"}
        for host in dict.fromkeys(hosts):
            if host in self.options.hypervisors and host not in asked:
                self.actions.append(m.Action("ask_hypervisor", host=host))

    def heard(self, *hosts: str) -> bool:
        """Has libvirt answered, or been found out of reach, wherever it can be asked?"""
        askable = set(hosts) & set(self.options.hypervisors)
        return askable <= set(self.seen.hypervisors)

    def sight(self, move: m.Move, destination: str) -> Sight:
        return look(move.guest_id, move.source, destination, self.seen.hypervisors)

    def destination_of(self, move: m.Move) -> str:
        """Where the guest's newest migration away from here leads, or led."""
        newest = self.newest.get(move.guest_id)
        led = newest.destination if newest is not None and newest.source == move.source else ""
        return led or move.destination

    def still_doubted(self, move: m.Move, code: str) -> bool:
        """Was the same wrong when it was looked at SECOND_LOOK seconds ago? Notes it if not.

        ``code`` "": nothing is wrong.
        """
        if move.doubt != code:
            self.put(move, doubt=code, doubted_at=self.now)
        return bool(code) and move.doubt == code and self.now - move.doubted_at >= SECOND_LOOK

    def fail(self, move: m.Move, code: str, reason: str) -> None:
        self.enter(move, m.RECOVERING, code=code, reason=reason, escalation="")

    def leave(self, move: m.Move, code: str, reason: str, remedy: str) -> None:
        """Give this guest up for this run; it is watched on, in case that it leaves after all."""
        self.give_up(self.enter(move, m.LEFT, code=code, reason=reason, remedy=remedy))

    def give_up(self, move: m.Move) -> None:
        self.tell("left", move, code=move.code, reason=move.reason, remedy=move.remedy)
        if self.options.on_failure == "stop" and not self.ledger.stopped:
            self.stop("failure")

    def stop(self, why: str, move: m.Move | None = None) -> None:
        self.ledger = replace(self.ledger, stopped=why)
        self.tell("stopped" if why != "deadline" else "deadline", move, reason=why)

    def alarm(self, move: m.Move, code: str) -> None:
        """A guest runs twice, or nowhere: start nothing more, whatever else stopped the run."""
        if code in ALARMS and self.ledger.stopped not in ALARMS:
            self.stop(code, move)


def tracked(migration: m.Migration) -> dict[str, object]:
    """What a move keeps of its migration."""
    kept: dict[str, object] = {
        "migration_id": migration.id,
        "migration_uuid": migration.uuid,
        "migration_status": migration.status,
    }
    if migration.destination:
        kept["destination"] = migration.destination
    return kept


def by_others(move: m.Move, migration: m.Migration) -> bool:
    """Did somebody else start this migration of the guest?"""
    another = move.migration_id not in (0, migration.id)
    return move.adopted or another or migration.kind != KINDS.get(move.method)


def contradicts(newest: m.Migration, guest: m.Guest) -> bool:
    """Did the guest leave this host by its newest migration, and is not known to run here?"""
    left = newest.succeeded and newest.source == guest.host != newest.destination
    return left and guest.alive is not True
