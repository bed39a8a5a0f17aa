# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The physics of live migrations: guests' memory copied over hosts' NICs, in model time.

A pure model. It has no clock: every operation takes `now`, in seconds of any monotonic clock, and
the model's own time runs `time_scale` times faster. Between two events (an iteration ends, a
guest is stopped, a migration begins...) every rate is constant, so the state at any moment is
computed exactly, whatever the intervals at which it is asked for.

Pre-copy goes as in QEMU 10 (migration_iteration_run). It sends memory and looks, every LOOK_S, at
what remains. When that could be sent within the maximum downtime now in force, at the bandwidth of
now, it synchronises the dirty bitmap: what the guest has written since the last time joins what
remains. If that still fits, the guest is stopped and all of it is sent; else the next iteration
begins. So a guest stands still for about as long as it may, however little it writes.
The tests hold the model to the closed form of the literature, which looks at the end of a round
only, where the two agree (a maximum downtime of 0), and to migrations that were measured.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from lab.embedded.bandwidth import Flow, fair_shares

PAGE_BYTES = 4096
THROTTLE_INITIAL = 20
THROTTLE_INCREMENT = 10
THROTTLE_MAXIMUM = 99
# QEMU throttles when, for the second time, more was re-dirtied in a period than half of what was
# sent in it; a period ends at the first synchronisation that comes after this many seconds.
THROTTLE_THRESHOLD = 0.5
THROTTLE_PERIODS = 2
PERIOD_S = 1.0
# How long QEMU sends before it looks again at what remains; at first it must know the bandwidth.
LOOK_S = 0.05
FIRST_LOOK_S = 0.1
# Model seconds; an event this near is due, or rounding could keep it ahead of every `now`.
_NOW = 1e-9
# Relative; where two figures are this close, they are equal.
_ROUNDING = 1e-9


class NotPossibleError(Exception):
    """The operation does not apply to the migration in its present phase."""


class Phase(Enum):
    """Where a migration is; the last three are final."""

    SETUP = "setup"
    PRECOPY = "pre-copy"
    SWITCHOVER = "switch-over"
    ACTIVATION = "activation"
    POSTCOPY = "post-copy"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED})
_SENDING = frozenset({Phase.PRECOPY, Phase.SWITCHOVER, Phase.POSTCOPY})
_CANCELLABLE = frozenset({Phase.SETUP, Phase.PRECOPY})
_ON_DESTINATION = frozenset({Phase.POSTCOPY, Phase.COMPLETED})


@dataclass(frozen=True, slots=True)
class Guest:
    """What a guest's memory does.

    memory_bytes: its size; resident_bytes: how much of it is not zero, and is sent;
    dirty_bytes_s: how fast it writes to pages that it has not written to since the iteration began;
    working_set_bytes: how much it writes to at most; never_converges: it re-dirties all of its
    resident memory in every round, whatever the throttle, and is never fit to be stopped;
    tail_bytes: how much resident memory is sent after the zero pages (None: all of it). Zero pages
    take no time, but what remains counts them until they are passed, so their place matters.
    """

    memory_bytes: int
    resident_bytes: int
    dirty_bytes_s: float
    working_set_bytes: int
    never_converges: bool = False
    tail_bytes: int | None = None

    def __post_init__(self) -> None:
        if not PAGE_BYTES <= self.resident_bytes <= self.memory_bytes:
            raise ValueError(
                f"resident_bytes {self.resident_bytes} not in {PAGE_BYTES}..{self.memory_bytes}"
            )
        if not 0 <= self.working_set_bytes <= self.resident_bytes:
            raise ValueError(
                f"working_set_bytes {self.working_set_bytes} not in 0..{self.resident_bytes}"
            )
        if not 0 <= self.dirty_bytes_s < math.inf:
            raise ValueError(f"dirty_bytes_s {self.dirty_bytes_s} is not a finite rate")
        if self.tail_bytes is not None and not 0 <= self.tail_bytes <= self.resident_bytes:
            raise ValueError(f"tail_bytes {self.tail_bytes} not in 0..{self.resident_bytes}")


