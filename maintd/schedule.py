"""Says when a job is due by cron or every, and nothing else: each time, a Due is put."""

import dataclasses
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta, tzinfo

from apscheduler.events import EVENT_JOB_ERROR  # noqa: TID251 - this is its home
from apscheduler.executors.debug import DebugExecutor  # noqa: TID251 - this is its home
from apscheduler.job import Job as Appointment  # noqa: TID251 - this is its home
from apscheduler.schedulers.background import BackgroundScheduler  # noqa: TID251 - this is its home
from apscheduler.triggers.base import BaseTrigger  # noqa: TID251 - this is its home

from maintd.timing import Timetable, Timing
from maintd.triggers import Due, Scheduled

# What it has to say comes as events; a record that nobody handles would go to stderr.
logging.getLogger("apscheduler").addHandler(logging.NullHandler())
logging.getLogger("apscheduler").propagate = False


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class Schedule:
    """The times of all jobs, kept by one thread; `put` is called in it and must return at once.

    `next_run` and `alive` may be asked in any thread; all else belongs to one, that of the daemon.
    """

    def __init__(
        self, put: Callable[[Due], None], zone: tzinfo, host: str, clock: Callable[[], datetime] = _wall_clock
    ) -> None:
        self._put = put
        self._zone = zone
        self._host = host
        self._clock = clock
        self._scheduler = _Scheduler(timezone=UTC, executors={"default": DebugExecutor()})
        self._scheduler.add_listener(self._note_error, EVENT_JOB_ERROR)
        self._error = False
        self._timings: dict[str, Timing] = {}
        self._appointments: dict[str, Appointment] = {}

    def start(self) -> None:
        """Starts the thread. What was set before is kept and begins to count."""
        self._scheduler.start()

    def stop(self) -> None:
        """Ends the thread; nothing is put after that."""
        if self._scheduler.running:
            self._scheduler.shutdown()

    @property
    def alive(self) -> bool:
        """Whether runs still become due: the thread lives, and it could put each one."""
        return self._scheduler.has_thread and not self._error

    def set(self, job: str, timing: Timing, last_success: datetime | None = None, *, by_disk: bool = False) -> None:
        """Adds `job`, or replaces it if its timing differs; one whose timing is equal keeps its next run exactly.

        `last_success` (aware) is where intervals count from; one that is past since is due at once, once (inside its
        window). So is a new job that missed a time of its cron since then, while nobody was there to start it; a cron
        that was changed waits for its next time. A new job that sees `by_disk` what it missed is asked in any case, but
        for its intervals only if no success is known.
        """
        if self._timings.get(job) == timing:
            return
        is_new = job not in self._timings
        self.remove(job)
        self._timings[job] = timing
        now = self._clock()
        table = Timetable.of(timing, now.astimezone(self._zone), host=self._host, job=job, last_success=last_success)
        asks = by_disk and is_new and bool(timing.cron or (timing.every and last_success is None))
        late = asks or (last_success is not None and table.missed(last_success, now, by_cron=is_new))
        start = table.opening(now) if late else table.next(now)
        if start:
            trigger = _Trigger(table, _booted(now), catch_up=late and is_new, asks=asks)
            self._appointments[job] = self._scheduler.add_job(
                self._fire,
                trigger,
                args=(job, trigger),
                id=job,
                next_run_time=start,
                misfire_grace_time=None,
                coalesce=True,
            )

    def remove(self, job: str) -> None:
        """Forgets `job`, if it is known; nothing is put for it after that."""
        self._timings.pop(job, None)
        if self._appointments.pop(job, None):
            self._scheduler.remove_job(job)

    def succeeded(self, job: str, at: datetime) -> None:
        """Intervals count from there. A run that is due by now, or makes up for others, takes place all the same."""
        appointment = self._appointments.get(job)
        if appointment is None or not self._timings[job].every:
            return
        now = self._clock()
        with self._scheduler.lock:
            trigger = appointment.trigger
            trigger.table = trigger.table.counting_from(min(at, now))
            if appointment.next_run_time > now and not trigger.catch_up:
                appointment.modify(next_run_time=trigger.table.next(now))

    def move(self, zone: tzinfo) -> None:
        """Reads cron and windows in another time zone from now on; what does not go by them stays as it is.

        A time that has passed by the new zone alone is not made up for.
        """
        self._zone = zone
        now = self._clock()
        with self._scheduler.lock:
            for job, appointment in self._appointments.items():
                trigger, timing = appointment.trigger, self._timings[job]
                trigger.table = dataclasses.replace(trigger.table, zone=zone)
                if (timing.cron or timing.window) and appointment.next_run_time > now:
                    start = trigger.table.opening(now) if trigger.catch_up else trigger.table.next(now)
                    appointment.modify(next_run_time=start)

    def next_run(self, job: str) -> datetime | None:
        """When `job` is due next, in UTC; None if it is not known or has neither cron nor every."""
        appointment = self._appointments.get(job)
        return appointment.next_run_time.astimezone(UTC) if appointment else None

    def reanchor(self) -> None:
        """Computes every next run anew, after the wall clock jumped.

        Intervals go by the time that passed, also in suspend, and not by the clock. A time that cron names and the jump
        left out is made up for once; one that comes again is run again.
        """
        now = self._clock()
        with self._scheduler.lock:
            for appointment in self._appointments.values():
                appointment.modify(next_run_time=appointment.trigger.reanchored(now, appointment.next_run_time))

    def _fire(self, job: str, trigger: "_Trigger") -> None:
        self._put(Due(job, trigger.fired(self._clock())))

    def _note_error(self, _: object) -> None:
        self._error = True


