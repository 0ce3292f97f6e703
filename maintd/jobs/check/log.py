"""The kind `check.log`: counts the lines of logs that match, over rotations."""

import time
from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from maintd import patterns
from maintd.check import Check, Whole
from maintd.deadlines import left
from maintd.errors import MaintdError
from maintd.job import Context, FilePattern, Span
from maintd.line_feed import Follower
from maintd.names import printable
from maintd.options import Regex, compiled_bytes
from maintd.readings import Sign, above, below
from maintd.rules import rule
from maintd.units import counted, format_duration

_LONGEST_LINE = 4096
_CHECKED = 1000
"""After so many lines the deadline is looked at."""


class CheckLog(Check):
    """Counts lines that are written while maintd runs; what was there before its first look does not count."""

    kind: ClassVar[str] = "check.log"

    paths: tuple[FilePattern, ...] = Field(min_length=1, description="the logs, by glob patterns")
    exclude: tuple[FilePattern, ...] = Field(default=(), description="patterns of logs that are left alone")
    matches: Regex = Field(description='a regular expression for the lines that count: "ERROR|Traceback"')
    ignores: Regex | None = Field(default=None, description="lines that match this do not count")
    within: Span = Field(default=timedelta(minutes=5), description="in how long they are counted")
    degraded_count: Whole | None = Field(default=None, description="so many are degraded")
    down_count: Whole | None = Field(default=None, description="and so many are down")
    degraded_below: Whole | None = Field(
        default=None, description="not more than so many are degraded: a log fell silent"
    )
    down_below: Whole | None = Field(default=None, description="not more than so many are down")

    @rule("degraded_count", "down_count", "degraded_below", "down_below")
    def _judges(self) -> str:
        limits = (self.degraded_count, self.down_count, self.degraded_below, self.down_below)
        is_blind = limits == (None, None, None, None)
        return "nothing ever makes this check bad: set degraded_count, down_count, or …_below" if is_blind else ""

    @property
    def target(self) -> str:
        return ", ".join(self.paths)

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        found = [match.path for match in patterns.expand(self.paths, self.exclude, own=ctx.own).matches]
        if not found:
            raise MaintdError("there is no such log")
        followers: dict[str, Follower] = ctx.memory.setdefault("followers", {})
        counts: deque[tuple[float, int]] = ctx.memory.setdefault("counts", deque())
        begun = ctx.memory.setdefault("begun", time.monotonic())
        for path in found:
            if path not in followers:
                followers[path] = Follower(path)
            counts.append((time.monotonic(), self._count(ctx, followers[path], deadline)))
        window, now = self.within.total_seconds(), time.monotonic()
        while counts and counts[0][0] < now - window:
            counts.popleft()
        count = sum(number for _, number in counts)
        last = f", at last: {ctx.memory['line']}" if count and "line" in ctx.memory else ""
        told = f"{counted(count, 'line')} within {format_duration(self.within)}{last}"
        yield above(count, (self.degraded_count, self.down_count), told)
        if now - begun >= window:
            yield below(count, (self.degraded_below, self.down_below), told)

    def _count(self, ctx: Context, follower: Follower, deadline: float) -> int:
        wanted, unwanted = compiled_bytes(self.matches), compiled_bytes(self.ignores) if self.ignores else None
        count = 0
        for number, whole in enumerate(follower.lines()):
            line = whole[:_LONGEST_LINE]
            if number % _CHECKED == 0:
                left(deadline)
            if wanted.search(line) and not (unwanted and unwanted.search(line)):
                count += 1
                ctx.memory["line"] = printable(line[:160].decode("utf-8", "replace").strip())
        return count
