# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of the same name step by step, and says meanwhile how far the drain is.

Nothing is cleaned up here: on Ctrl-C Ansible ends this process at once. All state that matters
lives in Nova, so no new work is started and the next run adopts what is in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.lowtide.compute.plugins.module_utils._gateways.clock import SystemClock
from ansible_collections.lowtide.compute.plugins.plugin_utils.elsewhere import Elsewhere
from ansible_collections.lowtide.compute.plugins.plugin_utils.lookout import Lookout

MODULE = "lowtide.compute.nova_drain"
#: What the module says to this plugin and to nobody else.
PRIVATE = ("state", "wanted", "invocation", "progress", "detail", "lines")
#: How long a step of the module takes, unless it is told otherwise.
STEP_SECONDS = 10.0
#: How long it takes at most, and the pause after it, where a probe sees whether guests answer.
PROBE_SECONDS, PROBE_PAUSE = 3.0, 2.0
#: How often in a row, and how many seconds apart, a host that cannot be reached is tried again.
RETRIES = 10
RETRY_DELAY = 15.0

display = Display()


class Reporter:
    """Prints what the steps say, as much of it as ``progress`` asks for.

    Lines go to stderr: a callback that writes JSON to stdout stays readable by machines.
    """

    def __init__(self, progress: str, interval: float, now: float) -> None:
        self.progress = progress
        self.interval = interval
        self.last_beat = now

    def lines(self, step: Mapping[str, Any], now: float) -> list[str]:
        """The lines that are due after a step at ``now`` (epoch seconds)."""
        if self.progress == "none":
            return []
        # The end is told by `lines`, with what came of it.
        lines = [event["line"] for event in step.get("events", ()) if event["kind"] != "done"]
        if step.get("progress") and not step.get("done") and now - self.last_beat >= self.interval:
            self.last_beat = now
            lines.append(step["progress"])
            if self.progress == "detail":
                lines += step.get("detail", ())
        return [*lines, *step.get("table", ()), *step.get("lines", ())]

    def tell(self, lines: Iterable[str]) -> None:
        for line in lines:
            display.display(str(line), stderr=True)


class ActionModule(ActionBase):
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        self._supports_async = False
        result = super().run(tmp, task_vars)
        del tmp
        clock = SystemClock()
        elsewhere = Elsewhere(self, task_vars or {})
        try:
            return result | self._drain(task_vars, clock, elsewhere)
        finally:
            elsewhere.close()

    def _drain(
        self, task_vars: dict | None, clock: SystemClock, elsewhere: Elsewhere
    ) -> dict[str, Any]:
        """Step until the module is done; between two steps, ask who it cannot reach."""
        lookout = None
        reporter = Reporter(self._progress(), self._interval(), clock.now())
        state: Mapping[str, Any] = {}
        events: list[Any] = []
        changed = False
        answers: Mapping[str, Any] = {}
        while True:
            step = self._step(state, answers, task_vars, clock, reporter)
            reporter.tell(reporter.lines(step, clock.now()))
            events += step.get("events", [])
            changed = changed or bool(step.get("changed"))
            state = step.get("state") or {}
            if step.get("failed") or step.get("done", True) or not self._waits():
                break
            # The module has checked the options by now.
            lookout = lookout or Lookout(elsewhere, self._task.args, clock, display.warning)
            wanted = step.get("wanted", ())
            if self._task.args.get("probe") and not wanted:
                # A step is then a single look, and the next one need not follow at once.
                clock.sleep(PROBE_PAUSE)
            answers = lookout.answers(wanted)
        result = {key: value for key, value in step.items() if key not in PRIVATE}
        return result | {"changed": changed, "events": events}

    def _step(
        self,
        state: Mapping,
        answers: Mapping,
        task_vars: dict | None,
        clock: SystemClock,
        reporter: Reporter,
    ) -> dict[str, Any]:
        """One bounded step of the module. A lost connection to ``api_host`` is no reason to stop
        before patience is spent: the drain goes on in Nova meanwhile."""
        arguments = {**self._task.args, "wait": False, "state": state}
        if answers:
            arguments["answers"] = answers
        if not self._waits():
            # There is no next step in which to say what they answered.
            arguments.pop("hypervisors", None)
        # A heartbeat can only come between two steps, and so can the probe's word.
        longest = PROBE_SECONDS if self._task.args.get("probe") else STEP_SECONDS
        if min(reporter.interval, longest) < STEP_SECONDS:
            arguments.setdefault("step_seconds", min(reporter.interval, longest))
        for attempt in range(1, RETRIES + 1):
            try:
                return self._execute_module(MODULE, module_args=arguments, task_vars=task_vars)
            except AnsibleConnectionFailure as error:
                if not state or attempt == RETRIES:
                    raise
                reporter.tell([f"connection lost, trying again in {RETRY_DELAY:.0f}s: {error}"])
                clock.sleep(RETRY_DELAY)
        raise AssertionError("the last attempt returns or raises")

    def _waits(self) -> bool:
        return boolean(self._task.args.get("wait", True), strict=False)

    def _progress(self) -> str:
        """The option, which the module checks; ``-v`` makes details of a summary."""
        wanted = str(self._task.args.get("progress") or "summary")
        return "detail" if wanted == "summary" and display.verbosity else wanted

    def _interval(self) -> float:
        """Seconds; what is no number is left to the module, which names the option."""
        try:
            return float(self._task.args.get("progress_interval", 30))
        except (TypeError, ValueError):
            return 30.0
