"""The kind `check.log`: counts the lines of logs that match, over rotations."""

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from maintd import line_feed, log_reading, patterns
from maintd.check import Check, Whole, complete, seen
from maintd.deadlines import left
from maintd.expressions import is_plain
from maintd.job import Context, FilePattern, Span
from maintd.names import printable
from maintd.options import Regex
from maintd.readings import Sign, above, below
from maintd.rules import rule
from maintd.units import counted, format_duration, format_size

_GONE = 1000
"""Of so many logs that are no longer there it is known how far they were read."""


class CheckLog(Check):
    """Counts lines that are written while maintd runs; what was there before its first look does not count."""

    kind: ClassVar[str] = "check.log"
    looks_at: ClassVar[tuple[str, ...]] = ("paths", "exclude", "matches", "ignores")

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
        begun = ctx.memory.setdefault("begun", time.monotonic())
        expansion = complete(patterns.expand(self.paths, self.exclude, own=ctx.own))
        ctx.memory.setdefault("old", [match.path for match in expansion.matches])
        ctx.memory.setdefault("since", time.time_ns())
        found = [match.path for match in seen(expansion, "log")]
        answer = self._counted(ctx, found, deadline)
        counts: deque[tuple[float, int]] = ctx.memory.setdefault("counts", deque())
        counts.append((time.monotonic(), answer["count"]))
        if answer["count"]:
            line = answer["line"].encode("latin-1")[:160].decode("utf-8", "replace")
            ctx.memory["line"] = printable(line.strip())
        window, now = self.within.total_seconds(), time.monotonic()
        while counts and counts[0][0] < now - window:
            counts.popleft()
        count = sum(number for _, number in counts)
        last = f", at last: {ctx.memory['line']}" if count and "line" in ctx.memory else ""
        told = f"{counted(count, 'line')} within {format_duration(self.within)}{last}{_unread(answer)}"
        yield above(count, (self.degraded_count, self.down_count), told)
        if now - begun >= window:
            yield below(count, (self.degraded_below, self.down_below), told)

    def _counted(self, ctx: Context, paths: list[str], deadline: float) -> dict[str, Any]:
        """What line_feed.count says, here or in a child; how far each log was read is kept."""
        logs: dict[str, Any] = ctx.memory.setdefault("logs", {})
        arguments: dict[str, Any] = {
            "paths": paths,
            "old": ctx.memory["old"],
            "since": ctx.memory["since"],
            "logs": logs,
            "matches": self.matches,
            "ignores": self.ignores,
            "limit": left(deadline),
        }
        answer: dict[str, Any] | None = None
        if all(is_plain(pattern) for pattern in (self.matches, self.ignores or "")):
            with contextlib.suppress(log_reading.Packed):
                answer = line_feed.count(lambda _: None, unpacks=False, **arguments)
        if answer is None:
            answer = self.ask_to_match(ctx, deadline, "maintd.line_feed:count", **arguments)
        for path, state in answer["logs"].items():
            logs.pop(path, None)
            logs[path] = state
        for path in list(logs)[: -len(paths) - _GONE]:
            del logs[path]
        return answer


def _unread(answer: dict[str, Any]) -> str:
    told = f"; {format_size(answer['skipped'])} were too much to be read" if answer["skipped"] else ""
    if answer["missed"]:
        told += f"; {counted(answer['missed'], 'rotated log')} could not be read"
    return told + ("; there was no time to read everything" if answer["is_late"] else "")
