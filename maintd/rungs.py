"""The rungs of the ladder on which a log can be rotated without losing a line, as plain values, with their steps."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from datetime import timedelta
from typing import Literal

from maintd.actions.command import RunCommand
from maintd.actions.rename import SetAside
from maintd.actions.tell import Confirm, Tell
from maintd.intents import Way
from maintd.steps import Action, Step
from maintd.supervisor import Supervisor
from maintd.triggers import Told
from maintd.values import dataclass

Mode = Literal["auto", "supervisor", "signal", "command", "collapse", "none"]


@dataclass(frozen=True)
class SignalTo:
    """A configured signal and whom it goes to: a program of supervisord, or the pid in a file."""

    number: int
    program: str | None = None
    pidfile: str | None = None


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Recipient:
    """A process that gets a signal; `start`, its start time, and `uid` tell a reused pid.

    `is_writer` says that it was seen to write the log itself, `is_supervisord` that it writes for its programs.
    """

    pid: int
    start: int
    uid: int
    program: str
    number: int
    is_writer: bool = False
    is_supervisord: bool = False


@dataclass(frozen=True, kw_only=True)
class Rung:
    """How one log's writers are told, and why so; with a `refusal` the log is not to be rotated, if `put_off` not now.

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
    put_off: str = ""

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
                uid=recipient.uid,
                program=recipient.program,
                number=recipient.number,
                is_writer=recipient.is_writer,
                is_supervisord=recipient.is_supervisord,
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


def told(steps: Iterable[Step]) -> tuple[Told, ...]:
    """Who is told by these steps of which logs that they set aside."""
    return tuple(found for step in steps if (found := _told(step)) and found.logs)


def _told(step: Step) -> Told | None:
    if not isinstance(step, (Tell, RunCommand)):
        return None
    logs = tuple((need.target, need.archive) for need in step.needs if isinstance(need, SetAside))
    if isinstance(step, RunCommand):
        return Told(f"the writer that {step.target} was to tell", logs) if step.tells else None
    seen = (step.pid, step.start, step.uid) if step.is_writer else (0, 0, 0)
    return Told(step.target, logs, *seen, is_supervisord=step.is_supervisord)


def plan_confirmation(rotated: Iterable[Action], before: Iterable[Told], supervisor: Supervisor) -> Iterator[Confirm]:
    """Sees that writers have opened their new logs: those that this plan tells, and those that a run before it told."""
    reason = "told to open them anew"
    for earlier in before:
        yield Confirm(target=earlier.who, reason=reason, told=earlier, supervisor=supervisor)
    for step in rotated:
        found = _told(step)
        if found and found.logs:
            yield Confirm(target=found.who, reason=reason, told=found, supervisor=supervisor, needs=(step,))


def _logs(actions: Sequence[Action]) -> str:
    first = os.path.basename(actions[0].target)
    return first if len(actions) == 1 else f"{first} and {len(actions) - 1} more"
