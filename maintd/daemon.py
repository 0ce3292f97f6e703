"""The daemon: one inbox, read by the main thread, which alone owns config, schedule and what is pending."""

import contextlib
import gc
import os
import signal
import socket
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from zoneinfo import ZoneInfo

from maintd import __version__, answers, capabilities, contexts, durable, holders, lock, reloading, story
from maintd import config as configuration
from maintd.agenda import Agenda
from maintd.client import SOCKET
from maintd.clock import Clock
from maintd.config import Config
from maintd.control import Control, Request
from maintd.errors import Problem, Trouble, trouble
from maintd.events import SCHEMA, Event
from maintd.lanes import Done, Lanes, Wanted
from maintd.log import Envelope, Log, silence_stdlib_logging, to_descriptor
from maintd.pauses import Pauses
from maintd.ping import Pings, failing
from maintd.runner import Result, Run, Runner
from maintd.schedule import Schedule
from maintd.state import ALL_JOBS, State
from maintd.steps import Lane, Outcome
from maintd.timing import Timing
from maintd.triggers import Asked, Due, Grown, Scheduled, Settling
from maintd.watch import Watch

TICK = 1.0
LOCK_PATIENCE = 3.0
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
"""The last success of a job that reads off the disk what is due, if none is remembered: so it is asked at the start."""
STOP_PATIENCE = 1.2


@dataclass(frozen=True)
class Reload:
    """SIGHUP."""


@dataclass(frozen=True)
class Stop:
    """The daemon is to end, for this reason."""

    reason: str
    failed: bool = False


Item = Due | Done | Reload | Stop | Request


@dataclass
class Last:
    """How the last run of a job that had something to do went."""

    outcome: Outcome
    at: datetime
    msg: str


