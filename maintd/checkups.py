"""The checks of a config at work: looked at beside the lanes, and what was found taken to how each stands."""

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from maintd.awake import Awake
from maintd.check import Check
from maintd.child import Worker
from maintd.crew import Crew
from maintd.job import Job
from maintd.lanes import Wanted
from maintd.log import Log
from maintd.readings import Health, Reading
from maintd.rhythm import Rhythm
from maintd.rounds import Looked, Rounds
from maintd.runner import Runner
from maintd.runs import Result, Run
from maintd.standings import Standings
from maintd.state import State
from maintd.timing import spread_offset
from maintd.triggers import Due, Scheduled
from maintd.units import format_limit

HEARTBEAT = "check.heartbeat"
MOST, MOST_BY_NAME, MOST_CHILDREN = 64, 48, 16
"""Looks at a time: here; at what has a name, for which all wait if the resolver does not answer; and through children
of about 20 MB each.
"""
MOST_MATCHING = 8
"""Children that match regular expressions for the looks that are taken here."""


class Checkups:
    """Used by the daemon's main thread alone, `begin` apart, which makes a run in the thread of its look.

    `stopped` has, by program, the processes that somebody has asked supervisord to stop.
    """

    def __init__(  # noqa: PLR0913 - what it is told of programs is said by name
        self,
        log: Log,
        state: State,
        begin: Callable[[Wanted], Run | None],
        put: Callable[[Looked | Due], None],
        awake: Awake,
        *,
        stopped: Callable[[], Mapping[str, tuple[int, ...]]],
    ) -> None:
        self._stopped = stopped
        self._put = put
        self._begin = begin
        self._state = state
        self._jobs: Mapping[str, Job] = {}
        self.standings = Standings(state, log.emit, self._look_now)
        runner = Runner(log)
        self._here = Rounds(runner, self._begun, put, awake, most=MOST)
        self._by_name = Rounds(runner, self._begun, put, awake, most=MOST_BY_NAME)
        self._in_children = Rounds(runner, self._begun, put, awake, most=MOST_CHILDREN, in_child=True)
        self._places = {
            f"one of {MOST} places": self._here,
            f"one of {MOST_BY_NAME} places by name": self._by_name,
            f"one of {MOST_CHILDREN} places with a child": self._in_children,
        }
        self._matching = Crew(MOST_MATCHING)
        self._rhythm = Rhythm(self._in_time)

    def start(self) -> None:
        self._rhythm.start()

    def take_over(self, jobs: Mapping[str, Job], now: datetime, leapt: timedelta = timedelta()) -> None:
        """Goes by the jobs of another config. While no maintd ran the wall clock has `leapt` by so much."""
        for name in self._jobs.keys() - jobs.keys():
            self._rhythm.remove(name)
        self._jobs = jobs
        self.standings.take_over(jobs, now)
        self.shift(leapt)
        for name, job in jobs.items():
            if job.kind == HEARTBEAT and job.enabled:
                memory, beat = self.standings.memory(name), self._state.beat(name)
                memory.setdefault("beat", _moment(beat, now) if beat else None)
                memory.setdefault("begun", _moment(self._state.first_seen(name, now), now))

    def shift(self, by: timedelta) -> None:
        """The wall clock has jumped by so much: who has called in did so as long ago as before that."""
        if by:
            self._state.shift_beats([name for name, job in self._jobs.items() if job.kind == HEARTBEAT], by)

    def keeps_time(self, name: str) -> bool:
        """Whether the check goes by an interval alone; then it is due by that from now on, and by no schedule."""
        job = self._jobs[name]
        if job.lanes or not job.enabled or job.every is None or job.cron or job.window:
            self._rhythm.remove(name)
            return False
        phase = spread_offset(job.spread or job.every, socket.gethostname(), name)  # so that not all look at once
        self._rhythm.set(name, job.every.total_seconds(), phase.total_seconds())
        return True

    def next_run(self, name: str) -> datetime | None:
        """When a check is due that goes by an interval alone."""
        seconds = self._rhythm.seconds_to(name)
        return None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)

    def due(self, due: Due) -> None:
        """Has a check looked at. One whose last look still hangs is down for that reason."""
        rounds = self._rounds(due.job)
        hanging = rounds.hanging(due.job)
        if hanging is None:
            rounds.add(Wanted(due, frozenset()))
        else:
            self._note_hanging(hanging)

    def order(self, wanted: Wanted) -> None:
        """Has a check looked at because a person asked, also while that is under way."""
        self._rounds(wanted.due.job).add(wanted, once=False)

    def done(self, looked: Looked) -> None:
        """Takes in what a look has found."""
        run = looked.run
        if run is None or self._jobs.get(run.name) != run.job:
            return
        now = datetime.now(UTC)
        for step in looked.result.plan or ():
            if isinstance(step, Reading):
                self.standings.note(run.name, run.id, step, now)
        if looked.result.plan is None and looked.result.failed:
            reading = Reading(target=_target(run), reason="the look broke off (job.failed)", health=Health.UNKNOWN)
            self.standings.note(run.name, run.id, reading, now)

    def tick(self) -> None:
        """Gives up the looks that do not end."""
        for rounds in self._places.values():
            for wanted, run in rounds.overdue():
                if wanted.on_end:
                    wanted.on_end(Result(run.id, failed=1))
                self._note_hanging(run)

    def beat(self, name: str, now: datetime) -> bool:
        """Something has called in, which is looked at. Whether there is such a heartbeat."""
        whole = name if name.startswith(f"{HEARTBEAT}.") else f"{HEARTBEAT}.{name}"
        job = self._jobs.get(whole)
        if job is None or not job.enabled:
            return False
        self.standings.memory(whole)["beat"] = time.monotonic()
        self._state.record_beat(whole, now)
        self._look_now(whole)
        return True

    @property
    def alive(self) -> bool:
        return self._rhythm.alive and all(rounds.alive for rounds in self._places.values())

    @property
    def running(self) -> set[str]:
        return set[str]().union(*(rounds.running for rounds in self._places.values()))

    def is_wanted(self, name: str) -> bool:
        return self._rounds(name).is_wanted(name)

    def stop(self) -> None:
        for rounds in self._places.values():
            rounds.stop()

    def told(self) -> list[dict[str, Any]]:
        """Every check for `maintd status`, the worst first."""
        waits = {name: place for place, names in self.waiting().items() for name in names}
        return [check | {"waits_for": waits.get(check["name"])} for check in self.standings.told()]

    def waiting(self) -> dict[str, set[str]]:
        """For which places checks wait, and which."""
        return {place: rounds.waiting for place, rounds in self._places.items()}

    def _in_time(self, name: str) -> None:
        """A check's time has come, in the thread of the rhythm."""
        due, rounds = Due(name, Scheduled(datetime.now(UTC))), self._rounds(name)
        if rounds.hanging(name) is None:
            rounds.add(Wanted(due, frozenset()))
        else:
            self._put(due)

    def _look_now(self, name: str) -> None:
        self.due(Due(name, Scheduled(datetime.now(UTC))))

    def _rounds(self, name: str) -> Rounds:
        job = self._jobs.get(name)
        if not isinstance(job, Check):
            return self._here
        return self._in_children if job.in_child else self._by_name if job.is_by_name else self._here

    def _begun(self, wanted: Wanted, worker: Worker | None) -> Run | None:
        run = self._begin(wanted)
        if run is None:
            return None
        memory = self.standings.memory(run.name)
        ctx = replace(run.ctx, memory=memory, worker=worker or self._matching, stopped=self._stopped())
        return replace(run, ctx=ctx)

    def _note_hanging(self, run: Run) -> None:
        if self._jobs.get(run.name) != run.job or run.job.timeout is None:
            return
        limit = format_limit(run.job.timeout)
        reading = Reading(
            target=_target(run),
            reason=f"the look hangs: it did not end within {limit}, and cannot be ended",
            health=Health.DOWN,
            error="hangs",
            advice="a file system that does not answer, perhaps: look at dmesg and at the mounts",
        )
        self.standings.note(run.name, run.id, reading, datetime.now(UTC))


def _moment(when: datetime, now: datetime) -> float:
    """When that was by the monotonic clock."""
    return time.monotonic() - max((now - when).total_seconds(), 0)


def _target(run: Run) -> str:
    return run.job.target if isinstance(run.job, Check) else run.name
