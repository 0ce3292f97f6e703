"""The kind `check.heartbeat`: something must call in now and then, with `maintd beat NAME`."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from maintd.check import CannotTell, Check, TooEarly
from maintd.job import Context, Span
from maintd.readings import Sign, above
from maintd.units import format_duration


class CheckHeartbeat(Check):
    """Is up while something calls in often enough: a backup script at its end, a worker after each round."""

    kind: ClassVar[str] = "check.heartbeat"

    down_age: Span = Field(description='how long nothing may call in: "25h" for what runs once a day')
    degraded_age: Span | None = Field(default=None, description="and after how long it is degraded")

    @property
    def target(self) -> str:
        return "beat"

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        if "begun" not in ctx.memory:
            raise CannotTell("only the daemon knows who has called in", hint="maintd status shows it")
        beat: float | None = ctx.memory["beat"]
        age = time.monotonic() - (ctx.memory["begun"] if beat is None else beat)
        if beat is None and age < self.down_age.total_seconds():
            raise TooEarly("nothing has called in yet")
        limits = self.degraded_age.total_seconds() if self.degraded_age else None, self.down_age.total_seconds()
        yield above(age, limits, f"nothing has called in for {format_duration(timedelta(seconds=int(age)))}")
