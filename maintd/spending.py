"""Watches what directories take against their budgets: a thread walks each, so seldom that it costs next to nothing."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

from maintd import unguarded
from maintd.budget import Budget
from maintd.errors import MaintdError
from maintd.events import Event
from maintd.names import printable
from maintd.triggers import Due, Low
from maintd.unguarded import DirectoryFailed
from maintd.units import format_size
from maintd.values import dataclass

SHARE = 0.001
"""Of a core; a walk that takes a second is repeated after a quarter of an hour."""
QUICKEST, SLOWEST = 5.0, 3600.0
_SOONEST, _LATEST = 2.0, 300.0


@dataclass(frozen=True, kw_only=True)
class DirectoryOver(Event):
    """A directory takes more than the `max_used` of its guard."""

    name: ClassVar[str] = "directory.over"
    level: ClassVar[str] = "warning"

    disk_bytes: int
    budget_bytes: int

    @property
    def msg(self) -> str:
        return f"takes {format_size(self.disk_bytes)}, its budget is {format_size(self.budget_bytes)}"


@dataclass(frozen=True, kw_only=True)
class DirectoryOk(Event):
    """A directory that took too much, or could not be looked at, is within its budget."""

    name: ClassVar[str] = "directory.ok"

    disk_bytes: int
    budget_bytes: int

    @property
    def msg(self) -> str:
        return f"takes {format_size(self.disk_bytes)}, within its budget of {format_size(self.budget_bytes)}"


@dataclass
class _Watched:
    """`taken` is None until it is measured, and again while a run works on it; `error`, why it could not be, until it
    could; that is told once, when it becomes `is_unknown`.
    """

    budget: Budget
    taken: int | None = None
    error: Exception | None = None
    is_unknown: bool = False
    next_walk: float = 0.0
    is_over: bool = False
    is_awaited: bool = False
    wait: float = 0.0
    not_before: float = 0.0


class Spending:
    """Used by the daemon's main thread, but for its own thread, which only walks and notes what it found."""

    def __init__(self, emit: Callable[[Event, str], None]) -> None:
        self._emit = emit
        self._watched: dict[str, _Watched] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.rounds = 0
        """How often it has gone through all directories."""

    @property
    def alive(self) -> bool:
        return self._thread is None or self._thread.is_alive()

    def set(self, job: str, budget: Budget) -> None:
        """Watches from now on. What was said of the same directory holds until it is over by this budget."""
        known = self._watched.get(job)
        if known is None or known.budget != budget:
            made = _Watched(budget)
            if known is not None and known.budget.path == budget.path:
                made.is_over, made.is_unknown = known.is_over, known.is_unknown
            self._watched = self._watched | {job: made}
        if self._thread is None:  # most configs have no budget
            self._thread = threading.Thread(target=self._walk_all, name="spending", daemon=True)
            self._thread.start()

    def remove(self, job: str) -> None:
        self._watched = {name: watched for name, watched in self._watched.items() if name != job}

    def recall(self, told: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """What an earlier maintd has told to take too much, as (job, path), until it does not; which is watched."""
        watched = [(job, path) for job, path in told if self.watches(job, path)]
        for job, _ in watched:
            self._watched[job].is_over = True
        return watched

    def watches(self, job: str, path: str) -> bool:
        """Whether it looks after this directory, as it is printed, for that job."""
        return job in self._watched and printable(self._watched[job].budget.path) == path

    def stop(self) -> None:
        self._over.set()

    def look(self) -> Iterator[Due]:
        """What is due: a guard whose directory takes too much."""
        now = time.monotonic()
        for job, watched in self._watched.items():
            taken, error, budget = watched.taken, watched.error, watched.budget
            if error is not None and not watched.is_unknown:
                watched.is_unknown = True
                self._emit(unguarded.of(DirectoryFailed, budget.path, error), job)
            if taken is None or watched.is_awaited:
                continue
            said = {"target": budget.path, "disk_bytes": taken, "budget_bytes": budget.most}
            is_over = taken > budget.most
            if is_over != watched.is_over or watched.is_unknown:
                watched.is_over, watched.is_unknown = is_over, False
                self._emit(DirectoryOver(**said) if is_over else DirectoryOk(**said), job)  # type: ignore[arg-type]
            if is_over and now >= watched.not_before:
                watched.is_awaited, watched.taken = True, None
                yield Due(job, Low(0))

    def ended(self, job: str, *, helped: bool) -> None:
        """A run for that has ended, and it is measured anew; one that could do nothing is repeated later and later."""
        watched = self._watched.get(job)
        if watched is None:
            return
        watched.wait = 0.0 if helped else min(max(2 * watched.wait, _SOONEST), _LATEST)
        watched.not_before = time.monotonic() + watched.wait
        watched.is_awaited, watched.next_walk = False, 0.0

    def _walk_all(self) -> None:
        while not self._over.wait(1):
            self.rounds += 1
            for watched in self._watched.values():
                if not watched.is_awaited and time.monotonic() >= watched.next_walk:
                    begun = time.thread_time()
                    try:
                        watched.taken, watched.error = watched.budget.taken(), None
                    except (OSError, MaintdError) as error:
                        watched.taken, watched.error = None, error
                    cost = time.thread_time() - begun
                    watched.next_walk = time.monotonic() + min(max(cost / SHARE, QUICKEST), SLOWEST)
