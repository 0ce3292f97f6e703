"""Runs one configured command in a child process of maintd: as its user, and so that nothing of it outlives maintd.

The child has one thread. The command leads a session and process group of its own, which is killed at the time limit,
with what descends from it, and when the child is told to end (SIGTERM, which it also gets when maintd dies). Processes
that a command left in the background when it ended by itself are let alone.
"""

import contextlib
import errno
import os
import pwd
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from datetime import timedelta
from typing import Any

from maintd import durable, environment, linux, processes
from maintd.durable import Ownership
from maintd.errors import Refused, TimedOut
from maintd.units import format_duration
from maintd.values import dataclass

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TAIL = 1000
_ALIVE = 10.0
"""Seconds after which a command that goes on is said to."""
_PIPE = 1 << 16  # what a pipe holds (pipe(7))


@dataclass(frozen=True)
class Answer:
    """How a program ended (negative for a signal), what it printed, and the end of what it complained of."""

    status: int
    output: bytes
    complaint: str


def run(
    _progress: Callable[[int], None],
    *,
    argv: list[str],
    limit: float,
    user: str | None,
    place: str | None = None,
    more: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Runs `argv` to its end, for at most `limit` seconds, as `user` or as maintd's own.

    With a `place` it is run in that directory, in maintd's environment, and prints to maintd's standard error. `more`
    is added to its own environment.

    Returns its `status` (as subprocess gives it: negative for a signal) and the end of its `output`. Raises OSError if
    it could not be started, Refused if not as that user, TimedOut after it was killed.
    """
    entry = _entry(user)
    with _output(entry) as (reading, writing):
        process = _started(argv, entry, writing, _Setting(place, more=more or {}))
        try:
            tail = _watched(process, reading, argv[0], limit)
        except BaseException:
            _kill(process)
            raise
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # before its pid may mean another process
            process.wait()
    return {"status": process.returncode, "output": tail.decode(errors="replace").strip("\0 \n\t")}


def dump(  # noqa: PLR0913 - they cross a pipe by name
    progress: Callable[[int], None], *, argv: list[str], limit: float, user: str | None, directory: str, name: str
) -> dict[str, Any]:
    """The same, but what it prints goes into a new file, which only maintd's user can read; it is synced.

    Returns its `status`, the end of what it complained of as `output`, and the `size` of the file.
    """
    entry = _entry(user)
    with durable.directory(directory) as dir_fd:
        target = durable.create(name, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=dir_fd)
        try:
            setting = _Setting(target=target)
            status, tail = _ended(argv, limit, setting, lambda: progress(os.fstat(target).st_size), entry)
            os.fsync(target)
            size = os.fstat(target).st_size
        finally:
            os.close(target)
    return {"status": status, "output": tail, "size": size}


def ask(progress: Callable[[int], None], argv: list[str], limit: float, place: str, more: Mapping[str, str]) -> Answer:
    """What a program prints that is run in a directory, in maintd's environment and with `more` in it.

    For what runs in the child already. Raises as `run` does.
    """
    target = os.memfd_create("output")
    try:
        setting = _Setting(place, target, more)
        status, complaint = _ended(argv, limit, setting, lambda: progress(os.fstat(target).st_size))
        output = os.pread(target, os.fstat(target).st_size, 0)
    finally:
        os.close(target)
    return Answer(status, output, complaint)


def drain(argv: list[str], limit: float, place: str, more: Mapping[str, str]) -> Answer:
    """The same, but what it prints is of no use to anybody."""
    status, complaint = _ended(argv, limit, _Setting(place, subprocess.DEVNULL, more), lambda: None)
    return Answer(status, b"", complaint)


def _ended(
    argv: list[str],
    limit: float,
    setting: "_Setting",
    alive: Callable[[], None],
    entry: pwd.struct_passwd | None = None,
) -> tuple[int, str]:
    with _output(entry) as (reading, writing):
        process = _started(argv, entry, writing, setting)
        try:
            tail = _watched(process, reading, argv[0], limit, alive)
        except BaseException:
            _kill(process)
            raise
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            process.wait()
    return process.returncode, tail.decode(errors="replace").strip("\0 \n\t")


@dataclass(frozen=True)
class _Setting:
    """In what a command is run: a directory, in maintd's environment, or else none and a clean one; `more` is added.

    What it prints goes to the descriptor `target`, if there is one.
    """

    place: str | None = None
    target: int | None = None
    more: Mapping[str, str] = field(default_factory=dict)


def _entry(user: str | None) -> pwd.struct_passwd | None:
    """The account that the command gets; None for maintd's own user if that has no name."""
    try:
        return pwd.getpwuid(os.geteuid()) if user is None else pwd.getpwnam(user)
    except KeyError:
        if user is None:
            return None
        raise Refused(f"there is no user {user!r} any more", hint="correct command_user") from None


def _environment(entry: pwd.struct_passwd | None) -> dict[str, str]:
    fixed = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/"}
    if entry is None:
        return fixed
    return fixed | {"HOME": entry.pw_dir or "/", "USER": entry.pw_name, "LOGNAME": entry.pw_name}


@contextlib.contextmanager
def _output(entry: pwd.struct_passwd | None) -> Iterator[tuple[int, int]]:
    """A pipe for what the command prints: the end to read, and one for the command that also can be read.

    Whoever holds the latter is its reader too. So a process that the command left in the background gets no SIGPIPE
    when the child has gone: what it prints fills the pipe and then fails with EAGAIN. It belongs to the command's user,
    who could not open /dev/stderr otherwise.
    """
    reading, one_way = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    writing = os.open(f"/proc/self/fd/{one_way}", os.O_RDWR | os.O_CLOEXEC)
    os.close(one_way)
    try:
        if entry is not None and entry.pw_uid != os.geteuid():
            with contextlib.suppress(PermissionError):
                os.fchown(writing, entry.pw_uid, entry.pw_gid)
        yield reading, writing
    finally:
        os.set_blocking(writing, False)
        os.close(writing)
        os.close(reading)


def _started(
    argv: list[str], entry: pwd.struct_passwd | None, output: int, setting: _Setting
) -> "subprocess.Popen[bytes]":
    """Starts the command; from then on SIGTERM ends it and the child, and comes when maintd dies."""
    other = entry if entry is not None and entry.pw_uid != os.geteuid() else None
    child = os.getpid()
    place, target = setting.place, setting.target

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for number in signal.valid_signals():  # whoever started maintd may have had some ignored, which is inherited
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        linux.die_with_parent(child, signal.SIGKILL)  # if the child is killed, and can end nothing any more

    linux.die_with_parent(os.getppid(), signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # until there is a process to end
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=target if target is not None else output if place is None else 2,
            stderr=subprocess.STDOUT if target is None else output,
            env=(_environment(entry) if place is None else environment.given()) | dict(setting.more),
            cwd=place or "/",
            start_new_session=True,
            user=other.pw_uid if other else None,
            group=other.pw_gid if other else None,
            extra_groups=os.getgrouplist(other.pw_name, other.pw_gid) if other else None,
            preexec_fn=prepare,  # noqa: PLW1509 - this process has one thread
        )
        signal.signal(signal.SIGTERM, lambda *_: _end_with(process))
    except PermissionError as error:
        raise _not_allowed(argv[0], entry, error) from error
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    return process


def _not_allowed(program: str, entry: pwd.struct_passwd | None, error: PermissionError) -> Refused:
    who = entry.pw_name if entry else f"uid {os.geteuid()}"
    if error.errno == errno.EPERM:
        return Refused(f"maintd may not run commands as {who}", hint="run maintd as root, or leave command_user out")
    return Refused(f"{program} may not be run by {who}", hint="let that user execute it and enter its directory")


def _watched(
    process: "subprocess.Popen[bytes]",
    reading: int,
    program: str,
    limit: float,
    alive: Callable[[], None] = lambda: None,
) -> bytes:
    """The end of what the command prints until it ends; raises TimedOut after `limit` seconds."""
    tail, end = b"", time.monotonic() + limit
    pidfd = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(reading, select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        has_ended = False
        while not has_ended:
            left = end - time.monotonic()
            if left <= 0:
                spent = format_duration(timedelta(seconds=limit))
                hint = "raise command_timeout, or let the command end earlier"
                raise TimedOut(f"{program} took longer than {spent} and was ended", hint=hint)
            has_ended = any(ready == pidfd for ready, _ in poll.poll(min(left, _ALIVE) * 1000))
            alive()
            with contextlib.suppress(BlockingIOError):
                tail = (tail + os.read(reading, _PIPE))[-_TAIL:]
    finally:
        os.close(pidfd)
    return tail


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kills the command's process group, and what descends from it in other groups.

    It must not have been waited for, since its pid may mean another then. The descendants are looked for first: once
    their parent has ended they have another. One whose parent ended before is not found.
    """
    opened = {pid: _pidfd(pid) for pid in processes.tree(process.pid)[1:]}
    descendants = set(processes.tree(process.pid))  # a pid that is still among them is the process that was opened
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pid, pidfd in opened.items():
        if pidfd is None:
            continue
        if pid in descendants:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _end_with(process: "subprocess.Popen[bytes]") -> None:
    _kill(process)
    os._exit(128 + signal.SIGTERM)
