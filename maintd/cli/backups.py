"""`maintd backups`: the snapshots that there are, and which of them are proven."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from maintd import contexts, destinations, hosts
from maintd.cli import output, tables, undoing
from maintd.cli.exits import Exit
from maintd.cli.invocation import Invocation, config_option
from maintd.cli.sets import PLACE_HELP, place_of, sets
from maintd.config import Config, load
from maintd.errors import MaintdError
from maintd.names import printable
from maintd.snapshots import Snapshot
from maintd.units import counted, format_duration, format_size

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
    found, others = _own(known, contexts.stores(config)) if config else (_found_in(str(place), set_name), [])
    if as_json:
        for one in found:
            output.say_json(_fields(one))
    else:
        for line in (*_lines(found, called.now), *_foreign(others)):
            output.say(line)
        for line in (*_aside(config, known), *(_strays(sets(config)) if config and not set_name else ())):
            output.say(line)
    all_sets = {one.name.log for one in found} | known.keys()
    return Exit.OK if all_sets and all_sets == {one.name.log for one in found if one.is_verified} else Exit.NO


def _aside(config: Config | None, known: Iterable[str]) -> Iterator[str]:
    if config is not None:
        for of in known:
            yield from undoing.standing(config, of)


def _strays(known: Mapping[str, Any]) -> Iterator[str]:
    """The sets that lie beside those of the jobs, and are of none: one that is gone, or was renamed."""
    places = [(of, job.place()) for of, job in known.items() if job.repository is None]
    for to in dict.fromkeys(place.to for _, place in places if not place.is_remote):
        for of, count in sorted(destinations.sets(to).items()):
            if of not in [one for one, place in places if place.to == to]:
                here, way = f"{counted(count, 'snapshot')} of {of} in {printable(to)}", f"{of} --in {printable(to)}"
                yield f"of no job of this config, which deletes none of them: {here} (maintd backups {way})"


def _own(known: Mapping[str, Any], stores: str) -> tuple[list[Snapshot], list[Snapshot]]:
    """The snapshots of these sets, and those that other machines have of them in the same places."""
    found = [(job.found(of, stores), job.machine) for of, job in known.items()]
    own = [one for there, machine in found for one in hosts.seen(there, machine)]
    others = [one for there, machine in found for one in hosts.divided(there, machine)[1]]
    return own, [one for one in others if one.manifest is not None]


def _foreign(others: Sequence[Snapshot]) -> Iterator[str]:
    if others:
        yield f"not shown: snapshots of other machines ({hosts.told(others)}), which the option host of a job names"


def _found_in(place: str, set_name: str | None) -> list[Snapshot]:
    store = place_of(place)
    if not store.is_remote and not os.path.isdir(store.to):
        raise MaintdError(f"there is no directory {printable(store.to)}", hint="it is the destination of a backup job")
    return destinations.found(store, set_name)


def _fields(one: Snapshot) -> dict[str, Any]:
    return {
        "set": one.name.log,
        "snapshot": one.label,
        "host": one.manifest.host if one.manifest else None,
        "target": one.path,
        "taken": one.taken.isoformat(),
        "files": one.files or None,
        "bytes": one.size if one.files else None,
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
    are_several = len({one.manifest.host for one in found if one.manifest}) > 1
    rows = [_row(one, now, names_host=are_several) for one in found]
    yield from tables.table(rows, header, right=(2, 3, 4), below=1)
    for of in dict.fromkeys(one.name.log for one in found if one.name.stamp > now + _DRIFT):
        yield f"the clock was ahead when {of} was backed up: its stamps are from the future, and the next ones count on"


def _row(one: Snapshot, now: datetime, *, names_host: bool) -> list[str]:
    return [
        f"{one.label} of {one.manifest.host}" if names_host and one.manifest else one.label,
        _age(one.taken, now) if one.taken <= now + _DRIFT else "?",
        str(one.files or "?"),
        format_size(one.size) if one.files else "?",
        format_size(one.stored) if one.stored else "?",
        f"{_age(one.proven, now)} ago" if one.proven else "never",
        output.paint(printable(one.flaw), fg="red"),
    ]


def _age(then: datetime, now: datetime) -> str:
    seconds = max(int((now - then).total_seconds()), 1)
    step = 60 if seconds < 86_400 else 3600
    return tables.kept(format_duration(timedelta(seconds=seconds if seconds < 60 else seconds // step * step)))
