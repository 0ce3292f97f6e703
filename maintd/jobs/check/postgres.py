"""The kind `check.postgres`: whether a PostgreSQL answers, has connections left, and keeps up."""

import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from maintd.check import CannotTell, Check, Percent, Share
from maintd.deadlines import left
from maintd.errors import Refused
from maintd.job import AbsolutePath, Context, Span
from maintd.options import Conninfo, secret
from maintd.readings import Sign, above, down, unknown
from maintd.units import format_duration

_PARTING = 0.5


class CheckPostgres(Check):
    """Connects through psycopg (the extra `postgres`), in a child process; reads a few views of statistics."""

    kind: ClassVar[str] = "check.postgres"
    looks_at: ClassVar[tuple[str, ...]] = ("conninfo",)
    in_child: ClassVar[bool] = True

    conninfo: Conninfo = Field(description='how libpq connects: "host=/run/postgresql dbname=app user=maintd"')
    password_file: AbsolutePath | None = Field(default=None, description="a file that holds the password alone")
    query: str = Field(default="SELECT 1", description="what is asked: one statement, which may only read")
    expect: str | None = Field(default=None, description="what the first value of the answer must be, as text")
    degraded_time: Span | None = Field(
        default=timedelta(seconds=1), description="a query that takes so long is degraded"
    )
    down_time: Span | None = Field(default=None, description="and one that takes so long is down")
    degraded_connections: Percent | None = Field(
        default=Share(80), description="such a share of the connections that there may be is degraded"
    )
    down_connections: Percent | None = Field(default=Share(95), description="and such a share is down")
    degraded_transaction: Span | None = Field(default=timedelta(hours=1), description="such a transaction is degraded")
    down_transaction: Span | None = Field(default=None, description="and one that is open for so long is down")
    degraded_lag: Span | None = Field(default=timedelta(minutes=1), description="a replica so far behind is degraded")
    down_lag: Span | None = Field(default=None, description="and so far behind is down")
    degraded_dead: Percent | None = Field(
        default=None, description="such a share of dead rows, in the worst table of 10,000 rows or more, is degraded"
    )
    down_dead: Percent | None = Field(default=None, description="and such a share is down")

    @property
    def target(self) -> str:
        return self.conninfo

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        begun = time.monotonic()
        try:
            answer = self.ask(
                ctx,
                deadline + _PARTING,
                "maintd.peers.postgres:look",
                conninfo=self.conninfo,
                password=secret(self.password_file) if self.password_file else None,
                query=self.query,
                limit=left(deadline),
            )
        except Refused as error:
            raise CannotTell(str(error), hint=error.hint) from error
        took = answer["query_s"]
        yield above(took, _seconds(self.degraded_time, self.down_time), f"answered in {_span(took)}")
        if self.expect is not None and answer["first"] != self.expect:
            yield down(f"the query says {answer['first']}, not {self.expect}")
        yield from self._sessions(answer)
        if answer["lag_s"] is not None:
            yield self._lag(ctx, begun, answer["lag_s"])
        yield above(answer["dead"], (self.degraded_dead, self.down_dead), f"{answer['dead']:.0f}% dead rows")

    def _lag(self, ctx: Context, begun: float, lag: float) -> Sign:
        """How far behind a replica is: no longer than since a look, begun then, at which it had all that there was.

        What the server says counts from the last transaction, however long ago that was before it fell behind.
        """
        in_step = ctx.memory.get("in_step")
        if lag == 0:
            ctx.memory["in_step"] = begun
        elif in_step is not None:
            lag = min(lag, time.monotonic() - in_step)
        return above(lag, _seconds(self.degraded_lag, self.down_lag), f"{_span(lag)} behind")

    def _sessions(self, answer: Mapping[str, Any]) -> Iterator[Sign]:
        """How many others are connected, and what they have open, if the server shows that."""
        if not answer["sees_all"]:
            yield unknown("its role is not shown the connections of others", "GRANT pg_monitor to that role")
            return
        share = 100 * answer["connections"] / max(answer["most_connections"], 1)
        told = f"{answer['connections']} of {answer['most_connections']} connections"
        yield above(share, (self.degraded_connections, self.down_connections), told)
        longest = answer["longest_s"]
        limits = _seconds(self.degraded_transaction, self.down_transaction)
        yield above(longest, limits, f"the longest transaction {_span(longest)}")


def _span(seconds: float) -> str:
    return format_duration(timedelta(seconds=seconds))


def _seconds(*spans: timedelta | None) -> tuple[float | None, float | None]:
    worse, worst = (None if span is None else span.total_seconds() for span in spans)
    return worse, worst
