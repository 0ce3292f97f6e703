"""When checks are due that go by an interval alone: a clock that nobody can set, and little work for each."""

import heapq
import threading
import time
from collections.abc import Callable


class Rhythm:
    """One thread that calls `due` with the name of each whose time has come. The rest may be used by any thread.

    What is late by more than its interval, after a suspend say, is due once and goes on from there.
    """

    def __init__(self, due: Callable[[str], None]) -> None:
        self._due = due
        self._every: dict[str, float] = {}
        self._next: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="rhythm", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def set(self, name: str, every: float, phase: float) -> None:
        """Has `name` due every so many seconds, first after `phase`; one with the same interval keeps its times."""
        with self._changed:
            if self._every.get(name) == every:
                return
            self._every[name] = every
            self._put(name, time.monotonic() + phase)
            self._changed.notify()

    def remove(self, name: str) -> None:
        with self._changed:
            self._every.pop(name, None)
            self._next.pop(name, None)

    def seconds_to(self, name: str) -> float | None:
        """In how many seconds it is due; None if it is not kept here."""
        at = self._next.get(name)
        return None if at is None else max(at - time.monotonic(), 0.0)

    def _put(self, name: str, at: float) -> None:
        self._next[name] = at
        heapq.heappush(self._heap, (at, name))

    def _work(self) -> None:
        while True:
            self._due(self._await())

    def _await(self) -> str:
        """Waits until one is due. What was removed or set anew since it was put is passed over."""
        with self._changed:
            while True:
                now = time.monotonic()
                if not self._heap or self._heap[0][0] > now:
                    self._changed.wait(self._heap[0][0] - now if self._heap else None)
                    continue
                at, name = heapq.heappop(self._heap)
                if self._next.get(name) == at:
                    following = at + self._every[name]
                    self._put(name, following if following > now else now + self._every[name])
                    return name
