"""Telling a writer that its log was set aside, and waiting until it has let go of it."""

import os
import signal
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import ClassVar

from maintd import durable, holders, supervisor
from maintd.actions.hands import Hands
from maintd.actions.rename import RotateFailed
from maintd.errors import NotYet
from maintd.events import Event, Failure
from maintd.steps import Action, Lane

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
class Tell(Action):
    """Sends a signal to the process that was seen to hold the logs, by pidfd.

    To supervisord it is SIGUSR2, which reopens the logs of all its programs and restarts none (supervisord(1)).
    """

    verb: ClassVar[str] = "tell"
    failure: ClassVar[type[Failure]] = RotateFailed
    lane: ClassVar[Lane] = Lane.ROTATE

    pid: int
    start: int
    program: str
    number: int

    @property
    def detail(self) -> str:
        return signal.Signals(self.number).name

    def is_possible(self, done: AbstractSet[int]) -> bool:
        return not self.needs or any(id(need) in done for need in self.needs)

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        supervisor.send(self.pid, self.start, self.number)
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

    is_told: bool = True

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
            advice="it is compressed as soon as the writer reopens its log; "
            "set signal or command in the job to tell it to",
        )
