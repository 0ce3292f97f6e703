"""What is done to the tables of a PostgreSQL, in a child process: VACUUM and ANALYZE, and what is odd about them."""

import time
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from maintd import replies
from maintd.errors import MaintdError
from maintd.peers.tables import Index, Progress, Server, existing, failure, oid_of, parsed

# Who may: the owner of the table or of the database, and from PostgreSQL 17 on who has MAINTAIN.
_TABLES = """
SELECT s.relid, s.relid::regclass::text, s.n_live_tup, s.n_dead_tup, s.n_mod_since_analyze,
       has_schema_privilege(c.relnamespace, 'USAGE') AND (
           pg_has_role(c.relowner, 'USAGE')
           OR (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database())
           OR CASE WHEN current_setting('server_version_num')::int >= 170000
                   THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END)
FROM pg_stat_user_tables AS s JOIN pg_class AS c ON c.oid = s.relid WHERE c.relpersistence <> 't' ORDER BY 2
"""
_VACUUMED = "SELECT pg_stat_get_last_vacuum_time(%s::oid), pg_stat_get_dead_tuples(%s::oid)"
_PATIENCE = 1.0
"""Seconds until the statistics have what a VACUUM has left; up to PostgreSQL 14 a process of its own collects them."""
_UNUSED = """
SELECT s.indexrelid::regclass::text, pg_relation_size(s.indexrelid)
FROM pg_stat_user_indexes AS s JOIN pg_index AS i USING (indexrelid) JOIN pg_class AS c ON c.oid = s.indexrelid
WHERE s.idx_scan = 0 AND NOT i.indisunique AND i.indisvalid AND NOT c.relispartition
  AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = s.indexrelid) ORDER BY 2 DESC
"""
_SINCE = """
SELECT extract(epoch FROM now() - coalesce(stats_reset, pg_postmaster_start_time()))::float8
FROM pg_stat_database WHERE datname = current_database()
"""
# A row takes its columns, a head of 23 bytes and a pointer of 4, in pages of which 24 bytes are their own head, and
# which are filled up to fillfactor. pg_stats shows columns that may be read: of all, or the width would be too small.
_BLOAT = """
SELECT c.oid::regclass::text, pg_relation_size(c.oid),
       (c.reltuples * (w.width + 28) / (current_setting('block_size')::int - 24)
        * current_setting('block_size')::int * 100 / coalesce(
            (SELECT option_value FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor')::int, 100
        ))::float8
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN (
    SELECT schemaname, tablename, sum(avg_width * (1 - null_frac)) AS width
    FROM pg_stats WHERE NOT inherited GROUP BY 1, 2
) AS w ON w.schemaname = n.nspname AND w.tablename = c.relname
JOIN pg_stat_user_tables AS s ON s.relid = c.oid
WHERE c.relkind = 'r' AND c.reltuples > 0 AND has_table_privilege(c.oid, 'SELECT') ORDER BY 2 DESC
"""


def tend(
    progress: Progress, *, server: dict[str, Any], vacuum_over: float, analyze_over: float, least: int
) -> list[dict[str, Any]]:
    """VACUUM of tables with so large a share of dead rows, ANALYZE of those with so many changed, if `least` rows are.

    Of each its `state`: vacuumed, analyzed, skipped (somebody has locked it), foreign (it is not ours to tend), held
    (most of its dead rows are `left`, since somebody may still see them) or failed.
    """
    out = list[dict[str, Any]]()
    with Server(**server).connected() as connection:
        for oid, table, live, dead, changed, is_ours in connection.execute(_TABLES).fetchall():
            what = _needed(live, dead, changed, (vacuum_over, analyze_over, least))
            if what:
                begun = time.monotonic()
                done = _tended(connection, what, (oid, table), dead) if is_ours else {"state": "foreign"}
                took = round((time.monotonic() - begun) * 1000, 1)
                out.append({"table": table, "dead": dead, "changed": changed, "ms": took} | done)
                progress(len(out))
    return out


def _needed(live: int, dead: int, changed: int, limits: tuple[float, float, int]) -> str:
    vacuum_over, analyze_over, least = limits
    if dead >= max(least, vacuum_over * (live + dead)):
        return "VACUUM (ANALYZE)"
    return "ANALYZE" if changed >= max(least, analyze_over * live) else ""


