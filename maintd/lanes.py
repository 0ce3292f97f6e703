"""The lanes: a thread each, which runs one job after the other, and says when each is done."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue

from maintd.log import Listener
from maintd.runner import Runner
from maintd.runs import Result, Run
from maintd.steps import Action, Lane
from maintd.triggers import Due
from maintd.values import dataclass

KEPT = 10.0
"""Seconds for which the child of a run is kept for the next one."""


@dataclass(frozen=True)
class Wanted:
    """A run that is to be, for those parts of the work; what it is made from is decided when it begins.

    The rest is for whoever asked for it: events, steps, progress, and the end, called in the lane's thread.
    """

    due: Due
    lanes: frozenset[Lane]
    listener: Listener | None = None
    on_step: Callable[[int, int, Action], None] | None = None
    on_progress: Callable[[Action, int], None] | None = None
    on_end: Callable[[Result], None] | None = None


@dataclass(frozen=True)
class Done:
    """A run has ended; `run` is None if there was none, because the job was gone or paused when its turn came."""

    wanted: Wanted
    run: Run | None
    result: Result


class Lanes:
    """Runs wait in the queue of their lane. `begin` makes a run when its turn comes, `put` gets what came of it.

    Both are called in the lane's thread. How long a run takes goes by `clock`.
    """

    def __init__(
        self,
        runner: Runner,
        begin: Callable[[Wanted], Run | None],
        put: Callable[[Done], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner, self._clock = runner, clock
        self._begin = begin
        self._put = put
        self._queues: dict[Lane, SimpleQueue[Wanted | None]] = {lane: SimpleQueue() for lane in Lane}
        self._threads = [
            threading.Thread(target=self._work, args=[queue], name=lane, daemon=True)
            for lane, queue in self._queues.items()
        ]
        self._current: dict[str, Run] = {}
        self._at_work: dict[str, tuple[Wanted, Run]] = {}
        self._since: dict[str, float] = {}
        self._stirred: dict[str, float] = {}
        self._wanted: Counter[str] = Counter()
        self._broken_off: SimpleQueue[Wanted] = SimpleQueue()
        self._counting = threading.Lock()
        self._stopping = threading.Event()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def add(self, lane: Lane, wanted: Wanted) -> None:
        self._count(wanted, 1)
        self._queues[lane].put(wanted)

    @property
    def running(self) -> set[str]:
        """The names of the jobs at work; a run that waits for the lock of a lane is not."""
        return {run.name for run in list(self._current.values()) if run.begun.is_set()}

    def overdue(self) -> dict[str, float]:
        """The jobs at work that should have ended by their timeout, and by how many seconds they are beyond it."""
        now, found = self._clock(), {}
        for run in list(self._current.values()):
            since = self._since.get(run.id)
            if run.job.timeout is not None and since is not None and run.begun.is_set():
                late = now - since - run.job.timeout.total_seconds()
                found.update({run.name: late} if late > 0 else {})
        return found

    def quiet(self) -> dict[str, float]:
        """The jobs at work that have no timeout, and for how many seconds they have done nothing that can be seen."""
        now, found = self._clock(), {}
        for run in list(self._current.values()):
            if run.job.timeout is None:
                if run.stirs.is_set() or not run.begun.is_set():
                    run.stirs.clear()
                    self._stirred[run.id] = now
                found[run.name] = now - self._stirred.get(run.id, now)
        return found

    def break_off(self) -> None:
        """Has the long work end that holds up what is urgent, from any thread."""
        for wanted, run in list(self._at_work.values()):
            if Lane.HEAVY in run.ctx.lanes and not run.job.is_urgent and run.begun.is_set() and not run.stop.is_set():
                run.stop.set()
                self._broken_off.put(wanted)

    def broken_off(self) -> Iterator[Wanted]:
        """What was ended so since this was asked last, to be begun anew."""
        with suppress(Empty):
            while True:
                yield self._broken_off.get_nowait()

    def ahead(self, wanted: Wanted) -> list[str]:
        """The names of the jobs at work that such a run would have to wait for now, but for its own."""
        at_work = [run for _, run in list(self._at_work.values()) if run.ctx.lanes & wanted.lanes]
        return sorted({run.name for run in at_work} - {wanted.due.job})

    def is_wanted(self, job: str) -> bool:
        """Whether a run of the job is at work or waits for its turn."""
        return self._wanted[job] > 0

    @property
    def alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    def stop(self, patience: float) -> bool:
        """Ends the runs at work at their next step, and whether all came to that within `patience` seconds.

        Runs that wait for their turn are ended unbegun, which is told to whoever asked for them.
        """
        self._stopping.set()
        for run in list(self._current.values()):
            run.stop.set()
        for queue in self._queues.values():
            queue.put(None)
        end = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, queue: "SimpleQueue[Wanted | None]") -> None:
        while (wanted := self._next(queue)) is not None:
            run = None if self._stopping.is_set() else self._begin(wanted)
            if run is None:
                self._end(wanted, None, Result("", aborted=True))
                continue
            self._current[run.id] = run
            self._at_work[run.id] = wanted, run
            self._since[run.id] = self._stirred[run.id] = self._clock()
            if self._stopping.is_set():
                run.stop.set()
            try:
                result = self._runner.run(run)
            finally:
                del self._current[run.id], self._at_work[run.id], self._since[run.id], self._stirred[run.id]
            self._end(wanted, run, result)
        self._runner.rest()

    def _end(self, wanted: Wanted, run: Run | None, result: Result) -> None:
        self._count(wanted, -1)
        if wanted.on_end:
            wanted.on_end(result)
        self._put(Done(wanted, run, result))

    def _count(self, wanted: Wanted, by: int) -> None:
        with self._counting:
            self._wanted[wanted.due.job] += by
            if not self._wanted[wanted.due.job]:
                del self._wanted[wanted.due.job]

    def _next(self, queue: "SimpleQueue[Wanted | None]") -> Wanted | None:
        """What is wanted next. The child of the last run is kept a while for it, since to start one takes 40 ms."""
        try:
            return queue.get(timeout=KEPT)
        except Empty:
            self._runner.rest()
            return queue.get()
