"""Telling a writer that its log was set aside, and waiting until it has let go of it, and opened the new one."""

import os
import signal
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import ClassVar

from maintd import durable, grounds, holders
from maintd.actions.hands import Hands
from maintd.actions.rename import RotateFailed
from maintd.errors import Blind, NotYet, Refused, Unreachable
from maintd.events import Event, Failure
from maintd.steps import Action, Lane
from maintd.supervisor import Supervisor, send
from maintd.triggers import Told
from maintd.units import counted
from maintd.values import dataclass

PATIENCE = 3.0
"""Seconds for a writer to let go: supervisord's poll is 1 s when idle, so it takes up to about 1.7 s."""


@dataclass(frozen=True, kw_only=True)
class WriterTold(Event):
    """A writer was told to reopen its logs."""

    name: ClassVar[str] = "writer.told"

    pid: int
    program: str
    signal: str
    reason: str

    @property
    def msg(self) -> str:
        return f"sent {self.signal} to {self.program} (pid {self.pid}): {self.reason}"


@dataclass(frozen=True, kw_only=True)
class LogReleased(Event):
    """The writer has let go of a log that was set aside: it is complete."""

    name: ClassVar[str] = "log.released"

    waited_ms: float

    @property
    def msg(self) -> str:
        return f"nobody writes it any more, after {self.waited_ms:.0f} ms"


@dataclass(frozen=True, kw_only=True)
class RotateWaiting(Event):
    """Somebody still writes a log that was set aside, so it is left alone and tried again."""

    name: ClassVar[str] = "rotate.waiting"
    level: ClassVar[str] = "warning"

    pid: int | None
    program: str
    advice: str

    @property
    def msg(self) -> str:
        who = f"{self.program} (pid {self.pid})" if self.pid else "a process that maintd may not see"
        return f"{who} still writes it, so it is not compressed: {self.advice}"


@dataclass(frozen=True, kw_only=True)
class LogUnopened(Event):
    """A writer that was told has let go of its log, and has not opened the new one: what it says may go nowhere.

    What it wrote before is whole.
    """

    name: ClassVar[str] = "log.unopened"
    level: ClassVar[str] = "warning"

    program: str
    advice: str

    @property
    def msg(self) -> str:
        return f"{self.program} has let go of the old log, and has not opened this one: {self.advice}"


@dataclass(frozen=True, kw_only=True)
class Tell(Action):
    """Sends a signal to the process that was seen to hold the logs, by pidfd.

    To supervisord it is SIGUSR2, which reopens the logs of all its programs and restarts none (supervisord(1)).
    """

    verb: ClassVar[str] = "tell"
    failure: ClassVar[type[Failure]] = RotateFailed
    lane: ClassVar[Lane] = Lane.ROTATE

    pid: int
    start: int
    uid: int
    program: str
    number: int
    is_writer: bool = False
    is_supervisord: bool = False

    @property
    def detail(self) -> str:
        return signal.Signals(self.number).name

    def is_possible(self, done: AbstractSet[int]) -> bool:
        return not self.needs or any(id(need) in done for need in self.needs)

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        send(self.pid, (self.start, self.uid), self.number, hint="choose the signal that makes it reopen its logs")
        hands.told_at = time.monotonic()
        yield WriterTold(
            target=self.program, pid=self.pid, program=self.program, signal=self.detail, reason=self.reason
        )


