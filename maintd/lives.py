"""What happens to a program of supervisord, told from two looks at it; the events of that."""

from typing import ClassVar

from maintd.events import Event
from maintd.names import printable
from maintd.supervisor import Program
from maintd.values import dataclass

STEADY = ("RUNNING", "STOPPED", "EXITED")
"""The states that are told; the others are on the way to one of them."""
REMOVED = "REMOVED"
"""In place of a state: supervisord does not know the program any more."""
_ALIVE = ("RUNNING", "STARTING")
LINES = " \N{RETURN SYMBOL} "
"""What stands between the lines of a log in an event, which is one line itself."""
_MOST_LINES, _MOST_BYTES = 12, 560
_WHOLE = 1.0
"""supervisord tells of whole seconds."""


@dataclass(frozen=True, kw_only=True)
class ProgramCrashed(Event):
    """A program ended that was not meant to; `last_lines` are the end of its log. Told once until it runs again.

    `exit_status` is left out if it is not known, or was a signal.
    """

    name: ClassVar[str] = "program.crashed"
    level: ClassVar[str] = "error"

    state: str
    pid: int
    reason: str
    exit_status: int | None = None
    last_lines: str | None = None

    @property
    def msg(self) -> str:
        return f"{self.reason}; it is {self.state} now" + (f"; its log ends: {self.last_lines}" * bool(self.last_lines))


@dataclass(frozen=True, kw_only=True)
class ProgramFatal(Event):
    """supervisord has given a program up: it does not start it again by itself. `last_lines` are the end of its log."""

    name: ClassVar[str] = "program.fatal"
    level: ClassVar[str] = "error"

    reason: str
    last_lines: str | None = None

    @property
    def msg(self) -> str:
        return f"given up by supervisord: {self.reason}" + (
            f"; its log ends: {self.last_lines}" * bool(self.last_lines)
        )


@dataclass(frozen=True, kw_only=True)
class ProgramRecovered(Event):
    """A program that had crashed, or was given up, has run for `calm` of [cascade], times its failures within the last
    hour, at most 15 minutes. `failures` counts what was seen since it was well.
    """

    name: ClassVar[str] = "program.recovered"

    failures: int

    @property
    def msg(self) -> str:
        return "runs again" + (f", after {self.failures} failures" if self.failures > 1 else "")


@dataclass(frozen=True, kw_only=True)
class ProgramChanged(Event):
    """A program was started, was stopped, or ended as expected; after a failure that it was, or was taken out."""

    name: ClassVar[str] = "program.changed"

    state: str
    was: str

    @property
    def msg(self) -> str:
        return f"{self.state}, was {self.was}"


@dataclass(frozen=True)
class Failed:
    """How a program failed, in words."""

    reason: str
    is_final: bool = False
    exit_status: int | None = None


def failure(before: Program | None, after: Program, followed: float) -> Failed | None:
    """Whether a program failed between two looks, of which the second is the first one of what has no `before`.

    Of that it matters if it was given up, or has ended in the last `followed` seconds.
    """
    if after.state == "FATAL":
        return (
            None if before and before.state == "FATAL" else Failed(after.error or "it cannot be started", is_final=True)
        )
    if before is None and after.stopped_for >= followed + _WHOLE:
        return None
    if after.state == "EXITED" and after.error and not (before and after.is_as(before)):
        killed = after.exit_status < 0
        how = "it was ended by a signal" if killed else f"it exited with status {after.exit_status}"
        return Failed(how, exit_status=None if killed else after.exit_status)
    if after.state == "BACKOFF" and not (before and before.state == "BACKOFF"):
        return Failed(after.error or "it exited too quickly")
    if before and before.state in _ALIVE and after.state in _ALIVE and before.pid != after.pid:
        return Failed("it ended, and was started again before it was looked at")
    return None


def last_lines(output: str) -> str:
    """The last lines of what a program has logged, as one line that fits into an event."""
    found: list[str] = []
    room = _MOST_BYTES
    for line in reversed(output.splitlines()):
        text = printable(line.strip())
        if not text:
            continue
        size = len(text.encode()) + len(LINES.encode())
        if size > room and found:
            break
        found.append(text.encode()[-room:].decode(errors="ignore"))
        room -= size
        if len(found) == _MOST_LINES or room <= 0:
            break
    return LINES.join(reversed(found))
