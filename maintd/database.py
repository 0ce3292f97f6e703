"""A small SQLite database that is convenient, not needed: brought up to date or set aside, and its failures only told.

One that is newer than this maintd, damaged, or without what its version has is set aside, and a new one is begun. One
that cannot be read or written now (a full disk, a lock) is left alone; on a full disk it is known all the same.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote

from maintd.events import Event, Failure
from maintd.values import dataclass

_UNUSABLE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)
_UNWRITABLE = (sqlite3.Error, ValueError)
"""What a write may raise: ValueError is of text that is no UTF-8."""
_PRIMARY = 0xFF
"""The bits of a result code that say what kind it is (https://sqlite.org/rescode.html)."""
_PATIENCE = 0.5
_FOR_NOW = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
"""What may pass; the change is made then."""
_ROOMLESS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
"""What an open comes to without room for the index of the write-ahead log (-shm), or for a step to another version."""
_MOST_OWED = 1000
_REST = 20
"""So many times as long as a try to open took it is not tried again."""
_Change = tuple[str, Sequence[str | bytes | float | None]]
_Load = Callable[[sqlite3.Connection], None]


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
    """The database is damaged, of a newer maintd, or none of ours."""


class Database:
    """One connection, for one thread. `steps` make each version (user_version) of the one before, from nothing on.

    `load` reads all that is in it; a ValueError of it says that this cannot be. `report` gets what goes wrong.
    """

    def __init__(
        self,
        path: str,
        steps: Sequence[str],
        load: _Load,
        report: Callable[[Event], None],
    ) -> None:
        self._path = path
        self._steps = steps
        self._load = load
        self._report = report
        self._has_failed = False
        self._owed: list[_Change] = []
        self._connection: sqlite3.Connection | None = None
        self._is_to_be_opened = False
        self._not_before = 0.0
        try:
            self._connection = self._open(load)
        except sqlite3.Error as error:
            self._is_to_be_opened = _code(error) in _ROOMLESS and self._read_without_room()
            self._fail("write" if self._is_to_be_opened else "read", error)

    def write(self, statement: str, *values: str | bytes | None) -> None:
        """Changes something, or tells that it could not be. Nothing if the database could not be read."""
        self._change([(statement, values)])

    def write_together(self, changes: Sequence[tuple[str, Sequence[str | bytes | float | None]]]) -> None:
        """Makes several changes at once, or none, as `write`."""
        self._change(changes)

    def again(self) -> None:
        """Makes the changes that could not be made before, if there are any, also of a database without room so far."""
        if self._is_to_be_opened and time.monotonic() >= self._not_before:
            self._open_at_last()
        if self._owed:
            self._change([])

    def _open_at_last(self) -> None:
        begun = time.monotonic()
        try:
            self._connection = self._open(_nothing)  # what was read without room is newer by now
            self._is_to_be_opened, self._has_failed = False, False
        except sqlite3.Error:
            self._not_before = time.monotonic() + _REST * (time.monotonic() - begun)

    def _change(self, changes: Sequence[_Change]) -> None:
        """Makes changes together with those that are owed, which are older."""
        if self._connection is None:
            self._owed = [*self._owed, *changes][-_MOST_OWED:] if self._is_to_be_opened else []
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for statement, values in (*self._owed, *changes):
                self._connection.execute(statement, values)
            self._connection.execute("COMMIT")
        except _UNWRITABLE as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._owed = [*self._owed, *changes][-_MOST_OWED:] if _code(error) in _FOR_NOW else []
            self._fail("write", error)
            return
        self._owed = []
        if self._has_failed:
            self._has_failed = False
            self._wait(_PATIENCE)

    def _wait(self, seconds: float) -> None:
        """Waits so long for a lock from now on."""
        if self._connection is not None:
            self._connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    def close(self) -> None:
        self._not_before = 0.0
        self.again()
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()

    def _open(self, load: _Load) -> sqlite3.Connection:
        try:
            return self._opened(load)
        except _UnusableError as error:
            self._set_aside(str(error))
            return self._opened(load)

    def _opened(self, load: _Load) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=_PATIENCE)
        try:
            self._prepare(connection, load)
        except BaseException as error:
            connection.close()
            if isinstance(error, ValueError) or _code(error) in _UNUSABLE:
                raise _UnusableError(str(error)) from error
            raise
        return connection

    def _read_without_room(self) -> bool:
        """Whether what is in it could be loaded all the same, from a copy in memory."""
        try:
            with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
                with _without_room(self._path) as connection:
                    connection.backup(copy)
                self._prepare(copy, self._load)
        except (sqlite3.Error, _UnusableError, ValueError):
            return False
        return True

    def _prepare(self, connection: sqlite3.Connection, load: _Load) -> None:
        """Nothing is changed before it is clear that the database can be used."""
        version, newest = connection.execute("PRAGMA user_version").fetchone()[0], len(self._steps)
        if not 0 <= version <= newest:
            raise _UnusableError(f"it was written by a newer maintd (version {version}, this one knows {newest})")
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise _UnusableError("it is damaged")
        if version < newest:
            steps = "".join(self._steps[version:])
            connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {newest};")
        load(connection)
        if version < newest:
            connection.execute("COMMIT")
            with contextlib.suppress(sqlite3.Error):  # what a step has deleted would be looked through at each start
                connection.execute("VACUUM")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    def _set_aside(self, reason: str) -> None:
        place = f"{self._path}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}.bad"
        os.rename(self._path, place)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.rename(self._path + suffix, place + suffix)
        self._report(StateReset(target=self._path, set_aside_as=place, reason=reason))

    def _fail(self, tried: str, error: sqlite3.Error | ValueError) -> None:
        """Says so once, until a write succeeds again; until then none waits for a lock, or all would wait for each."""
        if self._has_failed:
            return
        self._has_failed = True
        self._wait(0)
        failure = StateFailed(
            target=self._path,
            tried=f"{tried} it",
            error=getattr(error, "sqlite_errorname", type(error).__name__),
            error_msg=str(error),
            advice="nothing is lost; what is remembered between starts (pauses, last runs) may be out of date",
        )
        self._report(failure)


