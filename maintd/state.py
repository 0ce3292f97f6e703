"""state.sqlite: what is convenient to remember between runs: last successes and pauses. No data depends on it.

A database that is newer than this maintd, or damaged, is set aside, and a new one is begun. One that cannot be read or
written now (a full disk, a lock) is left alone: work goes on with what is in memory.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from maintd.events import Event, Failure

VERSION = 1
_SCHEMA = """
CREATE TABLE success (job TEXT PRIMARY KEY, at TEXT NOT NULL) STRICT;
CREATE TABLE pause (job TEXT PRIMARY KEY, until TEXT) STRICT;
"""
_PATIENCE = 0.5
ALL_JOBS = "*"


@dataclass(frozen=True, kw_only=True)
class StateReset(Event):
    """The state database could not be used; it was set aside and a new one begun. Logs and archives are untouched."""

    name: ClassVar[str] = "state.reset"
    level: ClassVar[str] = "warning"

    set_aside_as: str
    reason: str

    @property
    def msg(self) -> str:
        return f"began a new state database: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class StateFailed(Failure):
    """The state database cannot be read or written now; maintd goes on without it."""

    name: ClassVar[str] = "state.failed"
    level: ClassVar[str] = "warning"


class _UnusableError(Exception):
    """The database is damaged, or of a newer maintd."""


class State:
    """Used by the daemon's main thread alone. Times are aware, in UTC. `report` gets what goes wrong."""

    def __init__(self, directory: str, report: Callable[[Event], None]) -> None:
        self.path = os.path.join(directory, "state.sqlite")
        self._report = report
        self._has_failed = False
        self._database: sqlite3.Connection | None = None
        self._successes: dict[str, datetime] = {}
        self._pauses: dict[str, datetime | None] = {}
        try:
            self._database = self._open()
            self._read(self._database)
        except sqlite3.Error as error:
            self._fail("read", error)

    def _open(self) -> sqlite3.Connection:
        try:
            return self._opened()
        except _UnusableError as error:
            self._set_aside(str(error))
            return self._opened()

    def _opened(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, isolation_level=None, timeout=_PATIENCE)
        try:
            self._prepare(database)
        except BaseException as error:
            database.close()
            if isinstance(error, sqlite3.Error) and error.sqlite_errorcode in (
                sqlite3.SQLITE_NOTADB,
                sqlite3.SQLITE_CORRUPT,
            ):
                raise _UnusableError(str(error)) from error
            raise
        return database

    def _prepare(self, database: sqlite3.Connection) -> None:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise _UnusableError(f"it was written by a newer maintd (version {version}, this one knows {VERSION})")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        if version == 0:
            database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        if database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise _UnusableError("it is damaged")

    def _set_aside(self, reason: str) -> None:
        place = f"{self.path}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}.bad"
        os.rename(self.path, place)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.path + suffix, place + suffix)
        self._report(StateReset(target=self.path, set_aside_as=place, reason=reason))

    def _read(self, database: sqlite3.Connection) -> None:
        rows = database.execute("SELECT job, at FROM success").fetchall()
        self._successes = {job: datetime.fromisoformat(at) for job, at in rows}
        rows = database.execute("SELECT job, until FROM pause ORDER BY job").fetchall()
        self._pauses = {job: datetime.fromisoformat(until) if until else None for job, until in rows}

    def _write(self, statement: str, *values: str | None) -> None:
        if self._database is None:
            return
        try:
            self._database.execute(statement, values)
        except sqlite3.Error as error:
            self._fail("write", error)
        else:
            self._has_failed = False

    def _fail(self, tried: str, error: sqlite3.Error) -> None:
        """Says so once, until a write succeeds again."""
        if not self._has_failed:
            self._has_failed = True
            advice = "nothing is lost; what is remembered between starts (pauses, last runs) may be out of date"
            self._report(
                StateFailed(
                    target=self.path,
                    tried=f"{tried} it",
                    error=error.sqlite_errorname,
                    error_msg=str(error),
                    advice=advice,
                )
            )

    def close(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()

    def last_success(self, job: str) -> datetime | None:
        return self._successes.get(job)

    def record_success(self, job: str, at: datetime) -> None:
        self._successes[job] = at
        self._write("INSERT OR REPLACE INTO success VALUES (?, ?)", job, at.isoformat())

    def pauses(self, now: datetime) -> dict[str, datetime | None]:
        """The paused jobs (ALL_JOBS for all) and until when; None means until resumed. Those that ran out are gone."""
        for job in [job for job, until in self._pauses.items() if until is not None and until <= now]:
            self._end(job)
        return dict(self._pauses)

    def pause(self, job: str, until: datetime | None) -> None:
        self._pauses[job] = until
        self._write(
            "INSERT OR REPLACE INTO pause VALUES (?, ?)", job, until.astimezone(UTC).isoformat() if until else None
        )

    def resume(self, job: str) -> bool:
        """Whether the job had been paused; ALL_JOBS ends every pause."""
        if job == ALL_JOBS:
            found, self._pauses = bool(self._pauses), {}
            self._write("DELETE FROM pause")
            return found
        found = job in self._pauses
        self._end(job)
        return found

    def _end(self, job: str) -> None:
        self._pauses.pop(job, None)
        self._write("DELETE FROM pause WHERE job = ?", job)
