"""Signals to programs of supervisord, and starting them again: waited for, and begun anew after a cut."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import field
from datetime import datetime
from typing import ClassVar

from maintd import processes, restarts
from maintd.actions.hands import Hands
from maintd.errors import Aborted, Denied, MaintdError, NotYet, Refused, Unreachable
from maintd.events import Event, Failure
from maintd.holders import start_and_uid
from maintd.restarts import Begun
from maintd.steps import Action, Lane
from maintd.supervisor import Program, Supervisor, send
from maintd.trends import Sample
from maintd.units import counted
from maintd.values import dataclass

_STOPPED = ("STOPPED", "EXITED", "FATAL")
_POLL = 0.1
_OVERTIME = 30.0
"""Seconds beyond stopwaitsecs, or startsecs, in which supervisord is to have done it, broken connections included."""


@dataclass(frozen=True, kw_only=True)
class ProgramRestarted(Event):
    """A program was stopped and started again because of a limit, and is RUNNING."""

    name: ClassVar[str] = "program.restarted"
    level: ClassVar[str] = "warning"

    reason: str
    was_pid: int
    pid: int

    @property
    def msg(self) -> str:
        return f"restarted: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class ProgramStarted(Event):
    """A program that supervisord had given up, or that a restart which was cut off had left, is RUNNING."""

    name: ClassVar[str] = "program.started"

    reason: str
    pid: int

    @property
    def msg(self) -> str:
        return f"started: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class ProgramSignalled(Event):
    """A program was sent a signal because of a limit."""

    name: ClassVar[str] = "program.signalled"

    reason: str
    pid: int
    signal: str

    @property
    def msg(self) -> str:
        return f"sent {self.signal} to pid {self.pid}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class ProgramOrphaned(Event):
    """Processes that a program had started were not stopped with it."""

    name: ClassVar[str] = "program.orphaned"
    level: ClassVar[str] = "warning"

    count: int
    pids: str

    @property
    def msg(self) -> str:
        were = f"{counted(self.count, 'process')} that it had started outlived it (pid {self.pids})"
        return f"{were}: set stopasgroup=true in its section of supervisord's config"


@dataclass(frozen=True, kw_only=True)
class ProgramFailed(Failure):
    """A program could not be restarted, started or signalled."""

    name: ClassVar[str] = "program.failed"
    usual_advice: ClassVar[str] = "it is tried again; supervisorctl tail -f shows what it says"


@dataclass(frozen=True, kw_only=True)
class SignalProgram(Action):
    """Sends a signal to the process that was over its limit. What was done is remembered as a sample of this name."""

    verb: ClassVar[str] = "signal"
    failure: ClassVar[type[Failure]] = ProgramFailed
    lane: ClassVar[Lane] = Lane.PROGRAMS

    supervisor: Supervisor = field(repr=False, compare=False)
    pid: int
    number: int
    signal: str
    now: datetime
    remembered: str

    @property
    def detail(self) -> str:
        return self.signal

    def apply(self, hands: Hands) -> Iterator[Event]:
        _require(self.supervisor, self.target, self.pid)
        identity = start_and_uid(self.pid)
        if identity is None:
            raise ProcessLookupError(f"process {self.pid} is gone")
        hands.samples.append(Sample(self.now, self.remembered, 1))  # tried is tried: the next step of the ladder is due
        send(self.pid, identity, self.number, hint="choose a signal that the program handles, or only restart it")
        yield ProgramSignalled(target=self.target, reason=self.reason, pid=self.pid, signal=self.signal)


@dataclass(frozen=True, kw_only=True)
class RestartProgram(Action):
    """Stops a program and starts it again, if it is still the process that was over its limit.

    Whatever happens in between, also to maintd, it is started again: `folder` says so until it runs.
    """

    verb: ClassVar[str] = "restart"
    failure: ClassVar[type[Failure]] = ProgramFailed
    lane: ClassVar[Lane] = Lane.PROGRAMS

    supervisor: Supervisor = field(repr=False, compare=False)
    pid: int
    folder: str
    job: str
    now: datetime
    remembered: str

    def apply(self, hands: Hands) -> Iterator[Event]:
        if os.getpid() in processes.tree(self.pid):
            raise Refused(
                "that is maintd itself, which nobody would start again", hint="max_memory under [daemon] is for it"
            )
        _require(self.supervisor, self.target, self.pid)
        habits = self.supervisor.habits(self.target)
        family = [(pid, identity) for pid in processes.tree(self.pid) if (identity := start_and_uid(pid))]
        restarts.note(self.folder, Begun(self.target, self.job, self.now.timestamp()))
        hands.samples.append(Sample(self.now, self.remembered, 1))
        _ask(lambda: self.supervisor.stop(self.target))
        _await_stop(self.supervisor, self.target, self.pid, habits.stop_seconds + _OVERTIME)
        with _seen_through(self.folder, self.target):
            program = _started(self.supervisor, self.target, hands, habits.start_seconds + _OVERTIME)
        left = [str(pid) for pid, identity in family if processes.is_there(pid, identity)]
        yield ProgramRestarted(target=self.target, reason=self.reason, was_pid=self.pid, pid=program.pid)
        if left:
            yield ProgramOrphaned(target=self.target, count=len(left), pids=", ".join(left))


@dataclass(frozen=True, kw_only=True)
class StartProgram(Action):
    """Starts a program that does not run, which is `remembered` as done `now`.

    With a `folder` that ends a restart that was cut off: `now` is when it was begun, since that is what counts.
    """

    verb: ClassVar[str] = "start"
    failure: ClassVar[type[Failure]] = ProgramFailed
    lane: ClassVar[Lane] = Lane.PROGRAMS

    supervisor: Supervisor = field(repr=False, compare=False)
    now: datetime
    remembered: str = ""
    folder: str = ""

    def apply(self, hands: Hands) -> Iterator[Event]:
        if self.remembered:
            hands.samples.append(Sample(self.now, self.remembered, 1))
        with _seen_through(self.folder, self.target):
            patience = self.supervisor.habits(self.target).start_seconds + _OVERTIME
            program = _started(self.supervisor, self.target, hands, patience)
        yield ProgramStarted(target=self.target, reason=self.reason, pid=program.pid)


class _NotUpError(MaintdError):
    """A program was started, and has ended again: to start it is done, and what comes of that is another matter."""


@contextlib.contextmanager
def _seen_through(folder: str, program: str) -> Iterator[None]:
    """Keeps what is written down of a restart until the program was started, well or not, or cannot be."""
    try:
        yield
    except (_NotUpError, Denied):
        restarts.forget(folder, program)
        raise
    restarts.forget(folder, program)


def _require(supervisor: Supervisor, name: str, pid: int) -> None:
    now = supervisor.now(name)
    if now.pid != pid or now.state != "RUNNING":
        raise Refused(
            f"it is {now.state}, and no longer the process that was measured", hint="nothing needs to be done"
        )


def _ask(question: Callable[[], object]) -> None:
    """Asks once; what comes of it is looked at afterwards, since an answer can be lost on its way."""
    try:
        question()
    except (Unreachable, Denied):
        return


def _await_stop(supervisor: Supervisor, name: str, pid: int, patience: float) -> None:
    """Not broken off: half a restart is none. Asked again while supervisord does not answer."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            now = supervisor.now(name)
        except Unreachable:
            time.sleep(_POLL)
            continue
        if now.state in _STOPPED or (now.pid not in (0, pid)):
            return
        if now.state in ("RUNNING", "STARTING"):
            _ask(lambda: supervisor.stop(name))
        time.sleep(_POLL)
    raise MaintdError(f"supervisord could not stop it within {patience:.0f} s")


def _started(supervisor: Supervisor, name: str, hands: Hands, patience: float) -> Program:
    """The program once it is RUNNING. When maintd is told to stop, it is still asked for once."""
    end = time.monotonic() + patience
    last, asked = "", False
    while time.monotonic() < end:
        try:
            now = supervisor.now(name)
            last = f"it is {now.state}" + (f": {now.error}" if now.error else "")
            if now.state == "RUNNING":
                return now
            if asked and now.state in _STOPPED:
                raise _NotUpError(f"it did not come up: {last}")
            if now.state in _STOPPED:
                supervisor.start(name)
                asked = True
        except Unreachable as error:
            last = str(error)
        except Denied as error:
            raise _NotUpError(str(error), hint=error.hint) from error
        if hands.stop.is_set():
            raise Aborted("told to stop") if asked else NotYet(last)
        time.sleep(_POLL)
    raise MaintdError(f"it did not come up within {patience:.0f} s: {last}")
