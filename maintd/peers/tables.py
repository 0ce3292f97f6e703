"""What is done to the indexes of a PostgreSQL, in a child process: the declared ones made, probes measured.

Nothing here waits for a lock for long, but CREATE INDEX CONCURRENTLY, for which no writer waits.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from statistics import median
from typing import Any

from maintd import replies
from maintd.errors import MaintdError, NotYet, Refused, TimedOut
from maintd.peers import postgres
from maintd.values import dataclass

Progress = Callable[[int], None]
_RUNS = 3
_PATIENCE = 10
_DECLARED = re.compile(
    r"(?is)\s*(?P<unique>unique\s+)?(?P<table>(?:\"[^\"]+\"|\w+)(?:\.(?:\"[^\"]+\"|\w+))?)\s*(?P<rest>(?:using\s+\w+\s*)?\(.*)"
)
_READS = re.compile(r"(?is)(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:select|with|values|table)\b.*")
_INDEXES = """
SELECT c.relname, i.indisvalid, i.indisunique, i.indisprimary, i.indexrelid::regclass::text,
       regexp_replace(pg_get_indexdef(i.indexrelid), '^.*? USING ', ''), i.indpred IS NULL AND i.indexprs IS NULL,
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, true) || ' ' || i.indoption[k - 1]::text
                    || ' ' || i.indclass[k - 1]::text || ' ' || i.indcollation[k - 1]::text
             FROM generate_series(1, i.indnkeyatts) AS k),
       i.indisreplident OR c.relispartition OR EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = i.indexrelid),
       i.indnatts > i.indnkeyatts
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE i.indrelid = %s::oid
ORDER BY c.relname
"""
_NAMES = (
    "SELECT relname FROM pg_class WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = %s::regclass)"
)
_IS_PARTITIONED = "SELECT relkind = 'p' FROM pg_class WHERE oid = %s::regclass"
_BY_HAND = (
    "make it by hand: CREATE INDEX ON ONLY the table, CREATE INDEX CONCURRENTLY on each partition, and ALTER INDEX … "
    "ATTACH PARTITION for each; or CREATE INDEX at a quiet time"
)
_HALF_MADE = """
SELECT i.indexrelid::regclass::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = %s::regclass AND c.relname = %s AND NOT i.indisvalid
  AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index WHERE index_relid = i.indexrelid)
