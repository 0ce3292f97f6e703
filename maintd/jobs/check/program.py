"""The kind `check.program`: runs a program of yours, whose exit status says how things are, and whose output why."""

import shlex
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from maintd.check import Check, Whole
from maintd.deadlines import left
from maintd.job import Argv, Context
from maintd.readings import Sign, degraded, down, unknown, up
from maintd.supervisor import Supervisor

_PARTING = 1.0
Statuses = tuple[Annotated[int, Field(ge=0, le=255)], ...]


class CheckProgram(Check):
    """Runs a command without a shell, in a clean environment, for at most `timeout`; then it is killed."""

    kind: ClassVar[str] = "check.program"
    in_child: ClassVar[bool] = True

    command: Argv = Field(description='the program and its arguments: ["/usr/local/bin/is-well", "--fast"]')
    user: str | None = Field(default=None, description="the user that it runs as; default: maintd's own")
    up_status: Statuses = Field(default=(0,), description="exit statuses that mean up")
    degraded_status: Statuses = Field(default=(1,), description="and degraded; all others mean down")
    unknown_status: Statuses = Field(default=(3,), description="and unknown, as Nagios plugins have it")
    longest_message: Whole = Field(default=200, description="so many characters of its output are told")

    @property
    def target(self) -> str:
        return shlex.join(self.command)

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        arguments: dict[str, Any] = {"argv": self.command, "limit": left(deadline), "user": self.user}
        answer = self.ask(ctx, deadline + _PARTING, "maintd.commands:run", **arguments)
        status, output = answer["status"], answer["output"]
        told = " ".join(output.split())[: self.longest_message] or f"exit status {status}"
        if status in self.up_status:
            yield up(told)
        elif status in self.degraded_status:
            yield degraded(told)
        elif status in self.unknown_status:
            yield unknown(told)
        else:
            yield down(f"it was ended by signal {-status}" if status < 0 else f"status {status}: {told}")

    def doubts(self, supervisor: Supervisor) -> Iterator[tuple[str, str]]:
        from maintd.actions.command import is_runnable  # noqa: PLC0415 - for `maintd check` alone

        yield from super().doubts(supervisor)
        if not is_runnable(self.command[0]):
            yield "command", f"{self.command[0]} is no program that can be run"
