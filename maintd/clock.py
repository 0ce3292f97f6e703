"""Whether the wall clock has jumped: it is compared with the monotonic one, which nobody can set."""

import time

LEAST = 5.0
"""Seconds; NTP slews slower than that, and a suspended machine is caught up with in one step."""


class Clock:
    """`jump` may be asked in any thread; `accept` belongs to the daemon's main thread."""

    def __init__(self) -> None:
        self._base = time.time() - time.monotonic()

    def jump(self) -> float:
        """By how many seconds the wall clock was set since the last `accept`; 0 if by less than LEAST."""
        by = time.time() - time.monotonic() - self._base
        return by if abs(by) > LEAST else 0.0

    def accept(self) -> float:
        """Takes the clock as it is now for right, and returns the jump, from the same reading.

        Slow slewing is accepted each time, so it never adds up.
        """
        now = time.time() - time.monotonic()
        by, self._base = now - self._base, now
        return by if abs(by) > LEAST else 0.0
