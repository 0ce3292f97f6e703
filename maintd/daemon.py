"""The daemon: one inbox, read by the main thread, which alone owns config, schedule and what is pending."""

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any
from zoneinfo import ZoneInfo

from maintd import __version__, answers, capabilities, contexts, durable, holders, lock, reloading, story
from maintd import config as configuration
from maintd.agenda import Agenda
from maintd.client import SOCKET
from maintd.clock import Clock
from maintd.config import Config
from maintd.control import Control, Request
from maintd.errors import Problem
from maintd.events import SCHEMA, Event
from maintd.job import Job
from maintd.lanes import Done, Lanes
from maintd.log import Envelope, Log, silence_stdlib_logging, to_descriptor
from maintd.ping import Pings
from maintd.runner import Result, Run, Runner
from maintd.schedule import Schedule
from maintd.state import ALL_JOBS, State
from maintd.steps import Lane, Outcome
from maintd.timing import Timing
from maintd.triggers import Asked, Cause, Due, Grown, Scheduled, Settling
from maintd.watch import Watch

TICK = 1.0
LOCK_PATIENCE = 3.0
STOP_PATIENCE = 1.4


@dataclass(frozen=True)
class Reload:
    """SIGHUP."""


@dataclass(frozen=True)
class Stop:
    """The daemon is to end, for this reason."""

    reason: str


Item = Due | Done | Reload | Stop | Request


@dataclass
class Last:
    """How the last run of a job that had something to do went."""

    outcome: Outcome
    at: datetime
    msg: str


def run(config_path: str) -> int:
    """Runs until told to stop; returns the exit code. Raises ConfigError, Locked, or OSError before it has begun."""
    config = configuration.load(config_path)
    lock_fd = lock.take(config.settings.state_dir, LOCK_PATIENCE)
    try:
        return Daemon(config_path, config, lock_fd).run()
    finally:
        os.close(lock_fd)


