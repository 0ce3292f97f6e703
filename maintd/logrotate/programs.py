"""Runs programs as logrotate does: where maintd itself runs, in its directory and environment, and as its user."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence

from maintd import environment, ready
from maintd.errors import Aborted, MaintdError, TimedOut

_TAIL = 1000
_NOTICE = 0.1
"""Seconds after which a signal to stop is noticed."""


def run_here(argv: Sequence[str], streams: tuple[int, int, int | None], latest: float, stop: threading.Event) -> int:
    """Runs a program, by its path, in this process's own directory and environment, with `streams` as 1, 2 and 3.

    Returns its status, as subprocess gives it. Raises Aborted on `stop`, and TimedOut at `latest` (time.monotonic()),
    after its process group was killed.
    """
    given = [(fd, number) for number, fd in enumerate(streams, start=1) if fd is not None]
    actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    actions += [(os.POSIX_SPAWN_DUP2, fd, number) for fd, number in given]  # type: ignore[misc]
    default = {number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN}
    pid = os.posix_spawn(argv[0], list(argv), environment.given(), file_actions=actions, setsid=True, setsigdef=default)
    pidfd = os.pidfd_open(pid)
    try:
        while not ready.is_ready(pidfd, _NOTICE):
            if stop.is_set():
                raise Aborted("told to stop")
            if time.monotonic() >= latest:
                raise TimedOut(f"{argv[0]} took too long and was ended", hint="let it end earlier")
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(pidfd)
    return os.waitstatus_to_exitcode(status)


def filter_file(
    argv: Sequence[str], source: int, target: int, directory: str, more: Mapping[str, str] | None = None
) -> str:
    """Runs a program that makes a file of another, in its own environment and `more`; returns what it says on stderr.

    It runs in the directory, as far as it may enter that. Raises OSError if it cannot be started, MaintdError if it
    fails.
    """
    done = _run_on(argv, source, target, directory, more or {})
    said = done.stderr[-_TAIL:].decode(errors="replace").strip()
    if done.returncode:
        raise MaintdError(f"{argv[0]} {_how(done.returncode)}" + (f": {said}" if said else ""))
    return said


def feed(reader: Sequence[str], argv: Sequence[str], source: int, directory: str) -> None:
    """Runs a program on a file, or on what `reader` makes of it. MaintdError if one of the two fails."""
    if not reader:
        filter_file(argv, source, subprocess.DEVNULL, directory)
        return
    program, where = _placed(reader, directory)
    with subprocess.Popen(program, stdin=source, stdout=subprocess.PIPE, cwd=where, env=environment.given()) as reading:
        assert reading.stdout is not None
        done = _run_on(argv, reading.stdout.fileno(), subprocess.DEVNULL, directory, {})
        reading.stdout.close()
        status = reading.wait()
    for name, code in ((argv[0], done.returncode), (reader[0], status)):
        if code:
            raise MaintdError(f"{name} {_how(code)}")


def _run_on(
    argv: Sequence[str], source: int, target: int, directory: str, more: Mapping[str, str]
) -> "subprocess.CompletedProcess[bytes]":
    program, where = _placed(argv, directory)
    given = {"env": {**environment.given(), **more}, "cwd": where}
    return subprocess.run(program, stdin=source, stdout=target, stderr=subprocess.PIPE, check=False, **given)  # type: ignore[call-overload,no-any-return]


def _placed(argv: Sequence[str], directory: str) -> tuple[list[str], str]:
    """What is run, and in which directory: in / if another user's program may not enter the one of the run."""
    if os.access(directory, os.X_OK, effective_ids=True):
        return list(argv), directory
    name = argv[0]
    return [os.path.join(directory, name) if "/" in name else name, *argv[1:]], "/"


def _how(status: int) -> str:
    return f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
