"""`maintd backups`: the snapshots that there are, and which of them are proven."""

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from maintd import contexts, destinations
from maintd.cli import output, tables, undoing
from maintd.cli.exits import Exit
from maintd.cli.invocation import Invocation, config_option
from maintd.cli.sets import PLACE_HELP, place_of, sets
from maintd.config import Config, load
from maintd.errors import MaintdError
from maintd.manifest import Manifest
from maintd.names import printable
from maintd.snapshots import Snapshot
from maintd.units import format_duration, format_size

_DRIFT = timedelta(minutes=5)
"""By so much clocks may differ before a stamp is said to be from the future."""


@click.command(
    short_help="Show the snapshots of backups.",
    epilog="\b\nExamples:\n  maintd backups\n  maintd backups app\n"
    "  maintd backups --in /mnt/usb/backups\n"
    "  maintd backups --in s3://bucket/prefix\n  maintd backups --json | jq 'select(.verified) | .snapshot'",
)
@click.argument("set_name", required=False, metavar="[SET]")
@click.option("--in", "place", metavar="PLACE", help=PLACE_HELP)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each snapshot.")
@config_option()
@click.pass_obj
def backups(called: Invocation, set_name: str | None, *, place: str | None, as_json: bool) -> int:
    """Shows each snapshot: its age, its size, whether it is whole, and when a restore of it was last proven.

    Below, what restores in place have kept aside, which can be undone or forgotten.

    Ends with 3 if a set has no snapshot that is verified.
    """
    config = None if place else load(called.config)
    known = sets(config, set_name) if config else {}
    found = _found_in(place, set_name) if place else []
    if config:
        found += [one for of, job in known.items() for one in job.found(of, contexts.stores(config))]
    if as_json:
        for one in found:
            output.say_json(_fields(one))
    else:
        for line in _lines(found, called.now):
            output.say(line)
        for line in _aside(config, known):
            output.say(line)
    all_sets = {one.name.log for one in found} | known.keys()
    return Exit.OK if all_sets and all_sets == {one.name.log for one in found if one.is_verified} else Exit.NO


def _aside(config: Config | None, known: Iterable[str]) -> Iterator[str]:
    if config is not None:
        for of in known:
            yield from undoing.standing(config, of)


def _found_in(place: str, set_name: str | None) -> list[Snapshot]:
    store = place_of(place)
    if not store.is_remote and not os.path.isdir(store.to):
        raise MaintdError(f"there is no directory {printable(store.to)}", hint="it is the destination of a backup job")
    return destinations.found(store, set_name)


def _known(one: Snapshot) -> Manifest | None:
    """What is known of its files: nothing where restic lists the snapshots, which leaves a manifest empty."""
    return one.manifest if one.manifest and one.manifest.entries else None


def _fields(one: Snapshot) -> dict[str, Any]:
    known = _known(one)
    return {
        "set": one.name.log,
        "snapshot": one.label,
        "target": one.path,
        "taken": one.taken.isoformat(),
        "files": len(known.entries) if known else None,
        "bytes": known.size if known else None,
        "stored_bytes": one.stored or None,
        "verified": one.is_verified,
        "proven": one.proven.isoformat() if one.proven else None,
        "trouble": one.flaw or None,
    }


def _lines(found: Sequence[Snapshot], now: datetime) -> Iterator[str]:
    if not found:
        yield "there is no snapshot"
        return
    header = ("snapshot", "age", "files", "size", "stored", "restore proven", "")
    yield from tables.table([_row(one, now) for one in found], header, right=(2, 3, 4), below=1)
    for of in dict.fromkeys(one.name.log for one in found if one.name.stamp > now + _DRIFT):
        yield f"the clock was ahead when {of} was backed up: its stamps are from the future, and the next ones count on"


def _row(one: Snapshot, now: datetime) -> list[str]:
    known = _known(one)
    return [
        one.label,
        _age(one.taken, now) if one.taken <= now + _DRIFT else "?",
        str(len(known.entries)) if known else "?",
        format_size(known.size) if known else "?",
        format_size(one.stored) if one.stored else "?",
        f"{_age(one.proven, now)} ago" if one.proven else "never",
        output.paint(printable(one.flaw), fg="red"),
    ]


def _age(then: datetime, now: datetime) -> str:
    seconds = max(int((now - then).total_seconds()), 1)
    step = 60 if seconds < 86_400 else 3600
    return tables.kept(format_duration(timedelta(seconds=seconds if seconds < 60 else seconds // step * step)))
