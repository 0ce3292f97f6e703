"""The kind `check.load`: how many processes want to run, for each processor."""

import os
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from maintd.check import Check, Number
from maintd.job import Context
from maintd.readings import Sign, above


class CheckLoad(Check):
    """The load average divided by the number of processors: 1 is a machine that is just busy."""

    kind: ClassVar[str] = "check.load"

    minutes: Literal[1, 5, 15] = Field(default=5, description="over how many minutes it is averaged: 1, 5 or 15")
    degraded_load: Number | None = Field(default=2.0, description="so much for each processor is degraded")
    down_load: Number | None = Field(default=None, description="and so much is down")

    @property
    def target(self) -> str:
        return "load"

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        processors = os.cpu_count() or 1
        average = os.getloadavg()[(1, 5, 15).index(self.minutes)]
        told = f"load {average:.2f} over {self.minutes} min on {processors} processors"
        yield above(average / processors, (self.degraded_load, self.down_load), told)
