"""The daemon: one inbox, read by the main thread, which alone owns config, schedule and what is pending."""

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any
from zoneinfo import ZoneInfo

from maintd import __version__, capabilities, contexts, durable, holders, lock, story
from maintd import config as configuration
from maintd.agenda import Agenda
from maintd.client import SOCKET
from maintd.clock import Clock
from maintd.config import Config
from maintd.control import Control, Request
from maintd.errors import ConfigError, MaintdError, Problem
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
MOST_PROBLEMS = 50


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
        self.schedule = self._new_schedule()
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
        self._report(self.config.warnings)
        self.lanes.start()
        for name in self.config.jobs:
            self._install(name)
            self._recover(name)
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
                self._due(item)
            case Done():
                self._done(item)
            case Reload():
                self.reload(force=False)
            case Request():
                self._answer(item)

    # Once a second

    def _tick(self) -> Stop | None:
        now = time.monotonic()
        for due in self.agenda.ripe(now):
            self._due(due)
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

    def _new_schedule(self) -> Schedule:
        return Schedule(self.inbox.put, ZoneInfo(self.config.settings.timezone), socket.gethostname())

    def _install(self, name: str) -> None:
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

    def _uninstall(self, name: str) -> None:
        self.schedule.remove(name)
        self.watch.remove(name)
        self.agenda.forget(name)

    def _recover(self, name: str) -> None:
        """What an earlier maintd had begun is completed, and what was missed while none was running is made up for."""
        job = self.config.jobs[name]
        if not job.enabled or not job.due_from_disk or self._is_paused(name):
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

    def _due(self, due: Due) -> None:
        job = self.config.jobs.get(due.job)
        if job is None or not job.enabled:
            return
        if self._is_paused(due.job):
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
            self.lanes.add(lane, self._run_of(due.job, due.cause, lanes))

    def _run_of(self, name: str, cause: Cause, lanes: frozenset[Lane], **options: Any) -> Run:
        job = self.config.jobs[name]
        ctx = contexts.context(self.config, name, datetime.now(UTC), cause, lanes=lanes)
        return Run(name=name, job=job, ctx=ctx, observe=self.config.settings.observe, **options)

    def _done(self, done: Done) -> None:
        run, result = done.run, done.result
        if run.id in self.asked:
            self.asked.pop(run.id)(result)
        due = Due(run.name, run.ctx.cause)
        again = None if isinstance(due.cause, Asked) else self.agenda.end(due)
        if result.planned or result.failed:
            self.last[run.name] = Last(result.outcome, datetime.now(UTC), _summary(result))
        if run.name not in self.config.jobs:
            return
        if isinstance(due.cause, Grown):
            self.watch.settled(run.name, due.cause.paths)
        self._follow_up(due, run, result)
        if again:
            self._due(again)

    def _follow_up(self, due: Due, run: Run, result: Result) -> None:
        """Notes a success, settles what was set aside, tries again what failed or waits."""
        if Lane.HEAVY in run.ctx.lanes and run.ctx.clock_jumped:
            self.after_jump.discard(run.name)
        if result.outcome is not Outcome.FAILURE and isinstance(due.cause, (Scheduled, Asked)):
            self.state.record_success(run.name, run.ctx.now)
        if result.planned and run.job.ping and not result.waiting:
            failed = result.outcome is Outcome.FAILURE
            self.pings.send(run.job.ping.rstrip("/") + "/fail" if failed else run.job.ping)
        settles = run.ctx.lanes == {Lane.ROTATE}
        if settles and (result.done or isinstance(due.cause, Scheduled)):
            self._due(Due(run.name, Settling()))
        if result.failed or result.waiting:
            not_rotated = result.failed and Lane.ROTATE in run.ctx.lanes and isinstance(due.cause, Scheduled)
            cause = due.cause if settles or not_rotated or not run.job.due_from_disk else Settling()
            if not isinstance(cause, (Asked, Grown)):
                self.agenda.retry(Due(run.name, cause), time.monotonic())
        else:
            self.agenda.went_well(due)

    # Config

    def reload(self, *, force: bool) -> dict[str, Any]:
        """Reads the config again and applies what differs; on any error the old one stays. Returns the verdict."""
        try:
            new = configuration.load(self.config_path)
        except ConfigError as error:
            return self._reject(error.problems, error.hint or "correct the file and reload")
        except (OSError, MaintdError) as error:
            problem = Problem(self.config_path, 0, 0, str(error))
            return self._reject([problem], getattr(error, "hint", "") or "correct it and reload")
        if configuration.loses_most(self.config, new) and not force:
            lost = len(configuration.diff(self.config, new).removed)
            text = f"{lost} of {len(self.config.jobs)} jobs would be gone; the file may be half-written"
            return self._reject([Problem(self.config_path, 0, 0, text)], "if that is meant: maintd reload --force")
        return self._apply(new)

    def _reject(self, problems: "tuple[Problem, ...] | list[Problem]", advice: str) -> dict[str, Any]:
        self.emit(story.ConfigRejected(target=self.config_path, errors=len(problems), advice=advice))
        for problem in problems[:MOST_PROBLEMS]:
            self.emit(story.ConfigProblem(target=problem.file, problem=str(problem)))
        return {"ok": False, "diff": "", "problems": [str(item) for item in problems], "warnings": [], "hint": advice}

    def _apply(self, new: Config) -> dict[str, Any]:
        difference = configuration.diff(self.config, new)
        old, self.config = self.config, new
        if old.settings.timezone != new.settings.timezone:
            self._replace_schedule()
        for name in difference.removed:
            self._uninstall(name)
        for name in (*difference.added, *difference.changed):
            self.agenda.forget(name)
            self._install(name)
        for name in difference.added:
            self._recover(name)
        restart = [
            key for key in ("state_dir", "runtime_dir") if getattr(old.settings, key) != getattr(new.settings, key)
        ]
        self._report(new.warnings)
        event = story.ConfigReloaded(
            target=self.config_path,
            diff=str(difference),
            added=", ".join(difference.added) or None,
            changed=", ".join(difference.changed) or None,
            removed=", ".join(difference.removed) or None,
            restart=", ".join(restart) or None,
        )
        self.emit(event)
        warnings = [str(item) for item in new.warnings]
        return {"ok": True, "diff": str(difference), "problems": [], "warnings": warnings, "hint": event.msg}

    def _replace_schedule(self) -> None:
        self.schedule.stop()
        self.schedule = self._new_schedule()
        for name in self.config.jobs:
            self._install(name)
        self.schedule.start()

    def _report(self, problems: tuple[Problem, ...]) -> None:
        for problem in problems[:MOST_PROBLEMS]:
            event = story.ConfigProblem(target=problem.file, problem=str(problem))
            self.log.emit(event, Envelope(level=problem.severity))

    # People

    def _answer(self, request: Request) -> None:
        answers: dict[str, Callable[[Request], None]] = {
            "status": lambda item: _reply(item, self.status()),
            "reload": lambda item: _reply(item, self.reload(force=bool(item.arguments.get("force")))),
            "pause": lambda item: _reply(item, self._pause(item.arguments["job"], item.arguments.get("seconds"))),
            "resume": lambda item: _reply(item, self._resume(item.arguments["job"])),
            "do": self._do,
        }
        answers[request.verb](request)

    def _do(self, request: Request) -> None:
        names: list[str] = list(request.arguments["jobs"])
        unknown = [name for name in names if name not in self.config.jobs]
        if unknown:
            _reply(request, {"type": "error", "error": f"the running config has no job {unknown[0]}"})
            return
        left = set(range(len(names)))
        cause = Asked(due_only=bool(request.arguments.get("due_only")))
        for index, name in enumerate(names):
            self._do_one(request, name, cause, index, left)
        if not names:
            _reply(request, {"type": "end"})

    def _do_one(self, request: Request, name: str, cause: Asked, index: int, left: set[int]) -> None:
        put = request.reply.put

        def finished(result: Result) -> None:
            put({"type": "result", "job": name, **_counts(result)})
            left.discard(index)
            if not left:
                _reply(request, {"type": "end"})

        run = self._run_of(
            name,
            cause,
            frozenset(self.config.jobs[name].lanes),
            listener=lambda fields: put({"type": "event", **fields}),
            on_step=lambda at, of, action: put(
                {"type": "step", "job": name, "index": at, "of": of, "verb": action.verb, "target": action.target}
                | {"in_bytes": action.in_bytes}
            ),
            on_progress=lambda action, count: put(
                {"type": "progress", "job": name, "target": action.target, "bytes": count}
            ),
        )
        self.asked[run.id] = finished
        self.lanes.add(Lane.HEAVY, run)

    def _is_paused(self, name: str) -> bool:
        return name in self.pauses or ALL_JOBS in self.pauses

    def _pause(self, name: str, seconds: float | None) -> dict[str, Any]:
        if name != ALL_JOBS and name not in self.config.jobs:
            return {"ok": False, "error": f"the running config has no job {name}"}
        until = datetime.now(UTC) + timedelta(seconds=seconds) if seconds else None
        self.state.pause(name, until)
        self.pauses[name] = until
        text = until.isoformat(timespec="seconds") if until else None
        self.emit(story.JobPaused(until=text), job="" if name == ALL_JOBS else name)
        return {"ok": True, "error": ""}

    def _resume(self, name: str) -> dict[str, Any]:
        if not self.state.resume(name):
            return {"ok": False, "error": "nothing is paused" if name == ALL_JOBS else f"{name} is not paused"}
        self.pauses = self.state.pauses(datetime.now(UTC))
        self.emit(story.JobResumed(), job="" if name == ALL_JOBS else name)
        self._go_on(name)
        return {"ok": True, "error": ""}

    def _end_pauses(self, now: datetime) -> None:
        over = [name for name, until in self.pauses.items() if until is not None and until <= now]
        if over:
            self.pauses = self.state.pauses(now)
        for name in over:
            self.emit(story.JobResumed(), job="" if name == ALL_JOBS else name)
            self._go_on(name)

    def _go_on(self, paused: str) -> None:
        """What a job, or every job, missed in its pause is made up for, unless another pause still holds it."""
        for name in self.config.jobs if paused == ALL_JOBS else self.config.jobs.keys() & {paused}:
            if self._is_paused(name):
                continue
            self._recover(name)
            missed = self.missed.pop(name, None)
            if missed and not self.config.jobs[name].due_from_disk:
                self._due(missed)
            self.watch.remove(name)  # what had grown is reported anew, without waiting for it to be looked at again
            watched = self.config.jobs[name].watched() if self.config.jobs[name].enabled else None
            if watched:
                self.watch.set(name, watched)

    def status(self) -> dict[str, Any]:
        """What `maintd status` shows."""
        return {
            "version": __version__,
            "pid": os.getpid(),
            "started": self.started.isoformat(timespec="seconds"),
            "config": self.config_path,
            "observe": self.config.settings.observe,
            "paused_all": ALL_JOBS in self.pauses,
            "jobs": [self._job_status(name, job) for name, job in self.config.jobs.items()],
            "growth": {
                "files": self.watch.files,
                "bound_ms": round(self.watch.bound * 1000),
                "degraded": self.watch.degraded,
            },
            "events": {"dropped": self.log.dropped},
        }

    def _job_status(self, name: str, job: Job) -> dict[str, Any]:
        next_run, last = self.schedule.next_run(name), self.last.get(name)
        until = self.pauses.get(name)
        return {
            "name": name,
            "state": self._state_of(name, job),
            "next": next_run.isoformat(timespec="seconds") if next_run else None,
            "last_outcome": last.outcome if last else None,
            "last_run": last.at.isoformat(timespec="seconds") if last else None,
            "last_msg": last.msg if last else None,
            "paused_until": until.isoformat(timespec="seconds") if until else None,
        }

    def _state_of(self, name: str, job: Job) -> str:
        if not job.enabled:
            return "disabled"
        if name in self.lanes.running:
            return "running"
        if self._is_paused(name):
            return "paused"
        if self.agenda.is_pending(name):
            return "queued"
        return "observe" if job.observe or self.config.settings.observe else "idle"


def _counts(result: Result) -> dict[str, Any]:
    keys = ("planned", "done", "failed", "omitted", "waiting")
    return {"outcome": result.outcome} | {key: getattr(result, key) for key in keys}


def _summary(result: Result) -> str:
    counts = [(result.failed, "failed"), (result.waiting, "put off"), (result.omitted, "left out")]
    return ", ".join([f"{result.done} done", *(f"{count} {word}" for count, word in counts if count)])


def _reply(request: Request, answer: dict[str, Any]) -> None:
    request.reply.put(answer)
    request.reply.put(None)