@dataclass(frozen=True, slots=True)
class Terms:
    """How one migration is to be done; speed and downtime can be changed while it runs.

    fail_at_percent: the migration fails when this share of the resident memory has been sent
    (bytes sent again count too), unless the guest has been handed over by then.
    """

    max_speed_bytes_s: float = math.inf
    max_downtime_s: float = 0.3
    auto_converge: bool = False
    post_copy: bool = False
    fail_at_percent: float | None = None

    def __post_init__(self) -> None:
        if not self.max_speed_bytes_s > 0:
            raise ValueError(f"max_speed_bytes_s {self.max_speed_bytes_s} is not positive")
        if not 0 <= self.max_downtime_s < math.inf:
            raise ValueError(f"max_downtime_s {self.max_downtime_s} is negative or not finite")


@dataclass(slots=True, eq=False)
class Job:
    """One migration. Read its fields; only the Fabric changes them. Times are model seconds.

    iteration: how often the dirty bitmap was synchronised, as QEMU counts it: at the start, when
    little was left, and once more when the guest was stopped. round_bytes: what was left at the
    last time; rest_bytes: what is left of that; fresh_bytes: what of it was never sent;
    redirtied_bytes: written since.
    """

    id: int
    source: str
    destination: str
    guest: Guest
    terms: Terms
    paused: bool
    started: float
    phase: Phase = Phase.SETUP
    phase_ends: float = math.inf
    iteration: int = 0
    round_started: float = 0.0
    round_bytes: float = 0.0
    rest_bytes: float = 0.0
    fresh_bytes: float = 0.0
    redirtied_bytes: float = 0.0
    sent_bytes: float = 0.0
    rate_bytes_s: float = 0.0
    dirty_bytes_s: float = 0.0
    throttle_percent: int = 0
    stopped: float | None = None
    downtime_s: float | None = None
    finished: float | None = None
    post_copy_wanted: bool = field(default=False, repr=False)
    period_started: float = field(default=0.0, repr=False)
    period_sent_from: float = field(default=0.0, repr=False)
    period_dirtied: float = field(default=0.0, repr=False)
    periods_too_dirty: int = field(default=0, repr=False)

    @property
    def done(self) -> bool:
        """Whether the migration has ended, one way or another."""
        return self.phase in FINAL

    @property
    def guest_on_destination(self) -> bool:
        """Whether the guest is the destination's (running there, if it was running)."""
        return self.phase in _ON_DESTINATION

    @property
    def running_dirty_rate(self) -> float:
        """Bytes/s that the guest dirties now, before the bound of its working set."""
        if self.paused or self.phase is not Phase.PRECOPY:
            return 0.0
        return self.guest.dirty_bytes_s * (1 - self.throttle_percent / 100)

    @property
    def hopeless(self) -> bool:
        """Whether the guest is one that never converges, and runs."""
        return self.guest.never_converges and not self.paused

    @property
    def ceiling_bytes_s(self) -> float:
        """The job's own limit: QEMU applies the maximum speed only while the guest runs here."""
        return self.terms.max_speed_bytes_s if self.phase is Phase.PRECOPY else math.inf

    @property
    def remaining_bytes(self) -> float:
        """What is left to send or, of zero pages, to look at."""
        return self.rest_bytes + self._zeros_ahead

    @property
    def pending_bytes(self) -> float:
        """What a synchronisation of the dirty bitmap now would find left to send.

        A page that is written before it was sent is sent once, so no more can be left than was
        never sent and the working set together.
        """
        outside = 1 - self.guest.working_set_bytes / self.guest.resident_bytes
        most = self.guest.working_set_bytes + self.fresh_bytes * outside
        return max(self.rest_bytes, min(self.rest_bytes + self.redirtied_bytes, most))

    @property
    def fits(self) -> bool:
        """QEMU's criterion: whether what is left can be sent within the maximum downtime."""
        # It must be less; where both are equal, rounding is not to decide.
        most = max(self._threshold_bytes * (1 - _ROUNDING), PAGE_BYTES * (1 + _ROUNDING))
        return not self.hopeless and self.remaining_bytes <= most

    def seconds_to_event(self, clock: float) -> float:
        """Model seconds until this job changes phase or iteration at the rates of now."""
        if self.phase not in _SENDING:
            return max(0.0, self.phase_ends - clock)
        seconds = self.rest_bytes / self.rate_bytes_s
        if self.phase is Phase.PRECOPY:
            seconds = min(seconds, self._look_due(clock) - clock)
        if (fail_at := self._fail_at_bytes()) is not None:
            seconds = min(seconds, max(0.0, fail_at - self.sent_bytes) / self.rate_bytes_s)
        return seconds

    def run(self, seconds: float) -> None:
        """Send and dirty memory for that long, at the rates of now."""
        if self.phase not in _SENDING:
            return
        self._send(min(self.rest_bytes, self.rate_bytes_s * seconds))
        dirtied = self.redirtied_bytes + self.running_dirty_rate * seconds
        self.redirtied_bytes = max(self.redirtied_bytes, min(dirtied, self.guest.working_set_bytes))

    def drain(self) -> None:
        """Send what rounding has left where all has been sent."""
        if self.phase is not Phase.PRECOPY or self.rest_bytes < 1:
            self._send(self.rest_bytes)

    def fails_now(self) -> bool:
        """Whether the point at which the migration is to fail has been reached."""
        fail_at = self._fail_at_bytes()
        return fail_at is not None and self.sent_bytes >= fail_at * (1 - 1e-12)

    @property
    def _threshold_bytes(self) -> float:
        return 0.0 if self.hopeless else self.terms.max_downtime_s * self.rate_bytes_s

    @property
    def _zeros_ahead(self) -> int:
        tail = self.guest.tail_bytes
        if self.phase is not Phase.PRECOPY or tail is None or self.fresh_bytes <= tail:
            return 0
        return self.guest.memory_bytes - self.guest.resident_bytes

    def _look_due(self, clock: float) -> float:
        """When QEMU next looks and finds that what remains would fit."""
        above = self.rest_bytes - self._threshold_bytes
        if (zeros := self._zeros_ahead) > 0:
            above = max(above, min(above + zeros, self.fresh_bytes - self.guest.tail_bytes))
        fits_from = clock + max(0.0, above) / self.rate_bytes_s - self.round_started
        looks = math.ceil(fits_from / LOOK_S + _ROUNDING)
        first = FIRST_LOOK_S if self.iteration == 1 else LOOK_S
        return max(clock, self.round_started + max(first, looks * LOOK_S))

    def _send(self, size: float) -> None:
        """Send so much of what is left: what was never sent comes first."""
        self.sent_bytes += size
        self.rest_bytes -= size
        self.fresh_bytes = max(0.0, self.fresh_bytes - size)

    def _fail_at_bytes(self) -> float | None:
        if self.terms.fail_at_percent is None or self.phase not in (
            Phase.PRECOPY,
            Phase.SWITCHOVER,
        ):
            return None
        return self.terms.fail_at_percent / 100 * self.guest.resident_bytes