class Daemon:
    """Its life reads as its methods: start, the main loop, stop."""

    def __init__(self, config_path: str, config: Config, lock_fd: int) -> None:
        self.config_path = config_path
        self.config = config
        self.clock = Clock()
        self.started = datetime.now(UTC)
        self.inbox: SimpleQueue[Item] = SimpleQueue()
        self.log = Log(to_descriptor(1))
        self.state = State(config.settings.state_dir)
        self.lanes = Lanes(Runner(self.log, lock_fd), self.inbox.put, self._refreshed)
        self.watch = Watch(self.inbox.put)
        self.schedule = self.new_schedule()
        self.pings = Pings(self.emit)
        self.agenda = Agenda()
        self.pauses = self.state.pauses(self.started)
        self.missed: dict[str, Due] = {}
        self.last: dict[str, Last] = {}
        self.after_jump: set[str] = set()
        self.parent = os.getppid() if "SUPERVISOR_ENABLED" in os.environ else None
        self.control: Control | None = None
        self.asked: dict[str, Callable[[Result], None]] = {}

    def emit(self, event: Event, job: str = "") -> None:
        self.log.emit(event, Envelope(job))

    # Life

    def run(self) -> int:
        self._start()
        stop = self._loop()
        self._end(stop.reason)
        return 0 if not stop.reason.startswith("failed") else 1

    def _start(self) -> None:
        silence_stdlib_logging()
        holders.ignore_lease_breaks()
        signal.signal(signal.SIGTERM, lambda *_: self.inbox.put(Stop("SIGTERM")))
        signal.signal(signal.SIGINT, lambda *_: self.inbox.put(Stop("SIGINT")))
        signal.signal(signal.SIGHUP, lambda *_: self.inbox.put(Reload()))
        durable.private_directory(self.config.settings.runtime_dir)
        self.control = Control(os.path.join(self.config.settings.runtime_dir, SOCKET), self.inbox.put)
        self.control.start()
        self.emit(
            story.DaemonStarted(
                version=__version__,
                pid=os.getpid(),
                host=socket.gethostname(),
                schema=SCHEMA,
                config=self.config_path,
                jobs=len(self.config.jobs),
                missing=", ".join(capabilities.missing()) or None,
            )
        )
        if self.state.reset:
            self.emit(self.state.reset)
        self.report(self.config.warnings)
        self.lanes.start()
        for name in self.config.jobs:
            self.install(name)
            self.recover(name)
        self.watch.start()
        self.schedule.start()

    def _loop(self) -> Stop:
        next_tick = time.monotonic() + TICK
        while True:
            try:
                item = self.inbox.get(timeout=max(next_tick - time.monotonic(), 0))
            except Empty:
                next_tick = time.monotonic() + TICK
                self._note_clock()
                stop = self._tick()
                if stop:
                    return stop
                continue
            if isinstance(item, Stop):
                return item
            self._handle(item)

    def _end(self, reason: str) -> None:
        self.schedule.stop()
        self.watch.stop()
        clean = self.lanes.stop(STOP_PATIENCE)
        if self.control:
            self.control.stop()
        self.state.close()
        uptime = (datetime.now(UTC) - self.started).total_seconds()
        if not clean:
            reason += "; a step was cut off and is recovered at the next start"
        self.emit(story.DaemonStopped(reason=reason, uptime_s=round(uptime, 1)))
        self.log.close(0.4)

    def _handle(self, item: Due | Done | Reload | Request) -> None:
        match item:
            case Due():
                self.due(item)
            case Done():
                self._done(item)
            case Reload():
                reloading.reload(self, force=False)
            case Request():
                answers.answer(self, item)

    # Once a second

    def _tick(self) -> Stop | None:
        now = time.monotonic()
        for due in self.agenda.ripe(now):
            self.due(due)
        self._end_pauses(datetime.now(UTC))
        if self.parent is not None and os.getppid() != self.parent:
            return Stop("supervisord has gone, and a new one will start another maintd")
        dead = [name for name, alive in self._parts().items() if not alive]
        if dead:
            reason = f"the {dead[0]} thread has died"
            advice = "supervisord starts maintd again; please report it"
            event = story.DaemonFailed(tried="go on", error="DeadThread", error_msg=reason, advice=advice)
            self.emit(event)
            return Stop(f"failed: {reason}")
        return None

    def _parts(self) -> dict[str, bool]:
        return {
            "schedule": self.schedule.alive,
            "watch": self.watch.alive,
            "lanes": self.lanes.alive,
            "log": self.log.alive,
            "control": self.control is not None and self.control.alive,
        }

    def _note_clock(self) -> None:
        jump = self.clock.jump()
        if jump:
            self.emit(story.ClockJumped(by_s=round(jump, 1)))
            self.after_jump = set(self.config.jobs)
            self.schedule.reanchor()
        self.clock.accept()

    def _refreshed(self, run: Run) -> Run:
        """A run at its start: planned for now, and without trust in a clock that has just jumped. Called by lanes."""
        jumped = bool(self.clock.jump()) or run.name in self.after_jump
        return replace(run, ctx=replace(run.ctx, now=datetime.now(UTC), clock_jumped=jumped))

    # Jobs

    def new_schedule(self) -> Schedule:
        return Schedule(self.inbox.put, ZoneInfo(self.config.settings.timezone), socket.gethostname())

    def install(self, name: str) -> None:
        """Puts a job, new or changed, under its triggers."""
        job = self.config.jobs[name]
        if job.enabled:
            timing = Timing(job.cron, job.every, job.spread, job.window)
            self.schedule.set(name, timing, self.state.last_success(name))
        else:
            self.schedule.remove(name)
        watched = job.watched() if job.enabled else None
        if watched is None:
            self.watch.remove(name)
        else:
            self.watch.set(name, watched)

    def uninstall(self, name: str) -> None:
        self.schedule.remove(name)
        self.watch.remove(name)
        self.agenda.forget(name)

    def recover(self, name: str) -> None:
        """What an earlier maintd had begun is completed, and what was missed while none was running is made up for."""
        job = self.config.jobs[name]
        if not job.enabled or not job.due_from_disk or self.is_paused(name):
            return
        slot = self._missed_slot(job)
        cause: Cause = Scheduled(slot, catch_up=True) if slot else Settling()
        self._queue(Due(name, cause), Lane.HEAVY, frozenset(job.lanes))

    def _missed_slot(self, job: Job) -> datetime | None:
        now = datetime.now(UTC)
        slots = []
        if job.cron:
            slots.append(job.cron.previous(now, ZoneInfo(self.config.settings.timezone)))
        if job.every:
            slots.append(now - job.every)
        return max(slots, default=None)

    def due(self, due: Due) -> None:
        job = self.config.jobs.get(due.job)
        if job is None or not job.enabled:
            return
        if self.is_paused(due.job):
            if isinstance(due.cause, Grown):
                self.watch.settled(due.job, due.cause.paths)
            elif isinstance(due.cause, Scheduled):
                self.missed[due.job] = due
            return
        if Lane.ROTATE not in job.lanes:
            self._queue(due, Lane.HEAVY, frozenset(job.lanes))
        elif isinstance(due.cause, Settling):
            self._queue(due, Lane.HEAVY, frozenset({Lane.HEAVY}))
        else:
            self._queue(due, Lane.ROTATE, frozenset({Lane.ROTATE}))

    def _queue(self, due: Due, lane: Lane, lanes: frozenset[Lane]) -> None:
        if self.agenda.begin(due):
            self.lanes.add(lane, self.run_of(due.job, due.cause, lanes))

    def run_of(self, name: str, cause: Cause, lanes: frozenset[Lane], **options: Any) -> Run:
        job = self.config.jobs[name]
        ctx = contexts.context(self.config, name, datetime.now(UTC), cause, lanes=lanes)
        return Run(name=name, job=job, ctx=ctx, observe=self.config.settings.observe, **options)

    def _done(self, done: Done) -> None:
        run, result = done.run, done.result
        if run.id in self.asked:
            self.asked.pop(run.id)(result)
        due = Due(run.name, run.ctx.cause)
        again = None if isinstance(due.cause, Asked) else self.agenda.end(due)
        if result.planned or result.failed or result.waiting:
            self.last[run.name] = Last(result.outcome, datetime.now(UTC), _summary(result))
        if run.name not in self.config.jobs:
            return
        if isinstance(due.cause, Grown):
            self.watch.settled(run.name, due.cause.paths)
        self._follow_up(due, run, result)
        if again:
            self.due(again)

    def _follow_up(self, due: Due, run: Run, result: Result) -> None:
        """Notes a success, settles what was set aside, tries again what failed or waits."""
        if Lane.HEAVY in run.ctx.lanes and run.ctx.clock_jumped:
            self.after_jump.discard(run.name)
        if result.outcome is not Outcome.FAILURE and isinstance(due.cause, (Scheduled, Asked)):
            self.state.record_success(run.name, run.ctx.now)
        if run.job.ping and not result.waiting and (result.planned or isinstance(due.cause, Scheduled)):
            failed = result.outcome is Outcome.FAILURE
            self.pings.send(run.job.ping.rstrip("/") + "/fail" if failed else run.job.ping)
        settles = run.ctx.lanes == {Lane.ROTATE}
        if settles and (result.done or isinstance(due.cause, Scheduled)):
            self.due(Due(run.name, Settling()))
        if result.failed or result.waiting:
            not_rotated = result.failed and Lane.ROTATE in run.ctx.lanes and isinstance(due.cause, Scheduled)
            cause = due.cause if settles or not_rotated or not run.job.due_from_disk else Settling()
            if not isinstance(cause, (Asked, Grown)):
                self.agenda.retry(Due(run.name, cause), time.monotonic())
        else:
            self.agenda.went_well(due)

    def report(self, problems: tuple[Problem, ...]) -> None:
        for problem in problems[: story.MOST_PROBLEMS]:
            event = story.ConfigProblem(target=problem.file, problem=str(problem))
            self.log.emit(event, Envelope(level=problem.severity))

    # Pauses

    def is_paused(self, name: str) -> bool:
        return name in self.pauses or ALL_JOBS in self.pauses

    def _end_pauses(self, now: datetime) -> None:
        over = [name for name, until in self.pauses.items() if until is not None and until <= now]
        if over:
            self.pauses = self.state.pauses(now)
        for name in over:
            self.emit(story.JobResumed(), job="" if name == ALL_JOBS else name)
            self.go_on(name)

    def go_on(self, paused: str) -> None:
        """What a job, or every job, missed in its pause is made up for, unless another pause still holds it."""
        for name in self.config.jobs if paused == ALL_JOBS else self.config.jobs.keys() & {paused}:
            if self.is_paused(name):
                continue
            self.recover(name)
            missed = self.missed.pop(name, None)
            if missed and not self.config.jobs[name].due_from_disk:
                self.due(missed)
            self.watch.remove(name)  # what had grown is reported anew, without waiting for it to be looked at again
            watched = self.config.jobs[name].watched() if self.config.jobs[name].enabled else None
            if watched:
                self.watch.set(name, watched)


def _summary(result: Result) -> str:
    counts = [(result.failed, "failed"), (result.waiting, "put off"), (result.omitted, "left out")]
    return ", ".join([f"{result.done} done", *(f"{count} {word}" for count, word in counts if count)])