def run(config_path: str) -> int:
    """Runs until told to stop; returns the exit code. Raises ConfigError, Locked, or OSError before it has begun."""
    gc.enable()
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
        self.state = State(config.settings.state_dir, self.emit)
        self.lanes = Lanes(Runner(self.log, lock_fd), self._begin, self.inbox.put)
        self.watch = Watch(self.inbox.put)
        self.schedule = self.new_schedule()
        self.pings = Pings(self.emit)
        self.agenda = Agenda()
        self.pauses = Pauses(self.state, self.started)
        self.last: dict[str, Last] = {}
        self.after_jump: set[str] = set()
        self.parent = os.getppid() if "SUPERVISOR_ENABLED" in os.environ else None
        self.control: Control | None = None

    def emit(self, event: Event, job: str = "") -> None:
        self.log.emit(event, Envelope(job))

    # Life

    def run(self) -> int:
        self._start()
        try:
            stop = self._loop()
        except Exception as error:  # noqa: BLE001 - whatever it is: said as an event, and the end in order
            stop = self._failed(trouble(error))
        self._end(stop.reason)
        return 1 if stop.failed else 0

    def _failed(self, found: Trouble) -> Stop:
        advice = "supervisord starts maintd again; please report it"
        self.emit(story.DaemonFailed(tried="go on", error=found.error, error_msg=found.error_msg, advice=advice))
        return Stop(f"failed: {found.error_msg}", failed=True)

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
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + TICK
                self._note_clock()
                stop = self._tick()
                if stop:
                    return stop
            with contextlib.suppress(Empty):
                item = self.inbox.get(timeout=max(next_tick - time.monotonic(), 0))
                if isinstance(item, Stop):
                    return item
                self._handle(item)

    def _end(self, reason: str) -> None:
        clean = self.lanes.stop(STOP_PATIENCE)
        self.schedule.stop()
        self.watch.stop()
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
            return self._failed(Trouble("DeadThread", f"the {dead[0]} thread has died", ""))
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
        if self.clock.jump():
            self.after_jump = set(self.config.jobs)  # before the jump is accepted: a run may begin in between
            self.schedule.reanchor()
        jump = self.clock.accept()
        if jump:
            self.emit(story.ClockJumped(by_s=round(jump, 1)))

    # Jobs

    def new_schedule(self) -> Schedule:
        return Schedule(self.inbox.put, ZoneInfo(self.config.settings.timezone), socket.gethostname())

    def install(self, name: str) -> None:
        """Puts a job, new or changed, under its triggers."""
        job = self.config.jobs[name]
        if job.enabled:
            timing = Timing(job.cron, job.every, job.spread, job.window)
            self.schedule.set(name, timing, self.state.last_success(name) or (LONG_AGO if job.due_from_disk else None))
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
        """What an earlier maintd had begun is completed. What was missed since comes from the schedule."""
        job = self.config.jobs[name]
        if job.enabled and job.due_from_disk:
            self._queue(Due(name, Settling()), Lane.HEAVY, frozenset(job.lanes))

    def due(self, due: Due) -> None:
        job = self.config.jobs.get(due.job)
        if job is None or not job.enabled:
            return
        if self.pauses.hold(due.job):
            if isinstance(due.cause, Grown):
                self.watch.settled(due.job, due.cause.paths)
            self.pauses.miss(due)
            return
        if Lane.ROTATE not in job.lanes or isinstance(due.cause, Settling):
            self._queue(due, Lane.HEAVY, frozenset(job.lanes))
        else:
            self._queue(due, Lane.ROTATE, frozenset({Lane.ROTATE}))

    def _queue(self, due: Due, lane: Lane, lanes: frozenset[Lane]) -> None:
        if self.agenda.begin(due):
            self.lanes.add(lane, Wanted(due, lanes))

    def _begin(self, wanted: Wanted) -> Run | None:
        """Makes a run when its turn has come, from the config as it is then; called in the lane's thread."""
        name, cause = wanted.due.job, wanted.due.cause
        config = self.config
        job = config.jobs.get(name)
        if job is None or (not isinstance(cause, Asked) and (not job.enabled or self.pauses.hold(name))):
            return None
        ctx = contexts.context(config, name, datetime.now(UTC), cause, lanes=wanted.lanes)
        jumped = bool(self.clock.jump()) or name in self.after_jump
        return Run(
            name=name,
            job=job,
            ctx=replace(ctx, clock_jumped=jumped),
            observe=config.settings.observe,
            listener=wanted.listener,
            on_step=wanted.on_step,
            on_progress=wanted.on_progress,
            is_void=lambda: (
                not isinstance(cause, Asked) and (self.config.jobs.get(name) != job or self.pauses.hold(name))
            ),
        )

    def _done(self, done: Done) -> None:
        due, run, result = done.wanted.due, done.run, done.result
        again = None if isinstance(due.cause, Asked) else self.agenda.end(due)
        if isinstance(due.cause, Grown):
            self.watch.settled(due.job, due.cause.paths)
        if run is None or result.is_void:
            self.pauses.miss(due)
        elif due.job in self.config.jobs:
            if result.planned or result.failed or result.waiting:
                self.last[run.name] = Last(result.outcome, datetime.now(UTC), _summary(result))
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
            self.pings.send(failing(run.job.ping) if failed else run.job.ping)
        settles = run.ctx.lanes == {Lane.ROTATE}
        if settles and (result.planned or isinstance(due.cause, Scheduled)):
            self.due(Due(run.name, Settling()))
        if result.failed or result.waiting:
            cause = due.cause if isinstance(due.cause, Scheduled) else Settling()
            if run.job.due_from_disk or not isinstance(due.cause, Asked):
                self.agenda.retry(Due(run.name, cause), time.monotonic())
        else:
            self.agenda.went_well(due)

    def report(self, problems: tuple[Problem, ...]) -> None:
        for problem in problems[: story.MOST_PROBLEMS]:
            event = story.ConfigProblem(target=problem.file, problem=str(problem))
            self.log.emit(event, Envelope(level=problem.severity))

    # Pauses

    def _end_pauses(self, now: datetime) -> None:
        for name in self.pauses.run_out(now):
            self.emit(story.JobResumed(), job="" if name == ALL_JOBS else name)
            self.go_on(name)

    def go_on(self, paused: str) -> None:
        """What a job, or every job, missed in its pause is made up for, unless another pause still holds it."""
        for name in self.config.jobs if paused == ALL_JOBS else self.config.jobs.keys() & {paused}:
            if self.pauses.hold(name):
                continue
            self.recover(name)
            missed = self.pauses.missed(name)
            if missed:
                self.due(missed)
            self.watch.remove(name)  # what had grown is reported anew, without waiting for it to be looked at again
            watched = self.config.jobs[name].watched() if self.config.jobs[name].enabled else None
            if watched:
                self.watch.set(name, watched)


def _summary(result: Result) -> str:
    counts = [(result.failed, "failed"), (result.waiting, "put off"), (result.omitted, "left out")]
    return ", ".join([f"{result.done} done", *(f"{count} {word}" for count, word in counts if count)])
