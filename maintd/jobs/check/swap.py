"""The kind `check.swap`: whether there is swap, how much of it is used, and how much goes in and out."""

import time
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from maintd.check import Check, Percent, Share
from maintd.job import Context, Flag, Limit
from maintd.machine import memory, swapped
from maintd.readings import Sign, above, degraded, up
from maintd.units import format_size


class CheckSwap(Check):
    """A machine that swaps is slow: what goes in and out says more than what is used."""

    kind: ClassVar[str] = "check.swap"

    required: Flag = Field(default=False, description="true if a machine without swap is degraded")
    degraded_used: Percent | None = Field(default=Share(50), description="so much of the swap used is degraded")
    down_used: Percent | None = Field(default=Share(90), description="and so much is down")
    degraded_rate: Limit | None = Field(
        default=None, description="so many bytes a second, in and out since the last look, are degraded"
    )
    down_rate: Limit | None = Field(default=None, description="and so many are down")

    @property
    def target(self) -> str:
        return "swap"

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        found = memory()
        total, free = found.get("SwapTotal", 0), found.get("SwapFree", 0)
        if total:
            share = 100 * (total - free) / total
            yield above(share, (self.degraded_used, self.down_used), f"{share:.0f}% of {format_size(total)} used")
        else:
            yield degraded("there is no swap") if self.required else up("there is no swap")
        now, count = time.monotonic(), swapped()
        before = ctx.memory.get("swapped")
        ctx.memory["swapped"] = now, count
        if before and now > before[0]:
            rate = (count - before[1]) / (now - before[0])
            yield above(rate, (self.degraded_rate, self.down_rate), f"{format_size(rate)}/s in and out")
