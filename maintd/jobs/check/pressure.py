"""The kind `check.pressure`: for what share of the time work had to wait for CPU, memory or the disks (PSI)."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from maintd.check import CannotTell, Check, Percent, Share
from maintd.errors import is_shortage
from maintd.job import Context
from maintd.readings import Sign, above


class CheckPressure(Check):
    """Reads /proc/pressure. Unlike the load it says how much time was lost, and to what."""

    kind: ClassVar[str] = "check.pressure"

    resource: Literal["cpu", "memory", "io"] = Field(description="what was waited for: cpu, memory or io")
    who: Literal["some", "full"] = Field(default="some", description="some: anybody waited; full: all did, nothing ran")
    seconds: Literal[10, 60, 300] = Field(default=60, description="over how many seconds it is averaged: 10, 60 or 300")
    degraded_share: Percent | None = Field(default=Share(25), description="so much of the time is degraded")
    down_share: Percent | None = Field(default=None, description="and so much is down")

    @property
    def target(self) -> str:
        return f"pressure of {self.resource}"

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        try:
            with open(f"/proc/pressure/{self.resource}", encoding="ascii") as lines:
                rows = dict(line.split(maxsplit=1) for line in lines)
        except OSError as error:
            if is_shortage(error):
                raise
            raise CannotTell("this kernel measures no pressure", hint="boot with psi=1; Linux 4.20 or newer") from error
        if self.who not in rows:
            raise CannotTell(f"this kernel has no {self.who} for {self.resource}", hint='use who = "some"')
        averages = dict(pair.split("=") for pair in rows[self.who].split())
        share = float(averages[f"avg{self.seconds}"])
        told = f"{self.who} work waited {share:.1f}% of the last {self.seconds} s"
        yield above(share, (self.degraded_share, self.down_share), told)
