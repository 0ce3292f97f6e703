"""Starts the children of a subject without another interpreter: a tenth of a second of CPU less for each.

`maintd.child` is forked from the subject, which has loaded it, instead of being executed. What execve(2) would have
done is done here: descriptors, handlers of signals, the environment and the session are as Popen makes them. Every so
often a run starts its children as always, so that what a new interpreter would do otherwise is seen.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

EXECUTED = 8
"""Every how many-th run has its children executed."""


class Forked:
    """As much of Popen as child.Worker uses."""

    def __init__(self, pid: int, stdin: int, stdout: int) -> None:
        self.pid = pid
        self.stdin, self.stdout = os.fdopen(stdin, "wb", 0), os.fdopen(stdout, "rb", 0)
        self._status: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        return self._waited(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self._waited(0 if end is None else os.WNOHANG)) is None:
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"{self.pid} has not ended")
            time.sleep(0.001)
        return code

    def _waited(self, how: int) -> int | None:
        with self._lock:
            if self._status is None:
                pid, status = os.waitpid(self.pid, how)
                if pid == 0:
                    return None
                self._status = os.waitstatus_to_exitcode(status)
            return self._status


def install() -> None:
    """Has every Worker of this process fork its child from now on."""
    from maintd.child import Worker

    Worker._spawn = _spawn  # type: ignore[method-assign,assignment]


def _spawn(worker: Any) -> Forked:
    from maintd import environment

    theirs, ours, ready = os.pipe(), os.pipe(), os.pipe()
    parent, given = os.getpid(), environment.given()
    pid = os.fork()
    if pid == 0:
        _live(worker, parent, given, theirs[0], ours[1])
    for descriptor in (theirs[0], ours[1], ready[1]):
        os.close(descriptor)
    os.read(ready[0], 1)  # to its end: as after Popen, the child is in a session of its own by now
    os.close(ready[0])
    return Forked(pid, theirs[1], ours[0])


def _live(worker: Any, parent: int, given: dict[str, str], stdin: int, stdout: int) -> NoReturn:
    """The child: what Popen does between fork and exec, and what an interpreter does at its start; then its main."""
    code = 1
    try:
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        os.setsid()
        _close_but({0, 1, 2, worker._lock_fd})
        os.chdir("/")
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.environ.clear()
        os.environ.update(given)
        sys.argv = ["maintd.child", str(parent), "background" if worker._background else ""]
        from maintd import child

        try:
            child.main()
            code = 0
        except SystemExit as ending:
            code = int(ending.code or 0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _close_but(kept: set[int | None]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):  # the one with which they were listed
                os.close(int(name))
