"""How the archives of a config are: what lies in them, since when, and whether all of it is there."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from maintd import inventory, retrieval
from maintd.cli import output, tables
from maintd.config import Config
from maintd.contexts import stores
from maintd.errors import MaintdError, trouble
from maintd.names import printable
from maintd.retrieval import Listed
from maintd.stores import Store
from maintd.units import format_size
from maintd.values import dataclass


@dataclass(frozen=True)
class Stowed:
    """An archive by its manifest; `missing` files are listed and not there, None where that was not looked at.

    An object store is not asked: it is what this machine has put there. `problem` says why nothing is known.
    """

    where: str
    files: int = 0
    size: int = 0
    stored: int = 0
    last_at: str | None = None
    missing: int | None = None
    damaged_lines: int = 0
    problem: str | None = None


def keepers(config: Config) -> frozenset[str]:
    """The jobs that leave originals where they are."""
    return frozenset(name for name, job in config.jobs.items() if job.archive() is not None and job.takes() is None)


def stowed(config: Config) -> list[Stowed]:
    """The archives of all archive jobs, each once."""
    places = [job.archive() for job in config.jobs.values()]
    return [_looked_at(place, config) for place in dict.fromkeys(places) if place is not None]


def _looked_at(place: Store, config: Config) -> Stowed:
    try:
        if place.is_remote:
            manifest = inventory.read(place.directory(stores(config)))
            entries, missing = list(manifest.entries.values()), None
        else:
            listed = Listed.of(retrieval.archive_at(place), keepers(config))
            manifest, entries = listed.manifest, listed.entries()
            missing = sum(not listed.is_there(entry) for entry in entries)
    except (OSError, MaintdError) as error:
        return Stowed(place.to, problem=trouble(error).error_msg)
    return Stowed(
        place.to,
        files=len(entries),
        size=sum(entry.size for entry in entries),
        stored=sum({entry.name: entry.stored_bytes for entry in entries}.values()),
        last_at=max((entry.at for entry in entries), default=None),
        missing=missing,
        damaged_lines=manifest.damaged,
    )


def fields(one: Stowed) -> dict[str, Any]:
    return asdict(one) | {"where": printable(one.where)}


def lines(found: list[Stowed]) -> Iterator[str]:
    rows = [_row(one) for one in found]
    yield from tables.table(rows, ("archive", "files", "content", "stored", "last", ""), right=(1, 2, 3), indent=2)


def _row(one: Stowed) -> list[str]:
    last = tables.kept((one.last_at or "never")[:10])
    return [printable(one.where), str(one.files), _size(one.size), _size(one.stored), last, _said(one)]


def _size(size: int) -> str:
    return tables.kept(format_size(size))


def _said(one: Stowed) -> str:
    wrong = [f"{one.missing} missing"] if one.missing else []
    wrong += [f"{one.damaged_lines} damaged lines"] if one.damaged_lines else []
    return output.paint("; ".join(filter(None, [*wrong, one.problem or ""])), fg="red") if wrong or one.problem else ""
