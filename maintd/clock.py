"""Whether the wall clock has jumped: it is compared with the monotonic one, which nobody can set."""

import time
from collections.abc import Callable

LEAST = 5.0
"""Seconds; NTP slews slower than that, and a suspended machine is caught up with in one step."""


class Clock:
    """`drift` and `jump` may be asked in any thread; `accept` belongs to the daemon's main thread."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._base = wall() - time.monotonic()

    def drift(self) -> float:
        """By how many seconds the wall clock has gone away from what was last accepted."""
        return self._wall() - time.monotonic() - self._base

    def jump(self) -> float:
        """By how many seconds it was set since then; 0 if by less than LEAST."""
        return as_jump(self.drift())

    def accept(self, drift: float) -> None:
        """Takes the clock as it was at that reading for right; a jump that came after it is still to be seen.

        Slow slewing is accepted each time, so it never adds up.
        """
        self._base += drift


def as_jump(drift: float) -> float:
    """The drift in seconds if it is a jump, else 0."""
    return drift if abs(drift) > LEAST else 0.0
