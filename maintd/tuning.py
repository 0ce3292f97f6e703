"""What is done to live databases, in a child: statistics, checks, checkpoints, VACUUM, probes.

Whatever locks out writers is estimated first, and broken off by SQLite itself when `pause` is over: it is then as if
it had never begun.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from statistics import median
from typing import Any

import apsw

from maintd import livedb, replies
from maintd.errors import Damaged, MaintdError, NotYet, Refused, TimedOut
from maintd.livedb import Where
from maintd.queries import alone, limited
from maintd.units import format_duration

Progress = Callable[[int], None]
VACUUM_SPEED = 60 << 20
_SLICE = 1 << 20
"""Bytes of free pages that are given back at a time."""
_PATIENCE = 1.0
"""Seconds; the writer's own checkpoints take a few thousandths of one."""
_RUNS = 3
_LONGER = "give the job a window at night and a larger max_pause"
_ONLY_TOLD, _STALE = 1, 0x10002
"""What PRAGMA optimize is to do: say what it would do; ANALYZE of all tables whose statistics are missing or old."""
_OPS = 1000


def optimize(_progress: Progress, *, where: Mapping[str, Any], pause: float) -> None:
    """Brings the statistics up to date where SQLite thinks that it pays, from a sample of the rows.

    By itself it would read first, and fail at once if somebody else has written before it wants to
    (SQLITE_BUSY_SNAPSHOT). `pause` counts from when it has the lock: until then nobody waits for it.
    """
    with livedb.opened(Where(**where)) as database:
        database.execute("PRAGMA analysis_limit = 1000").fetchall()
        if not database.execute(f"PRAGMA optimize({_STALE | _ONLY_TOLD})").fetchall():
            return
        database.execute("BEGIN IMMEDIATE").fetchall()
        with broken_off(database, pause, "PRAGMA optimize"):
            database.execute(f"PRAGMA optimize({_STALE})").fetchall()
        database.execute("COMMIT").fetchall()


def quick_check(_progress: Progress, *, where: Mapping[str, Any], seconds: float) -> None:
    """Raises Damaged for what is; broken off after so many seconds, since a reader pins the WAL."""
    hint = "look for damage in a copy instead: integrity_check = true, quick_check = false; or, not in WAL mode, give "
    hint += "the job a window at night and a larger max_pause"
    with livedb.opened(Where(**where)) as database, broken_off(database, seconds, "PRAGMA quick_check", hint):
        found = [str(row[0]) for row in database.execute("PRAGMA quick_check(5)").fetchall()]
    if found != ["ok"]:
        raise Damaged(f"quick_check: {'; '.join(found)[:300]}", hint="restore it: maintd backups, maintd restore")


def checkpoint(_progress: Progress, *, where: Mapping[str, Any]) -> list[int]:
    """Moves the write-ahead log into the database without anybody waiting: [pages in the log, pages moved].

    Both are -1 if another connection does just that for longer than a second. The log is cut only if nobody reads or
    writes at this moment.
    """
    end = time.monotonic() + _PATIENCE
    with livedb.opened(Where(**where)) as database:
        while True:
            row = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()[0]
            if row[1] != -1 or time.monotonic() > end:
                break
            time.sleep(0.02)
        database.set_busy_timeout(0)
        with contextlib.suppress(apsw.BusyError):
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return [int(str(row[1])), int(str(row[2]))]


def vacuum(_progress: Progress, *, where: Mapping[str, Any], pause: float, size: int) -> int:
    """Gives free pages back to the file system; returns the new size in bytes. Refused, TimedOut as for an index."""
    require_short(size / VACUUM_SPEED, pause, "VACUUM")
    with livedb.opened(Where(**where)) as database:
        with broken_off(database, pause, "VACUUM"):
            database.execute("VACUUM").fetchall()
        return livedb.number(database, "PRAGMA page_count") * livedb.number(database, "PRAGMA page_size")


def vacuum_some(progress: Progress, *, where: Mapping[str, Any], pause: float) -> int:
    """Gives free pages back a few at a time, as auto_vacuum = incremental allows; returns the new size in bytes.

    Each time is far below `pause` seconds, and writers come in between.
    """
    with livedb.opened(Where(**where)) as database:
        page = livedb.number(database, "PRAGMA page_size")
        while livedb.number(database, "PRAGMA freelist_count"):
            begun = time.monotonic()
            with broken_off(database, pause, "PRAGMA incremental_vacuum"):
                database.execute(f"PRAGMA incremental_vacuum({max(1, _SLICE // page)})").fetchall()
            progress(0)
            time.sleep(time.monotonic() - begun)  # half of the time is the writers'
        return livedb.number(database, "PRAGMA page_count") * page


