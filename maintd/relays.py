"""Calls one after the other in a thread; one that hangs is left behind with it, and the rest go on in another."""

import threading
from collections.abc import Callable
from queue import SimpleQueue

from maintd.values import dataclass


@dataclass(eq=False)
class _Thread:
    """One thread, and what it calls with, since when; once it is `lost` another has taken its place."""

    name: str = ""
    since: float = 0.0
    is_lost: bool = False


class Relay:
    """Calls `work` with each name that is put, from any thread; a name that waits, or hangs, is not put again.

    A call hangs if it takes longer than `longest`, in seconds of `clock`: a read of /proc cannot be ended.
    """

    def __init__(self, work: Callable[[str], None], clock: Callable[[], float], longest: float) -> None:
        self._work, self._clock, self._longest = work, clock, longest
        self._queue: SimpleQueue[str] = SimpleQueue()
        self._lock = threading.Lock()
        self._pending: set[str] = set()
        self._hanging: set[str] = set()
        self._changed = threading.Condition(self._lock)
        self._current: _Thread | None = None
        self._has_failed = False

    @property
    def alive(self) -> bool:
        """Whether no thread has died of an error of maintd's own."""
        return not self._has_failed

    def put(self, name: str) -> None:
        with self._lock:
            if name not in self._pending:
                self._pending.add(name)
                self._queue.put(name)
            if self._current is None:
                self._start()

    def settle(self, patience: float) -> None:
        """Waits until nothing is left to be called but what hangs, at most so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending <= self._hanging, patience)

    def lost(self) -> str:
        """The name whose call hangs, once; asked every now and then, by one thread."""
        with self._lock:
            current = self._current
            if current is None or not current.name or self._clock() - current.since <= self._longest:
                return ""
            current.is_lost = True
            self._hanging.add(current.name)
            self._start()
            return current.name

    def _start(self) -> None:
        self._current = _Thread()
        threading.Thread(target=self._call_all, args=[self._current], name="relay", daemon=True).start()

    def _call_all(self, own: _Thread) -> None:
        try:
            while not own.is_lost:
                name = self._queue.get()
                with self._lock:
                    own.name, own.since = name, self._clock()
                self._work(name)
                with self._lock:
                    own.name = ""
                    self._pending.discard(name)
                    self._hanging.discard(name)
                    self._changed.notify_all()
        except BaseException:
            self._has_failed = True
            raise
