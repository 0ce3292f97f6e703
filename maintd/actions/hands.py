"""What actions work with during one run: the stop signal, the time limit, and the child process for long work."""

import threading
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import field
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from maintd.child import Worker
from maintd.confinement import Confinement
from maintd.errors import TOO_SLOW, Aborted, Blind, TimedOut
from maintd.steps import Action
from maintd.trends import Sample
from maintd.values import dataclass

_PATIENCE = 600.0
"""Seconds after which a child that says nothing is ended: the owner of a directory can stop one that works as it."""

Made = TypeVar("Made")


def _ignore_count(_count: int) -> None:
    pass


def _ignore(_action: Action, _count: int) -> None:
    pass


@dataclass
class Hands:
    """Shared by the threads of a run. `deadline` is on the monotonic clock, in seconds.

    `progress` is told how many bytes a long action has done so far, each time that it goes over them. `quick` is a
    child for the thread that makes these Hands, which outlives them. `done` are the id() of the plan's actions that
    were done so far, `spared` those that are not needed. What is put into `samples` is remembered. Long work is done in
    the `background`, unless it is urgent. `listings` are what object stores have, by their private directories: when
    that was asked (monotonic), and bytes by name.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    deadline: float | None = None
    lock_fd: int | None = None
    progress: Callable[[Action, int], None] = _ignore
    told_at: float = 0.0
    waits_since: float = 0.0
    quick: Worker | None = None
    done: AbstractSet[int] = frozenset()
    spared: Sequence[Action] = ()
    background: bool = True
    samples: list[Sample] = field(default_factory=list)
    listings: dict[str, tuple[float, dict[str, int]]] = field(default_factory=dict)
    _thread: int = field(default_factory=threading.get_ident)
    _workers: dict[int, Worker] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in self._workers.values():
            worker.__exit__(kind, error, at)

    def get_ready(self) -> None:
        """Starts the background child of this thread."""
        self._background().start()

    def call(self, function: str, action: Action, within: Confinement | None = None, **arguments: Any) -> Any:
        """Runs a function of maintd in a background child of this thread, for `action`, and returns its answer."""
        asked = partial(
            self._background().call,
            function,
            arguments,
            deadline=self.deadline,
            stop=self.stop,
            progress=lambda count: self.progress(action, count),
        )
        return _seeing_if_blind(asked, within)

    def work(self, function: Callable[..., Made], within: Confinement | None, **arguments: Any) -> Made:
        """Has quick work on files done: here if nobody could meddle with it, else in a confined child.

        It is not broken off: what is begun is completed, unless the child falls silent.
        """
        if within is None:
            return function(_ignore_count, **arguments)
        is_ours = threading.get_ident() == self._thread  # a Worker is for one thread at a time
        worker = self.quick if self.quick and is_ours else self._background()
        made: Made = _seeing_if_blind(
            partial(worker.call, f"{function.__module__}:{function.__name__}", arguments), within
        )
        return made

    def _background(self) -> Worker:
        return self._workers.setdefault(
            threading.get_ident(), Worker(lock_fd=self.lock_fd, background=self.background, patience=_PATIENCE)
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
            raise TimedOut("the job's timeout was reached", hint=TOO_SLOW)


def _seeing_if_blind(asked: Callable[..., Any], within: Confinement | None) -> Any:
    """What the child answers. One that is confined may be blind; then it is asked again with its sight."""
    try:
        return asked(within=within)
    except Blind:
        if within is None or within.is_seeing:
            raise
    return asked(within=within.seeing())
