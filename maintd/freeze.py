"""Stops the writers of a log for a moment, and has them go on again whatever becomes of this process.

A second process, the guard, holds a pidfd of each and the end of a pipe. When the pipe closes, because this process let
go or because it died, the guard has them go on; so it does when they were stopped for longer than LONGEST.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from maintd import holders
from maintd.errors import NotYet

LONGEST = 5.0
"""Seconds after which the guard has the writers go on by itself."""
SHORT = 1.0
"""Seconds for which this process keeps them stopped at most: well before the guard gives up on it."""
_PATIENCE = 0.5

Process = tuple[int, int]
"""The pid and start time (clock ticks since boot) of a process."""


@contextmanager
def stopped(processes: Sequence[Process]) -> Iterator[float]:
    """Stops these processes, all their threads, for the block; yields when, as of time.monotonic().

    It has to end within SHORT, or what it does for them to be stopped is not safe. Those that somebody else had stopped
    before stay stopped afterwards. Raises NotYet if one has gone meanwhile, or does not stop: it waits for a disk, say.
    """
    with ExitStack() as stack:
        pidfds = {pid: stack.enter_context(_pidfd(pid, start)) for pid, start in processes if not _is_stopped(pid)}
        if pidfds:
            stack.enter_context(_guard(list(pidfds.values())))
        begun = time.monotonic()
        try:
            _send(pidfds.values(), signal.SIGSTOP)
            for pid in pidfds:
                _wait_until_stopped(pid, begun + _PATIENCE)
            yield begun
        finally:
            _send(pidfds.values(), signal.SIGCONT)


def awake(processes: Iterable[Process]) -> tuple[Process, ...]:
    """Those of the processes that nobody has stopped."""
    return tuple((pid, start) for pid, start in processes if not _is_stopped(pid))


def go_on(processes: Sequence[Process]) -> None:
    """Has processes go on that a maintd which was killed had stopped; those that are gone are left out."""
    for pid, start in processes:
        with suppress(NotYet), _pidfd(pid, start) as pidfd:
            _send([pidfd], signal.SIGCONT)


def _send(pidfds: Iterable[int], number: int) -> None:
    for pidfd in pidfds:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)


@contextmanager
def _pidfd(pid: int, start: int) -> Iterator[int]:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        raise NotYet(f"process {pid}, which wrote the log, has just gone") from None
    try:
        identity = holders.start_and_uid(pid)
        if identity is None or identity[0] != start:
            raise NotYet(f"process {pid}, which wrote the log, is another one by now")
        yield pidfd
    finally:
        os.close(pidfd)


@contextmanager
def _guard(pidfds: list[int]) -> Iterator[None]:
    """The process that has them go on; it is ready when the block begins, and has done so when it ends."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD, str(LONGEST), *map(str, pidfds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=pidfds,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.read(1) != b".":
            raise NotYet("the guard that has stopped writers go on could not be started")
        yield
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


_GUARD = """
import select, signal, sys
sys.stdout.write("."); sys.stdout.flush()
select.select([0], [], [], float(sys.argv[1]))
for pidfd in sys.argv[2:]:
    try:
        signal.pidfd_send_signal(int(pidfd), signal.SIGCONT)
    except OSError:  # it has gone
        pass
"""


def _wait_until_stopped(pid: int, deadline: float) -> None:
    while not _is_stopped(pid):
        if time.monotonic() > deadline:
            raise NotYet(f"process {pid} does not stop: it waits in the kernel, for a disk perhaps")
        select.select([], [], [], 0.0002)


def _is_stopped(pid: int) -> bool:
    """Whether every thread of a process is stopped, or it is gone (proc_pid_stat(5): T stopped, t by a debugger)."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return True
    return all(_state(f"/proc/{pid}/task/{thread}/stat") in "TtZX" for thread in threads)


def _state(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read().rpartition(b") ")[2][:1].decode()
    except (FileNotFoundError, ProcessLookupError):
        return "X"