@dataclass(frozen=True, kw_only=True)
class Wait(Action):
    """Waits until nobody may write a file that was set aside; raises NotYet if that does not come about in time.

    All waits of a run share one PATIENCE, from when the writers were told or the first wait began. Where there was
    nobody to tell (`is_told` False) they look once.
    """

    verb: ClassVar[str] = "wait"
    failure: ClassVar[type[Failure]] = RotateFailed

    advice: ClassVar[str] = (
        "it is compressed as soon as the writer reopens its log; "
        "see whether signal or command in the job reaches it, or set one that does"
    )

    is_told: bool = True

    @property
    def what(self) -> str:
        return "for its writer"

    def apply(self, hands: Hands) -> Iterator[Event]:
        begun = time.monotonic()
        hands.waits_since = hands.waits_since or begun
        patience = max(hands.told_at, hands.waits_since) + PATIENCE if self.is_told else begun
        delay = 0.001
        with (
            durable.directory(os.path.dirname(self.target)) as dir_fd,
            durable.opened(os.path.basename(self.target), dir_fd=dir_fd) as file,
        ):
            while holders.may_be_written(file):
                if time.monotonic() >= patience:
                    yield self._still_held(file)
                    raise NotYet(f"{self.target} is still being written")
                hands.pause(delay)
                delay = min(delay * 2, 0.05)
        yield LogReleased(target=self.target, waited_ms=round((time.monotonic() - begun) * 1000, 1))

    def _still_held(self, file: int) -> RotateWaiting:
        info = os.fstat(file)
        found = holders.find({(info.st_dev, info.st_ino)}).get((info.st_dev, info.st_ino), [])
        writer = next((holder for holder in found if holder.writing), None)
        return RotateWaiting(
            target=self.target,
            pid=writer.pid if writer else None,
            program=writer.program if writer else "",
            advice=self.advice,
        )


@dataclass(frozen=True, kw_only=True)
class Confirm(Action):
    """Sees that a writer which was told has the new logs open for writing, and says which it has not.

    It takes no longer than the waits for the old ones, whose PATIENCE it shares. That a log is not open is no failure,
    and as it should be if supervisord writes it for a program that does not run any more.
    """

    verb: ClassVar[str] = "confirm"
    failure: ClassVar[type[Failure]] = RotateFailed

    told: Told
    supervisor: Supervisor

    @property
    def detail(self) -> str:
        return counted(len(self.told.logs), "log")

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.waits_since = hands.waits_since or time.monotonic()
        patience = max(hands.told_at, hands.waits_since) + PATIENCE
        left, delay = list(self.told.logs), 0.001
        while left := [pair for pair in left if not self._is_heard(*pair)]:
            if time.monotonic() >= patience:
                break
            hands.pause(delay)
            delay = min(delay * 2, 0.05)
        for log, _ in self._missed(left):
            yield LogUnopened(target=log, program=self.told.who, advice=self._advice)

    def _missed(self, left: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those logs that somebody is there to write."""
        if not left or not self.told.is_supervisord:
            return left
        try:
            is_written = self.supervisor.logs()
        except Unreachable:
            return left
        awaited = [pair for pair in left if is_written.get(grounds.real(pair[0]), True)]
        return [pair for pair in awaited if not self._is_heard(*pair)]

    @property
    def _advice(self) -> str:
        if not self.told.is_supervisord:
            return (
                "look whether it reopens its logs on that, or restart it; if it opens them with its next line, "
                "all is well"
            )
        again = f"kill -USR2 {self.told.pid}" if self.told.pid else "SIGUSR2"
        return (
            "if `supervisorctl status` says that the program is RUNNING, tell supervisord again to reopen the logs of "
            f"its programs ({again}; it restarts none); what went wrong stands in its own log"
        )

    def _is_heard(self, log: str, archive: str) -> bool:
        """Whether the writer has the new log open; or the old one still, which is told elsewhere."""
        return _is_open(log, self.told) or _is_open(archive, self.told)


def _is_open(path: str, told: Told) -> bool:
    """Whether the process that was told has a file open for writing, or anybody if that is not known, or has gone."""
    try:
        with (
            durable.directory(os.path.dirname(path)) as dir_fd,
            durable.opened(os.path.basename(path), dir_fd=dir_fd) as file,
        ):
            if told.pid and holders.start_and_uid(told.pid) == (told.start, told.uid):
                info = os.fstat(file)
                found = holders.descriptors(told.pid, (info.st_dev, info.st_ino))
                return any(flags & os.O_ACCMODE != os.O_RDONLY for _, flags in found)
            return holders.may_be_written(file)
    except Blind:
        return True
    except (OSError, Refused):
        return False
