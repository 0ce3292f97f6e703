"""What the jobs of a config are due for, how their runs are begun, and what each leads to."""

import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from maintd import contexts, differences, story
from maintd.agenda import Agenda
from maintd.clock import Clock
from maintd.config import Config
from maintd.events import Event
from maintd.lanes import Done, Lanes, Wanted
from maintd.log import Envelope, Log
from maintd.pauses import Pauses
from maintd.ping import Pings, failing
from maintd.refusals import Refusals
from maintd.runner import Runner
from maintd.runs import Result, Run
from maintd.schedule import Schedule
from maintd.state import ALL_JOBS, Last, State
from maintd.steps import Lane, Outcome
from maintd.timing import Timing
from maintd.triggers import Asked, Due, Grown, Scheduled, Settling
from maintd.watch import Watch

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
"""The last success of a job that reads off the disk what is due, if none is remembered: so it is asked at the start."""


class Upkeep:
    """Used by the main thread alone, `begin` apart. `put` takes what is due and what is done to its inbox."""

    def __init__(self, config: Config, log: Log, lock_fd: int, put: Callable[[Due | Done], None]) -> None:
        now = datetime.now(UTC)
        self.config = config
        self._log = log
        self._put = put
        self.clock = Clock()
        self.state = State(config.settings.state_dir, self.emit)
        self.lanes = Lanes(Runner(log, lock_fd), self._begin, put)
        self.watch = Watch(put)
        self.schedule = self._new_schedule()
        self.agenda = Agenda()
        self.pauses = Pauses(self.state, now)
        self.refusals = Refusals(self.state, config.jobs)
        self._pings = Pings(self.emit)
        self._after_jump: set[str] = set()

    def emit(self, event: Event, job: str = "") -> None:
        self._log.emit(event, Envelope(job))

    def start(self) -> None:
        self.lanes.start()
        self.watch.start()
        self.schedule.start()

    def stop(self, patience: float) -> bool:
        """Whether the runs that are at work came to an end within `patience` seconds."""
        clean = self.lanes.stop(patience)
        self.schedule.stop()
        self.watch.stop()
        self.state.close()
        return clean

    def alive(self) -> dict[str, bool]:
        """Its threads, each with whether it lives."""
        return {"schedule": self.schedule.alive, "watch": self.watch.alive, "lanes": self.lanes.alive}

    # Once a second

    def tick(self) -> None:
        for due in self.agenda.ripe(time.monotonic()):
            self.due(due)
        self._end_pauses(datetime.now(UTC))

    def note_clock(self) -> None:
        if self.clock.jump():
            self._after_jump = set(self.config.jobs)  # before the jump is accepted: a run may begin in between
            self.schedule.reanchor()
        jump = self.clock.accept()
        if jump:
            self.emit(story.ClockJumped(by_s=round(jump, 1)))

    # Jobs

    def take_over(self, new: Config) -> None:
        """Goes on with another config: what is the same in it is not touched, and keeps its next run."""
        difference = differences.diff(self.config, new)
        old, self.config = self.config, new
        if old.settings.timezone != new.settings.timezone:
            self._replace_schedule()
        for name in difference.removed:
            self.schedule.remove(name)
            self._forget(name)
        for name in (*difference.added, *difference.changed):
            self._forget(name)
            self.install(name)
        for name in (*difference.added, *difference.changed):
            self.recover(name)
        if old.settings.observe != new.settings.observe:
            for name in new.jobs:  # what had grown while it was observed is to be looked at anew
                self.watch.remove(name)
                self.install(name)

    def _replace_schedule(self) -> None:
        self.schedule.stop()
        self.schedule = self._new_schedule()
        for name in self.config.jobs:
            self.install(name)
        self.schedule.start()

    def _new_schedule(self) -> Schedule:
        return Schedule(self._put, ZoneInfo(self.config.settings.timezone), socket.gethostname())

    def install(self, name: str) -> None:
        """Puts a job, new or changed, under its triggers."""
        job = self.config.jobs[name]
        if job.enabled:
            timing = Timing(job.cron, job.every, job.spread, job.window)
            self.schedule.set(name, timing, self.state.last_success(name) or (LONG_AGO if job.due_from_disk else None))
        else:
            self.schedule.remove(name)
        watched = self.config.watched(name)
        if watched is None:
            self.watch.remove(name)
        else:
            self.watch.set(name, watched)

    def _forget(self, name: str) -> None:
        """Drops what was seen of a job and put off; a schedule that stays the same keeps its next run."""
        self.watch.remove(name)
        self.agenda.forget(name)
        self.refusals.forget(name)

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
        if due.rest:
            self._queue(due, Lane.HEAVY, frozenset({Lane.HEAVY}))
        elif Lane.ROTATE not in job.lanes or isinstance(due.cause, Settling):
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
        jumped = bool(self.clock.jump()) or name in self._after_jump
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

    def done(self, done: Done) -> None:
        due, run, result = done.wanted.due, done.run, done.result
        again = None if isinstance(due.cause, Asked) else self.agenda.end(due)
        if isinstance(due.cause, Grown) and not result.deferred:
            said = run is not None and run.only_observes and not result.is_void and not result.failed
            self.watch.settled(due.job, due.cause.paths, once=said)
        if run is None or result.is_void:
            self.pauses.miss(due)
        elif due.job in self.config.jobs:
            now = datetime.now(UTC)
            if self.config.jobs[run.name] == run.job:
                self.refusals.note(run, result, now)
            if result.planned or result.failed or result.waiting:
                self.state.record_last(run.name, Last(result.outcome, now, _summary(result)))
            self._follow_up(due, run, result)
        if again:
            self.due(again)

    def _follow_up(self, due: Due, run: Run, result: Result) -> None:
        """Notes a success, settles what was set aside, tries again what failed or waits."""
        if Lane.HEAVY in run.ctx.lanes and run.ctx.clock_jumped:
            self._after_jump.discard(run.name)
        if result.outcome is not Outcome.FAILURE and isinstance(due.cause, (Scheduled, Asked)):
            self.state.record_success(run.name, run.ctx.now)
        if run.job.ping and not result.waiting and (result.planned or isinstance(due.cause, Scheduled)):
            failed = result.outcome is Outcome.FAILURE
            self._pings.send(failing(run.job.ping) if failed else run.job.ping)
        if result.deferred:
            self.due(replace(due, rest=True))
        elif run.ctx.lanes == {Lane.ROTATE} and (result.planned or isinstance(due.cause, Scheduled)):
            self.due(Due(run.name, Settling()))
        if result.failed or result.waiting:
            cause = due.cause if isinstance(due.cause, Scheduled) else Settling()
            if run.job.due_from_disk or not isinstance(due.cause, Asked):
                self.agenda.retry(Due(run.name, cause), time.monotonic())
        else:
            self.agenda.went_well(due)

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
            watched = self.config.watched(name)
            if watched:
                self.watch.set(name, watched)


def _summary(result: Result) -> str:
    counts = [(result.failed, "failed"), (result.waiting, "put off"), (result.omitted, "left out")]
    return ", ".join([f"{result.done} done", *(f"{count} {word}" for count, word in counts if count)])