"""


@dataclass(frozen=True)
class Server:
    """How it is connected to; limits in seconds."""

    conninfo: str
    password: str | None
    lock: float
    statement: float

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """A connection with these limits; if we are gone, the server ends what it is at."""
        settings = f"-c lock_timeout={int(self.lock * 1000)} -c statement_timeout={int(self.statement * 1000)}"
        with postgres.connected(self.conninfo, self.password, _PATIENCE, settings) as connection:
            with suppress(Exception):  # PostgreSQL 13 and older do not know it
                connection.execute("SET client_connection_check_interval = '1s'")
            yield connection


@dataclass(frozen=True)
class Index:
    """An index as the server has it. Two are the same if `definition` and uniqueness are.

    `has_more` says that it has columns which are no part of its key (INCLUDE); `is_constraint`, that something needs
    just this one: a constraint, or the index of the partitioned table that it is a part of.
    """

    name: str
    is_valid: bool
    is_unique: bool
    is_primary: bool
    path: str
    definition: str
    is_plain: bool
    keys: tuple[str, ...]
    is_constraint: bool
    has_more: bool

    def begins(self, other: "Index") -> bool:
        """Whether whoever has the other one does not need this one."""
        is_plain = self.is_plain and other.is_plain and not (self.is_unique or self.has_more) and other.is_valid
        are_trees = self.definition.startswith("btree") and other.definition.startswith("btree")
        return is_plain and are_trees and other.keys[: len(self.keys)] == self.keys


def index(progress: Progress, *, server: dict[str, Any], indexes: Sequence[str]) -> list[dict[str, Any]]:
    """Sees to it that the declared indexes are there; of each its `state`: created, rebuilt, present, covered, failed.

    Refused, before anything is made, for a table or a column that is not there.
    """
    with Server(**server).connected() as connection:
        wanted = [(text, *parsed(connection, text)) for text in indexes]
        out = []
        for text, table, sql, shape in wanted:
            out.append(_tried(connection, text, table, sql, shape))
            progress(len(out))
        return out


def parsed(connection: Any, text: str) -> tuple[str, str, Index]:
    """The table, what stands behind CREATE INDEX, and the index as it comes out over an empty table of that shape."""
    import psycopg  # noqa: PLC0415 - an extra

    match = _DECLARED.fullmatch(text)
    if match is None:
        raise MaintdError(f"{text!r} declares no index", hint='write "table(column, column DESC)"')
    table, rest, unique = match["table"], match["rest"].strip(), "UNIQUE " if match["unique"] else ""
    try:
        connection.execute("DROP TABLE IF EXISTS pg_temp.maintd_shape")
        connection.execute(f"CREATE TEMP TABLE maintd_shape (LIKE {table} INCLUDING GENERATED)")
        connection.execute(f"CREATE {unique}INDEX ON pg_temp.maintd_shape {rest}", prepare=True)  # one statement alone
        (shape,) = existing(connection, oid_of(connection, "pg_temp.maintd_shape"))
    except psycopg.errors.UndefinedTable as error:
        raise Refused(f"the index {text} is declared, and there is no table {table}") from error
    except (
        psycopg.errors.UndefinedColumn,
        psycopg.errors.SyntaxError,
        psycopg.errors.SyntaxErrorOrAccessRuleViolation,
        psycopg.errors.InsufficientPrivilege,
    ) as error:
        raise Refused(f"the index {text} cannot be made on table {table}: {str(error).splitlines()[0]}") from error
    finally:
        with suppress(psycopg.Error):
            connection.execute("DROP TABLE IF EXISTS pg_temp.maintd_shape")
    return table, f"{unique}\0{table} {rest}", shape


def oid_of(connection: Any, table: str) -> int:
    """The number of a table that is named as in SQL."""
    return int(connection.execute("SELECT %s::regclass::oid", [table]).fetchone()[0])


def existing(connection: Any, table: int) -> list[Index]:
    """The indexes of a table, by name."""
    rows = connection.execute(_INDEXES, [table]).fetchall()
    return [Index(*(*row[:7], tuple(row[7]), *row[8:])) for row in rows]


def _tried(connection: Any, text: str, table: str, sql: str, shape: Index) -> dict[str, Any]:
    import psycopg  # noqa: PLC0415 - an extra

    try:
        return _ensured(connection, text, table, sql, shape)
    except (NotYet, Refused) as error:
        return {"declared": text, "state": "failed", "failed": replies.described(error)}
    except psycopg.Error as error:
        return {"declared": text, "state": "failed", "failed": failure(connection, error, f"making the index {text}")}


def failure(connection: Any, error: Exception, what: str) -> dict[str, Any]:
    """What came of a statement, as a child tells it; raised on if the connection is lost with it."""
    import psycopg  # noqa: PLC0415 - an extra

    if connection.broken:
        raise error
    said = f"{what}: {' '.join(str(error).split())}"
    if isinstance(error, psycopg.errors.QueryCanceled):
        return replies.described(TimedOut(said, hint="raise statement_timeout, or look at what is slow"))
    return replies.described(MaintdError(said))


def _ensured(connection: Any, text: str, table: str, sql: str, shape: Index) -> dict[str, Any]:
    there = existing(connection, oid_of(connection, table))
    same = [each for each in there if (each.definition, each.is_unique) == (shape.definition, shape.is_unique)]
    valid = next((each for each in same if each.is_valid), None)
    wider = next((each for each in there if shape.begins(each)), None)
    found = valid or wider
    if found:
        return {"declared": text, "state": "present" if valid else "covered", "name": found.name}
    if connection.execute(_IS_PARTITIONED, [table]).fetchone()[0]:
        raise Refused(f"making the index {text} on a table with partitions would hold up its writers", hint=_BY_HAND)
    _require_not_at_work(connection, table)
    for each in same:
        connection.execute(f"DROP INDEX CONCURRENTLY {each.path}")
    begun = time.monotonic()
    name = same[0].name if same else _free_name(connection, table, text)
    _create(connection, table, name, sql)
    took = round((time.monotonic() - begun) * 1000, 1)
    return {"declared": text, "state": "rebuilt" if same else "created", "name": name, "ms": took}


def _require_not_at_work(connection: Any, table: str) -> None:
    query = "SELECT pid FROM pg_stat_progress_create_index WHERE relid = %s::regclass"
    busy = connection.execute(query, [table]).fetchone()
    if busy:
        raise NotYet(f"process {busy[0]} of the server is making an index on {table}")


def _free_name(connection: Any, table: str, text: str) -> str:
    """What maintd calls an index: a name that no table, index or view in the schema of its table has.

    In ASCII, so that PostgreSQL, which keeps 63 bytes of a name, cuts nothing off.
    """
    there = {row[0] for row in connection.execute(_NAMES, [table]).fetchall()}
    words = "maintd_" + re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:46]
    return next(each for each in (words, *(f"{words}_{n}" for n in range(2, 1000))) if each not in there)


def _create(connection: Any, table: str, name: str, sql: str) -> None:
    """Without a limit for locks: no writer waits behind it. What fails is not left, invalid, to be written for ever.

    Nothing but that goes: an index of this name that is valid, another table's or still being made is somebody else's.
    """
    unique, _, on = sql.partition("\0")
    quoted = name.replace('"', '""')
    connection.execute("SET lock_timeout = 0")
    try:
        connection.execute(f'CREATE {unique}INDEX CONCURRENTLY "{quoted}" ON {on}', prepare=True)
    except BaseException:
        with suppress(Exception):
            for (path,) in connection.execute(_HALF_MADE, [table, name]).fetchall():
                connection.execute(f"DROP INDEX CONCURRENTLY {path}")
        raise
    finally:
        with suppress(Exception):
            connection.execute("RESET lock_timeout")


def probe(
    _progress: Progress, *, server: dict[str, Any], queries: Sequence[str], seconds: float
) -> list[dict[str, Any]]:
    """What each query takes (`ms`: the median of three, None if it was broken off), and how the server goes about it.

    It may only read, and whatever it does all the same (lo_create) is taken back. One that cannot be asked is `failed`.
    """
    import psycopg  # noqa: PLC0415 - an extra

    told = list[dict[str, Any]]()
    with Server(**server).connected() as connection:
        connection.execute("SET default_transaction_read_only = on")
        connection.execute(f"SET statement_timeout = {int(seconds * 1000)}")
        for query in queries:
            try:
                told.append(_measured(connection, query))
            except Refused as error:
                told.append({"failed": replies.described(error)})
            except psycopg.Error as error:
                told.append({"failed": failure(connection, error, query)})
    return told


def _measured(connection: Any, query: str) -> dict[str, Any]:
    import psycopg  # noqa: PLC0415 - an extra

    if _READS.fullmatch(query) is None:
        raise Refused(f"a query may only read: it begins with SELECT, WITH, VALUES or TABLE: {query}")
    try:
        took = list(_runs(connection, query))
        plan = connection.execute(f"EXPLAIN (FORMAT JSON) {query}", prepare=True).fetchone()[0]
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise Refused(f"a query may only read: {query}") from error
    except psycopg.errors.SyntaxError as error:
        raise Refused(f"{query!r} is no query, or more than one: {str(error).splitlines()[0]}") from error
    parsed_plan = json.loads(plan) if isinstance(plan, str) else plan
    told = {"ms": round(median(took), 2) if took else None}
    return told | {"plan": "; ".join(_scans(parsed_plan[0]["Plan"]))}


def _runs(connection: Any, query: str) -> Iterator[float]:
    """For how many ms it ran, each time; no more once it is broken off. Rows are not kept, however many there are."""
    import psycopg  # noqa: PLC0415 - an extra

    for _ in range(_RUNS):
        begun = time.monotonic()
        try:
            with connection.transaction(force_rollback=True), connection.cursor() as cursor:
                for _row in cursor.stream(query):  # one statement alone: the extended protocol takes no other
                    pass
        except psycopg.errors.QueryCanceled:
            return
        yield (time.monotonic() - begun) * 1000


def _scans(node: Mapping[str, Any]) -> Iterator[str]:
    if "Relation Name" in node:
        using = f" using {node['Index Name']}" if "Index Name" in node else ""
        yield f"{node['Node Type']} {node['Relation Name']}{using}"
    elif "Index Name" in node:
        yield f"{node['Node Type']} using {node['Index Name']}"
    for below in node.get("Plans", ()):
        yield from _scans(below)