def settle(
    _progress: Progress, *, where: Mapping[str, Any], wanted: Mapping[str, Any], pause: float, size: int
) -> None:
    """Gives a database another journal mode, page size or auto_vacuum, the latter two by VACUUM. As that it raises.

    NotYet if somebody has it open and the journal mode must change for it.
    """
    pages = {name: wanted[name] for name in ("page_size", "auto_vacuum") if name in wanted}
    if pages:
        require_short(size / VACUUM_SPEED, pause, "VACUUM")
    with livedb.opened(Where(**where)) as database:
        before = str(database.execute("PRAGMA journal_mode").fetchall()[0][0])
        after = wanted.get("journal_mode", before)
        if pages:
            if (
                "page_size" in pages
            ):  # it cannot be changed in WAL mode (https://sqlite.org/pragma.html#pragma_page_size)
                _set_mode(database, "delete")
            for name, value in pages.items():
                database.execute(f"PRAGMA {name} = {value}").fetchall()
            with broken_off(database, pause, "VACUUM"):
                database.execute("VACUUM").fetchall()
        _set_mode(database, after)


def _set_mode(database: apsw.Connection, mode: str) -> None:
    try:
        now = str(database.execute(f"PRAGMA journal_mode = {mode}").fetchall()[0][0])
    except (apsw.BusyError, apsw.LockedError):
        now = ""
    if now != mode:
        raise NotYet(f"its journal mode can be changed to {mode} only while nobody has it open")


def examine_copy(
    progress: Progress, *, source: Mapping[str, Any], target: Mapping[str, Any], pause: float | None
) -> int:
    """Copies a database, and runs integrity_check and foreign_key_check there; returns how many keys lack their row."""
    livedb.copy(progress, source=source, target=target, pause=pause)
    where = {**target, "called": source["name"]}
    found = livedb.examine(progress, where=where, invariants=(), seconds=0)
    return int(found["foreign_key_violations"])


def probe(
    _progress: Progress, *, where: Mapping[str, Any], queries: Sequence[str], seconds: float
) -> list[dict[str, Any]]:
    """What each query takes, and how SQLite goes about it; it may only read. One that cannot be asked is `failed`."""
    with livedb.opened(Where(**where)) as database:
        told = list[dict[str, Any]]()
        for query in queries:
            database.execute("PRAGMA query_only = 1").fetchall()
            try:
                told.append(measured(database, query, seconds))
            except MaintdError as error:
                told.append({"failed": replies.described(error)})
        return told


def measured(database: apsw.Connection, query: str, seconds: float) -> dict[str, Any]:
    """The `ms` of one query, the median of three runs or of those there was time for; None if it was broken off.

    And its `plan`. Rows are not kept: there may be more of them than there is memory.
    """
    with limited(database, query, seconds), alone(database, query):
        plan = [str(row[3]) for row in database.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()]
    took = list[float]()
    with contextlib.suppress(TimedOut), limited(database, query, seconds):
        for _ in range(_RUNS):
            begun = time.monotonic()
            for _row in database.execute(query):
                pass
            took.append((time.monotonic() - begun) * 1000)
            if sum(took) > seconds * 1000:
                break
    took = [each for each in took if each <= seconds * 1000]
    return {"ms": round(median(took), 2) if took else None, "plan": "; ".join(plan)}


def require_short(estimate: float, pause: float, what: str) -> None:
    """Refused, with the estimate in seconds and what would allow it, if that is more than `pause`."""
    if estimate > pause:
        raise Refused(
            f"{what} would hold up its writers for about {format_duration(timedelta(seconds=estimate))}, "
            f"max_pause is {format_duration(timedelta(seconds=pause))}",
            hint=f'allow it at night: window = "03:00-05:00" and max_pause = "{math.ceil(1.5 * estimate)}s"',
        )


@contextlib.contextmanager
def broken_off(database: apsw.Connection, pause: float, what: str, hint: str = _LONGER) -> Iterator[None]:
    """After so many seconds SQLite takes back what it is at, and TimedOut is raised."""
    end = time.monotonic() + pause
    database.set_progress_handler(lambda: time.monotonic() > end, _OPS)
    try:
        yield
    except apsw.InterruptError as error:
        raise TimedOut(
            f"{what} took longer than {format_duration(timedelta(seconds=pause))}, was broken off, and changed nothing",
            hint=hint,
        ) from error
    finally:
        database.set_progress_handler(None)
