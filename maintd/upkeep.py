"""What the jobs of a config are due for, how their runs are begun, and what each leads to."""

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from maintd import again, contexts, differences, foresight, notices, rungs, state, story
from maintd.agenda import Agenda
from maintd.alerts import Alerts, incident_of
from maintd.awake import Awake
from maintd.checkups import HEARTBEAT, Checkups
from maintd.clock import Clock, as_jump
from maintd.clock_doubts import ClockDoubts
from maintd.config import Config
from maintd.couriers import Delivered
from maintd.events import Event
from maintd.guarded import Guarded
from maintd.job import Context, Job
from maintd.lanes import Done, Lanes, Wanted
from maintd.log import Envelope, Log
from maintd.notices import Notice
from maintd.observations import Observations
from maintd.pauses import Pauses
from maintd.ping import Begun, Pinged, Pings
from maintd.programs import Changes
from maintd.refusals import Refusals
from maintd.rounds import Looked
from maintd.runner import Runner
from maintd.runs import Result, Run
from maintd.schedule import Schedule
from maintd.state import ALL_JOBS, Last, State
from maintd.steps import Lane, Plan
from maintd.supervision import Supervision
from maintd.timing import Timing
from maintd.triggers import Asked, Cause, Due, Fallen, Grown, Low, Over, Scheduled, Settling
from maintd.values import dataclass
from maintd.watch import Watch


@dataclass(frozen=True)
class Noted:
    """An event was emitted, in whatever thread, that somebody may have to be told of."""

    notice: Notice


_SUPERVISOR = "supervisor"
Heard = Due | Done | Changes | Noted | Delivered | Begun | Pinged


