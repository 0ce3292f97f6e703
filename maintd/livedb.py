"""Databases of services, through apsw, in a child of maintd and nowhere else: copied, examined, asked.

apsw brings a SQLite of its own, newer than the WAL-reset bug (3.7.0-3.51.2). The process that loads it must have no
other, and must open no database's file besides: to close that would drop its locks (https://sqlite.org/howtocorrupt.html).
A database is opened by the descriptor of its directory, so that no link on the way is followed.
"""

import contextlib
import hashlib
import os
import stat as st
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import apsw

from maintd import durable, queries
from maintd.errors import Damaged, MaintdError, NotYet, Refused, TimedOut
from maintd.names import printable
from maintd.units import format_duration
from maintd.values import dataclass

Progress = Callable[[int], None]
BUSY_MS = 5000
_STEP = 4 << 20  # bytes that are copied between two looks at the clock
_MAPPED = 1 << 40  # as much of it as SQLite maps; the transaction keeps it as long as it is
_TELLING = 1.0  # seconds
_OPS = 20_000
_VFS = "maintd"


class _ByDescriptor(apsw.VFS):
    """The Unix file system, with names taken as they are: the way through /proc/self/fd is not to be resolved."""

    def __init__(self) -> None:
        super().__init__(_VFS, base="unix")

    def xFullPathname(self, name: str) -> str:  # noqa: N802 - apsw's name
        return name


_vfs = _ByDescriptor()


@dataclass(frozen=True)
class Where:
    """A database by its directory and name; `inode` is the planned (device, inode), None for one of our own.

    A copy is `called` what it was made of, for whoever reads of it. What SQLite cannot keep in its cache, such as rows
    that it sorts, goes into files in the directory for `temporaries`, which has to be maintd's own; in memory without.
    """

    directory: str
    name: str
    inode: Sequence[int] | None = None
    called: str = ""
    temporaries: str = ""

    @property
    def label(self) -> str:
        return printable(self.called or self.name)


@contextlib.contextmanager
def opened(where: Where, *, immutable: bool = False, create: bool = False) -> Iterator[apsw.Connection]:
    """A connection, for one database. Refused if it is not the planned file, NotYet if it stays locked.

    An `immutable` one takes no locks and makes no files beside it: for copies that nobody else has.
    """
    with durable.directory(where.directory) as dir_fd:
        keep_wal = _check(where, dir_fd, create=create)
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW | apsw.SQLITE_OPEN_URI
        if immutable:
            flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_NOFOLLOW | apsw.SQLITE_OPEN_URI
        uri = f"file:/proc/self/fd/{dir_fd}/{_quoted(where.name)}{'?immutable=1' if immutable else ''}"
        with _told(where):
            connection = apsw.Connection(uri, flags=flags | (apsw.SQLITE_OPEN_CREATE if create else 0), vfs=_VFS)
            try:
                connection.set_busy_timeout(BUSY_MS)
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(keep_wal))
                connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
                connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
                with _spilling(connection, where.temporaries):
                    yield connection
            finally:
                connection.close()


@contextlib.contextmanager
def _spilling(database: apsw.Connection, directory: str) -> Iterator[None]:
    """Says where temporary files go: /var/tmp, where they go by themselves, is closed to a process that is confined.

    SQLite gives them no name, or removes it as soon as one is made.
    """
    if not directory:
        database.execute("PRAGMA temp_store = MEMORY").fetchall()
        yield
        return
    with durable.directory(directory) as dir_fd:
        database.execute(f"PRAGMA temp_store_directory = '/proc/self/fd/{dir_fd}'").fetchall()
        yield


def _check(where: Where, dir_fd: int, *, create: bool) -> bool:
    """Whether a write-ahead log with something in it lies there, which is then left as it is at the end."""
    if create:
        return False
    info = os.lstat(where.name, dir_fd=dir_fd)
    if not st.S_ISREG(info.st_mode) or where.inode not in (None, [info.st_dev, info.st_ino]):
        raise Refused(f"{printable(where.name)} is another file than was planned by now, and was left alone")
    with contextlib.suppress(FileNotFoundError):
        return os.lstat(where.name + "-wal", dir_fd=dir_fd).st_size > 0
    return False


def _quoted(name: str) -> str:
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02x}" for byte in os.fsencode(name))


@contextlib.contextmanager
def _told(where: Where) -> Iterator[None]:
    """SQLite's errors in maintd's words."""
    try:
        yield
    except (apsw.BusyError, apsw.LockedError) as error:
        raise NotYet(f"{where.label} stayed locked for {BUSY_MS / 1000:.0f} s: {error}") from error
    except apsw.NotADBError as error:
        raise Refused(
            f"{where.label} is no SQLite database, or an encrypted one", hint="exclude it from the patterns"
        ) from error
    except apsw.CorruptError as error:
        raise Damaged(
            f"{where.label} is damaged: {error}", hint="restore it: maintd backups, maintd restore"
        ) from error
    except apsw.FullError as error:
        raise MaintdError(
            f"the disk is full: {error}", hint="free some space; this is tried again by itself"
        ) from error
    except apsw.Error as error:
        raise MaintdError(f"SQLite says of {where.label}: {error}") from error


