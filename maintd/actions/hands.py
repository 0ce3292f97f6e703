"""What actions work with during one run: the stop signal, the time limit, and the child process for long work."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from maintd.child import Worker
from maintd.errors import Aborted, TimedOut
from maintd.steps import Action


def _ignore(_action: Action, _count: int) -> None:
    pass


@dataclass(slots=True)
class Hands:
    """Shared by the threads of a run. `deadline` is on the monotonic clock, in seconds.

    `progress` is told how many bytes a long action has done so far.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    deadline: float | None = None
    lock_fd: int | None = None
    progress: Callable[[Action, int], None] = _ignore
    told_at: float = 0.0
    waits_since: float = 0.0
    _workers: dict[int, Worker] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in self._workers.values():
            worker.__exit__(kind, error, at)

    def call(self, function: str, action: Action, **arguments: Any) -> Any:
        """Runs a function of maintd in a child process of the calling thread, for `action`, and returns its answer."""
        worker = self._workers.setdefault(threading.get_ident(), Worker(lock_fd=self.lock_fd))
        return worker.call(
            function,
            arguments,
            deadline=self.deadline,
            stop=self.stop,
            progress=lambda count: self.progress(action, count),
        )

    def pause(self, seconds: float) -> None:
        """Waits, but not beyond the stop signal or the time limit: raises Aborted or TimedOut then."""
        left = seconds if self.deadline is None else min(seconds, self.deadline - time.monotonic())
        if self.stop.wait(max(left, 0)):
            raise Aborted("told to stop")
        self.check()

    @property
    def is_over(self) -> bool:
        """Whether the run's time limit was reached."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def check(self) -> None:
        """Raises Aborted or TimedOut if the run is to end."""
        if self.stop.is_set():
            raise Aborted("told to stop")
        if self.is_over:
            raise TimedOut("the job's timeout was reached", hint="raise its timeout, or look at what is slow")