class Upkeep:
    """Used by the main thread alone, `begin` apart. `put` takes what is due and what is done to its inbox."""

    def __init__(self, config: Config, log: Log, lock_fd: int, put: Callable[[Heard], None], awake: Awake) -> None:
        now = datetime.now(UTC)
        self.config = config
        self._log, self._put = log, put
        log.overhear(self._overhear)
        self.clock = Clock()
        self.state = State(config.settings.state_dir, self.emit)
        self.doubts = ClockDoubts(self.state.clock)
        self.lanes = Lanes(Runner(log, lock_fd), self._begin, put, awake.now)
        self.supervision = Supervision(config, log, put, awake)
        self.checkups = Checkups(
            log, self.state, self._begin, put, awake, stopped=lambda: self.supervision.programs.stopped
        )
        self.checkups.take_over(config.jobs, now, timedelta(seconds=self.doubts.leapt))
        self.alerts = Alerts(self.state.alerts, self.emit, put)
        self._inform_alerts(now)
        self.watch = Watch(put)
        self.schedule = Schedule(put, ZoneInfo(config.settings.timezone), socket.gethostname())
        self.agenda = Agenda()
        self.pauses = Pauses(self.state, now)
        self.refusals = Refusals(self.state, config.jobs)
        self.observations = Observations()
        self.guarded = Guarded(self.state, self.observations, self.emit, awake.now)
        self.pings = Pings(self.state.pings, self.emit, put)
        self._forget_unseen()
        self._after_jump: set[str] = set()
        self._is_ending = False

    def emit(self, event: Event, job: str = "") -> None:
        self._log.emit(event, Envelope(job))

    def start(self) -> None:
        self.lanes.start()
        self.watch.start()
        self.schedule.start()
        self.checkups.start()
        watched = self._recalled()
        self.supervision.take_over(self.config, self.doubts.ran_until)
        self.supervision.resume(self.alerts.programs, self.alerts.cascade(self.config.cascade.within))
        severities = {name: job.severity for name, job in self.config.jobs.items()}
        self.alerts.resume(self.state.standings(), severities, watched, datetime.now(UTC))
        self.pings.resume(self.config.jobs)

    def _recalled(self) -> set[str]:
        """Has what an earlier maintd told to be wrong be watched until it is over; the keys of that."""
        over = self.alerts.about("limit")
        for failed in self.alerts.about("restart"):  # it may have been stopped for that, which does not make it well
            over.pop(failed, None)
        watched = {
            over[found] for found in self.supervision.recall(over, is_silent=bool(self.alerts.open(_SUPERVISOR)))
        }
        watched |= self.guarded.recall(self.alerts.about("storage"), self.alerts.about("directory"))
        if self.doubts.doubt is not None:
            watched.add("clock")
        if not self.supervision.follows(self.config):
            return watched
        programs = self.alerts.programs
        attempts = {key for (_, program), key in self.alerts.about("restart").items() if program in programs}
        return watched | attempts | {_SUPERVISOR, *(f"program.{name}" for name in programs)}

    def _overhear(self, event: Event, envelope: Envelope) -> None:
        notice = notices.notice(event, envelope)
        if notice is not None:
            self._put(Noted(notice))

    def _inform_alerts(self, now: datetime) -> None:
        zone = contexts.zone(self.config)
        enabled = [name for name, job in self.config.jobs.items() if job.enabled]
        self.alerts.take_over(self.config.alerts, zone, socket.gethostname(), enabled, now)

    def stop(self, patience: float) -> bool:
        """Whether the runs that are at work came to an end within `patience` seconds.

        What they have put may still be heard; nothing more is begun. The schedule goes on until the process ends: what
        it puts leads to nothing, and to wait for it may take long.
        """
        self._is_ending = True
        end = time.monotonic() + patience
        self.checkups.stop()
        self.guarded.stop()
        self.supervision.stop()
        clean = self.lanes.stop(patience)
        self.watch.stop(max(end - time.monotonic(), 0.1))
        return clean

    def close(self) -> None:
        """Nothing can be heard any more."""
        self.doubts.keep()
        self.state.close()

    def leave(self, notices_left: Sequence[Notice]) -> None:
        """Has the next maintd know of these, from any thread, if the main thread hangs."""
        now = datetime.now(UTC)
        left = [incident_of(notice, now) for notice in notices_left if not notice.is_over]
        state.leave(self.config.settings.state_dir, left)

    def alive(self) -> dict[str, bool]:
        """Its threads, each with whether it lives."""
        parts = {"schedule": self.schedule.alive, "watch": self.watch.alive, "lanes": self.lanes.alive}
        parts |= {"ping": self.pings.alive, "checks": self.checkups.alive}
        return parts | {
            "supervision": self.supervision.alive,
            "alerts": self.alerts.dispatch.alive,
            **self.guarded.alive,
        }

    def rounds(self) -> dict[str, int]:
        """How often the threads that look at file systems have come round."""
        found = {"watch": self.watch.rounds, "spending": self.guarded.rounds}
        return {name: count for name, count in found.items() if count}

    def hear(self, heard: Heard) -> None:
        """Takes in what threads have put to the inbox."""
        match heard:
            case Due():
                self.due(heard)
            case Done():
                self.done(heard)
            case Changes():
                for due in self.supervision.note(heard):
                    self.due(due)
            case Noted():
                self.alerts.note(heard.notice, datetime.now(UTC))
                if not self._is_ending:
                    self.alerts.dispatch.tick()
            case Delivered():
                self.alerts.dispatch.delivered(heard)
            case Begun() | Pinged():
                self.pings.hear(heard)

    # Once a second

    def tick(self) -> None:
        for due in [*self.agenda.ripe(time.monotonic()), *self.guarded.look(), *self.supervision.tick()]:
            self.due(due)
        self.checkups.tick()
        self.pings.tell_of_maintd(self.config.settings.ping, self.config.settings.ping_every)
        self.alerts.tick(datetime.now(UTC), self.checkups.standings.rests)
        self._end_pauses(datetime.now(UTC))
        self.state.tick()

    def note_clock(self) -> None:
        doubt = self.doubts.note()  # before the jump is accepted, as below
        if doubt is not None:
            self.emit(doubt)
        drift = self.clock.drift()
        jump = as_jump(drift)
        if jump:
            self._after_jump = set(self.config.jobs)  # before the jump is accepted: a run may begin in between
            self.schedule.reanchor()
            self.pauses.shift(timedelta(seconds=jump))
            self.alerts.shift(timedelta(seconds=jump), datetime.now(UTC))
            self.checkups.shift(timedelta(seconds=jump))
            for name, job in self.config.jobs.items():
                if Lane.PROGRAMS in job.lanes:  # pauses and budgets go by what was done when
                    self.state.shift_samples(name, timedelta(seconds=jump))
            self.emit(story.ClockJumped(by_s=round(jump, 1)))
        self.clock.accept(drift)

    # Jobs

    def take_over(self, new: Config) -> None:
        """Goes on with another config: what is the same in it is not touched, and keeps its next run."""
        difference = differences.diff(self.config, new)
        old, self.config = self.config, new
        self.checkups.take_over(new.jobs, datetime.now(UTC))
        self.supervision.take_over(new)
        self._inform_alerts(datetime.now(UTC))
        if old.settings.timezone != new.settings.timezone:
            self.schedule.move(ZoneInfo(new.settings.timezone))
        for name in difference.removed:
            self.schedule.remove(name)
            self._forget(name)
        self._forget_unseen()
        for name in (*difference.added, *difference.changed):
            self._forget(name)
            self.install(name)
        for key in self.guarded.left(self.alerts.about("storage"), self.alerts.about("directory")):
            self.alerts.leave(key, datetime.now(UTC))
        for name in (*difference.added, *difference.changed):
            self.recover(name)
        for name in new.jobs.keys() - {*difference.added, *difference.changed}:
            self._look_again(name)
            if new.jobs[name].has_other_files:
                self.due(Due(name, Settling()))
        if old.settings.observe != new.settings.observe:
            for name in new.jobs:  # what had grown while it was observed is to be looked at anew
                self.watch.remove(name)
                self.install(name)

    def install(self, name: str) -> None:
        """Puts a job, new or changed, under its triggers."""
        job = self.config.jobs[name]
        if job.enabled and not self.checkups.keeps_time(name):
            timing = Timing(job.cron, job.every, job.spread, job.window)
            self.schedule.set(name, timing, self._counts_from(name, job), by_disk=job.due_from_disk)
        else:
            self.schedule.remove(name)
        self.watch.set(name, self.config.watched(name))
        self.guarded.install(name, job)
        self.supervision.install(name)

    def _counts_from(self, name: str, job: Job) -> datetime | None:
        """The last success; of a job with `every` that never had one, when it was first seen, unless the disk tells."""
        last = self.state.last_success(name)
        if last is None and job.every and not job.due_from_disk:
            return self.state.first_seen(name, datetime.now(UTC))
        return last

    def _forget_unseen(self) -> None:
        jobs = self.config.jobs.items()
        self.state.forget_seen({name for name, job in jobs if job.enabled and (job.every or job.kind == HEARTBEAT)})

    def _look_again(self, name: str) -> None:
        """What a job watches may have been changed in other files than the config, or have an error by now."""
        if self.config.jobs[name].has_other_files:
            self.watch.set(name, self.config.watched(name))

    def _forget(self, name: str) -> None:
        """Drops what was seen of a job and put off; a schedule that stays the same keeps its next run."""
        self.watch.remove(name)
        self.guarded.forget(name, is_gone=name not in self.config.jobs)
        self.supervision.forget(name)
        self.agenda.forget(name)
        self.refusals.forget(name)
        self.observations.forget(name)

    def recover(self, name: str) -> None:
        """What an earlier maintd had begun is completed. What was missed since comes from the schedule."""
        job = self.config.jobs[name]
        if job.enabled and job.due_from_disk:
            self._queue(Due(name, Settling()), job.main_lane, frozenset(job.lanes))
        if job.enabled and not job.lanes:
            self.due(Due(name, Scheduled(datetime.now(UTC), catch_up=True)))

    def due(self, due: Due) -> None:
        job = self.config.jobs.get(due.job)
        if job is None or not job.enabled or self._is_ending:
            return
        if self.pauses.hold(due.job):
            self._put_off(due)
            return
        if not job.lanes:
            self.checkups.due(due)
        elif job.is_urgent:
            if self.guarded.presses(due) and not (job.observe or self.config.settings.observe):
                self.lanes.break_off()
            self._queue(due, Lane.GUARD, frozenset(job.lanes))
        elif due.rest:
            self._queue(due, Lane.HEAVY, job.lanes_of_rest)
        elif Lane.ROTATE not in job.lanes or isinstance(due.cause, Settling):
            self._queue(due, job.main_lane, frozenset(job.lanes))
        else:
            self._queue(due, Lane.ROTATE, frozenset({Lane.ROTATE}))

    def _put_off(self, due: Due) -> None:
        """A paused job was due: what watches it is told that nothing comes of that now."""
        if isinstance(due.cause, Grown):
            self.watch.settled(due.job, due.cause.paths)
        if isinstance(due.cause, Low):
            self.guarded.put_off(due.job)
        if isinstance(due.cause, Over | Fallen):
            self.supervision.ended(due, acted=False)
        self.pauses.miss(due)

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
        if isinstance(cause, Over | Fallen) and (self.supervision.incident.lasts or not _is_open(config, job)):
            return None
        ctx = contexts.context(config, name, datetime.now(UTC), cause, lanes=wanted.lanes)
        jumped, doubt = bool(self.clock.jump()), self.doubts.doubt
        away = doubt.away if doubt is not None and self.doubts.holds(name) else 0.0
        doubted = {other for other in config.jobs if other in self._after_jump or self.doubts.holds(other)}
        if not _is_by_a_person(cause):
            jumped = jumped or name in doubted
        ctx = replace(ctx, clock_jumped=jumped, clock_away=away, doubted=doubted - {name})
        ctx = replace(ctx, told=wanted.due.told, history=self.state.samples(name))
        if job.is_urgent:
            ctx = self.guarded.informed(ctx, {other for other in config.jobs if self.pauses.hold(other)})
        return Run(
            name=name,
            job=job,
            ctx=ctx,
            foreseen=self._foreseen(name, job, ctx),
            observe=config.settings.observe,
            listener=wanted.listener,
            on_step=wanted.on_step,
            on_progress=wanted.on_progress,
            is_void=lambda: (
                not isinstance(cause, Asked) and (self.config.jobs.get(name) != job or self.pauses.hold(name))
            ),
            on_begun=self.pings.started,
            on_ended=self.guarded.count,
            is_held=lambda: isinstance(cause, Over | Fallen) and self.supervision.incident.lasts,
            is_news=lambda event: (
                isinstance(cause, Asked)
                or (self.refusals.is_news(name, job, event) and self.observations.is_news(name, event))
            ),
        )

    def _foreseen(self, name: str, job: Job, ctx: Context) -> Plan | None:
        """The plan of a guard that is hardly needed, if there is nothing in it: that holds up nobody."""
        if not (job.is_urgent and self.guarded.is_idle(name, ctx.cause)):
            return None
        plan = foresight.plan(job, ctx)
        if plan is None and isinstance(ctx.cause, Low) and not (job.observe or self.config.settings.observe):
            self.lanes.break_off()
        return plan

    def order(self, wanted: Wanted) -> None:
        """Has done what a person asked for."""
        job = self.config.jobs[wanted.due.job]
        if job.lanes:
            self.lanes.add(job.main_lane, wanted)
        else:
            self.checkups.order(wanted)

    def done(self, done: Done) -> None:
        due, run, result = done.wanted.due, done.run, done.result
        if isinstance(done, Looked):
            self._looked(done)
            return
        self.guarded.ended(due, run, result)
        if isinstance(due.cause, Low):
            self._requeue()
        if isinstance(due.cause, Over | Fallen):
            observed = run is not None and run.only_observes and result.planned > 0
            self.supervision.ended(due, acted=result.done > 0, observed=observed)
        follows = None if isinstance(due.cause, Asked) else self.agenda.end(due)
        if isinstance(due.cause, Grown) and not result.deferred:
            said = run is not None and run.only_observes and not result.is_void and not result.failed
            self.watch.settled(due.job, due.cause.paths - result.relieved, once=said)
        self.watch.relieved(due.job, result.relieved)
        if run is None or result.is_void:
            if not isinstance(due.cause, Asked | Over | Fallen):
                self.due(due)  # in the queue again, or, if the job is paused, kept for later
        elif due.job in self.config.jobs:
            self._record(run, result, datetime.now(UTC))
            self._follow_up(due, run, result)
        if run is not None and due.job in self.config.jobs:
            self._look_again(due.job)
        if follows:
            self.due(follows)

    def _looked(self, done: Looked) -> None:
        self.checkups.done(done)
        if done.run is None or not isinstance(done.wanted.due.cause, Scheduled):
            return
        if self.checkups.standings.is_telling(done.run.name):
            self.pings.ended(done.run, done.result)

    def _requeue(self) -> None:
        """What was broken off for a guard is due again."""
        for wanted in self.lanes.broken_off():
            if not isinstance(wanted.due.cause, Asked):
                self.due(wanted.due)

    def _record(self, run: Run, result: Result, now: datetime) -> None:
        if self.config.jobs[run.name] == run.job:
            self.refusals.note(run, result, now)
            self.observations.note(run, result)
        if result.samples:
            record = self.state.record_sizes if run.job.measures else self.state.record_samples
            record(run.name, result.samples)
        if result.planned or result.failed or result.waiting:
            self.state.record_last(run.name, Last(result.outcome, now, _summary(result)))

    def _follow_up(self, due: Due, run: Run, result: Result) -> None:
        """Notes a success, settles what was set aside, tries again what failed or waits."""
        if _is_by_a_person(due.cause):
            self._after_jump.discard(run.name)
            self.doubts.release(run.name)
        if run.job.main_lane in run.ctx.lanes and run.ctx.clock_jumped:
            self._after_jump.discard(run.name)
        is_owed = self._is_owed(run)
        if result.is_whole and (is_owed or due.cause == Asked()):
            self.state.record_success(run.name, run.ctx.now)
            self.schedule.succeeded(run.name, run.ctx.now)
        is_telling = result.done or isinstance(due.cause, Scheduled | Asked)
        if result.is_whole and is_telling and not self.observations.is_failing(run.name):
            self.alerts.went_well(run.name, datetime.now(UTC))
        is_awaited = self.pings.is_awaited(run)
        if not result.waiting and (result.planned or is_owed or is_awaited):  # what is put off begins, and ends, anew
            self.pings.ended(run, result)
        told = rungs.told(result.plan or ())
        if result.deferred:
            self.due(replace(due, rest=True, told=told))
        elif run.ctx.lanes == {Lane.ROTATE} and (result.planned or isinstance(due.cause, Scheduled)):
            self.due(Due(run.name, Settling(), told=told))
        left = list(again.causes(run, result))
        for cause in left:
            self.agenda.retry(Due(run.name, cause), time.monotonic())
        if not left and not result.deferred:  # what was left to another run may fail there
            self.agenda.went_well(due)

    def _is_owed(self, run: Run) -> bool:
        """Whether it is for a time that no success has met yet; one that asks the disk at the start may not be."""
        cause, last = run.ctx.cause, self.state.last_success(run.name)
        return isinstance(cause, Scheduled) and not (last and cause.slot <= last <= run.ctx.now)

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
            self.watch.set(name, self.config.watched(name))


def _is_by_a_person(cause: Cause) -> bool:
    """Whether somebody had all of the job done now, by the clock as it is; `--due` may well be in a crontab."""
    return isinstance(cause, Asked) and not cause.due_only


def _is_open(config: Config, job: Job) -> bool:
    """Whether the window of a job allows it to do something now, to which it was brought by no schedule."""
    return job.window is None or job.window.contains(datetime.now(contexts.zone(config)))


def _summary(result: Result) -> str:
    counts = [(result.failed, "failed"), (result.waiting, "put off"), (result.omitted, "left out")]
    said = ", ".join([f"{result.done} done", *(f"{count} {word}" for count, word in counts if count)])
    return f"{said}; {result.remark}" if result.remark else said
