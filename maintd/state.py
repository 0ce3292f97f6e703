"""state.sqlite: what is convenient to remember between runs: last successes and pauses. No data depends on it.

A database that is newer than this maintd, or damaged, is set aside, and a new one is begun.
"""

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from maintd.events import Event

VERSION = 1
_SCHEMA = """
CREATE TABLE success (job TEXT PRIMARY KEY, at TEXT NOT NULL) STRICT;
CREATE TABLE pause (job TEXT PRIMARY KEY, until TEXT) STRICT;
"""
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


class State:
    """One connection, used by the daemon's main thread alone. Times are aware, in UTC."""

    def __init__(self, directory: str) -> None:
        self.path = os.path.join(directory, "state.sqlite")
        self.reset: StateReset | None = None
        try:
            self._database = self._open()
        except (sqlite3.DatabaseError, ValueError) as error:
            self.reset = self._set_aside(str(error))
            self._database = self._open()

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, isolation_level=None)
        try:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise ValueError(f"it was written by a newer maintd (version {version}, this one knows {VERSION})")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            if version == 0:
                database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
            if database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise ValueError("it is damaged")
        except BaseException:
            database.close()
            raise
        return database

    def _set_aside(self, reason: str) -> StateReset:
        place = f"{self.path}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}.bad"
        os.rename(self.path, place)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.path + suffix, place + suffix)
        return StateReset(target=self.path, set_aside_as=place, reason=reason)

    def close(self) -> None:
        self._database.close()

    def last_success(self, job: str) -> datetime | None:
        row = self._database.execute("SELECT at FROM success WHERE job = ?", (job,)).fetchone()
        return datetime.fromisoformat(row[0]) if row else None

    def record_success(self, job: str, at: datetime) -> None:
        self._database.execute("INSERT OR REPLACE INTO success VALUES (?, ?)", (job, at.isoformat()))

    def pauses(self, now: datetime) -> dict[str, datetime | None]:
        """The paused jobs (ALL_JOBS for all) and until when; None means until resumed. Those that ran out are gone."""
        self._database.execute("DELETE FROM pause WHERE until <= ?", (now.isoformat(),))
        rows = self._database.execute("SELECT job, until FROM pause ORDER BY job").fetchall()
        return {job: datetime.fromisoformat(until) if until else None for job, until in rows}

    def pause(self, job: str, until: datetime | None) -> None:
        text = until.astimezone(UTC).isoformat() if until else None
        self._database.execute("INSERT OR REPLACE INTO pause VALUES (?, ?)", (job, text))

    def resume(self, job: str) -> bool:
        """Whether the job had been paused; ALL_JOBS ends every pause."""
        if job == ALL_JOBS:
            return self._database.execute("DELETE FROM pause").rowcount > 0
        return self._database.execute("DELETE FROM pause WHERE job = ?", (job,)).rowcount > 0
