"""What is pending: no job is queued twice for one cause, a failed or waiting run is tried again with backoff."""

import heapq
import itertools
from dataclasses import dataclass, field

from maintd.triggers import Cause, Due, Grown

RETRY_FIRST, RETRY_LAST = 5.0, 300.0

Key = tuple[str, type]


@dataclass(slots=True)
class Agenda:
    """Used by the main thread alone. Times are of time.monotonic(), in seconds."""

    _pending: dict[Key, Due | None] = field(default_factory=dict)
    _retries: list[tuple[float, int, Due]] = field(default_factory=list)
    _failures: dict[Key, int] = field(default_factory=dict)
    _order: "itertools.count[int]" = field(default_factory=itertools.count)

    def begin(self, due: Due) -> bool:
        """Whether to queue a run now. If one is pending already, one more follows when that has ended."""
        key = _key(due.job, due.cause)
        if key in self._pending:
            self._pending[key] = _merged(self._pending[key], due)
            return False
        self._pending[key] = None
        return True

    def end(self, due: Due) -> Due | None:
        """Takes note that the run has ended; what came due for the same cause meanwhile is to follow."""
        return self._pending.pop(_key(due.job, due.cause), None)

    def retry(self, due: Due, now: float) -> float:
        """Puts a run off, longer each time it goes on failing; returns the delay in seconds."""
        key = _key(due.job, due.cause)
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay = min(RETRY_FIRST * 2.0**count, RETRY_LAST)
        if not any(other.job == due.job and type(other.cause) is type(due.cause) for _, _, other in self._retries):
            heapq.heappush(self._retries, (now + delay, next(self._order), due))
        return delay

    def went_well(self, due: Due) -> None:
        self._failures.pop(_key(due.job, due.cause), None)

    def ripe(self, now: float) -> list[Due]:
        """The runs whose delay is over."""
        out: list[Due] = []
        while self._retries and self._retries[0][0] <= now:
            out.append(heapq.heappop(self._retries)[2])
        return out

    def is_pending(self, job: str) -> bool:
        """Whether a run of the job is queued or at work."""
        return any(name == job for name, _ in self._pending)

    def forget(self, job: str) -> None:
        """Drops what was put off for a job that is gone or has changed."""
        self._retries = [entry for entry in self._retries if entry[2].job != job]
        heapq.heapify(self._retries)
        for key in [key for key in self._failures if key[0] == job]:
            del self._failures[key]


def _merged(earlier: Due | None, later: Due) -> Due:
    """One run for both; logs that have grown must not be forgotten over others."""
    if earlier and isinstance(earlier.cause, Grown) and isinstance(later.cause, Grown):
        return Due(later.job, Grown(earlier.cause.paths | later.cause.paths))
    return later


def _key(job: str, cause: Cause) -> Key:
    return job, type(cause)