def copy(progress: Progress, *, source: Mapping[str, Any], target: Mapping[str, Any], pause: float | None) -> int:
    """Copies a live database page by page out of one transaction, so that no writer makes it begin again.

    `pause` is for how many seconds writers may be held up, None where they are not (WAL): TimedOut after that. Returns
    the bytes of the copy. Nothing is synced.
    """
    planned = Where(**source)
    made = Where(**{**target, "called": planned.name})
    with opened(planned) as live, opened(made, create=True) as new:
        new.execute("PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE").fetchall()
        new.execute("PRAGMA journal_mode = OFF").fetchall()
        live.execute(f"PRAGMA mmap_size = {_MAPPED}").fetchall()
        live.execute("BEGIN").fetchall()
        live.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        page = number(live, "PRAGMA page_size")
        begun = time.monotonic()
        backup = new.backup("main", live, "main")
        try:
            while not backup.done:
                _require_within(pause, time.monotonic() - begun)
                backup.step(max(1, _STEP // page))
                progress((backup.page_count - backup.remaining) * page)
            pages = backup.page_count
        finally:
            with contextlib.suppress(apsw.Error, SystemError):  # it tells again what step has told
                backup.close(True)  # noqa: FBT003 - force
        live.execute("ROLLBACK").fetchall()
    return pages * page


def _require_within(pause: float | None, spent: float) -> None:
    if pause is not None and spent > pause:
        raise TimedOut(
            f"copying it held up its writers for {format_duration(timedelta(seconds=pause))}, which is max_pause, "
            "and was broken off",
            hint="raise max_pause, give the job a window, or use PRAGMA journal_mode = WAL in the service",
        )


def examine(
    progress: Progress, *, where: Mapping[str, Any], invariants: Sequence[str], seconds: float
) -> dict[str, Any]:
    """Checks a copy that nobody else has, and says what is in it.

    Damaged if integrity_check finds something, MaintdError if one of the user's `invariants` returns a row. A query
    that takes longer than `seconds` is broken off: TimedOut.
    """
    with _at_rest(where, progress) as database:
        problems = [str(row[0]) for row in database.execute("PRAGMA integrity_check(5)").fetchall()]
        if problems != ["ok"]:
            raise Damaged(
                f"integrity_check: {'; '.join(problems)[:300]}", hint="restore it: maintd backups, maintd restore"
            )
        orphans = sum(1 for _ in database.execute("PRAGMA foreign_key_check"))
        _hold(database, invariants, seconds)
        return facts(database) | {"foreign_key_violations": orphans}


@contextlib.contextmanager
def _at_rest(where: Mapping[str, Any], progress: Progress) -> Iterator[apsw.Connection]:
    """A copy, to be read; as long as SQLite is at work on it, that is told: who says nothing for long is ended."""
    told = time.monotonic()

    def tell() -> bool:
        nonlocal told
        if time.monotonic() > told + _TELLING:
            told = time.monotonic()
            progress(0)
        return False

    with opened(Where(**where), immutable=True) as database:
        database.set_progress_handler(tell, _OPS, id="progress")  # beside that of a query with a time limit
        database.execute("PRAGMA query_only = 1").fetchall()
        yield database


def _hold(database: apsw.Connection, invariants: Sequence[str], seconds: float) -> None:
    for query in invariants:
        with queries.limited(database, query, seconds):
            broken = database.execute(query).fetchone()
        if broken is not None:
            raise MaintdError(f"an invariant does not hold: {query}: it returned {broken!r:.200}")


def hold(progress: Progress, *, where: Mapping[str, Any], invariants: Sequence[str], seconds: float) -> None:
    """Asks a restored database the user's `invariants`, as `examine` does.

    One that does not hold says nothing of the database: it may be about the time, or about what lies elsewhere.
    """
    with _at_rest(where, progress) as database:
        _hold(database, invariants, seconds)


def facts(database: apsw.Connection) -> dict[str, Any]:
    """The row counts, the hash of the schema, and what the header holds: what a restored copy must have as well."""
    schema = database.execute(
        "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name"
    ).fetchall()
    plain = [
        str(name)
        for _, name, kind, *_ in database.execute("PRAGMA main.table_list").fetchall()
        if kind in ("table", "shadow") and name != "sqlite_schema"
    ]
    names = ("user_version", "application_id", "page_size", "encoding", "auto_vacuum")
    values = {name: database.execute(f"PRAGMA {name}").fetchall()[0][0] for name in names}
    return values | {
        "rows": {name: _count(database, name) for name in sorted(plain)},
        "schema_sha256": hashlib.sha256("\n".join("|".join(map(str, row)) for row in schema).encode()).hexdigest(),
        "sqlite_version": apsw.sqlite_lib_version(),
    }


def _count(database: apsw.Connection, table: str) -> int:
    return number(database, f"SELECT count(*) FROM {identifier(table)}")  # noqa: S608 - quoted


def number(database: apsw.Connection, query: str) -> int:
    """The one number that a query gives."""
    value = database.execute(query).fetchall()[0][0]
    assert isinstance(value, int)
    return value


def identifier(name: str) -> str:
    """A name as SQL has it (https://sqlite.org/lang_keywords.html)."""
    return '"' + name.replace('"', '""') + '"'


def prove(progress: Progress, *, where: Mapping[str, Any], promised: Mapping[str, Any]) -> None:
    """Checks a restored database, and compares it with what its manifest says: Damaged if it is not that."""
    try:
        found = examine(progress, where=where, invariants=(), seconds=0)
    except MaintdError as error:
        if isinstance(error.__cause__, apsw.CorruptError | apsw.NotADBError):
            raise Damaged(str(error), hint=error.hint) from error
        raise
    differing = [
        f"{key} is {found.get(key)!r:.100}, the manifest says {value!r:.100}"
        for key, value in promised.items()
        if key != "sqlite_version" and found.get(key) != value
    ]
    if differing:
        raise Damaged(f"it differs from its manifest: {'; '.join(differing)}")
