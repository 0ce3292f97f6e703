"""A few child processes that many threads share, for calls that are short as a rule and may have to be ended."""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from maintd.child import Worker
from maintd.errors import Refused, TimedOut

_KEPT = 30.0
"""Seconds after which a child that is not needed is ended; the last one is kept."""


class Crew:
    """At most `most` children, each started when all others are busy; who wants one waits for it until its deadline.

    A thread of its own starts them, since a child dies with the thread that started it.
    """

    def __init__(self, most: int) -> None:
        self._most, self._count = most, 0
        self._idle: list[tuple[float, Worker]] = []
        self._freed = threading.Condition()
        self._starter = ThreadPoolExecutor(1, "crew")

    def call(self, function: str, arguments: Mapping[str, Any], *, deadline: float) -> Any:
        """As Worker.call. Raises Refused if no child was free, or had started, until the deadline."""
        worker = self._taken(deadline)
        try:
            if worker.pid is None:
                self._start(worker, deadline)
            return worker.call(function, arguments, deadline=deadline)
        finally:
            self._give_back(worker)

    def _start(self, worker: Worker, deadline: float) -> None:
        self._starter.submit(worker.start).result()
        try:
            worker.call("maintd.expressions:search", {"pattern": "", "text": ""}, deadline=deadline)
        except TimedOut as error:
            message = "the process that matches regular expressions did not start in time"
            raise Refused(message, hint="the machine is very busy, or the timeout very short") from error

    def _taken(self, deadline: float) -> Worker:
        with self._freed:
            is_free = self._freed.wait_for(
                lambda: self._idle or self._count < self._most, max(deadline - time.monotonic(), 0)
            )
            if not is_free:
                message = f"all {self._most} processes that match regular expressions are busy with those of others"
                raise Refused(message, hint="look for checks whose expression takes long, and simplify it")
            if self._idle:
                return self._idle.pop()[1]
            self._count += 1
            return Worker(background=False)

    def _give_back(self, worker: Worker) -> None:
        """The one that was busy last is taken first, so that the others can go."""
        now = time.monotonic()
        with self._freed:
            spare = [one for since, one in self._idle if since < now - _KEPT]
            self._idle = [(since, one) for since, one in self._idle if since >= now - _KEPT]
            self._idle.append((now, worker))
            self._count -= len(spare)
            self._freed.notify()
        for one in spare:
            one.close()
