"""The kind `check.memory`: how much of the machine's memory is used."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from maintd.check import Check, Percent, Share
from maintd.job import Context, Limit
from maintd.machine import memory
from maintd.readings import Sign, above, below
from maintd.units import format_size


class CheckMemory(Check):
    """Reads MemAvailable: what programs could still get without swapping; caches count as free."""

    kind: ClassVar[str] = "check.memory"

    degraded_used: Percent | None = Field(default=Share(85), description="so much of the memory used is degraded")
    down_used: Percent | None = Field(default=Share(95), description="and so much is down")
    degraded_free: Limit | None = Field(default=None, description="less available than this is degraded")
    down_free: Limit | None = Field(default=None, description="and less than this is down")

    @property
    def target(self) -> str:
        return "memory"

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        found = memory()
        total, available = found["MemTotal"], found["MemAvailable"]
        share = 100 * (total - available) / total
        yield above(share, (self.degraded_used, self.down_used), f"{share:.0f}% of {format_size(total)} used")
        yield below(available, (self.degraded_free, self.down_free), f"{format_size(available)} available")