def _tended(connection: Any, what: str, table: tuple[int, str], dead: int) -> dict[str, Any]:
    """What came of it. The server only warns of what it passes over."""
    import psycopg  # noqa: PLC0415 - an extra

    warnings = list[str]()

    def hear(said: Any) -> None:
        if said.severity_nonlocalized == "WARNING":
            warnings.append(str(said.message_primary))

    oid, name = table
    before = connection.execute(_VACUUMED, [oid, oid]).fetchone()[0]
    connection.add_notice_handler(hear)
    try:
        connection.execute(f"{what} {name}")
    except psycopg.errors.LockNotAvailable:
        return {"state": "skipped"}
    except psycopg.Error as error:
        return {"state": "failed", "failed": failure(connection, error, f"{what} of {name}")}
    finally:
        connection.remove_notice_handler(hear)
    if warnings:
        return {"state": "failed", "failed": replies.described(MaintdError(f"{what} of {name}: {warnings[0]}"))}
    if what == "ANALYZE":
        return {"state": "analyzed"}
    left = _left(connection, oid, before)
    return {"state": "held" if left > dead / 2 else "vacuumed", "left": left}


def _left(connection: Any, oid: int, before: Any) -> int:
    """The dead rows that a VACUUM could not remove, as soon as the statistics know; 0 if they do not get to know."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        at, dead = connection.execute(_VACUUMED, [oid, oid]).fetchone()
        if at != before:
            return int(dead)
        time.sleep(0.05)
    return 0


def oddities(
    _progress: Progress,
    *,
    server: dict[str, Any],
    indexes: Sequence[str],
    bloat_over: float,
    unused_after: float | None,
    least: int,
) -> list[dict[str, Any]]:
    """What is to be said of tables and indexes: `state` bloated, unused, redundant or invalid. Nothing is changed.

    Only tables of at least `least` bytes can be bloated, by the estimate that the statistics allow. An index is unused
    if nothing has used it in what is counted, since `unused_after` seconds or longer ago. The declared `indexes` are
    neither that nor redundant: whoever reads it has put them there, perhaps a moment ago.
    """
    with Server(**server).connected() as connection:
        declared = set(_declared(connection, indexes))
        out, known = list[dict[str, Any]](), set[str]()
        for oid in [row[0] for row in connection.execute(_TABLES).fetchall()]:
            there = existing(connection, oid)
            known |= {one.path for one in there if (oid, one.definition, one.is_unique) in declared}
            out += _superfluous(there, known)
        for table, size, expected in connection.execute(_BLOAT).fetchall():
            share = 1 - expected / size if size else 0.0
            if size >= least and share >= bloat_over:
                out.append({"state": "bloated", "name": table, "bytes": size, "share": round(share, 2)})
        since = connection.execute(_SINCE).fetchone()[0]
        if unused_after is not None and since >= unused_after:
            for name, size in connection.execute(_UNUSED).fetchall():
                if name not in known:
                    out.append({"state": "unused", "name": name, "bytes": size, "since": since})
        return out


def _declared(connection: Any, indexes: Sequence[str]) -> Iterator[tuple[int, str, bool]]:
    """The table, definition and uniqueness of those that can be; of the others is told where they are made."""
    import psycopg  # noqa: PLC0415 - an extra

    for text in indexes:
        try:
            table, _, shape = parsed(connection, text)
            yield oid_of(connection, table), shape.definition, shape.is_unique
        except (MaintdError, psycopg.Error):
            if connection.broken:
                raise


def _superfluous(there: Sequence[Index], known: AbstractSet[str]) -> Iterator[dict[str, Any]]:
    for number, one in enumerate(there):
        if not one.is_valid:
            yield {"state": "invalid", "name": one.path}
        elif not one.is_constraint and one.path not in known:
            stays = [each for each in there if each.is_valid and (each.is_unique or not one.is_unique)]
            others = [
                each
                for each in stays
                if each.definition == one.definition
                and each is not one
                and (each.is_constraint or each.path in known or each in there[number + 1 :])
            ]
            others += [each for each in stays if one.begins(each) and (each.keys != one.keys or each.has_more)]
            others += [each for each in there[:number] if each.is_unique and one.begins(each)]
            if others:
                yield {"state": "redundant", "name": one.path, "by": others[0].path}
