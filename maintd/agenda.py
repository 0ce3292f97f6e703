"""What is pending: no job is queued twice for one cause, a failed or waiting run is tried again with backoff."""

import heapq
import itertools
from dataclasses import field, replace

from maintd.triggers import AskedBefore, Due, Grown
from maintd.values import dataclass

RETRY_FIRST, RETRY_LAST = 5.0, 300.0

Key = tuple[str, type, bool]


@dataclass
class Agenda:
    """Used by the main thread alone. Times are of time.monotonic(), in seconds."""

    _pending: dict[str, dict[Key, Due | None]] = field(default_factory=dict)
    _retries: list[tuple[float, int, Due]] = field(default_factory=list)
    _failures: dict[tuple[str, type], int] = field(default_factory=dict)
    _order: "itertools.count[int]" = field(default_factory=itertools.count)

    def begin(self, due: Due) -> bool:
        """Whether to queue a run now. If one is pending already, one more follows when that has ended."""
        key, own = _key(due), self._pending.setdefault(due.job, {})
        if key in own:
            own[key] = _merged(own[key], due)
            return False
        own[key] = None
        return True

    def end(self, due: Due) -> Due | None:
        """Takes note that the run has ended; what came due for the same cause meanwhile is to follow."""
        own = self._pending.get(due.job, {})
        follows = own.pop(_key(due), None)
        if not own:
            self._pending.pop(due.job, None)
        return follows

    def retry(self, due: Due, now: float) -> float:
        """Puts a run off, longer each time it goes on failing; returns the delay in seconds."""
        failing = due.job, type(due.cause)
        count = self._failures.get(failing, 0)
        self._failures[failing] = count + 1
        delay = min(RETRY_FIRST * 2.0 ** min(count, 16), RETRY_LAST)
        for at, (when, order, other) in enumerate(self._retries):
            if _key(other) == _key(due):
                self._retries[at] = when, order, _merged(other, due) if isinstance(due.cause, AskedBefore) else other
                return delay
        heapq.heappush(self._retries, (now + delay, next(self._order), due))
        return delay

    def went_well(self, due: Due) -> None:
        self._failures.pop((due.job, type(due.cause)), None)

    def ripe(self, now: float) -> list[Due]:
        """The runs whose delay is over."""
        out: list[Due] = []
        while self._retries and self._retries[0][0] <= now:
            out.append(heapq.heappop(self._retries)[2])
        return out

    def forget(self, job: str) -> None:
        """Drops what was put off for a job that is gone or has changed."""
        self._retries = [entry for entry in self._retries if entry[2].job != job]
        heapq.heapify(self._retries)
        for key in [key for key in self._failures if key[0] == job]:
            del self._failures[key]


def _merged(earlier: Due | None, later: Due) -> Due:
    """One run for both; logs that have grown or were asked for must not be forgotten over others, nor who was told."""
    if earlier:
        later = replace(later, told=(*earlier.told, *later.told))
    if earlier and isinstance(earlier.cause, Grown) and isinstance(later.cause, Grown):
        return replace(later, cause=Grown(earlier.cause.paths | later.cause.paths))
    if earlier and isinstance(earlier.cause, AskedBefore) and isinstance(later.cause, AskedBefore):
        return replace(later, cause=AskedBefore(earlier.cause.logs | later.cause.logs))
    return later


def _key(due: Due) -> Key:
    return due.job, type(due.cause), due.rest
