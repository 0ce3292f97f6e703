"""Signals are heard at once, whatever the main thread does.

Python runs a handler when the main thread next executes bytecode. A signal that comes just before that thread falls
asleep in a queue, or that the kernel gives to another thread, is noticed only when the sleep is over. The wakeup
descriptor (signal.set_wakeup_fd) is written to in any case. So a system call that a signal meets goes on (sigaction(2),
SA_RESTART): SQLite takes an fsync that was interrupted, as some file systems' may be, for a disk that fails.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping


def hold_back(numbers: Iterable[int]) -> None:
    """Keeps signals waiting until there is a Hearing of them: by default most end the process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


class Hearing:
    """Calls what belongs to each signal that comes, also while it was held back, in a thread of its own.

    To be made in the main thread.
    """

    def __init__(self, calls: Mapping[int, Callable[[], None]]) -> None:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._writer, False)
        for number in calls:
            signal.signal(number, lambda *_: None)
            signal.siginterrupt(number, False)  # noqa: FBT003
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._hear, args=[calls], name="signals", daemon=True)
        self._thread.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, calls)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _hear(self, calls: Mapping[int, Callable[[], None]]) -> None:
        while numbers := os.read(self._reader, 64):
            for number in numbers:
                if number in calls:
                    calls[number]()
