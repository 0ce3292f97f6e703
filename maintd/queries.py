"""What people's own SQL may do to a database, in a child: read, as one statement, not for ever, in bounded memory."""

import contextlib
import re
import time
from collections.abc import Iterator
from datetime import timedelta

import apsw

from maintd.errors import MaintdError, Refused, TimedOut
from maintd.units import format_duration, format_size

_OPS = 20_000
_MEMORY = 128 << 20
"""Bytes that SQLite may have while it is at a query. What it sorts goes into files before that, if it has a place."""
_READS = re.compile(r"(?is)(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:select|with|values|pragma)\b.*")
_ALLOWED = {apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_FUNCTION, apsw.SQLITE_RECURSIVE}
_ALLOWED |= {apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE}
"""An R-tree prepares what would write its rows when it is first read; `query_only` sees to it that no rows change."""
_LOOKS = {"foreign_key_check", "foreign_key_list", "integrity_check", "quick_check", "data_version", "table_list"}
_LOOKS |= {"table_info", "table_xinfo", "index_list", "index_info", "index_xinfo"}
"""Pragmas that change nothing, whatever they are given; the following do not if they are given nothing."""
_TELLS = {"page_count", "page_size", "freelist_count", "schema_version", "user_version", "application_id"}


def flaw(query: str) -> str:
    """Why it is no query that reads, by how it begins; "" if it may be one."""
    return "" if _READS.fullmatch(query) else f"a query may only read: it begins with SELECT, WITH or VALUES: {query}"


@contextlib.contextmanager
def limited(database: apsw.Connection, query: str, seconds: float) -> Iterator[None]:
    """Lets a query do nothing but read (Refused), for so many seconds (TimedOut), and in little memory (MaintdError).

    The connection is `query_only` already, which does not keep a query from changing the journal mode, or from writing
    a file by VACUUM INTO.
    """
    if said := flaw(query):
        raise Refused(said)
    end = time.monotonic() + seconds
    database.set_progress_handler(lambda: time.monotonic() > end, _OPS)
    database.authorizer = _judged
    unlimited = apsw.hard_heap_limit(_MEMORY)
    try:
        yield
        if time.monotonic() > end:  # one step of SQLite's can take as long as it likes
            raise _too_long(query, seconds)
    except apsw.InterruptError as error:
        raise _too_long(query, seconds) from error
    except apsw.NoMemError as error:
        raise MaintdError(
            f"it would take more than {format_size(_MEMORY)} of memory, and was broken off: {query}",
            hint="let it sort and join less text, or give it an index",
        ) from error
    except (apsw.ReadOnlyError, apsw.AuthError) as error:
        raise Refused(f"a query may only read: {query}") from error
    except apsw.BindingsError as error:
        raise MaintdError(
            f"it has parameters, such as ?: {query}", hint="write values in their place: what it takes depends on them"
        ) from error
    except apsw.SQLError as error:
        raise MaintdError(f"SQLite does not understand {query!r}: {error}") from error
    finally:
        apsw.hard_heap_limit(unlimited)
        database.authorizer = None
        database.set_progress_handler(None)


def _judged(operation: int, name: str | None, value: str | None, _database: str | None, _trigger: str | None) -> int:
    """What SQLite is to make of a part of a statement (https://sqlite.org/c3ref/set_authorizer.html)."""
    is_look = operation == apsw.SQLITE_PRAGMA and (name in _LOOKS or (name in _TELLS and value is None))
    return apsw.SQLITE_OK if is_look or operation in _ALLOWED else apsw.SQLITE_DENY


def _too_long(query: str, seconds: float) -> TimedOut:
    return TimedOut(f"it took longer than {format_duration(timedelta(seconds=seconds))} and was broken off: {query}")


@contextlib.contextmanager
def alone(database: apsw.Connection, text: str) -> Iterator[None]:
    """Runs no second statement behind the first, which people's SQL could bring along: Refused."""
    count = 0

    def is_first(_cursor: apsw.Cursor, _sql: str, _bindings: object) -> bool:
        nonlocal count
        count += 1
        return count == 1

    database.exec_trace = is_first
    try:
        yield
    except apsw.ExecTraceAbort as error:
        raise Refused(f"{text!r} is more than one statement") from error
    finally:
        database.exec_trace = None
