"""What is done to live databases, in a child: declared indexes, statistics, checks, checkpoints, VACUUM, probes.

Whatever locks out writers is estimated first, and broken off by SQLite itself when `pause` is over: it is then as if
it had never begun.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import apsw

from maintd import livedb
from maintd.errors import MaintdError, Refused, TimedOut
from maintd.livedb import Where

Progress = Callable[[int], None]
INDEX_SPEED = 140 << 20
"""Bytes of a database that an index is made over in a second: 2.9 s for 400 MB."""
VACUUM_SPEED = 60 << 20
_RUNS = 3
_OPS = 1000
_DECLARED = re.compile(r"(?is)\s*(?P<unique>unique\s+)?(?P<table>\"[^\"]+\"|\w+)\s*(?P<rest>\(.*)")


@dataclass(frozen=True, slots=True)
class Declared:
    """An index as a config has it: `trades(user_id, symbol)`, `unique t(a)`, `t(lower(x)) WHERE y = 1`."""

    text: str
    unique: bool
    table: str
    rest: str

    @classmethod
    def parse(cls, text: str) -> "Declared":
        match = _DECLARED.fullmatch(text)
        if match is None:
            raise MaintdError(f"{text!r} declares no index", hint='write "table(column, column DESC)"')
        return cls(text, bool(match["unique"]), match["table"].strip('"'), match["rest"].strip())

    @property
    def name(self) -> str:
        """What maintd calls it."""
        words = re.sub(r"\W+", "_", f"{self.table}_{self.rest}").strip("_").lower()
        return f"maintd_{words}"[:60]

    def sql(self) -> str:
        unique = "UNIQUE " if self.unique else ""
        return f"CREATE {unique}INDEX {livedb.identifier(self.name)} ON {livedb.identifier(self.table)} {self.rest}"


@dataclass(frozen=True, slots=True)
class _Shape:
    """What makes two indexes the same: columns with order and collation, uniqueness, expressions and condition."""

    unique: bool
    keys: tuple[tuple[Any, ...], ...]
    tail: str

    @property
    def is_plain(self) -> bool:
        return not self.tail

    def begins(self, other: "_Shape") -> bool:
        """Whether whoever has the other index does not need this one."""
        return self.is_plain and other.is_plain and not self.unique and other.keys[: len(self.keys)] == self.keys


def index(
    progress: Progress, *, where: Mapping[str, Any], indexes: Sequence[str], pause: float, size: int
) -> list[dict[str, Any]]:
    """Sees to it that the declared indexes are there; says of each its `state`: created, present or covered.

    Refused, before anything is made, for a table or column that is not there; and if making one is estimated to hold
    up writers for longer than `pause` seconds. TimedOut if it does so in spite of the estimate.
    """
    with livedb.opened(Where(**where)) as database:
        wanted = [Declared.parse(text) for text in indexes]
        shapes = [_shape_of(database, one) for one in wanted]
        out: list[dict[str, Any]] = []
        for one, shape in zip(wanted, shapes, strict=True):
            there = dict(_existing(database, one.table))
            same = next((name for name, other in there.items() if other == shape), None)
            wider = next((name for name, other in there.items() if shape.begins(other)), None)
            if same or wider:
                out.append({"declared": one.text, "state": "present" if same else "covered", "name": same or wider})
                continue
            begun = time.monotonic()
            _require_short(size / INDEX_SPEED, pause, f"making the index {one.text}")
            with broken_off(database, pause, f"making the index {one.text}"):
                database.execute(one.sql()).fetchall()
            took = round((time.monotonic() - begun) * 1000, 1)
            out.append({"declared": one.text, "state": "created", "name": one.name, "ms": took})
            progress(len(out))
    return out


def _shape_of(database: apsw.Connection, one: Declared) -> _Shape:
    """Of a declared index, as SQLite understands it over an empty table of the same schema."""
    found = database.execute("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", (one.table,)).fetchone()
    if found is None:
        raise Refused(f"the index {one.text} is declared, and there is no table {one.table}")
    scratch = apsw.Connection(":memory:")
    try:
        scratch.execute(str(found[0])).fetchall()
        scratch.execute(one.sql()).fetchall()
        return dict(_existing(scratch, one.table))[one.name]
    except apsw.SQLError as error:
        raise Refused(f"the index {one.text} cannot be made on table {one.table}: {error}") from error
    finally:
        scratch.close()


def _existing(database: apsw.Connection, table: str) -> Iterator[tuple[str, _Shape]]:
    quoted = livedb.identifier(table)
    for _, name, unique, _, partial in database.execute(f"PRAGMA index_list({quoted})").fetchall():
        rows = database.execute(f"PRAGMA index_xinfo({livedb.identifier(str(name))})").fetchall()
        keys = tuple((column, desc, collation) for _, cid, column, desc, collation, key in rows if key)
        has_expression = any(cid == -2 for _, cid, _, _, _, key in rows if key)
        sql = database.execute("SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?", (name,)).fetchone()
        text = str(sql[0]) if sql and sql[0] else ""
        tail = re.sub(r"\s+", "", text.partition("(")[2]).lower() if partial or has_expression else ""
        yield str(name), _Shape(bool(unique), keys, tail)


def optimize(_progress: Progress, *, where: Mapping[str, Any], pause: float) -> None:
    """Brings the statistics up to date where SQLite thinks that it pays, from a sample of the rows."""
    with livedb.opened(Where(**where)) as database, broken_off(database, pause, "PRAGMA optimize"):
        database.execute("PRAGMA analysis_limit = 1000").fetchall()
        database.execute("PRAGMA optimize(0x10002)").fetchall()


def quick_check(_progress: Progress, *, where: Mapping[str, Any], seconds: float) -> None:
    """Raises MaintdError for what is damaged; broken off after so many seconds, since a reader pins the WAL."""
    with livedb.opened(Where(**where)) as database, broken_off(database, seconds, "PRAGMA quick_check"):
        found = [str(row[0]) for row in database.execute("PRAGMA quick_check(5)").fetchall()]
    if found != ["ok"]:
        raise MaintdError(f"quick_check: {'; '.join(found)[:300]}", hint="restore it: maintd backups, maintd restore")


def checkpoint(_progress: Progress, *, where: Mapping[str, Any]) -> list[int]:
    """Moves the write-ahead log into the database without anybody waiting: [pages in the log, pages moved].

    The log is cut only if nobody reads or writes at this moment.
    """
    with livedb.opened(Where(**where)) as database:
        row = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()[0]
        database.set_busy_timeout(0)
        with contextlib.suppress(apsw.BusyError):
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return [int(str(row[1])), int(str(row[2]))]


def vacuum(_progress: Progress, *, where: Mapping[str, Any], pause: float, size: int) -> int:
    """Gives free pages back to the file system; returns the new size in bytes. Refused, TimedOut as for an index."""
    _require_short(size / VACUUM_SPEED, pause, "VACUUM")
    with livedb.opened(Where(**where)) as database:
        with broken_off(database, pause, "VACUUM"):
            database.execute("VACUUM").fetchall()
        return livedb.number(database, "PRAGMA page_count") * livedb.number(database, "PRAGMA page_size")


def probe(
    _progress: Progress, *, where: Mapping[str, Any], queries: Sequence[str], seconds: float
) -> list[dict[str, Any]]:
    """How long each query takes (the median of three, in ms), and how SQLite goes about it. It may only read."""
    with livedb.opened(Where(**where)) as database:
        database.execute("PRAGMA query_only = 1").fetchall()
        return [_measured(database, query, seconds) for query in queries]


def _measured(database: apsw.Connection, query: str, seconds: float) -> dict[str, Any]:
    took = []
    with livedb.limited(database, query, seconds):
        plan = [str(row[3]) for row in database.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()]
        for _ in range(_RUNS):
            begun = time.monotonic()
            database.execute(query).fetchall()
            took.append((time.monotonic() - begun) * 1000)
    return {"ms": round(median(took), 2), "plan": "; ".join(plan)}


def _require_short(estimate: float, pause: float, what: str) -> None:
    if estimate > pause:
        raise Refused(
            f"{what} would hold up its writers for about {estimate:.1f} s, max_pause is {pause:.1f} s",
            hint="give the job a window at night and a larger max_pause",
        )


@contextlib.contextmanager
def broken_off(database: apsw.Connection, pause: float, what: str) -> Iterator[None]:
    """After so many seconds SQLite takes back what it is at, and TimedOut is raised."""
    end = time.monotonic() + pause
    database.set_progress_handler(lambda: time.monotonic() > end, _OPS)
    try:
        yield
    except apsw.InterruptError as error:
        raise TimedOut(
            f"{what} took longer than {pause:.1f} s, was broken off, and changed nothing",
            hint="give the job a window at night and a larger limit",
        ) from error
    finally:
        database.set_progress_handler(None)
