# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""One call of nova_compute_process: look, decide, then note, signal or restart.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import HostBusy, HostNotReady
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import (
    compute_process as machine,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways.hypervisor import (
    NO_JOB,
    LibvirtHypervisor,
)
from ansible_collections.lowtide.compute.plugins.module_utils._host_module import HostTask
from ansible_collections.lowtide.compute.plugins.module_utils._planner import (
    compute_process as planner,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf import (
    release_number,
)

SPEC: dict[str, Any] = {
    "state": {
        "type": "str",
        "choices": ["seen", "noted", "written", "known", "reloaded", "restarted"],
        "default": "seen",
    },
    "path": {"type": "path", "default": "/etc/nova/nova.conf.d/90-lowtide-migration.conf"},
    "restart": {"type": "list", "elements": "str", "default": []},
    "reload": {"type": "list", "elements": "str", "default": []},
    "unit": {"type": "str", "default": ""},
    "unit_drop_in": {"type": "str", "default": "90-lowtide-migration.conf"},
    "record": {"type": "path", "default": "/run/lowtide/nova-compute.json"},
    "release": {"type": "str", "default": ""},
    "concurrency_backend": {"type": "str", "default": ""},
    "uri": {"type": "str", "default": "qemu:///system"},
    "log_path": {"type": "path", "default": "/var/log/nova/nova-compute.log"},
    "settle_seconds": {"type": "int", "default": 10},
}
#: Seconds after which a SIGHUP has done whatever it does.
REACTION = 2.0
POLL = 0.5


def handle(task: HostTask) -> dict[str, Any]:
    """Bring nova-compute to ``state``, and say how it stands."""
    compute = Compute(task)
    state = task.params["state"]
    changed = bool(state != "seen" and getattr(compute, state)())
    return {"changed": changed, **compute.result()}


class Compute:
    """nova-compute on this machine, and what it does not know of the drop-in."""

    def __init__(self, task: HostTask) -> None:
        self._task = task
        self._given = task.params
        self.unit = machine.Unit(self._given["unit"])
        self.look()

    def look(self) -> None:
        """Read everything again."""
        found = self.unit.state()
        pid = int(found.get("MainPID") or 0)
        self.process = machine.process(pid) if pid else None
        self.active = found.get("ActiveState", "")
        self.drop_in = machine.drop_in(self._given["path"])
        self._told = machine.recall(self._given["record"])
        self._unknown = planner.pending(self.process, self.drop_in, self._told)
        if self.process and self.drop_in and self._order() != planner.LAST:
            self._unknown = planner.Pending(self.drop_in.options)
        self.takes_sighup = self.process is not None and planner.takes_sighup(
            self.process,
            release_number(self._given["release"]),
            self._given["concurrency_backend"] or None,
        )
        self.pending = self._by_what_it_takes(self._unknown)

    def _order(self) -> str:
        """How the running process reads the drop-in's directory."""
        argv = self.process.argv if self.process else ()
        return planner.sources(argv).order(os.path.dirname(self._given["path"]))

    def _by_what_it_takes(self, pending: planner.Pending) -> planner.Pending:
        if self.takes_sighup:
            return planner.Pending(
                pending.restart, tuple(set(pending.reload) - set(pending.restart))
            )
        return planner.Pending(planner.merged(pending.restart, pending.reload))

    def noted(self) -> bool:
        """Note what is about to change."""
        return self._note(self._unknown, self._given["restart"], self._given["reload"])

    def written(self) -> bool:
        """Note that the drop-in is now the one that was meant when its change was noted."""
        if self._told is None or self.process is None:
            return False
        if self._told.process != self.process.identity:
            return False
        return self._note(planner.Pending(self._told.restart, self._told.reload))

    def known(self) -> bool:
        """Note that ``restart`` and ``reload`` are all that the process does not know."""
        return self._note(planner.Pending(), self._given["restart"], self._given["reload"])

    def _note(self, unknown: planner.Pending, restart=(), reload=()) -> bool:
        """Never a change of the machine's configuration."""
        if self.process is not None and not self._task.check_mode:
            told = planner.noted(self.process, self.drop_in, unknown, restart, reload)
            machine.remember(self._given["record"], told)
            self.look()
        return False

    def reloaded(self) -> bool:
        """Send SIGHUP where that gives it something, and see that it survives."""
        before = self.process
        if not self.pending.reload or before is None:
            return False
        if self._task.check_mode:
            return True
        machine.hang_up(before)
        self._task.clock.sleep(REACTION)
        self.look()
        if self.process is None or self.process.identity != before.identity:
            remedy = "Say how it is run in concurrency_backend; see its log"
            raise HostNotReady(f"nova-compute ({before.pid}) did not survive SIGHUP", remedy)
        return not self._note(planner.Pending(self.pending.restart))

    def restarted(self) -> bool:
        """Restart it where that gives it something, unless a migration runs.

        One that somebody stopped stays stopped; it reads its files when it is started.
        """
        idle = not self.pending.restart if self.process else self.active == "inactive"
        if idle:
            return False
        self._refuse_while_migrating()
        if self._task.check_mode:
            return True
        self.unit.restart()
        self._settle()
        if self.pending.restart:
            message = (
                f"{self.unit.name} was restarted, and does not read {self._given['path']} last"
            )
            raise HostNotReady(message, f"See systemctl cat {self.unit.name}")
        return True

    def _refuse_while_migrating(self) -> None:
        hypervisor = LibvirtHypervisor(self._given["uri"])
        jobs = {d.name: hypervisor.job(d.id).kind for d in hypervisor.domains()}
        moving = sorted(name for name, kind in jobs.items() if kind != NO_JOB)
        if moving:
            message = f"{self.unit.name} is not restarted: libvirt migrates {', '.join(moving)}"
            raise HostBusy(message, "Run this again when the migrations are over", migrating=moving)

    def _settle(self) -> None:
        """Wait until the new process has stayed for a while; HostNotReady when it does not."""
        clock = self._task.clock
        self.look()
        first = self.process
        end = clock.now() + self._given["settle_seconds"]
        while clock.now() < end:
            clock.sleep(POLL)
            self.look()
            gone = self.process is None or first is None
            if gone or self.process.identity != first.identity or self.active != "active":
                said = "; ".join(self._complaints(first)[-3:])
                remedy = f"See journalctl -u {self.unit.name}"
                raise HostNotReady(f"{self.unit.name} does not stay up. {said}", remedy)

    def _complaints(self, process: planner.Process | None) -> list[str]:
        if process is None:
            return []
        lines = machine.log_lines(self._given["log_path"]) + self.unit.journal(process.pid)
        options = self.drop_in.options if self.drop_in else ()
        return list(dict.fromkeys(planner.complaints(lines, process.pid, options)))

    def result(self) -> dict[str, Any]:
        """What RETURN documents."""
        start = self._start()
        return {
            "unit": self.unit.name,
            "running": self.process is not None,
            "pid": self.process.pid if self.process else 0,
            "started_at": round(self.process.started, 2) if self.process else None,
            "program": planner.script_of(self.process.argv if self.process else ()),
            "config_files": start.reads.files,
            "config_dirs": start.reads.dirs,
            "drop_in_order": start.order,
            "command": start.command,
            "unit_drop_in": self._ours,
            "takes_sighup": self.takes_sighup,
            "pending": {
                "restart": sorted(self.pending.restart),
                "reload": sorted(self.pending.reload),
            },
            "complaints": self._complaints(self.process),
            "msg": self._sentence(),
        }

    @property
    def _ours(self) -> str:
        return f"/etc/systemd/system/{self.unit.name}.d/{self._given['unit_drop_in']}"

    def _start(self) -> planner.Start:
        command = self.unit.command(without=self._ours)
        script = machine.script(planner.program(command))
        argv = self.process.argv if self.process else ()
        return planner.start(argv, command, os.path.dirname(self._given["path"]), script)

    def _sentence(self) -> str:
        if self.process is None:
            return f"{self.unit.name} does not run"
        waits = [
            f"{how} is pending for {', '.join(sorted(options))}"
            for how, options in (
                ("a restart", self.pending.restart),
                ("SIGHUP", self.pending.reload),
            )
            if options
        ]
        said = "; ".join(waits) or "it knows its configuration"
        return f"{self.unit.name} runs ({self.process.pid}); {said}"
