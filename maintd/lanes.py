"""The two lanes: a thread each, which runs one job after the other, and says when each is done."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

from maintd.runner import Result, Run, Runner
from maintd.steps import Lane


@dataclass(frozen=True)
class Done:
    """A run has ended."""

    run: Run
    result: Result


class Lanes:
    """Runs wait in the queue of their lane. Called in its thread: `refresh` at a run's start, `put` at its end."""

    def __init__(self, runner: Runner, put: Callable[[Done], None], refresh: Callable[[Run], Run]) -> None:
        self._runner = runner
        self._put = put
        self._refresh = refresh
        self._queues: dict[Lane, SimpleQueue[Run | None]] = {lane: SimpleQueue() for lane in Lane}
        self._threads = [
            threading.Thread(target=self._work, args=[queue], name=lane, daemon=True)
            for lane, queue in self._queues.items()
        ]
        self._current: dict[str, Run] = {}
        self._stopping = threading.Event()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def add(self, lane: Lane, run: Run) -> None:
        self._queues[lane].put(run)

    @property
    def running(self) -> set[str]:
        """The names of the jobs at work."""
        return {run.name for run in self._current.values()}

    @property
    def alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    def stop(self, patience: float) -> bool:
        """Ends the runs at work at their next step, and whether that took no longer than `patience` seconds."""
        self._stopping.set()
        for run in list(self._current.values()):
            run.stop.set()
        for queue in self._queues.values():
            queue.put(None)
        for thread in self._threads:
            thread.join(patience)
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, queue: "SimpleQueue[Run | None]") -> None:
        while (run := queue.get()) is not None and not self._stopping.is_set():
            run = self._refresh(run)
            self._current[run.id] = run
            if self._stopping.is_set():
                run.stop.set()
            try:
                result = self._runner.run(run)
            finally:
                del self._current[run.id]
            self._put(Done(run, result))
