"""Runs functions in a process of their own: with a time limit, at nice 19, as another user, in memory that comes back.

Parent and child talk in lines of JSON. A request is [function, arguments], or with a Confinement as third; its replies
are any number of ["progress", n], then one ["result", value], ["error", {…}] or, with which the child ends,
["crash", {…}]. File names that are not UTF-8 travel as Python carries them (PEP 383): JSON escapes lone surrogates and
gives them back.

A confined call is made in a process that the child forks for it, since what that gives up it never gets back. The child
has one thread then, and has loaded what the function needs while it could still read it.
"""

import contextlib
import importlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from maintd import environment, errors, linux, ready, replies
from maintd.confinement import Confinement

_FUNCTION = re.compile(r"(maintd(?:\.\w+)+):(\w+)")
_NOTICE_MS = 25  # how soon a stop is noticed
_PATIENCE = 0.5  # seconds in which a child ends by its parting signal

Progress = Callable[[int], None]


class Worker:
    """One child process, started at the first call or before it, and kept for the following ones; one call at a time.

    The child inherits `lock_fd`, so that the lock it stands for is held as long as the child lives. It dies with the
    thread that started it (prctl(2), PR_SET_PDEATHSIG): that thread must outlive the use of the Worker.
    `parting` is the signal that ends it: with SIGTERM a function that catches it can end first what it has started.
    `patience` is for how many seconds it may say nothing in a call: its user may be able to stop it.
    """

    def __init__(
        self,
        *,
        lock_fd: int | None = None,
        background: bool = True,
        parting: signal.Signals = signal.SIGKILL,
        patience: float = math.inf,
    ) -> None:
        self._lock_fd, self._background = lock_fd, background
        self._parting, self._patience = parting, patience
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

    def start(self) -> None:
        """Starts the child before there is anything for it to do, since that takes a tenth of a second."""
        self._running()

    def call(  # noqa: PLR0913 - what bounds a call is said by name
        self,
        function: str,
        arguments: Mapping[str, Any],
        *,
        within: Confinement | None = None,
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
            self._send(process, [function, dict(arguments), *([within.fields()] if within else [])])
            while kind == "progress":
                kind, value = json.loads(self._line(process, math.inf if deadline is None else deadline, stop))
                if kind == "progress" and progress:
                    progress(value)
        finally:
            if kind not in ("result", "error"):
                self.close()
        if kind == "result":
            return value
        raise replies.raised_again(value)

    def close(self) -> None:
        """Kills the child and all that it started, and waits for its end; between calls nothing is lost by that."""
        process, self._process, self._received = self._process, None, b""
        if process is None:
            return
        if process.poll() is None:
            os.killpg(process.pid, self._parting)
            ready.await_end(process, _PATIENCE)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._await_forked(process)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()

    def _await_forked(self, process: subprocess.Popen[bytes]) -> None:
        """Waits until what the child forked has ended too (it dies with the child): it holds the pipe until then."""
        end = time.monotonic() + _PATIENCE
        assert process.stdout is not None
        while ready.is_ready(process.stdout.fileno(), max(end - time.monotonic(), 0)):
            if not os.read(process.stdout.fileno(), 1 << 16):
                return

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
            env=environment.given(),
            start_new_session=True,  # a terminal's Ctrl-C is the parent's to handle
        )

    def _send(self, process: subprocess.Popen[bytes], request: list[Any]) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode())
            process.stdin.write(b"\n")
        except BrokenPipeError:
            raise _died(process) from None

    def _line(self, process: subprocess.Popen[bytes], deadline: float, stop: threading.Event | None) -> bytes:
        assert process.stdout is not None
        silent = time.monotonic() + self._patience
        while True:
            if stop and stop.is_set():
                raise errors.Aborted("told to stop")
            if time.monotonic() >= deadline:
                raise errors.TimedOut("its timeout was reached", hint=errors.TOO_SLOW)
            if time.monotonic() >= silent:
                message = f"the process that does it has said nothing for {self._patience:.0f} s, and was ended"
                raise errors.TimedOut(message, hint="look whether the disk answers, or who has stopped that process")
            line, newline, rest = self._received.partition(b"\n")
            if newline:
                self._received = rest
                return line
            if ready.is_ready(process.stdout.fileno(), _NOTICE_MS / 1000):
                received = os.read(process.stdout.fileno(), 1 << 16)
                if not received:
                    raise _died(process)
                self._received += received


def _died(process: subprocess.Popen[bytes]) -> errors.MaintdError:
    return replies.ended(process.wait())


def main() -> None:
    """The child's life: one request after the other until its standard input ends."""
    parent, background = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # the break of a lease, whose default is to kill
    try:
        linux.die_with_parent(int(parent), signal.SIGKILL)
    except ProcessLookupError:  # it is gone already
        sys.exit(1)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    if background:
        linux.be_background()
    requests, answers = _protocol()

    def reply(kind: str, value: Any) -> None:
        answers.write(json.dumps([kind, value]).encode() + b"\n")

    def last_words(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        sys.__excepthook__(kind, error, traceback)
        reply("crash", replies.described(error))

    sys.excepthook = last_words  # what nobody expected ends the child: its state is not to be trusted
    for request in requests:
        function, arguments, *within = json.loads(request)
        if within:
            _answer_confined(Confinement.of(within[0]), function, arguments, reply)
        else:
            _answer(function, arguments, reply)


Reply = Callable[[str, Any], None]


def _answer(function: str, arguments: dict[str, Any], reply: Reply) -> None:
    try:
        result = _found(function)(lambda done: reply("progress", done), **arguments)
    except (OSError, errors.MaintdError) as error:
        reply("error", replies.described(error))
    else:
        reply("result", result)


def _answer_confined(within: Confinement, function: str, arguments: dict[str, Any], reply: Reply) -> None:
    """Passes on what the process says that it forks; what that says last comes through a pipe: one word, or none."""
    with contextlib.suppress(errors.Refused):
        _found(function)  # loaded here, by who may read it, and once
    child, (reading, writing) = os.getpid(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _serve_confined(within, child, function, arguments, lambda *said: _pass_on(said, reply, writing))
        except BaseException:  # noqa: BLE001 - this process must never get to what the child does next
            sys.__excepthook__(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as last:
        said = last.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    reply(*(json.loads(said) if said.endswith(b"\n") else ("crash", replies.described(replies.ended(code)))))


def _serve_confined(within: Confinement, parent: int, function: str, arguments: dict[str, Any], reply: Reply) -> None:
    try:
        within.enter()
    except (OSError, errors.MaintdError) as error:
        reply("error", replies.described(error))
        return
    linux.die_with_parent(parent, signal.SIGKILL)
    try:
        _answer(function, arguments, reply)
    except Exception as error:  # whatever it is, it is told, as by last_words
        reply("crash", replies.described(error))
        raise


def _pass_on(said: tuple[str, Any], reply: Reply, last: int) -> None:
    if said[0] == "progress":
        reply(*said)
    else:
        with os.fdopen(os.dup(last), "wb") as pipe:
            pipe.write(json.dumps(said).encode() + b"\n")


def _protocol() -> tuple[Any, Any]:
    """Requests and replies on descriptors of their own, which a stray print, or a program that is run, cannot reach."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _found(function: str) -> Callable[..., Any]:
    match = _FUNCTION.fullmatch(function)
    if not match:
        raise errors.Refused(f"{function!r} does not name a function of maintd")
    found: Callable[..., Any] = getattr(importlib.import_module(match[1]), match[2])
    return found


if __name__ == "__main__":
    main()
