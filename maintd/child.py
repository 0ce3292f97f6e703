"""Runs functions in a process of their own: with a time limit, at nice 19, as another user, in memory that comes back.

Parent and child talk in lines of JSON. A request is [function, arguments]; its replies are any number of
["progress", n], then one ["result", value], ["error", {…}] or, with which the child ends, ["crash", {…}]. File names
that are not UTF-8 travel as Python carries them (PEP 383): JSON escapes lone surrogates and gives them back.
"""

import importlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from maintd import errors, linux

_FUNCTION = re.compile(r"(maintd(?:\.\w+)+):(\w+)")
_NOTICE_MS = 25  # how soon a stop is noticed
_RAISED_AGAIN = {
    kind.__name__: kind
    for kind in (errors.Refused, errors.NotYet, errors.Aborted, errors.TimedOut, errors.Locked, errors.Unreachable)
}

Progress = Callable[[int], None]


class Worker:
    """One child process, started at the first call and kept for the following ones; for one call at a time.

    The child inherits `lock_fd`, so that the lock it stands for is held as long as the child lives. It dies with the
    thread that made the first call (prctl(2), PR_SET_PDEATHSIG): that thread must outlive the use of the Worker.
    """

    def __init__(
        self, *, lock_fd: int | None = None, uid: int | None = None, gid: int | None = None, background: bool = True
    ) -> None:
        self._lock_fd, self._uid, self._gid, self._background = lock_fd, uid, gid, background
        self._process: subprocess.Popen[bytes] | None = None
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's pid; None before the first call and after the child has ended."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def call(
        self,
        function: str,
        arguments: Mapping[str, Any],
        *,
        deadline: float | None = None,
        stop: threading.Event | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """What `function` ("maintd.module:name") returns for `progress, **arguments` in the child; all of it JSON.

        `deadline` is a time of time.monotonic(). Raises what the function raised, if that is an OSError or one of
        maintd's errors; Aborted within 100 ms of `stop` being set, TimedOut, and MaintdError if the child died or the
        function failed in any other way. After any but the function's own errors the child is gone; the next call
        starts another.
        """
        process, kind = self._running(), "progress"
        value: Any = None
        try:
            self._send(process, [function, dict(arguments)])
            while kind == "progress":
                kind, value = json.loads(self._line(process, deadline, stop))
                if kind == "progress" and progress:
                    progress(value)
        finally:
            if kind not in ("result", "error"):
                self.close()
        if kind == "result":
            return value
        raise _raised_again(value)

    def close(self) -> None:
        """Kills the child and all that it started, and waits for its end; between calls nothing is lost by that."""
        process, self._process, self._received = self._process, None, b""
        if process is None:
            return
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self.pid is None:
            self.close()
            self._process = self._spawn()
        assert self._process is not None
        return self._process

    def _spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "maintd.child", str(os.getpid()), "background" if self._background else ""],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=() if self._lock_fd is None else (self._lock_fd,),
            cwd="/",
            start_new_session=True,  # a terminal's Ctrl-C is the parent's to handle
            user=self._uid,
            group=self._gid,
            extra_groups=None if self._uid is None else [],
        )

    def _send(self, process: subprocess.Popen[bytes], request: list[Any]) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise _died(process) from None

    def _line(self, process: subprocess.Popen[bytes], deadline: float | None, stop: threading.Event | None) -> bytes:
        assert process.stdout is not None
        while True:
            if stop and stop.is_set():
                raise errors.Aborted("told to stop")
            if deadline is not None and time.monotonic() >= deadline:
                raise errors.TimedOut("the time limit was reached")
            line, newline, rest = self._received.partition(b"\n")
            if newline:
                self._received = rest
                return line
            if select.select([process.stdout], [], [], _NOTICE_MS / 1000)[0]:
                received = os.read(process.stdout.fileno(), 1 << 16)
                if not received:
                    raise _died(process)
                self._received += received


def _died(process: subprocess.Popen[bytes]) -> errors.MaintdError:
    code = process.wait()
    if code >= 0:
        return errors.MaintdError(f"the worker ended with exit code {code}", hint="its stderr says why")
    hint = "out of memory? Look at dmesg" if code == -signal.SIGKILL else ""
    return errors.MaintdError(f"the worker was killed by signal {-code}", hint=hint)


def _described(error: BaseException) -> dict[str, Any]:
    described: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, OSError) and error.errno is not None:
        names = (error.filename, error.filename2)
        described |= {"errno": error.errno, "strerror": error.strerror, "names": [_text(name) for name in names]}
    if isinstance(error, errors.MaintdError):
        described |= {"maintd": True, "hint": error.hint}
    return described


def _text(name: str | bytes | int | None) -> str | int | None:
    return os.fsdecode(name) if isinstance(name, bytes) else name


def _raised_again(described: dict[str, Any]) -> Exception:
    message = described["message"]
    if "errno" in described:
        first, second = described["names"]
        return OSError(described["errno"], described["strerror"], first, None, second)
    if "maintd" in described:
        return _RAISED_AGAIN.get(described["type"], errors.MaintdError)(message, hint=described["hint"])
    return errors.MaintdError(f"{described['type']} in the worker: {message}")


def main() -> None:
    """The child's life: one request after the other until its standard input ends."""
    parent, background = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # the break of a lease, whose default is to kill
    linux.die_with_parent(int(parent), signal.SIGKILL)
    if background:
        linux.be_background()
    requests, replies = _protocol()

    def reply(kind: str, value: Any) -> None:
        replies.write(json.dumps([kind, value]).encode() + b"\n")

    def last_words(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        sys.__excepthook__(kind, error, traceback)
        reply("crash", _described(error))

    sys.excepthook = last_words  # what nobody expected ends the child: its state is not to be trusted
    for request in requests:
        function, arguments = json.loads(request)
        try:
            result = _found(function)(lambda done: reply("progress", done), **arguments)
        except (OSError, errors.MaintdError) as error:
            reply("error", _described(error))
        else:
            reply("result", result)


def _protocol() -> tuple[Any, Any]:
    """Requests and replies on descriptors of their own, which a stray print, or a program that is run, cannot reach."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def _found(function: str) -> Callable[..., Any]:
    match = _FUNCTION.fullmatch(function)
    if not match:
        raise errors.Refused(f"{function!r} does not name a function of maintd")
    found: Callable[..., Any] = getattr(importlib.import_module(match[1]), match[2])
    return found


if __name__ == "__main__":
    main()