class Fabric:
    """Hosts' NICs and the migrations over them.

    nics: bytes/s of each host, each way; time_scale: model seconds per second of `now`;
    setup_s: model seconds before the first byte; activation_s: model seconds that the guest stays
    stopped after its last byte has arrived, which is downtime too (30 to 60 ms were measured).
    """

    def __init__(
        self,
        nics: Mapping[str, float],
        *,
        time_scale: float = 1.0,
        setup_s: float = 0.05,
        activation_s: float = 0.04,
    ) -> None:
        if not 0 < time_scale < math.inf:
            raise ValueError(f"time_scale {time_scale} is not positive")
        for host, speed in nics.items():
            if not 0 < speed < math.inf:
                raise ValueError(f"NIC of {host}: {speed} bytes/s is not positive")
        self.time_scale = time_scale
        self.setup_s = setup_s
        self.activation_s = activation_s
        self.clock = 0.0
        self._nics = dict(nics)
        self._links = {(host, way): nics[host] for host in nics for way in ("out", "in")}
        self._now: float | None = None
        self._jobs: list[Job] = []
        self._ids = itertools.count(1)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The migrations that have not ended, oldest first."""
        return tuple(self._jobs)

    def advance(self, now: float) -> None:
        """Bring the model to `now`. Raises ValueError when `now` is before the last one."""
        if self._now is None:
            self._now = now
        if now < self._now:
            raise ValueError(f"time goes back from {self._now} to {now}")
        target = self.clock + (now - self._now) * self.time_scale
        self._now = now
        for job, at in self._events(target):
            self._run(at - self.clock, at)
            self._step(job)
            self._share()
        self._run(max(0.0, target - self.clock), max(target, self.clock))

    def next_event(self) -> float | None:
        """The `now` at which a migration next changes by itself, None when none is running."""
        if self._now is None or not self._jobs:
            return None
        seconds = min(job.seconds_to_event(self.clock) for job in self._jobs)
        return self._now + seconds / self.time_scale

    def begin(
        self,
        now: float,
        source: str,
        destination: str,
        guest: Guest,
        terms: Terms | None = None,
        *,
        paused: bool = False,
    ) -> Job:
        """Start a migration. Raises KeyError for an unknown host, ValueError for the same host."""
        for host in (source, destination):
            if host not in self._nics:
                raise KeyError(f"no NIC is known for host {host}")
        if source == destination:
            raise ValueError(f"migration from {source} to itself")
        self.advance(now)
        job = Job(
            id=next(self._ids),
            source=source,
            destination=destination,
            guest=guest,
            terms=terms or Terms(),
            paused=paused,
            started=self.clock,
            phase_ends=self.clock + self.setup_s,
        )
        self._jobs.append(job)
        self._share()
        return job

    def set_max_speed(self, now: float, job: Job, bytes_s: float) -> None:
        """Change the job's own limit on its bandwidth (math.inf: none)."""
        self._change(now, job, terms=replace(job.terms, max_speed_bytes_s=bytes_s))

    def set_max_downtime(self, now: float, job: Job, seconds: float) -> None:
        """Change for how long the guest may be stopped; it counts from QEMU's next look."""
        self._change(now, job, terms=replace(job.terms, max_downtime_s=seconds))

    def set_guest(self, now: float, job: Job, guest: Guest) -> None:
        """Change how the guest behaves; of its sizes only the working set matters by now."""
        self._change(now, job, guest=guest)

    def set_paused(self, now: float, job: Job, paused: bool) -> None:
        """Stop or resume the guest on its source. A stopped guest dirties nothing.

        Raises NotPossibleError once the guest has been handed over.
        """
        self.advance(now)
        if job.phase not in _CANCELLABLE:
            raise NotPossibleError(f"the guest cannot be paused in {job.phase.value}")
        job.paused = paused
        job.stopped = self.clock if paused else None

    def start_post_copy(self, now: float, job: Job) -> None:
        """Run the guest on the destination now, and let it pull the rest of its memory.

        Raises NotPossibleError when the migration was not begun with Terms.post_copy, or is over.
        """
        self.advance(now)
        if not job.terms.post_copy:
            raise NotPossibleError("the migration was not started with post-copy permitted")
        if job.done:
            raise NotPossibleError(f"the migration is {job.phase.value}")
        job.post_copy_wanted = True
        if job.phase is Phase.PRECOPY:
            self._enter_post_copy(job)
        self._share()

    def abort(self, now: float, job: Job) -> None:
        """Cancel the migration; the guest stays where it is, on the source.

        Raises NotPossibleError when the guest is being handed over or has been.
        """
        self.advance(now)
        if job.phase not in _CANCELLABLE:
            raise NotPossibleError(f"the migration cannot be aborted in {job.phase.value}")
        self._finish(job, Phase.CANCELLED)
        self._share()

    def stats(self, job: Job) -> dict[str, int]:
        """What libvirt's virDomainGetJobStats reports, with its keys and units.

        Bytes, milliseconds, pages/s, as of the last call; without `type`, libvirt's own view.
        """
        end = self.clock if job.finished is None else job.finished
        elapsed = end - job.started
        total = job.guest.memory_bytes
        remaining = round(total if job.phase is Phase.SETUP else job.remaining_bytes)
        figures = {
            "time_elapsed": _ms(elapsed),
            "setup_time": _ms(min(elapsed, self.setup_s)),
            "downtime": _ms(self._downtime(job)),
            "memory_constant": (total - job.guest.resident_bytes) // PAGE_BYTES,
            "memory_normal": round(job.sent_bytes / PAGE_BYTES),
            "memory_normal_bytes": round(job.sent_bytes),
            "memory_bps": round(job.rate_bytes_s),
            "memory_dirty_rate": round(job.dirty_bytes_s / PAGE_BYTES),
            "memory_page_size": PAGE_BYTES,
            "memory_iteration": job.iteration,
            "memory_postcopy_requests": 0,
            "disk_total": 0,
            "disk_processed": 0,
            "disk_remaining": 0,
            "disk_bps": 0,
        }
        for kind in ("memory", "data"):
            figures[f"{kind}_total"] = total
            figures[f"{kind}_processed"] = round(job.sent_bytes)
            figures[f"{kind}_remaining"] = remaining
        if job.throttle_percent:
            figures["auto_converge_throttle"] = job.throttle_percent
        return figures

    def _events(self, target: float) -> Iterator[tuple[Job, float]]:
        """Each event until `target`, in order; the caller advances to it before the next."""
        while self._jobs:
            job = min(self._jobs, key=lambda job: job.seconds_to_event(self.clock))
            at = self.clock + job.seconds_to_event(self.clock)
            if at > target + _NOW:
                return
            yield job, at

    def _run(self, seconds: float, until: float) -> None:
        for job in self._jobs:
            job.run(seconds)
        self.clock = until

    def _share(self) -> None:
        """Give each job its bandwidth of now."""
        sending = [job for job in self._jobs if job.phase in _SENDING]
        for job in self._jobs:
            job.rate_bytes_s = 0.0
        flows = [
            Flow(((job.source, "out"), (job.destination, "in")), job.ceiling_bytes_s)
            for job in sending
        ]
        for job, rate in zip(sending, fair_shares(flows, self._links), strict=True):
            job.rate_bytes_s = rate

    def _change(self, now: float, job: Job, **fields: Guest | Terms) -> None:
        self.advance(now)
        for name, value in fields.items():
            setattr(job, name, value)
        self._share()

    def _step(self, job: Job) -> None:
        """Carry out the event that is due for this job."""
        if job.fails_now():
            self._finish(job, Phase.FAILED)
            return
        job.drain()
        if job.phase is Phase.SETUP:
            job.phase = Phase.PRECOPY
            job.fresh_bytes = float(job.guest.resident_bytes)
            job.period_started = self.clock
            self._iterate(job, job.fresh_bytes)
            if job.post_copy_wanted:
                self._enter_post_copy(job)
        elif job.phase is Phase.PRECOPY:
            self._synchronise(job)
        elif job.phase is Phase.SWITCHOVER:
            job.phase = Phase.ACTIVATION
            job.phase_ends = self.clock + self.activation_s
        elif job.phase is Phase.ACTIVATION:
            job.downtime_s = self.clock - (job.stopped if job.stopped is not None else self.clock)
            self._finish(job, Phase.COMPLETED)
        elif job.phase is Phase.POSTCOPY:
            self._finish(job, Phase.COMPLETED)

    def _iterate(self, job: Job, left: float) -> None:
        job.iteration += 1
        job.round_started = self.clock
        job.round_bytes = job.rest_bytes = left
        job.redirtied_bytes = 0.0

    def _synchronise(self, job: Job) -> None:
        """Learn what was re-dirtied; stop the guest if what is left fits, else go on sending."""
        left = float(job.guest.resident_bytes) if job.hopeless else job.pending_bytes
        job.period_dirtied += left - job.rest_bytes
        self._close_period(job)
        self._iterate(job, left)
        if not job.fits:
            return
        job.phase = Phase.SWITCHOVER
        job.iteration += 1
        if job.stopped is None:
            job.stopped = self.clock

    def _close_period(self, job: Job) -> None:
        """Measure the dirty rate over a period that is long enough, and throttle by it."""
        seconds = self.clock - job.period_started
        if seconds < PERIOD_S:
            return
        job.dirty_bytes_s = job.period_dirtied / seconds
        sent = job.sent_bytes - job.period_sent_from
        if job.period_dirtied > THROTTLE_THRESHOLD * sent:
            job.periods_too_dirty += 1
        if job.terms.auto_converge and job.periods_too_dirty >= THROTTLE_PERIODS:
            step = THROTTLE_INCREMENT if job.throttle_percent else THROTTLE_INITIAL
            job.throttle_percent = min(THROTTLE_MAXIMUM, job.throttle_percent + step)
            job.periods_too_dirty = 0
        job.period_started, job.period_sent_from = self.clock, job.sent_bytes
        job.period_dirtied = 0.0

    def _enter_post_copy(self, job: Job) -> None:
        """Hand the guest over; what it re-dirtied must be pulled too, but no page twice."""
        left = job.pending_bytes
        job.phase = Phase.POSTCOPY
        job.rest_bytes, job.redirtied_bytes = left, 0.0
        job.downtime_s = self.activation_s
        job.throttle_percent = 0

    def _finish(self, job: Job, phase: Phase) -> None:
        job.phase = phase
        job.finished = self.clock
        job.rate_bytes_s = 0.0
        self._jobs.remove(job)

    def _downtime(self, job: Job) -> float:
        """The downtime there was, or as QEMU does, the one to expect of what was left last."""
        if job.downtime_s is not None:
            return job.downtime_s
        if job.iteration < 2 or not job.rate_bytes_s:
            return job.terms.max_downtime_s
        return job.round_bytes / job.rate_bytes_s


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
