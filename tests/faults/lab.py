"""Runs the real program and decides, at each of its system calls that changes a tree of files, what becomes of it."""

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.conftest import PROGRAM, environment

from . import files, seccomp
from .seccomp import Notice

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 60.0
"""Seconds that one run may take."""


@dataclass(frozen=True)
class Call:
    """A call that counts, by its number in the run, from 1; `pid` is of the process that waits in it."""

    number: int
    name: str
    files: tuple[str, ...]
    pid: int

    @property
    def is_directory(self) -> bool:
        """Whether it is about a directory."""
        return any(os.path.isdir(path) for path in self.files)

    def __str__(self) -> str:
        return f"call {self.number}: {self.name} {' → '.join(os.path.basename(path) for path in self.files)}"


@dataclass(frozen=True)
class Fail:
    """The call fails with this errno. With 0 it succeeds although nothing was done."""

    code: int


@dataclass(frozen=True)
class Kill:
    """SIGKILL, and the call is not made: for the whole program, or only for the process that makes the call."""

    caller_only: bool = False


Answer = Fail | Kill | None
"""What becomes of a call; None: it is made."""
Decide = Callable[[Call], Answer]
Script = Generator[None, str, str]
"""What is done while a run lasts: a generator that is sent the output so far, every few milliseconds."""


def proceed(_: Call) -> Answer:
    return None


@dataclass
class Ran:
    """How a run went. `code` is minus the signal's number if one ended it; `orphans` had to be killed after it."""

    calls: list[Call] = field(default_factory=list)
    code: int = 0
    orphans: int = 0
    out: str = ""
    err: str = ""

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What it said on stdout, without a last line that a kill cut short."""
        return [json.loads(line) for line in self.out.splitlines(keepends=True) if line.endswith("}\n")]

    def events(self, suffix: str = "") -> list[dict[str, Any]]:
        """The events whose name ends so, of `maintd do --json` or of the daemon."""
        found = [message for message in self.messages if "event" in message]
        return [event for event in found if event["event"].endswith(suffix)]

    def __str__(self) -> str:
        return "\n".join([*map(str, self.calls[-3:]), f"exit {self.code}", self.out, self.err])


class Lab:
    """A server that has maintd loaded, from which each run is forked; for one run at a time.

    `program` is the maintd of an environment, `more` is added to what is in its own.
    """

    def __init__(self, program: Path = PROGRAM, **more: str) -> None:
        self._program, self._more = program, more

    def __enter__(self) -> Self:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._output = [os.memfd_create("output") for _ in range(2)]
        for descriptor in self._output:
            fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
        self._server = subprocess.Popen(
            [
                self._program.with_name("python"),
                "-m",
                "tests.faults.subject",
                *map(str, (theirs.fileno(), *self._output)),
            ],
            pass_fds=[theirs.fileno(), *self._output],
            cwd=ROOT,
            env=environment(PYTHONDONTWRITEBYTECODE="1", **self._more),
        )
        theirs.close()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._channel.close()
        self._server.wait(10)
        for descriptor in self._output:
            os.close(descriptor)

    def run(self, folder: Path, *argv: str, decide: Decide = proceed, script: Script | None = None) -> Ran:
        """Runs `maintd` with these arguments; `decide` is asked about every call that changes something in `folder`."""
        for descriptor in self._output:
            os.ftruncate(descriptor, 0)
        self._channel.send(json.dumps(argv).encode())
        pid, descriptors, _, _ = socket.recv_fds(self._channel, 64, 1)
        assert descriptors, f"the subject did not start: {self._read(1)}"
        run = _Watch(str(folder), int(pid), descriptors[0], decide)
        try:
            try:
                self._follow(run, script)
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(run.pid, signal.SIGKILL)
                self._channel.recv(64)  # so that the next run begins anew
                raise
            run.ran.code, run.ran.orphans = json.loads(self._channel.recv(64))
        finally:
            os.close(descriptors[0])
        run.ran.out, run.ran.err = (self._read(number) for number in range(2))
        return run.ran

    def said(self) -> str:
        """What the run has written to stdout so far."""
        return self._read(0)

    def _follow(self, run: "_Watch", script: Script | None) -> None:
        """Answers calls until the server says that the run has ended."""
        end = time.monotonic() + DEADLINE
        if script:
            next(script)
        poll = select.poll()
        for descriptor in (self._channel.fileno(), run.listener):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = dict(poll.poll(5 if script else 1000))
            if ready.get(run.listener, 0) & select.POLLIN:
                run.answer()
            elif run.listener in ready:
                poll.unregister(run.listener)  # nobody is left whom it listens to
            if self._channel.fileno() in ready:
                return
            if script and _has_ended(script, self._read(0)):
                script = None
            if time.monotonic() > end:
                raise AssertionError(f"it took longer than {DEADLINE:.0f} s: {run.ran.calls[-1:]} {self._read(0)}")

    def _read(self, number: int) -> str:
        return os.pread(self._output[number], os.fstat(self._output[number]).st_size, 0).decode(errors="replace")


class _Watch:
    """The calls of one run."""

    def __init__(self, folder: str, pid: int, listener: int, decide: Decide) -> None:
        self.pid, self.listener, self.ran = pid, listener, Ran()
        self._folder, self._decide, self._is_killed = folder, decide, False

    def answer(self) -> None:
        notice = seccomp.receive(self.listener)
        if notice is None:
            return
        answer = self._answer(notice)
        if self._is_killed and answer is not None:
            return  # whoever still waits dies of it, and must not touch the tree any more
        if isinstance(answer, Kill):
            call = self.ran.calls[-1]
            self._kill(call.pid if answer.caller_only else self.pid)
            if self._is_killed and call.pid != self.pid and not call.files:
                seccomp.proceed(self.listener, notice)  # a signal that another process sends, which lives on
        elif isinstance(answer, Fail):
            seccomp.fail(self.listener, notice, answer.code)
        else:
            seccomp.proceed(self.listener, notice)

    def _answer(self, notice: Notice) -> Answer:
        found = files.of(notice)
        if notice.kind.about != ("any",) and not any(path.startswith(self._folder) for path in found):
            return None
        if not files.is_change(notice):
            return None
        if self._is_killed:
            return Kill() if found else None  # a signal that a command sends is sent
        call = Call(len(self.ran.calls) + 1, notice.kind.name, found, _process(notice.tid))
        self.ran.calls.append(call)
        return self._decide(call)

    def _kill(self, pid: int) -> None:
        self._is_killed = pid == self.pid
        os.kill(pid, signal.SIGKILL)


def _has_ended(script: Script, output: str) -> bool:
    try:
        script.send(output)
    except StopIteration:
        return True
    return False


def _process(tid: int) -> int:
    with open(f"/proc/{tid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Tgid:"))
