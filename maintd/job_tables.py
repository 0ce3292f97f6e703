"""Which tables of a config file are jobs, and what is wrong with those that cannot be."""

import re
from collections.abc import Iterator
from typing import Any

from maintd import jobs
from maintd.complaints import did_you_mean, dotted
from maintd.settings import TABLES
from maintd.toml_places import KeyPath
from maintd.toml_source import Source
from maintd.values import dataclass

_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class JobTable:
    """The table of one job: its kind, its path in the file, and what it holds, not yet validated."""

    kind: str
    path: KeyPath
    table: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.kind}.{self.path[-1]}"


@dataclass(frozen=True)
class Misplaced:
    """Something that stands where a job should, with the reason why it is none."""

    path: KeyPath
    message: str


def find(source: Source) -> list[JobTable | Misplaced]:
    """Everything in a file that is no settings table, in the order of the file, also across kinds."""
    order = {path: index for index, path in enumerate(source.places.tables)}

    def place(found: JobTable | Misplaced) -> int:
        known = (order[found.path[:end]] for end in range(len(found.path), 0, -1) if found.path[:end] in order)
        return next(known, -1)

    return sorted(_below((), source.tables), key=place)


def _below(path: KeyPath, table: dict[str, Any]) -> Iterator[JobTable | Misplaced]:
    kinds: dict[KeyPath, str] = {tuple(kind.split(".")): kind for kind in jobs.kinds()}
    folders = {kind[:end] for kind in kinds for end in range(1, len(kind))}
    for key, value in table.items():
        here = (*path, key)
        if here in kinds:
            yield from _named(kinds[here], here, value)
        elif here in folders and isinstance(value, dict):
            yield from _below(here, value)
        elif path or key not in TABLES:
            yield Misplaced(here, _unknown(here, value))


def _named(kind: str, path: KeyPath, value: Any) -> Iterator[JobTable | Misplaced]:
    nameless = f"a job needs a name: write [{kind}.NAME] above its options"
    if not isinstance(value, dict) or not value:
        yield Misplaced(path, nameless)
        return
    loose = [key for key, table in value.items() if not isinstance(table, dict) and not _is_array_of_tables(table)]
    if loose:
        yield Misplaced((*path, loose[0]), nameless)
    options = jobs.kind(kind).model_fields if loose else {}
    for key, table in value.items():
        if key in loose or key in options:
            continue
        here = (*path, key)
        if not _NAME.fullmatch(key):
            yield Misplaced(here, "the name of a job consists of letters, digits, _ and -")
        elif isinstance(table, dict):
            yield JobTable(kind, here, table)
        else:
            yield Misplaced(here, f"is a list of tables: write [{kind}.{key}], in single brackets and once")


def _is_array_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _unknown(path: KeyPath, value: Any) -> str:
    if not isinstance(value, dict) and not _is_array_of_tables(value):
        return "stands in no job and no settings table"
    known = (*jobs.kinds(), *TABLES)
    hint = did_you_mean(dotted(path), known) or (did_you_mean(str(path[0]), known) if len(path) == 1 else "")
    return f"unknown kind of job{hint}; there are: {', '.join(jobs.kinds())}; and the settings: {', '.join(TABLES)}"
