"""The kind `sqlite`: declared indexes, statistics, checks, checkpoints and VACUUM of live databases."""

import math
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field

from maintd import headers, interim_modes, patterns
from maintd.headers import Header
from maintd.job import Context, FilePattern, Flag, Job, Limit, Span
from maintd.matching import has_wildcard
from maintd.rules import rule
from maintd.steps import Finding, Seen, Step
from maintd.supervisor import Supervisor
from maintd.triggers import Asked
from maintd.units import format_duration, format_size

_CHECK_SPEED = 200 << 20
"""Bytes of a database that quick_check reads in a second."""
_LONGEST_CHECK = timedelta(minutes=1)
"""As long as a check reads, a write-ahead log cannot be cut."""
_MAY_WRITE = 0o222


class SqliteUpkeep(Job):
    """Looks after live SQLite databases: writers never wait for longer than max_pause."""

    kind: ClassVar[str] = "sqlite"

    paths: tuple[FilePattern, ...] = Field(min_length=1, description="the databases, by glob patterns")
    exclude: tuple[FilePattern, ...] = Field(default=(), description="patterns of databases that are left alone")
    indexes: tuple[str, ...] = Field(
        default=(), description='indexes that each database must have: "trades(user_id, ts DESC)", "unique t(a)"'
    )
    drop_undeclared: Flag = Field(
        default=False,
        description="drop the other indexes of tables that `indexes` names, unless they are unique",
    )
    probes: tuple[str, ...] = Field(
        default=(), description="queries that are measured before and after; they can only read"
    )
    query_timeout: Span = Field(default=timedelta(seconds=10), description="a probe that takes longer is ended")
    optimize: Flag = Field(default=True, description="bring statistics up to date (PRAGMA optimize)")
    quick_check: Flag = Field(default=True, description="look for damage (PRAGMA quick_check)")
    integrity_check: Flag = Field(
        default=False, description="integrity_check and foreign_key_check on a copy, as a backup does them anyhow"
    )
    checkpoint_over: Limit = Field(
        default=64 << 20, description="move a write-ahead log that is larger than this into its database"
    )
    vacuum_over: float | None = Field(
        default=None, gt=0, lt=1, description="VACUUM when this share of a database is free; default: never"
    )
    journal_mode: Literal["wal", "delete"] | None = Field(
        default=None, description="give databases this journal mode; default: as the service has made them"
    )
    page_size: int | None = Field(
        default=None, description="give databases pages of so many bytes, by VACUUM; default: as they are"
    )
    auto_vacuum: Literal["none", "full", "incremental"] | None = Field(
        default=None, description="give databases this auto_vacuum, by VACUUM; default: as they are"
    )
    max_pause: Span = Field(default=timedelta(seconds=1), description="for how long writers may be held up")

    @rule("page_size")
    def _is_a_page_size(self) -> str:
        sizes = {1 << power for power in range(9, 17)}
        return "" if self.page_size is None or self.page_size in sizes else "a page has 512, 1024, … or 65536 bytes"

    @rule("vacuum_over", "page_size", "auto_vacuum", "window")
    def _vacuums_in_a_window(self) -> str:
        asks = self.vacuum_over is not None or self.page_size is not None or self.auto_vacuum is not None
        return "VACUUM holds everybody up: give the job a window" if asks and self.window is None else ""

    @rule("drop_undeclared", "indexes")
    def _declares_what_stays(self) -> str:
        is_wrong = self.drop_undeclared and not self.indexes
        return "drop_undeclared needs indexes: what is not declared there goes" if is_wrong else ""

    def doubts(self, _supervisor: Supervisor) -> Iterator[tuple[str, str]]:
        if not (self.indexes or self.probes):
            return
        from maintd import indexing, queries  # noqa: PLC0415 - for `maintd check` alone

        for text in self.indexes:
            if flaw := indexing.flaw(text):
                yield "indexes", flaw
        for query in self.probes:
            if flaw := indexing.flaw_of_query(query) or queries.flaw(query):
                yield "probes", flaw

    def plan(self, ctx: Context) -> Iterator[Step]:
        expansion = patterns.expand(self.paths, self.exclude, own=ctx.own)
        named = [miss for miss in expansion.misses if miss.path in self.paths and not has_wildcard(miss.path)]
        others = [miss for miss in expansion.misses if miss not in named]
        yield from (self._failing(miss.path, miss.reason, "correct paths, or see what became of it") for miss in named)
        yield from patterns.findings(others, asked=isinstance(ctx.cause, Asked))
        if isinstance(ctx.cause, Asked) and ctx.cause.due_only:
            yield Finding(target=self.paths[0], reason="only the daemon knows whether it is due: left out by --due")
            return
        for match in expansion.matches:
            if headers.main_of(match.path):
                continue
            header = headers.read(match.path)
            directory, name = os.path.split(match.path)
            if header is None:
                yield self._strange(match.path, match.stat.st_size)
            else:
                is_owned = os.path.isdir(os.path.join(directory, f".{name}-litestream"))
                yield Finding(target=match.path, reason=_told(header, match.stat.st_size))
                if is_owned:
                    yield Finding(target=match.path, reason="only read: litestream owns its write-ahead log")
                yield from self._steps(Seen.of(match.path, match.stat), header, ctx, only_read=is_owned)

    def _strange(self, path: str, size: int) -> Finding:
        """What is no database. One that is damaged may look so; an empty file is one before its first table."""
        if not size:
            return Finding(target=path, reason="left alone: it is empty")
        why = "it is no SQLite database, or an encrypted one"
        return self._failing(path, why, "exclude it; if it was a database, restore it: maintd backups, maintd restore")

    def _failing(self, path: str, why: str, advice: str) -> Finding:
        from maintd.actions.sqlite import DatabaseFailed  # noqa: PLC0415 - as below

        event = DatabaseFailed(target=path, tried="look after it", error="refused", error_msg=why, advice=advice)
        return Finding(target=path, reason=f"{why} ({advice})", event=event)

    def _steps(self, seen: Seen, header: Header, ctx: Context, *, only_read: bool) -> Iterator[Step]:
        from maintd.actions import sqlite  # noqa: PLC0415 - reading a config does not need what acts

        about: dict[str, Any] = {"target": seen.path, "seen": seen, "pause": self.max_pause, "health": sqlite.Health()}
        about["place"] = os.path.join(ctx.stores, "databases")
        yield from self._checks(seen, header, about)
        if only_read:
            if self.probes:
                yield self._indexing(about, ())
            return
        yield from self._settling(seen, header, about)
        if self.indexes or self.probes:
            yield self._indexing(about, self.indexes)
        if self.optimize and not seen.mode & _MAY_WRITE:
            yield Finding(target=seen.path, reason="not optimized: nobody may write it")
        elif self.optimize:
            yield sqlite.Optimize(reason="statistics grow old", **about)
        log = _size(f"{seen.path}-wal")
        if log > self.checkpoint_over:
            reason = (
                f"its write-ahead log has {format_size(log)}, checkpoint_over is {format_size(self.checkpoint_over)}"
            )
            yield sqlite.Checkpoint(reason=reason, **about)
        free = header.freelist * header.page_size
        if self.vacuum_over is not None and seen.size and free / seen.size >= self.vacuum_over:
            action = sqlite.VacuumSome if header.auto_vacuum == "incremental" else sqlite.Vacuum
            yield action(reason=f"{format_size(free)} of {format_size(seen.size)} are free", **about)

    def _settling(self, seen: Seen, header: Header, about: dict[str, Any]) -> Iterator[Step]:
        from maintd.actions import sqlite  # noqa: PLC0415 - as above

        wanted = self._wanted(header)
        if interim_modes.is_noted(about["place"], seen.path, seen.inode):
            wanted |= {"journal_mode": self.journal_mode or "wal"}
            owes_wal = self.journal_mode != "delete"
            yield sqlite.Settle(reason="a run that was killed had begun it", wanted=wanted, owes_wal=owes_wal, **about)
        elif wanted:
            yield sqlite.Settle(reason="it is asked for, and it is not so", wanted=wanted, **about)

    def _indexing(self, about: dict[str, Any], declared: tuple[str, ...]) -> Step:
        from maintd.actions import indexes  # noqa: PLC0415 - as above

        return indexes.EnsureIndexes(
            reason="what is declared is compared with its schema" if declared else "its probes are measured",
            indexes=declared,
            drop=self.drop_undeclared,
            probes=self.probes,
            seconds=self.query_timeout.total_seconds(),
            **about,
        )

    def _checks(self, seen: Seen, header: Header, about: dict[str, Any]) -> Iterator[Step]:
        from maintd.actions import sqlite  # noqa: PLC0415 - as above

        estimate = timedelta(seconds=seen.size / _CHECK_SPEED)
        is_short = header.is_wal or estimate <= self.max_pause
        if self.quick_check and not is_short:
            yield self._too_long(seen, "quick_check", estimate)
        elif self.quick_check:
            why = "in WAL mode: nobody waits for it" if header.is_wal else "not in WAL mode: writers wait"
            yield sqlite.QuickCheck(reason=why, limit=_LONGEST_CHECK if header.is_wal else self.max_pause, **about)
        if self.integrity_check and not is_short:
            yield self._too_long(seen, "integrity_check", estimate)
        elif self.integrity_check:
            limit = None if header.is_wal else self.max_pause
            yield sqlite.CheckCopy(reason="on a copy nobody waits for it", limit=limit, **about)

    def _too_long(self, seen: Seen, check: str, estimate: timedelta) -> Finding:
        """A check that was asked for and is not done: said, for nobody looks for damage then."""
        from maintd.actions.sqlite import DatabaseFailed  # noqa: PLC0415 - as above

        what = "copying it for integrity_check" if check == "integrity_check" else check
        why = (
            f"{what} would hold up its writers for about {format_duration(estimate)}, "
            f"max_pause is {format_duration(self.max_pause)}"
        )
        enough = f"{math.ceil(1.5 * estimate.total_seconds())}s"
        advice = f'allow it at night: window = "03:00-05:00" and max_pause = "{enough}"; or set {check} = false'
        tried = f"do {check}"
        event = DatabaseFailed(target=seen.path, tried=tried, error="refused", error_msg=why, advice=advice)
        return Finding(target=seen.path, reason=f"{why} ({advice})", event=event)

    def _wanted(self, header: Header) -> dict[str, str | int]:
        """What is asked for and is not so."""
        there = {"journal_mode": "wal" if header.is_wal else "delete", "page_size": header.page_size}
        there |= {"auto_vacuum": header.auto_vacuum}
        asked = {"journal_mode": self.journal_mode, "page_size": self.page_size, "auto_vacuum": self.auto_vacuum}
        return {name: value for name, value in asked.items() if value is not None and value != there[name]}


def _told(header: Header, size: int) -> str:
    mode = "WAL" if header.is_wal else "a rollback journal"
    free = f", {100 * header.freelist * header.page_size // size}% free" if size else ""
    return f"{mode}, pages of {format_size(header.page_size)}, auto_vacuum {header.auto_vacuum}{free}"


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0
