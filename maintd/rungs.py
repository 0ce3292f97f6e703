"""The rungs of the ladder on which a log can be rotated without losing a line, as plain values, with their steps."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from maintd.actions.command import RunCommand
from maintd.actions.tell import Tell
from maintd.intents import Way
from maintd.steps import Action
from maintd.supervisor import Supervisor

Mode = Literal["auto", "supervisor", "signal", "command", "collapse", "none"]


@dataclass(frozen=True, slots=True)
class SignalTo:
    """A configured signal and whom it goes to: a program of supervisord, or the pid in a file."""

    number: int
    program: str | None = None
    pidfile: str | None = None


@dataclass(frozen=True, slots=True)
class Reopening:
    """What a job allows for telling writers, and for rotating in place the logs of those that cannot be told.

    `user` is who runs the command, None for maintd's own user.
    """

    mode: Mode = "auto"
    signal: SignalTo | None = None
    command: tuple[str, ...] | None = None
    user: str | None = None
    adopt: bool = False
    pause_writers: bool = False
    lossy: bool = False
    supervisor: Supervisor = field(default_factory=lambda: Supervisor(""))


@dataclass(frozen=True, slots=True)
class Recipient:
    """A process that gets a signal; `start` is its start time, which tells a reused pid."""

    pid: int
    start: int
    program: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """How one log's writers are told, and why so; with a `refusal` the log is not to be rotated.

    With a `way` nobody is told, and the log is rotated in place.
    """

    reason: str = ""
    way: Way | None = None
    adopt: bool = False
    holder: str = ""
    recipients: tuple[Recipient, ...] = ()
    command: tuple[str, ...] | None = None
    user: str | None = None
    refusal: str = ""
    advice: str = ""

    def tell(self, needs: tuple[Action, ...], limit: timedelta, why: str = "") -> Iterator[Tell | RunCommand]:
        """The steps that tell the writers, once for all the logs that were set aside in `needs`."""
        reason = why or f"to reopen {_logs(needs)}"
        for recipient in self.recipients:
            yield Tell(
                target=f"{recipient.program} (pid {recipient.pid})",
                reason=reason,
                needs=needs,
                pid=recipient.pid,
                start=recipient.start,
                program=recipient.program,
                number=recipient.number,
            )
        if self.command:
            yield RunCommand(
                target=self.command[0],
                reason=reason,
                needs=needs,
                any_need=True,
                argv=self.command,
                user=self.user,
                limit=limit,
                tells=True,
            )


def _logs(actions: Sequence[Action]) -> str:
    first = os.path.basename(actions[0].target)
    return first if len(actions) == 1 else f"{first} and {len(actions) - 1} more"
