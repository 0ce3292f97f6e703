"""Declared indexes of live databases, in a child: compared with the schema, made where they are missing."""

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import apsw

from maintd import durable, livedb, replies
from maintd.errors import MaintdError, Refused, TimedOut
from maintd.livedb import Where
from maintd.queries import alone
from maintd.tuning import Progress, broken_off, require_short
from maintd.units import format_size
from maintd.values import dataclass

INDEX_SPEED = 140 << 20
"""Bytes of a database that an index is made over in a second: 2.9 s for 400 MB."""
_DECLARED = re.compile(r"(?is)\s*(?P<unique>unique\s+)?(?P<table>\"[^\"]+\"|\w+)\s*(?P<rest>\(.*)")
_QUOTED = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\])""")


@dataclass(frozen=True)
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
        words = re.sub(r"[\W_]+", "_", f"{self.table}_{self.rest}").strip("_").lower()
        return f"maintd_{words}"[:60]

    def sql(self, name: str = "") -> str:
        unique = "UNIQUE " if self.unique else ""
        on = f"{livedb.identifier(self.table)} {self.rest}"
        return f"CREATE {unique}INDEX {livedb.identifier(name or self.name)} ON {on}"


def flaw(text: str) -> str:
    """What is wrong with a declaration, whatever tables there are; "" if it can be one."""
    try:
        declared = Declared.parse(text)
    except MaintdError as error:
        return f"{error} ({error.hint})"
    return flaw_of_query(declared.sql())


def flaw_of_query(query: str) -> str:
    """What is wrong with some SQL, whatever tables there are. Nothing is run."""
    with contextlib.closing(apsw.Connection(":memory:")) as database:
        try:
            database.execute(f"EXPLAIN {query}").fetchall()
        except apsw.SQLError as error:
            is_about_schema = str(error).startswith("no such")
            return "" if is_about_schema else f"{query!r}: {error}"
    return ""


@dataclass(frozen=True)
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
    progress: Progress, *, where: Mapping[str, Any], indexes: Sequence[str], pause: float, drop: bool
) -> list[dict[str, Any]]:
    """Sees to it that the declared indexes are there; says of each its `state`: created, present, covered or failed.

    Of those that are not declared, on tables that are, it says which are redundant, since another one begins with the
    same columns; with `drop` those go that are neither declared nor unique (dropped, with the `sql` that made them),
    unless one that is declared for their table could not be made. Refused, before anything is made, for a table or
    column that is not there. One has `failed` over equal rows, or if it holds up writers for longer than `pause`
    seconds, or is estimated to.
    """
    place = Where(**where)
    with livedb.opened(place) as database:
        wanted = [_known(database, Declared.parse(text)) for text in indexes]
        shapes = [_shape_of(database, one) for one in wanted]
        out: list[dict[str, Any]] = []
        for one, shape in zip(wanted, shapes, strict=True):
            out.append(_ensured(database, one, shape, pause, place))
            progress(len(out))
        ours = {one["name"] for one in out if "name" in one}
        lacking = {one.table for one, made in zip(wanted, out, strict=True) if made["state"] == "failed"}
        for table in dict.fromkeys(one.table for one in wanted):
            out += _undeclared(database, table, ours, pause, drop=drop and table not in lacking)
        return out


def _ensured(database: apsw.Connection, one: Declared, shape: _Shape, pause: float, place: Where) -> dict[str, Any]:
    try:
        return _made(database, one, shape, pause, place)
    except (Refused, TimedOut) as error:
        return {"declared": one.text, "state": "failed", "failed": replies.described(error)}


def _made(database: apsw.Connection, one: Declared, shape: _Shape, pause: float, place: Where) -> dict[str, Any]:
    there = {name: other for name, other, _ in _existing(database, one.table)}
    same = next((name for name, other in there.items() if other == shape), None)
    wider = next((name for name, other in there.items() if shape.begins(other)), None)
    if same or wider:
        return {"declared": one.text, "state": "present" if same else "covered", "name": same or wider}
    begun = time.monotonic()
    what = f"making the index {one.text}"
    size = livedb.number(database, "PRAGMA page_count") * livedb.number(database, "PRAGMA page_size")
    require_short(size / INDEX_SPEED, pause, what)
    for directory in (place.directory, place.temporaries):
        with durable.directory(directory) as dir_fd:
            info = os.statvfs(dir_fd)
        if info.f_bavail * info.f_frsize < size:
            raise Refused(f"{what} may take up to {format_size(size)}, which is not free in {directory}")
    name = _free_name(database, one.name)
    try:
        with broken_off(database, pause, what):
            database.execute(one.sql(name)).fetchall()
    except apsw.ConstraintError as error:
        hint = "correct the rows, or the declaration"
        raise Refused(f"the index {one.text} cannot be made: {error}", hint=hint) from error
    took = round((time.monotonic() - begun) * 1000, 1)
    return {"declared": one.text, "state": "created", "name": name, "ms": took}


def _free_name(database: apsw.Connection, name: str) -> str:
    """That name, or with a number: other declarations may come to the same words."""
    there = {str(row[0]) for row in database.execute("SELECT name FROM sqlite_schema").fetchall()}
    return next(each for each in (name, *(f"{name}_{n}" for n in range(2, 1000))) if each not in there)


def _undeclared(
    database: apsw.Connection, table: str, ours: set[str], pause: float, *, drop: bool
) -> Iterator[dict[str, Any]]:
    there = list(_existing(database, table))
    for name, shape, origin in there:
        if name in ours or shape.unique or origin != "c":
            continue
        wider = next((other for other, of, _ in there if other != name and (shape.begins(of) or shape == of)), None)
        sql = database.execute("SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?", (name,)).fetchall()
        if drop:
            with broken_off(database, pause, f"dropping the index {name}"):
                database.execute(f"DROP INDEX {livedb.identifier(name)}").fetchall()
            yield {"state": "dropped", "name": name, "sql": str(sql[0][0])}
        elif wider:
            yield {"state": "redundant", "name": name, "by": wider}


def _known(database: apsw.Connection, one: Declared) -> Declared:
    """The same, with the name of its table as the schema has it: for SQLite upper and lower case are one."""
    found = database.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = ? COLLATE NOCASE", (one.table,)
    ).fetchone()
    if found is None:
        raise Refused(f"the index {one.text} is declared, and there is no table {one.table}")
    return replace(one, table=str(found[0]))


def _shape_of(database: apsw.Connection, one: Declared) -> _Shape:
    """Of a declared index, as SQLite understands it over an empty table of the same schema.

    Quoted names are columns there, and never texts (https://sqlite.org/quirks.html#dblquote).
    """
    found = database.execute("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", (one.table,)).fetchall()
    scratch = apsw.Connection(":memory:")
    try:
        scratch.execute(str(found[0][0])).fetchall()
        scratch.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
        with alone(scratch, one.text):
            scratch.execute(one.sql()).fetchall()
        return next(shape for name, shape, _ in _existing(scratch, one.table) if name == one.name)
    except apsw.SQLError as error:
        raise Refused(f"the index {one.text} cannot be made on table {one.table}: {error}") from error
    finally:
        scratch.close()


def _existing(database: apsw.Connection, table: str) -> Iterator[tuple[str, _Shape, str]]:
    """The indexes of a table: name, shape, and origin (c: made by CREATE INDEX, u and pk: by a constraint)."""
    quoted = livedb.identifier(table)
    for _, name, unique, origin, partial in database.execute(f"PRAGMA index_list({quoted})").fetchall():
        rows = database.execute(f"PRAGMA index_xinfo({livedb.identifier(str(name))})").fetchall()
        keys = tuple((column, desc, collation) for _, cid, column, desc, collation, key in rows if key)
        has_expression = any(cid == -2 for _, cid, _, _, _, key in rows if key)
        sql = database.execute("SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?", (name,)).fetchone()
        text = str(sql[0]) if sql and sql[0] else ""
        tail = _normal(text.partition("(")[2]) if partial or has_expression else ""
        yield str(name), _Shape(bool(unique), keys, tail), str(origin)


def _normal(sql: str) -> str:
    """Without blanks, and in small letters: but for what stands in quotes, where they make a difference."""
    parts = _QUOTED.split(sql)
    return "".join(part if number % 2 else re.sub(r"\s+", "", part).lower() for number, part in enumerate(parts))
