"""The kind `postgres`: declared indexes, VACUUM and ANALYZE past thresholds, and what is odd, of a PostgreSQL."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from maintd import extras
from maintd.job import AbsolutePath, Context, Count, Flag, Job, Limit, Span
from maintd.options import Conninfo
from maintd.steps import Finding, Step
from maintd.supervisor import Supervisor
from maintd.triggers import Asked


class PostgresUpkeep(Job):
    """Looks after one database of a PostgreSQL through psycopg (the extra `postgres`); no writer waits for it."""

    kind: ClassVar[str] = "postgres"

    conninfo: Conninfo = Field(description='how libpq connects: "host=/run/postgresql dbname=app user=maintd"')
    password_file: AbsolutePath | None = Field(default=None, description="a file that holds the password alone")
    indexes: tuple[str, ...] = Field(
        default=(), description='indexes that there must be: "orders(customer_id, created DESC)", "unique t(a)"'
    )
    probes: tuple[str, ...] = Field(
        default=(), description="queries that are measured before and after; they can only read"
    )
    query_timeout: Span = Field(default=timedelta(seconds=10), description="a probe that takes longer is ended")
    tend: Flag = Field(default=True, description="VACUUM and ANALYZE the tables that are past the thresholds")
    vacuum_over: float = Field(
        default=0.2, gt=0, lt=1, description="VACUUM of a table when such a share of its rows is dead"
    )
    analyze_over: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="ANALYZE when such a share of its rows has changed since the last",
    )
    min_rows: Count = Field(default=1000, description="and at least so many rows are dead, or have changed")
    bloat_over: float = Field(
        default=0.5, gt=0, lt=1, description="say which tables, of min_size or more, are estimated to be so empty"
    )
    unused_after: Span | None = Field(
        default=timedelta(days=30), description="say which indexes no query has used, once that is counted for so long"
    )
    report: Flag = Field(default=True, description="say what is bloated, unused, redundant or invalid")
    lock_timeout: Span = Field(
        default=timedelta(seconds=1), description="for how long a lock is waited for, with others behind"
    )
    statement_timeout: Span = Field(default=timedelta(hours=1), description="a statement that takes longer is ended")
    min_size: Limit = Field(default=10 << 20, description="smaller tables are never called bloated")

    def plan(self, ctx: Context) -> Iterator[Step]:
        from maintd.actions import postgres  # noqa: PLC0415 - reading a config does not need what acts

        if isinstance(ctx.cause, Asked) and ctx.cause.due_only:
            yield Finding(target=self.conninfo, reason="only the daemon knows whether it is due: left out by --due")
            return
        about: dict[str, Any] = {
            "target": self.conninfo,
            "password_file": self.password_file,
            "lock": self.lock_timeout.total_seconds(),
            "statement": self.statement_timeout.total_seconds(),
        }
        if self.indexes or self.probes:
            yield postgres.EnsureServerIndexes(
                reason="what is declared is compared with its schema",
                indexes=self.indexes,
                probes=self.probes,
                seconds=self.query_timeout.total_seconds(),
                **about,
            )
        if self.tend:
            yield postgres.TendTables(
                reason="tables past the thresholds",
                vacuum_over=self.vacuum_over,
                analyze_over=self.analyze_over,
                least=self.min_rows,
                **about,
            )
        if self.report:
            yield postgres.ReportOddities(
                reason="what costs and is of no use",
                bloat_over=self.bloat_over,
                unused_after=self.unused_after.total_seconds() if self.unused_after else None,
                least=self.min_size,
                indexes=self.indexes,
                **about,
            )

    def doubts(self, _supervisor: Supervisor) -> Iterator[tuple[str, str]]:
        if said := extras.lacking("psycopg"):
            yield "", said