class _Scheduler(BackgroundScheduler):  # type: ignore[misc] # apscheduler has no type hints
    @property
    def has_thread(self) -> bool:
        thread = self._thread
        return thread is not None and thread.is_alive()

    @property
    def lock(self) -> AbstractContextManager[object]:
        """Held while runs become due."""
        lock: AbstractContextManager[object] = self._jobstores_lock
        return lock


class _Trigger(BaseTrigger):  # type: ignore[misc] # apscheduler has no type hints
    """One job's timetable as apscheduler asks for it; `booted` is when the machine started, by that clock.

    Its next run makes up for those that were missed if it is to `catch_up`, and `asks` the disk whether any was.
    """

    def __init__(self, table: Timetable, booted: datetime, *, catch_up: bool, asks: bool) -> None:
        self.table = table
        self.catch_up = catch_up
        self._asks = asks
        self._booted = booted

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The next run later than both, so that several that were missed are one run."""
        return self.table.next(max(previous_fire_time or now, now).astimezone(UTC))

    def fired(self, now: datetime) -> Scheduled:
        """What the run is for that starts now."""
        slots = [self.table.slot(now)]
        if self._asks and self.table.timing.every:
            slots.append(now - self.table.timing.every)
        cause = Scheduled(max((slot for slot in slots if slot), default=now), catch_up=self.catch_up)
        self.catch_up = self._asks = False
        return cause

    def reanchored(self, now: datetime, planned: datetime) -> datetime:
        """The next run by a clock that now shows `now`, where it was `planned` before the jump.

        What intervals count from is moved with the clock, unless a success has been met by the new one already.
        """
        jump = _booted(now) - self._booted
        self._booted += jump
        moved = self.table.anchor + jump
        self.table = dataclasses.replace(self.table, anchor=moved if moved <= now else min(self.table.anchor, now))
        left_out = planned <= now and self.table.missed(now - jump, now, by_every=False)
        if left_out or self._asks or planned + jump <= now:
            self.catch_up = True
            return self.table.opening(now)
        return self.table.next(now) or planned


def _booted(now: datetime) -> datetime:
    return now - timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME))