def rows_of(path: str, statement: str, *values: str) -> list[tuple[Any, ...]]:
    """What a statement gives, read beside whoever writes the database; nothing if it is not there or cannot be read."""
    try:
        try:
            with _connected(path, "mode=ro") as connection:
                return connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            if _code(error) not in _ROOMLESS:
                raise
            with _without_room(path) as connection:
                return connection.execute(statement, values).fetchall()
    except sqlite3.Error:
        return []


@contextlib.contextmanager
def _without_room(path: str) -> Iterator[sqlite3.Connection]:
    """To read a database with where there is no room for the index of its write-ahead log, and nobody has it open.

    Without a log it needs none; of a log that was left by a kill it is in the memory of the one who has the file for
    himself (https://sqlite.org/wal.html#use_of_wal_without_shared_memory).
    """
    if not any(os.path.exists(path + log) for log in ("-wal", "-journal")):
        with _connected(path, "mode=ro&immutable=1") as connection:
            yield connection
        return
    with _connected(path, "mode=rw") as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        yield connection


@contextlib.contextmanager
def _connected(path: str, how: str) -> Iterator[sqlite3.Connection]:
    place = quote(path, errors="surrogateescape")
    with contextlib.closing(sqlite3.connect(f"file:{place}?{how}", uri=True, timeout=_PATIENCE)) as connection:
        yield connection


def _code(error: BaseException) -> int:
    """What kind of an error it is, of those that SQLite has; SQLITE_OK of any other."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & _PRIMARY


def _nothing(_connection: sqlite3.Connection) -> None:
    pass
