"""What is asked of a PostgreSQL server, in a child process; psycopg is an extra, and loaded here alone."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from maintd.errors import MaintdError, Refused, TimedOut

_SEES_ALL = "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"
"""Whether it is shown of others what they are and do; all of that is NULL otherwise."""
_CONNECTIONS = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()),
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
"""
_LONGEST = """
SELECT coalesce(extract(epoch FROM max(now() - xact_start)), 0)::float8 FROM pg_stat_activity
WHERE backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()
"""
_LAG = """
SELECT CASE WHEN NOT pg_is_in_recovery() THEN NULL
            WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver)
            THEN 0
            ELSE extract(epoch FROM now() - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time()))
       END::float8
"""
_DEAD = """
SELECT coalesce(max(100.0 * n_dead_tup / nullif(n_live_tup + n_dead_tup, 0)), 0)::float8
FROM pg_stat_user_tables WHERE n_live_tup + n_dead_tup >= 10000
"""


def look(
    _progress: Callable[[int], None], *, conninfo: str, password: str | None, query: str, limit: float
) -> dict[str, Any]:
    """Connects, asks `query`, which is one statement and may only read, and reads the statistics.

    Returns `first` (of the query), `query_s`, `sees_all` (whether what is said of connections counts those of others),
    `connections` (without this one), `most_connections`, `longest_s` (the longest transaction), `lag_s` (None on a
    server that is no replica) and `dead` (percent of dead rows in the worst of the larger tables).
    """
    settings = f"-c statement_timeout={int(limit * 1000)} -c default_transaction_read_only=on"
    with connected(conninfo, password, max(int(limit), 2), settings) as connection:
        begun = time.monotonic()
        first = _read(connection, query)
        took = time.monotonic() - begun
        used, most = _row(connection, _CONNECTIONS)
        rest = {name: _row(connection, sql)[0] for name, sql in (("longest_s", _LONGEST), ("lag_s", _LAG))}
        dead, sees_all = _row(connection, _DEAD)[0], _row(connection, _SEES_ALL)[0]
    value = first[0] if first else None
    told = {"first": None if value is None else str(value), "query_s": took, "dead": dead, "sees_all": sees_all}
    return told | {"connections": used, "most_connections": most} | rest


def _read(connection: Any, query: str) -> Any:
    """The first row of a statement in a transaction that only reads, which once it has begun it cannot leave.

    Streamed, since the simple protocol (protocol-flow of PostgreSQL) would take several statements, and a COMMIT first.
    """
    connection.execute("BEGIN READ ONLY")
    connection.execute("SELECT 1")
    with connection.cursor() as cursor:
        rows = cursor.stream(query)
        first = next(rows, None)
        for _ in rows:
            pass
    connection.execute("ROLLBACK")
    return first


def _row(connection: Any, statement: str) -> Any:
    return connection.execute(statement).fetchone()


@contextmanager
def connected(conninfo: str, password: str | None, patience: int, settings: str) -> Iterator[Any]:
    """A connection, each statement of which is a transaction; `patience` are seconds in which it must come about.

    What the server, or the way to it, refuses is raised as by `look`.
    """
    try:
        import psycopg  # noqa: PLC0415 - an extra
    except ImportError as error:
        hint = "install maintd with the extra postgres: maintd[postgres]"
        raise Refused("psycopg is not installed", hint=hint) from error
    try:
        theirs = psycopg.conninfo.conninfo_to_dict(conninfo).get("options") or ""
        options: dict[str, Any] = {"connect_timeout": patience, "application_name": "maintd"}
        options["options"] = f"{theirs} {settings}".strip()
        with psycopg.connect(conninfo, **options, password=password, autocommit=True) as connection:
            yield connection
    except psycopg.errors.QueryCanceled as error:
        raise TimedOut("the query took too long") from error
    except psycopg.errors.ConnectionTimeout as error:
        raise TimedOut("no connection") from error
    except psycopg.Error as error:
        raise MaintdError(" ".join(str(error).split())) from error
