"""The kind `sqlite`: declared indexes, statistics, checks, checkpoints and VACUUM of live databases."""

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from maintd import headers, patterns
from maintd.headers import Header
from maintd.job import Context, FilePattern, Flag, Job, Limit, Span
from maintd.steps import Finding, Seen, Step
from maintd.triggers import Asked
from maintd.units import format_duration, format_size

_CHECK_SPEED = 200 << 20
"""Bytes of a database that quick_check reads in a second."""
_LONGEST_CHECK = timedelta(minutes=1)
"""As long as a check reads, a write-ahead log cannot be cut."""


class SqliteUpkeep(Job):
    """Looks after live SQLite databases: writers never wait for longer than max_pause."""

    kind: ClassVar[str] = "sqlite"

    paths: tuple[FilePattern, ...] = Field(min_length=1, description="the databases, by glob patterns")
    exclude: tuple[FilePattern, ...] = Field(default=(), description="patterns of databases that are left alone")
    indexes: tuple[str, ...] = Field(
        default=(), description='indexes that each database must have: "trades(user_id, ts DESC)", "unique t(a)"'
    )
    probes: tuple[str, ...] = Field(
        default=(), description="queries that are measured before and after; they can only read"
    )
    query_timeout: Span = Field(default=timedelta(seconds=10), description="a probe that takes longer is ended")
    optimize: Flag = Field(default=True, description="bring statistics up to date (PRAGMA optimize)")
    quick_check: Flag = Field(default=True, description="look for damage (PRAGMA quick_check)")
    checkpoint_over: Limit = Field(
        default=64 << 20, description="move a write-ahead log that is larger than this into its database"
    )
    vacuum_over: float | None = Field(
        default=None, gt=0, lt=1, description="VACUUM when this share of a database is free; default: never"
    )
    max_pause: Span = Field(default=timedelta(seconds=1), description="for how long writers may be held up")

    def plan(self, ctx: Context) -> Iterator[Step]:
        expansion = patterns.expand(self.paths, self.exclude, own=ctx.own)
        yield from patterns.findings(expansion.misses, asked=isinstance(ctx.cause, Asked))
        if isinstance(ctx.cause, Asked) and ctx.cause.due_only:
            yield Finding(target=self.paths[0], reason="only the daemon knows whether it is due: left out by --due")
            return
        for match in expansion.matches:
            if headers.main_of(match.path):
                continue
            header = headers.read(match.path)
            directory, name = os.path.split(match.path)
            if header is None:
                yield Finding(target=match.path, reason="left alone: it is no SQLite database, or an encrypted one")
            elif os.path.isdir(os.path.join(directory, f".{name}-litestream")):
                yield Finding(target=match.path, reason="left alone: litestream owns its write-ahead log")
            else:
                yield from self._steps(Seen.of(match.path, match.stat), header)

    def _steps(self, seen: Seen, header: Header) -> Iterator[Step]:
        from maintd.actions import sqlite  # noqa: PLC0415 - reading a config does not need what acts

        about: dict[str, Any] = {"target": seen.path, "seen": seen, "pause": self.max_pause}
        if self.quick_check:
            estimate = timedelta(seconds=seen.size / _CHECK_SPEED)
            if header.is_wal:
                yield sqlite.QuickCheck(reason="in WAL mode: nobody waits for it", limit=_LONGEST_CHECK, **about)
            elif estimate <= self.max_pause:
                yield sqlite.QuickCheck(reason="not in WAL mode: writers wait", limit=self.max_pause, **about)
            else:
                why = f"quick_check left out: it would hold up its writers for about {format_duration(estimate)}"
                yield Finding(target=seen.path, reason=why)
        if self.indexes or self.probes:
            yield sqlite.EnsureIndexes(
                reason="what is declared is compared with its schema",
                indexes=self.indexes,
                probes=self.probes,
                seconds=self.query_timeout.total_seconds(),
                **about,
            )
        if self.optimize:
            yield sqlite.Optimize(reason="statistics grow old", **about)
        log = _size(f"{seen.path}-wal")
        if log > self.checkpoint_over:
            reason = (
                f"its write-ahead log has {format_size(log)}, checkpoint_over is {format_size(self.checkpoint_over)}"
            )
            yield sqlite.Checkpoint(reason=reason, **about)
        free = header.freelist * header.page_size
        if self.vacuum_over is not None and seen.size and free / seen.size >= self.vacuum_over:
            yield sqlite.Vacuum(reason=f"{format_size(free)} of {format_size(seen.size)} are free", **about)


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0
