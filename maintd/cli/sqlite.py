"""`maintd sqlite advise`: which indexes would help, measured on a copy of the database."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from maintd import durable, headers, names, scratch, trust
from maintd.child import Worker
from maintd.cli import output
from maintd.cli.exits import Exit, usage
from maintd.cli.invocation import Invocation, config_option
from maintd.config import Config, load
from maintd.durable import Ownership
from maintd.errors import MaintdError
from maintd.matching import is_match
from maintd.names import printable
from maintd.steps import Seen
from maintd.units import counted, format_size

_SECONDS = 10.0
_PAUSE = 1.0
_MOST = 50
"""Queries of a log that are looked at: those that come most often."""
_COPY = re.compile(r"advice-(\d+)\b")
_VALUE = re.compile(r"'(?:[^']|'')*'|\?\d*|[:@$]\w+|\b\d+(?:\.\d+)?\b")
"""A value in a query, or the parameter in its place."""
_READS = r"(?P<query>(?:select\b|with\s+(?:recursive\s+)?[\w\"]+\s*(?:\([^()]*\)\s*)?as\b).*)"
_STATEMENT = re.compile(rf"(?i)\b(?:{_READS}|(?:insert|replace|update|delete|create|drop|alter|explain)\b)")
"""The first statement on a line, behind a time for example; what it reads for itself in a subquery is none."""


@click.group(
    short_help="See which indexes a SQLite database would gain by.",
    epilog="\b\nExamples:\n  maintd sqlite advise /srv/app/data/trading.db",
)
def sqlite() -> None:
    """Looks at SQLite databases, beside the services that write them. Needs no daemon."""


@sqlite.command(
    short_help="Propose indexes, with what they gain.",
    epilog="\b\nExamples:\n  maintd sqlite advise /srv/app/data/trading.db\n"
    "  maintd sqlite advise /srv/app/data/trading.db --query \"SELECT * FROM trades WHERE date = '2026-01-01'\"\n"
    "  maintd sqlite advise /srv/app/data/trading.db --log /srv/app/logs/queries.sql --json",
)
@click.argument("database", metavar="DB", type=click.Path(exists=True, dir_okay=False))
@click.option("--query", "queries", multiple=True, metavar="SQL", help="A query to look at; may be repeated.")
@click.option(
    "--log", metavar="FILE", type=click.File(errors="replace"), help="Queries, one on a line; the most frequent count."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each query.")
@config_option()
@click.pass_obj
def advise(called: Invocation, /, *, database: str, queries: tuple[str, ...], log: Any, as_json: bool) -> int:
    """Proposes indexes for the probes that the config has for DB, and for the queries that are given.

    The database is copied, which no writer in WAL mode waits for; each index that a query could use is made on the
    copy, the query is run three times without and with it, and the copy is removed. The database itself is not changed.
    """
    path, config = os.path.realpath(database), load(called.config)
    wanted = [*_probes(config, path), *queries, *(_frequent(log) if log else ())]
    if not wanted and log:
        raise MaintdError(f"{printable(log.name)} has no query, nor has the config a probe for it")
    if not wanted:
        raise usage("there is no probe for it in the config: give --query or --log")
    with _copied(path, os.path.join(os.path.realpath(config.settings.state_dir), "stores", "advice")) as (worker, copy):
        where = {"directory": copy, "name": "copy", "temporaries": copy}
        told = worker.call(
            "maintd.advising:advise",
            {"where": where, "queries": list(dict.fromkeys(wanted)), "seconds": _SECONDS},
            within=trust.confinement([copy], file=_seen(path)),
        )
    for one in told:
        if as_json:
            output.say_json({"target": path} | one)
        else:
            for line in _lines(one):
                output.say(line)
    found = list(dict.fromkeys(one["index"] for one in told if "index" in one))
    if found and not as_json:
        shown = ", ".join('"' + index.replace("\\", "\\\\").replace('"', '\\"') + '"' for index in found)
        output.say()
        output.say("in the sqlite job of that database:")
        output.say(f"indexes = [{shown}]")
    return Exit.OK


def _probes(config: Config, path: str) -> Iterator[str]:
    for job in config.jobs.values():
        if job.kind == "sqlite" and any(is_match(path, pattern) for pattern in getattr(job, "paths", ())):
            yield from getattr(job, "probes", ())


def _frequent(log: Any) -> list[str]:
    """The queries that come most often, whatever values stand in them, each as it first came with values.

    How many lines have none is said.
    """
    first, times, others = dict[str, str](), Counter[str](), 0
    for line in filter(str.strip, log):
        found = _STATEMENT.search(line)
        if found is None or not found["query"]:
            others += 1
            continue
        query = found["query"].strip().rstrip(";")
        form = " ".join(_VALUE.sub("?", query).split()).casefold()
        times[form] += 1
        if form not in first or (_has_parameters(first[form]) and not _has_parameters(query)):
            first[form] = query
    if others:
        output.complain(f"{printable(log.name)}: {counted(others, 'line')} without a query passed over")
    return [first[form] for form, _ in times.most_common(_MOST)]


def _has_parameters(query: str) -> bool:
    return any(value[0].startswith(("?", ":", "@", "$")) for value in _VALUE.finditer(query))


def _seen(path: str) -> Seen:
    return Seen.of(path, os.lstat(path))


@contextmanager
def _copied(path: str, folder: str) -> Iterator[tuple[Worker, str]]:
    """A child, and the private directory with the copy, for the moment."""
    header, seen = headers.read(path), _seen(path)
    if header is None:
        raise MaintdError(f"{printable(path)} is no SQLite database, or an encrypted one")
    directory, name = os.path.split(path)
    making = names.temporary(f"advice-{os.getpid()}")
    durable.private_directory(folder)
    info = os.statvfs(folder)
    if info.f_bavail * info.f_frsize < 2 * seen.size:
        needed = format_size(2 * seen.size)
        raise MaintdError(f"its copy, with an index to try, may take {needed}, which is not free in {folder}")
    is_root = os.geteuid() == 0
    owner = Ownership(0o700, seen.uid if is_root else os.geteuid(), seen.gid if is_root else os.getegid())
    with durable.directory(folder) as dir_fd:
        for left in _left_behind(folder):
            durable.discard_tree(left, dir_fd=dir_fd)
    with scratch.of_owner(folder, making, owner) as copy, Worker() as worker:
        source = {"directory": directory, "name": name, "inode": list(seen.inode)}
        arguments = {"source": source, "target": {"directory": copy, "name": "copy"}}
        arguments["pause"] = None if header.is_wal else _PAUSE
        within = trust.confinement([directory, copy], file=seen, moves=False)
        worker.call("maintd.livedb:copy", arguments, within=within)
        yield worker, copy


def _left_behind(folder: str) -> Iterator[str]:
    """The copies of those that were killed."""
    for name in os.listdir(folder):
        if (match := _COPY.match(name)) and (int(match[1]) == os.getpid() or not os.path.exists(f"/proc/{match[1]}")):
            yield name


def _lines(one: dict[str, Any]) -> Sequence[str]:
    query = output.paint(printable(one["query"]), bold=True)
    if "trouble" in one:
        return [query, f"  {printable(one['trouble'])}"]
    before = f"over {_SECONDS:.0f} s" if one["before_ms"] is None else f"{one['before_ms']} ms"
    if "index" not in one:
        return [query, f"  {before}, {printable(one['plan_before'])}; no index would help"]
    gain = f"{before} → {one['after_ms']} ms with {printable(one['index'])}"
    size = format_size(max(one["index_bytes"], 0))
    plan = f"{printable(one['plan_before'])} → {printable(one['plan_after'])}"
    return [query, f"  {gain}, which takes {size}", f"  {plan}"]
