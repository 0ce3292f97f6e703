"""Running a configured command: an argv list, a clean environment, a time limit, its whole process group ended."""

import os
import shlex
import signal
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any, ClassVar

from maintd.actions.hands import Hands
from maintd.child import Worker
from maintd.commands import PATH
from maintd.errors import MaintdError
from maintd.events import Event, Failure
from maintd.steps import Action, Lane
from maintd.units import format_duration
from maintd.values import dataclass

_STARTING = 5.0
"""Seconds beyond its time limit that a command's child may take to begin and to end."""


@dataclass(frozen=True, kw_only=True)
class CommandFinished(Event):
    """A configured command ended with status 0. `output` is the end of what it printed."""

    name: ClassVar[str] = "command.finished"

    command: str
    output: str

    @property
    def msg(self) -> str:
        return f"ran {self.command}"


@dataclass(frozen=True, kw_only=True)
class CommandFailed(Failure):
    """A configured command failed, could not be started, or took too long and was ended."""

    name: ClassVar[str] = "command.failed"


@dataclass(frozen=True, kw_only=True)
class OfCommand(Action):
    """An action that is a command: `argv`, never through a shell, at most `limit` long, as `user` or as maintd."""

    argv: tuple[str, ...]
    limit: timedelta
    user: str | None = None

    @property
    def detail(self) -> str:
        who = f"as {self.user}, " if self.user else ""
        return f"{shlex.join(self.argv)} ({who}at most {format_duration(self.limit)})"

    @property
    def runs(self) -> tuple[str, ...]:
        return self.argv


@dataclass(frozen=True, kw_only=True)
class RunCommand(OfCommand):
    """Runs its command. Lane and needs say when: before, to tell a writer, or after."""

    verb: ClassVar[str] = "run"
    failure: ClassVar[type[Failure]] = CommandFailed
    lane: ClassVar[Lane] = Lane.ROTATE

    tells: bool = False
    any_need: bool = False

    def is_possible(self, done: AbstractSet[int]) -> bool:
        if self.any_need:
            return not self.needs or any(id(need) in done for need in self.needs)
        return super().is_possible(done)

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        answer = self._run(hands)
        status, tail = answer["status"], answer["output"]
        if status != 0:
            how = f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
            raise MaintdError(f"{self.argv[0]} {how}" + (f": {tail}" if tail else ""))
        if self.tells:
            hands.told_at = time.monotonic()
        yield CommandFinished(target=self.target, command=shlex.join(self.argv), output=tail)

    def _run(self, hands: Hands) -> Any:
        """Through a child, which ends all of it if maintd dies; not in the background, whose nice it would inherit."""
        limit = self.limit.total_seconds()
        latest = time.monotonic() + limit + _STARTING
        with Worker(lock_fd=hands.lock_fd, background=False, parting=signal.SIGTERM) as worker:
            return worker.call(
                "maintd.commands:run",
                {"argv": self.argv, "limit": limit, "user": self.user},
                deadline=latest if hands.deadline is None else min(latest, hands.deadline),
                stop=hands.stop,
            )


@dataclass(frozen=True, kw_only=True)
class RunCommandLater(RunCommand):
    """Runs a command after long work, which it must not hold up the quick work of other jobs for."""

    lane: ClassVar[Lane] = Lane.HEAVY


def is_runnable(program: str) -> bool:
    """Whether a command can be found, by its path or in the PATH that commands get, and may be run."""
    places = [program] if "/" in program else [os.path.join(place, program) for place in PATH.split(":")]
    return any(os.path.isfile(place) and os.access(place, os.X_OK) for place in places)
