"""Plans how files are put away together: one bundle for each day, or each month, that is over for long enough."""

import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta, tzinfo
from itertools import count
from typing import Any, Literal

from maintd import inventory, names
from maintd.actions.bundle import ArchiveBundle, StoreBundle
from maintd.actions.upload import ReachStore, UploadManifest
from maintd.archiving import Old, Shelf, leftovers, to_make
from maintd.bundling import Wanted
from maintd.confinement import OTHERS
from maintd.remote import is_uploaded
from maintd.steps import Finding, Step
from maintd.stores import Store
from maintd.trust import Judge
from maintd.values import dataclass

Period = Literal["day", "month"]
SUFFIX = ".tar.zst"


_MOST_DIRECTORIES = 2000
"""Directories from which one bundle takes files at most: a child that is confined to them has each of them open."""


@dataclass(frozen=True)
class Dated:
    """A file with the period that it belongs to, as its bundle is called: 2026-08-01, or 2026-08."""

    old: Old
    period: str


def period_of(time: datetime, period: Period, zone: tzinfo) -> tuple[str, datetime]:
    """The day or month that a time belongs to, by its name, and its end (aware): a midnight ends the day before it."""
    day = (time - timedelta(microseconds=1)).astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        after = day + timedelta(days=1)
        return f"{day:%Y-%m-%d}", after
    after = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return f"{day:%Y-%m}", after


def plan_bundles(found: Sequence[Dated], shelf: Shelf, manifest: inventory.Manifest) -> Iterator[Step]:
    """Into a directory."""
    groups, refused = _grouped(found, shelf, manifest, is_remote=False)
    yield from refused
    if not groups:
        return
    yield from leftovers({shelf.root}, {names.temporary(stored) for stored in groups})
    makes = to_make({shelf.root})
    yield from makes.values()
    needs = tuple(makes[path] for path in (shelf.root,) if path in makes)
    for stored, files in groups.items():
        yield ArchiveBundle(target=os.path.join(shelf.root, stored), needs=needs, **_fields(stored, files, shelf))


def plan_uploads(found: Sequence[Dated], shelf: Shelf, manifest: inventory.Manifest, store: Store) -> Iterator[Step]:
    """Into an object store; `root` of the shelf is the private directory for it."""
    groups, refused = _grouped(found, shelf, manifest, is_remote=True)
    yield from refused
    was_uploaded = is_uploaded(shelf.root)
    if not groups and was_uploaded:
        return
    yield from leftovers({shelf.root}, set())
    reach = ReachStore(target=store.to, reason="what follows goes there", store=store, directory=shelf.root)
    yield reach
    for stored, files in groups.items():
        target = f"{store.to.rstrip('/')}/{stored}"
        yield StoreBundle(target=target, needs=(reach,), store=store, **_fields(stored, files, shelf))
    reason = "it lists what was stored" if was_uploaded else "the store has an older one"
    yield UploadManifest(target=store.to, reason=reason, needs=(reach,), store=store, directory=shelf.root)


def _fields(stored: str, files: Sequence[Wanted], shelf: Shelf) -> dict[str, Any]:
    return {
        "reason": files[0].why,
        "root": shelf.root,
        "stored": stored,
        "level": shelf.level,
        "at": shelf.at,
        "job": shelf.job,
        "keeps": shelf.keeps,
        "private": shelf.private,
        "files": tuple(files),
    }


def _grouped(
    found: Sequence[Dated], shelf: Shelf, manifest: inventory.Manifest, *, is_remote: bool
) -> tuple[Mapping[str, list[Wanted]], list[Finding]]:
    """The files by the name of their bundle; what an interrupted run has listed stays with the bundle it had."""
    known = manifest.entries
    listed = {(entry.original, entry.size, entry.mtime_ns): entry for entry in known.values() if entry.member}
    taken = {entry.name for entry in known.values()} | manifest.spoilt
    judge, refused = Judge(), []
    groups: dict[str, list[Wanted]] = {}
    fresh = _Fresh(shelf, taken)
    for dated in found:
        seen = dated.old.seen
        entry = listed.get((seen.path, seen.size, seen.mtime_ns))
        is_there = entry is not None and (is_remote or os.path.lexists(os.path.join(shelf.root, entry.name)))
        if entry and shelf.keeps and is_there and entry.is_as(seen):
            continue
        if entry and not entry.ino:
            entry = None  # it was seen to have other content
        refusal = judge.finding(seen)
        if refusal:
            refused.append(refusal)
        elif entry and (is_remote or is_there or not _was_there(entry.name, known)):
            groups.setdefault(entry.name, []).append(Wanted(seen, entry.member, dated.old.reason))
        else:
            groups.setdefault(fresh.name(dated), []).append(Wanted(seen, dated.old.below, dated.old.reason))
    return groups, refused


@dataclass
class _Fresh:
    """Gives bundles that are new their names: one for each period, and another for what is of too many directories."""

    shelf: Shelf
    taken: set[str]
    _given: dict[tuple[str, str], str] = field(default_factory=dict)
    _last: dict[str, tuple[str, int]] = field(default_factory=dict)

    def name(self, dated: Dated) -> str:
        place = dated.period, os.path.dirname(dated.old.seen.path)
        if place not in self._given:
            self._given[place] = self._next(dated.period)
        return self._given[place]

    def _next(self, period: str) -> str:
        """For files of one more directory."""
        name, directories = self._last.get(period, ("", 0))
        if not 0 < directories < _most_directories():
            name, directories = _free(period, self.taken, self.shelf), 0
            self.taken.add(name)
        self._last[period] = name, directories + 1
        return name


def _most_directories() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _MOST_DIRECTORIES if hard == resource.RLIM_INFINITY else min(_MOST_DIRECTORIES, max(hard - OTHERS, 1))


def _was_there(name: str, known: Mapping[tuple[str, str], inventory.Entry]) -> bool:
    """Whether files of a bundle that is missing are gone: then the bundle was there, and its lines say what is lost."""
    return any(entry.name == name and not entry.is_unmoved() for entry in known.values())


def _free(period: str, taken: set[str], shelf: Shelf) -> str:
    for number in count():
        name = f"{period}-{number}{SUFFIX}" if number else f"{period}{SUFFIX}"
        if name not in taken and not os.path.lexists(os.path.join(shelf.root, name)):
            return name
    raise AssertionError
