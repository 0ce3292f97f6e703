"""A clock that stands still while this process does: stopped by a signal, in a virtual machine that is paused."""

import threading
import time

STEP = 1.0
_MOST = 3.0
"""Seconds from one step to the next that count; a machine that is busy takes longer for one now and then."""


class Awake:
    """Seconds in which this process could run, in any thread. Whoever has a thread for it calls `step` every STEP."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen = time.monotonic()
        self._passed = 0.0

    def now(self) -> float:
        with self._lock:
            return self._passed + min(time.monotonic() - self._seen, _MOST)

    def step(self) -> None:
        with self._lock:
            seen, self._seen = self._seen, time.monotonic()
            self._passed += min(self._seen - seen, _MOST)
