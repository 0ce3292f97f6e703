"""The kind `check.sqlite`: whether a live SQLite database answers, is being written, and is whole."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from maintd.ages import age
from maintd.check import Check, Percent
from maintd.deadlines import left
from maintd.job import AbsolutePath, Context, Interval, Limit, Span
from maintd.readings import Sign, above, degraded, down, up
from maintd.triggers import Asked
from maintd.units import format_duration, format_limit, format_size
from maintd.values import dataclass

_PARTING = 0.5
_OK = "ok"
_LATE = "late"
"""What peers/sqlite.py says of one that was given up; that module loads SQLite, which only a child is to do."""


@dataclass(frozen=True)
class _Checked:
    """What the last quick_check said, when (time.monotonic()), within which limit, of which file (device and inode)."""

    at: float
    said: str
    limit: timedelta
    file: list[int]


class CheckSqlite(Check):
    """Opens the database read-only, in a child process with a SQLite of its own, and closes it again."""

    kind: ClassVar[str] = "check.sqlite"
    looks_at: ClassVar[tuple[str, ...]] = ("path",)
    in_child: ClassVar[bool] = True

    path: AbsolutePath = Field(description="the database")
    query: str | None = Field(default=None, description="what is asked; default: how many tables there are")
    expect: str | None = Field(default=None, description="what the first value of the answer must be, as text")
    degraded_time: Span | None = Field(
        default=timedelta(seconds=1), description="a query that takes so long is degraded"
    )
    down_time: Span | None = Field(default=None, description="and one that takes so long is down")
    degraded_wal: Limit | None = Field(default=64 << 20, description="a write-ahead log of this size is degraded")
    down_wal: Limit | None = Field(default=None, description="and one of this size is down")
    degraded_free: Percent | None = Field(default=None, description="such a share of free pages is degraded (VACUUM)")
    down_free: Percent | None = Field(default=None, description="and such a share is down")
    degraded_age: Span | None = Field(default=None, description="degraded if it was last written so long ago")
    down_age: Span | None = Field(default=None, description="down if it was last written so long ago")
    quick_check_every: Interval | None = Field(
        default=None,
        description='how often its structure is read through: "7d". What is not done at the timeout is degraded',
    )

    @property
    def target(self) -> str:
        return self.path

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        checked = ctx.memory.get("quick_check") if self.quick_check_every is not None else None
        answer = self.ask(
            ctx,
            deadline + _PARTING,
            "maintd.peers.sqlite:look",
            path=self.path,
            query=self.query,
            limit=left(deadline),
            quick_check=self._quick_check_is_due(ctx, checked),
            checked=checked and checked.file,
        )
        if answer["quick_check"] is not None:
            checked = _Checked(time.monotonic(), answer["quick_check"], self.timeout, answer["file"])
            ctx.memory["quick_check"] = checked
        yield above(answer["query_s"], _seconds(self.degraded_time, self.down_time), _told_time(answer["query_s"]))
        if self.expect is not None and str(answer["first"]) != self.expect:
            yield down(f"the query says {answer['first']}, not {self.expect}")
        wal = answer["wal_bytes"]
        yield above(wal, (self.degraded_wal, self.down_wal), f"write-ahead log {format_size(wal)}")
        share = 100 * answer["free_pages"] / max(answer["pages"], 1)
        yield above(share, (self.degraded_free, self.down_free), f"{share:.0f}% of its pages free")
        old = age(answer["changed"], self.path, ctx.memory, time.time(), ctx.clock_away)
        limits = _seconds(self.degraded_age, self.down_age)
        yield above(old, limits, f"last written {format_duration(timedelta(seconds=int(old)))} ago")
        if checked is not None:
            yield _soundness(checked)

    def _quick_check_is_due(self, ctx: Context, last: _Checked | None) -> bool:
        """Whether the structure is read through, though the file be the same.

        What was damaged may be repaired now, and what took too long may be done within a longer timeout.
        """
        if self.quick_check_every is None:
            return False
        if last is None or last.said not in (_OK, _LATE) or isinstance(ctx.cause, Asked):
            return True
        if last.said == _LATE and self.timeout > last.limit:
            return True
        return time.monotonic() - last.at >= self.quick_check_every.total_seconds()


def _soundness(checked: _Checked) -> Sign:
    if checked.said == _LATE:
        limit = format_limit(checked.limit)
        return degraded(f"quick_check was not done within {limit}", "give the check a longer timeout")
    return up("quick_check is ok") if checked.said == _OK else down(f"quick_check says: {checked.said}")


def _told_time(seconds: float) -> str:
    return f"answered in {format_duration(timedelta(seconds=seconds))}"


def _seconds(*spans: timedelta | None) -> tuple[float | None, float | None]:
    worse, worst = (None if span is None else span.total_seconds() for span in spans)
    return worse, worst
