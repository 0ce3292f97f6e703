"""What a directory may take on the disk, with all below it, and what it takes now."""

import os
import time

from maintd import durable, grounds
from maintd.units import format_size
from maintd.values import dataclass
from maintd.walk import Walk

_BLOCK = 4096
_QUICK = 0.02
"""Seconds; some ten thousand files are walked in that."""
_REST = 20.0


@dataclass(frozen=True)
class Budget:
    """At most so many bytes are to be taken on the disk by `path` and what is below it, on its file system."""

    path: str
    most: int

    def taken(self) -> int:
        """Walks it. Raises OSError, Refused."""
        with durable.directory(grounds.resolve(self.path)) as root:
            return Walk(self.path, 1, lambda _: None).run(root).total.disk

    def excess(self, taken: int) -> str:
        """What is too much, for people, or nothing."""
        return f"{format_size(taken)} taken, {format_size(self.most)} are allowed" if taken > self.most else ""

    def lower(self) -> "Budget":
        """What is aimed at once it was exceeded, so that it is not exceeded again at once: a tenth less."""
        return Budget(self.path, self.most - self.most // 10)


class Reckoning:
    """The way down to a budget, while steps are done for it: `taken` is what it takes at first.

    A directory that is walked within `quick` seconds is walked before each step. Another one after 1, 2, 4, … steps,
    from which it is learned how much a step frees of what it is about; when what was done should have freed half of the
    excess; and when the last walk was longer ago than `rest` times what it took, so that others, who write or delete
    there as well, are found out in time.
    """

    def __init__(self, budget: Budget, taken: int, *, quick: float = _QUICK, rest: float = _REST) -> None:
        self._budget, self._excess = budget, taken - budget.most
        self._quick, self._rest = quick, rest
        self._block = max(os.statvfs(grounds.resolve(budget.path)).f_frsize, _BLOCK)
        self._walked, self._cost = time.monotonic(), 0.0
        self._freed, self._rate = 0, 1.0
        self._steps, self._at_walk = 0, 0

    def is_met(self) -> bool:
        """Whether it takes no more than it may; once it was so, that stays."""
        if self._excess > 0 and self._is_doubtful():
            self._walk()
        return self._excess <= 0

    def _is_doubtful(self) -> bool:
        is_due = time.monotonic() - self._walked > self._rest * self._cost
        is_learned = self._steps < max(2 * self._at_walk, 1)
        is_half = 2 * self._freed * self._rate >= self._excess
        return is_half or not is_learned or is_due or self._cost < self._quick

    def _walk(self) -> None:
        begun, before = time.monotonic(), self._excess
        self._excess = self._budget.taken() - self._budget.most
        self._walked = time.monotonic()
        self._cost = self._walked - begun
        if self._freed:
            self._rate = max((before - self._excess) / self._freed, 1.0)
        self._freed, self._at_walk = 0, self._steps

    def note(self, size: int) -> None:
        """A step was done, which is about so many bytes: in whole blocks, or clusters."""
        self._freed += -(-size // self._block) * self._block
        self._steps += 1
