"""Where checks are looked at: beside the lanes, many at a time, each on a thread that is lost if it cannot be ended."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import field
from queue import Empty, SimpleQueue

from maintd.awake import Awake
from maintd.child import Worker
from maintd.lanes import Done, Wanted
from maintd.runner import Runner
from maintd.runs import Result, Run
from maintd.values import dataclass

KEPT = 30.0
"""Seconds for which an idle thread, and its child, wait for the next look."""
OVERTIME = 1.0
"""Seconds beyond its deadline after which a look is given up, and its thread with it."""


@dataclass(frozen=True)
class Looked(Done):
    """A look has ended."""


@dataclass(eq=False)
class _Thread:
    """One thread of a round; `worker` is the child that it may ask through."""

    worker: Worker | None
    inbox: "SimpleQueue[Wanted | None]" = field(default_factory=SimpleQueue)


@dataclass(eq=False)
class _Look:
    """A look that is being taken; `run` is None before it has begun. Once it is `lost`, what it finds is not wanted.

    It has `begun` at that time of Awake, and `began` at that of the monotonic clock.
    """

    wanted: Wanted
    run: Run | None = None
    begun: float = 0.0
    began: float = 0.0
    is_lost: bool = False


class Rounds:
    """At most `most` looks at a time; more wait. With `in_child` each thread keeps a child for its looks.

    `begin` makes a run when its turn comes, in the thread of the look; `put` gets what came of it. The thread that was
    busy last is taken first, so that no more children are kept than are needed. What was looked at while all of maintd
    was stopped, as `awake` knows, says nothing of what it looked at.
    """

    def __init__(  # noqa: PLR0913 - what bounds it is said by name
        self,
        runner: Runner,
        begin: Callable[[Wanted, Worker | None], Run | None],
        put: Callable[[Looked], None],
        awake: Awake,
        *,
        most: int,
        in_child: bool = False,
    ) -> None:
        self._runner, self._begin, self._put = runner, begin, put
        self._awake, self._most, self._in_child = awake, most, in_child
        self._lock = threading.Lock()
        self._idle: list[_Thread] = []
        self._backlog: deque[Wanted] = deque()
        self._looks: dict[int, _Look] = {}
        self._threads = 0
        self._stopping = False
        self._has_failed = False

    @property
    def alive(self) -> bool:
        """Whether no thread has died of an error of maintd's own."""
        return not self._has_failed

    def add(self, wanted: Wanted, *, once: bool = True) -> bool:
        """Has a job looked at; with `once` not if that is under way already."""
        with self._lock:
            if self._stopping or (once and self._is_pending(wanted.due.job)):
                return False
            if self._idle:
                self._give(self._idle.pop(), wanted)
            elif self._threads < self._most:
                self._start(wanted)
            else:
                self._backlog.append(wanted)
        return True

    def _is_pending(self, job: str) -> bool:
        return any(look.wanted.due.job == job for look in self._looks.values()) or any(
            waiting.due.job == job for waiting in self._backlog
        )

    @property
    def waiting(self) -> set[str]:
        """The names of the checks that wait for one of the `most` places."""
        with self._lock:
            return {wanted.due.job for wanted in self._backlog}

    def is_wanted(self, job: str) -> bool:
        with self._lock:
            return self._is_pending(job)

    @property
    def running(self) -> set[str]:
        """The names of the checks that are being looked at."""
        with self._lock:
            return {look.wanted.due.job for look in self._looks.values() if look.run}

    def hanging(self, job: str) -> Run | None:
        """The look of a job that was given up and still hangs."""
        with self._lock:
            found = (look.run for look in self._looks.values() if look.is_lost and look.wanted.due.job == job)
            return next(found, None)

    def overdue(self) -> list[tuple[Wanted, Run]]:
        """The looks that did not end by their deadline and a while; each is told once, and its thread is given up.

        As long as it hangs, no second look of that job is begun.
        """
        now, found = self._awake.now(), []
        with self._lock:
            for look in self._looks.values():
                if look.run is None or look.is_lost or look.run.job.timeout is None:
                    continue
                if now > look.begun + look.run.job.timeout.total_seconds() + OVERTIME:
                    look.is_lost = True
                    self._threads -= 1
                    found.append((look.wanted, look.run))
            while found and self._backlog and self._threads < self._most:
                self._start(self._backlog.popleft())
        return found

    def stop(self) -> None:
        """Begins nothing more; what is under way changes nothing, and is cut off, which is told to whoever asked."""
        with self._lock:
            self._stopping = True
            under_way = [look for look in self._looks.values() if not look.is_lost]
            cut_off = [*(look.wanted for look in under_way), *self._backlog]
            self._backlog.clear()
            for look in under_way:
                look.is_lost = True
            for thread in self._idle:
                thread.inbox.put(None)
        for wanted in cut_off:
            if wanted.on_end:
                wanted.on_end(Result("", aborted=True))

    def _give(self, thread: _Thread, wanted: Wanted) -> None:
        self._looks[id(wanted)] = _Look(wanted)
        thread.inbox.put(wanted)

    def _start(self, wanted: Wanted) -> None:
        self._threads += 1
        made = _Thread(Worker(background=False) if self._in_child else None)
        self._give(made, wanted)
        threading.Thread(target=self._work, args=[made], name="check", daemon=True).start()

    def _work(self, thread: _Thread) -> None:
        try:
            while (wanted := self._next(thread)) is not None and self._look(thread, wanted):
                pass
        except BaseException:
            self._has_failed = True
            raise
        finally:
            if thread.worker:
                thread.worker.close()

    def _look(self, thread: _Thread, wanted: Wanted) -> bool:
        """Takes one look, and whether the thread may go on: if it was given up meanwhile, another took its place."""
        look = self._looks[id(wanted)]
        look.begun, look.began = self._awake.now(), time.monotonic()
        look.run = self._begin(wanted, thread.worker)
        result = self._runner.run(look.run) if look.run else Result("", aborted=True)
        with self._lock:
            del self._looks[id(wanted)]
            if not look.is_lost:
                if self._backlog:
                    self._give(thread, self._backlog.popleft())
                else:
                    self._idle.append(thread)
        if look.is_lost:
            return False
        if wanted.on_end:
            wanted.on_end(result)
        stood_still = time.monotonic() - look.began - (self._awake.now() - look.begun) > OVERTIME
        self._put(Looked(wanted, None if stood_still else look.run, result))
        return True

    def _next(self, thread: _Thread) -> Wanted | None:
        try:
            return thread.inbox.get(timeout=KEPT)
        except Empty:
            with self._lock:
                if thread not in self._idle:
                    return thread.inbox.get()  # it was given something this very moment
                self._idle.remove(thread)
                self._threads -= 1
        return None
