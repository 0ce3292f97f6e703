"""Grows → due: the thread that polls the sizes of all watched files. The poll is the truth, inotify only hints."""

import math
import os
import queue
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import ClassVar

from maintd.errors import Aborted
from maintd.followers import Followers
from maintd.growth import Sizes, Territory, is_regular, survey
from maintd.inotify import Directories, Hint
from maintd.job import Watched
from maintd.triggers import Due, Grown
from maintd.values import dataclass

SURVEY_TRIES = 3
SURVEYS_PER_POLL = 0.01


@dataclass
class Pace:
    """How often to look, in seconds, so that it all takes less than BUDGET of a core. Costs are seconds of CPU.

    Surveys that are hinted at draw on `credit`, so that a storm of directories cannot take more than their share.
    """

    BUDGET: ClassVar = 0.008
    FOR_SURVEYS: ClassVar = 0.004
    QUICKEST: ClassVar = 0.15
    FEW: ClassVar = 400
    SLOWEST_FOR_FEW: ClassVar = 0.2
    SURVEY_EVERY: ClassVar = 60.0
    SURVEY_EVERY_UNHINTED: ClassVar = 2.0
    MOST_CREDIT: ClassVar = 2.0

    poll_cost: float = 0.0
    survey_cost: float = 0.0
    credit: float = MOST_CREDIT
    is_hinted: bool = True

    def polled(self, cost: float, elapsed: float) -> None:
        """Learns what the last poll cost, and that `elapsed` seconds have passed since the one before."""
        self.poll_cost = cost if cost > 2 * self.poll_cost else (self.poll_cost + cost) / 2
        self.credit = min(self.credit + elapsed * self.FOR_SURVEYS, self.MOST_CREDIT)

    @property
    def survey_every(self) -> float:
        at_best = self.SURVEY_EVERY if self.is_hinted else self.SURVEY_EVERY_UNHINTED
        return max(at_best, self.survey_cost / self.FOR_SURVEYS)

    def poll_every(self, files: int) -> float:
        share = self.BUDGET - self.survey_cost / self.survey_every
        slowest = self.SLOWEST_FOR_FEW if files <= self.FEW else math.inf
        return min(max(self.poll_cost / share, self.QUICKEST), slowest)


@dataclass
class _Job:
    watched: tuple[Watched, ...]
    territory: Territory | None = None
    cost: float = 0.0
    next_survey: float = -math.inf
    is_outdated: bool = False


