"""What a set should have now and has not: what is named and not there, what cannot be read, what it had before."""

import os
from collections.abc import Callable, Iterator, Sequence

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
    names_any: Callable[[str], bool]
    """Whether a source names any file, were nothing left out."""

    def having(self, found: Found) -> list[str]:
        """The sources of which there is anything now."""
        now = _paths(found)
        return [source for source in self.sources if _of(source, now)]

    def lacking(self, found: Found, last: Manifest | None, had: Callable[[], Sequence[str]]) -> list[Miss]:
        """That without which a snapshot is not whole. What a pattern names may come and go, and be nothing at first.

        But not all of it that the `last` sound snapshot has: that is how it looks if something is not mounted. Nor may
        `exclude` leave nothing of a source that is there, unless it names just that, or others are left. Where the
        files of that snapshot are not known, `had` is asked, if need be, for the sources of which it has anything.
        """
        before = self._before(last)
        named = {way for source in self.sources if self._is_literal(source) for way in _ways(source)}
        out = [
            miss
            for miss in found.misses
            if miss.error is not None or miss.path in named or any(_is_at(path, miss.path) for path in before)
        ]
        told = {miss.path for miss in out}
        for source in self.sources:
            if source not in found.having and not told.intersection(_ways(source)):
                out += self._emptied(source, found, before, had)
        return out

    def _emptied(
        self, source: str, found: Found, before: Sequence[str], had: Callable[[], Sequence[str]]
    ) -> Iterator[Miss]:
        if gone := _of(source, before):
            yield Miss(source, f"has none of the {counted(len(gone), 'file')} that it had in the last sound snapshot")
        elif self.exclude and self.names_any(source):
            if self._is_literal(source) or not found.having:
                yield Miss(source, "exclude leaves nothing of it")
        elif source in had():
            yield Miss(source, "has nothing of what it had in the last sound snapshot")

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


def _paths(found: Found) -> list[str]:
    return [*(one.seen.path for one in found.databases), *(one.path for one in found.files), *found.strange]


def _of(source: str, paths: Sequence[str]) -> list[str]:
    """Those of the paths that the source names, or a directory above them."""
    prefix, directory = split(source), os.path.realpath(source)
    return [path for path in paths if prefix.covers(path) or _is_at(path, directory)]


def _is_at(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top.rstrip('/')}/")
