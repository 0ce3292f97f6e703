"""`maintd archive`: what was archived, brought back, and verified."""

import fnmatch
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import click

from maintd import retrieval
from maintd.cli import output, stowed, tables
from maintd.cli.exits import Exit
from maintd.cli.invocation import Invocation, config_option
from maintd.config import load
from maintd.errors import MaintdError, trouble
from maintd.inventory import Entry
from maintd.names import legible, printable
from maintd.retrieval import Listed
from maintd.units import counted, format_size, parse_duration, parse_share
from maintd.values import completed, dataclass


def _when(_ctx: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """A time as manifests have it, of a duration or a time that was given as an option."""
    if text is None:
        return None
    try:
        when = datetime.now(UTC) - parse_duration(text)
    except ValueError:
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            raise click.BadParameter(f"{text!r} is neither a duration (2h, 7d) nor a time (RFC 3339)") from None
    at = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _sample(_ctx: click.Context, _option: click.Parameter, text: str | None) -> float:
    try:
        return 1.0 if text is None else parse_share(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.group(
    short_help="Find, bring back and verify what was archived.",
    epilog="\b\nExamples:\n  maintd archive list --path '*/prices/2026-08*'\n"
    "  maintd archive get '*/2026-08-01.csv' --to /tmp/back\n  maintd archive verify --sample 5%",
)
def archive() -> None:
    """Finds, brings back and verifies what the config's archive jobs have put away. Needs no daemon."""


@archive.command(
    "list",
    short_help="List archived files.",
    epilog="\b\nExamples:\n  maintd archive list --since 7d\n"
    "  maintd archive list --path '*/prices/2026-08*' --json | jq .original",
)
@click.option(
    "--since", metavar="WHEN", callback=_when, help="Only what was archived from then on (7d, or 2026-11-24)."
)
@click.option("--path", metavar="PATTERN", help="Only files whose path, or name, it matches.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each file: its line of the manifest.")
@config_option()
@click.pass_obj
def list_(called: Invocation, /, *, since: str | None, path: str | None, as_json: bool) -> int:
    """Lists what lies in the archives, in the order in which it was archived: when, how large, from where, as what."""
    rows, code, archives = [], Exit.OK, Archives(called)
    for listed in archives:
        code = _said_odd(listed) or code
        for entry in _chosen(listed, path):
            if since is not None and entry.at[:19] < since[:19]:  # older ones have no fraction of a second
                continue
            if as_json:
                output.say_json(_fields(listed, entry))
            else:
                rows.append(_row(listed, entry))
    header = ("ARCHIVED", "BYTES", "STORED", "FILE", "IN THE ARCHIVE")
    for line in tables.table(rows, header, right=(1, 2), below=1):
        output.say(line)
    return code or archives.code()


@archive.command(
    short_help="Bring archived files back.",
    epilog="\b\nExamples:\n  maintd archive get '*/prices/2026-08*' --to /tmp/back",
)
@click.argument("pattern")
@click.option("--to", metavar="DIR", required=True, type=click.Path(file_okay=False), help="Where they are made again.")
@config_option()
@click.pass_obj
def get(called: Invocation, /, pattern: str, *, to: str) -> int:
    """Makes archived files again below DIR, with mode, owner and mtime; each is compared by its hash first.

    PATTERN is matched against the path that a file had, its name, and its name in the archive, with its suffix or
    without; * matches / too. Of what would have one path, the newest gets it, and the others get a number. Nothing that
    is there is overwritten, and what is archived stays archived.
    """
    made: set[str] = set()
    found: list[tuple[Listed, Entry]] = []
    archives = Archives(called)
    for listed in archives:
        _said_odd(listed)
        found += ((listed, entry) for entry in _chosen(listed, pattern))
    failed = archives.unread
    for listed, entry in sorted(found, key=lambda each: each[1].at, reverse=True):
        try:
            path = retrieval.bring_back(listed, entry, to, brought=made)
        except (MaintdError, OSError) as error:
            wrong = trouble(error)
            output.complain(f"maintd: {printable(entry.original)}: {printable(wrong.error_msg)}")
            failed += 1
        else:
            output.say(f"{printable(entry.original)} → {printable(path)}")
            made.add(path)
    if not made and not failed:
        output.complain(f"maintd: nothing that was archived is called {printable(pattern)}")
        return Exit.NO
    if failed:
        return Exit.PARTLY if made else Exit.FAILED
    return Exit.OK


@archive.command(
    short_help="Read archived files and compare their hashes.",
    epilog="\b\nExamples:\n  maintd archive verify\n  maintd archive verify --sample 5%",
)
@click.option("--sample", metavar="SHARE", callback=_sample, help="Only this share of the files, chosen at random.")
@config_option()
@click.pass_obj
def verify(called: Invocation, /, *, sample: float) -> int:
    """Reads what lies in the archives, decompresses it, and compares it with the hashes in the manifest.

    What is missing or damaged is named, with what can be done, and what is there unlisted; then it ends with 3.
    """
    code, archives = Exit.OK, Archives(called)
    for listed in archives:
        code = _said_odd(listed) or code
        if not listed.exists:
            continue
        entries = listed.entries()
        chosen = random.sample(entries, max(1, round(sample * len(entries)))) if sample < 1 and entries else entries
        chosen.sort(key=lambda one: (one.name, one.offset))
        objects = [list(found) for _, found in groupby(chosen, lambda one: one.name)]
        faults = sum(_said_wrong(listed, entries) for entries in objects)
        strays = listed.strays()
        for name in strays:
            output.say(f"{printable(os.path.join(listed.archive.where, name))}: it is not in the manifest")
        sizes = sum(entries[0].stored_bytes for entries in objects)
        verdict = f"{faults} wrong" if faults else "all as they were"
        of = f"{len(chosen)} of {counted(len(entries), 'file')}, {format_size(sizes)}"
        output.say(f"{printable(listed.archive.where)}: read {of}: {verdict}")
        code = Exit.NO if faults or strays else code
    return code or archives.code()


def _said_wrong(listed: Listed, entries: list[Entry]) -> int:
    """Says what is wrong with an object and the files that were chosen of it; how many of these are.

    One whose damage has hit none of them counts as one.
    """
    wrong = retrieval.object_fault(listed, entries[0])
    is_there, is_bundle = listed.is_there(entries[0]), bool(entries[0].member)
    faults = {entry.key: retrieval.content_fault(listed, entry) if is_there else "" for entry in entries}
    bad = [entry for entry in entries if faults[entry.key] or not is_there or (wrong and not is_bundle)]
    if not wrong and not bad:
        return 0
    path = printable(os.path.join(listed.archive.where, entries[0].name))
    whole = f"; of {counted(len(entries), 'file')} in it {len(entries) - len(bad)} can be brought back whole"
    output.say(f"{path}: {wrong or faults[bad[0].key]}{whole if is_bundle else ''}")
    for entry in bad:
        if is_bundle and is_there:
            output.say(f"  {printable(entry.member)}: {faults[entry.key]}")
        output.say(f"  {retrieval.remedy(listed, entry)}")
    return len(bad) or 1


@dataclass
class Archives:
    """The archives of the config, each once. One that cannot be read is said, and keeps nobody from the others."""

    called: Invocation
    read: int = 0
    unread: int = 0

    def __iter__(self) -> Iterator[Listed]:
        config = load(self.called.config)
        places = [job.archive() for job in config.jobs.values()]
        known = [place for place in dict.fromkeys(places) if place is not None]
        if not known:
            raise MaintdError(
                "the config has no archive job", hint="an [archive.NAME] with paths, to and older_than is one"
            )
        for place in known:
            try:
                listed = Listed.of(retrieval.archive_at(place), stowed.keepers(config))
            except (MaintdError, OSError) as error:
                self._complain(place.to, error)
            else:
                self.read += 1
                yield listed

    def _complain(self, where: str, error: Exception) -> None:
        wrong = trouble(error)
        output.complain(f"maintd: the archive {printable(where)} cannot be read: {legible(wrong.error_msg)}")
        output.complain(*([f"        {wrong.advice}"] if wrong.advice else []))
        self.unread += 1

    def code(self) -> Exit:
        """Of a command that went well in those that could be read."""
        if self.unread:
            return Exit.PARTLY if self.read else Exit.FAILED
        return Exit.OK


def _said_odd(listed: Listed) -> Exit | None:
    """Says that an archive is not there, or that lines of its manifest are damaged."""
    where, damaged = printable(listed.archive.where), listed.manifest.damaged
    if not listed.exists:
        output.complain(f"maintd: there is no archive at {where}: either its disk is not mounted, or it is still empty")
        return Exit.NO
    if not damaged:
        return None
    output.complain(f"maintd: the manifest of {where} has {counted(damaged, 'damaged line')}, passed over")
    return Exit.NO


def _chosen(listed: Listed, pattern: str | None) -> Iterator[Entry]:
    for entry in listed.entries():
        spoken = (entry.original, os.path.basename(entry.original), entry.name, retrieval.below(entry))
        if pattern is None or any(name == pattern or fnmatch.fnmatchcase(name, pattern) for name in spoken):
            yield entry


def _fields(listed: Listed, entry: Entry) -> dict[str, Any]:
    shown = {"target": entry.original, "archive": listed.archive.where, "is_there": listed.is_there(entry)}
    return shown | {name: _said(getattr(entry, name)) for name in completed(Entry).__dataclass_fields__}


def _said(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


def _row(listed: Listed, entry: Entry) -> list[str]:
    stored = os.path.join(listed.archive.where, entry.name)
    rest = "" if listed.is_there(entry) else " (missing)"
    sizes = (tables.kept(format_size(size)) for size in (entry.size, entry.stored_bytes))
    at = tables.kept(entry.at[:16].replace("T", " "))
    return [at, *sizes, printable(entry.original), f"→ {printable(stored)}{rest}"]
