"""What is done to the tables of a PostgreSQL, in a child process: declared indexes, VACUUM and ANALYZE, what is odd.

Nothing here waits for a lock for long, but CREATE INDEX CONCURRENTLY, for which no writer waits.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from statistics import median
from typing import Any

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
       EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = i.indexrelid)
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE i.indrelid = %s::regclass
ORDER BY c.relname
"""
_NAMES = (
    "SELECT relname FROM pg_class WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = %s::regclass)"
)
_HALF_MADE = """
SELECT i.indexrelid::regclass::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = %s::regclass AND c.relname = %s AND NOT i.indisvalid
  AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index WHERE index_relid = i.indexrelid)
"""
_TABLES = """
SELECT relid::regclass::text, n_live_tup, n_dead_tup, n_mod_since_analyze FROM pg_stat_user_tables ORDER BY 1
"""
_UNUSED = """
SELECT s.indexrelid::regclass::text, pg_relation_size(s.indexrelid), s.relid::regclass::text
FROM pg_stat_user_indexes AS s JOIN pg_index AS i USING (indexrelid)
WHERE s.idx_scan = 0 AND NOT i.indisunique AND i.indisvalid
  AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = s.indexrelid) ORDER BY 2 DESC
"""
_SINCE = """
SELECT extract(epoch FROM now() - coalesce(stats_reset, pg_postmaster_start_time()))::float8
FROM pg_stat_database WHERE datname = current_database()
"""
# A row takes its columns, a head of 23 bytes and a pointer of 4, in pages of which 24 bytes are their own head.
_BLOAT = """
SELECT c.oid::regclass::text, pg_relation_size(c.oid),
       (c.reltuples * (w.width + 28) / (current_setting('block_size')::int - 24)
        * current_setting('block_size')::int)::float8
FROM pg_class AS c JOIN (
    SELECT starelid, sum(stawidth * (1 - stanullfrac)) AS width FROM pg_statistic WHERE NOT stainherit GROUP BY starelid
) AS w ON w.starelid = c.oid
JOIN pg_stat_user_tables AS s ON s.relid = c.oid WHERE c.relkind = 'r' AND c.reltuples > 0 ORDER BY 2 DESC
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
class _Index:
    """An index as the server has it. Two are the same if `definition` and uniqueness are."""

    name: str
    is_valid: bool
    is_unique: bool
    is_primary: bool
    path: str
    definition: str
    is_plain: bool
    keys: tuple[str, ...]
    is_constraint: bool

    def begins(self, other: "_Index") -> bool:
        """Whether whoever has the other one does not need this one."""
        is_plain = self.is_plain and other.is_plain and not self.is_unique and other.is_valid
        are_trees = self.definition.startswith("btree") and other.definition.startswith("btree")
        return is_plain and are_trees and other.keys[: len(self.keys)] == self.keys


def index(progress: Progress, *, server: dict[str, Any], indexes: Sequence[str]) -> list[dict[str, Any]]:
    """Sees to it that the declared indexes are there; says of each its `state`: created, rebuilt, present or covered.

    Refused, before anything is made, for a table or a column that is not there.
    """
    with Server(**server).connected() as connection:
        wanted = [(text, *_parsed(connection, text)) for text in indexes]
        out = []
        for text, table, sql, shape in wanted:
            out.append(_ensured(connection, text, table, sql, shape))
            progress(len(out))
        return out


def _parsed(connection: Any, text: str) -> tuple[str, str, _Index]:
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
        (shape,) = _existing(connection, "pg_temp.maintd_shape")
    except psycopg.errors.UndefinedTable as error:
        raise Refused(f"the index {text} is declared, and there is no table {table}") from error
    except (
        psycopg.errors.UndefinedColumn,
        psycopg.errors.SyntaxError,
        psycopg.errors.SyntaxErrorOrAccessRuleViolation,
    ) as error:
        raise Refused(f"the index {text} cannot be made on table {table}: {str(error).splitlines()[0]}") from error
    finally:
        with suppress(psycopg.Error):
            connection.execute("DROP TABLE IF EXISTS pg_temp.maintd_shape")
    return table, f"{unique}\0{table} {rest}", shape


def _existing(connection: Any, table: str) -> list[_Index]:
    rows = connection.execute(_INDEXES, [table]).fetchall()
    return [_Index(*(*row[:7], tuple(row[7]), row[8])) for row in rows]


def _ensured(connection: Any, text: str, table: str, sql: str, shape: _Index) -> dict[str, Any]:
    there = _existing(connection, table)
    same = [each for each in there if (each.definition, each.is_unique) == (shape.definition, shape.is_unique)]
    valid = next((each for each in same if each.is_valid), None)
    wider = next((each for each in there if shape.begins(each)), None)
    found = valid or wider
    if found:
        return {"declared": text, "state": "present" if valid else "covered", "name": found.name}
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
    """How long each query takes (the median of three, in ms), and how the server goes about it.

    It may only read, and whatever it does all the same (lo_create) is taken back. Refused if it is no one query.
    """
    import psycopg  # noqa: PLC0415 - an extra

    told = []
    with Server(**server).connected() as connection:
        connection.execute("SET default_transaction_read_only = on")
        connection.execute(f"SET statement_timeout = {int(seconds * 1000)}")
        for query in queries:
            if _READS.fullmatch(query) is None:
                raise Refused(f"a query may only read: it begins with SELECT, WITH, VALUES or TABLE: {query}")
            try:
                told.append(_measured(connection, query))
            except psycopg.errors.ReadOnlySqlTransaction as error:
                raise Refused(f"a query may only read: {query}") from error
            except psycopg.errors.SyntaxError as error:
                raise Refused(f"{query!r} is no query, or more than one: {str(error).splitlines()[0]}") from error
            except psycopg.errors.QueryCanceled as error:
                raise TimedOut(f"it took longer than {seconds:.0f} s and was broken off: {query}") from error
    return told


def _measured(connection: Any, query: str) -> dict[str, Any]:
    took = []
    for _ in range(_RUNS):
        begun = time.monotonic()
        with connection.transaction(force_rollback=True):
            connection.execute(query, prepare=True).fetchall()  # one statement alone
        took.append((time.monotonic() - begun) * 1000)
    plan = connection.execute(f"EXPLAIN (FORMAT JSON) {query}", prepare=True).fetchone()[0]
    parsed = json.loads(plan) if isinstance(plan, str) else plan
    return {"ms": round(median(took), 2), "plan": "; ".join(_scans(parsed[0]["Plan"]))}


def _scans(node: Mapping[str, Any]) -> Iterator[str]:
    if "Relation Name" in node:
        using = f" using {node['Index Name']}" if "Index Name" in node else ""
        yield f"{node['Node Type']} {node['Relation Name']}{using}"
    elif "Index Name" in node:
        yield f"{node['Node Type']} using {node['Index Name']}"
    for below in node.get("Plans", ()):
        yield from _scans(below)


def tend(
    progress: Progress, *, server: dict[str, Any], vacuum_over: float, analyze_over: float, least: int
) -> list[dict[str, Any]]:
    """VACUUM of tables with so large a share of dead rows, ANALYZE of those with so many changed, if `least` rows are.

    A table that somebody has locked is left for the next run (`state` skipped).
    """
    import psycopg  # noqa: PLC0415 - an extra

    out = []
    with Server(**server).connected() as connection:
        for table, live, dead, changed in connection.execute(_TABLES).fetchall():
            what = _needed(live, dead, changed, (vacuum_over, analyze_over, least))
            if not what:
                continue
            begun = time.monotonic()
            try:
                connection.execute(f"{what} {table}")
                state = "vacuumed" if what.startswith("VACUUM") else "analyzed"
            except psycopg.errors.LockNotAvailable:
                state = "skipped"
            took = round((time.monotonic() - begun) * 1000, 1)
            out.append({"table": table, "state": state, "dead": dead, "changed": changed, "ms": took})
            progress(len(out))
    return out


def _needed(live: int, dead: int, changed: int, limits: tuple[float, float, int]) -> str:
    vacuum_over, analyze_over, least = limits
    if dead >= max(least, vacuum_over * (live + dead)):
        return "VACUUM (ANALYZE)"
    return "ANALYZE" if changed >= max(least, analyze_over * live) else ""


def oddities(
    _progress: Progress, *, server: dict[str, Any], bloat_over: float, unused_after: float | None, least: int
) -> list[dict[str, Any]]:
    """What is to be said of tables and indexes: `state` bloated, unused, redundant or invalid. Nothing is changed.

    Only tables of at least `least` bytes can be bloated, by the estimate that the statistics allow. An index is unused
    if nothing has used it in what is counted, since `unused_after` seconds or longer ago.
    """
    with Server(**server).connected() as connection:
        tables = [row[0] for row in connection.execute(_TABLES).fetchall()]
        out = [one for table in tables for one in _superfluous(connection, table)]
        for table, size, expected in connection.execute(_BLOAT).fetchall():
            share = 1 - expected / size if size else 0.0
            if size >= least and share >= bloat_over:
                out.append({"state": "bloated", "name": table, "bytes": size, "share": round(share, 2)})
        since = connection.execute(_SINCE).fetchone()[0]
        if unused_after is not None and since >= unused_after:
            for name, size, _ in connection.execute(_UNUSED).fetchall():
                out.append({"state": "unused", "name": name, "bytes": size, "since": since})
        return out


def _superfluous(connection: Any, table: str) -> Iterator[dict[str, Any]]:
    there = _existing(connection, table)
    for number, one in enumerate(there):
        if not one.is_valid:
            yield {"state": "invalid", "name": one.path}
        elif not (one.is_unique or one.is_constraint):
            others = [each for each in there[number + 1 :] if each.definition == one.definition]
            others += [each for each in there if each is not one and one.begins(each) and each.keys != one.keys]
            others += [each for each in there[:number] if each.is_unique and one.begins(each)]
            if others:
                yield {"state": "redundant", "name": one.path, "by": others[0].path}
