"""What is asked of a live SQLite database, in a child process with a SQLite of its own; nothing is ever written."""

import os
import stat
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import apsw

from maintd.errors import MaintdError, TimedOut

LATE = "late"
"""What is said of a quick_check that was given up when its time had gone."""
_OPS = 10_000


def look(
    _progress: Callable[[int], None],
    *,
    path: str,
    query: str | None,
    limit: float,
    quick_check: bool,
    checked: list[int] | None,
) -> dict[str, Any]:
    """Opens the database read-only and asks; ends after `limit` seconds.

    With `quick_check`, or if another file than `checked` (a device and an inode) has the path now, its structure is
    read through. Returns `first` (the first value of the query), `query_s`, `pages`, `free_pages`, `wal_bytes`,
    `changed` (when it was last written, seconds of the epoch), `file` (its device and inode), and what that
    quick_check said (`ok`, or what is wrong; LATE if there was no time for it, None without one).
    """
    end = time.monotonic() + limit
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        raise MaintdError(f"{path} is not a regular file")
    if info.st_size == 0:
        raise MaintdError(f"{path} is empty: there is no database in it")
    try:
        connection = apsw.Connection(
            f"file:{quote(path)}?mode=ro", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        connection.setbusytimeout(max(int(1000 * limit) - 200, 0))
        connection.setprogresshandler(lambda: time.monotonic() > end, _OPS)
        found = _found(connection, query) | {"file": [info.st_dev, info.st_ino]}
        is_wanted = quick_check or (checked is not None and checked != found["file"])
        found["quick_check"] = _quick_check(connection) if is_wanted else None
        connection.close()
    except apsw.InterruptError as error:
        raise TimedOut("the query took too long") from error
    except apsw.BusyError as error:
        raise TimedOut("the database is locked") from error
    except apsw.Error as error:
        raise MaintdError(f"SQLite says: {error}") from error
    return found | _files(path, info)


def _found(connection: apsw.Connection, query: str | None) -> dict[str, Any]:
    begun = time.monotonic()
    first = _one(connection, query or "SELECT count(*) FROM sqlite_schema")
    return {
        "first": first if isinstance(first, (int, float, str, type(None))) else repr(first),
        "query_s": time.monotonic() - begun,
        "pages": _one(connection, "PRAGMA page_count"),
        "free_pages": _one(connection, "PRAGMA freelist_count"),
    }


def _quick_check(connection: apsw.Connection) -> str:
    try:
        return str(_one(connection, "PRAGMA quick_check(1)"))
    except apsw.InterruptError:
        return LATE


def _one(connection: apsw.Connection, statement: str) -> Any:
    row = next(iter(connection.execute(statement)), None)
    return None if row is None else row[0]


def _files(path: str, info: os.stat_result) -> dict[str, Any]:
    try:
        wal = os.stat(path + "-wal")
    except FileNotFoundError:
        return {"wal_bytes": 0, "changed": info.st_mtime}
    return {"wal_bytes": wal.st_size, "changed": max(info.st_mtime, wal.st_mtime) if wal.st_size else info.st_mtime}
