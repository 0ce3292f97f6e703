"""Which indexes queries would gain by, in a child: proposed by what SQLite asks of a table, and measured on a copy.

A query is prepared over virtual tables of the same columns, to each of which SQLite says by which columns it would like
to find rows, and in which order (https://sqlite.org/vtab.html#the_xbestindex_method).
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, cast

import apsw

from maintd import livedb
from maintd.errors import MaintdError
from maintd.livedb import Where
from maintd.tuning import Progress, measured
from maintd.values import dataclass

_EQUAL = (apsw.SQLITE_INDEX_CONSTRAINT_EQ, apsw.SQLITE_INDEX_CONSTRAINT_IS)
_RANGE = (
    apsw.SQLITE_INDEX_CONSTRAINT_GT,
    apsw.SQLITE_INDEX_CONSTRAINT_GE,
    apsw.SQLITE_INDEX_CONSTRAINT_LT,
    apsw.SQLITE_INDEX_CONSTRAINT_LE,
)
_NAME = "maintd_advised"
_DESC = " \0"
"""Behind the name of a column: no name ends so."""
_LEAST = 0.8
"""What takes more than this share of the time with an index does not gain by it."""
_MOST = 3
"""Columns of a proposed index at most, besides those of the order."""


@dataclass
class _Asked:
    """What SQLite asked of one table, as (table, columns of equality, of a range, of the order with DESC)."""

    columns: dict[str, list[str]] = field(default_factory=dict)
    wishes: set[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = field(default_factory=set)


def advise(
    progress: Progress, *, where: Mapping[str, Any], queries: Sequence[str], seconds: float
) -> list[dict[str, Any]]:
    """What each query is worth, on a copy that nobody else has and that is changed for it.

    `query`, `before_ms`, `plan_before`, and with the index that it gains most by: `index` as a config declares it,
    `after_ms`, `plan_after`, `index_bytes`; or `trouble` for one that SQLite does not understand. `before_ms` is None
    if it takes longer than `seconds`.
    """
    with livedb.opened(Where(**where)) as database:
        database.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").fetchall()
        database.execute("ANALYZE").fetchall()
        out = []
        for query in queries:
            try:
                out.append(_advised(database, query, seconds))
            except MaintdError as error:
                out.append({"query": query, "trouble": f"{error} ({error.hint})" if error.hint else str(error)})
            except apsw.Error as error:
                out.append({"query": query, "trouble": str(error)})
            progress(len(out))
        return out


def _advised(database: apsw.Connection, query: str, seconds: float) -> dict[str, Any]:
    before = _asked(database, query, seconds)
    told = {"query": query, "before_ms": before["ms"], "plan_before": before["plan"]}
    best = (seconds * 1000 if before["ms"] is None else before["ms"]) * _LEAST
    for declared in _candidates(database, query):
        pages = livedb.number(database, "PRAGMA page_count") - livedb.number(database, "PRAGMA freelist_count")
        database.execute(f"CREATE INDEX {_NAME} ON {declared}").fetchall()
        try:
            used = livedb.number(database, "PRAGMA page_count") - livedb.number(database, "PRAGMA freelist_count")
            database.execute(f"ANALYZE {_NAME}").fetchall()
            after = _asked(database, query, seconds)
        finally:
            database.execute(f"DROP INDEX {_NAME}").fetchall()
        if _NAME in after["plan"] and after["ms"] is not None and after["ms"] <= best:
            best = after["ms"]
            size = (used - pages) * livedb.number(database, "PRAGMA page_size")
            told |= {"index": declared, "after_ms": best, "plan_after": after["plan"], "index_bytes": size}
    return told


def _asked(database: apsw.Connection, query: str, seconds: float) -> dict[str, Any]:
    """The time and the plan of a query, which may only read."""
    database.execute("PRAGMA query_only = 1").fetchall()
    try:
        return measured(database, query, seconds)
    finally:
        database.execute("PRAGMA query_only = 0").fetchall()


def _candidates(database: apsw.Connection, query: str) -> list[str]:
    """Indexes to try, as a config declares them, without those that are there."""
    asked, out = _wishes(database, query), dict[str, None]()
    for table, all_equal, ranges, order in sorted(asked.wishes):
        equal = all_equal[:_MOST]
        for keys in (
            *((*equal, each) for each in ranges),
            (*equal, *(each for each in order if each.partition(_DESC)[0] not in equal)),
            equal,
        ):
            if keys:
                quoted = ", ".join(_quoted(key) for key in keys)
                out[f"{_quoted(table)}({quoted})"] = None
    return list(out)


def _quoted(key: str) -> str:
    """A name, perhaps with DESC behind it, in quotes only if it needs them."""
    name, desc, _ = key.partition(_DESC)
    told = name if re.fullmatch(r"[A-Za-z_]\w*", name) else livedb.identifier(name)
    return f"{told} DESC" if desc else told


def _wishes(database: apsw.Connection, query: str) -> _Asked:
    """By which columns SQLite would like to find the rows of which table, for that query."""
    asked = _Asked()
    scratch = apsw.Connection(":memory:")
    try:
        scratch.create_module("asked", cast(Any, _Module(asked)), use_bestindex_object=True)
        for name, sql in _schema(database):
            with contextlib.suppress(apsw.Error):  # one of a module that is not here, which other queries do not need
                asked.columns[name] = _columns(database, name)
                scratch.execute(sql or f"CREATE VIRTUAL TABLE {livedb.identifier(name)} USING asked").fetchall()
        scratch.execute(f"EXPLAIN {query}").fetchall()
    except apsw.Error:  # it uses what virtual tables cannot do, such as rowid aliases: then nothing is proposed
        return asked
    finally:
        scratch.close()
    return asked


def _columns(database: apsw.Connection, table: str) -> list[str]:
    return [str(row[1]) for row in database.execute(f"PRAGMA table_info({livedb.identifier(table)})").fetchall()]


def _schema(database: apsw.Connection) -> Iterator[tuple[str, str | None]]:
    """The ordinary tables, then the views with what makes them."""
    rows = database.execute(
        "SELECT name, CASE type WHEN 'view' THEN sql END FROM sqlite_schema "
        "WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type"
    ).fetchall()
    yield from ((str(name), None if sql is None else str(sql)) for name, sql in rows)


class _Module:
    """Virtual tables that have the columns of real ones, and no rows."""

    def __init__(self, asked: _Asked) -> None:
        self._asked = asked

    def Create(self, _db: Any, _module: str, _of: str, table: str, *_: Any) -> tuple[str, Any]:  # noqa: N802 - apsw's
        columns = self._asked.columns[table]
        return f"CREATE TABLE x({', '.join(map(livedb.identifier, columns))})", _Table(self._asked, table, columns)

    Connect = Create


class _Table:
    def __init__(self, asked: _Asked, table: str, columns: list[str]) -> None:
        self._asked, self._table, self._columns = asked, table, columns

    def BestIndexObject(self, info: apsw.IndexInfo) -> bool:  # noqa: N802 - apsw's name
        """Notes what is asked."""
        equal, ranges = list[str](), list[str]()
        for number in range(info.nConstraint):
            column, usable = info.get_aConstraint_iColumn(number), info.get_aConstraint_usable(number)
            if column < 0 or not usable:
                continue
            name, op = self._columns[column], info.get_aConstraint_op(number)
            into = equal if op in _EQUAL else ranges if op in _RANGE else None
            if into is not None and name not in into:
                into.append(name)
                info.set_aConstraintUsage_argvIndex(number, len(equal) + len(ranges))
        order = [
            self._columns[info.get_aOrderBy_iColumn(number)] + (_DESC if info.get_aOrderBy_desc(number) else "")
            for number in range(info.nOrderBy)
            if info.get_aOrderBy_iColumn(number) >= 0
        ]
        self._asked.wishes.add((self._table, tuple(equal), tuple(ranges), tuple(order)))
        info.estimatedCost = 1e6 / 10 ** (2 * len(equal) + len(ranges))
        return True

    def Open(self) -> None:  # noqa: N802 - apsw's name
        """Never: a query is only explained."""
        raise NotImplementedError

    def Disconnect(self) -> None:  # noqa: N802 - apsw's name
        pass

    Destroy = Disconnect
