"""What a set should have now and has not: what is named and not there, what cannot be read, what it had before."""

import os
from collections.abc import Iterator, Sequence

from maintd.manifest import Manifest
from maintd.matching import has_wildcard, split
from maintd.patterns import Miss
from maintd.sources import Found
from maintd.units import counted
from maintd.values import dataclass


@dataclass(frozen=True)
class Wanted:
    """The sources of a set as its job names them, and what of them is left out."""

    sources: Sequence[str]
    exclude: Sequence[str]

    def lacking(self, found: Found, last: Manifest | None) -> list[Miss]:
        """That without which a snapshot is not whole. What a pattern names may come and go, and be nothing at first.

        But not all of it that the `last` sound snapshot has: that is how it looks if something is not mounted.
        """
        before = self._before(last)
        named = {way for source in self.sources if self._is_literal(source) for way in _ways(source)}
        out = [
            miss
            for miss in found.misses
            if miss.error is not None or miss.path in named or any(_is_at(path, miss.path) for path in before)
        ]
        now = [*(one.seen.path for one in found.databases), *(one.path for one in found.files), *found.strange]
        told = {miss.path for miss in out}
        for source in self.sources:
            if not told.intersection(_ways(source)):
                out += _emptied(source, now, before)
        return out

    def _is_literal(self, source: str) -> bool:
        return not has_wildcard(source) and not any(split(pattern).covers(source) for pattern in self.exclude)

    def _before(self, last: Manifest | None) -> list[str]:
        """The paths in the last sound snapshot, but for what is left out by now."""
        paths = [entry.path for entry in last.entries if entry.kind != "output"] if last else []
        excluded = [split(pattern) for pattern in self.exclude]
        return [path for path in paths if not any(each.covers(path) for each in excluded)]


def _ways(source: str) -> set[str]:
    """A source as it is named, and as it is found."""
    prefix = split(source)
    return {source, os.path.join(prefix.root, *prefix.rest)}


def _emptied(source: str, now: Sequence[str], before: Sequence[str]) -> Iterator[Miss]:
    prefix, directory = split(source), os.path.realpath(source)
    had = [path for path in before if prefix.covers(path) or _is_at(path, directory)]
    if had and not any(prefix.covers(path) or _is_at(path, directory) for path in now):
        yield Miss(source, f"has none of the {counted(len(had), 'file')} that it had in the last sound snapshot")


def _is_at(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top.rstrip('/')}/")