class Watch:
    """Puts Due(job, Grown(paths)) when watched files pass their limit.

    A file is reported once. It is reported again when it was replaced, or fell to its limit and passed it again; or,
    staying too large, some time after a run for it has ended (`settled`): 1 s, then twice that, up to 5 minutes; or
    never, where a run only observes and would say the same each time. One that a run has rotated in place (`relieved`),
    and that is past its limit again already, is reported at once.
    """

    def __init__(self, put: Callable[[Due], None]) -> None:
        self._put = put
        self._wanted: dict[str, tuple[Watched, ...]] = {}
        self._commands: queue.SimpleQueue[Callable[[], bool]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._sizes = Sizes()
        self._directories = Directories()
        self._pace = Pace()
        self._jobs: dict[str, _Job] = {}
        self._followers = Followers()
        self._interval = Pace.QUICKEST
        self.rounds = 0
        """How often it has looked at all files."""

    def set(self, job: str, watched: Sequence[Watched]) -> None:
        """Watches for this job, in place of what it watched before. Any thread may call this, before start or after.

        Where that is the same already, all that was seen of it stays; nothing to watch is as `remove`.
        """
        groups = tuple(watched)
        if not groups:
            self.remove(job)
        elif self._wanted.get(job) != groups:
            self._wanted[job] = groups
            self._commands.put(partial(self._begin, job, groups))

    def remove(self, job: str) -> None:
        self._wanted.pop(job, None)
        self._commands.put(partial(self._end, job))

    def settled(self, job: str, paths: Iterable[str], *, once: bool = False) -> None:
        """A run for these files has ended, whatever came of it; `once` if it is enough to have reported them once."""
        self._commands.put(partial(self._settle, job, tuple(paths), once=once))

    def relieved(self, job: str, paths: Iterable[str]) -> None:
        """A run has rotated these files, whatever it was for."""
        self._commands.put(partial(self._relieve, job, tuple(paths)))

    def start(self) -> None:
        self._directories.open()
        self._thread.start()

    def stop(self, patience: float | None = None) -> None:
        """Ends both threads and waits for them, at most `patience` seconds. A Watch is not started twice."""
        self._stopping.set()
        self._commands.put(lambda: True)
        self._thread.join(patience)
        if not self._thread.is_alive():
            self._directories.close()

    @property
    def alive(self) -> bool:
        """Whether both threads live; if not, nothing is watched any more and the process should be started anew."""
        return self._thread.is_alive() and self._directories.is_alive

    @property
    def files(self) -> int:
        """How many files are watched."""
        return len(self._sizes)

    @property
    def bound(self) -> float:
        """Seconds from a size passed to its Due, at most; without hints, a new file may take that long to be seen."""
        return max(self._interval, self._pace.survey_every) if self.degraded else self._interval

    @property
    def degraded(self) -> str:
        """Why there are no hints for some directories, so that new files in them are found late; or empty."""
        return self._directories.trouble

    def _run(self) -> None:
        with suppress(Aborted):  # told to stop in the middle of a survey
            self._look_around()

    def _look_around(self) -> None:
        last = time.monotonic()
        while not self._stopping.is_set():
            now = time.monotonic()
            spent = time.thread_time()
            self._listen()
            surveys = self._survey_due(now)
            for job, paths in self._sizes.poll(time.monotonic()).items():
                if self._wanted.get(job) is self._jobs[job].watched:
                    self._put(Due(job, Grown(paths)))
            self._pace.polled(time.thread_time() - spent - surveys, now - last)
            self._interval = self._pace.poll_every(len(self._sizes))
            self.rounds += 1
            self._wait(now + self._interval)
            last = now

    def _wait(self, until: float) -> None:
        """Obeys commands until then; after one that calls for a look, only as long as there are more."""
        while not self._stopping.is_set():
            left = until - time.monotonic()
            try:
                command = self._commands.get(block=left > 0, timeout=max(left, 0))
            except queue.Empty:
                return
            if command():
                until = -math.inf

    def _begin(self, name: str, watched: tuple[Watched, ...]) -> bool:
        job = self._jobs.setdefault(name, _Job(watched))
        job.watched, job.next_survey = watched, -math.inf
        return True

    def _end(self, name: str) -> bool:
        job = self._jobs.pop(name, None)
        if job:
            self._pace.survey_cost -= job.cost
            for directory in self._followers.move(name, job.territory, None):
                self._directories.unwatch(directory)
            self._sizes.forget(name)
        return False

    def _settle(self, name: str, paths: tuple[str, ...], *, once: bool) -> bool:
        self._sizes.settle(name, paths, time.monotonic(), once=once)
        return False

    def _relieve(self, name: str, paths: tuple[str, ...]) -> bool:
        self._sizes.relieve(name, paths)
        return False

    def _listen(self) -> None:
        hints = self._directories.hints()
        if hints is None:
            for job in self._jobs.values():
                job.is_outdated = True
        for hint in hints or ():
            for name in self._followers.of(hint):
                self._heed(name, self._jobs[name], hint)

    def _heed(self, name: str, job: _Job, hint: Hint) -> None:
        territory = job.territory
        if territory is None:
            return
        path = os.path.join(hint.directory, hint.name)
        if not hint.name or (hint.directory, hint.name) in territory.route:
            job.is_outdated = True
        elif hint.directory not in territory.directories:
            return
        elif hint.is_directory:
            job.is_outdated = job.is_outdated or territory.has_directory(path)
        elif hint.has_appeared and (limit := territory.limit(path)) is not None and is_regular(path):
            self._sizes.add(name, path, limit)
            self._sizes.renew(path)

    def _survey_due(self, now: float) -> float:
        """Surveys the jobs whose time has come or whose directories have changed; returns what it cost."""
        cost = regular = 0.0
        for name, job in self._jobs.items():
            if self._stopping.is_set():
                break
            is_new = job.next_survey == -math.inf
            if not is_new and job.is_outdated and self._pace.credit > 0:
                self._survey(name, job, now)
                self._pace.credit -= job.cost
            elif is_new or (now >= job.next_survey and regular < SURVEYS_PER_POLL):
                self._survey(name, job, now)
                regular += 0 if is_new else job.cost
            else:
                continue
            cost += job.cost
        return cost

    def _survey(self, name: str, job: _Job, now: float) -> None:
        """Reads a job's directories, again if some were not watched before: a file may have come in between."""
        spent = time.thread_time()
        self._directories.open()
        made: frozenset[str] = frozenset()
        for _ in range(SURVEY_TRIES):
            territory = survey(job.watched, self._stopping.is_set)
            new = self._follow(name, job, territory)
            made |= new
            job.is_outdated = bool(new)
            if not new:
                break
        self._sizes.replace(name, territory)
        for path in territory.files if made else ():
            if os.path.dirname(path) in made:
                self._sizes.renew(path)
        self._pace.is_hinted = not self._directories.trouble
        cost = time.thread_time() - spent
        self._pace.survey_cost += cost - job.cost
        job.cost = cost
        spread = 0.75 + zlib.crc32(name.encode()) / 2**34
        job.next_survey = now + self._pace.survey_every * spread

    def _follow(self, name: str, job: _Job, territory: Territory) -> frozenset[str]:
        """Watches the territory's directories; returns those of them that were not watched until now."""
        for directory in self._followers.move(name, job.territory, territory):
            self._directories.unwatch(directory)
        job.territory = territory
        return frozenset(directory for directory in territory.to_watch if self._directories.watch(directory))
