"""The two lanes: a thread each, which runs one job after the other, and says when each is done."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from maintd.log import Listener
from maintd.runner import Runner
from maintd.runs import Result, Run
from maintd.steps import Action, Lane
from maintd.triggers import Due

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
    run: Run | None = None
    result: Result = field(default_factory=lambda: Result(""))


class Lanes:
    """Runs wait in the queue of their lane. `begin` makes a run when its turn comes, `put` gets what came of it.

    Both are called in the lane's thread.
    """

    def __init__(self, runner: Runner, begin: Callable[[Wanted], Run | None], put: Callable[[Done], None]) -> None:
        self._runner = runner
        self._begin = begin
        self._put = put
        self._queues: dict[Lane, SimpleQueue[Wanted | None]] = {lane: SimpleQueue() for lane in Lane}
        self._threads = [
            threading.Thread(target=self._work, args=[queue], name=lane, daemon=True)
            for lane, queue in self._queues.items()
        ]
        self._current: dict[str, Run] = {}
        self._stopping = threading.Event()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def add(self, lane: Lane, wanted: Wanted) -> None:
        self._queues[lane].put(wanted)

    @property
    def running(self) -> set[str]:
        """The names of the jobs at work."""
        return {run.name for run in list(self._current.values())}

    @property
    def alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    def stop(self, patience: float) -> bool:
        """Ends the runs at work at their next step, and whether all came to that within `patience` seconds."""
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
        while (wanted := self._next(queue)) is not None and not self._stopping.is_set():
            run = self._begin(wanted)
            if run is None:
                self._put(Done(wanted))
                continue
            self._current[run.id] = run
            if self._stopping.is_set():
                run.stop.set()
            try:
                result = self._runner.run(run)
            finally:
                del self._current[run.id]
            if wanted.on_end:
                wanted.on_end(result)
            self._put(Done(wanted, run, result))
        self._runner.rest()

    def _next(self, queue: "SimpleQueue[Wanted | None]") -> Wanted | None:
        """What is wanted next. The child of the last run is kept a while for it, since to start one takes 40 ms."""
        try:
            return queue.get(timeout=KEPT)
        except Empty:
            self._runner.rest()
            return queue.get()
